//! An ensemble, the clients that write to it, and the checker of what they were told.

use std::thread;
use std::time::{Duration, Instant};

use zk_proto::request::CreateMode;
use zk_testkit::history::Checker;
use zk_testkit::{Ensemble, Error, PATIENCE};

use crate::worker::{SESSION_TIMEOUT_MS, WORKERS, Worker, client_of, observe};

/// Members, their clients and what must be true.
#[derive(Debug)]
pub struct Load {
    /// The members.
    pub ensemble: Ensemble,
    /// The clients.
    pub workers: Vec<Worker>,
    /// What the clients' histories allow.
    pub checker: Checker,
    /// Operations that were checked.
    pub writes: usize,
}

impl Load {
    /// On an ensemble without data.
    pub fn start(ensemble: Ensemble, seed: u64) -> Result<Load, Error> {
        let addrs = ensemble.sids().into_iter().map(|sid| ensemble.addr(sid));
        let addrs = addrs.collect::<Result<Vec<_>, _>>()?;
        let mut setup = ensemble.connect(1, SESSION_TIMEOUT_MS)?;
        for path in (0..WORKERS).map(|i| format!("/{i}")).chain(["/seq".to_owned()]) {
            setup.create(&path, b"", CreateMode::Persistent)?;
        }
        setup.close()?;
        let workers = (0..WORKERS).map(|index| Worker::new(index, addrs.clone(), seed));
        let workers = workers.collect::<Result<_, _>>()?;
        Ok(Load { ensemble, workers, checker: Checker::new(WORKERS), writes: 0 })
    }

    /// Lets all workers find their bearings and compares what every member has with what it must
    /// have.
    pub fn check(&mut self) -> Result<Vec<String>, Error> {
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
            violations.extend(self.ensemble.member(sid)?.complaints());
        }
        violations.extend_from_slice(self.checker.violations());
        Ok(violations)
    }
}

/// The member that a worker chooses may still be looking for its leader.
pub fn recovered(worker: &mut Worker) -> Result<Vec<String>, Error> {
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
