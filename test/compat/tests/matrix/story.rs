//! What happens to an ensemble of four members.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use zk_proto::request::{CreateMode, ReconfigRequest, Request};
use zk_testkit::{Ensemble, Error, PATIENCE, Seen, four_letter_word};

use crate::Mixture;
use crate::moving::Moving;

pub(crate) const SESSION_MS: i32 = 10_000;

/// The voter that leads by its number, with as much as the others.
const FIRST: i64 = 3;
const VOTERS: [i64; 3] = [1, 2, FIRST];
const OBSERVER: i64 = 4;
const ALL: [i64; 4] = [1, 2, FIRST, OBSERVER];

/// The superuser's password is `secret`.
const LINES: [&str; 2] = [
    "reconfigEnabled=true",
    "DigestAuthenticationProvider.superDigest=super:lK75jTNcA+U9vtVEw5vB51mj/w4=",
];

/// Everything that the issue asks of a mixture.
pub(crate) fn tell(mixture: &Mixture) -> Result<(), Error> {
    let mut ensemble = Ensemble::with_observers(&mixture.voters, &[mixture.observer], &LINES)?;
    let ensemble = &mut ensemble;
    lead(ensemble)?;
    for sid in ALL {
        ensemble.write(sid, &format!("from{sid}"), 3)?;
    }
    assert_equal(ensemble, "at first")?;
    moves(ensemble)?;
    for sid in [1, 2, OBSERVER] {
        is_away(ensemble, sid, false)?;
        is_away(ensemble, sid, true)?;
    }
    diverges(ensemble)?;
    leaders_die(ensemble)?;
    leaves_and_joins(ensemble)?;
    all_die(ensemble)
}

/// All members have the same, and none of them has ever found another digest than the leader's in a
/// txn: each txn carries that of the tree behind it.
fn assert_equal(ensemble: &Ensemble, what: &str) -> Result<(), Error> {
    // Shown if the test fails.
    println!("{what}");
    let mut first: Option<Vec<Seen>> = None;
    for sid in ensemble.sids() {
        let tree = ensemble.tree(sid)?;
        match &first {
            Some(first) => assert_eq!(&tree, first, "{what}: server {sid} beside the first"),
            None => first = Some(tree),
        }
        let text = ask(ensemble, sid, "mntr")?;
        let mismatches = text.lines().find_map(|it| it.strip_prefix("zk_digest_mismatches_count"));
        assert_eq!(mismatches.map(str::trim), Some("0"), "{what}: server {sid}:\n{text}");
    }
    Ok(())
}

fn ask(ensemble: &Ensemble, sid: i64, word: &str) -> Result<String, Error> {
    let answer = four_letter_word(ensemble.addr(sid)?, word.as_bytes(), PATIENCE)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn zxid(ensemble: &Ensemble, sid: i64) -> Option<String> {
    let text = ask(ensemble, sid, "srvr").ok()?;
    text.lines().find_map(|line| line.strip_prefix("Zxid: ")).map(str::to_owned)
}

/// Waits until all voters have the same last txn, of this epoch: without one some would name the
/// epoch, and others what was there before.
fn settle(ensemble: &Ensemble) -> Result<(), Error> {
    let mut client = ensemble.connect(FIRST, SESSION_MS)?;
    client.set_data("/", b"", -1)?;
    client.close()?;
    let started = Instant::now();
    loop {
        let all = VOTERS.map(|sid| zxid(ensemble, sid));
        if all[0].is_some() && all.iter().all(|zxid| *zxid == all[0]) {
            return Ok(());
        }
        assert!(started.elapsed() < PATIENCE, "voters do not come to rest: {all:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Lets the first voter lead.
fn lead(ensemble: &mut Ensemble) -> Result<(), Error> {
    for _ in 0..5 {
        if ensemble.leader()? == FIRST {
            return Ok(());
        }
        settle(ensemble)?;
        for sid in VOTERS {
            ensemble.member(sid)?.kill()?;
        }
        ensemble.restart(&[1, FIRST])?;
        ensemble.restart(&[2])?;
    }
    panic!("server {FIRST} does not come to lead");
}

/// A session goes through all members.
fn moves(ensemble: &Ensemble) -> Result<(), Error> {
    let mut moving = Moving::begin(ensemble, 1)?;
    for (sid, changes_before) in [(2, true), (FIRST, false), (OBSERVER, true), (1, false)] {
        moving.move_to(ensemble, sid, changes_before)?;
    }
    moving.end(ensemble, OBSERVER)?;
    assert_equal(ensemble, "a session has moved")
}

/// A member misses something, and comes back: with what it had (DIFF), or with nothing (SNAP).
fn is_away(ensemble: &mut Ensemble, sid: i64, with_nothing: bool) -> Result<(), Error> {
    ensemble.member(sid)?.kill()?;
    if with_nothing {
        ensemble.wipe(sid)?;
    }
    let how = if with_nothing { "wiped" } else { "away" };
    ensemble.write(FIRST, &format!("{how}{sid}"), 8)?;
    ensemble.restart(&[sid])?;
    ensemble.write(sid, &format!("{how}{sid}-back"), 2)?;
    assert_equal(ensemble, &format!("server {sid} was {how}"))
}

/// The leader logs what nobody else hears of, and dies: the others go on without it, and it throws
/// that away (TRUNC).
fn diverges(ensemble: &mut Ensemble) -> Result<(), Error> {
    const TAIL: &str = "/nobody-heard-of-it";
    let mut is_logged = false;
    for _ in 0..5 {
        lead(ensemble)?;
        settle(ensemble)?;
        let mut client = ensemble.connect(FIRST, SESSION_MS)?;
        ensemble.member(1)?.kill()?;
        ensemble.member(2)?.kill()?;
        let done = client.create(TAIL, b"", CreateMode::Persistent);
        assert!(done.is_err(), "no quorum has it: {done:?}");
        ensemble.member(FIRST)?.kill()?;
        is_logged = has_logged(ensemble, FIRST, TAIL)?;
        if is_logged {
            break;
        }
        // It had noticed already that it leads nobody.
        ensemble.restart(&VOTERS)?;
    }
    assert!(is_logged, "the leader has logged nothing");
    ensemble.restart(&[1, 2])?;
    ensemble.write(1, "without-the-tail", 5)?;
    ensemble.restart(&[FIRST])?;
    ensemble.write(FIRST, "cut", 2)?;
    assert_equal(ensemble, "a tail was cut off")?;
    let mut client = ensemble.connect(FIRST, SESSION_MS)?;
    assert!(client.exists(TAIL).is_err(), "nobody else has it");
    client.close()?;
    Ok(())
}

/// Whether a member's log has a txn with this path in it.
fn has_logged(ensemble: &mut Ensemble, sid: i64, path: &str) -> Result<bool, Error> {
    for entry in fs::read_dir(ensemble.member(sid)?.data_dir().join("version-2"))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("log.") {
            let bytes = fs::read(entry.path())?;
            if bytes.windows(path.len()).any(|part| part == path.as_bytes()) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whoever leads is killed, and comes back; a session at it goes on elsewhere.
fn leaders_die(ensemble: &mut Ensemble) -> Result<(), Error> {
    for round in 0..3 {
        let leader = ensemble.leader()?;
        let mut moving = Moving::begin(ensemble, leader)?;
        ensemble.write(leader, &format!("last{round}"), 5)?;
        ensemble.member(leader)?.kill()?;
        let next = ensemble.leader()?;
        moving.move_to(ensemble, next, round % 2 == 0)?;
        moving.move_to(ensemble, OBSERVER, round % 2 == 1)?;
        ensemble.write(next, &format!("without{round}"), 5)?;
        ensemble.restart(&[leader])?;
        moving.end(ensemble, leader)?;
        assert_equal(ensemble, "a leader came back")?;
    }
    Ok(())
}

/// The ensemble is told to do without a follower, and to take it in again; then the observer.
fn leaves_and_joins(ensemble: &mut Ensemble) -> Result<(), Error> {
    lead(ensemble)?;
    for (sid, role) in [(1, "participant"), (OBSERVER, "observer")] {
        ensemble.member(sid)?.kill()?;
        reconfigure(ensemble, "", &sid.to_string())?;
        ensemble.write(2, &format!("without-{role}"), 3)?;
        let line = ensemble.line(sid, role)?;
        reconfigure(ensemble, &line, "")?;
        ensemble.restart(&[sid])?;
        ensemble.write(sid, &format!("with-{role}"), 2)?;
        assert_equal(ensemble, &format!("server {sid} is a member again"))?;
        let first = ensemble.config(FIRST)?;
        assert!(first.contains(&format!("server.{sid}=")), "{first}");
        for sid in ALL {
            assert_eq!(ensemble.config(sid)?, first, "server {sid}");
        }
    }
    Ok(())
}

fn reconfigure(ensemble: &Ensemble, joining: &str, leaving: &str) -> Result<(), Error> {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned().into());
    let mut client = ensemble.connect(FIRST, SESSION_MS)?;
    client.auth("digest", b"super:secret")?;
    let request = ReconfigRequest {
        joining: some(joining),
        leaving: some(leaving),
        new_members: None,
        config_id: -1,
    };
    client.call(&Request::Reconfig(request))?.ok()?;
    client.close()?;
    Ok(())
}

/// All of them at once.
fn all_die(ensemble: &mut Ensemble) -> Result<(), Error> {
    for sid in ALL {
        ensemble.member(sid)?.kill()?;
    }
    ensemble.restart(&ALL)?;
    for sid in ALL {
        ensemble.write(sid, &format!("again{sid}"), 2)?;
    }
    assert_equal(ensemble, "in the end")?;
    for sid in ALL {
        let complaints = ensemble.member(sid)?.complaints();
        assert!(complaints.is_empty(), "server {sid}: {complaints:?}");
    }
    Ok(())
}
