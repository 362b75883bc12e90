//! Typed calls, one at a time, on one connection. No reconnect, no threads: what happens is what
//! the test says.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use zk_proto::acl::AclBytes;
use zk_proto::connect::{ConnectRequest, ConnectResponse};
use zk_proto::jute::put_frame;
use zk_proto::request::{
    AuthPacket, Create, CreateMode, ReadRequest, Request, RequestHeader, SetDataRequest,
    SyncRequest, VersionedPath,
};
use zk_proto::response::{
    Create2Response, GetChildrenResponse, GetDataResponse, ReplyHeader, StatResponse,
};
use zk_proto::watch::{EventType, WatcherEvent};
use zk_proto::{Jute, OpCode, Reader, SessionId, Stat, Xid, Zxid};

use crate::{Connection, Error, Incoming, PATIENCE};

/// What a server answered to a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The request's number.
    pub xid: i32,
    /// What the header says.
    pub zxid: Zxid,
    /// 0 or an error code.
    pub err: i32,
    /// The record after the header.
    pub body: Vec<u8>,
}

impl Reply {
    /// Reads a frame that came after the handshake.
    pub fn parse(frame: &[u8]) -> Result<Reply, Error> {
        let mut r = Reader::new(frame);
        let header = ReplyHeader::read(&mut r)?;
        let body = r.rest().to_vec();
        Ok(Reply { xid: header.xid, zxid: Zxid(header.zxid), err: header.err, body })
    }

    /// The record, if the request succeeded.
    fn record<'a, T: Jute<'a>>(&'a self) -> Result<T, Error> {
        self.ok()?;
        Ok(T::read(&mut Reader::new(&self.body))?)
    }

    /// Its zxid, if the request succeeded.
    pub fn ok(&self) -> Result<Zxid, Error> {
        if self.err == 0 { Ok(self.zxid) } else { Err(Error::Refused(self.err)) }
    }
}

/// A znode that was created.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Created {
    /// With the counter, if sequential.
    pub path: String,
    /// As the server showed it.
    pub stat: Stat,
}

/// Appends the frame of a request.
pub(crate) fn put_request(out: &mut Vec<u8>, xid: i32, request: &Request<'_>) {
    put_frame(out, |out| {
        RequestHeader { xid, op: request.opcode().code() }.write(out);
        request.write(out);
    });
}

/// A session on a connection.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    session: ConnectResponse,
    last_xid: i32,
    events: VecDeque<(Zxid, EventType, String)>,
    seen: Zxid,
    patience: Duration,
}

impl Client {
    /// A new session.
    pub fn connect(addr: SocketAddr, timeout_ms: i32) -> Result<Client, Error> {
        Client::handshake(addr, timeout_ms, SessionId::NONE, None, Zxid::ZERO, PATIENCE)
    }

    /// The same for who has seen a zxid, goes on with a session if there is one, and waits only so
    /// long, for this answer and all others.
    pub fn impatient(
        addr: SocketAddr,
        (timeout_ms, session): (i32, Option<&ConnectResponse>),
        seen: Zxid,
        patience: Duration,
    ) -> Result<Client, Error> {
        let id = session.map_or(SessionId::NONE, |session| session.session_id);
        let password = session.map(|session| &session.password[..]);
        Client::handshake(addr, timeout_ms, id, password, seen, patience)
    }

    /// Goes on with a session. `Err(Error::Expired)` if the server says that it is gone.
    pub fn resume(
        addr: SocketAddr,
        session: &ConnectResponse,
        last_zxid_seen: Zxid,
    ) -> Result<Client, Error> {
        let password = Some(&session.password[..]);
        let (timeout_ms, id) = (session.timeout_ms, session.session_id);
        Client::handshake(addr, timeout_ms, id, password, last_zxid_seen, PATIENCE)
    }

    fn handshake(
        addr: SocketAddr,
        timeout_ms: i32,
        session_id: SessionId,
        password: Option<&[u8]>,
        last_zxid_seen: Zxid,
        patience: Duration,
    ) -> Result<Client, Error> {
        let mut connection = Connection::open(addr)?;
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: last_zxid_seen.0,
            timeout_ms,
            session_id,
            password,
            read_only: Some(false),
        };
        let session = connection.handshake_within(&request, patience)?;
        if session.session_id == SessionId::NONE {
            return Err(Error::Expired);
        }
        let (last_xid, events, seen) = (0, VecDeque::new(), last_zxid_seen);
        Ok(Client { connection, session, last_xid, events, seen, patience })
    }

    /// The handshake's answer; [`Client::resume`] wants it.
    #[must_use]
    pub fn session(&self) -> &ConnectResponse {
        &self.session
    }

    /// Sends a request and waits for its answer; events on the way are kept.
    pub fn call(&mut self, request: &Request<'_>) -> Result<Reply, Error> {
        let xid = match request {
            Request::Ping => Xid::PING.0,
            Request::Auth(_) => Xid::AUTH.0,
            _ => {
                self.last_xid += 1;
                self.last_xid
            }
        };
        let mut bytes = Vec::new();
        put_request(&mut bytes, xid, request);
        self.connection.send(&bytes)?;
        loop {
            let reply = match self.connection.read(self.patience)? {
                Incoming::Frame(frame) => Reply::parse(&frame)?,
                Incoming::Closed => return Err(Error::Closed),
                Incoming::Silence => return Err(Error::Silence(self.patience)),
            };
            self.seen = self.seen.max(reply.zxid);
            if reply.xid != Xid::NOTIFICATION.0 {
                return Ok(reply);
            }
            let event = WatcherEvent::read(&mut Reader::new(&reply.body))?;
            if let Some(kind) = EventType::from_code(event.event_type) {
                self.events.push_back((reply.zxid, kind, event.path.into_owned()));
            }
        }
    }

    /// The newest zxid that it was told.
    #[must_use]
    pub fn seen(&self) -> Zxid {
        self.seen
    }

    /// The oldest event that came before the last answer.
    pub fn next_event(&mut self) -> Option<(Zxid, EventType, String)> {
        self.events.pop_front()
    }

    /// Adds an identity.
    pub fn auth(&mut self, scheme: &str, auth: &[u8]) -> Result<(), Error> {
        let packet = AuthPacket { auth_type: 0, scheme: Some(scheme.into()), auth: Some(auth) };
        self.call(&Request::Auth(packet))?.ok().map(|_| ())
    }

    /// create2 with an open ACL.
    pub fn create(&mut self, path: &str, data: &[u8], mode: CreateMode) -> Result<Created, Error> {
        let reply = self.call(&Request::Create(Create {
            op: OpCode::Create2,
            path: path.into(),
            data: Some(data),
            acl: AclBytes::OPEN,
            flags: mode.flags(),
            ttl_ms: 0,
        }))?;
        let record = reply.record::<Create2Response<'_>>()?;
        Ok(Created { path: record.path.into_owned(), stat: record.stat })
    }

    /// delete; the zxid of the reply.
    pub fn delete(&mut self, path: &str, version: i32) -> Result<Zxid, Error> {
        self.call(&Request::Delete(VersionedPath { path: path.into(), version }))?.ok()
    }

    /// setData.
    pub fn set_data(&mut self, path: &str, data: &[u8], version: i32) -> Result<Stat, Error> {
        let request = SetDataRequest { path: path.into(), data: Some(data), version };
        let reply = self.call(&Request::SetData(request))?;
        Ok(reply.record::<StatResponse>()?.stat)
    }

    /// getData without a watch; null data is `None`.
    pub fn get_data(&mut self, path: &str) -> Result<(Option<Vec<u8>>, Stat), Error> {
        let request = ReadRequest { path: path.into(), watch: false };
        let reply = self.call(&Request::GetData(request))?;
        let record = reply.record::<GetDataResponse<'_>>()?;
        Ok((record.data.map(<[u8]>::to_vec), record.stat))
    }

    /// exists without a watch.
    pub fn exists(&mut self, path: &str) -> Result<Stat, Error> {
        let reply = self.call(&Request::Exists(ReadRequest { path: path.into(), watch: false }))?;
        Ok(reply.record::<StatResponse>()?.stat)
    }

    /// Names of the children, sorted.
    pub fn children(&mut self, path: &str) -> Result<Vec<String>, Error> {
        let request = ReadRequest { path: path.into(), watch: false };
        let reply = self.call(&Request::GetChildren(request))?;
        let record = reply.record::<GetChildrenResponse<'_>>()?;
        let mut names = record.children.into_iter().map(String::from).collect::<Vec<_>>();
        names.sort();
        Ok(names)
    }

    /// sync; the zxid of the reply.
    pub fn sync(&mut self) -> Result<Zxid, Error> {
        Ok(self.call(&Request::Sync(SyncRequest { path: Some("/".into()) }))?.zxid)
    }

    /// ping; the zxid of the reply.
    pub fn ping(&mut self) -> Result<Zxid, Error> {
        Ok(self.call(&Request::Ping)?.zxid)
    }

    /// closeSession, and waits until the server has closed the connection; the zxid of the reply.
    pub fn close(mut self) -> Result<Zxid, Error> {
        let zxid = self.call(&Request::CloseSession)?.zxid;
        match self.connection.read(self.patience)? {
            Incoming::Closed => Ok(zxid),
            _ => Err(Error::Silence(self.patience)),
        }
    }
}
