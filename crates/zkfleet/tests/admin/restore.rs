//! `snapshot` and `restore` over HTTP, between servers of ours and Apache's.

use std::fs;
use std::process::Command;

use zk_proto::request::CreateMode;
use zk_testkit::{Client, Engine, Error, HttpAnswer, apache_or_skip};

use crate::site::{SUPER, Site};

fn snapshot(site: &Site) -> HttpAnswer {
    let answer = site.ask("GET /commands/snapshot", &[SUPER], b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    assert_eq!(answer.header("snapshot_size"), Some(&*answer.body.len().to_string()));
    answer
}

fn has(site: &Site, path: &str) -> bool {
    match site.client().exists(path) {
        Ok(_) => true,
        Err(Error::Refused(-101)) => false,
        Err(error) => panic!("{path}: {error}"),
    }
}

#[test]
fn a_snapshot_is_a_file_like_those_on_the_disk() {
    let site = Site::start(Engine::Ours, &[]);
    let _clients = site.load();
    let answer = snapshot(&site);
    let zxid = answer.header("last_zxid").unwrap().strip_prefix("0x").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(format!("snapshot.{zxid}"));
    fs::write(&file, &answer.body).unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_zkfleet")).arg("snapshot").arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8(output.stdout).unwrap().contains("\"/app/e\" czxid"));
    let json = site.ask("GET /commands/snapshot?streaming=false", &[SUPER], b"");
    assert_eq!(json.status, 200, "{}", json.text());
}

#[test]
fn a_restore_brings_back_what_was_and_stays() {
    let mut site = Site::start(Engine::Ours, &[]);
    let [mut one, two] = site.load();
    let body = snapshot(&site).body;
    one.create("/later", b"", CreateMode::Persistent).unwrap();
    let before = one.sync().unwrap();
    for (request, headers, status) in
        [("POST /commands/restore", &[][..], 401), ("GET /commands/restore", &[SUPER][..], 405)]
    {
        assert_eq!(site.ask(request, headers, &body).status, status, "{request}");
    }
    // Cut off, spoilt, or no snapshot at all: nothing changes.
    let mut spoilt = body.clone();
    spoilt[body.len() / 2] ^= 1;
    for bad in [&body[..body.len() / 2], &spoilt, b"hello"] {
        let answer = site.ask("POST /commands/restore", &[SUPER], bad);
        assert!(answer.status >= 400, "{}", answer.text());
        // It says what is wrong with what was sent, and not where the server keeps it.
        assert!(!answer.text().contains("zkfleet.restore"), "{}", answer.text());
        assert!(has(&site, "/later") && has(&site, "/app"));
    }
    let answer = site.ask("POST /commands/restore", &[SUPER], &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = serde_json::from_str::<serde_json::Value>(&answer.text()).unwrap();
    assert!(json["last_zxid"].as_i64().unwrap() > before.0, "{json}: clients went back in time");
    assert!(matches!(one.ping(), Err(Error::Closed)), "connections end");
    for again in [false, true] {
        if again {
            site.server.restart().unwrap();
        }
        assert!(has(&site, "/app") && has(&site, "/app/e") && !has(&site, "/later"), "{again}");
        // Sessions of the snapshot can be renewed.
        Client::resume(site.server.addr(), two.session(), zk_proto::Zxid::ZERO).unwrap();
    }
    assert_eq!(site.server.complaints(), Vec::<String>::new());
}

#[test]
fn between_ours_and_apache_394() {
    if !apache_or_skip(Engine::Apache39) {
        return;
    }
    let sites = [Engine::Ours, Engine::Apache39].map(|engine| Site::start(engine, &[]));
    for (number, (from, to)) in [(0, 1), (1, 0)].into_iter().enumerate() {
        let path = format!("/from-{number}");
        sites[from].client().create(&path, b"data", CreateMode::Persistent).unwrap();
        let body = snapshot(&sites[from]).body;
        let answer = sites[to].ask("POST /commands/restore", &[SUPER], &body);
        assert_eq!(answer.status, 200, "{}: {}", sites[to].server.engine(), answer.text());
        assert_eq!(sites[to].client().get_data(&path).unwrap().0, Some(b"data".to_vec()));
    }
}

fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    (b << 16) | a
}

/// A snapshot that somebody has made up must not use up what transactions need.
#[test]
fn a_snapshot_behind_which_there_are_no_zxids_is_not_restored() {
    const SEAL: usize = 8 + 4 + 1;
    let site = Site::start(Engine::Ours, &[]);
    let _clients = site.load();
    let mut body = snapshot(&site).body;
    let zxid_at = body.len() - SEAL - 8;
    body[zxid_at..zxid_at + 8].copy_from_slice(&i64::MAX.to_be_bytes());
    let sum = u64::from(adler32(&body[..zxid_at + 8]));
    body[zxid_at + 8..zxid_at + 16].copy_from_slice(&sum.to_be_bytes());
    let answer = site.ask("POST /commands/restore", &[SUPER], &body);
    assert_ne!(answer.status, 200);
    assert!(answer.text().contains("no zxids behind"), "{}", answer.text());
    site.client().create("/goes-on", b"", CreateMode::Persistent).unwrap();
}
