//! Answers compared with what Apache 3.9.4 gave for the same state, words and HTTP commands alike.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use expect_test::expect;
use zk_proto::{OpCode, SessionId, Xid, Zxid};

use super::facts::ConnectionSession;
use super::*;
use crate::config::{self, AdminSettings, HostPort, Options, ServerConfig};

/// A server in the state that Apache was in: two clients, ephemerals, watches.
struct Fake {
    serving: AtomicBool,
    mode: Mode,
    config: ServerConfig,
    metrics: Metrics,
    mask: AtomicI64,
    restored: Mutex<Vec<u8>>,
}

const A: SessionId = SessionId(72_057_692_606_627_840);
const B: SessionId = SessionId(72_057_692_606_627_841);

fn peer(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl Fake {
    fn new() -> Fake {
        Fake::with("")
    }

    fn with(lines: &str) -> Fake {
        let text = format!(
            "dataDir=/data\nclientPort=2181\ntickTime=500\nmaxClientCnxns=0\n\
             ssl.keyStore.password=canary\n4lw.commands.whitelist=*\n{lines}"
        );
        let loaded = config::parse("zoo.cfg", text.as_bytes(), &[], Options::default()).unwrap();
        let metrics = Metrics::default();
        for ms in [0, 0, 1, 2, 2, 3, 3, 4, 7, 11] {
            metrics.stats.latency.record_time(Duration::from_millis(ms));
        }
        metrics.stats.packets_received.add(14);
        metrics.stats.packets_sent.add(13);
        [89, 22].iter().for_each(|bytes| metrics.stats.record_response(*bytes));
        Fake {
            serving: AtomicBool::new(true),
            mode: Mode::Standalone,
            config: loaded.config,
            metrics,
            mask: AtomicI64::new(306),
            restored: Mutex::default(),
        }
    }
}

impl Inspect for Fake {
    fn is_serving(&self) -> bool {
        self.serving.load(Relaxed)
    }
    fn config(&self) -> &ServerConfig {
        &self.config
    }
    fn metrics(&self) -> &Metrics {
        &self.metrics
    }
    fn client_ports(&self) -> [Option<u16>; 2] {
        [Some(2181), None]
    }
    fn mode(&self) -> Mode {
        self.mode
    }
    fn uptime_ms(&self) -> u64 {
        27_877
    }
    fn tree(&self) -> TreeFacts {
        TreeFacts {
            last_zxid: Zxid(6),
            node_count: 8,
            ephemeral_count: 3,
            watch_count: 4,
            data_bytes: 63,
            session_count: 2,
        }
    }
    fn connections(&self, secure: bool) -> Vec<ConnectionFacts> {
        if secure {
            return Vec::new();
        }
        let session = ConnectionSession {
            id: A,
            last_operation: Some(OpCode::GetChildren2),
            established_ms: 1_795_367_821_594,
            timeout_ms: 10_000,
            last_xid: Xid(6),
            last_zxid: Zxid(4),
            last_response_ms: 1_531_239,
            last_latency_ms: 2,
            min_latency_ms: 0,
            avg_latency_ms: 4,
            max_latency_ms: 11,
        };
        let pinged = ConnectionSession {
            id: B,
            last_operation: Some(OpCode::Ping),
            last_xid: Xid::PING,
            ..session.clone()
        };
        let one = |port, interest_ops, received, sent, session| ConnectionFacts {
            peer: peer(port),
            interest_ops,
            outstanding: 0,
            received,
            sent,
            session,
        };
        vec![
            one(35446, 1, 7, 7, Some(session)),
            one(35462, 1, 3, 3, Some(pinged)),
            one(35484, 0, 1, 0, None),
        ]
    }
    fn connection_count(&self) -> usize {
        3
    }
    fn tls_handshake_count(&self) -> usize {
        0
    }
    fn outstanding_count(&self) -> usize {
        0
    }
    fn sessions(&self) -> Vec<ExpiryFacts<SessionId>> {
        vec![ExpiryFacts { at_ms: 1_795_367_831_500, members: vec![B, A] }]
    }
    fn connection_expiry(&self) -> Vec<ExpiryFacts<(SocketAddr, SessionId)>> {
        let members = vec![(peer(35462), B), (peer(35506), SessionId::NONE)];
        vec![ExpiryFacts { at_ms: 1_795_367_840_000, members }]
    }
    fn ephemerals(&self) -> Vec<(SessionId, Vec<String>)> {
        vec![(B, vec!["/z".into()]), (A, vec!["/app/f".into(), "/app/e".into()])]
    }
    fn watch_summary(&self) -> WatchFacts {
        WatchFacts { connections: 2, paths: 2, total: 3 }
    }
    fn watches_by_session(&self) -> Vec<(SessionId, Vec<String>)> {
        vec![(B, vec!["/app".into()]), (A, vec!["/app".into(), "/app/e".into()])]
    }
    fn watches_by_path(&self) -> Vec<(String, Vec<SessionId>)> {
        vec![("/app".into(), vec![A, B]), ("/app/e".into(), vec![A])]
    }
    fn digests(&self) -> Vec<DigestFacts> {
        vec![DigestFacts { zxid: Zxid(0x80), digest: u64::MAX, version: 2 }]
    }
    fn directory_bytes(&self) -> [u64; 2] {
        [358, 67_109_358]
    }
    fn last_snapshot(&self) -> Option<LastSnapshot> {
        Some(LastSnapshot { zxid: Zxid(0x1f), unix_s: 1_795_367_794 })
    }
    fn reset_connections(&self) {}
    fn trace_mask(&self) -> &AtomicI64 {
        &self.mask
    }
    fn authorize(&self, scheme: &str, auth: Option<&[u8]>, _peer: IpAddr) -> Authorization {
        match (scheme, auth) {
            ("digest", Some(b"root:pw")) => Authorization::Granted,
            ("digest", Some(_)) => Authorization::NotAuthorized,
            _ => Authorization::NotAuthenticated,
        }
    }
    fn snapshot(&self) -> Result<SnapshotStream, AdminError> {
        let content = std::io::repeat(7).take(200_000);
        Ok(SnapshotStream { zxid: Zxid(0x1f), len: 200_000, content: Box::new(content) })
    }
    fn restore(&self, snapshot: &mut dyn Read) -> Result<Zxid, AdminError> {
        let mut restored = self.restored.lock().unwrap();
        snapshot.read_to_end(&mut restored).map_err(|error| AdminError(error.into()))?;
        Ok(Zxid(77))
    }
}

fn word(text: &str, server: &Fake) -> String {
    four_letter_answer(text.parse().unwrap(), &[], server.config.service.four_letter_words, server)
}

#[test]
fn short_words_answer_as_apache_does() {
    let server = Fake::new();
    for (text, answer) in [
        ("ruok", "imok"),
        ("isro", "rw"),
        ("gtmk", "306"),
        ("crst", "Connection stats reset.\n"),
        ("dirs", "datadir_size: 358\nlogdir_size: 67109358\n"),
        ("wchs", "2 connections watching 2 paths\nTotal watches:3\n"),
        ("hash", "80: -1\n"),
        ("wchc", "0x1000016f3270001\n\t/app\n0x1000016f3270000\n\t/app\n\t/app/e\n\n"),
        ("wchp", "/app\n\t0x1000016f3270000\n\t0x1000016f3270001\n/app/e\n\t0x1000016f3270000\n\n"),
    ] {
        assert_eq!(word(text, &server), answer, "{text}");
    }
    let all = Whitelist::all();
    let mask = 7i64.to_be_bytes();
    assert_eq!(four_letter_answer(FourLetterWord::Stmk, &mask, all, &server), "7");
    assert_eq!(word("gtmk", &server), "7");
}

#[test]
fn stat_and_srvr_have_apaches_lines() {
    let server = Fake::new();
    let stat = word("stat", &server);
    let (version, rest) = stat.split_once('\n').unwrap();
    assert!(version.starts_with("Zookeeper version: 3.9.5-zkfleet-"), "{version}");
    assert!(version.contains(", built on "), "{version}");
    expect![[r#"
        Clients:
         /127.0.0.1:35446[1](queued=0,recved=7,sent=7)
         /127.0.0.1:35462[1](queued=0,recved=3,sent=3)
         /127.0.0.1:35484[0](queued=0,recved=1,sent=0)

        Latency min/avg/max: 0/3.3/11
        Received: 14
        Sent: 13
        Connections: 3
        Outstanding: 0
        Zxid: 0x6
        Mode: standalone
        Node count: 9
    "#]]
    .assert_eq(rest);
    let srvr = word("srvr", &server);
    assert_eq!(srvr.split_once('\n').unwrap().1, rest.split_once("\n\n").unwrap().1);
    assert_eq!(word("srst", &server), "Server stats reset.\n");
    assert!(word("srvr", &server).contains("Latency min/avg/max: 0/0.0/0\nReceived: 0\n"));
}

#[test]
fn cons_conf_and_dump_have_apaches_lines() {
    let server = Fake::new();
    let text = ["cons", "conf", "dump"].map(|name| word(name, &server)).concat();
    expect![[r#"
         /127.0.0.1:35446[1](queued=0,recved=7,sent=7,sid=0x1000016f3270000,lop=GETC,est=1795367821594,to=10000,lcxid=0x6,lzxid=0x4,lresp=1531239,llat=2,minlat=0,avglat=4,maxlat=11)
         /127.0.0.1:35462[1](queued=0,recved=3,sent=3,sid=0x1000016f3270001,lop=PING,est=1795367821594,to=10000,lzxid=0x4,lresp=1531239,llat=2,minlat=0,avglat=4,maxlat=11)
         /127.0.0.1:35484[0](queued=0,recved=1,sent=0)

        clientPort=2181
        secureClientPort=-1
        dataDir=/data/version-2
        dataDirSize=358
        dataLogDir=/data/version-2
        dataLogSize=67109358
        tickTime=500
        maxClientCnxns=0
        minSessionTimeout=1000
        maxSessionTimeout=10000
        clientPortListenBacklog=-1
        serverId=0
        SessionTracker dump:
        Session Sets (1)/(2):
        2 expire at Sun Nov 22 17:17:11 UTC 2026:
        	0x1000016f3270001
        	0x1000016f3270000
        ephemeral nodes dump:
        Sessions with Ephemerals (2):
        0x1000016f3270001:
        	/z
        0x1000016f3270000:
        	/app/f
        	/app/e
        Connections dump:
        Connections Sets (1)/(2):
        2 expire at Sun Nov 22 17:17:20 UTC 2026:
        	ip: /127.0.0.1:35462 sessionId: 0x1000016f3270001
        	ip: /127.0.0.1:35506 sessionId: 0x0
    "#]]
    .assert_eq(&text);
}

#[test]
fn words_outside_the_whitelist_are_refused() {
    let server = Fake::new();
    let refusal = " is not executed because it is not in the whitelist.\n";
    for &word in FourLetterWord::ALL {
        let answer = four_letter_answer(word, &[], Whitelist::empty(), &server);
        assert_eq!(answer, format!("{word}{refusal}"));
    }
    let read_only = Fake { mode: Mode::ReadOnly, ..Fake::new() };
    let answer = four_letter_answer(FourLetterWord::Isro, &[], Whitelist::empty(), &read_only);
    assert_eq!(answer, "ro");
    assert!(word("srvr", &read_only).contains("READ-ONLY mode; serving only read-only clients\n"));
}

#[test]
fn a_server_that_does_not_serve_says_so() {
    let server = Fake::new();
    server.serving.store(false, Relaxed);
    let refusal = "This ZooKeeper instance is not currently serving requests";
    for name in ["srvr", "stat", "mntr", "conf", "cons", "dump", "wchs", "wchc", "dirs", "crst"] {
        assert_eq!(word(name, &server), format!("{refusal}\n"), "{name}");
    }
    assert_eq!(word("hash", &server), refusal);
    assert_eq!(word("isro", &server), "null");
    assert_eq!((word("ruok", &server), word("gtmk", &server)), ("imok".into(), "306".into()));
    assert!(word("envi", &server).starts_with("Environment:\nzookeeper.version="));
}

#[test]
fn mntr_has_apaches_names_and_forms() {
    let server = Fake::new();
    server.metrics.fsynctime.record_time(Duration::from_micros(1500));
    server.metrics.readlatency.record_time(Duration::from_micros(2500));
    server.metrics.write_per_namespace.get("app").record(5);
    let text = word("mntr", &server);
    for line in [
        "zk_server_state\tstandalone",
        "zk_avg_latency\t3.3",
        "zk_max_latency\t11",
        "zk_uptime\t27877",
        "zk_znode_count\t9",
        "zk_approximate_data_size\t64",
        "zk_max_client_response_size\t89",
        "zk_connection_request_count\t0",
        "zk_avg_fsynctime\t1.5",
        "zk_min_fsynctime\t1",
        "zk_cnt_fsynctime\t1",
        "zk_p999_readlatency\t2",
        "zk_avg_app_write_per_namespace\t5.0",
        "zk_sum_app_write_per_namespace\t5",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} is not in:\n{text}");
    }
    assert!(text.lines().all(|line| line.starts_with("zk_") && line.split('\t').count() == 2));
    assert!(!text.contains("zk_p50_fsynctime"));
}

/// Names that Apache 3.9.4 printed in `mntr`, standalone.
const APACHE_NAMES: &str = include_str!("testdata/mntr-3.9.4.txt");

#[test]
fn every_name_of_mntr_is_one_of_apaches() {
    let server = Fake::new();
    let known = APACHE_NAMES.lines().collect::<std::collections::BTreeSet<_>>();
    let text = word("mntr", &server);
    let names = text.lines().filter_map(|line| line.split('\t').next()).collect::<Vec<_>>();
    let foreign = names.iter().filter(|name| !known.contains(*name)).collect::<Vec<_>>();
    assert!(foreign.is_empty(), "{foreign:?}");
    assert!(names.len() > 200, "{}", names.len());
}

#[test]
fn prometheus_gets_types_and_quantiles() {
    let server = Fake::new();
    server.metrics.connection_rejected.add(3);
    server.metrics.readlatency.record_time(Duration::from_micros(2500));
    server.metrics.read_per_namespace.get("a\"b").record(5);
    let text = prometheus::text(&server);
    for lines in [
        "# HELP znode_count znode_count\n# TYPE znode_count gauge\nznode_count 9.0\n",
        "# TYPE connection_rejected counter\nconnection_rejected 3.0\n",
        "# TYPE readlatency summary\nreadlatency{quantile=\"0.5\"} 2.5\n\
         readlatency{quantile=\"0.9\"} 2.5\nreadlatency{quantile=\"0.99\"} 2.5\n\
         readlatency_count 1.0\nreadlatency_sum 2.5\n",
        "# TYPE fsynctime summary\nfsynctime{quantile=\"0.5\"} 0.0\nfsynctime_count 0.0\n",
        "read_per_namespace{key=\"a\\\"b\",quantile=\"0.5\"} 5.0\n\
         read_per_namespace_count{key=\"a\\\"b\"} 1.0\n",
    ] {
        assert!(text.contains(lines), "{lines} is not in:\n{text}");
    }
}

// HTTP.

struct Web {
    runtime: tokio::runtime::Runtime,
    address: SocketAddr,
    server: Arc<Fake>,
}

impl Web {
    fn start(server: Fake, change: impl FnOnce(&mut AdminSettings)) -> Web {
        let mut settings = AdminSettings {
            address: HostPort { host: "127.0.0.1".into(), port: 0 },
            idle_timeout_ms: 5000,
            command_url: "/commands".into(),
            rate_interval_ms: 300_000,
            snapshot_enabled: true,
            restore_enabled: true,
        };
        change(&mut settings);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let server = Arc::new(server);
        let admin = AdminServer::new(settings, server.clone());
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(admin.serve(listener));
        Web { runtime, address, server }
    }

    /// Sends a request; the answer as status and headers, and body.
    fn ask(&self, request: &str, headers: &str, body: &[u8]) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let head = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        (String::from_utf8(all[..end].to_vec()).unwrap(), all[end..].to_vec())
    }

    #[track_caller]
    fn get(&self, path: &str, status: u16) -> String {
        let (head, body) = self.ask(&format!("GET {path}"), "", b"");
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {head}");
        String::from_utf8(body).unwrap()
    }
}

#[test]
fn commands_answer_apaches_json() {
    let web = Web::start(Fake::new(), |_| {});
    for (command, wanted) in [
        ("ruok", "{\n  \"command\" : \"ruok\",\n  \"error\" : null\n}"),
        ("nope", "{\n  \"command\" : \"nope\",\n  \"error\" : \"Unknown command: nope\"\n}"),
        (
            "wchs",
            "{\n  \"num_connections\" : 2,\n  \"num_paths\" : 2,\n  \"num_total_watches\" : 3,\n  \
             \"command\" : \"watch_summary\",\n  \"error\" : null\n}",
        ),
        (
            "wchp",
            "{\n  \"path_to_session_ids\" : {\n    \"/app\" : [ 72057692606627840, \
             72057692606627841 ],\n    \"/app/e\" : [ 72057692606627840 ]\n  },\n  \
             \"command\" : \"watches_by_path\",\n  \"error\" : null\n}",
        ),
        (
            "last_snapshot",
            "{\n  \"zxid\" : \"1f\",\n  \"timestamp\" : 1795367794,\n  \"command\" : \
             \"last_snapshot\",\n  \"error\" : null\n}",
        ),
        (
            "set_trace_mask?traceMask=9",
            "{\n  \"tracemask\" : 9,\n  \"command\" : \"set_trace_mask\",\n  \"error\" : null\n}",
        ),
    ] {
        assert_eq!(web.get(&format!("/commands/{command}"), 200), wanted, "{command}");
    }
    assert_eq!(web.server.mask.load(Relaxed), 9);
}

/// Name, then keys in order, of what Apache 3.9.4 answered to each command.
const APACHE_FIELDS: &str = include_str!("testdata/admin-fields-3.9.4.txt");

#[test]
fn fields_and_their_order_are_apaches() {
    let web = Web::start(Fake::new(), |_| {});
    for line in APACHE_FIELDS.lines() {
        let (command, keys) = line.split_once(':').unwrap();
        let body = web.get(&format!("/commands/{command}"), 200);
        let mut seen = Vec::new();
        for key in body.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once('"')) {
            // Keys that are data, not names.
            if !key.0.starts_with(|c: char| c == '/' || c.is_ascii_digit())
                && !seen.contains(&key.0)
            {
                seen.push(key.0);
            }
        }
        assert_eq!(seen.join(" "), keys.trim(), "{command}");
    }
}

#[test]
fn the_index_lists_all_commands_and_metrics_are_there() {
    let web = Web::start(Fake::new(), |_| {});
    let index = web.get("/commands", 200);
    assert!(index.starts_with(
        "<a href=\"/commands/configuration\">configuration</a>\n<br/>\n<a href=\"/commands/conn"
    ));
    assert_eq!(index.matches("<br/>\n").count(), 28);
    assert_eq!(web.get("/commands/", 200), index);
    assert!(web.get("/metrics", 200).contains("# TYPE znode_count gauge\n"));
    web.get("/", 404);
    web.get("/commandsx", 404);
}

#[test]
fn wrong_verbs_foreign_pages_and_secrets_are_refused() {
    let web = Web::start(Fake::new(), |_| {});
    let (head, _) = web.ask("TRACE /commands/ruok", "", b"");
    assert!(head.starts_with("HTTP/1.1 405 "), "{head}");
    let (head, _) = web.ask("POST /commands/ruok", "Content-Length: 0\r\n", b"");
    assert!(head.starts_with("HTTP/1.1 405 "), "{head}");
    let (head, _) = web.ask("GET /commands/srst", "Sec-Fetch-Site: cross-site\r\n", b"");
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    for command in ["initial_configuration", "system_properties", "configuration"] {
        let body = web.get(&format!("/commands/{command}"), 200);
        assert!(!body.contains("canary"), "{body}");
    }
    assert!(web.get("/commands/icfg", 200).contains("ssl.keyStore.password=***\\n"));
}

#[test]
fn commands_need_a_serving_server_except_a_few() {
    let web = Web::start(Fake::new(), |_| {});
    web.server.serving.store(false, Relaxed);
    for command in ["ruok", "monitor", "stats", "dump"] {
        let body = web.get(&format!("/commands/{command}"), 200);
        assert!(body.contains("not currently serving requests"), "{command}: {body}");
    }
    for command in ["environment", "gtmk", "zabstate", "system_properties"] {
        let body = web.get(&format!("/commands/{command}"), 200);
        assert!(body.contains("\"error\" : null"), "{command}: {body}");
    }
}

#[test]
fn a_snapshot_streams_to_who_may_have_it_and_not_too_often() {
    let web = Web::start(Fake::new(), |_| {});
    let ask = |auth: &str| {
        let (head, body) = web.ask("GET /commands/snapshot", auth, b"");
        (head.split(' ').nth(1).unwrap().to_owned(), head, body)
    };
    let (status, _, body) = ask("");
    assert_eq!(status, "401");
    assert!(String::from_utf8(body).unwrap().contains("Auth info is missing for the command"));
    assert_eq!(ask("Authorization: digest root pw\r\n").0, "401");
    assert_eq!(ask("Authorization: magic x\r\n").0, "401");
    assert_eq!(ask("Authorization: digest other:pw\r\n").0, "403");
    let (status, head, body) = ask("Authorization: digest root:pw\r\n");
    assert_eq!(status, "200");
    assert!(head.contains("last_zxid: 0x1f\r\nsnapshot_size: 200000\r\n"), "{head}");
    assert!(head.contains("application/octet-stream"), "{head}");
    assert_eq!(body.iter().filter(|byte| **byte == 7).count(), 200_000);
    assert_eq!(ask("Authorization: digest root:pw\r\n").0, "429");
    assert_eq!(web.server.metrics.snapshot_rate_limited_count.get(), 1);
}

#[test]
fn a_restore_reads_the_whole_body() {
    let web = Web::start(Fake::new(), |settings| settings.rate_interval_ms = 0);
    let content = vec![9; 300_000];
    let auth = "Authorization: digest root:pw\r\n";
    let headers = format!("{auth}Content-Length: 300000\r\n");
    let (head, body) = web.ask("POST /commands/restore", &headers, &content);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(String::from_utf8(body).unwrap().contains("\"last_zxid\" : 77"));
    assert_eq!(*web.server.restored.lock().unwrap(), content);
    let (head, _) = web.ask("GET /commands/restore", auth, b"");
    assert!(head.starts_with("HTTP/1.1 405 "), "{head}");
}

#[test]
fn snapshot_and_restore_can_be_turned_off() {
    let web = Web::start(Fake::new(), |settings| settings.snapshot_enabled = false);
    let (head, _) = web.ask("GET /commands/snapshot", "Authorization: digest root:pw\r\n", b"");
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    let web = Web::start(Fake::with("serializeLastProcessedZxid.enabled=false\n"), |_| {});
    let (head, _) = web.ask("GET /commands/snapshot", "Authorization: digest root:pw\r\n", b"");
    assert!(head.starts_with("HTTP/1.1 500 "), "{head}");
}

#[test]
fn an_idle_connection_is_closed() {
    let web = Web::start(Fake::new(), |settings| settings.idle_timeout_ms = 50);
    let mut stream = TcpStream::connect(web.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"GET /commands/ruok HTTP/1.1\r\n").unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    drop(web.runtime);
}
