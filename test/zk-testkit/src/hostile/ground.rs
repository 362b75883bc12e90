//! Where attacks happen: the server, and znodes that are worth asking for.

use std::net::SocketAddr;
use std::time::Duration;

use zk_proto::SessionId;
use zk_proto::acl::AclBytes;
use zk_proto::connect::ConnectRequest;
use zk_proto::request::{Create, CreateMode, MultiOp, MultiRequest, Request};

use crate::client::put_request;
use crate::{Client, Connection, Error, Incoming};

/// Below it are the znodes of attacks.
pub(super) const ROOT: &str = "/hostile";
/// A znode of 1 MB.
pub(super) const LONG: &str = "/hostile/long";
/// A znode with so many children that their names make an answer of 1 MB.
pub(super) const WIDE: &str = "/hostile/wide";
/// What fires the watches on everything below it.
pub(super) const NOISE: &str = "/hostile/noise";

const LONG_BYTES: usize = 1_000_000;
const CHILDREN: usize = 20_000;
/// In one multi.
const BATCH: usize = 2_000;
/// A server that makes hostile clients wait for longer has no strike to land.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// A session that its client forgets lives on for so long.
const SESSION_TIMEOUT_MS: i32 = 10_000;

/// A server under attack.
#[derive(Clone, Debug)]
pub struct Ground {
    /// Its client port.
    pub client: SocketAddr,
    /// Its admin server.
    pub admin: SocketAddr,
}

impl Ground {
    /// Makes the znodes, as any client may.
    pub fn prepare(&self) -> Result<(), Error> {
        let mut client = Client::connect(self.client, SESSION_TIMEOUT_MS)?;
        for path in [ROOT, WIDE, &noisy()] {
            for end in path.match_indices('/').skip(1).map(|(at, _)| at).chain([path.len()]) {
                match client.create(&path[..end], b"", CreateMode::Persistent) {
                    Err(Error::Refused(-110)) | Ok(_) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        client.create(LONG, &vec![7; LONG_BYTES], CreateMode::Persistent)?;
        for first in (0..CHILDREN).step_by(BATCH) {
            let paths = (first..first + BATCH).map(|n| format!("{WIDE}/{n:040}"));
            let ops = paths.map(|path| MultiOp::Create(plain(path))).collect();
            client.call(&Request::Multi(MultiRequest { ops }))?.ok()?;
        }
        client.close().map(|_| ())
    }

    /// A new session whose client does not keep to the rules.
    pub(super) fn session(&self) -> Result<Connection, Error> {
        let mut connection = Connection::open(self.client)?;
        let session = connection.handshake_within(&connect_request(), PATIENCE)?;
        if session.session_id == SessionId::NONE { Err(Error::Expired) } else { Ok(connection) }
    }
}

/// A znode whose path makes events of 8 KB.
pub(super) fn noisy() -> String {
    format!("{NOISE}/{}", "n".repeat(8_000))
}

fn plain(path: String) -> Create<'static> {
    Create {
        op: zk_proto::OpCode::Create,
        path: path.into(),
        data: None,
        acl: AclBytes::OPEN,
        flags: CreateMode::Persistent.flags(),
        ttl_ms: 0,
    }
}

/// Asks for a new session.
pub(super) fn connect_request() -> ConnectRequest<'static> {
    ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms: SESSION_TIMEOUT_MS,
        session_id: SessionId::NONE,
        password: None,
        read_only: Some(false),
    }
}

/// Sends requests in one go, numbered from 1.
pub(super) fn send_all<'a>(
    connection: &mut Connection,
    requests: impl IntoIterator<Item = Request<'a>>,
) -> Result<(), Error> {
    let mut bytes = Vec::new();
    for (xid, request) in (1..).zip(requests) {
        put_request(&mut bytes, xid, &request);
    }
    connection.send(&bytes)
}

/// Waits for so many answers or events.
pub(super) fn hear(connection: &mut Connection, count: usize) -> Result<(), Error> {
    for _ in 0..count {
        match connection.read(PATIENCE)? {
            Incoming::Frame(_) => {}
            Incoming::Closed => return Err(Error::Closed),
            Incoming::Silence => return Err(Error::Silence(PATIENCE)),
        }
    }
    Ok(())
}
