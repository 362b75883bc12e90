//! A round: faults while clients write, then their end, then everything that must be true.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use compat::worker::Worker;
use zk_proto::request::CreateMode;
use zk_testkit::{Ensemble, Error, PATIENCE, Seen, four_letter_word};

use crate::keeper::Keeper;
use crate::plan::Planned;
use crate::rig::{INIT_LIMIT, Rig, Strike};

const POLL: Duration = Duration::from_millis(20);
/// So many writes after the last fault show that the ensemble works.
const WRITES: usize = 30;

/// Writes as long as it may, at whichever members serve; what was wrong.
fn keep_working(worker: &mut Worker, done: &Sender<()>, stop: &AtomicBool) -> Vec<String> {
    loop {
        match worker.work(done, stop) {
            // The checker knows whether a refusal was right.
            Ok(()) | Err(Error::Refused(_)) => {}
            Err(e) => return vec![format!("a client: {e}")],
        }
        loop {
            if stop.load(Ordering::Relaxed) {
                return Vec::new();
            }
            match worker.reconnect() {
                Ok(()) => break,
                Err(Error::Expired) => return vec!["S1: a client's session is gone".to_owned()],
                Err(Error::Refused(code)) => return vec![format!("a read was refused: {code}")],
                Err(_) => thread::sleep(POLL),
            }
        }
    }
}

/// Begins and ends the faults as planned.
fn strike(rig: &mut Rig, plan: &[Planned]) -> Result<(), Error> {
    let begun = Instant::now();
    let mut waiting = plan.iter().rev().cloned().collect::<Vec<_>>();
    let mut active: Vec<(Duration, Strike)> = Vec::new();
    while !(waiting.is_empty() && active.is_empty()) {
        let now = begun.elapsed();
        if let Some(at) = active.iter().position(|(until, _)| *until <= now) {
            rig.end(&active.swap_remove(at).1)?;
        } else if let Some(next) = waiting.pop_if(|next| next.at <= now) {
            let strike = rig.aim(&next.fault);
            if rig.begin(&strike)? {
                // Finding out who leads may have taken a while.
                active.push((begun.elapsed() + next.lasts, strike));
            }
        } else {
            thread::sleep(Duration::from_millis(2));
        }
    }
    Ok(())
}

/// The faults are over: somebody leads, and clients are served.
fn await_work(rig: &mut Rig, acknowledged: &Receiver<()>) -> Result<Vec<String>, Error> {
    rig.tell("all faults are over");
    let over = Instant::now();
    let leads = |ensemble: &Ensemble| {
        let leads = |sid: i64| ensemble.mode(sid).as_deref() == Some("leader");
        ensemble.sids().into_iter().any(leads)
    };
    while !leads(&rig.load.ensemble) {
        if over.elapsed() > 2 * INIT_LIMIT {
            return Ok(vec![format!("L1: nobody leads after {:?}", over.elapsed())]);
        }
        thread::sleep(POLL);
    }
    rig.tell("somebody leads");
    acknowledged.try_iter().for_each(drop);
    for n in 0..WRITES {
        if acknowledged.recv_timeout(PATIENCE).is_err() {
            return Ok(vec![format!("L1: {n} writes in {PATIENCE:?}, although somebody leads")]);
        }
    }
    rig.tell("clients are served");
    for sid in rig.load.ensemble.sids() {
        while rig.load.ensemble.mode(sid).is_none() {
            if over.elapsed() > 2 * INIT_LIMIT + PATIENCE {
                return Ok(vec![format!("L1: server {sid} serves nobody, {:?}", over.elapsed())]);
            }
            thread::sleep(POLL);
        }
    }
    rig.tell("all members serve");
    rig.slowest = rig.slowest.max(over.elapsed());
    rig.ended()
}

/// What a member says is its last zxid.
fn last_zxid(ensemble: &Ensemble, sid: i64) -> Result<Option<String>, Error> {
    let answer = four_letter_word(ensemble.addr(sid)?, b"srvr", PATIENCE)?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    Ok(text.lines().find_map(|line| line.strip_prefix("Zxid: ")).map(str::to_owned))
}

/// Where members' trees are not the same.
fn differences(trees: &[(i64, Vec<Seen>)]) -> Vec<String> {
    let Some(((first, one), rest)) = trees.split_first() else { return Vec::new() };
    let mut found = Vec::new();
    for (sid, other) in rest {
        let differs = one.iter().zip(other).find(|(a, b)| a != b);
        if one.len() != other.len() || differs.is_some() {
            let sizes = (one.len(), other.len());
            found.push(format!("Z1: servers {first} and {sid}: {sizes:?}, {differs:?}"));
        }
    }
    found
}

/// All members have the same, and soon the same last zxid.
fn compare(ensemble: &Ensemble) -> Result<Vec<String>, Error> {
    let sids = ensemble.sids();
    let trees = sids.iter().map(|sid| Ok((*sid, ensemble.tree(*sid)?)));
    let mut violations = differences(&trees.collect::<Result<Vec<_>, Error>>()?);
    // A member may have made nothing since it leads; then it has no zxid of its epoch to show.
    let mut client = ensemble.connect(sids[0], 15_000)?;
    client.create("/round", b"", CreateMode::Ephemeral)?;
    client.close()?;
    let started = Instant::now();
    loop {
        let zxids = sids.iter().map(|sid| last_zxid(ensemble, *sid));
        let zxids = zxids.collect::<Result<Vec<_>, _>>()?;
        if zxids.iter().all(|zxid| zxid.is_some() && *zxid == zxids[0]) {
            return Ok(violations);
        }
        if started.elapsed() > PATIENCE {
            violations.push(format!("L1: last zxids {zxids:?}"));
            return Ok(violations);
        }
        thread::sleep(POLL);
    }
}

/// One round; what was wrong.
pub(crate) fn round(
    rig: &mut Rig,
    keepers: &mut [Keeper],
    plan: &[Planned],
) -> Result<Vec<String>, Error> {
    let mut workers = std::mem::take(&mut rig.load.workers);
    let (done, acknowledged) = mpsc::channel();
    let stop = AtomicBool::new(false);
    let (result, mut violations) = thread::scope(|scope| {
        let stop = &stop;
        let working = workers.iter_mut().map(|worker| {
            let done = done.clone();
            scope.spawn(move || keep_working(worker, &done, stop))
        });
        let mut threads: Vec<_> = working.collect();
        threads.extend(keepers.iter_mut().map(|keeper| scope.spawn(move || keeper.keep(stop))));
        let result = strike(rig, plan).and_then(|()| await_work(rig, &acknowledged));
        stop.store(true, Ordering::Relaxed);
        let ended = threads.into_iter().map(|thread| thread.join().expect("no panic"));
        (result, ended.collect::<Vec<_>>().concat())
    });
    rig.load.workers = workers;
    violations.extend(result?);
    if violations.is_empty() {
        rig.count_alone();
        let found = rig.load.check()?;
        violations.extend(found.into_iter().filter(|what| !rig.is_expected(what)));
        violations.extend(compare(&rig.load.ensemble)?);
        let times = std::mem::take(&mut rig.cut_off);
        rig.load.checker.check_minorities(&times);
        rig.load.checker.check_order();
        violations.extend_from_slice(rig.load.checker.violations());
    }
    Ok(violations)
}

#[test]
fn each_difference_is_found() {
    let stat = |mzxid| zk_proto::Stat { mzxid, ..Default::default() };
    let node = |path: &str, data: &[u8], mzxid| (path.to_owned(), Some(data.to_vec()), stat(mzxid));
    let tree = || vec![node("/", b"", 1), node("/a", b"x", 2)];
    let found = |other: Vec<Seen>| differences(&[(1, tree()), (2, tree()), (3, other)]);
    assert_eq!(found(tree()), Vec::<String>::new());
    for other in [
        vec![node("/", b"", 1)],
        vec![node("/", b"", 1), node("/a", b"y", 2)],
        vec![node("/", b"", 1), node("/a", b"x", 3)],
        vec![node("/", b"", 1), node("/b", b"x", 2)],
        vec![node("/", b"", 1), node("/a", b"x", 2), node("/b", b"", 3)],
    ] {
        assert!(found(other)[0].starts_with("Z1: servers 1 and 3"));
    }
}
