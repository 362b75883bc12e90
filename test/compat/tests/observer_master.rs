//! Observers that are fed by followers, ours and Apache's, at either end: they serve as if the
//! leader fed them, and find another when theirs is gone.

#[path = "members/sasl.rs"]
mod sasl;

use std::time::{Duration, Instant};

use tempfile::TempDir;

use zk_proto::Zxid;
use zk_proto::request::{CreateMode, ReadRequest, ReconfigRequest, Request};
use zk_proto::watch::EventType;
use zk_testkit::{
    Client, Engine, Ensemble, Error, PATIENCE, apache_or_skip, four_letter_word, free_port,
};

const SESSION_MS: i32 = 20_000;
/// The observer, behind three voters.
const OBSERVER: i64 = 4;

/// What the configurations of three voters and an observer have in common, each on an address of
/// its own, since all have the same port for observers.
fn lines(further: &[String]) -> Result<Vec<String>, Error> {
    let mut lines = vec![
        "initLimit=20".to_owned(),
        "syncLimit=10".to_owned(),
        "reconfigEnabled=true".to_owned(),
        // The superuser's password is `secret`.
        "DigestAuthenticationProvider.superDigest=super:lK75jTNcA+U9vtVEw5vB51mj/w4=".to_owned(),
    ];
    for sid in 1..=OBSERVER {
        let role = if sid == OBSERVER { "observer" } else { "participant" };
        lines.push(format!("server.{sid}=127.0.0.{sid}:{}:{}:{role}", free_port()?, free_port()?));
    }
    lines.extend_from_slice(further);
    Ok(lines)
}

/// All voters feed observers if they follow.
fn start(voters: Engine, observer: Engine, further: &[String]) -> Result<Ensemble, Error> {
    let mut lines = lines(further)?;
    lines.push(format!("observerMasterPort={}", free_port()?));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let engines = [voters, voters, voters, observer];
    let own = |sid| if sid == OBSERVER { vec!["peerType=observer".to_owned()] } else { Vec::new() };
    Ensemble::with_own_lines(&engines, &lines, own)
}

/// A value that `mntr` of a member tells.
fn told(ensemble: &Ensemble, sid: i64, name: &str) -> Option<i64> {
    let answer = four_letter_word(ensemble.addr(sid).ok()?, b"mntr", PATIENCE).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let value = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'));
    value.and_then(|value| value.trim().parse::<f64>().ok()).map(|value| value as i64)
}

/// Who feeds the observer: a follower, and nobody else.
fn master(ensemble: &Ensemble) -> Result<i64, Error> {
    let started = Instant::now();
    loop {
        let leader = ensemble.leader()?;
        let voters = ensemble.sids().into_iter().filter(|sid| *sid != OBSERVER);
        let feeds = |sid: &i64| told(ensemble, *sid, "zk_synced_observers") == Some(1);
        let all: Vec<i64> = voters.filter(feeds).collect();
        let says = told(ensemble, OBSERVER, "zk_observer_master_id");
        if let [only] = all[..]
            && says == Some(only)
        {
            assert_ne!(only, leader, "the leader feeds it");
            return Ok(only);
        }
        assert!(started.elapsed() < PATIENCE, "{all:?} feed it, and it says {says:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What clients of an observer have: writes, reads, watches, ephemerals, syncs, and sessions that
/// move.
fn serves(ensemble: &Ensemble, name: &str) -> Result<(), Error> {
    let voter =
        ensemble.sids().into_iter().find(|sid| *sid != OBSERVER && !ensemble.dead().contains(sid));
    let voter = voter.ok_or(Error::Stopped)?;
    let path = format!("/{name}");
    let mut here = ensemble.connect(OBSERVER, SESSION_MS)?;
    let mut there = ensemble.connect(voter, SESSION_MS)?;
    here.create(&path, b"0", CreateMode::Persistent)?;
    here.create(&format!("{path}/mine"), b"", CreateMode::Ephemeral)?;
    there.sync()?;
    assert_eq!(there.children(&path)?, ["mine"]);
    for n in 0..200 {
        there.create(&format!("{path}/n{n}"), &[7; 1_000], CreateMode::Persistent)?;
    }
    // It is behind, until it has synced.
    here.sync()?;
    assert_eq!(here.children(&path)?.len(), 201);
    // What happened before the sync is told before its answer.
    let watches = Request::GetData(ReadRequest { path: (&*path).into(), watch: true });
    assert_eq!(here.call(&watches)?.err, 0);
    there.set_data(&path, b"1", -1)?;
    here.sync()?;
    let event = here.next_event().map(|(_, kind, path)| (kind, path));
    assert_eq!(event, Some((EventType::NodeDataChanged, path.clone())));
    // The session moves to a voter and back, with its ephemeral.
    let session = here.session().clone();
    drop(here);
    let moved = ensemble.resume(voter, &session, Zxid::ZERO)?;
    drop(moved);
    let mut here = ensemble.resume(OBSERVER, &session, Zxid::ZERO)?;
    here.create(&format!("{path}/again"), b"", CreateMode::Ephemeral)?;
    here.close()?;
    there.sync()?;
    let left = there.children(&path)?;
    assert!(!left.iter().any(|name| name == "mine" || name == "again"), "{left:?}");
    there.close()?;
    Ok(())
}

/// The ensemble changes: its observer gets an address for clients, and hears of it.
fn is_told_of_changes(ensemble: &Ensemble) -> Result<(), Error> {
    let line = ensemble.line(OBSERVER, "observer")?;
    let mut here = ensemble.connect(OBSERVER, SESSION_MS)?;
    here.auth("digest", b"super:secret")?;
    let request = Request::Reconfig(ReconfigRequest {
        joining: Some((&*line).into()),
        leaving: None,
        new_members: None,
        config_id: -1,
    });
    assert_eq!(here.call(&request)?.err, 0);
    here.sync()?;
    let (text, _) = here.get_data("/zookeeper/config")?;
    let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
    assert!(text.contains(&line), "{text}");
    here.close()?;
    // It observes on.
    master(ensemble).map(drop)
}

fn observers_are_fed(voters: Engine, observer: Engine) -> Result<(), Error> {
    if ![voters, observer].into_iter().all(|it| it == Engine::Ours || apache_or_skip(it)) {
        return Ok(());
    }
    let mut ensemble = start(voters, observer, &[])?;
    master(&ensemble)?;
    serves(&ensemble, "first")?;
    is_told_of_changes(&ensemble)?;

    // The follower has no leader any more, and so lets it go.
    let mut client = ensemble.connect(OBSERVER, SESSION_MS)?;
    client.create("/stays", b"", CreateMode::Ephemeral)?;
    let leader = ensemble.leader()?;
    ensemble.member(leader)?.kill()?;
    serves(&ensemble, "second")?;
    ensemble.restart(&[leader])?;
    let session = client.session().clone();
    client = ensemble.resume(OBSERVER, &session, Zxid::ZERO)?;
    client.create("/stays-too", b"", CreateMode::Ephemeral)?;

    // The follower is gone.
    let fed_by = master(&ensemble)?;
    ensemble.member(fed_by)?.kill()?;
    assert_ne!(master(&ensemble)?, fed_by);
    serves(&ensemble, "third")?;
    ensemble.restart(&[fed_by])?;

    // It has nothing any more, and then little less than the others.
    ensemble.member(OBSERVER)?.kill()?;
    ensemble.wipe(OBSERVER)?;
    ensemble.restart(&[OBSERVER])?;
    serves(&ensemble, "fourth")?;
    ensemble.member(OBSERVER)?.kill()?;
    let leader = ensemble.leader()?;
    let mut there = ensemble.connect(leader, SESSION_MS)?;
    there.create("/meanwhile", &[7; 1_000], CreateMode::Persistent)?;
    there.close()?;
    ensemble.restart(&[OBSERVER])?;
    master(&ensemble)?;
    serves(&ensemble, "fifth")?;
    let first = ensemble.tree(1)?;
    for sid in ensemble.sids() {
        assert_eq!(ensemble.tree(sid)?, first, "server {sid}");
    }
    Ok(())
}

/// A session goes from an observer's client to one of the follower that feeds it, and is still used
/// at the old place: that is refused, and neither another client of the observer nor the new place
/// is the worse for it.
fn old_places_are_refused(voters: Engine, observer: Engine) -> Result<(), Error> {
    const FEEDS: i64 = 1;
    if ![voters, observer].into_iter().all(|it| it == Engine::Ours || apache_or_skip(it)) {
        return Ok(());
    }
    let port = format!("observerMasterPort={}", free_port()?);
    let lines = lines(&[])?;
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let own = |sid| match sid {
        OBSERVER => vec!["peerType=observer".to_owned(), port.clone()],
        FEEDS => vec![port.clone()],
        _ => Vec::new(),
    };
    let engines = [Engine::Ours, voters, voters, observer];
    let mut ensemble = Ensemble::with_own_lines(&engines, &lines, own)?;
    if ensemble.leader()? == FEEDS {
        ensemble.member(FEEDS)?.kill()?;
        ensemble.leader()?;
        ensemble.restart(&[FEEDS])?;
    }
    assert_eq!(master(&ensemble)?, FEEDS);
    let mut old = ensemble.connect(OBSERVER, SESSION_MS)?;
    let mut other = ensemble.connect(OBSERVER, SESSION_MS)?;
    old.create("/mine", b"", CreateMode::Ephemeral)?;
    let mut new = ensemble.resume(FEEDS, &old.session().clone(), Zxid::ZERO)?;
    let refused = |client: &mut Client| {
        let written = client.create("/old-place", b"", CreateMode::Persistent);
        assert!(written.is_err(), "{written:?}");
    };
    refused(&mut old);
    if observer == Engine::Ours {
        // It knows why, and lets the client come again.
        assert!(old.sync().is_err());
    } else {
        for _ in 0..2 {
            old.sync()?;
            refused(&mut old);
        }
    }
    other.create("/other", b"", CreateMode::Ephemeral)?;
    new.create("/new-place", b"", CreateMode::Ephemeral)?;
    other.sync()?;
    let mut names = other.children("/")?;
    names.sort();
    assert_eq!(names, ["mine", "new-place", "other", "zookeeper"]);
    for client in [new, other] {
        client.close()?;
    }
    Ok(())
}

#[test]
fn old_places_behind_ours_are_refused() {
    for (voters, observer) in [
        (Engine::Ours, Engine::Ours),
        (Engine::Apache39, Engine::Ours),
        (Engine::Ours, Engine::Apache39),
    ] {
        let refused = old_places_are_refused(voters, observer);
        refused.unwrap_or_else(|error| panic!("{voters:?}, {observer:?}: {error}"));
    }
}

/// Whoever dials the port for observers says who it is, as on the others.
#[test]
fn fed_through_sasl() {
    let dir = TempDir::new().expect("a directory");
    let lines = sasl::strict(sasl::jaas(dir.path(), "all", "secret", "secret"));
    for (voters, observer) in [
        (Engine::Ours, Engine::Ours),
        (Engine::Apache39, Engine::Ours),
        (Engine::Ours, Engine::Apache39),
    ] {
        if [voters, observer].into_iter().all(|it| it == Engine::Ours || apache_or_skip(it)) {
            let ensemble = start(voters, observer, &lines).expect("four members");
            master(&ensemble).expect("it is fed");
            serves(&ensemble, "safely").expect("it serves");
        }
    }
}

#[test]
fn ours_by_ours() {
    observers_are_fed(Engine::Ours, Engine::Ours).expect("it is fed");
}

#[test]
fn ours_by_apaches() {
    observers_are_fed(Engine::Apache39, Engine::Ours).expect("it is fed");
}

#[test]
fn apaches_by_ours() {
    observers_are_fed(Engine::Ours, Engine::Apache39).expect("it is fed");
}
