//! SASL between members, ours and Apache's: who knows a password of the others is one of them, and
//! nobody else is heard.

mod members;
#[path = "members/sasl.rs"]
mod sasl;

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use members::{Authority, SESSION_MS, quorum_ports, refuses_stranger, start, works};
use sasl::{ENABLED, LEARNER, MODULE, NO_FIPS, SERVER, jaas, strict};
use tempfile::TempDir;
use zk_proto::Zxid;
use zk_proto::request::CreateMode;
use zk_testkit::{
    Engine, Ensemble, Error, PATIENCE, Server, ServerConfig, apache_or_skip, four_letter_word,
};

/// The lines of a member's `zoo.cfg` but for those of SASL.
fn without_sasl(lines: &[String]) -> Vec<String> {
    let is_sasl = |line: &&String| line.starts_with("quorum.auth.") || line.starts_with("java.");
    lines.iter().filter(|line| !is_sasl(line)).cloned().collect()
}

fn log(ensemble: &mut Ensemble, sid: i64) -> String {
    let path = ensemble.member(sid).expect("a member").log_path();
    fs::read_to_string(path).unwrap_or_default()
}

/// Waits until the log of one of these has one of these texts behind what it had.
fn wait_for_log(ensemble: &mut Ensemble, before: &[(i64, usize)], texts: &[&str]) {
    let started = Instant::now();
    loop {
        for (sid, length) in before {
            let log = log(ensemble, *sid);
            if texts.iter().any(|text| log[*length..].contains(text)) {
                return;
            }
        }
        assert!(started.elapsed() < PATIENCE, "none of {texts:?} in the logs of {before:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn members_of_ours_and_no_strangers() {
    let dir = TempDir::new().expect("a directory");
    let lines = strict(jaas(dir.path(), "all", "secret", "secret"));
    let mut ensemble = start(&[Engine::Ours; 3], &lines).expect("three members");
    works(&mut ensemble).expect("all work");
    for addr in quorum_ports(&ensemble) {
        assert!(refuses_stranger(addr), "{addr}");
    }
    for sid in ensemble.sids() {
        assert!(!log(&mut ensemble, sid).contains("\"secret\""), "server {sid}");
    }
}

fn wait_for_same_zxid(ensemble: &Ensemble) -> Result<(), Error> {
    let started = Instant::now();
    loop {
        let mut zxids = BTreeSet::new();
        for sid in ensemble.sids() {
            let answer = four_letter_word(ensemble.addr(sid)?, b"srvr", PATIENCE)?;
            let answer = String::from_utf8_lossy(&answer).into_owned();
            let zxid = answer.lines().find(|line| line.starts_with("Zxid: "));
            zxids.insert(zxid.unwrap_or_default().to_owned());
        }
        if zxids.len() == 1 {
            return Ok(());
        }
        assert!(started.elapsed() < PATIENCE, "{zxids:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn write(ensemble: &Ensemble, name: &str) -> Result<(), Error> {
    for sid in ensemble.sids() {
        let mut client = ensemble.connect(sid, SESSION_MS)?;
        client.create(&format!("{name}-{sid}"), &[7; 10_000], CreateMode::Persistent)?;
        client.close()?;
    }
    Ok(())
}

/// Everybody starts anew, these two first: of them the one with the larger sid leads, since both
/// have the same history.
fn begin_with(ensemble: &mut Ensemble, pair: [i64; 2]) -> Result<(), Error> {
    write(ensemble, &format!("/before-{pair:?}"))?;
    wait_for_same_zxid(ensemble)?;
    let all = ensemble.sids();
    for sid in &all {
        ensemble.member(*sid)?.kill()?;
    }
    ensemble.restart(&pair)?;
    assert_eq!(ensemble.leader()?, pair[1]);
    let others: Vec<i64> = all.into_iter().filter(|sid| !pair.contains(sid)).collect();
    ensemble.restart(&others)?;
    assert_eq!(ensemble.leader()?, pair[1]);
    write(ensemble, &format!("/began-with-{pair:?}"))
}

#[test]
fn members_of_both_whoever_leads() {
    let (old, new) = (Engine::Apache38, Engine::Apache39);
    if !apache_or_skip(old) || !apache_or_skip(new) {
        return;
    }
    let dir = TempDir::new().expect("a directory");
    let lines = strict(jaas(dir.path(), "all", "secret", "secret"));
    for (engines, pairs) in [
        ([Engine::Ours, new, old], &[[1, 2], [1, 3]][..]),
        ([new, old, Engine::Ours], &[[1, 3], [2, 3]]),
    ] {
        let mut ensemble = start(&engines, &lines).expect("three members");
        for pair in pairs {
            begin_with(&mut ensemble, *pair).expect("all work");
        }
        works(&mut ensemble).expect("all work");
    }
}

/// A member comes back with other lines, and is kept out: what others say of it, or it of them.
fn is_kept_out(
    ensemble: &mut Ensemble,
    sid: i64,
    lines: impl Fn(&[String]) -> Vec<String>,
    others_say: &[&str],
    it_says: &[&str],
) {
    let member = ensemble.member(sid).expect("it runs");
    member.kill().expect("killed");
    let right = member.lines().to_vec();
    let wrong = lines(&right);
    ensemble.leader().expect("the others have a leader");
    let all = ensemble.sids();
    let before: Vec<_> = all.iter().map(|sid| (*sid, log(ensemble, *sid).len())).collect();
    let (own, others): (Vec<_>, Vec<_>) = before.into_iter().partition(|(it, _)| *it == sid);
    let member = ensemble.member(sid).expect("a member");
    member.set_lines(wrong);
    member.launch().expect("launched");
    if !others_say.is_empty() {
        wait_for_log(ensemble, &others, others_say);
    }
    if !it_says.is_empty() {
        wait_for_log(ensemble, &own, it_says);
    }
    assert_eq!(ensemble.mode(sid), None, "it is in");
    let member = ensemble.member(sid).expect("a member");
    member.kill().expect("killed");
    member.set_lines(right);
    member.launch().expect("launched");
    member.wait_until_up().expect("it is one of them again");
}

/// What members say of others, ours and Apache's.
const FAILED: &[&str] =
    &["SASL authentication failed: no user", "Failed to authenticate using SASL"];
/// Apache's says the latter of one that hangs up, to be called.
const NOT_TRYING: &[&str] = &[
    "Learner not trying to authenticate and authentication is required",
    "Failed to authenticate using SASL",
];
/// What members say of themselves.
const UNKNOWN: &[&str] = &[
    "does not know the user member with this password",
    "Authentication failed against server addr",
];

/// A member whose own password is wrong, one that does not know that of the others, and one that
/// says nothing.
fn strangers_are_kept_out(engines: [Engine; 3]) {
    let dir = TempDir::new().expect("a directory");
    let right = jaas(dir.path(), "all", "secret", "secret");
    let mut ensemble = start(&engines, &strict(right)).expect("three members");
    let with = |file: &str, others: &str, own: &str| {
        let file = jaas(dir.path(), file, others, own);
        move |lines: &[String]| {
            let mut lines = without_sasl(lines);
            lines.extend(strict(file.clone()));
            lines
        }
    };
    // The others call it: its sid is the smallest.
    is_kept_out(&mut ensemble, 1, with("own", "secret", "wrong"), FAILED, UNKNOWN);
    is_kept_out(&mut ensemble, 1, with("others", "wrong", "secret"), UNKNOWN, FAILED);
    is_kept_out(&mut ensemble, 1, without_sasl, NOT_TRYING, &[]);
    // It calls the others.
    is_kept_out(&mut ensemble, 3, with("own", "secret", "wrong"), FAILED, UNKNOWN);
    is_kept_out(&mut ensemble, 3, without_sasl, NOT_TRYING, &[]);
}

#[test]
fn strangers_are_kept_out_by_ours() {
    strangers_are_kept_out([Engine::Ours; 3]);
}

#[test]
fn strangers_of_ours_are_kept_out_by_apache_and_the_other_way_round() {
    let apache = Engine::Apache39;
    if !apache_or_skip(apache) {
        return;
    }
    strangers_are_kept_out([Engine::Ours, apache, apache]);
    strangers_are_kept_out([apache, Engine::Ours, Engine::Ours]);
}

/// Three turns through the members, one after the other, and all the time there is a quorum.
fn members_go_over_one_by_one(engines: [Engine; 3]) {
    let dir = TempDir::new().expect("a directory");
    let mut ensemble = start(&engines, &[]).expect("three members");
    let file = jaas(dir.path(), "all", "secret", "secret");
    let plain = ensemble.member(1).expect("it runs").lines().to_vec();
    let mut client = ensemble.connect(1, SESSION_MS).expect("a session");
    for (turn, keys) in
        [&[ENABLED][..], &[ENABLED, LEARNER], &[ENABLED, LEARNER, SERVER]].into_iter().enumerate()
    {
        for (sid, engine) in ensemble.sids().into_iter().zip(engines) {
            let keys = keys.iter().chain(&[NO_FIPS]).map(ToString::to_string).chain([file.clone()]);
            let lines = plain.iter().cloned().chain(keys).collect();
            let member = ensemble.member(sid).expect("it runs");
            member.restart_with(engine, lines).expect("it is one of them");
            let session = client.session().clone();
            client = ensemble.resume(sid, &session, Zxid::ZERO).expect("the session goes on");
            let path = format!("/turn-{turn}-{sid}");
            client.create(&path, b"", CreateMode::Persistent).expect("a quorum");
        }
        let ports = quorum_ports(&ensemble);
        let leads = ensemble.leader().expect("a leader");
        let is_refused = refuses_stranger(ports[leads as usize - 1]);
        assert_eq!(is_refused, keys.contains(&SERVER), "turn {turn}");
    }
}

#[test]
fn members_of_ours_go_over_to_sasl() {
    members_go_over_one_by_one([Engine::Ours; 3]);
}

#[test]
fn members_of_both_go_over_to_sasl() {
    let (old, new) = (Engine::Apache38, Engine::Apache39);
    if apache_or_skip(old) && apache_or_skip(new) {
        members_go_over_one_by_one([Engine::Ours, old, new]);
    }
}

#[test]
fn sasl_goes_through_tls() {
    let dir = TempDir::new().expect("a directory");
    let mut lines = Authority::new().issue(dir.path(), "own", "127.0.0.1");
    lines.extend(strict(jaas(dir.path(), "all", "secret", "secret")));
    let mut ensemble = start(&[Engine::Ours; 3], &lines).expect("three members");
    works(&mut ensemble).expect("all work");
    // A certificate is not enough.
    is_kept_out(&mut ensemble, 1, without_sasl, NOT_TRYING, &[]);
    drop(ensemble);
    if apache_or_skip(Engine::Apache39) {
        let engines = [Engine::Ours, Engine::Apache39, Engine::Apache39];
        let mut ensemble = start(&engines, &lines).expect("three members");
        works(&mut ensemble).expect("all work");
    }
}

/// Kerberos, and what is missing, are found at the start.
#[test]
fn what_will_not_do_is_refused_by_name() {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("users");
    let kerberos = "com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true;";
    let digest = format!("{MODULE} required username=\"a\" password=\"b\" user_a=\"b\";");
    for (learner, server, wanted) in [
        (kerberos, &*digest, "section QuorumLearner names the module com.sun.security.auth.module"),
        (&*digest, kerberos, "section QuorumServer names the module com.sun.security.auth.module"),
        (&*digest, "x.DigestLoginModule required;", "section QuorumServer names no user"),
        (
            "x.DigestLoginModule required;",
            &*digest,
            "section QuorumLearner does not say who this is",
        ),
    ] {
        let text = format!("QuorumLearner {{ {learner} }};\nQuorumServer {{ {server} }};\n");
        fs::write(&path, text).expect("a file of users");
        let mut config = ServerConfig::new(Engine::Ours);
        config.myid = Some(1);
        let lines = ["initLimit=5", "syncLimit=5", ENABLED, LEARNER, SERVER];
        config.lines.extend(lines.map(str::to_owned));
        config.lines.push(format!("java.security.auth.login.config={}", path.display()));
        for sid in 1..=3 {
            let port = zk_testkit::free_port().expect("a port");
            let other = zk_testkit::free_port().expect("another");
            config.lines.push(format!("server.{sid}=127.0.0.1:{port}:{other}"));
        }
        match Server::start(config) {
            Err(Error::NotUp { tail, .. }) => assert!(tail.contains(wanted), "{tail}"),
            other => panic!("{wanted}: {:?}", other.map(|server| server.addr())),
        }
    }
}
