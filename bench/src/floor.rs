//! A server that keeps nothing: the physical floor for any server on this machine.
//!
//! It speaks the protocol, answers reads at once, and answers writes at once or, with a file,
//! after one fdatasync of all writes that one wait for connections brought. What it costs is the
//! kernel's share and the framing; no server that stores anything can be faster. With copies
//! ([`copies`]) it is the floor of an ensemble's leader.

pub mod copies;

use std::fs::{File, OpenOptions};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use zk_proto::connect::{ConnectRequest, ConnectResponse};
use zk_proto::jute::put_frame;
use zk_proto::password::NO_PASSWORD;
use zk_proto::request::{CreateMode, MultiOp, Request, RequestHeader};
use zk_proto::response::{
    Create2Response, CreateResponse, GetAllChildrenNumberResponse, GetChildrenResponse,
    GetDataResponse, MultiResponse, MultiResult, ReplyHeader, StatResponse, SyncResponse,
};
use zk_proto::watch::WatcherEvent;
use zk_proto::{ErrorCode, Jute, OpCode, Reader, SessionId, Stat, Text, Xid};

use self::copies::Copies;
use crate::error::{Error, Result};
use crate::net::{self, Events, Net, Peer};

/// The log is this long, is zeroed beforehand, and is written over when full: appending to blocks
/// that were written before takes half the time of growing a file.
const LOG_BYTES: u64 = 64 << 20;
/// The session timeout it grants: that of a default Apache to a client that asks for more.
const TIMEOUT_MS: i32 = 40_000;
/// NodeDataChanged, and the state of a connected session (client-protocol 9).
const DATA_CHANGED: i32 = 3;
const CONNECTED: i32 = 3;

/// The server.
pub struct Floor {
    net: Net,
    addr: SocketAddr,
    log: Option<Log>,
    copies: Option<Copies>,
    /// By connection: whether its session is open.
    open: Vec<bool>,
    state: State,
    /// Connections whose answers wait for the log.
    held: Vec<usize>,
    /// Connections that end once their answers are written.
    ending: Vec<usize>,
}

/// What little it remembers.
#[derive(Default)]
struct State {
    zxid: i64,
    sessions: i64,
    sequence: u64,
    /// The last data written, so that reads are as long as what was stored.
    data: Vec<u8>,
    /// Who waits for the next setData.
    watchers: Vec<usize>,
    /// The path of a setData that must be told to them.
    told: Option<String>,
}

/// What a frame asks for, beyond its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    Read,
    Write,
    Close,
}

struct Log {
    file: File,
    at: u64,
    batch: Vec<u8>,
}

impl Floor {
    /// Listens on `listen`, with a log at `file` or without one.
    pub fn bind(listen: SocketAddr, file: Option<&Path>) -> Result<Floor> {
        let listener =
            TcpListener::bind(listen).map_err(Error::io(format!("listen on {listen}")))?;
        let addr = listener.local_addr().map_err(Error::io("ask for the listener's address"))?;
        let mut net = Net::new()?;
        net.listen(listener)?;
        Ok(Floor {
            net,
            addr,
            log: file.map(Log::create).transpose()?,
            copies: None,
            open: Vec::new(),
            state: State::default(),
            held: Vec::new(),
            ending: Vec::new(),
        })
    }

    /// Writes are answered when copies have them, too.
    #[must_use]
    pub fn with_copies(self, copies: Copies) -> Floor {
        Floor { copies: Some(copies), ..self }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `stop` is set.
    pub fn run(&mut self, stop: &AtomicBool) -> Result<()> {
        let mut events = Events::new();
        while !stop.load(Ordering::Relaxed) {
            self.net.wait(&mut events, Some(Duration::from_millis(100)))?;
            for event in &events {
                match net::token(event) {
                    None => self.accept()?,
                    Some(conn) => self.serve(conn, event)?,
                }
            }
            self.settle()?;
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        while let Some(conn) = self.net.accept()? {
            self.open.resize(self.open.len().max(conn + 1), false);
            self.open[conn] = false;
        }
        Ok(())
    }

    fn serve(&mut self, conn: usize, event: &rustix::event::epoll::Event) -> Result<()> {
        let Floor { net, log, open, state, .. } = self;
        let (mut wrote, mut closes) = (false, false);
        let peer = net.read(conn, event, |out, frame| {
            let then = if open[conn] {
                state.answer(conn, frame, out)?
            } else {
                open[conn] = true;
                state.handshake(frame, out)?
            };
            if then != Then::Read {
                wrote = true;
                if let Some(log) = log {
                    log.batch.extend_from_slice(frame);
                }
            }
            closes |= then == Then::Close;
            Ok(())
        });
        match peer {
            Ok(Peer::Open) if wrote && self.log.is_some() => self.held.push(conn),
            Ok(Peer::Open) => self.net.flush(conn)?,
            // A client that sends nonsense loses its connection, as with any server.
            Ok(Peer::Closed) | Err(_) => self.net.close(conn),
        }
        if closes {
            self.ending.push(conn);
        }
        Ok(())
    }

    /// Makes the batch durable, then writes the answers that waited for it.
    fn settle(&mut self) -> Result<()> {
        if let Some(log) = self.log.as_mut().filter(|log| !log.batch.is_empty()) {
            if let Some(copies) = &mut self.copies {
                copies.send(&log.batch)?;
            }
            log.sync()?;
            if let Some(copies) = &mut self.copies {
                copies.wait()?;
            }
        }
        for conn in self.held.drain(..) {
            self.net.flush(conn)?;
        }
        if let Some(path) = self.state.told.take() {
            self.tell(&path)?;
        }
        for conn in self.ending.drain(..) {
            self.net.shut(conn)?;
        }
        Ok(())
    }

    fn tell(&mut self, path: &str) -> Result<()> {
        let mut event = Vec::new();
        put_frame(&mut event, |out| {
            ReplyHeader { xid: Xid::NOTIFICATION.0, zxid: self.state.zxid, err: 0 }.write(out);
            WatcherEvent { event_type: DATA_CHANGED, state: CONNECTED, path: path.into() }
                .write(out);
        });
        for watcher in std::mem::take(&mut self.state.watchers) {
            if self.net.is_open(watcher) {
                self.net.out(watcher).extend_from_slice(&event);
                self.net.flush(watcher)?;
            }
        }
        Ok(())
    }
}

impl State {
    fn handshake(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<Then> {
        let request = ConnectRequest::read(&mut Reader::new(frame)).map_err(Error::wrong)?;
        self.sessions += 1;
        self.zxid += 1;
        put_frame(out, |out| {
            ConnectResponse {
                protocol_version: 0,
                timeout_ms: request.timeout_ms.min(TIMEOUT_MS),
                session_id: SessionId(self.sessions),
                password: NO_PASSWORD,
                read_only: request.read_only.map(|_| false),
            }
            .write(out);
        });
        Ok(Then::Write)
    }

    fn answer(&mut self, conn: usize, frame: &[u8], out: &mut Vec<u8>) -> Result<Then> {
        let mut r = Reader::new(frame);
        let header = RequestHeader::read(&mut r).map_err(Error::wrong)?;
        let request = match OpCode::from_code(header.op) {
            Some(op) => Request::read(op, &mut r).map_err(Error::wrong)?,
            None => None,
        };
        let is_write = request.as_ref().is_some_and(|request| request.opcode().is_write());
        self.zxid += i64::from(is_write);
        let err = if request.is_some() { ErrorCode::Ok } else { ErrorCode::Unimplemented };
        put_frame(out, |out| {
            ReplyHeader::new(header.xid, self.zxid, err).write(out);
            if let Some(request) = &request {
                self.put_body(conn, request, out);
            }
        });
        Ok(match request {
            Some(Request::CloseSession) => Then::Close,
            _ if is_write => Then::Write,
            _ => Then::Read,
        })
    }

    fn put_body(&mut self, conn: usize, request: &Request<'_>, out: &mut Vec<u8>) {
        let stat = Stat::default();
        match request {
            Request::Create(create) => {
                self.keep(create.data);
                let path = self.created(&create.path, create.flags);
                match create.op {
                    OpCode::Create => CreateResponse { path }.write(out),
                    _ => Create2Response { path, stat }.write(out),
                }
            }
            Request::SetData(set) => {
                self.keep(set.data);
                if !self.watchers.is_empty() {
                    self.told = Some(set.path.to_string());
                }
                StatResponse { stat }.write(out);
            }
            Request::GetData(read) => {
                if read.watch {
                    self.watchers.push(conn);
                }
                GetDataResponse { data: Some(&self.data), stat }.write(out);
            }
            Request::Exists(_) | Request::SetAcl(_) => StatResponse { stat }.write(out),
            Request::GetChildren(_) => GetChildrenResponse { children: Vec::new() }.write(out),
            Request::GetAllChildrenNumber(_) => {
                GetAllChildrenNumberResponse { total_number: 0 }.write(out);
            }
            Request::Sync(sync) => SyncResponse { path: sync.path.clone() }.write(out),
            Request::Multi(multi) => {
                let results = multi.ops.iter().map(|op| self.multi_result(op)).collect();
                MultiResponse { results }.write(out);
            }
            // The rest has no body, or no load asks for it.
            _ => {}
        }
    }

    fn multi_result<'a>(&mut self, op: &MultiOp<'a>) -> MultiResult<'a> {
        match op {
            MultiOp::Create(create) => {
                self.keep(create.data);
                MultiResult::Create(self.created(&create.path, create.flags))
            }
            MultiOp::SetData(set) => {
                self.keep(set.data);
                MultiResult::SetData(Stat::default())
            }
            MultiOp::Delete(_) => MultiResult::Delete,
            MultiOp::Check(_) => MultiResult::Check,
            MultiOp::GetData(_) => MultiResult::GetData(None, Stat::default()),
            MultiOp::GetChildren(_) => MultiResult::GetChildren(Vec::new()),
        }
    }

    fn keep(&mut self, data: Option<&[u8]>) {
        let data = data.unwrap_or_default();
        // Copied only when its length changes: the floor is not to pay for storing.
        if data.len() != self.data.len() {
            self.data = data.to_vec();
        }
    }

    fn created<'a>(&mut self, path: &Text<'a>, flags: i32) -> Text<'a> {
        if !CreateMode::from_flags(flags).is_some_and(CreateMode::is_sequential) {
            return path.clone();
        }
        self.sequence += 1;
        Text::Owned(format!("{path}{:010}", self.sequence))
    }
}

impl Log {
    fn create(path: &Path) -> Result<Log> {
        let doing = || Error::io(format!("make the log {}", path.display()));
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .open(path)
            .map_err(doing())?;
        let zeros = vec![0; 1 << 20];
        for at in (0..LOG_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, at).map_err(doing())?;
        }
        file.sync_all().map_err(doing())?;
        Ok(Log { file, at: 0, batch: Vec::new() })
    }

    /// Makes what is in the batch durable.
    fn sync(&mut self) -> Result<()> {
        if self.at + self.batch.len() as u64 > LOG_BYTES {
            self.at = 0;
        }
        self.file.write_all_at(&self.batch, self.at).map_err(Error::io("write the log"))?;
        self.file.sync_data().map_err(Error::io("sync the log"))?;
        self.at += self.batch.len() as u64;
        self.batch.clear();
        Ok(())
    }
}
