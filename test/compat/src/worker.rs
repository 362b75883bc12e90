//! A client that writes until its server is gone, and what it then finds.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use zk_proto::acl::AclBytes;
use zk_proto::connect::ConnectResponse;
use zk_proto::request::{Create, CreateMode, MultiOp, MultiRequest, Request, SetDataRequest};
use zk_proto::response::{MultiResponse, MultiResult};
use zk_proto::{Jute, OpCode, Reader, Zxid};
use zk_testkit::history::{Entry, Observed, Op, Outcome};
use zk_testkit::{Client, Error, PATIENCE};

/// How many there are.
pub const WORKERS: usize = 4;
/// Longer than any restart takes; the servers get it as their maximum.
pub const SESSION_TIMEOUT_MS: i32 = 60_000;

/// One thread with a session and znodes of its own.
#[derive(Debug)]
pub struct Worker {
    index: usize,
    /// Where it may connect: the servers with the sids from 1 on.
    addrs: Vec<SocketAddr>,
    /// Which of them its session is at.
    at: usize,
    /// How long it waits for an answer.
    patience: Duration,
    /// How long at most it does nothing between two writes.
    idle_ms: u64,
    random: u64,
    session: ConnectResponse,
    client: Client,
    /// The newest zxid that its session was told.
    seen: Zxid,
    /// Its register's version.
    version: i32,
    /// What it may delete.
    plain: Vec<String>,
    /// Sessions whose end is not certain.
    open: Vec<ConnectResponse>,
    /// Sessions that the server said it has closed.
    closed: Vec<ConnectResponse>,
    /// What it did since these were taken out.
    pub entries: Vec<Entry>,
}

/// The last tick, and when ticks began.
static CLOCK: AtomicU64 = AtomicU64::new(0);
static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds, but never twice the same: orders the operations of all workers, and names each.
pub fn tick() -> u64 {
    let now = BEGUN.elapsed().as_nanos() as u64;
    let last =
        CLOCK.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(now.max(last + 1)));
    now.max(last.unwrap_or_default() + 1)
}

/// Whether the server is gone, so that nobody knows what became of the request.
#[must_use]
pub fn is_gone(e: &Error) -> bool {
    matches!(e, Error::Closed | Error::Io(_) | Error::Silence(_))
}

impl Worker {
    /// The worker of this number, with a new session at one of these servers.
    pub fn new(index: usize, addrs: Vec<SocketAddr>, seed: u64) -> Result<Worker, Error> {
        let at = index % addrs.len();
        let client = Client::connect(addrs[at], SESSION_TIMEOUT_MS)?;
        let mut worker = Worker {
            index,
            addrs,
            at,
            patience: PATIENCE,
            idle_ms: 0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (index as u64 + 1),
            session: client.session().clone(),
            client,
            seen: Zxid::ZERO,
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

    /// It waits so long for answers, and up to so many ms between an answer and the next request.
    pub fn pace(&mut self, patience: Duration, idle_ms: u64) {
        (self.patience, self.idle_ms) = (patience, idle_ms);
    }

    /// One of the servers.
    fn any(&mut self) -> usize {
        self.below(self.addrs.len() as u64) as usize
    }

    fn addr(&mut self) -> SocketAddr {
        let at = self.any();
        self.addrs[at]
    }

    /// A random number.
    pub fn below(&mut self, n: u64) -> u64 {
        // xorshift64: any sequence will do.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % n
    }

    /// Writes until the server is gone, or it is told to stop.
    pub fn work(&mut self, done: &Sender<()>, stop: &AtomicBool) -> Result<(), Error> {
        while !stop.load(Ordering::Relaxed) {
            match self.step() {
                Ok(()) => {
                    // Whether anybody counts.
                    let _ = done.send(());
                    if self.idle_ms > 0 {
                        thread::sleep(Duration::from_millis(self.below(self.idle_ms)));
                    }
                }
                Err(e) if is_gone(&e) => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        Ok(())
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
        (at, started): (usize, u64),
        op: Op,
        result: Result<T, Error>,
        told: impl Fn(&T) -> Outcome,
    ) -> Result<T, Error> {
        let outcome = match &result {
            Ok(answer) => told(answer),
            Err(Error::Refused(code)) => Outcome::Refused(*code),
            Err(_) => Outcome::Unknown,
        };
        let (client, server, ended) = (self.index, at as i64 + 1, tick());
        self.entries.push(Entry { client, server, started, ended, op, outcome });
        self.seen = self.seen.max(self.client.seen());
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
        let created = self.note((self.at, value), op, result, |created| Outcome::Done {
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
        self.version = self.note((self.at, value), op, result, told)?.version;
        Ok(())
    }

    fn delete(&mut self) -> Result<(), Error> {
        let at = self.below(self.plain.len() as u64) as usize;
        let path = self.plain.swap_remove(at);
        let started = tick();
        let result = self.client.delete(&path, -1);
        let told = |_: &Zxid| Outcome::Done { zxid: None, path: None };
        self.note((self.at, started), Op::Delete { path }, result, told).map(|_| ())
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
            if reply.err != 0 {
                return Err(Error::Refused(reply.err));
            }
            match MultiResponse::read(&mut Reader::new(&reply.body))?.results.first() {
                Some(MultiResult::SetData(stat)) => Ok(*stat),
                _ => Err(Error::Refused(reply.err)),
            }
        });
        let op = Op::SetAndCreate { set, create: create.clone(), value };
        let told = |stat: &zk_proto::Stat| Outcome::Done { zxid: Some(stat.mzxid), path: None };
        self.version = self.note((self.at, value), op, result, told)?.version;
        self.plain.push(create);
        Ok(())
    }

    /// A session that opens, makes an ephemeral and closes.
    fn short_session(&mut self, value: u64) -> Result<(), Error> {
        let at = self.any();
        let asked = (SESSION_TIMEOUT_MS, None);
        let mut client = Client::impatient(self.addrs[at], asked, Zxid::ZERO, self.patience)?;
        let session = client.session().clone();
        let owner = session.session_id.0;
        self.open.push(session);
        let path = format!("/{}/s{value}", self.index);
        let result = client.create(&path, value.to_string().as_bytes(), CreateMode::Ephemeral);
        let op = Op::Create { path, value, owner, sequential: false };
        self.note((at, value), op, result, |created| Outcome::Done {
            zxid: Some(created.stat.czxid),
            path: None,
        })?;
        self.close(at, client)
    }

    fn close(&mut self, at: usize, client: Client) -> Result<(), Error> {
        let session = client.session().clone();
        let started = tick();
        let told = |_: &Zxid| Outcome::Done { zxid: None, path: None };
        let op = Op::Close { session: session.session_id.0 };
        self.note((at, started), op, client.close(), told)?;
        self.open.retain(|open| open.session_id != session.session_id);
        self.closed.push(session);
        Ok(())
    }

    /// After a restart: goes on with its session, ends the sessions whose end was not certain, and
    /// finds its bearings. Returns which closed sessions are back.
    pub fn recover(&mut self) -> Result<Vec<String>, Error> {
        let at = self.any();
        self.client = Client::resume(self.addrs[at], &self.session, Zxid::ZERO)?;
        self.at = at;
        while let Some(session) = self.open.last().cloned() {
            let at = self.any();
            match Client::resume(self.addrs[at], &session, Zxid::ZERO) {
                Ok(client) => self.close(at, client)?,
                // It was closed before the crash, without an answer.
                Err(Error::Expired) => {
                    self.open.pop();
                    let (started, op) = (tick(), Op::Close { session: session.session_id.0 });
                    let told = |_: &()| Outcome::Done { zxid: None, path: None };
                    self.note((at, started), op, Ok(()), told)?;
                    self.closed.push(session);
                }
                Err(error) => return Err(error),
            }
        }
        let mut violations = Vec::new();
        for session in self.closed.clone().iter().rev().take(10) {
            if Client::resume(self.addr(), session, Zxid::ZERO).is_ok() {
                let id = session.session_id;
                violations.push(format!("S1: session {id} was closed and is back"));
            }
        }
        self.find_bearings()?;
        Ok(violations)
    }

    /// While members come and go: goes on with its session at any of them that is not behind what
    /// it has seen. What became of other sessions is asked when all is well again: a leader that
    /// does not know yet that it is none may be wrong about them.
    pub fn reconnect(&mut self) -> Result<(), Error> {
        let at = self.any();
        let asked = (SESSION_TIMEOUT_MS, Some(&self.session));
        self.client = Client::impatient(self.addrs[at], asked, self.seen, self.patience)?;
        self.at = at;
        self.find_bearings()
    }

    fn find_bearings(&mut self) -> Result<(), Error> {
        // Whoever answers may be behind.
        self.client.sync()?;
        self.version = self.client.get_data(&self.register())?.1.version;
        Ok(())
    }
}

/// The whole tree but what belongs to nobody in particular.
pub fn observe(client: &mut Client) -> Result<Vec<Observed>, Error> {
    client.sync()?;
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

/// Whose znode a path is.
#[must_use]
pub fn client_of(path: &str) -> Option<usize> {
    let owned = path.strip_prefix("/seq/").or(path.strip_prefix('/'))?;
    owned.split(['/', '-']).next()?.parse().ok()
}
