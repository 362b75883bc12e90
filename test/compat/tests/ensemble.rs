//! Three members, of ours and of Apache's in all mixtures: writes through each of them, members
//! that are killed, come back, are wiped; sessions that move. In the end all have the same tree.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use zk_proto::OpCode;
use zk_proto::acl::AclBytes;
use zk_proto::request::{Create, CreateMode, MultiOp, MultiRequest, Request};
use zk_testkit::{Client, Engine, Ensemble, Error, PATIENCE, Seen, apache_or_skip};

/// A session that outlives whatever happens here.
const SESSION_MS: i32 = 15_000;

/// All members have the same.
fn assert_equal(ensemble: &Ensemble, what: &str) -> Result<usize, Error> {
    let sids = ensemble.sids();
    let first = ensemble.tree(sids[0])?;
    for sid in &sids[1..] {
        assert_eq!(ensemble.tree(*sid)?, first, "{what}: server {sid} beside server {}", sids[0]);
    }
    Ok(first.len())
}

fn other_than(ensemble: &Ensemble, leader: i64) -> Vec<i64> {
    ensemble.sids().into_iter().filter(|sid| *sid != leader).collect()
}

fn lives(engines: [Engine; 3]) -> Result<(), Error> {
    if !engines.iter().all(|engine| *engine == Engine::Ours || apache_or_skip(*engine)) {
        return Ok(());
    }
    let mut ensemble = Ensemble::start(&engines, &[])?;
    for sid in ensemble.sids() {
        ensemble.write(sid, &format!("from{sid}"), 3)?;
    }
    assert_equal(&ensemble, "at first")?;

    for sid in ensemble.sids() {
        let (config, _) = ensemble.connect(sid, SESSION_MS)?.get_data("/zookeeper/config")?;
        let text = String::from_utf8_lossy(&config.unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines.last()), (4, Some(&"version=0")), "server {sid}: {text}");
    }

    // A session moves from member to member, with its ephemeral and a watch.
    let mut client = ensemble.connect(1, SESSION_MS)?;
    client.create("/moving", b"", CreateMode::Ephemeral)?;
    for sid in [2, 3, 1] {
        let session = client.session().clone();
        let seen = client.sync()?;
        client = ensemble.resume(sid, &session, seen)?;
        let (_, stat) = client.get_data("/moving")?;
        assert_eq!(stat.ephemeral_owner, session.session_id.0, "at server {sid}");
        client.set_data("/moving", format!("{sid}").as_bytes(), -1)?;
    }
    client.close()?;
    assert_equal(&ensemble, "after a session has moved and ended")?;

    // A follower is away for a while, comes back, and then comes back with nothing.
    let leader = ensemble.leader()?;
    let others = other_than(&ensemble, leader);
    ensemble.member(others[0])?.kill()?;
    ensemble.write(others[1], "while-away", 20)?;
    ensemble.member(others[0])?.restart()?;
    assert_equal(&ensemble, "a follower came back")?;
    ensemble.member(others[0])?.kill()?;
    ensemble.wipe(others[0])?;
    ensemble.write(leader, "while-wiped", 5)?;
    ensemble.member(others[0])?.restart()?;
    ensemble.write(others[0], "mended", 2)?;
    assert_equal(&ensemble, "a wiped follower came back")?;

    // The leader is killed, twice: the one that is left leads, and nothing is lost.
    for round in 0..2 {
        let leader = ensemble.leader()?;
        ensemble.write(leader, &format!("last-{round}"), 10)?;
        ensemble.member(leader)?.kill()?;
        // Before that, a follower may not have noticed yet.
        ensemble.leader()?;
        let others = other_than(&ensemble, leader);
        ensemble.write(others[0], &format!("without-{round}"), 10)?;
        ensemble.member(leader)?.restart()?;
        ensemble.write(leader, &format!("again-{round}"), 2)?;
        assert_equal(&ensemble, "a leader came back")?;
    }
    let count = assert_equal(&ensemble, "in the end")?;
    assert_eq!(count, 1 + 9 + 20 + 5 + 2 + 2 * 22);
    for sid in ensemble.sids() {
        let complaints = ensemble.member(sid)?.complaints();
        assert!(complaints.is_empty(), "server {sid}: {complaints:?}");
    }
    Ok(())
}

/// Case L of RELIABILITY 2.2: one length in the log of a member is damaged. Apache's takes the rest
/// for nothing, and may lead with it.
#[test]
fn a_damaged_member_has_no_vote_until_it_is_mended() -> Result<(), Error> {
    let mut ensemble = Ensemble::start(&[Engine::Ours; 3], &[])?;
    ensemble.write(1, "before", 20)?;
    assert_equal(&ensemble, "before")?;
    let leader = ensemble.leader()?;
    let damaged = other_than(&ensemble, leader)[0];
    ensemble.member(damaged)?.kill()?;
    let logs = ensemble.member(damaged)?.data_dir().join("version-2");
    let log = logs.join("log.100000001");
    let mut bytes = fs::read(&log)?;
    // The first record's length, behind the header and its checksum.
    bytes[16 + 8..16 + 12].copy_from_slice(&[0; 4]);
    fs::write(&log, bytes)?;
    // Without the others it leads nobody and serves nobody, and keeps what it has.
    for sid in other_than(&ensemble, damaged) {
        ensemble.member(sid)?.kill()?;
    }
    ensemble.member(damaged)?.launch()?;
    let third = other_than(&ensemble, leader)[1];
    ensemble.member(third)?.launch()?;
    thread::sleep(Duration::from_secs(2));
    assert_eq!((ensemble.mode(damaged), ensemble.mode(third)), (None, None));
    assert!(fs::exists(&log)?);
    // With a quorum beside it, it takes their history.
    ensemble.restart(&[leader])?;
    ensemble.member(damaged)?.wait_until_up()?;
    ensemble.write(damaged, "after", 3)?;
    assert_equal(&ensemble, "after")?;
    let tail = ensemble.member(damaged)?.log_tail(100);
    assert!(tail.contains("it has no vote until"), "{tail}");
    // It votes again: with it alone the ensemble works.
    ensemble.member(leader)?.kill()?;
    ensemble.leader()?;
    ensemble.write(damaged, "voting", 3)
}

/// A sync of one client stands between the writes of others, in the leader's queue and in the
/// follower's.
#[test]
fn syncs_and_writes_at_a_follower_do_not_disturb_each_other() -> Result<(), Error> {
    let ensemble = Ensemble::start(&[Engine::Ours; 3], &[])?;
    let leader = ensemble.leader()?;
    let follower = other_than(&ensemble, leader)[0];
    let work = |sid: i64, name: &str, is_sync: bool| -> Result<(), Error> {
        let mut client = ensemble.connect(sid, SESSION_MS)?;
        let path = format!("/{name}");
        client.create(&path, b"", CreateMode::Persistent)?;
        for n in 0..400 {
            if is_sync {
                client.sync()?;
            } else {
                assert_eq!(client.set_data(&path, b"x", n)?.version, n + 1);
            }
        }
        client.close()?;
        Ok(())
    };
    thread::scope(|scope| {
        let work = &work;
        let clients = (0..8).map(|n| {
            let sid = if n == 7 { leader } else { follower };
            scope.spawn(move || work(sid, &format!("client{n}"), n % 3 == 0))
        });
        let clients: Vec<_> = clients.collect();
        clients.into_iter().try_for_each(|client| client.join().expect("no panic"))
    })?;
    assert_equal(&ensemble, "after")?;
    Ok(())
}

/// More than is in memory: the leader finds it in its log, and sends no snapshot.
#[test]
fn who_was_away_for_long_gets_what_the_log_has() -> Result<(), Error> {
    let mut ensemble = Ensemble::start(&[Engine::Ours; 3], &[])?;
    let leader = ensemble.leader()?;
    let away = other_than(&ensemble, leader)[0];
    ensemble.write(away, "before", 10)?;
    ensemble.member(away)?.kill()?;
    ensemble.write(leader, "meanwhile", 800)?;
    ensemble.member(away)?.restart()?;
    assert_equal(&ensemble, "after")?;
    let told = ensemble.member(leader)?.log_tail(100);
    assert!(!told.contains("the snapshot of"), "{told}");
    Ok(())
}

/// Two that were wiped would be a quorum, and the third would throw its history away.
#[test]
fn wiped_members_do_not_outvote_who_has_the_history() -> Result<(), Error> {
    let mut ensemble = Ensemble::start(&[Engine::Ours; 3], &[])?;
    ensemble.write(1, "kept", 20)?;
    let before = ensemble.tree(3)?;
    for sid in [1, 2, 3] {
        ensemble.member(sid)?.kill()?;
    }
    for sid in [1, 2] {
        ensemble.wipe(sid)?;
        ensemble.member(sid)?.launch()?;
    }
    thread::sleep(Duration::from_secs(2));
    assert_eq!((ensemble.mode(1), ensemble.mode(2)), (None, None));
    ensemble.member(3)?.launch()?;
    thread::sleep(Duration::from_secs(2));
    assert_eq!([1, 2, 3].map(|sid| ensemble.mode(sid)), [None, None, None]);
    // Its directory in the place of one of the others: a quorum has the history again.
    for sid in [1, 3] {
        ensemble.member(sid)?.kill()?;
    }
    let [from, to] = [ensemble.member(3)?.data_dir(), ensemble.member(1)?.data_dir()];
    ensemble.wipe(1)?;
    fs::create_dir(to.join("version-2"))?;
    for entry in fs::read_dir(from.join("version-2"))? {
        let entry = entry?;
        fs::copy(entry.path(), to.join("version-2").join(entry.file_name()))?;
    }
    ensemble.restart(&[1, 3])?;
    ensemble.member(2)?.wait_until_up()?;
    let paths = |tree: Vec<Seen>| tree.into_iter().map(|(path, ..)| path).collect::<Vec<_>>();
    assert_eq!(paths(ensemble.tree(2)?), paths(before));
    Ok(())
}

/// Observers see everything, and nobody needs them.
fn observe(participants: &[Engine], observers: &[Engine]) -> Result<(), Error> {
    let all = [participants, observers].concat();
    if !all.iter().all(|engine| *engine == Engine::Ours || apache_or_skip(*engine)) {
        return Ok(());
    }
    let mut ensemble = Ensemble::with_observers(participants, observers, &[])?;
    let observing: Vec<i64> =
        (1..).take(all.len()).filter(|sid| *sid > participants.len() as i64).collect();
    for sid in &observing {
        assert_eq!(ensemble.mode(*sid).as_deref(), Some("observer"));
        ensemble.write(*sid, &format!("from{sid}"), 5)?;
    }
    assert_equal(&ensemble, "at first")?;
    // A quorum of participants works without any of them, and does not with all of them.
    for sid in &observing {
        ensemble.member(*sid)?.kill()?;
    }
    ensemble.write(1, "unobserved", 10)?;
    ensemble.wipe(observing[0])?;
    ensemble.restart(&observing)?;
    assert_equal(&ensemble, "observers came back, one of them with nothing")?;
    let leader = ensemble.leader()?;
    ensemble.member(leader)?.kill()?;
    ensemble.leader()?;
    ensemble.write(observing[0], "new-leader", 5)?;
    ensemble.restart(&[leader])?;
    assert_equal(&ensemble, "a leader came back")?;
    for sid in 2..=participants.len() as i64 {
        ensemble.member(sid)?.kill()?;
    }
    let started = Instant::now();
    while observing.iter().chain(&[1]).any(|sid| ensemble.mode(*sid).is_some()) {
        assert!(started.elapsed() < PATIENCE, "observers are no quorum");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[test]
fn observers_of_ours() -> Result<(), Error> {
    observe(&[Engine::Ours; 3], &[Engine::Ours, Engine::Apache39])
}

#[test]
fn observers_of_apaches() -> Result<(), Error> {
    observe(&[Engine::Apache39, Engine::Apache38, Engine::Apache39], &[Engine::Ours])
}

/// `standaloneEnabled=false`: a quorum of one.
#[test]
fn one_alone_is_an_ensemble_too() -> Result<(), Error> {
    let mut ensemble = Ensemble::start(&[Engine::Ours], &["standaloneEnabled=false"])?;
    assert_eq!(ensemble.mode(1).as_deref(), Some("leader"));
    ensemble.write(1, "first", 10)?;
    ensemble.member(1)?.kill()?;
    ensemble.restart(&[1])?;
    ensemble.write(1, "second", 10)?;
    assert_eq!(ensemble.tree(1)?.len(), 21);
    Ok(())
}

/// Five members go on without two, and not without three.
#[test]
fn five_of_ours() -> Result<(), Error> {
    let mut ensemble = Ensemble::start(&[Engine::Ours; 5], &[])?;
    ensemble.write(1, "five", 10)?;
    for (left, name) in [(4, "four"), (3, "three")] {
        let leader = ensemble.leader()?;
        ensemble.member(leader)?.kill()?;
        let leader = ensemble.leader()?;
        ensemble.write(leader, name, 10)?;
        let running = ensemble.sids().into_iter().filter(|sid| ensemble.mode(*sid).is_some());
        assert!(running.count() <= left);
    }
    let leader = ensemble.leader()?;
    ensemble.member(leader)?.kill()?;
    thread::sleep(Duration::from_secs(1));
    assert!(ensemble.sids().into_iter().all(|sid| ensemble.mode(sid).is_none()));
    let dead: Vec<i64> = ensemble.dead();
    assert_eq!(dead.len(), 3);
    ensemble.restart(&dead)?;
    ensemble.write(dead[0], "all", 5)?;
    assert_equal(&ensemble, "all five")?;
    Ok(())
}

#[test]
fn three_of_ours() -> Result<(), Error> {
    lives([Engine::Ours; 3])
}

#[test]
fn two_of_ours_and_one_of_apache_394() -> Result<(), Error> {
    lives([Engine::Ours, Engine::Ours, Engine::Apache39])
}

#[test]
fn one_of_ours_and_two_of_apache_394() -> Result<(), Error> {
    lives([Engine::Apache39, Engine::Ours, Engine::Apache39])
}

#[test]
fn one_of_each() -> Result<(), Error> {
    lives([Engine::Ours, Engine::Apache38, Engine::Apache39])
}

/// With `db.autocreate=false` nobody takes empty directories for a new ensemble (rule R5).
#[test]
fn without_a_word_empty_members_found_nothing() -> Result<(), Error> {
    let mut ensemble = Ensemble::start(&[Engine::Ours; 3], &[])?;
    let sids = ensemble.sids();
    for sid in &sids {
        let member = ensemble.member(*sid)?;
        member.kill()?;
        let strict = [member.lines(), &["db.autocreate=false".to_owned()]].concat();
        member.set_lines(strict);
    }
    // Who has a history needs no word.
    ensemble.restart(&sids)?;
    ensemble.write(1, "before", 3)?;

    for sid in &sids {
        ensemble.member(*sid)?.kill()?;
        ensemble.wipe(*sid)?;
    }
    for sid in &sids {
        ensemble.member(*sid)?.launch()?;
    }
    // Without the line they serve within a tenth of that.
    thread::sleep(Duration::from_secs(3));
    for sid in &sids {
        assert_eq!(ensemble.mode(*sid), None, "server {sid} takes part");
        let member = ensemble.member(*sid)?;
        let log = member.log_tail(50);
        assert!(
            log.contains("without a file `initialize`"),
            "server {sid} does not say why: {log}"
        );
        member.kill()?;
        fs::write(member.data_dir().join("initialize"), "")?;
    }
    ensemble.restart(&sids)?;
    ensemble.write(2, "anew", 3)?;
    for sid in &sids {
        assert!(!ensemble.member(*sid)?.data_dir().join("initialize").exists(), "server {sid}");
        ensemble.member(*sid)?.kill()?;
    }
    // Founded once, it needs no word any more.
    ensemble.restart(&sids)?;
    ensemble.write(3, "again", 3)
}

/// Who joins is told the history when everything that is committed is applied, ends of sessions
/// too.
#[test]
fn sessions_end_while_a_learner_joins() -> Result<(), Error> {
    let mut ensemble = Ensemble::start(&[Engine::Ours; 3], &[])?;
    let leader = ensemble.leader()?;
    let joins = other_than(&ensemble, leader)[0];
    let is_over = AtomicBool::new(false);
    let addr = ensemble.addr(leader)?;
    // Its end takes long to apply, so that others are committed meanwhile.
    let ephemerals = |thread: usize| {
        let create = |number: usize| {
            MultiOp::Create(Create {
                op: OpCode::Create,
                path: format!("/t{thread}-{number}").into(),
                data: None,
                acl: AclBytes::OPEN,
                flags: CreateMode::Ephemeral.flags(),
                ttl_ms: 0,
            })
        };
        Request::Multi(MultiRequest { ops: (0..1_500).map(create).collect() })
    };
    let churn = |thread: usize| -> Result<usize, Error> {
        let (request, mut ended) = (ephemerals(thread), 0);
        while !is_over.load(Ordering::Relaxed) {
            let mut client = Client::connect(addr, SESSION_MS)?;
            client.call(&request)?.ok()?;
            client.close()?;
            ended += 1;
        }
        Ok(ended)
    };
    let joined = |ensemble: &mut Ensemble| -> Result<(), Error> {
        for _ in 0..5 {
            ensemble.member(joins)?.kill()?;
            ensemble.member(joins)?.restart()?;
        }
        Ok(())
    };
    let (joined, ended) = thread::scope(|scope| {
        let churn = &churn;
        let churning: Vec<_> = (0..6).map(|thread| scope.spawn(move || churn(thread))).collect();
        let joined = joined(&mut ensemble);
        is_over.store(true, Ordering::Relaxed);
        let ended: Vec<_> = churning.into_iter().map(|thread| thread.join()).collect();
        (joined, ended)
    });
    joined?;
    for ended in ended {
        assert!(ended.map_err(|_| Error::Stopped)?? > 0);
    }
    ensemble.write(leader, "after", 3)
}
