"""Conformance of a ZooKeeper server as kazoo (Python) sees it.

    python kazoo_suite.py HOST:PORT[,HOST:PORT] [CHECK...]

Prints "ok NAME" or "FAIL NAME: why" per check, then "N passed, N failed"; exits 0
only if none failed. With names, only those checks run. Each check works below a
path of its own and removes it. The checks named loss_* talk through a proxy that
cuts connections: sessions must survive that, and recipes stay correct.
"""

import logging
import random
import socket
import sys
import threading
import time
import traceback
import uuid

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import (
    BadVersionError,
    InvalidACLError,
    LockTimeout,
    NoAuthError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
    RuntimeInconsistency,
)
from kazoo.protocol.states import EventType
from kazoo.recipe.cache import TreeCache, TreeEvent
from kazoo.security import (
    CREATOR_ALL_ACL,
    OPEN_ACL_UNSAFE,
    READ_ACL_UNSAFE,
    make_digest_acl,
)

logging.disable(logging.CRITICAL)  # expected failures are no news
CHECK_SECONDS = 90  # the most that one check may take
SESSION_SECONDS = 8

CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


class Proxy:
    """Passes TCP connections on to servers, until they are cut."""

    def __init__(self, hosts):
        self.pairs, self.listeners, self.lock = set(), [], threading.Lock()
        self.refusing = self.closed = False
        addresses = []
        for host in hosts.split(","):
            name, port = host.rsplit(":", 1)
            listener = socket.create_server(("127.0.0.1", 0))
            self.listeners.append(listener)
            addresses.append("127.0.0.1:%d" % listener.getsockname()[1])
            self.spawn(self.accept, listener, (name, int(port)))
        self.hosts = ",".join(addresses)

    @staticmethod
    def spawn(function, *args):
        threading.Thread(target=function, args=args, daemon=True).start()

    def accept(self, listener, target):
        while not self.closed:
            try:
                inner = listener.accept()[0]
            except OSError:
                return
            try:
                if self.refusing:
                    raise OSError
                outer = socket.create_connection(target, 5)
                outer.settimeout(None)
            except OSError:
                inner.close()
                continue
            pair = (inner, outer)
            with self.lock:
                self.pairs.add(pair)
            self.spawn(self.pump, inner, outer, pair)
            self.spawn(self.pump, outer, inner, pair)

    def pump(self, source, sink, pair):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        self.close(pair)

    def close(self, pair):
        with self.lock:
            self.pairs.discard(pair)
        for end in pair:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def cut(self, seconds=0.0):
        """Ends all connections, and refuses new ones for a while."""
        self.refusing = seconds > 0
        with self.lock:
            pairs = list(self.pairs)
        for pair in pairs:
            self.close(pair)
        time.sleep(seconds)
        self.refusing = False

    def stop(self):
        self.closed = True
        for listener in self.listeners:
            listener.close()
        self.cut()


class Env:
    """What a check works with: its path, clients, and a proxy."""

    def __init__(self, hosts, name):
        self.hosts = hosts
        self.path = "/kazoo-suite-%s/%s" % (uuid.uuid4().hex[:8], name)
        self.clients, self.lost, self.errors, self._proxy = [], [], [], None

    @property
    def proxy(self):
        self._proxy = self._proxy or Proxy(self.hosts)
        return self._proxy

    def client(self, proxied=False, **options):
        retry = dict(max_tries=-1, delay=0.05, backoff=1.5, max_delay=0.3)
        options.setdefault("timeout", SESSION_SECONDS)
        client = KazooClient(
            self.proxy.hosts if proxied else self.hosts,
            connection_retry=retry,
            command_retry=retry,
            **options,
        )
        self.clients.append(client)
        client.start(15)
        if not self.clients[1:]:
            client.ensure_path(self.path)
        client.sync(self.path)
        client.first_session = client.client_id[0]
        client.add_listener(lambda state: self.lost.append(client) if state == KazooState.LOST else None)
        return client

    def same_sessions(self):
        """No session was lost or replaced."""
        for client in self.clients:
            client.retry(client.sync, self.path)  # for the last cut may not be noticed yet
        assert not self.lost, "%d sessions lost" % len(self.lost)
        for client in self.clients:
            assert client.client_id[0] == client.first_session, "another session"

    def threads(self, *functions):
        """Starts a thread for each function; the result waits for all of them."""

        def run(function):
            try:
                function()
            except BaseException as error:  # noqa: B902 - it is reported
                self.errors.append(error)

        threads = [threading.Thread(target=run, args=(f,), daemon=True) for f in functions]
        for thread in threads:
            thread.start()

        def join(seconds=60):
            deadline = time.monotonic() + seconds
            for thread in threads:
                thread.join(max(0, deadline - time.monotonic()))
            if self.errors:
                raise self.errors[0]
            assert not any(t.is_alive() for t in threads), "stuck for %d s" % seconds

        return join

    def close(self):
        if self._proxy:
            self._proxy.stop()
        for client in self.clients:
            client.stop()
            client.close()
        client = KazooClient(self.hosts, timeout=SESSION_SECONDS)
        client.start(15)
        client.retry(client.delete, self.path.rsplit("/", 1)[0], recursive=True)
        client.stop()
        client.close()


class Exclusive:
    """Notes how many are inside at once."""

    def __init__(self):
        self.lock, self.inside, self.most, self.entries = threading.Lock(), 0, 0, 0

    def __enter__(self):
        with self.lock:
            self.inside += 1
            self.entries += 1
            self.most = max(self.most, self.inside)

    def __exit__(self, *_):
        with self.lock:
            self.inside -= 1


def eventually(condition, what, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def raises(error, function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except error:
        return
    raise AssertionError("no %s" % error.__name__)


# Basics


@check
def create_get_set_delete(env):
    zk, path = env.client(), env.path + "/n"
    assert zk.create(path, b"one") == path
    raises(NodeExistsError, zk.create, path, b"again")
    data, stat = zk.get(path)
    assert (data, stat.version, stat.data_length) == (b"one", 0, 3)
    assert stat.ephemeralOwner == 0 and stat.czxid == stat.mzxid == stat.pzxid
    changed = zk.set(path, b"two", version=0)
    assert changed.version == 1 and changed.mzxid > stat.mzxid and changed.czxid == stat.czxid
    assert changed.mtime >= stat.ctime
    raises(BadVersionError, zk.set, path, b"x", version=0)
    raises(BadVersionError, zk.delete, path, version=0)
    assert zk.get(path)[0] == b"two"
    zk.delete(path, version=1)
    assert zk.exists(path) is None
    for missing in (zk.get, zk.delete, zk.get_children, zk.get_acls):
        raises(NoNodeError, missing, path)
    raises(NoNodeError, zk.set, path, b"")
    raises(NoNodeError, zk.create, path + "/child", b"")
    for data in (b"", b"\0\xff" * 1000, b"x" * 1000000):
        zk.create(path, data)
        assert zk.get(path)[0] == data
        zk.delete(path)


@check
def create_with_stat(env):
    zk = env.client()
    path, stat = zk.create(env.path + "/n", b"abc", include_data=True)
    assert path == env.path + "/n" and stat == zk.exists(path) and stat.data_length == 3


@check
def exists_and_children(env):
    zk = env.client()
    assert zk.exists(env.path + "/none") is None
    names = {"a", "b", "\u00e9\u4e2d", "with space"}
    for name in names:
        zk.create("%s/%s" % (env.path, name))
    assert set(zk.get_children(env.path)) == names
    children, stat = zk.get_children(env.path, include_data=True)
    assert set(children) == names and stat.children_count == 4 and stat.cversion == 4
    raises(NotEmptyError, zk.delete, env.path)
    zk.delete(env.path + "/a")
    after = zk.exists(env.path)
    assert after.cversion == 5 and after.children_count == 3 and after.pzxid > stat.pzxid
    assert after.version == 0 and after.mzxid == stat.mzxid


@check
def many_children(env):
    zk = env.client()
    made = [zk.create_async("%s/child-%04d" % (env.path, i)) for i in range(1000)]
    names = [m.get(30).rsplit("/", 1)[1] for m in made]
    assert sorted(zk.get_children(env.path)) == names


@check
def async_in_order(env):
    zk, path = env.client(), env.path + "/n"
    zk.create(path, b"")
    results = []
    for i in range(100):
        results += [zk.set_async(path, b"%d" % i), zk.get_async(path)]
    for i in range(100):
        assert results[2 * i].get(20).version == i + 1
        assert results[2 * i + 1].get(20)[0] == b"%d" % i


@check
def ephemeral(env):
    zk, other = env.client(), env.client()
    path = zk.create(env.path + "/e", b"", ephemeral=True)
    assert zk.exists(path).owner_session_id == zk.client_id[0]
    raises(NoChildrenForEphemeralsError, zk.create, path + "/child")
    other.sync(path)
    assert other.exists(path)
    zk.stop()
    eventually(lambda: other.exists(path) is None, "the node outlives its session", 5)


@check
def ephemeral_expires(env):
    zk, other = env.client(proxied=True, timeout=2), env.client()
    path = zk.create(env.path + "/e", b"", ephemeral=True)
    other.sync(path)
    assert other.exists(path)
    env.proxy.cut(8)
    assert other.exists(path) is None, "the node outlives its session"
    eventually(lambda: env.lost, "the client never learns that its session expired")
    eventually(lambda: zk.connected, "no new session")
    assert zk.client_id[0] != zk.first_session


@check
def sequential(env):
    zk = env.client()
    names = [zk.create(env.path + "/s-", sequence=True) for _ in range(3)]
    assert names == [env.path + "/s-%010d" % i for i in range(3)]
    zk.delete(names[2])
    assert zk.create(env.path + "/s-", sequence=True).endswith("0000000003")
    both = zk.create(env.path + "/t-", sequence=True, ephemeral=True)
    assert both.endswith("/t-0000000004") and zk.exists(both).owner_session_id == zk.client_id[0]
    assert zk.create(env.path + "/", sequence=True).endswith("/0000000005")


@check
def makepath(env):
    zk, path = env.client(), env.path + "/a/b/c/d"
    raises(NoNodeError, zk.create, path, b"x")
    assert zk.create(path, b"x", makepath=True) == path and zk.get(path)[0] == b"x"
    zk.ensure_path(path + "/e/f")
    zk.ensure_path(path + "/e/f")
    assert zk.exists(path + "/e/f")
    zk.delete(env.path + "/a", recursive=True)
    assert zk.exists(env.path + "/a") is None


@check
def chroot(env):
    zk = env.client()
    zk.create(env.path + "/in", b"1")
    inner = KazooClient(env.hosts + env.path)
    env.clients.append(inner)
    inner.start(15)
    inner.sync("/")
    assert inner.get("/in")[0] == b"1" and inner.create("/out") == "/out"
    zk.sync(env.path)
    assert sorted(zk.get_children(env.path)) == ["in", "out"]


@check
def session_resumed(env):
    zk = env.client(proxied=True)
    zk.create(env.path + "/e", ephemeral=True)
    before = zk.client_id
    env.proxy.stop()
    again = KazooClient(env.hosts, client_id=before, timeout=SESSION_SECONDS)
    env.clients.append(again)
    again.start(15)
    assert again.client_id == before and again.exists(env.path + "/e")


@check
def acl_digest(env):
    owner, other = env.client(), env.client()
    owner.add_auth("digest", "joe:secret")
    mine = make_digest_acl("joe", "secret", all=True)
    path = owner.create(env.path + "/mine", b"x", acl=[mine])
    by_auth = owner.create(env.path + "/auth", b"x", acl=CREATOR_ALL_ACL)
    assert owner.get_acls(path)[0] == [mine] == owner.get_acls(by_auth)[0]
    other.sync(path)
    raises(NoAuthError, other.get, path)
    raises(NoAuthError, other.set, path, b"y")
    raises(NoAuthError, other.create, path + "/child")
    raises(NoAuthError, other.set_acls, path, OPEN_ACL_UNSAFE)
    raises(InvalidACLError, other.create, env.path + "/none", b"", acl=CREATOR_ALL_ACL)
    other.add_auth("digest", "joe:wrong")
    raises(NoAuthError, other.get, path)
    other.add_auth("digest", "joe:secret")
    assert other.get(path)[0] == b"x"
    third = env.client()
    stat = owner.set_acls(path, READ_ACL_UNSAFE + [mine], version=0)
    assert stat.aversion == 1
    raises(BadVersionError, owner.set_acls, path, OPEN_ACL_UNSAFE, version=0)
    third.sync(path)
    assert third.get(path)[0] == b"x" and third.get_acls(path)[1] == stat
    assert [a.id.id for a in third.get_acls(path)[0]] == ["anyone", "joe:x"], "the hash shows"
    raises(NoAuthError, third.set, path, b"y")
    authed = env.client(auth_data=[("digest", "joe:secret")])
    assert authed.get(by_auth)[0] == b"x"
    owner.delete(by_auth)


@check
def transaction(env):
    zk, path = env.client(), env.path
    zk.create(path + "/a", b"1")
    t = zk.transaction()
    t.check(path + "/a", 0)
    t.create(path + "/b", b"2")
    t.create(path + "/s-", sequence=True, ephemeral=True)
    t.set_data(path + "/a", b"3", version=0)
    t.delete(path + "/b")
    results = t.commit()
    assert results[0] is True and results[1] == path + "/b" and results[4] is True, results
    assert results[2].startswith(path + "/s-") and results[3].version == 1
    assert zk.get(path + "/a")[0] == b"3" and zk.exists(path + "/b") is None
    before = zk.exists(path)
    t = zk.transaction()
    t.create(path + "/c")
    t.check(path + "/a", 99)
    t.create(path + "/d")
    kinds = [type(r) for r in t.commit()]
    assert kinds == [RolledBackError, BadVersionError, RuntimeInconsistency], kinds
    assert zk.exists(path + "/c") is None and zk.exists(path).cversion == before.cversion
    t = zk.transaction()
    t.create(path + "/c")
    t.create(path + "/c/child")
    t.delete(path + "/c/child")
    assert t.commit() == [path + "/c", path + "/c/child", True]


@check
def watches_once(env):
    zk, other = env.client(), env.client()
    seen = []
    path = env.path + "/w"

    def event(*expected):
        eventually(lambda: len(seen) >= len(expected), "watch %s, saw %s" % (expected, seen), 10)
        time.sleep(0.1)
        got = sorted((e.type, e.path) for e in seen)
        assert got == sorted(expected), "watch %s, saw %s" % (expected, got)
        seen.clear()

    zk.exists(path, watch=seen.append)
    other.create(path, b"")
    event((EventType.CREATED, path))
    zk.get(path, watch=seen.append)
    other.set(path, b"1")
    event((EventType.CHANGED, path))
    other.set(path, b"2")  # that watch is spent
    event()
    zk.get_children(path, watch=seen.append)
    other.create(path + "/c")
    event((EventType.CHILD, path))
    other.delete(path + "/c")
    event()
    zk.sync(path)
    zk.get_children(path, watch=seen.append)
    other.delete(path)
    event((EventType.DELETED, path))


@check
def data_watch(env):
    zk, other = env.client(), env.client()
    seen = []
    zk.DataWatch(env.path + "/w", lambda data, stat: seen.append(data))
    steps = [None, b"1", b"2", None, b"3"]
    for i, step in enumerate(steps):
        if i and step is None:
            other.delete(env.path + "/w")
        elif i:
            (other.create if steps[i - 1] is None else other.set)(env.path + "/w", step)
        eventually(lambda: seen == steps[: i + 1], "saw %s, not %s" % (seen, steps[: i + 1]))


@check
def children_watch(env):
    zk, other = env.client(), env.client()
    seen = []
    zk.ChildrenWatch(env.path, lambda names: seen.append(sorted(names)))
    for name in "abc":
        other.create("%s/%s" % (env.path, name))
        eventually(lambda: name in seen[-1], "%s lacks %s" % (seen, name))
    other.delete(env.path + "/b")
    eventually(lambda: seen[-1] == ["a", "c"], "saw %s" % seen)
    assert seen == [[], ["a"], ["a", "b"], ["a", "b", "c"], ["a", "c"]]


# Recipes


def contend(env, make, rounds, hold=0.005):
    """Clients with a lock each take it in turns; returns a function that waits for them."""
    inside = Exclusive()

    def worker(lock):
        for _ in range(rounds):
            with lock:
                with inside:
                    time.sleep(hold)

    locks = [make(i) for i in range(4)]
    join = env.threads(*[lambda lock=lock: worker(lock) for lock in locks])

    def wait(seconds=60):
        join(seconds)
        assert inside.entries == 4 * rounds, "%d entries" % inside.entries
        return inside

    return wait


@check
def lock(env):
    inside = contend(env, lambda i: env.client().Lock(env.path + "/lock", "c%d" % i), 15)()
    assert inside.most == 1, "%d held it at once" % inside.most
    one, two = (c.Lock(env.path + "/lock", n) for c, n in zip(env.clients, ("one", "two")))
    assert one.acquire() and not two.acquire(blocking=False)
    raises(LockTimeout, two.acquire, timeout=0.3)
    assert one.contenders() == ["one"]
    join = env.threads(two.acquire)
    eventually(lambda: one.contenders() == ["one", "two"], "contenders %s" % one.contenders())
    env.clients[0].stop()  # a session that ends lets go
    join(10)
    assert two.is_acquired


@check
def read_write_lock(env):
    a, b, c = (env.client() for _ in range(3))
    path = env.path + "/rw"
    read1, read2, write = a.ReadLock(path), b.ReadLock(path), c.WriteLock(path)
    assert read1.acquire(timeout=5) and read2.acquire(timeout=5)
    assert not write.acquire(blocking=False)
    join = env.threads(lambda: write.acquire(timeout=20))
    eventually(lambda: len(a.get_children(path)) == 3, "the writer does not queue")
    late = a.ReadLock(path)
    assert not late.acquire(blocking=False), "a reader passed a waiting writer"
    read1.release()
    assert not write.is_acquired
    read2.release()
    join()
    assert write.is_acquired and not read1.acquire(blocking=False)
    write.release()
    assert read1.acquire(timeout=5)


@check
def semaphore(env):
    def make(_):
        return env.client().Semaphore(env.path + "/sem", max_leases=2)

    inside = contend(env, make, 10, 0.01)()
    assert inside.most == 2, "%d held it at once" % inside.most


@check
def election(env):
    leaders, inside, clients = [], Exclusive(), [env.client() for _ in range(3)]

    def run(number):
        def lead():
            with inside:
                leaders.append(number)
                time.sleep(0.02)

        elected = clients[number].Election(env.path + "/election", str(number))
        for _ in range(3):
            elected.run(lead)

    env.threads(*[lambda n=n: run(n) for n in range(3)])()
    assert inside.most == 1 and sorted(leaders) == [0] * 3 + [1] * 3 + [2] * 3, leaders


@check
def barrier(env):
    clients = [env.client() for _ in range(3)]
    barriers = [c.Barrier(env.path + "/barrier") for c in clients]
    barriers[0].create()
    passed = []

    def wait(one):
        one.client.sync(one.path)
        assert one.wait(20)
        passed.append(one)

    join = env.threads(*[lambda b=b: wait(b) for b in barriers[1:]])
    time.sleep(0.3)
    assert not passed, "passed too early"
    assert barriers[0].remove()
    join()
    assert len(passed) == 2 and not barriers[0].remove() and barriers[0].wait(1)


@check
def double_barrier(env):
    clients = [env.client() for _ in range(3)]
    entered, left = [], []

    def run(client, delay):
        both = client.DoubleBarrier(env.path + "/double", 3)
        time.sleep(delay)
        both.enter()
        entered.append(time.monotonic())
        assert both.participating
        time.sleep(delay)
        leaving = time.monotonic()
        both.leave()
        left.append((leaving, time.monotonic()))

    env.threads(*[lambda c=c, i=i: run(c, i * 0.3) for i, c in enumerate(clients)])(30)
    assert max(entered) - min(entered) < 0.3, "entered one by one"
    assert min(out for _, out in left) >= max(at for at, _ in left), "one left early"


@check
def queue(env):
    a, b = env.client().Queue(env.path + "/q"), env.client().Queue(env.path + "/q")
    assert a.get() is None
    for i in range(20):
        a.put(b"%d" % i)
    a.put(b"first", priority=5)
    assert len(a) == 21 and a.get() == b"first"
    b.client.sync(b.path)
    got = []

    def take(one):
        while (item := one.get()) is not None:
            got.append(item)

    env.threads(lambda: take(a), lambda: take(b))()
    assert sorted(got, key=int) == [b"%d" % i for i in range(20)], got


@check
def locking_queue(env):
    a, b = env.client().LockingQueue(env.path + "/q"), env.client().LockingQueue(env.path + "/q")
    a.put_all([b"1", b"2", b"3"])
    a.put(b"0", priority=1)
    assert len(a) == 4 and a.get() == b"0" and a.get() == b"0" and a.holds_lock()
    b.client.sync(b.path)
    assert b.get(5) == b"1", "both hold one entry"
    assert a.consume() and b.release() and not b.consume()
    got = []
    for one in (a, b, a):
        one.client.sync(one.path)
        got.append(one.get(5))
        assert one.consume()
    assert sorted(got) == [b"1", b"2", b"3"] and a.get(0.2) is None
    join = env.threads(lambda: got.append(a.get(20)))
    time.sleep(0.2)
    b.put(b"late")
    join()
    assert got[-1] == b"late"


@check
def counter(env):
    counters = [env.client().Counter(env.path + "/counter") for _ in range(4)]

    def add(one):
        for _ in range(20):
            one += 2
            one -= 1

    env.threads(*[lambda c=c: add(c) for c in counters])()
    counters[0].client.sync(env.path)
    assert counters[0].value == 80, counters[0].value
    real = env.clients[0].Counter(env.path + "/float", default=0.0)
    real += 1.5
    assert real.value == 1.5


@check
def party(env):
    parties = [env.client().Party(env.path + "/party", "p%d" % i) for i in range(3)]
    for one in parties:
        one.join()
    for one in parties:
        one.client.sync(env.path)
        assert set(one) == {"p0", "p1", "p2"} and len(one) == 3
    parties[0].leave()
    parties[1].client.stop()
    eventually(lambda: list(parties[2]) == ["p2"], "still %s" % list(parties[2]), 5)
    shallow = env.client().ShallowParty(env.path + "/shallow", "s")
    shallow.join()
    assert list(shallow) == ["s"]


@check
def set_partitioner(env):
    items = tuple("item%d" % i for i in range(7))
    parts = [
        env.client().SetPartitioner(env.path + "/set", set=items, identifier="m%d" % i, time_boundary=0.5)
        for i in range(3)
    ]

    def settled(members):
        def test():
            for one in members:
                assert not one.failed, "a member failed"
                if one.release:
                    one.release_set()
            return all(one.acquired for one in members) and sorted(sum(map(list, members), [])) == list(items)

        return test

    eventually(settled(parts), "three members do not share the set", 30)
    assert sorted(len(list(p)) for p in parts) == [2, 2, 3]
    parts[0].finish()
    eventually(settled(parts[1:]), "two members do not share the set", 30)
    env.clients[1].stop()  # an ended session counts as leaving
    eventually(settled(parts[2:]), "one member does not take the set", 30)


def cached(cache, path):
    """The part of a TreeCache below a path, as {path: data}."""
    node = cache.get_data(path)
    tree = {} if node is None else {path: node.data}
    for name in cache.get_children(path) or ():
        tree.update(cached(cache, "%s/%s" % (path, name)))
    return tree


def actual(zk, path):
    tree = {path: zk.get(path)[0]}
    for name in zk.get_children(path):
        tree.update(actual(zk, "%s/%s" % (path, name)))
    return tree


def change_tree(zk, path, count, seed):
    """Creates, changes and deletes nodes below a path, at random."""
    dice = random.Random(seed)
    for i in range(count):
        node = path + "".join("/%s" % dice.choice("abc") for _ in range(dice.randint(1, 3)))
        zk.ensure_path(node)
        if dice.random() < 0.3:
            zk.delete(node, recursive=True)
        else:
            zk.set(node, b"%d" % i)
        yield i


@check
def tree_cache(env):
    zk, writer = env.client(), env.client()
    writer.create(env.path + "/tree/a/b", b"deep", makepath=True)
    zk.sync(env.path)
    cache, events = TreeCache(zk, env.path + "/tree"), []
    cache.listen(lambda event: events.append(event.event_type))
    cache.start()
    eventually(lambda: TreeEvent.INITIALIZED in events, "never initialized")
    assert cached(cache, env.path + "/tree") == actual(zk, env.path + "/tree")
    for _ in change_tree(writer, env.path + "/tree", 100, 1):
        pass
    want = actual(writer, env.path + "/tree")
    eventually(lambda: cached(cache, env.path + "/tree") == want, "the cache does not converge")
    assert {TreeEvent.NODE_ADDED, TreeEvent.NODE_UPDATED, TreeEvent.NODE_REMOVED} <= set(events)
    cache.close()


# Under connection loss


def cut_often(env, seconds=4):
    """Cuts connections again and again, for about so long."""
    dice, end = random.Random(7), time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(dice.uniform(0.2, 0.6))
        env.proxy.cut(dice.choice((0, 0, 0.2)))


def cut_through(env, join):
    """Cuts connections for a while; then what was started must come to its end."""
    cut_often(env)
    result = join()
    env.same_sessions()
    return result


@check
def loss_session_survives(env):
    zk = env.client(proxied=True)
    path = zk.create(env.path + "/e", b"", ephemeral=True)
    done = []

    def work():
        for i in range(200):
            zk.retry(zk.set, path, b"%d" % i)
            done.append(i)
            time.sleep(0.01)

    cut_through(env, env.threads(work))
    assert zk.retry(zk.get, path)[0] == b"199" and zk.exists(path).owner_session_id == zk.first_session


@check
def loss_lock(env):
    join = contend(env, lambda i: env.client(proxied=True).Lock(env.path + "/lock"), 25, 0.02)
    inside = cut_through(env, join)
    assert inside.most == 1, "%d held it at once" % inside.most
    assert not env.client().get_children(env.path + "/lock"), "contenders left behind"


@check
def loss_read_write_lock(env):
    inside, clients = Exclusive(), [env.client(proxied=True) for _ in range(4)]
    readers, wrong = Exclusive(), []

    def write(client):
        for _ in range(12):
            with client.WriteLock(env.path + "/rw"), inside:
                if readers.inside:
                    wrong.append("a reader beside a writer")
                time.sleep(0.02)

    def read(client):
        for _ in range(12):
            with client.ReadLock(env.path + "/rw"), readers:
                if inside.inside:
                    wrong.append("a writer beside a reader")
                time.sleep(0.02)

    work = [lambda c=c, w=w: w(c) for c, w in zip(clients, (write, write, read, read))]
    cut_through(env, env.threads(*work))
    assert inside.most == 1 and not wrong, wrong[:1]


@check
def loss_election(env):
    clients, inside, terms = [env.client(proxied=True) for _ in range(3)], Exclusive(), [0, 0, 0]

    def run(number):
        def lead():
            with inside:
                terms[number] += 1
                time.sleep(0.05)

        elected = clients[number].Election(env.path + "/election")
        while terms[number] < 12:
            elected.run(lead)

    cut_through(env, env.threads(*[lambda n=n: run(n) for n in range(3)]))
    assert inside.most == 1, "%d led at once" % inside.most
    assert terms == [12] * 3, terms


@check
def loss_tree_cache(env):
    zk, writer = env.client(proxied=True), env.client()
    root = env.path + "/tree"
    cache = TreeCache(zk, root)
    cache.start()
    writer.ensure_path(root)

    def write():
        for _ in change_tree(writer, root, 300, 2):
            time.sleep(0.01)

    cut_through(env, env.threads(write))
    want = actual(writer, root)
    eventually(lambda: cached(cache, root) == want, "the cache does not converge")
    writer.set(root, b"after")
    eventually(lambda: cached(cache, root).get(root) == b"after", "the cache is deaf")
    cache.close()


@check
def loss_watchers(env):
    zk, writer = env.client(proxied=True), env.client()
    data, children = [], []
    writer.create(env.path + "/w", b"")
    zk.sync(env.path)
    zk.DataWatch(env.path + "/w", lambda value, stat: data.append(value))
    zk.ChildrenWatch(env.path + "/w", lambda names: children.append(set(names)))

    def write():
        for i in range(200):
            writer.set(env.path + "/w", b"%d" % i)
            writer.create("%s/w/%d" % (env.path, i))
            time.sleep(0.01)

    cut_through(env, env.threads(write))
    eventually(lambda: data[-1] == b"199", "data stays %s" % data[-1:])
    eventually(lambda: len(children[-1]) == 200, "children stay %d" % len(children[-1]))
    numbers = [int(value) for value in data if value]
    assert numbers == sorted(numbers), "data went back"


@check
def loss_barrier(env):
    owner, clients = env.client(), [env.client(proxied=True) for _ in range(2)]
    owner.Barrier(env.path + "/barrier").create()
    passed = []

    def wait(client):
        client.retry(client.sync, env.path)
        one = client.Barrier(env.path + "/barrier")
        while not client.retry(one.wait, 0.5):  # kazoo's wait does not outlive a cut
            pass
        passed.append(client)

    join = env.threads(*[lambda c=c: wait(c) for c in clients])
    cut_often(env, 3)
    assert not passed, "passed too early"
    owner.Barrier(env.path + "/barrier").remove()
    join(20)
    assert len(passed) == 2
    env.same_sessions()


@check
def loss_counter(env):
    counters = [env.client(proxied=True).Counter(env.path + "/counter") for _ in range(3)]

    def add(one):
        for _ in range(60):
            one += 1
            time.sleep(0.02)

    cut_through(env, env.threads(*[lambda c=c: add(c) for c in counters]))
    data, stat = env.client().get(env.path + "/counter")
    value, version = int(data), stat.version
    # An addition whose answer was cut off is tried again, so some count twice; none is lost.
    assert version == value >= 180, "value %d, version %d" % (value, version)


@check
def loss_queue(env):
    producer, consumers = env.client(), [env.client(proxied=True) for _ in range(2)]
    first, got, made = producer.LockingQueue(env.path + "/q"), [], threading.Event()

    def put():
        for i in range(60):
            first.put(b"%d" % i)
            time.sleep(0.05)
        made.set()

    def take(client):
        while not (made.is_set() and len(client.retry(client.get_children, env.path + "/q/entries")) == 0):
            one = client.LockingQueue(env.path + "/q")
            try:
                item = one.get(0.5)
                if item is not None and one.consume():
                    got.append(item)
                    continue
            except Exception:  # noqa: B902 - a cut; the entry is looked at again
                pass
            # A cut can leave an entry taken by this session without its knowing.
            release(client, env.path + "/q/taken")

    def release(client, taken):
        """Gives up the entries that this session holds."""
        for name in client.retry(client.get_children, taken):
            stat = client.retry(client.exists, "%s/%s" % (taken, name))
            if stat and stat.owner_session_id == client.first_session:
                try:
                    client.retry(client.delete, "%s/%s" % (taken, name))
                except NoNodeError:
                    pass

    producer.ensure_path(env.path + "/q/taken")
    producer.ensure_path(env.path + "/q/entries")
    for client in consumers:
        client.sync(env.path)
    cut_through(env, env.threads(put, *[lambda c=c: take(c) for c in consumers]))
    assert len(got) == len(set(got)), "an entry was consumed twice"
    assert not producer.get_children(env.path + "/q/entries")


def run(function, hosts):
    """The reason why a check fails, or None."""
    result = []

    def body():
        env = Env(hosts, function.__name__)
        try:
            function(env)
            env.close()
            result.append(None)
        except BaseException as error:  # noqa: B902 - it is reported
            at = traceback.extract_tb(error.__traceback__)
            line = next((f.lineno for f in reversed(at) if f.filename == __file__), 0)
            result.append("%s %s (line %d)" % (type(error).__name__, error, line))
            try:
                env.close()
            except Exception:  # noqa: B902 - the first error counts
                pass

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(CHECK_SECONDS)
    return result[0] if result else "no end after %d s" % CHECK_SECONDS


def main(hosts, *names):
    failed = 0
    chosen = [c for c in CHECKS if not names or c.__name__ in names]
    for function in chosen:
        start = time.monotonic()
        why = run(function, hosts)
        if why is None:
            print("ok %s (%.1f s)" % (function.__name__, time.monotonic() - start), flush=True)
        else:
            failed += 1
            print("FAIL %s: %s" % (function.__name__, why.replace("\n", " ")), flush=True)
    print("%d passed, %d failed" % (len(chosen) - failed, failed), flush=True)
    return failed > 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
