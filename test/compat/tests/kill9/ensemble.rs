//! Three members under load: the leader is killed, or a follower, or all of them at once; sometimes
//! the one that comes back has lost everything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use compat::load::Load;
use compat::number;
use zk_testkit::{Engine, Ensemble, Error, PATIENCE};

/// Of every `zoo.cfg`: small logs, so that snapshots and new files are under way at many crashes.
pub(crate) const LINES: &[&str] = &["maxSessionTimeout=60000", "snapCount=300"];

/// Who is killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Victims {
    Leader,
    Follower,
    /// And comes back with nothing.
    WipedFollower,
    All,
}

/// Lets all workers work until so many writes are acknowledged, kills, and lets those who still
/// have a server work a little longer. Who was killed comes back.
fn strike(load: &mut Load, victims: Victims, writes: u64) -> Result<(), Error> {
    let leader = load.ensemble.leader()?;
    let mut sids = load.ensemble.sids();
    match victims {
        Victims::Leader => sids = vec![leader],
        Victims::Follower | Victims::WipedFollower => {
            sids.retain(|sid| *sid != leader);
            sids.truncate(1);
        }
        Victims::All => {}
    }
    let Load { ensemble, workers, .. } = &mut *load;
    let (done, acknowledged) = mpsc::channel();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = &stop;
        let threads = workers.iter_mut().map(|worker| {
            let done = done.clone();
            scope.spawn(move || worker.work(&done, stop))
        });
        let threads = threads.collect::<Vec<_>>();
        for _ in 0..writes {
            if acknowledged.recv_timeout(PATIENCE).is_err() {
                break;
            }
        }
        let killed = sids.iter().try_for_each(|sid| ensemble.member(*sid)?.kill());
        thread::sleep(Duration::from_millis(20));
        stop.store(true, Ordering::Relaxed);
        let ended = threads.into_iter().map(|thread| thread.join().expect("no panic"));
        killed.and(ended.collect::<Result<(), Error>>())
    })?;
    if victims == Victims::WipedFollower {
        load.ensemble.wipe(sids[0])?;
    }
    load.ensemble.restart(&sids)
}

#[test]
fn nothing_acknowledged_is_lost_by_three() -> Result<(), Error> {
    let seed = number("ZKFLEET_KILL_SEED", 1);
    let mut load = Load::start(Ensemble::start(&[Engine::Ours; 3], LINES)?, seed)?;
    for round in 0..number("ZKFLEET_KILL_ROUNDS", 5) {
        let victims = match round % 5 {
            1 => Victims::Follower,
            3 => Victims::WipedFollower,
            4 if round % 2 == 0 => Victims::All,
            _ => Victims::Leader,
        };
        let writes = 1 + load.workers[0].below(600);
        strike(&mut load, victims, writes)?;
        let violations = load.check()?;
        let what = format!("seed {seed}, round {round} ({victims:?})");
        assert!(violations.is_empty(), "{what}:\n{}", violations.join("\n"));
    }
    load.checker.check_order();
    let violations = load.checker.violations();
    assert!(violations.is_empty(), "seed {seed}:\n{}", violations.join("\n"));
    println!("{} writes, every acknowledged one is there once", load.writes);
    Ok(())
}
