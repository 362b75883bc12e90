//! A thread that writes until the server is gone, and what it then finds.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use zk_proto::acl::AclBytes;
use zk_proto::connect::ConnectResponse;
use zk_proto::request::{Create, CreateMode, MultiOp, MultiRequest, Request, SetDataRequest};
use zk_proto::response::{MultiResponse, MultiResult};
use zk_proto::{Jute, OpCode, Reader, Zxid};
use zk_testkit::history::{Entry, Observed, Op, Outcome};
use zk_testkit::{Client, Error};

pub(crate) const WORKERS: usize = 4;
/// Longer than any restart takes; the servers get it as their maximum.
pub(crate) const SESSION_TIMEOUT_MS: i32 = 60_000;

/// One thread with a session and znodes of its own.
pub(crate) struct Worker {
    index: usize,
    /// Where it may connect.
    addrs: Vec<SocketAddr>,
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
    pub(crate) entries: Vec<Entry>,
}

/// Orders the operations of all workers, and names each.
static CLOCK: AtomicU64 = AtomicU64::new(1);

fn tick() -> u64 {
    CLOCK.fetch_add(1, Ordering::SeqCst)
}

/// Whether the server is gone, so that nobody knows what became of the request.
pub(crate) fn is_gone(e: &Error) -> bool {
    matches!(e, Error::Closed | Error::Io(_) | Error::Silence(_))
}

impl Worker {
    pub(crate) fn new(index: usize, addrs: Vec<SocketAddr>, seed: u64) -> Result<Worker, Error> {
        let client = Client::connect(addrs[index % addrs.len()], SESSION_TIMEOUT_MS)?;
        let mut worker = Worker {
            index,
            addrs,
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

    /// One of the servers.
    fn addr(&mut self) -> SocketAddr {
        let at = self.below(self.addrs.len() as u64) as usize;
        self.addrs[at]
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        // xorshift64: any sequence will do.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % n
    }

    /// Writes until the server is gone, or it is told to stop.
    pub(crate) fn work(&mut self, done: &Sender<()>, stop: &AtomicBool) -> Result<(), Error> {
        while !stop.load(Ordering::Relaxed) {
            match self.step() {
                Ok(()) => drop(done.send(())),
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
        let mut client = Client::connect(self.addr(), SESSION_TIMEOUT_MS)?;
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
    pub(crate) fn recover(&mut self) -> Result<Vec<String>, Error> {
        self.client = Client::resume(self.addr(), &self.session, Zxid::ZERO)?;
        while let Some(session) = self.open.last().cloned() {
            match Client::resume(self.addr(), &session, Zxid::ZERO) {
                Ok(client) => self.close(client)?,
                // It was closed before the crash, without an answer.
                Err(Error::Expired) => {
                    self.open.pop();
                    let (started, op) = (tick(), Op::Close { session: session.session_id.0 });
                    let told = |_: &()| Outcome::Done { zxid: None, path: None };
                    self.note(started, op, Ok(()), told)?;
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
        // Whoever answers may be behind.
        self.client.sync()?;
        self.version = self.client.get_data(&self.register())?.1.version;
        Ok(violations)
    }
}

/// The whole tree but what belongs to nobody in particular.
pub(crate) fn observe(client: &mut Client) -> Result<Vec<Observed>, Error> {
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

pub(crate) fn client_of(path: &str) -> Option<usize> {
    let owned = path.strip_prefix("/seq/").or(path.strip_prefix('/'))?;
    owned.split(['/', '-']).next()?.parse().ok()
}
