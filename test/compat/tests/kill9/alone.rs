//! One server, killed again and again on the same directory.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::{env, fs, thread};

use compat::number;
use compat::worker::{SESSION_TIMEOUT_MS, WORKERS, Worker, client_of, observe};
use zk_proto::request::CreateMode;
use zk_testkit::history::Checker;
use zk_testkit::{Client, Engine, Error, PATIENCE, Server, ServerConfig, apache_or_skip};

/// A server, its clients and what must be true.
struct Crash {
    server: Server,
    workers: Vec<Worker>,
    checker: Checker,
    writes: usize,
}

impl Crash {
    fn start(engine: Engine, seed: u64) -> Result<Crash, Error> {
        let mut config = ServerConfig::new(engine);
        // Small logs, so that snapshots and new files are under way at many of the crashes.
        config.lines.extend(["maxSessionTimeout=60000", "snapCount=300"].map(String::from));
        let server = Server::start(config)?;
        let mut setup = Client::connect(server.addr(), SESSION_TIMEOUT_MS)?;
        for path in (0..WORKERS).map(|i| format!("/{i}")).chain(["/seq".to_owned()]) {
            setup.create(&path, b"", CreateMode::Persistent)?;
        }
        setup.close()?;
        let workers = (0..WORKERS).map(|index| Worker::new(index, vec![server.addr()], seed));
        let workers = workers.collect::<Result<_, _>>()?;
        Ok(Crash { server, workers, checker: Checker::new(WORKERS), writes: 0 })
    }

    /// Lets some of the workers work until so many writes are acknowledged, and kills the server.
    fn round(&mut self, active: usize, writes: u64) -> Result<(), Error> {
        let Crash { server, workers, .. } = self;
        let (done, acknowledged) = mpsc::channel();
        thread::scope(|scope| {
            let threads = workers.iter_mut().take(active).map(|worker| {
                let done = done.clone();
                scope.spawn(move || worker.work(&done, &AtomicBool::new(false)))
            });
            let threads = threads.collect::<Vec<_>>();
            for _ in 0..writes {
                if acknowledged.recv_timeout(PATIENCE).is_err() {
                    break;
                }
            }
            server.kill()?;
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().expect("a worker does not panic"))
        })
    }

    /// Starts the server again and checks everything.
    fn check(&mut self) -> Result<Vec<String>, Error> {
        self.server.restart()?;
        let mut violations = Vec::new();
        for worker in &mut self.workers {
            violations.extend(worker.recover()?);
            self.writes += worker.entries.len();
            worker.entries.drain(..).for_each(|entry| self.checker.record(&entry));
        }
        let mut observer = Client::connect(self.server.addr(), SESSION_TIMEOUT_MS)?;
        self.checker.observe(&observe(&mut observer)?, client_of);
        observer.close()?;
        assert_eq!(self.server.complaints(), Vec::<String>::new());
        violations.extend_from_slice(self.checker.violations());
        Ok(violations)
    }
}

#[test]
fn nothing_acknowledged_is_lost() -> Result<(), Error> {
    let engine = match env::var("ZKFLEET_KILL_ENGINE").as_deref() {
        Ok("3.8.0") => Engine::Apache38,
        Ok("3.9.4") => Engine::Apache39,
        _ => Engine::Ours,
    };
    if engine.is_apache() && !apache_or_skip(engine) {
        return Ok(());
    }
    let seed = number("ZKFLEET_KILL_SEED", 1);
    let mut crash = Crash::start(engine, seed)?;
    for round in 0..number("ZKFLEET_KILL_ROUNDS", 5) {
        let (active, writes) = match round % 3 {
            // Who is alone for 100 ms commits on its own thread: the crash comes after that.
            2 => (1, 1000 + crash.workers[0].below(2000)),
            _ => (WORKERS, 1 + crash.workers[0].below(600)),
        };
        crash.round(active, writes)?;
        let violations = crash.check()?;
        assert!(violations.is_empty(), "seed {seed}, round {round}:\n{}", violations.join("\n"));
    }
    crash.checker.check_order();
    let violations = crash.checker.violations();
    assert!(violations.is_empty(), "seed {seed}:\n{}", violations.join("\n"));
    println!("{} writes, every acknowledged one is there once", crash.writes);
    Ok(())
}

/// The test of the test: a server that wakes up with an older directory.
#[test]
fn a_server_that_forgets_is_caught() -> Result<(), Error> {
    let mut crash = Crash::start(Engine::Ours, 1)?;
    crash.round(WORKERS, 100)?;
    let (data, old) = (crash.server.data_dir(), crash.server.data_dir().with_extension("old"));
    copy(&data, &old)?;
    assert_eq!(crash.check()?, Vec::<String>::new());
    crash.round(WORKERS, 100)?;
    fs::remove_dir_all(&data)?;
    fs::rename(&old, &data)?;
    let violations = crash.check()?;
    assert!(violations.iter().any(|v| v.contains("is lost")), "{violations:?}");
    Ok(())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
