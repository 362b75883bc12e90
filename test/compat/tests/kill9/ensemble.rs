//! Three members under load: the leader is killed, or a follower, or all of them at once; sometimes
//! the one that comes back has lost everything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use zk_proto::request::CreateMode;
use zk_testkit::history::Checker;
use zk_testkit::{Engine, Ensemble, Error, PATIENCE};

use crate::number;
use crate::worker::{SESSION_TIMEOUT_MS, WORKERS, Worker, client_of, observe};

/// Members, their clients and what must be true.
pub(crate) struct Crash {
    pub(crate) ensemble: Ensemble,
    pub(crate) workers: Vec<Worker>,
    pub(crate) checker: Checker,
    pub(crate) writes: usize,
}

/// Who is killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Victims {
    Leader,
    Follower,
    /// And comes back with nothing.
    WipedFollower,
    All,
}

impl Crash {
    pub(crate) fn start(engines: &[Engine], seed: u64) -> Result<Crash, Error> {
        let lines = ["maxSessionTimeout=60000", "snapCount=300"];
        let ensemble = Ensemble::start(engines, &lines)?;
        let addrs = ensemble.sids().into_iter().map(|sid| ensemble.addr(sid));
        let addrs = addrs.collect::<Result<Vec<_>, _>>()?;
        let mut setup = ensemble.connect(1, SESSION_TIMEOUT_MS)?;
        for path in (0..WORKERS).map(|i| format!("/{i}")).chain(["/seq".to_owned()]) {
            setup.create(&path, b"", CreateMode::Persistent)?;
        }
        setup.close()?;
        let workers = (0..WORKERS).map(|index| Worker::new(index, addrs.clone(), seed));
        let workers = workers.collect::<Result<_, _>>()?;
        Ok(Crash { ensemble, workers, checker: Checker::new(WORKERS), writes: 0 })
    }

    /// Lets all workers work until so many writes are acknowledged, kills, and lets those who still
    /// have a server work a little longer. Who was killed comes back.
    fn round(&mut self, victims: Victims, writes: u64) -> Result<(), Error> {
        let leader = self.ensemble.leader()?;
        let mut sids = self.ensemble.sids();
        match victims {
            Victims::Leader => sids = vec![leader],
            Victims::Follower | Victims::WipedFollower => {
                sids.retain(|sid| *sid != leader);
                sids.truncate(1);
            }
            Victims::All => {}
        }
        let Crash { ensemble, workers, .. } = self;
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
            self.ensemble.wipe(sids[0])?;
        }
        self.ensemble.restart(&sids)
    }

    /// Lets all workers find their bearings and compares what every member has with what it must
    /// have.
    pub(crate) fn check(&mut self) -> Result<Vec<String>, Error> {
        let mut violations = Vec::new();
        for worker in &mut self.workers {
            violations.extend(recovered(worker)?);
            self.writes += worker.entries.len();
            worker.entries.drain(..).for_each(|entry| self.checker.record(&entry));
        }
        for sid in self.ensemble.sids() {
            let mut observer = self.ensemble.connect(sid, SESSION_TIMEOUT_MS)?;
            self.checker.observe(&observe(&mut observer)?, client_of);
            observer.close()?;
            assert_eq!(self.ensemble.member(sid)?.complaints(), Vec::<String>::new());
        }
        violations.extend_from_slice(self.checker.violations());
        Ok(violations)
    }
}

/// The member that a worker chooses may still be looking for its leader.
pub(crate) fn recovered(worker: &mut Worker) -> Result<Vec<String>, Error> {
    let started = Instant::now();
    loop {
        match worker.recover() {
            Err(Error::Io(_) | Error::Closed) if started.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_three() -> Result<(), Error> {
    let seed = number("ZKFLEET_KILL_SEED", 1);
    let mut crash = Crash::start(&[Engine::Ours; 3], seed)?;
    for round in 0..number("ZKFLEET_KILL_ROUNDS", 5) {
        let victims = match round % 5 {
            1 => Victims::Follower,
            3 => Victims::WipedFollower,
            4 if round % 2 == 0 => Victims::All,
            _ => Victims::Leader,
        };
        let writes = 1 + crash.workers[0].below(600);
        crash.round(victims, writes)?;
        let violations = crash.check()?;
        let what = format!("seed {seed}, round {round} ({victims:?})");
        assert!(violations.is_empty(), "{what}:\n{}", violations.join("\n"));
    }
    crash.checker.check_order();
    let violations = crash.checker.violations();
    assert!(violations.is_empty(), "seed {seed}:\n{}", violations.join("\n"));
    println!("{} writes, every acknowledged one is there once", crash.writes);
    Ok(())
}
