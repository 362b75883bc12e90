//! TLS between members, ours and Apache's: who shows a certificate of the authority is one of them,
//! and nobody else is heard.

mod members;

use std::fs;
use std::time::{Duration, Instant};

use members::{Authority, SESSION_MS, quorum_ports, refuses_stranger, start, works};
use tempfile::TempDir;
use zk_proto::Zxid;
use zk_proto::request::{CreateMode, ReconfigRequest, Request};
use zk_testkit::{Engine, Ensemble, PATIENCE, apache_or_skip};

#[test]
fn members_of_ours_and_no_strangers() {
    let dir = TempDir::new().expect("a directory");
    let authority = Authority::new();
    let lines = authority.issue(dir.path(), "own", "127.0.0.1");
    let mut ensemble = start(&[Engine::Ours; 3], &lines).expect("three members");
    works(&mut ensemble).expect("all work");
    for addr in quorum_ports(&ensemble) {
        assert!(refuses_stranger(addr), "{addr}");
    }
}

#[test]
fn members_of_both() {
    let apache = Engine::Apache39;
    if !apache_or_skip(apache) {
        return;
    }
    let dir = TempDir::new().expect("a directory");
    let lines = Authority::new().issue(dir.path(), "own", "127.0.0.1");
    for engines in [[Engine::Ours, apache, apache], [Engine::Ours, Engine::Ours, apache]] {
        let mut ensemble = start(&engines, &lines).expect("three members");
        works(&mut ensemble).expect("all work");
    }
}

/// Three turns through the members, one after the other, and all the time there is a quorum.
#[test]
fn members_go_over_to_tls_one_by_one() {
    let dir = TempDir::new().expect("a directory");
    let mut ensemble = start(&[Engine::Ours; 3], &[]).expect("three members");
    let plain = ensemble.member(1).expect("it runs").lines().to_vec();
    let stores = Authority::new().issue(dir.path(), "own", "127.0.0.1");
    let mut client = ensemble.connect(1, SESSION_MS).expect("a session");
    for (turn, keys) in [
        &["portUnification=true"][..],
        &["sslQuorum=true", "portUnification=true"],
        &["sslQuorum=true"],
    ]
    .into_iter()
    .enumerate()
    {
        for sid in ensemble.sids() {
            let lines = plain.iter().chain(&stores[1..]).cloned();
            let lines = lines.chain(keys.iter().map(ToString::to_string)).collect();
            let member = ensemble.member(sid).expect("it runs");
            member.restart_with(Engine::Ours, lines).expect("it is one of them");
            let session = client.session().clone();
            client = ensemble.resume(sid, &session, Zxid::ZERO).expect("the session goes on");
            let path = format!("/turn-{turn}-{sid}");
            client.create(&path, b"", CreateMode::Persistent).expect("a quorum");
        }
    }
    for addr in quorum_ports(&ensemble) {
        assert!(refuses_stranger(addr), "{addr}");
    }
}

/// Whether another member says that it has refused somebody since it was asked last.
fn is_refused(ensemble: &mut Ensemble, but: i64) -> bool {
    let others = ensemble.sids().into_iter().filter(|sid| *sid != but);
    others.into_iter().any(|sid| {
        let path = ensemble.member(sid).expect("it runs").log_path();
        let text = fs::read_to_string(&path).expect("a log");
        let refused = text.matches(" is refused: ").count();
        fs::write(path, text.replace(" is refused: ", " was refused: ")).expect("a log");
        refused > 0
    })
}

/// A leader that leaves tells who leads next, and who has asked for it hears that it is done.
#[test]
fn the_leader_leaves_without_an_election() {
    let dir = TempDir::new().expect("a directory");
    let mut lines = Authority::new().issue(dir.path(), "own", "127.0.0.1");
    lines.push("reconfigEnabled=true".to_owned());
    // The superuser's password is `secret`.
    lines.push(
        "DigestAuthenticationProvider.superDigest=super:lK75jTNcA+U9vtVEw5vB51mj/w4=".to_owned(),
    );
    let mut ensemble = start(&[Engine::Ours; 3], &lines).expect("three members");
    let leader = ensemble.leader().expect("a leader");
    let stays: Vec<i64> = ensemble.sids().into_iter().filter(|sid| *sid != leader).collect();
    let mut client = ensemble.connect(stays[0], SESSION_MS).expect("a session");
    client.auth("digest", b"super:secret").expect("the superuser");
    let request = Request::Reconfig(ReconfigRequest {
        joining: None,
        leaving: Some(leader.to_string().into()),
        new_members: None,
        config_id: -1,
    });
    assert_eq!(client.call(&request).expect("an answer").err, 0);
    ensemble.forget(leader);
    assert_ne!(ensemble.leader().expect("another one"), leader);
    for sid in stays {
        let path = ensemble.member(sid).expect("it runs").log_path();
        let text = fs::read_to_string(path).expect("a log");
        assert!(!text.contains("this member has no leader: no connection"), "{text}");
    }
}

/// A member with a certificate of another authority, or for another host, is not let in.
#[test]
fn the_wrong_certificate_is_refused() {
    let dir = TempDir::new().expect("a directory");
    let authority = Authority::new();
    let lines = authority.issue(dir.path(), "own", "127.0.0.1");
    let mut ensemble = start(&[Engine::Ours; 3], &lines).expect("three members");
    let follower = {
        let leader = ensemble.leader().expect("a leader");
        ensemble.sids().into_iter().find(|sid| *sid != leader).expect("a follower")
    };
    let others = [
        Authority::new().issue(dir.path(), "other", "127.0.0.1"),
        authority.issue(dir.path(), "elsewhere", "127.0.0.77"),
    ];
    for wrong in others {
        let member = ensemble.member(follower).expect("it runs");
        member.kill().expect("killed");
        let right = member.lines().to_vec();
        let is_tls = |line: &String| line.contains("ssl");
        let kept = right.iter().filter(|line| !is_tls(line)).cloned();
        let changed: Vec<String> = kept.chain(wrong).collect();
        member.set_lines(changed);
        member.launch().expect("launched");
        let started = Instant::now();
        while !is_refused(&mut ensemble, follower) {
            assert!(started.elapsed() < PATIENCE, "nobody refuses it");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(ensemble.mode(follower), None, "it is in");
        let member = ensemble.member(follower).expect("it runs");
        member.kill().expect("killed");
        member.set_lines(right);
        member.launch().expect("launched");
        member.wait_until_up().expect("it is one of them again");
    }
}
