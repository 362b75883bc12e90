//! Three members of Apache 3.9.4 are replaced by ours, one by one, and back again, while clients
//! write: no acknowledged write is lost, no session ends, no watch is forgotten, and in the end all
//! have the same tree.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use compat::load::{Load, recovered};
use compat::number;
use compat::worker::{SESSION_TIMEOUT_MS, Worker, is_gone};
use zk_proto::connect::ConnectResponse;
use zk_proto::request::{CreateMode, ReadRequest, Request, SetWatches2};
use zk_proto::response::GetDataResponse;
use zk_proto::watch::EventType;
use zk_proto::{Jute, Reader, Zxid};
use zk_testkit::{Client, Engine, Ensemble, Error, PATIENCE, apache_or_skip};

use crate::ensemble::LINES;

/// What all holders watch.
const WATCHED: &str = "/watched";
/// Acknowledged before and after each replacement.
const WRITES: usize = 100;

/// A session that holds an ephemeral and a watch, whatever becomes of the members.
struct Holder {
    at: i64,
    client: Client,
    session: ConnectResponse,
    /// The newest zxid that it knows of: a watch is set again relative to that.
    seen: Zxid,
    ephemeral: String,
}

impl Holder {
    fn new(ensemble: &Ensemble, sid: i64) -> Result<Holder, Error> {
        let mut client = ensemble.connect(sid, SESSION_TIMEOUT_MS)?;
        let ephemeral = format!("/holder-{sid}");
        let seen = client.create(&ephemeral, b"", CreateMode::Ephemeral)?.stat.czxid;
        let session = client.session().clone();
        let mut holder = Holder { at: sid, client, session, seen: Zxid(seen), ephemeral };
        holder.arm()?;
        Ok(holder)
    }

    /// Leaves a watch; what the znode holds.
    fn arm(&mut self) -> Result<String, Error> {
        let request = ReadRequest { path: WATCHED.into(), watch: true };
        let reply = self.client.call(&Request::GetData(request))?;
        self.seen = self.seen.max(reply.zxid);
        let read = GetDataResponse::read(&mut Reader::new(&reply.body))?;
        Ok(String::from_utf8_lossy(read.data.unwrap_or_default()).into_owned())
    }

    /// Goes on with the session at a member, which is told of the watch.
    fn move_to(&mut self, ensemble: &Ensemble, sid: i64) -> Result<(), Error> {
        self.client = ensemble.resume(sid, &self.session, self.seen)?;
        self.at = sid;
        let watches = SetWatches2 {
            relative_zxid: self.seen.0,
            data: Some(vec![Some(WATCHED.into())]),
            exist: Some(Vec::new()),
            child: Some(Vec::new()),
            persistent: Some(Vec::new()),
            persistent_recursive: Some(Vec::new()),
        };
        self.client.call(&Request::SetWatches(watches)).map(|_| ())
    }

    /// Waits until the watch has told that the znode holds `value`, at whichever of the running
    /// members that takes, and leaves a new one.
    fn await_change(
        &mut self,
        ensemble: &Ensemble,
        running: &[i64],
        value: &str,
    ) -> Result<(), Error> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            match self.is_told(value) {
                Ok(true) => return Ok(()),
                Ok(false) => thread::sleep(Duration::from_millis(5)),
                Err(e) if is_gone(&e) => {
                    let next = running.iter().position(|sid| *sid == self.at);
                    let next = running[next.map_or(0, |at| (at + 1) % running.len())];
                    match self.move_to(ensemble, next) {
                        Err(e) if is_gone(&e) => self.at = next,
                        result => result?,
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Err(Error::Silence(PATIENCE))
    }

    fn is_told(&mut self, value: &str) -> Result<bool, Error> {
        let zxid = self.client.ping()?;
        self.seen = self.seen.max(zxid);
        let Some((_, kind, path)) = self.client.next_event() else { return Ok(false) };
        assert_eq!((kind, path.as_str()), (EventType::NodeDataChanged, WATCHED));
        // A write whose answer was lost was done again.
        Ok(self.arm()? == value)
    }

    /// The ephemeral is still there, and still this session's.
    fn assert_owns(&mut self) -> Result<(), Error> {
        let stat = self.client.exists(&self.ephemeral)?;
        assert_eq!(stat.ephemeral_owner, self.session.session_id.0, "{}", self.ephemeral);
        Ok(())
    }
}

/// Writes to what the holders watch, through a member that may be looking for its leader.
fn change(ensemble: &Ensemble, sid: i64, value: &str) -> Result<(), Error> {
    let started = Instant::now();
    loop {
        let mut client = ensemble.connect(sid, SESSION_TIMEOUT_MS)?;
        match client.set_data(WATCHED, value.as_bytes(), -1).and_then(|_| client.close()) {
            Err(e) if is_gone(&e) && started.elapsed() < PATIENCE => {}
            result => return result.map(|_| ()),
        }
    }
}

/// Writes as long as it may, at whichever members there are.
fn keep_working(
    worker: &mut Worker,
    done: &Sender<()>,
    stop: &AtomicBool,
) -> Result<Vec<String>, Error> {
    let mut violations = Vec::new();
    loop {
        worker.work(done, stop)?;
        if stop.load(Ordering::Relaxed) {
            return Ok(violations);
        }
        violations.extend(recovered(worker)?);
    }
}

fn await_writes(acknowledged: &Receiver<()>) -> Result<(), Error> {
    acknowledged.try_iter().for_each(drop);
    for _ in 0..WRITES {
        acknowledged.recv_timeout(PATIENCE).map_err(|_| Error::Silence(PATIENCE))?;
    }
    Ok(())
}

/// Stops a member and starts one of another engine on its directories; holders are told of what
/// changes meanwhile and afterwards, and one of them moves to the new member.
fn swap(
    ensemble: &mut Ensemble,
    holders: &mut [Holder],
    (sid, engine): (i64, Engine),
    acknowledged: &Receiver<()>,
) -> Result<(), Error> {
    // Shown if the test fails: how far it came.
    println!("server {sid} leaves for {engine}");
    await_writes(acknowledged)?;
    ensemble.member(sid)?.terminate()?;
    let running: Vec<i64> = ensemble.sids().into_iter().filter(|other| *other != sid).collect();
    let without = format!("without {sid} for {engine}");
    change(ensemble, running[0], &without)?;
    println!("changed without it");
    holders.iter_mut().try_for_each(|it| it.await_change(ensemble, &running, &without))?;
    await_writes(acknowledged)?;

    println!("all are told");
    ensemble.member(sid)?.restart_as(engine)?;
    println!("it is back");
    holders[sid as usize % 3].move_to(ensemble, sid)?;
    let with = format!("{sid} is {engine}");
    change(ensemble, sid, &with)?;
    let all = ensemble.sids();
    holders.iter_mut().try_for_each(|it| it.await_change(ensemble, &all, &with))?;
    await_writes(acknowledged)
}

/// Replaces a member while all workers write, then lets them rest and looks.
fn replace(load: &mut Load, holders: &mut [Holder], member: (i64, Engine)) -> Result<(), Error> {
    let Load { ensemble, workers, .. } = load;
    let (done, acknowledged) = mpsc::channel();
    let stop = AtomicBool::new(false);
    let mut violations = thread::scope(|scope| {
        let stop = &stop;
        let threads = workers.iter_mut().map(|worker| {
            let done = done.clone();
            scope.spawn(move || keep_working(worker, &done, stop))
        });
        let threads = threads.collect::<Vec<_>>();
        let swapped = swap(ensemble, holders, member, &acknowledged);
        stop.store(true, Ordering::Relaxed);
        let ended = threads.into_iter().map(|thread| thread.join().expect("no panic"));
        let violations = ended.collect::<Result<Vec<_>, Error>>()?.concat();
        swapped.map(|()| violations)
    })?;
    violations.extend(load.check()?);
    assert!(violations.is_empty(), "{member:?}:\n{}", violations.join("\n"));
    holders.iter_mut().try_for_each(Holder::assert_owns)
}

#[test]
fn members_are_replaced_one_by_one_and_back() -> Result<(), Error> {
    if !apache_or_skip(Engine::Apache39) {
        return Ok(());
    }
    let ensemble = Ensemble::start(&[Engine::Apache39; 3], LINES)?;
    let mut load = Load::start(ensemble, number("ZKFLEET_KILL_SEED", 1))?;
    let mut setup = load.ensemble.connect(1, SESSION_TIMEOUT_MS)?;
    setup.create(WATCHED, b"", CreateMode::Persistent)?;
    setup.close()?;
    let sids = load.ensemble.sids();
    let holders = sids.iter().map(|sid| Holder::new(&load.ensemble, *sid));
    let mut holders = holders.collect::<Result<Vec<_>, Error>>()?;
    for engine in [Engine::Ours, Engine::Apache39] {
        for sid in &sids {
            replace(&mut load, &mut holders, (*sid, engine))?;
        }
        let trees = sids.iter().map(|sid| load.ensemble.tree(*sid));
        let trees = trees.collect::<Result<Vec<_>, Error>>()?;
        assert!(trees.iter().all(|tree| *tree == trees[0]), "{engine}: {trees:?}");
    }
    load.checker.check_order();
    let violations = load.checker.violations();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    println!("{} writes, every acknowledged one is there once", load.writes);
    Ok(())
}
