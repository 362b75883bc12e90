//! kill -9 at random moments under load, again and again on the same directory: no acknowledged
//! write is lost, none is done twice, closed sessions stay closed, live ones live on with their
//! ephemerals. `zk_testkit::history` checks, and is itself tested with planted lies.
//!
//! `ZKFLEET_KILL_ROUNDS` says how often (5), `ZKFLEET_KILL_SEED` where chance begins (1),
//! `ZKFLEET_KILL_ENGINE=3.9.4` puts an Apache in the place of ours.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::{env, fs, thread};

use zk_proto::acl::AclBytes;
use zk_proto::connect::ConnectResponse;
use zk_proto::request::{Create, CreateMode, MultiOp, MultiRequest, Request, SetDataRequest};
use zk_proto::response::{MultiResponse, MultiResult};
use zk_proto::{Jute, OpCode, Reader, Zxid};
use zk_testkit::history::{Checker, Entry, Observed, Op, Outcome};
use zk_testkit::{Client, Engine, Error, PATIENCE, Server, ServerConfig, apache_or_skip};

const WORKERS: usize = 4;
/// Longer than any restart takes; the servers get it as their maximum.
const SESSION_TIMEOUT_MS: i32 = 60_000;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// One thread with a session and znodes of its own.
struct Worker {
    index: usize,
    addr: SocketAddr,
    random: u64,
    session: ConnectResponse,
    client: Client,
    /// Its register's version.
    version: i32,
    /// What it may delete.
    plain: Vec<String>,
    /// Sessions whose end is not certain.
    open: Vec<ConnectResponse>,
    /// Sessions that the server said it has closed.
    closed: Vec<ConnectResponse>,
    entries: Vec<Entry>,
}

/// Orders the operations of all workers, and names each.
static CLOCK: AtomicU64 = AtomicU64::new(1);

fn tick() -> u64 {
    CLOCK.fetch_add(1, Ordering::SeqCst)
}

/// Whether the server is gone, so that nobody knows what became of the request.
fn is_gone(e: &Error) -> bool {
    matches!(e, Error::Closed | Error::Io(_) | Error::Silence(_))
}

impl Worker {
    fn new(index: usize, addr: SocketAddr, seed: u64) -> Result<Worker, Error> {
        let client = Client::connect(addr, SESSION_TIMEOUT_MS)?;
        let mut worker = Worker {
            index,
            addr,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (index as u64 + 1),
            session: client.session().clone(),
            client,
            version: 0,
            plain: Vec::new(),
            open: Vec::new(),
            closed: Vec::new(),
            entries: Vec::new(),
        };
        worker.create(&worker.register(), 0, false)?;
        Ok(worker)
    }

    fn register(&self) -> String {
        format!("/{}/register", self.index)
    }

    fn below(&mut self, n: u64) -> u64 {
        // xorshift64: any sequence will do.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % n
    }

    /// Writes until the server is gone.
    fn work(&mut self, done: &Sender<()>) -> Result<(), Error> {
        loop {
            match self.step() {
                Ok(()) => drop(done.send(())),
                Err(e) if is_gone(&e) => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }

    fn step(&mut self) -> Result<(), Error> {
        let value = tick();
        let index = self.index;
        match self.below(20) {
            // The tree stays small, so that many rounds take no longer than few.
            7..18 if self.plain.len() > 200 => self.delete(),
            0..7 => self.set(value),
            7..11 => self.create(&format!("/{index}/n{value}"), 0, false),
            11..14 => self.create(&format!("/seq/{index}-"), 0, true),
            14 => self.create(&format!("/{index}/e{value}"), self.session.session_id.0, false),
            15..18 if !self.plain.is_empty() => self.delete(),
            18 => self.set_and_create(value),
            _ => self.short_session(value),
        }
    }

    /// Remembers an operation and its outcome; a server that is gone ends the round.
    fn note<T>(
        &mut self,
        started: u64,
        op: Op,
        result: Result<T, Error>,
        told: impl Fn(&T) -> Outcome,
    ) -> Result<T, Error> {
        let outcome = match &result {
            Ok(answer) => told(answer),
            Err(Error::Refused(code)) => Outcome::Refused(*code),
            Err(_) => Outcome::Unknown,
        };
        let (client, ended) = (self.index, tick());
        self.entries.push(Entry { client, started, ended, op, outcome });
        result
    }

    fn create(&mut self, path: &str, owner: i64, sequential: bool) -> Result<(), Error> {
        let value = tick();
        let mode = match (owner, sequential) {
            (0, false) => CreateMode::Persistent,
            (0, true) => CreateMode::PersistentSequential,
            _ => CreateMode::Ephemeral,
        };
        let result = self.client.create(path, value.to_string().as_bytes(), mode);
        let op = Op::Create { path: path.to_owned(), value, owner, sequential };
        let created = self.note(value, op, result, |created| Outcome::Done {
            zxid: Some(created.stat.czxid),
            path: Some(created.path.clone()),
        })?;
        if path != self.register() {
            self.plain.push(created.path);
        }
        Ok(())
    }

    fn set(&mut self, value: u64) -> Result<(), Error> {
        let (path, version) = (self.register(), self.version);
        let result = self.client.set_data(&path, value.to_string().as_bytes(), version);
        let op = Op::Set { path, value, version };
        let told = |stat: &zk_proto::Stat| Outcome::Done { zxid: Some(stat.mzxid), path: None };
        self.version = self.note(value, op, result, told)?.version;
        Ok(())
    }

    fn delete(&mut self) -> Result<(), Error> {
        let at = self.below(self.plain.len() as u64) as usize;
        let path = self.plain.swap_remove(at);
        let started = tick();
        let result = self.client.delete(&path, -1);
        let told = |_: &Zxid| Outcome::Done { zxid: None, path: None };
        self.note(started, Op::Delete { path }, result, told).map(|_| ())
    }

    fn set_and_create(&mut self, value: u64) -> Result<(), Error> {
        let (set, create) = (self.register(), format!("/{}/m{value}", self.index));
        let data = value.to_string();
        let request = Request::Multi(MultiRequest {
            ops: vec![
                MultiOp::SetData(SetDataRequest {
                    path: set.as_str().into(),
                    data: Some(data.as_bytes()),
                    version: -1,
                }),
                MultiOp::Create(Create {
                    op: OpCode::Create,
                    path: create.as_str().into(),
                    data: Some(data.as_bytes()),
                    acl: AclBytes::OPEN,
                    flags: 0,
                    ttl_ms: 0,
                }),
            ],
        });
        let result = self.client.call(&request).and_then(|reply| {
            match MultiResponse::read(&mut Reader::new(&reply.body))?.results.first() {
                Some(MultiResult::SetData(stat)) => Ok(*stat),
                _ => Err(Error::Refused(reply.err)),
            }
        });
        let op = Op::SetAndCreate { set, create: create.clone(), value };
        let told = |stat: &zk_proto::Stat| Outcome::Done { zxid: Some(stat.mzxid), path: None };
        self.version = self.note(value, op, result, told)?.version;
        self.plain.push(create);
        Ok(())
    }

    /// A session that opens, makes an ephemeral and closes.
    fn short_session(&mut self, value: u64) -> Result<(), Error> {
        let mut client = Client::connect(self.addr, SESSION_TIMEOUT_MS)?;
        let session = client.session().clone();
        let owner = session.session_id.0;
        self.open.push(session);
        let path = format!("/{}/s{value}", self.index);
        let result = client.create(&path, value.to_string().as_bytes(), CreateMode::Ephemeral);
        let op = Op::Create { path, value, owner, sequential: false };
        self.note(value, op, result, |created| Outcome::Done {
            zxid: Some(created.stat.czxid),
            path: None,
        })?;
        self.close(client)
    }

    fn close(&mut self, client: Client) -> Result<(), Error> {
        let session = client.session().clone();
        let started = tick();
        let told = |_: &Zxid| Outcome::Done { zxid: None, path: None };
        self.note(started, Op::Close { session: session.session_id.0 }, client.close(), told)?;
        self.open.retain(|open| open.session_id != session.session_id);
        self.closed.push(session);
        Ok(())
    }

    /// After a restart: goes on with its session, ends the sessions whose end was not certain, and
    /// finds its bearings. Returns which closed sessions are back.
    fn recover(&mut self) -> Result<Vec<String>, Error> {
        self.client = Client::resume(self.addr, &self.session, Zxid::ZERO)?;
        for session in std::mem::take(&mut self.open) {
            match Client::resume(self.addr, &session, Zxid::ZERO) {
                Ok(client) => self.close(client)?,
                // It was closed before the crash, without an answer.
                Err(_) => {
                    let (started, op) = (tick(), Op::Close { session: session.session_id.0 });
                    let told = |_: &()| Outcome::Done { zxid: None, path: None };
                    self.note(started, op, Ok(()), told)?;
                    self.closed.push(session);
                }
            }
        }
        let mut violations = Vec::new();
        for session in self.closed.iter().rev().take(10) {
            if Client::resume(self.addr, session, Zxid::ZERO).is_ok() {
                let id = session.session_id;
                violations.push(format!("S1: session {id} was closed and is back"));
            }
        }
        self.version = self.client.get_data(&self.register())?.1.version;
        Ok(violations)
    }
}

/// The whole tree but what belongs to nobody in particular.
fn observe(client: &mut Client) -> Result<Vec<Observed>, Error> {
    let mut nodes = Vec::new();
    for parent in (0..WORKERS).map(|i| format!("/{i}")).chain(["/seq".to_owned()]) {
        for name in client.children(&parent)? {
            let path = format!("{parent}/{name}");
            let (data, stat) = client.get_data(&path)?;
            let text = data.and_then(|bytes| String::from_utf8(bytes).ok());
            nodes.push(Observed {
                path,
                value: text.and_then(|text| text.parse().ok()),
                czxid: stat.czxid,
                mzxid: stat.mzxid,
                version: stat.version,
                owner: stat.ephemeral_owner,
            });
        }
    }
    Ok(nodes)
}

fn client_of(path: &str) -> Option<usize> {
    let owned = path.strip_prefix("/seq/").or(path.strip_prefix('/'))?;
    owned.split(['/', '-']).next()?.parse().ok()
}

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
        let workers = (0..WORKERS).map(|index| Worker::new(index, server.addr(), seed));
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
                scope.spawn(move || worker.work(&done))
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
