"""Clients that make.sh runs against Apache servers; each writes one set of transactions."""

import os
import socket
import struct
import subprocess
import sys
import time

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.security import make_acl, make_digest_acl


def connect(hosts, **options):
    client = KazooClient(hosts, timeout=20, **options)
    client.start()
    return client


def cli(hosts, *command):
    """What kazoo has no call for, by Apache's own shell."""
    apache = os.environ["APACHE"].split()
    subprocess.run([*apache, "cli", "-server", hosts, *command], check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def refused(call, *args, **options):
    try:
        call(*args, **options)
    except KazooException:
        return
    raise AssertionError("was not refused")


def all_kinds(hosts):
    zk = connect(hosts)
    zk.add_auth("digest", "bob:secret")
    zk.create("/app", b"v1")
    zk.set("/app", b"v2-data")
    zk.create("/app/e", b"", ephemeral=True)
    zk.create("/app/s-", b"q", sequence=True)
    zk.create("/app/s-", b"q", sequence=True)
    zk.create("/sec", b"x", acl=[make_digest_acl("bob", "secret", all=True)])
    zk.set_acls("/app", [make_digest_acl("bob", "secret", all=True), make_acl("ip", "127.0.0.1", read=True)])
    multi = zk.transaction()
    multi.create("/m", b"multi")
    multi.set_data("/app", b"v3")
    multi.check("/app", 2)
    multi.delete("/app/s-0000000001")
    assert not any(isinstance(result, Exception) for result in multi.commit())
    multi = zk.transaction()
    multi.create("/n")
    multi.delete("/nope")
    assert all(isinstance(result, Exception) for result in multi.commit())
    refused(zk.create, "/app", b"again")
    zk.create("/unicode-\u4e2d", "\u00fc".encode())
    zk.create("/two", b"by create2", include_data=True)
    zk.create("/gone", b"soon")
    zk.delete("/gone")
    cli(hosts, "create", "/null")
    cli(hosts, "create", "-c", "/container")
    cli(hosts, "create", "-t", "86400000", "/ttl", "x")
    cli(hosts, "create", "-c", "/reaped")
    zk.create("/reaped/child")
    zk.delete("/reaped/child")
    deadline = time.monotonic() + 30
    while zk.exists("/reaped"):
        assert time.monotonic() < deadline, "the container was not reaped"
        time.sleep(0.1)
    zk.create("/big", bytes(range(256)) * 12)
    zk.stop()
    zk.close()


def session(hosts):
    zk = connect(hosts)
    zk.create("/live", b"ephemeral", ephemeral=True)
    zk.set("/m", b"after the restart")
    os._exit(0)  # without closing the session


def quorum(hosts):
    zk = connect(hosts)
    zk.create("/q", b"1")
    config, _ = zk.get("/zookeeper/config")
    # The same server, now with a client address: a new configuration without new members.
    member = config.decode().split("\n")[0].split(";")[0]
    zk.reconfig(joining=None, leaving=None, new_members=f"{member};{hosts}")
    zk.set("/q", b"2")
    zk.stop()
    zk.close()


def poison(hosts):
    zk = connect(hosts)
    zk.create("/before", b"1")
    host, port = hosts.split(":")
    with socket.create_connection((host, int(port))) as raw:
        def send(body):
            raw.sendall(struct.pack(">i", len(body)) + body)

        send(struct.pack(">iqiqi", 0, 0, 10000, 0, 16) + bytes(16) + b"\0")
        raw.recv(100)
        path = b"/before"
        send(struct.pack(">iii", 1, 13, len(path)) + path + struct.pack(">i", 0))
        raw.settimeout(1)
        try:
            raw.recv(100)
        except TimeoutError:
            pass
    zk.create("/after", b"2")
    zk.stop()
    zk.close()


def ports(count):
    sockets = [socket.socket() for _ in range(int(count))]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    print(*(s.getsockname()[1] for s in sockets))


if __name__ == "__main__":
    verbs = {"all": all_kinds, "session": session, "quorum": quorum, "poison": poison, "ports": ports}
    verbs[sys.argv[1]](sys.argv[2])
