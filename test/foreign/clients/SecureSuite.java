import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher.Event.EventType;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.client.ZKClientConfig;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.Id;

/**
 * TLS and SASL as Apache's Java client sees them.
 *
 * <p>java -Djava.security.auth.login.config=STORES/jaas.conf SecureSuite STORES PLAIN SECURE...
 *
 * <p>STORES is a directory with alice.{pem,p12,jks}, trust.{pem,p12,jks} and stranger.pem; SECURE
 * are ports whose servers trust alice, PLAIN is a port of the first of them that speaks plain text
 * and TLS. Prints "ok NAME" or "FAIL NAME: why" per check, then "N passed, N failed"; exits 0 only
 * if none failed.
 */
public final class SecureSuite {
    private static final String[] KINDS = {"pem", "p12", "jks"};
    private static final String ALICE = "CN=alice,O=Acme";
    private static final int PATIENCE_S = 30;
    /** How long a client that must not get in is given to prove the contrary. */
    private static final int REFUSED_S = 2;

    private interface Check {
        void run() throws Exception;
    }

    /** A client with what it saw. */
    private static final class Session implements AutoCloseable {
        final BlockingQueue<WatchedEvent> events = new LinkedBlockingQueue<>();
        final CountDownLatch connected = new CountDownLatch(1);
        final CountDownLatch authenticated = new CountDownLatch(1);
        final CountDownLatch refused = new CountDownLatch(1);
        final ZooKeeper zk;

        Session(int port, ZKClientConfig config) throws Exception {
            zk = new ZooKeeper("127.0.0.1:" + port, 20_000, this::process, false, config);
        }

        private void process(WatchedEvent event) {
            if (event.getType() != EventType.None) {
                events.add(event);
            } else if (event.getState() == KeeperState.SyncConnected) {
                connected.countDown();
            } else if (event.getState() == KeeperState.SaslAuthenticated) {
                authenticated.countDown();
            } else if (event.getState() == KeeperState.AuthFailed) {
                refused.countDown();
            }
        }

        Session ready() throws Exception {
            expect(connected.await(PATIENCE_S, TimeUnit.SECONDS), "no session: " + zk.getState());
            return this;
        }

        @Override
        public void close() throws Exception {
            zk.close(PATIENCE_S * 1000);
        }
    }

    private static String stores;

    private static void expect(boolean holds, String why) {
        if (!holds) {
            throw new AssertionError(why);
        }
    }

    private static ZKClientConfig plain() {
        ZKClientConfig config = new ZKClientConfig();
        config.setProperty("zookeeper.sasl.client", "false");
        return config;
    }

    /** TLS with stores of a kind; either may be null. */
    private static ZKClientConfig tls(String keys, String trust) {
        ZKClientConfig config = plain();
        config.setProperty("zookeeper.client.secure", "true");
        config.setProperty("zookeeper.clientCnxnSocket", "org.apache.zookeeper.ClientCnxnSocketNetty");
        if (keys != null) {
            config.setProperty("zookeeper.ssl.keyStore.location", stores + "/" + keys);
            config.setProperty("zookeeper.ssl.keyStore.password", keys.endsWith("pem") ? "" : "changeit");
        }
        config.setProperty("zookeeper.ssl.trustStore.location", stores + "/" + trust);
        config.setProperty("zookeeper.ssl.trustStore.password", trust.endsWith("pem") ? "" : "changeit");
        return config;
    }

    private static ZKClientConfig sasl(ZKClientConfig config, String section) {
        config.setProperty("zookeeper.sasl.client", "true");
        // Else the client, from 3.9.4 on, will not use DIGEST-MD5.
        config.setProperty("zookeeper.fips-mode", "false");
        config.setProperty("zookeeper.sasl.clientconfig", section);
        return config;
    }

    private static List<ACL> only(String scheme, String id) {
        // The client looks for null in it, which List.of would not bear.
        return Collections.singletonList(new ACL(ZooDefs.Perms.ALL, new Id(scheme, id)));
    }

    private static boolean isDenied(ZooKeeper zk, String path) throws Exception {
        try {
            zk.getData(path, false, null);
            return false;
        } catch (KeeperException.NoAuthException e) {
            return true;
        }
    }

    /** Reads, writes, watches and large values. */
    private static void use(Session session, String path) throws Exception {
        byte[] large = new byte[1_000_000];
        for (int i = 0; i < large.length; i++) {
            large[i] = (byte) (i % 251);
        }
        session.zk.create(path, new byte[0], ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        session.zk.getData(path, true, null);
        session.zk.setData(path, large, 0);
        WatchedEvent event = session.events.poll(PATIENCE_S, TimeUnit.SECONDS);
        expect(event != null && event.getType() == EventType.NodeDataChanged, "event " + event);
        expect(Arrays.equals(session.zk.getData(path, false, null), large), "other data");
        CountDownLatch answers = new CountDownLatch(1000);
        for (int i = 0; i < 1000; i++) {
            session.zk.exists(path, false, (code, p, context, stat) -> answers.countDown(), null);
        }
        expect(answers.await(PATIENCE_S, TimeUnit.SECONDS), answers.getCount() + " answers missing");
    }

    private static void stores(int plain, int secure, String kind) throws Exception {
        String path = "/java-" + kind + "-" + secure;
        try (Session alice = new Session(secure, tls("alice." + kind, "trust." + kind)).ready()) {
            use(alice, path);
            expect(alice.zk.whoAmI().stream().anyMatch(who -> who.getUser().equals(ALICE)), "not alice");
            alice.zk.create(path + "-x509", new byte[0], only("x509", ALICE), CreateMode.PERSISTENT);
            expect(!isDenied(alice.zk, path + "-x509"), "alice is denied what is hers");
        }
    }

    private static void unified(int plain) throws Exception {
        try (Session alice = new Session(plain, tls("alice.pem", "trust.pem")).ready();
                Session nobody = new Session(plain, plain()).ready()) {
            alice.zk.create("/java-mine", new byte[0], only("x509", ALICE), CreateMode.PERSISTENT);
            expect(isDenied(nobody.zk, "/java-mine"), "anybody may read it");
        }
    }

    private static void refused(int port, ZKClientConfig config) throws Exception {
        try (Session session = new Session(port, config)) {
            expect(!session.connected.await(REFUSED_S, TimeUnit.SECONDS), "it got in");
        }
    }

    private static void saslIdentity(int port, ZKClientConfig config, String path) throws Exception {
        try (Session alice = new Session(port, sasl(config, "Alice")).ready();
                Session nobody = new Session(port, tlsOrPlain(config)).ready()) {
            expect(alice.authenticated.await(PATIENCE_S, TimeUnit.SECONDS), "not authenticated");
            alice.zk.create(path, new byte[0], only("sasl", "alice"), CreateMode.PERSISTENT);
            expect(!isDenied(alice.zk, path), "alice is denied what is hers");
            expect(isDenied(nobody.zk, path), "anybody may read it");
            expect(alice.zk.whoAmI().stream().anyMatch(
                    who -> who.getAuthScheme().equals("sasl") && who.getUser().equals("alice")), "not alice");
        }
    }

    private static ZKClientConfig tlsOrPlain(ZKClientConfig like) {
        return "true".equals(like.getProperty("zookeeper.client.secure"))
                ? tls("alice.pem", "trust.pem") : plain();
    }

    private static void saslWrong(int port) throws Exception {
        try (Session wrong = new Session(port, sasl(plain(), "Wrong"))) {
            expect(wrong.refused.await(PATIENCE_S, TimeUnit.SECONDS), "no AuthFailed");
        }
    }

    public static void main(String[] args) {
        stores = args[0];
        int plain = Integer.parseInt(args[1]);
        int first = Integer.parseInt(args[2]);
        Map<String, Check> checks = new LinkedHashMap<>();
        for (int i = 2; i < args.length; i++) {
            String kind = KINDS[(i - 2) % KINDS.length];
            int secure = Integer.parseInt(args[i]);
            checks.put("stores_" + kind, () -> stores(plain, secure, kind));
        }
        checks.put("unified_port", () -> unified(plain));
        checks.put("no_certificate", () -> refused(first, tls(null, "trust.pem")));
        checks.put("certificate_of_a_stranger", () -> refused(first, tls("stranger.pem", "trust.pem")));
        checks.put("server_not_trusted", () -> refused(first, tls("alice.pem", "stranger.pem")));
        checks.put("plain_text_on_tls", () -> refused(first, plain()));
        checks.put("sasl", () -> saslIdentity(plain, plain(), "/java-sasl"));
        checks.put("sasl_over_tls",
                () -> saslIdentity(first, tls("alice.pem", "trust.pem"), "/java-sasl-tls"));
        checks.put("sasl_wrong_password", () -> saslWrong(plain));
        int failed = 0;
        for (var check : checks.entrySet()) {
            long start = System.nanoTime();
            try {
                check.getValue().run();
                System.out.printf("ok %s (%.1f s)%n", check.getKey(), (System.nanoTime() - start) / 1e9);
            } catch (Throwable why) {
                failed++;
                System.out.printf("FAIL %s: %s at %s%n", check.getKey(), why, why.getStackTrace()[0]);
            }
        }
        System.out.printf("%d passed, %d failed%n", checks.size() - failed, failed);
        System.out.flush();
        Runtime.getRuntime().halt(failed > 0 ? 1 : 0);
    }
}
