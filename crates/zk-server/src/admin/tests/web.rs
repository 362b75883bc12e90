//! The HTTP server over real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::super::*;
use super::Fake;
use crate::config::{AdminSettings, HostPort};

struct Web {
    runtime: tokio::runtime::Runtime,
    address: SocketAddr,
    server: Arc<Fake>,
}

impl Web {
    fn start(server: Fake, change: impl FnOnce(&mut AdminSettings)) -> Web {
        let mut settings = AdminSettings {
            address: HostPort { host: "127.0.0.1".into(), port: 0 },
            hosts: vec!["ops.example.com".into()],
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
        let host = if headers.contains("Host: ") { "" } else { "Host: x\r\n" };
        let head = format!("{request} HTTP/1.1\r\n{host}Connection: close\r\n{headers}\r\n");
        let mut stream = self.send(&head);
        stream.write_all(body).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        (String::from_utf8(all[..end].to_vec()).unwrap(), all[end..].to_vec())
    }

    /// A connection on which so much of a request was sent.
    fn send(&self, head: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream
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
const APACHE_FIELDS: &str = include_str!("../testdata/admin-fields-3.9.4.txt");

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
fn a_name_that_a_page_made_its_own_is_no_way_in() {
    let web = Web::start(Fake::new(), |_| {});
    let status = |headers: &str| web.ask("GET /commands/wchp", headers, b"").0[9..12].to_owned();
    let browser = "User-Agent: Mozilla/5.0\r\nAccept-Language: en\r\n";
    assert_eq!(status(&format!("Host: evil.example\r\n{browser}")), "403");
    for host in ["127.0.0.1:8080", "localhost", "ops.example.com:8080"] {
        assert_eq!(status(&format!("Host: {host}\r\n{browser}")), "200", "{host}");
    }
    assert_eq!(status("Host: evil.example\r\nUser-Agent: curl/8.5.0\r\n"), "200");
    let (_, body) = web.ask("GET /metrics", &format!("Host: evil.example\r\n{browser}"), b"");
    assert!(String::from_utf8(body).unwrap().contains("admin.hosts"), "says what to do");
}

#[test]
fn clients_that_let_the_server_wait_keep_nobody_out() {
    let web = Web::start(Fake::new(), |_| {});
    let half_sent = (0..70).map(|_| web.send("GET /metrics HTTP/1.1\r\nHost:")).collect::<Vec<_>>();
    assert!(web.get("/metrics", 200).contains("znode_count"));
    drop(half_sent);
    // More than sockets take.
    let big = Web::start(Fake { watched: 300_000, ..Fake::new() }, |_| {});
    let mut unread = Vec::new();
    for _ in 0..6 {
        unread.push(big.send("GET /commands/wchp HTTP/1.1\r\nHost: x\r\n\r\n"));
        // A head that has come says that its answer is there.
        assert!(unread.last_mut().unwrap().read(&mut [0; 16]).unwrap() > 0);
    }
    assert!(big.get("/metrics", 200).contains("znode_count"));
    let ends_early = |stream: &mut TcpStream| {
        let mut chunk = vec![0; 1 << 20];
        let mut last = Vec::new();
        while let Ok(len @ 1..) = stream.read(&mut chunk) {
            last = chunk[..len].to_vec();
            if last.ends_with(b"null\n}") {
                break;
            }
        }
        !last.ends_with(b"null\n}")
    };
    let cut_off = unread.iter_mut().filter_map(|stream| ends_early(stream).then_some(())).count();
    assert!((2..=3).contains(&cut_off), "{cut_off} of 6 answers that nobody read were let go");
}

#[test]
fn a_full_house_makes_one_place_for_one_that_comes() {
    let web = Web::start(Fake::new(), |_| {});
    let ask = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut chunk = vec![0; 1 << 16];
    let mut idle = (0..64).map(|_| web.send(ask)).collect::<Vec<_>>();
    for stream in &mut idle {
        assert!(stream.read(&mut chunk).unwrap() > 0);
    }
    let open = |idle: &mut [TcpStream]| {
        let is_open = |stream: &mut TcpStream| {
            stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let mut sink = vec![0; 1 << 16];
            loop {
                match stream.read(&mut sink) {
                    Ok(0) => return false,
                    Ok(_) => {}
                    Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
                }
            }
        };
        idle.iter_mut().map(is_open).filter(|is_open| *is_open).count()
    };
    assert_eq!(open(&mut idle), 64);
    assert!(web.get("/metrics", 200).contains("znode_count"));
    assert_eq!(open(&mut idle), 63);
    // Whom the server works for all the time, one after the other.
    let busy = web.send(&ask.repeat(2000));
    let crowd = (0..63).map(|_| web.send(&ask.repeat(2000))).collect::<Vec<_>>();
    assert!(web.get("/commands/ruok", 200).contains("ruok"));
    drop((busy, crowd));
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
