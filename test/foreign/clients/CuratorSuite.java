import java.io.Closeable;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.api.transaction.CuratorTransactionResult;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.locks.InterProcessMultiLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.shared.SharedCountListener;
import org.apache.curator.framework.recipes.shared.SharedCountReader;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryNTimes;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.KeeperException.Code;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.OpResult;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.ClientInfo;
import org.apache.zookeeper.data.Stat;

/**
 * Conformance of a ZooKeeper server as Curator, and the Java client below it, see it.
 *
 * <pre>java CuratorSuite HOST:PORT[,HOST:PORT] [CHECK...]</pre>
 *
 * Prints "ok NAME" or "FAIL NAME: why" per check, then "N passed, N failed"; exits 0 only if
 * none failed. With names, only those checks run. Each check works below a path of its own and
 * removes it. The checks named loss_* talk through a proxy that cuts connections.
 */
@SuppressWarnings("deprecation") // Curator calls some recipes so that are still in use
public final class CuratorSuite {
    private static final int CHECK_SECONDS = 90;
    private static final int SESSION_MS = 8000;
    private static String hosts;

    interface Check {
        void run(Env env) throws Exception;
    }

    interface Action {
        void run() throws Exception;
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] data) {
        return new String(data, StandardCharsets.UTF_8);
    }

    private static void require(boolean condition, String what) {
        if (!condition) {
            throw new AssertionError(what);
        }
    }

    private static void equal(Object want, Object got) {
        require(want.equals(got), got + ", not " + want);
    }

    private static void eventually(String what, int seconds, Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + seconds * 1_000_000_000L;
        while (!condition.call()) {
            require(System.nanoTime() < end, what);
            Thread.sleep(10);
        }
    }

    private static void fails(Code code, Action action) throws Exception {
        try {
            action.run();
        } catch (KeeperException e) {
            equal(code, e.code());
            return;
        }
        throw new AssertionError("no " + code);
    }

    /** Passes connections on to the servers, until they are cut. */
    static final class Proxy implements Closeable {
        private final List<ServerSocket> listeners = new ArrayList<>();
        private final Set<Socket> sockets = ConcurrentHashMap.newKeySet();
        volatile boolean refusing;
        final String hosts;

        Proxy(String targets) throws IOException {
            List<String> addresses = new ArrayList<>();
            for (String target : targets.split(",")) {
                int colon = target.lastIndexOf(':');
                var address =
                        new InetSocketAddress(target.substring(0, colon), Integer.parseInt(target.substring(colon + 1)));
                var listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
                listeners.add(listener);
                addresses.add("127.0.0.1:" + listener.getLocalPort());
                thread(() -> accept(listener, address));
            }
            hosts = String.join(",", addresses);
        }

        private static void thread(Runnable body) {
            var thread = new Thread(body);
            thread.setDaemon(true);
            thread.start();
        }

        private void accept(ServerSocket listener, InetSocketAddress target) {
            while (!listener.isClosed()) {
                try {
                    Socket inner = listener.accept();
                    Socket outer = new Socket();
                    sockets.add(inner);
                    sockets.add(outer);
                    if (refusing) {
                        end(inner, outer);
                        continue;
                    }
                    try {
                        outer.connect(target, 5000);
                        inner.setTcpNoDelay(true);
                        outer.setTcpNoDelay(true);
                    } catch (IOException e) {
                        end(inner, outer);
                        continue;
                    }
                    thread(() -> pump(inner, outer));
                    thread(() -> pump(outer, inner));
                } catch (IOException e) {
                    return;
                }
            }
        }

        private void pump(Socket from, Socket to) {
            try {
                var data = new byte[65536];
                for (int n; (n = from.getInputStream().read(data)) >= 0; ) {
                    to.getOutputStream().write(data, 0, n);
                }
            } catch (IOException e) {
                // It was cut.
            }
            end(from, to);
        }

        private void end(Socket... pair) {
            for (Socket socket : pair) {
                sockets.remove(socket);
                try {
                    socket.close();
                } catch (IOException e) {
                    // It is of no use any more.
                }
            }
        }

        void cut() {
            end(sockets.toArray(new Socket[0]));
        }

        @Override
        public void close() throws IOException {
            refusing = true;
            for (ServerSocket listener : listeners) {
                listener.close();
            }
            cut();
        }
    }

    /** What a check works with. */
    static final class Env implements Closeable {
        final String path;
        final List<CuratorFramework> clients = new ArrayList<>();
        final List<Long> sessions = new ArrayList<>();
        final List<Closeable> recipes = new ArrayList<>();
        final AtomicInteger lost = new AtomicInteger();
        private final ExecutorService threads = Executors.newCachedThreadPool(task -> {
            var thread = new Thread(task);
            thread.setDaemon(true);
            return thread;
        });
        private final List<Future<?>> running = new ArrayList<>();
        private Proxy proxy;

        Env(String name) {
            path = "/curator-suite-" + UUID.randomUUID().toString().substring(0, 8) + "-" + name;
        }

        Proxy proxy() throws IOException {
            if (proxy == null) {
                proxy = new Proxy(hosts);
            }
            return proxy;
        }

        CuratorFramework client() throws Exception {
            return open(hosts, SESSION_MS, true);
        }

        /** A client behind the proxy; it must not learn the servers' own addresses. */
        CuratorFramework proxied() throws Exception {
            return open(proxy().hosts, SESSION_MS, false);
        }

        CuratorFramework open(String where, int timeout, boolean tracker) throws Exception {
            CuratorFramework client = CuratorFrameworkFactory.builder()
                    .connectString(where)
                    .sessionTimeoutMs(timeout)
                    .connectionTimeoutMs(5000)
                    .retryPolicy(new RetryNTimes(200, 100))
                    .ensembleTracker(tracker)
                    .build();
            client.getConnectionStateListenable().addListener((c, state) -> {
                if (state == ConnectionState.LOST) {
                    lost.incrementAndGet();
                }
            });
            clients.add(client);
            client.start();
            require(client.blockUntilConnected(10, TimeUnit.SECONDS), "no connection");
            if (clients.size() == 1) {
                client.create().forPath(path, new byte[0]);
            }
            client.sync().forPath(path);
            sessions.add(session(client));
            return client;
        }

        static long session(CuratorFramework client) throws Exception {
            return client.getZookeeperClient().getZooKeeper().getSessionId();
        }

        <T extends Closeable> T closing(T recipe) {
            recipes.add(recipe);
            return recipe;
        }

        void spawn(Action action) {
            running.add(threads.submit(() -> {
                action.run();
                return null;
            }));
        }

        /** Waits for what was spawned, and fails if any of it did. */
        void join() throws Exception {
            long end = System.nanoTime() + 60_000_000_000L;
            for (Future<?> one : running) {
                try {
                    one.get(Math.max(1, end - System.nanoTime()), TimeUnit.NANOSECONDS);
                } catch (TimeoutException e) {
                    throw new AssertionError("stuck for 60 s");
                } catch (ExecutionException e) {
                    if (e.getCause() instanceof Exception cause) {
                        throw cause;
                    }
                    throw (Error) e.getCause();
                }
            }
            running.clear();
        }

        /** Cuts connections for a while; then what was spawned must end, in the same sessions. */
        void cutAndJoin() throws Exception {
            var dice = new Random(7);
            long end = System.nanoTime() + 4_000_000_000L;
            while (System.nanoTime() < end) {
                Thread.sleep(200 + dice.nextInt(400));
                proxy.refusing = dice.nextInt(3) == 0;
                proxy.cut();
                Thread.sleep(proxy.refusing ? 200 : 0);
                proxy.refusing = false;
            }
            join();
            for (int i = 0; i < clients.size(); i++) {
                CuratorFramework client = clients.get(i);
                eventually("a client stays away", 10, client.getZookeeperClient()::isConnected);
                equal(sessions.get(i), session(client));
            }
            equal(0, lost.get());
        }

        @Override
        public void close() throws IOException {
            for (Closeable recipe : recipes) {
                try {
                    recipe.close();
                } catch (Exception e) {
                    // It was closed already, or never started.
                }
            }
            threads.shutdownNow();
            if (proxy != null) {
                proxy.close();
            }
            for (CuratorFramework client : clients) {
                client.close();
            }
            try (CuratorFramework client = CuratorFrameworkFactory.newClient(hosts, new RetryNTimes(50, 100))) {
                client.start();
                client.delete().quietly().deletingChildrenIfNeeded().forPath(path);
            } catch (Exception e) {
                throw new IOException("cleaning up: " + e, e);
            }
        }
    }

    /** Notes how many are inside at once. */
    static final class Inside {
        int now;
        int most;
        int entries;

        synchronized void enter() {
            entries++;
            most = Math.max(most, ++now);
        }

        synchronized void leave() {
            now--;
        }

        void pass(int ms) throws InterruptedException {
            enter();
            try {
                Thread.sleep(ms);
            } finally {
                leave();
            }
        }
    }

    /** What a watcher saw, as "TYPE path". */
    static final class Seen implements Watcher {
        final List<String> events = new CopyOnWriteArrayList<>();

        @Override
        public void process(org.apache.zookeeper.WatchedEvent event) {
            if (event.getType() != EventType.None) {
                events.add(event.getType() + " " + event.getPath());
            }
        }

        void expect(String... want) throws Exception {
            try {
                eventually("", 10, () -> events.size() >= want.length);
            } catch (AssertionError e) {
                // What is there and what is missing is told below.
            }
            Thread.sleep(100);
            equal(new ArrayList<>(new TreeSet<>(Arrays.asList(want))), new ArrayList<>(new TreeSet<>(events)));
            equal(want.length, events.size());
            events.clear();
        }
    }

    // Basics

    static void basics(Env env) throws Exception {
        CuratorFramework client = env.client();
        String path = env.path + "/n";
        var stat = new Stat();
        equal(path, client.create().storingStatIn(stat).forPath(path, bytes("one")));
        equal(3, stat.getDataLength());
        fails(Code.NODEEXISTS, () -> client.create().forPath(path));
        equal("one", text(client.getData().storingStatIn(stat).forPath(path)));
        equal(1, client.setData().withVersion(stat.getVersion()).forPath(path, bytes("two")).getVersion());
        fails(Code.BADVERSION, () -> client.setData().withVersion(0).forPath(path));
        fails(Code.BADVERSION, () -> client.delete().withVersion(0).forPath(path));
        client.delete().withVersion(1).forPath(path);
        require(client.checkExists().forPath(path) == null, "it is still there");
        fails(Code.NONODE, () -> client.getData().forPath(path));
        client.create().creatingParentsIfNeeded().forPath(path + "/a/b/c", bytes("x"));
        equal(List.of("a"), client.getChildren().forPath(path));
        fails(Code.NOTEMPTY, () -> client.delete().forPath(path));
        client.delete().deletingChildrenIfNeeded().forPath(path);
        String first = client.create().withMode(CreateMode.PERSISTENT_SEQUENTIAL).forPath(env.path + "/s-");
        String second = client.create().withMode(CreateMode.EPHEMERAL_SEQUENTIAL).forPath(env.path + "/s-");
        require(first.endsWith("/s-0000000002") && second.endsWith("/s-0000000003"), first + " " + second);
        equal(Env.session(client), client.checkExists().forPath(second).getEphemeralOwner());
        String mine = client.create().withProtection().withMode(CreateMode.EPHEMERAL).forPath(env.path + "/p");
        require(mine.matches(".*/_c_[-0-9a-f]{36}-p"), mine);
        var done = new CompletableFuture<Integer>();
        client.setData().inBackground((c, event) -> done.complete(event.getResultCode())).forPath(mine, bytes("x"));
        equal(0, done.get(10, TimeUnit.SECONDS));
    }

    static void watches(Env env) throws Exception {
        CuratorFramework client = env.client();
        CuratorFramework other = env.client();
        var seen = new Seen();
        String path = env.path + "/w";
        client.checkExists().usingWatcher(seen).forPath(path);
        other.create().forPath(path);
        seen.expect("NodeCreated " + path);
        client.sync().forPath(path);
        client.getData().usingWatcher(seen).forPath(path);
        other.setData().forPath(path, bytes("1"));
        other.setData().forPath(path, bytes("2"));
        seen.expect("NodeDataChanged " + path);
        client.getChildren().usingWatcher(seen).forPath(path);
        other.create().forPath(path + "/c");
        seen.expect("NodeChildrenChanged " + path);
        other.delete().forPath(path + "/c");
        client.sync().forPath(path);
        client.checkExists().usingWatcher(seen).forPath(path);
        other.delete().forPath(path);
        seen.expect("NodeDeleted " + path);
        client.checkExists().usingWatcher(seen).forPath(path);
        client.watches().remove(seen).forPath(path);
        other.create().forPath(path);
        seen.expect("DataWatchRemoved " + path); // the client tells this itself
    }

    static void transactions(Env env) throws Exception {
        CuratorFramework client = env.client();
        String path = env.path;
        client.create().forPath(path + "/a", bytes("1"));
        List<CuratorTransactionResult> good = client.transaction()
                .forOperations(
                        client.transactionOp().check().withVersion(0).forPath(path + "/a"),
                        client.transactionOp().create().forPath(path + "/b", bytes("2")),
                        client.transactionOp().setData().withVersion(0).forPath(path + "/a", bytes("3")),
                        client.transactionOp().delete().forPath(path + "/b"));
        equal(path + "/b", good.get(1).getResultPath());
        equal(1, good.get(2).getResultStat().getVersion());
        equal("3", text(client.getData().forPath(path + "/a")));
        fails(Code.BADVERSION, () -> client.transaction()
                .forOperations(
                        client.transactionOp().create().forPath(path + "/c"),
                        client.transactionOp().check().withVersion(99).forPath(path + "/a"),
                        client.transactionOp().create().forPath(path + "/d")));
        require(client.checkExists().forPath(path + "/c") == null, "it was not rolled back");
    }

    static void acl(Env env) throws Exception {
        CuratorFramework client = env.client();
        ZooKeeper owner = client.getZookeeperClient().getZooKeeper();
        ZooKeeper other = env.client().getZookeeperClient().getZooKeeper();
        String path = env.path + "/mine";
        owner.addAuthInfo("digest", bytes("joe:secret"));
        client.create().withACL(ZooDefs.Ids.CREATOR_ALL_ACL).forPath(path, bytes("x"));
        equal("joe:oesAybBun9icKJjQSTRN8OBueSc=", client.getACL().forPath(path).get(0).getId().getId());
        other.sync(env.path);
        fails(Code.NOAUTH, () -> other.getData(path, false, null));
        fails(Code.NOAUTH, () -> other.setData(path, bytes("y"), -1));
        fails(Code.INVALIDACL, () -> other.create(env.path + "/n", null, ZooDefs.Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT));
        other.addAuthInfo("digest", bytes("joe:secret"));
        equal("x", text(other.getData(path, false, null)));
        List<String> known = other.whoAmI().stream().map(ClientInfo::getAuthScheme).sorted().toList();
        equal(List.of("digest", "ip"), known);
        client.delete().forPath(path);
    }

    /** Calls of the Java client that Curator does not use. */
    static void java_client(Env env) throws Exception {
        ZooKeeper zk = env.client().getZookeeperClient().getZooKeeper();
        var open = ZooDefs.Ids.OPEN_ACL_UNSAFE;
        for (String name : List.of("/a", "/a/b", "/a/b/c", "/ab")) {
            zk.create(env.path + name, bytes(name), open, CreateMode.PERSISTENT);
        }
        zk.create(env.path + "/a/e", null, open, CreateMode.EPHEMERAL);
        equal(5, zk.getAllChildrenNumber(env.path));
        equal(List.of(env.path + "/a/e"), zk.getEphemerals(env.path + "/a"));
        equal(List.of(), zk.getEphemerals(env.path + "/ab"));
        List<OpResult> read = zk.multi(List.of(
                Op.getData(env.path + "/ab"), Op.getChildren(env.path + "/a"), Op.getData(env.path + "/none")));
        equal("/ab", text(((OpResult.GetDataResult) read.get(0)).getData()));
        equal(Set.of("b", "e"), Set.copyOf(((OpResult.GetChildrenResult) read.get(1)).getChildren()));
        equal(Code.NONODE.intValue(), ((OpResult.ErrorResult) read.get(2)).getErr());
        zk.getConfig(false, new Stat());
    }

    static void containers(Env env) throws Exception {
        CuratorFramework client = env.client();
        client.create().creatingParentContainersIfNeeded().forPath(env.path + "/a/b/c", bytes("x"));
        equal("x", text(client.getData().forPath(env.path + "/a/b/c")));
        client.create().withMode(CreateMode.CONTAINER).forPath(env.path + "/container");
        equal(0L, client.checkExists().forPath(env.path + "/container").getEphemeralOwner());
    }

    /** Servers know TTLs only if told so; it is fine not to. */
    static void persistent_ttl_node(Env env) throws Exception {
        CuratorFramework client = env.client();
        try {
            client.create().withTtl(60000).withMode(CreateMode.PERSISTENT_WITH_TTL).forPath(env.path + "/t");
        } catch (KeeperException.UnimplementedException e) {
            return;
        }
        var node = env.closing(new PersistentTtlNode(client, env.path + "/ttl", 2000, bytes("x")));
        node.start();
        require(node.waitForInitialCreate(10, TimeUnit.SECONDS), "it is not created");
        Thread.sleep(3000);
        require(client.checkExists().forPath(env.path + "/ttl") != null, "it is not kept up");
    }

    static void persistent_watches(Env env) throws Exception {
        CuratorFramework client = env.client();
        CuratorFramework deep = env.client(); // one session has one mode per path
        CuratorFramework writer = env.client();
        var one = new Seen();
        var all = new Seen();
        String path = env.path + "/w";
        client.watchers().add().withMode(AddWatchMode.PERSISTENT).usingWatcher(one).forPath(path);
        deep.watchers().add().withMode(AddWatchMode.PERSISTENT_RECURSIVE).usingWatcher(all).forPath(path);
        writer.create().forPath(path);
        one.expect("NodeCreated " + path);
        all.expect("NodeCreated " + path);
        for (String data : List.of("1", "2")) {
            writer.setData().forPath(path, bytes(data));
            one.expect("NodeDataChanged " + path);
            all.expect("NodeDataChanged " + path);
        }
        writer.create().creatingParentsIfNeeded().forPath(path + "/a/b");
        one.expect("NodeChildrenChanged " + path);
        all.expect("NodeCreated " + path + "/a", "NodeCreated " + path + "/a/b");
        writer.delete().deletingChildrenIfNeeded().forPath(path);
        one.expect("NodeChildrenChanged " + path, "NodeDeleted " + path);
        all.expect("NodeDeleted " + path + "/a/b", "NodeDeleted " + path + "/a", "NodeDeleted " + path);
        deep.watches().remove(all).forPath(path);
        writer.create().forPath(path);
        one.expect("NodeCreated " + path);
        all.expect("PersistentWatchRemoved " + path);
    }

    // Recipes

    private static Inside mutexes(Env env, int rounds, List<CuratorFramework> clients) {
        var inside = new Inside();
        for (CuratorFramework client : clients) {
            var mutex = new InterProcessMutex(client, env.path + "/mutex");
            env.spawn(() -> {
                for (int i = 0; i < rounds; i++) {
                    require(mutex.acquire(60, TimeUnit.SECONDS), "not acquired");
                    try {
                        inside.pass(10);
                    } finally {
                        mutex.release();
                    }
                }
            });
        }
        return inside;
    }

    static void mutex(Env env) throws Exception {
        Inside inside = mutexes(env, 15, List.of(env.client(), env.client(), env.client(), env.client()));
        env.join();
        equal("1 at most, 60 in all", inside.most + " at most, " + inside.entries + " in all");
        var held = new InterProcessMutex(env.clients.get(0), env.path + "/mutex");
        var wanted = new InterProcessMutex(env.clients.get(1), env.path + "/mutex");
        held.acquire();
        held.acquire(); // it is reentrant
        held.release();
        require(!wanted.acquire(300, TimeUnit.MILLISECONDS), "two hold it");
        env.spawn(() -> require(wanted.acquire(20, TimeUnit.SECONDS), "it dies with its session"));
        env.clients.get(0).close();
        env.join();
    }

    static void multi_lock(Env env) throws Exception {
        CuratorFramework client = env.client();
        var both = new InterProcessMultiLock(client, List.of(env.path + "/a", env.path + "/b"));
        var one = new InterProcessMutex(env.client(), env.path + "/b");
        require(both.acquire(5, TimeUnit.SECONDS), "not acquired");
        require(!one.acquire(200, TimeUnit.MILLISECONDS), "two hold it");
        both.release();
        require(one.acquire(5, TimeUnit.SECONDS), "not released");
    }

    private static void readersAndWriters(Env env, int rounds, List<CuratorFramework> clients, Inside readers, Inside writers) {
        for (int i = 0; i < clients.size(); i++) {
            var lock = new InterProcessReadWriteLock(clients.get(i), env.path + "/rw");
            boolean writes = i % 2 == 0;
            InterProcessMutex mutex = writes ? lock.writeLock() : lock.readLock();
            env.spawn(() -> {
                for (int n = 0; n < rounds; n++) {
                    require(mutex.acquire(60, TimeUnit.SECONDS), "not acquired");
                    (writes ? writers : readers).pass(10);
                    require((writes ? readers : writers).now == 0, "a reader beside a writer");
                    mutex.release();
                }
            });
        }
    }

    static void read_write_lock(Env env) throws Exception {
        var readers = new Inside();
        var writers = new Inside();
        readersAndWriters(env, 10, List.of(env.client(), env.client(), env.client(), env.client()), readers, writers);
        env.join();
        equal(1, writers.most);
        var one = new InterProcessReadWriteLock(env.clients.get(0), env.path + "/rw").readLock();
        var two = new InterProcessReadWriteLock(env.clients.get(1), env.path + "/rw").readLock();
        require(one.acquire(5, TimeUnit.SECONDS) && two.acquire(5, TimeUnit.SECONDS), "readers do not share it");
    }

    static void semaphore(Env env) throws Exception {
        var inside = new Inside();
        for (int i = 0; i < 4; i++) {
            var semaphore = new InterProcessSemaphoreV2(env.client(), env.path + "/semaphore", 2);
            env.spawn(() -> {
                for (int n = 0; n < 10; n++) {
                    Lease lease = semaphore.acquire(60, TimeUnit.SECONDS);
                    require(lease != null, "not acquired");
                    inside.pass(20);
                    semaphore.returnLease(lease);
                }
            });
        }
        env.join();
        equal("2 at most, 40 in all", inside.most + " at most, " + inside.entries + " in all");
    }

    private static long leaders(List<LeaderLatch> latches) {
        return latches.stream().filter(LeaderLatch::hasLeadership).count();
    }

    static void leader_latch(Env env) throws Exception {
        List<LeaderLatch> latches = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            var latch = env.closing(new LeaderLatch(env.client(), env.path + "/latch", "m" + i));
            latch.start();
            latches.add(latch);
        }
        for (int left = 3; left > 0; left--) {
            int members = left;
            eventually("no leader of " + left, 10, () -> leaders(latches) == 1);
            LeaderLatch leader = latches.stream().filter(LeaderLatch::hasLeadership).findFirst().get();
            eventually("the leader is unknown", 10, () -> latches.get(0).getLeader().getId().equals(leader.getId()));
            eventually("not all take part", 10, () -> leader.getParticipants().size() == members);
            leader.close();
            latches.remove(leader);
        }
    }

    private static List<LeaderSelector> selectors(Env env, List<CuratorFramework> clients, Inside inside, int[] terms) {
        List<LeaderSelector> selectors = new ArrayList<>();
        for (int i = 0; i < clients.size(); i++) {
            int number = i;
            var selector = env.closing(new LeaderSelector(clients.get(i), env.path + "/leader", new LeaderSelectorListenerAdapter() {
                @Override
                public void takeLeadership(CuratorFramework client) throws Exception {
                    inside.pass(30);
                    terms[number]++;
                }
            }));
            selector.autoRequeue();
            selector.start();
            selectors.add(selector);
        }
        return selectors;
    }

    static void leader_selector(Env env) throws Exception {
        var inside = new Inside();
        var terms = new int[3];
        selectors(env, List.of(env.client(), env.client(), env.client()), inside, terms);
        eventually("not each leads thrice", 20, () -> IntStream.of(terms).allMatch(n -> n >= 3));
        equal(1, inside.most);
    }

    private static Map<String, String> tree(CuratorFramework client, String path) throws Exception {
        Map<String, String> tree = new TreeMap<>();
        tree.put(path, text(client.getData().forPath(path)));
        for (String name : client.getChildren().forPath(path)) {
            tree.putAll(tree(client, path + "/" + name));
        }
        return tree;
    }

    private static Map<String, String> tree(CuratorCache cache) {
        Map<String, String> tree = new TreeMap<>();
        cache.stream().forEach(node -> tree.put(node.getPath(), text(node.getData())));
        return tree;
    }

    /** Creates, changes and deletes nodes below a path, at random. */
    private static void changeTree(CuratorFramework client, String path, int count, int pause) throws Exception {
        var dice = new Random(count);
        for (int i = 0; i < count; i++) {
            var node = new StringBuilder(path);
            for (int depth = dice.nextInt(3); depth >= 0; depth--) {
                node.append('/').append("abc".charAt(dice.nextInt(3)));
            }
            if (dice.nextInt(3) == 0) {
                client.delete().quietly().deletingChildrenIfNeeded().forPath(node.toString());
            } else {
                client.create().orSetData().creatingParentsIfNeeded().forPath(node.toString(), bytes("" + i));
            }
            Thread.sleep(pause);
        }
    }

    static void curator_cache(Env env) throws Exception {
        CuratorFramework client = env.client();
        CuratorFramework writer = env.client();
        String root = env.path + "/tree";
        writer.create().creatingParentsIfNeeded().forPath(root + "/a/b", bytes("deep"));
        client.sync().forPath(root);
        var cache = env.closing(CuratorCache.build(client, root));
        var ready = new CountDownLatch(1);
        var kinds = ConcurrentHashMap.<CuratorCacheListener.Type>newKeySet();
        cache.listenable().addListener((type, before, now) -> kinds.add(type));
        cache.listenable().addListener(CuratorCacheListener.builder().forInitialized(ready::countDown).build());
        cache.start();
        require(ready.await(10, TimeUnit.SECONDS), "never initialized");
        equal(tree(client, root), tree(cache));
        changeTree(writer, root, 150, 0);
        Map<String, String> want = tree(writer, root);
        eventually("the cache does not converge", 10, () -> tree(cache).equals(want));
        eventually("not all kinds of events", 5, () -> kinds.size() == 3);
    }

    static void persistent_node(Env env) throws Exception {
        CuratorFramework client = env.client();
        String path = env.path + "/node";
        var node = env.closing(new PersistentNode(client, CreateMode.EPHEMERAL, false, path, bytes("x")));
        node.start();
        require(node.waitForInitialCreate(10, TimeUnit.SECONDS), "it is not created");
        CuratorFramework other = env.client();
        long made = other.checkExists().forPath(path).getCzxid();
        other.delete().forPath(path);
        eventually("it is not created again", 10, () -> {
            Stat stat = other.checkExists().forPath(path);
            return stat != null && stat.getCzxid() > made;
        });
        node.close();
        other.sync().forPath(path);
        require(other.checkExists().forPath(path) == null, "it outlives its owner");
    }

    static void group_member(Env env) throws Exception {
        List<GroupMember> members = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            var member = env.closing(new GroupMember(env.client(), env.path + "/group", "m" + i, bytes("" + i)));
            member.start();
            members.add(member);
        }
        for (GroupMember member : members) {
            eventually("not all are seen", 10, () -> member.getCurrentMembers().keySet().equals(Set.of("m0", "m1", "m2")));
        }
        members.get(0).close();
        eventually("a member does not leave", 10, () -> members.get(1).getCurrentMembers().size() == 2);
    }

    static void atomic_long(Env env) throws Exception {
        for (int i = 0; i < 4; i++) {
            var number = new DistributedAtomicLong(env.client(), env.path + "/number", new RetryNTimes(1000, 1));
            env.spawn(() -> {
                for (int n = 0; n < 25; n++) {
                    AtomicValue<Long> value = number.increment();
                    require(value.succeeded() && value.postValue() == value.preValue() + 1, "not incremented");
                }
            });
        }
        env.join();
        CuratorFramework client = env.client();
        equal(100L, new DistributedAtomicLong(client, env.path + "/number", new RetryNTimes(1, 1)).get().postValue());
    }

    static void shared_count(Env env) throws Exception {
        var writer = env.closing(new SharedCount(env.client(), env.path + "/count", 5));
        writer.start();
        var reader = env.closing(new SharedCount(env.client(), env.path + "/count", 0));
        List<Integer> seen = new CopyOnWriteArrayList<>();
        reader.addListener(new SharedCountListener() {
            @Override
            public void countHasChanged(SharedCountReader count, int value) {
                seen.add(value);
            }

            @Override
            public void stateChanged(CuratorFramework client, ConnectionState state) {}
        });
        reader.start();
        equal(5, reader.getCount());
        for (int i = 10; i < 15; i++) {
            writer.setCount(i);
            int want = i;
            eventually("the change to " + i + " does not show", 10, () -> reader.getCount() == want && seen.contains(want));
        }
        require(!reader.trySetCount(new SharedCount(env.clients.get(0), env.path + "/count", 0).getVersionedValue(), 1), "set by an old version");
    }

    private static final QueueSerializer<String> STRINGS = new QueueSerializer<>() {
        @Override
        public byte[] serialize(String item) {
            return bytes(item);
        }

        @Override
        public String deserialize(byte[] data) {
            return text(data);
        }
    };

    static void queue(Env env) throws Exception {
        List<String> got = new CopyOnWriteArrayList<>();
        var consumer = new QueueConsumer<String>() {
            @Override
            public void consumeMessage(String message) {
                got.add(message);
            }

            @Override
            public void stateChanged(CuratorFramework client, ConnectionState state) {}
        };
        List<DistributedQueue<String>> queues = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            var queue = env.closing(QueueBuilder.builder(env.client(), consumer, STRINGS, env.path + "/queue")
                    .lockPath(env.path + "/queue-locks")
                    .buildQueue());
            queue.start();
            queues.add(queue);
        }
        Set<String> want = new TreeSet<>();
        for (int i = 0; i < 40; i++) {
            queues.get(i % 2).put("item" + i);
            want.add("item" + i);
        }
        eventually("not all are consumed: " + got, 20, () -> got.size() >= 40);
        Thread.sleep(100);
        equal(40, got.size());
        equal(want, new TreeSet<>(got));
    }

    static void simple_queue(Env env) throws Exception {
        var in = new SimpleDistributedQueue(env.client(), env.path + "/simple");
        var out = new SimpleDistributedQueue(env.client(), env.path + "/simple");
        require(out.poll() == null, "it is not empty");
        for (String item : List.of("a", "b", "c")) {
            in.offer(bytes(item));
        }
        env.clients.get(1).sync().forPath(env.path);
        equal("a", text(out.peek()));
        equal("abc", text(out.take()) + text(out.take()) + text(out.take()));
        env.spawn(() -> equal("late", text(out.poll(20, TimeUnit.SECONDS))));
        Thread.sleep(200);
        in.offer(bytes("late"));
        env.join();
    }

    static void barrier(Env env) throws Exception {
        var owner = new DistributedBarrier(env.client(), env.path + "/barrier");
        owner.setBarrier();
        var passed = new AtomicInteger();
        for (int i = 0; i < 2; i++) {
            var barrier = new DistributedBarrier(env.client(), env.path + "/barrier");
            env.spawn(() -> {
                require(barrier.waitOnBarrier(30, TimeUnit.SECONDS), "it stays closed");
                passed.incrementAndGet();
            });
        }
        Thread.sleep(300);
        equal(0, passed.get());
        owner.removeBarrier();
        env.join();
        equal(2, passed.get());
    }

    static void double_barrier(Env env) throws Exception {
        var entered = new AtomicInteger();
        var leaving = new AtomicInteger();
        for (int i = 0; i < 3; i++) {
            var barrier = new DistributedDoubleBarrier(env.client(), env.path + "/double", 3);
            int delay = i * 200;
            env.spawn(() -> {
                Thread.sleep(delay);
                entered.incrementAndGet();
                require(barrier.enter(30, TimeUnit.SECONDS), "not entered");
                equal(3, entered.get());
                Thread.sleep(delay);
                leaving.incrementAndGet();
                require(barrier.leave(30, TimeUnit.SECONDS), "not left");
                equal(3, leaving.get());
            });
        }
        env.join();
    }

    /** A session expires: the lead moves on, and ephemeral nodes come back in a new session. */
    static void session_expires(Env env) throws Exception {
        CuratorFramework weak = env.open(env.proxy().hosts, 2000, false);
        CuratorFramework strong = env.client();
        var first = env.closing(new LeaderLatch(weak, env.path + "/latch"));
        first.start();
        require(first.await(10, TimeUnit.SECONDS), "no leader");
        var node = env.closing(new PersistentNode(weak, CreateMode.EPHEMERAL, false, env.path + "/node", bytes("x")));
        node.start();
        require(node.waitForInitialCreate(10, TimeUnit.SECONDS), "it is not created");
        var second = env.closing(new LeaderLatch(strong, env.path + "/latch"));
        second.start();
        Thread.sleep(200);
        require(!second.hasLeadership(), "two lead");
        env.proxy().refusing = true;
        env.proxy().cut();
        require(second.await(15, TimeUnit.SECONDS), "the lead does not move on");
        require(!first.hasLeadership(), "two lead");
        require(strong.checkExists().forPath(env.path + "/node") == null, "it outlives its session");
        env.proxy().refusing = false;
        eventually("it does not come back", 20, () -> strong.checkExists().forPath(env.path + "/node") != null);
        require(Env.session(weak) != env.sessions.get(0), "the same session");
    }

    // Under connection loss

    static void loss_mutex(Env env) throws Exception {
        Inside inside = mutexes(env, 25, List.of(env.proxied(), env.proxied(), env.proxied(), env.proxied()));
        env.cutAndJoin();
        equal("1 at most, 100 in all", inside.most + " at most, " + inside.entries + " in all");
        CuratorFramework client = env.client();
        eventually("contenders are left behind", 10, () -> {
            client.sync().forPath(env.path);
            return client.getChildren().forPath(env.path + "/mutex").isEmpty();
        });
    }

    static void loss_read_write_lock(Env env) throws Exception {
        var readers = new Inside();
        var writers = new Inside();
        readersAndWriters(env, 30, List.of(env.proxied(), env.proxied(), env.proxied(), env.proxied()), readers, writers);
        env.cutAndJoin();
        equal(1, writers.most);
    }

    static void loss_leader_latch(Env env) throws Exception {
        List<LeaderLatch> latches = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            var latch = env.closing(new LeaderLatch(env.proxied(), env.path + "/latch", "m" + i));
            latch.start();
            latches.add(latch);
        }
        long end = System.nanoTime() + 5_000_000_000L;
        env.spawn(() -> {
            while (System.nanoTime() < end) {
                require(leaders(latches) <= 1, "two lead");
                Thread.sleep(1);
            }
        });
        env.cutAndJoin();
        eventually("no leader", 10, () -> leaders(latches) == 1);
        CuratorFramework client = env.client();
        eventually("not each takes part once", 10, () -> client.getChildren().forPath(env.path + "/latch").size() == 3);
    }

    static void loss_leader_selector(Env env) throws Exception {
        var inside = new Inside();
        var terms = new int[3];
        List<LeaderSelector> selectors = selectors(env, List.of(env.proxied(), env.proxied(), env.proxied()), inside, terms);
        env.cutAndJoin();
        int[] before = terms.clone();
        eventually("not each leads afterwards", 20, () -> IntStream.range(0, 3).allMatch(i -> terms[i] > before[i]));
        equal(1, inside.most);
        selectors.forEach(LeaderSelector::close);
    }

    static void loss_cache(Env env) throws Exception {
        CuratorFramework client = env.proxied();
        CuratorFramework writer = env.client();
        String root = env.path + "/tree";
        writer.create().forPath(root);
        var cache = env.closing(CuratorCache.build(client, root));
        cache.start();
        env.spawn(() -> changeTree(writer, root, 400, 8));
        env.cutAndJoin();
        Map<String, String> want = tree(writer, root);
        eventually("the cache does not converge", 10, () -> tree(cache).equals(want));
        writer.setData().forPath(root, bytes("after"));
        eventually("the cache is deaf", 10, () -> "after".equals(tree(cache).get(root)));
    }

    /** What changes while a client is away, its one-time watches tell it when it is back. */
    static void loss_watches(Env env) throws Exception {
        CuratorFramework client = env.proxied();
        CuratorFramework writer = env.client();
        var seen = new Seen();
        List<String> nodes = List.of("changed", "deleted", "parent", "still");
        for (String name : nodes) {
            writer.create().forPath(env.path + "/" + name);
        }
        client.sync().forPath(env.path);
        for (String name : nodes) {
            client.getData().usingWatcher(seen).forPath(env.path + "/" + name);
        }
        client.checkExists().usingWatcher(seen).forPath(env.path + "/created");
        client.getChildren().usingWatcher(seen).forPath(env.path + "/parent");
        env.proxy().refusing = true;
        env.proxy().cut();
        eventually("the cut is not noticed", 10, () -> !client.getZookeeperClient().isConnected());
        writer.setData().forPath(env.path + "/changed");
        writer.delete().forPath(env.path + "/deleted");
        writer.create().forPath(env.path + "/parent/c");
        writer.create().forPath(env.path + "/created");
        equal(0, seen.events.size());
        env.proxy().refusing = false;
        seen.expect(
                "NodeDataChanged " + env.path + "/changed",
                "NodeDeleted " + env.path + "/deleted",
                "NodeChildrenChanged " + env.path + "/parent",
                "NodeCreated " + env.path + "/created");
        writer.setData().forPath(env.path + "/still");
        seen.expect("NodeDataChanged " + env.path + "/still");
    }

    /** Persistent watches are set again after a cut, and go on. */
    static void loss_persistent_watches(Env env) throws Exception {
        CuratorFramework client = env.proxied();
        CuratorFramework writer = env.client();
        var all = new Seen();
        String path = env.path + "/w";
        writer.create().forPath(path);
        var watcher = env.closing(new PersistentWatcher(client, path, true));
        watcher.getListenable().addListener(all);
        watcher.start();
        Thread.sleep(500);
        for (int i = 0; i < 5; i++) {
            env.proxy().cut();
            eventually("no way back", 10, () -> {
                // A call of its own shows that the watch is set again, for that comes first.
                return client.checkExists().forPath(path) != null;
            });
            writer.create().forPath(path + "/" + i);
            all.expect("NodeCreated " + path + "/" + i);
        }
    }

    static void loss_barrier(Env env) throws Exception {
        var owner = new DistributedBarrier(env.client(), env.path + "/barrier");
        owner.setBarrier();
        var passed = new AtomicInteger();
        var open = new AtomicInteger();
        for (int i = 0; i < 2; i++) {
            var barrier = new DistributedBarrier(env.proxied(), env.path + "/barrier");
            env.spawn(() -> {
                require(barrier.waitOnBarrier(40, TimeUnit.SECONDS), "it stays closed");
                equal(1, open.get());
                passed.incrementAndGet();
            });
        }
        env.spawn(() -> {
            Thread.sleep(3000);
            open.set(1);
            owner.removeBarrier();
        });
        env.cutAndJoin();
        equal(2, passed.get());
    }

    static void loss_atomic_long(Env env) throws Exception {
        var sure = new AtomicInteger();
        for (int i = 0; i < 3; i++) {
            var number = new DistributedAtomicLong(env.proxied(), env.path + "/number", new RetryNTimes(1000, 2));
            env.spawn(() -> {
                for (int n = 0; n < 150; n++) {
                    if (number.increment().succeeded()) {
                        sure.incrementAndGet();
                    }
                    Thread.sleep(10);
                }
            });
        }
        env.cutAndJoin();
        CuratorFramework client = env.client();
        long value = new DistributedAtomicLong(client, env.path + "/number", new RetryNTimes(1, 1)).get().postValue();
        // An addition whose answer was cut off is tried again; then it counts twice, but none is lost.
        require(value >= sure.get() && sure.get() > 300, "value " + value + " after " + sure.get());
        equal(value, client.checkExists().forPath(env.path + "/number").getVersion() + 1L);
    }

    private static String cause(Throwable error) {
        for (StackTraceElement at : error.getStackTrace()) {
            if (at.getClassName().startsWith("CuratorSuite") && !List.of("require", "equal", "eventually", "fails", "expect").contains(at.getMethodName())) {
                return error + " (line " + at.getLineNumber() + ")";
            }
        }
        return error.toString();
    }

    /** The reason why a check fails, or null. */
    private static String run(String name, Check check) throws InterruptedException {
        var result = new CompletableFuture<String>();
        var thread = new Thread(() -> {
            var env = new Env(name);
            String why = null;
            try {
                check.run(env);
            } catch (Throwable e) {
                why = cause(e);
            }
            try {
                env.close();
            } catch (Throwable e) {
                why = why == null ? cause(e) : why;
            }
            result.complete(why);
        });
        thread.setDaemon(true);
        thread.start();
        try {
            return result.get(CHECK_SECONDS, TimeUnit.SECONDS);
        } catch (TimeoutException | ExecutionException e) {
            return "no end after " + CHECK_SECONDS + " s";
        }
    }

    public static void main(String[] args) throws Exception {
        if (args.length == 0) {
            System.err.println("usage: CuratorSuite HOST:PORT[,HOST:PORT] [CHECK...]");
            System.exit(2);
        }
        hosts = args[0];
        Set<String> names = Set.of(Arrays.copyOfRange(args, 1, args.length));
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("basics", CuratorSuite::basics);
        checks.put("watches", CuratorSuite::watches);
        checks.put("transactions", CuratorSuite::transactions);
        checks.put("acl", CuratorSuite::acl);
        checks.put("java_client", CuratorSuite::java_client);
        checks.put("containers", CuratorSuite::containers);
        checks.put("persistent_ttl_node", CuratorSuite::persistent_ttl_node);
        checks.put("persistent_watches", CuratorSuite::persistent_watches);
        checks.put("mutex", CuratorSuite::mutex);
        checks.put("multi_lock", CuratorSuite::multi_lock);
        checks.put("read_write_lock", CuratorSuite::read_write_lock);
        checks.put("semaphore", CuratorSuite::semaphore);
        checks.put("leader_latch", CuratorSuite::leader_latch);
        checks.put("leader_selector", CuratorSuite::leader_selector);
        checks.put("curator_cache", CuratorSuite::curator_cache);
        checks.put("persistent_node", CuratorSuite::persistent_node);
        checks.put("group_member", CuratorSuite::group_member);
        checks.put("atomic_long", CuratorSuite::atomic_long);
        checks.put("shared_count", CuratorSuite::shared_count);
        checks.put("queue", CuratorSuite::queue);
        checks.put("simple_queue", CuratorSuite::simple_queue);
        checks.put("barrier", CuratorSuite::barrier);
        checks.put("double_barrier", CuratorSuite::double_barrier);
        checks.put("session_expires", CuratorSuite::session_expires);
        checks.put("loss_mutex", CuratorSuite::loss_mutex);
        checks.put("loss_read_write_lock", CuratorSuite::loss_read_write_lock);
        checks.put("loss_leader_latch", CuratorSuite::loss_leader_latch);
        checks.put("loss_leader_selector", CuratorSuite::loss_leader_selector);
        checks.put("loss_cache", CuratorSuite::loss_cache);
        checks.put("loss_watches", CuratorSuite::loss_watches);
        checks.put("loss_persistent_watches", CuratorSuite::loss_persistent_watches);
        checks.put("loss_barrier", CuratorSuite::loss_barrier);
        checks.put("loss_atomic_long", CuratorSuite::loss_atomic_long);
        int passed = 0;
        int failed = 0;
        for (var check : checks.entrySet()) {
            if (!names.isEmpty() && !names.contains(check.getKey())) {
                continue;
            }
            long start = System.nanoTime();
            String why = run(check.getKey(), check.getValue());
            if (why == null) {
                passed++;
                System.out.printf("ok %s (%.1f s)%n", check.getKey(), (System.nanoTime() - start) / 1e9);
            } else {
                failed++;
                System.out.printf("FAIL %s: %s%n", check.getKey(), why.replace('\n', ' '));
            }
        }
        System.out.printf("%d passed, %d failed%n", passed, failed);
        System.out.flush();
        Runtime.getRuntime().halt(failed > 0 ? 1 : 0);
    }
}
