"""TLS and SASL as kazoo (Python) sees them.

    python kazoo_secure_suite.py STORES PLAIN SECURE

STORES is a directory with alice.pem (key and certificate), trust.pem and stranger.pem;
SECURE is a port whose server trusts alice, PLAIN a port of the same server that speaks
plain text and TLS. Users are alice with "a secret" and super, who may do everything.
Prints "ok NAME" or "FAIL NAME: why" per check, then "N passed, N failed"; exits 0 only
if none failed.
"""

import logging
import os
import queue
import sys
import time

from kazoo.client import KazooClient
from kazoo.exceptions import AuthFailedError, ConnectionClosedError, NoAuthError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.security import Permissions, make_acl

logging.disable(logging.CRITICAL)  # expected failures are no news
PATIENCE = 30
REFUSED = 2  # how long a client that must not get in is given to prove the contrary
ALICE = "CN=alice,O=Acme"

CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


class Env:
    def __init__(self, stores, plain, secure):
        self.stores, self.plain, self.secure = stores, int(plain), int(secure)
        self.clients = []

    def client(self, port, user=None, tls=False, identity="alice.pem", trust="trust.pem"):
        options = {}
        if user:
            options["sasl_options"] = {
                "mechanism": "DIGEST-MD5",
                "username": user[0],
                "password": user[1],
            }
        if tls:
            options.update(use_ssl=True, ca=os.path.join(self.stores, trust))
            if identity:
                path = os.path.join(self.stores, identity)
                options.update(certfile=path, keyfile=path)
        client = KazooClient(hosts="127.0.0.1:%d" % port, timeout=20, **options)
        self.clients.append(client)
        return client

    def started(self, *args, **options):
        client = self.client(*args, **options)
        client.start(timeout=PATIENCE)
        return client

    def refused(self, *args, **options):
        client = self.client(*args, **options)
        try:
            client.start(timeout=REFUSED)
        except KazooTimeoutError:
            return
        raise AssertionError("it got in")

    def close(self):
        for client in self.clients:
            client.stop()
            client.close()
        self.clients = []


def only(scheme, who):
    return [make_acl(scheme, who, **{"all": True})]


def denied(client, path):
    try:
        client.get(path)
    except NoAuthError:
        return True
    return False


@check
def tls(env):
    client = env.started(env.secure, tls=True)
    large = bytes(range(250)) * 4000
    events = queue.Queue()
    client.create("/kazoo-tls", b"")
    client.get("/kazoo-tls", watch=events.put)
    client.set("/kazoo-tls", large)
    assert events.get(timeout=PATIENCE).path == "/kazoo-tls"
    assert client.get("/kazoo-tls")[0] == large
    answers = [client.exists_async("/kazoo-tls") for _ in range(1000)]
    assert all(answer.get(timeout=PATIENCE).dataLength == len(large) for answer in answers)


@check
def answers_are_seen_at_once(env):
    # kazoo waits for its socket, and so does not see what TLS has already taken from it: an
    # answer in one record with the event before it would be seen at the next ping.
    client = env.started(env.secure, tls=True)
    client.create("/kazoo-events", b"")
    start = time.monotonic()
    for number in range(50):
        client.get("/kazoo-events", watch=lambda event: None)
        client.set("/kazoo-events", b"%d" % number)
    assert time.monotonic() - start < 3, "a ping was waited for"


@check
def x509_acl(env):
    alice, nobody = env.started(env.secure, tls=True), env.started(env.plain)
    alice.create("/kazoo-x509", b"", acl=only("x509", ALICE))
    assert not denied(alice, "/kazoo-x509")
    assert denied(nobody, "/kazoo-x509")


@check
def unified_port(env):
    alice = env.started(env.plain, tls=True)
    alice.create("/kazoo-unified", b"", acl=only("x509", ALICE))
    assert not denied(alice, "/kazoo-unified")


@check
def no_certificate(env):
    env.refused(env.secure, tls=True, identity=None)


@check
def certificate_of_a_stranger(env):
    env.refused(env.secure, tls=True, identity="stranger.pem")


@check
def server_not_trusted(env):
    env.refused(env.secure, tls=True, trust="stranger.pem")


@check
def plain_text_on_tls(env):
    env.refused(env.secure)


@check
def sasl(env):
    alice = env.started(env.plain, user=("alice", "a secret"))
    nobody, root = env.started(env.plain), env.started(env.plain, user=("super", "rootsecret"))
    alice.create("/kazoo-sasl", b"", acl=only("sasl", "alice"))
    assert not denied(alice, "/kazoo-sasl")
    assert denied(nobody, "/kazoo-sasl")
    assert not denied(root, "/kazoo-sasl")
    assert alice.get_acls("/kazoo-sasl")[0][0].perms == Permissions.ALL


@check
def sasl_over_tls(env):
    both = env.started(env.secure, user=("alice", "a secret"), tls=True)
    assert not denied(both, "/kazoo-sasl")
    assert not denied(both, "/kazoo-x509")


@check
def sasl_wrong_password(env):
    client = env.client(env.plain, user=("alice", "wrong"))
    try:
        # kazoo calls itself connected before SASL has begun.
        client.start(timeout=PATIENCE)
        client.get("/")
    except (AuthFailedError, KazooTimeoutError, ConnectionClosedError):
        return
    raise AssertionError("it got in")


def main(*args):
    failed = 0
    for function in CHECKS:
        env, start = Env(*args), time.monotonic()
        try:
            function(env)
            print("ok %s (%.1f s)" % (function.__name__, time.monotonic() - start), flush=True)
        except Exception as why:  # noqa: B902 - every failure is reported
            failed += 1
            print("FAIL %s: %r" % (function.__name__, why), flush=True)
        finally:
            env.close()
    print("%d passed, %d failed" % (len(CHECKS) - failed, failed), flush=True)
    return failed > 0


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
