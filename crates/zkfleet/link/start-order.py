#!/usr/bin/env python3
"""Writes start.ld: the functions that a server runs until it has served its first client.

    start-order.py ZKFLEET >start.ld        needs valgrind, nm and a release build

Names are cut to what the next compiler gives too: without the hashes of crates and instances.
"""

import bisect
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

# Where valgrind loads a position-independent program: what it writes for sections that it does not
# know, like the one of start.ld.
LOAD_BIAS = 0x108000

HEAD = """\
/* The functions that a server runs until its first client is served, side by side in a section of
   their own. A kernel maps files in pieces of 64 KiB: scattered, they bring most of the program into
   the memory of a server that does nothing. Made by start-order.py; a name that is gone is no error. */
"""


def executed(program):
    """Addresses in the program's file at which instructions were executed."""
    with tempfile.TemporaryDirectory() as work:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with open(f"{work}/zoo.cfg", "w") as config:
            config.write(f"dataDir={work}/data\nclientPort={port}\nclientPortAddress=127.0.0.1\n")
            config.write("admin.enableServer=false\n")
        trace = f"{work}/trace"
        server = subprocess.Popen(
            ["valgrind", "--tool=callgrind", "--dump-instr=yes", f"--callgrind-out-file={trace}",
             program, "server", f"{work}/zoo.cfg"], stderr=subprocess.DEVNULL,
            # With it the server does not start itself anew, where valgrind would not follow.
            env=dict(os.environ, GLIBC_TUNABLES="glibc.malloc.perturb=0"))
        try:
            ask(port)
            for words in (["create", "/a", "1"], ["get", "/a"], ["set", "/a", "2"], ["delete", "/a"]):
                subprocess.run([program, "shell", "-server", f"127.0.0.1:{port}", *words],
                               check=True, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
            # What is executed from here on is of the stop.
            subprocess.run(["callgrind_control", "-d", str(server.pid)], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while not os.path.exists(f"{trace}.1"):
                time.sleep(0.1)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)
        with open(f"{trace}.1") as lines:
            return addresses(lines, os.path.realpath(program))


def ask(port):
    """The four letters srvr, until they are answered."""
    for _ in range(600):
        try:
            with socket.create_connection(("127.0.0.1", port), 10) as conn:
                conn.sendall(b"srvr")
                if conn.recv(100):
                    return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit("start-order: the server does not answer")


def addresses(lines, program):
    """The instruction addresses of a callgrind file that belong to the program."""
    objects, current, address, found = {}, "", 0, set()
    for line in lines:
        named = re.match(r"(c?)ob=\((\d+)\)(?: (.*))?$", line)
        if named:
            objects.setdefault(named[2], named[3])
            if not named[1]:
                current = objects[named[2]]
            continue
        at = re.match(r"(0x|\+|-)([0-9a-f]+) ", line)
        if at:
            sign, digits = at.groups()
            address = int(digits, 16) if sign == "0x" else address + int(sign + digits)
        if re.match(r"(0x|\+|-|\*)", line):
            if current == program:
                found.add(address)
            elif current == "???":
                found.add(address - LOAD_BIAS)
    return found


def stable(name):
    """A pattern for a symbol whatever the compiler's and the crates' hashes are."""
    name = re.sub(r"17h[0-9a-f]{16}E.*$", "17h*", name)
    name = re.sub(r"\.llvm\.\d+$", "*", name)
    return re.sub(r"Cs[0-9A-Za-z]+_", "Cs*_", name)


def functions(program):
    """The program's functions as (first address, one behind the last, name), by address."""
    table = subprocess.run(["nm", "--print-size", "--defined-only", program], check=True,
                           capture_output=True, text=True).stdout
    rows = (line.split() for line in table.splitlines())
    found = ((int(row[0], 16), int(row[1], 16), row[3])
             for row in rows if len(row) == 4 and row[2] in "tTwW")
    return sorted((start, start + size, name) for start, size, name in found)


def main():
    program = sys.argv[1]
    run = sorted(executed(program))
    names = set()
    for start, end, name in functions(program):
        first = bisect.bisect_left(run, start)
        # Names without an underscore are the C runtime's, which has no sections of functions.
        if first < len(run) and run[first] < end and name.startswith("_"):
            names.add(stable(name))
    print(HEAD + "SECTIONS\n{\n    .text.start :\n    {")
    for name in sorted(names):
        print(f"        *(.text.*{name})")
    print("    }\n}\nINSERT BEFORE .text;")


main()
