"""Makes the seeds of the fuzz targets, from files of Apache in the repository and by hand.

    python3 fuzz/make-seeds.py

Seeds are inputs in the form that each target cuts up (see targets/). They are kept in the repository;
this is for who changes a target. The PKCS#12 stores need openssl, and keep what they are as long as
they are there: their keys are random.
"""

import pathlib
import struct
import subprocess
import tempfile
import zlib

FUZZ = pathlib.Path(__file__).resolve().parent
CRATES = FUZZ.parent / "crates"
STORE = CRATES / "zk-store/testdata"
STORES = CRATES / "zk-server/src/tls/testdata"


def seed(target, name, content):
    folder = FUZZ / "seeds" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def i32(*numbers):
    return b"".join(struct.pack(">i", number) for number in numbers)


def i64(*numbers):
    return b"".join(struct.pack(">q", number) for number in numbers)


def buffer(content):
    content = content.encode() if isinstance(content, str) else content
    return i32(-1) if content is None else i32(len(content)) + content


def part(content):
    content = content.encode() if isinstance(content, str) else content
    return struct.pack(">H", len(content)) + content


def acl(*entries):
    return i32(len(entries)) + b"".join(i32(perms) + buffer(s) + buffer(i) for perms, s, i in entries)


def names(*paths):
    return i32(len(paths)) + b"".join(map(buffer, paths))


OPEN = acl((31, "world", "anyone"))
AUTH = acl((31, "auth", ""))
LISTS = acl(
    (31, "auth", ""), (1, "world", "anyone"), (3, "ip", "10.0.0.0/8"), (2, "ip", "fe80::/10"),
    (1, "digest", "joe:oesAybBun9icKJjQSTRN8OBueSc="), (1, "x509", "CN=a,O=b"), (1, "sasl", "bob"),
)


def create(path, data="d", acls=OPEN, flags=0):
    return buffer(path) + buffer(data) + acls + i32(flags)


def multi(*parts):
    return b"".join(i32(op) + b"\0" + i32(-1) + body for op, body in parts) + i32(-1) + b"\1" + i32(-1)


END = multi()
REQUESTS = {
    "create": (1, create("/a")),
    "create-sequential": (15, create("/a/s-", flags=2)),
    "create-ephemeral": (15, create("/e", flags=1)),
    "create-auth": (1, create("/mine", acls=AUTH)),
    "create-lists": (1, create("/lists", acls=LISTS)),
    "create-container": (19, create("/c", flags=4)),
    "create-ttl": (21, create("/t", flags=5) + i64(1000)),
    "create-limit": (1, create("/zookeeper/quota/a", "")),
    "delete": (2, buffer("/a") + i32(-1)),
    "exists": (3, buffer("/a") + b"\1"),
    "get-data": (4, buffer("/a") + b"\1"),
    "set-data": (5, buffer("/a") + buffer("two") + i32(-1)),
    "set-data-null": (5, i32(-1) + buffer("two") + i32(-1)),
    "get-acl": (6, buffer("/a")),
    "set-acl": (7, buffer("/a") + LISTS + i32(-1)),
    "get-children": (8, buffer("/") + b"\1"),
    "get-children2": (12, buffer("/") + b"\0"),
    "sync": (9, buffer("/")),
    "ping": (11, b""),
    "check": (13, buffer("/a") + i32(0)),
    "multi": (14, multi((1, create("/m")), (5, buffer("/m") + buffer("x") + i32(0)),
                        (13, buffer("/m") + i32(1)), (2, buffer("/m") + i32(-1)))),
    "multi-auth": (14, multi(*[(1, create("/u%d" % i, acls=AUTH)) for i in range(4)])),
    "multi-fails": (14, multi((15, create("/f")), (2, buffer("/none") + i32(-1)))),
    "multi-read": (22, multi((4, buffer("/a") + b"\0"), (8, buffer("/") + b"\0"))),
    "reconfig": (16, buffer("server.1=a:1:2;3") + buffer(None) + buffer(None) + i64(-1)),
    "check-watches": (17, buffer("/a") + i32(3)),
    "remove-watches": (18, buffer("/a") + i32(2)),
    "set-watches": (101, i64(1) + names("/a", "/gone") + names("/b") + names("/")),
    "set-watches2": (105, i64(1) + names("/a") + names("/b") + names("/") + names("/p") + names("/r")),
    "add-watch": (106, buffer("/a") + i32(1)),
    "get-ephemerals": (103, buffer("/")),
    "count-children": (104, buffer("/")),
    "who-am-i": (107, b""),
    "close": (-11, b""),
    "auth": (100, i32(0) + buffer("digest") + buffer("joe:secret")),
    "auth-super": (100, i32(0) + buffer("digest") + buffer("super:p")),
    "auth-ensemble": (100, i32(0) + buffer("ensemble") + buffer("e")),
    "auth-long": (100, i32(0) + buffer("digest") + buffer("n" * 1500 + ":p")),
    "sasl": (102, buffer("token")),
}


def byte(number):
    return bytes([number % 256])


def request_seeds():
    for name, (op, body) in REQUESTS.items():
        # Without a body it would be a text file to those who look at files.
        seed("requests", name, byte(op) + (body or b"\0"))

    def ask(*wanted, conn=0):
        asked = [REQUESTS[name] for name in wanted]
        return b"".join(byte(9 + 16 * conn) + byte(op) + part(body) for op, body in asked)

    flush = byte(4)
    seed("core", "reads", ask("create") + flush + ask("exists", "get-data", "get-acl", "get-children"))
    seed("core", "all", ask(*[name for name in REQUESTS if name != "close"]) + flush)
    seed("core", "each", b"".join(ask(name) + flush for name in REQUESTS if name != "reconfig"))
    seed("core", "watches", ask("create", "get-data", "add-watch") + flush +
         ask("set-data", "delete", conn=1) + flush + ask("set-watches2", conn=2))
    seed("core", "ephemerals", ask("create-ephemeral", "create-sequential", "get-ephemerals") + flush +
         ask("close") + flush + ask("get-children", conn=1))
    seed("core", "multis", ask("multi", "multi-fails", "multi-read", "check") + flush)
    seed("core", "quota", ask("create", "create-limit") + flush + ask("set-data", "create-sequential"))
    seed("core", "identities", ask("auth", "auth-long", "create-auth", "who-am-i") + flush +
         ask("auth-long", "multi-auth") + flush + ask("get-acl", conn=1))
    seed("core", "expiry", ask("create-ephemeral", "create-container") + flush + byte(3) + byte(100) +
         flush + byte(7) + part("/c") + flush + byte(6) + byte(0) + ask("create", "get-data"))
    seed("handshake", "new", byte(0) + i32(0) + i64(0) + i32(6000) + i64(0) + buffer(bytes(16)) + b"\0")
    seed("handshake", "old", byte(0) + i32(0) + i64(0) + i32(6000) + i64(7) + buffer(bytes(16)))
    seed("handshake", "null", byte(1) + i32(0) + i64(0) + i32(6000) + i64(7) + buffer(None))
    seed("values", "acl", byte(0) + part("joe:secret") + part(LISTS))
    seed("values", "ip", byte(1) + part("") + part(acl((31, "ip", "10.0.0.0/24"))))
    seed("values", "ensemble", byte(2) + part("e") + part(AUTH))
    seed("values", "path", byte(4) + part(i64(600000)) + part("/a/b/c"))


def frames(content):
    at = 16
    while at + 13 <= len(content):
        length = struct.unpack(">I", content[at + 8 : at + 12])[0]
        if not length:
            return
        yield content[at : at + 13 + length]
        at += 13 + length


def file_seeds():
    for log in ("apache-3.9.4/log.1", "apache-3.9.4/log.1e", "apache-3.8.0/quorum/log.100000001"):
        content = (STORE / log).read_bytes()
        found, name = list(frames(content)), log.replace("/", "-")
        payloads = [frame[12:-1] for frame in found]
        for at in range(0, len(payloads), 7):
            few = [part(payload) for payload in payloads[at : at + 7]]
            seed("txns", "%s-%d" % (name, at), b"".join(few))
            seed("logs", "%s-%d" % (name, at), bytes([1, 1, len(few)]) + b"".join(few))
        raw = content[:16] + b"".join(found[:8])
        seed("logs", name, bytes([0, 0]) + part(raw + bytes(100)))
        two = b"".join(part(content[:16] + b"".join(some)) for some in (found[:3], found[3:6]))
        seed("logs", name + "-two", bytes([2, 1]) + two)
    for snapshot in ("apache-3.8.0/snapshot.0", "apache-3.9.4/snapshot.0", "apache-3.9.4/quorum/snapshot.0"):
        content, name = (STORE / snapshot).read_bytes(), snapshot.replace("/", "-")
        at, sealed = 0, []
        for end in range(len(content) - 12):
            if content[end : end + 13] == i64(zlib.adler32(content[:end])) + i32(1) + b"/":
                sealed.append(part(content[at:end]))
                at = end + 13
        for form in (1, 5, 7):
            seed("snapshots", "%s-%d" % (name, form), bytes([form, len(sealed) - 1]) + b"".join(sealed))
        seed("snapshots", name, bytes([0]) + part(content))
    for name, shape in (("snapshot.20.gz", 2), ("snapshot.20.snappy", 10)):
        seed("snapshots", name, bytes([shape]) + part((STORE / "apache-3.9.4" / name).read_bytes()))
    slot = struct.pack(">QQQQQQ", 2, 1, 163, 3, 0, 1024)
    logs, snapshots = "log.1 open\n", "snapshot.0 open\n"
    seed("manifests", "open", bytes([1]) + part(b"zkfmark1" + slot) + part("") + part(logs) + part(snapshots) + part("1\n"))
    seed("manifests", "closed", bytes([0]) + part("") + part("") + part("log.1 closed 163 3 0\n") + part("") + part("0"))
    seed("manifests", "kept", bytes([2]) + part(slot) + part(slot) + part("log.1 kept\nlog.9 open\n") + part(snapshots) + part("log.1a"))


CFG = """\
# a server of three
tickTime=2000
initLimit=10
syncLimit=5
dataDir=/var/lib/zookeeper
dataLogDir = /var/log/zookeeper
clientPort=2181
clientPortAddress=0.0.0.0
secureClientPort=2281
maxClientCnxns=60
minSessionTimeout=4000
autopurge.snapRetainCount=3
autopurge.purgeInterval=24
4lw.commands.whitelist=stat, ruok, conf
admin.serverPort=8080
ssl.keyStore.location=/etc/key.jks
ssl.keyStore.password=secret\\
  more
authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider
"""
MEMBERS = "server.1=a:2888:3888;2181\nserver.2=b:2888:3888:observer;c:2181\ngroup.1=1:2\nweight.1=3\n"


def text_seeds():
    seed("zoo_cfg", "plain", byte(2) + part("") + CFG.encode())
    seed("zoo_cfg", "members", byte(1) + part("-Djute.maxbuffer=4096 -Dzookeeper.skipACL=yes") + (CFG + MEMBERS).encode())
    seed("zoo_cfg", "escapes", byte(0) + part("a:1:2:participant;[::1]:3") + b"data\\u0044ir = \\t/x\\\r\n y\nclientPort:1\n!c\nk\n")
    for word in ("ruok", "conf", "mntr", "srvr", "stmk\0\0\0\0\0\0\0\2", "isro", "envi"):
        seed("admin", word[:4], bytes([0, 0]) + word.encode())
    for name, head in {
        "get": "GET /commands/stat HTTP/1.1\r\nHost: a\r\n\r\n",
        "index": "GET /commands HTTP/1.0\r\n\r\n",
        "metrics": "GET /metrics HTTP/1.1\r\nHost: a\r\nSec-Fetch-Site: cross-site\r\n\r\n",
        "query": "GET /commands/set_trace_mask?traceMask=3%36&a+b=%zz HTTP/1.1\r\nHost: a\r\n\r\n",
        "snapshot": "GET /commands/snapshot?streaming=false HTTP/1.1\r\nAuthorization: digest root:pw\r\n\r\n",
        "restore": "POST /commands/restore HTTP/1.1\r\nAuthorization: digest root:pw\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    }.items():
        seed("admin", "http-" + name, bytes([1, 20]) + head.encode())
    jaas = b'Server { a.B required /* c */ user_super="x" user_bob="y"; };\n// end\nClient { a.B required; };'
    for number, line in enumerate((STORES / "digest-md5-java.txt").read_bytes().splitlines()):
        fields = line.split(b"\t")
        seed("sasl", "java-%d" % number, part("bob") + part("p\u00e4ss") + part(fields[2]) + jaas)
    challenge = b'realm="zk-sasl-md5",nonce="abc",charset=utf-8,algorithm=md5-sess,qop="auth"'
    seed("sasl", "challenge", part("\u4e2d") + part("secret") + part(challenge) + jaas)
    seed("client", "answers", bytes([0, 2, 6, 60, 0, 11]) + part("/a") + bytes([8, 5, 0]) + part(buffer("d") + bytes(68)) + bytes([7, 3]) + part("/a"))
    seed("client", "auths", bytes([2, 2, 6, 60, 0, 17]) + part("t") + bytes([8, 1, 0]) + part(buffer("x")) + bytes([18, 13]) + part("u:p") + bytes([19, 8, 2, 0]) + part(""))
    seed("client", "reconnects", bytes([1, 2, 6, 60, 1, 12]) + part("/a") + bytes([4, 1, 2, 6, 60, 0, 15, 3, 1, 16, 2, 14]) + part("/a"))


def store_seeds():
    content = (STORES / "stores/server.jks").read_bytes()
    seed("stores", "server.jks", bytes([0]) + content[:-20])
    seed("stores", "trust.jks", bytes([0]) + (STORES / "stores/trust.jks").read_bytes()[:-20])
    for pem in ("ca", "client", "server-sec1", "trust"):
        seed("stores", pem + ".pem", bytes([2]) + (STORES / ("stores/%s.pem" % pem)).read_bytes())
    der = subprocess.run(["openssl", "x509", "-in", STORES / "stores/ca.pem", "-outform", "DER"],
                         check=True, capture_output=True).stdout
    seed("stores", "ca.der", bytes([3]) + der)
    if (FUZZ / "seeds/stores/plain.p12").exists():
        return
    made = {
        "plain.p12": ["-keypbe", "NONE", "-certpbe", "NONE", "-nomac"],
        "aes.p12": ["-keypbe", "AES-256-CBC", "-certpbe", "AES-128-CBC", "-iter", "2", "-macalg", "sha256"],
        "des3.p12": ["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-RC2-40", "-iter", "2", "-legacy"],
    }
    for name, options in made.items():
        with tempfile.NamedTemporaryFile() as out:
            subprocess.run(["openssl", "pkcs12", "-export", "-in", STORES / "stores/server-sec1.pem",
                            "-passout", "pass:changeit", "-out", out.name, *options], check=True)
            seed("stores", name, bytes([1]) + pathlib.Path(out.name).read_bytes())


def packet(number, zxid, data=None, identities=i32(-1)):
    return i32(number) + i64(zxid) + buffer(data) + identities


def quorum_seeds():
    zxid = 0x100000001
    txn = i64(1) + i32(2) + i64(zxid, 3) + i32(2) + buffer("/a")
    learner = {
        "info": packet(11, 1 << 32, i64(1) + i32(0x10000) + i64(0)),
        "ack-epoch": packet(18, zxid, i32(1)),
        "ack": packet(3, zxid),
        "ping": packet(5, zxid, i64(7) + i32(4000)),
        "request": packet(1, -1, i64(7) + i32(1, 2) + b"x", i32(1) + buffer("ip") + buffer("::1")),
        "revalidate": packet(6, -1, i64(7) + i32(4000)),
    }
    config = "server.1=h:1:2:participant;0.0.0.0:3\ngroup.1=1\nweight.1=2\nversion=1f"
    leader = {
        "leader-info": packet(17, 1 << 32, i32(0x10000)),
        "new-leader": packet(10, 1 << 32, config),
        "proposal": packet(2, zxid, txn),
        "commit-and-activate": packet(9, zxid, i64(3)),
        "inform-and-activate": packet(19, zxid, i64(3) + txn),
        "revalidate": packet(6, -1, i64(7) + b"\x01"),
    }
    for name, content in learner.items():
        seed("quorum", "learner-" + name, bytes([0]) + content)
    for name, content in leader.items():
        seed("quorum", "leader-" + name, bytes([1]) + content)
    seed("quorum", "vote", bytes([2]) + i32(0) + i64(1, zxid, 1, 1) + i32(2) + buffer(config))
    seed("quorum", "greeting", bytes([3]) + i64(-65535, 2) + buffer("10.0.0.1:3888|[::1]:3888"))
    seed("quorum", "config", bytes([4]) + config.encode() + b"\n")


request_seeds()
file_seeds()
quorum_seeds()
text_seeds()
store_seeds()
