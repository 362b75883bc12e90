//! A blocking client for what is not measured: set-up, verification, the first answer of a server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use zk_proto::acl::AclBytes;
use zk_proto::connect::{ConnectRequest, ConnectResponse};
use zk_proto::jute::put_frame;
use zk_proto::password::{NO_PASSWORD, Password};
use zk_proto::request::{Create, CreateMode, PathRequest, ReadRequest, Request};
use zk_proto::response::{
    GetAllChildrenNumberResponse, GetChildrenResponse, GetDataResponse, ReplyHeader,
};
use zk_proto::{ErrorCode, Jute, OpCode, Reader, SessionId};

use crate::error::{Error, Result, Wrong};
use crate::net;
use crate::wire;

/// The session timeout that every load asks for: the longest that a server with the default tick
/// grants, so that a slow server loses no session.
pub const SESSION_TIMEOUT_MS: i32 = 40_000;
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A session as its client knows it: enough to go on with it at another member.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    id: SessionId,
    password: Password,
    last_zxid: i64,
}

impl Identity {
    /// Of a session that does not exist yet.
    pub const NEW: Identity = Identity { id: SessionId::NONE, password: NO_PASSWORD, last_zxid: 0 };
}

/// A session.
pub struct Client {
    stream: TcpStream,
    xid: i32,
    identity: Identity,
}

/// Appends the frame that opens a session, or goes on with one.
pub fn put_handshake(out: &mut Vec<u8>, identity: &Identity) {
    put_frame(out, |out| {
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: identity.last_zxid,
            timeout_ms: SESSION_TIMEOUT_MS,
            session_id: identity.id,
            password: Some(&identity.password),
            read_only: Some(false),
        }
        .write(out);
    });
}

/// Whether the answer to a handshake grants a session.
pub fn check_handshake(frame: &[u8]) -> Result<ConnectResponse, Wrong> {
    let response = ConnectResponse::read(&mut Reader::new(frame))?;
    if response.timeout_ms <= 0 { Err(Wrong::Refused) } else { Ok(response) }
}

/// A persistent create, open to all.
#[must_use]
pub fn create<'a>(path: &'a str, data: &'a [u8], mode: CreateMode) -> Request<'a> {
    Request::Create(Create {
        op: OpCode::Create,
        path: path.into(),
        data: Some(data),
        acl: AclBytes::OPEN,
        flags: mode.flags(),
        ttl_ms: 0,
    })
}

/// A getData.
#[must_use]
pub fn get(path: &str, watch: bool) -> Request<'_> {
    Request::GetData(ReadRequest { path: path.into(), watch })
}

impl Client {
    /// Opens a session.
    pub fn open(addr: SocketAddr) -> Result<Client> {
        Client::open_within(addr, CALL_TIMEOUT)
    }

    fn open_within(addr: SocketAddr, timeout: Duration) -> Result<Client> {
        Client::resume(addr, Identity::NEW, timeout)
    }

    /// Goes on with a session. Nothing that this client asks for is waited for longer than
    /// `patience`.
    pub fn resume(addr: SocketAddr, identity: Identity, patience: Duration) -> Result<Client> {
        let mut client = Client { stream: net::dial(addr, patience)?, xid: 0, identity };
        let mut out = Vec::new();
        put_handshake(&mut out, &identity);
        client.write(&out)?;
        let granted = check_handshake(&client.frame()?).map_err(Error::wrong)?;
        client.identity.id = granted.session_id;
        client.identity.password = granted.password;
        Ok(client)
    }

    /// What is known of the session by now.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Tries one of these members after the other until a session opens and `ask` succeeds on it;
    /// returns the time of that. An attempt may take `patience`. `alive` is asked between attempts
    /// and may end them.
    pub fn first<T>(
        addrs: &[SocketAddr],
        deadline: Duration,
        patience: Duration,
        mut alive: impl FnMut() -> Result<()>,
        mut ask: impl FnMut(&mut Client) -> Result<T>,
    ) -> Result<Instant> {
        let begin = Instant::now();
        for addr in addrs.iter().cycle() {
            if begin.elapsed() >= deadline {
                break;
            }
            let answered = Client::open_within(*addr, patience)
                .and_then(|mut client| ask(&mut client).map(|_| Instant::now()));
            if let Ok(at) = answered {
                return Ok(at);
            }
            alive()?;
            std::thread::sleep(Duration::from_millis(1));
        }
        let what = format!("an answer from {addrs:?}");
        Err(Error::Timeout { what, seconds: deadline.as_secs() })
    }

    /// Whether a znode is there.
    pub fn exists(&mut self, path: &str) -> Result<()> {
        let request = Request::Exists(ReadRequest { path: path.into(), watch: false });
        self.call(&request).map(|_| ())
    }

    /// The body of a successful answer.
    pub fn call(&mut self, request: &Request<'_>) -> Result<Vec<u8>> {
        self.try_call(request)?.map_err(|code| Error::wrong(Wrong::Code(code)))
    }

    /// The body of an answer, or its error code.
    pub fn try_call(&mut self, request: &Request<'_>) -> Result<Result<Vec<u8>, i32>> {
        let mut answers = self.pipeline(std::slice::from_ref(request))?;
        Ok(answers.pop().expect("one answer for each request"))
    }

    /// Sends all requests at once; the answers in the same order.
    pub fn pipeline(&mut self, requests: &[Request<'_>]) -> Result<Vec<Result<Vec<u8>, i32>>> {
        let first = self.xid + 1;
        let mut out = Vec::new();
        for request in requests {
            self.xid += 1;
            out.extend_from_slice(&wire::frame(self.xid, request));
        }
        self.write(&out)?;
        (first..=self.xid).map(|xid| self.answer(xid)).collect()
    }

    fn answer(&mut self, xid: i32) -> Result<Result<Vec<u8>, i32>> {
        let mut frame = self.frame()?;
        let mut r = Reader::new(&frame);
        let header = ReplyHeader::read(&mut r).map_err(Error::wrong)?;
        if header.xid != xid {
            let wrong = Wrong::Order { got: header.xid };
            return Err(Error::Wrong { conn: 0, xid, wrong });
        }
        let body_at = r.position();
        self.identity.last_zxid = self.identity.last_zxid.max(header.zxid);
        Ok(if header.err == 0 { Ok(frame.split_off(body_at)) } else { Err(header.err) })
    }

    /// Creates a path and its parents, as far as they do not exist.
    pub fn create_all(&mut self, path: &str) -> Result<()> {
        let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
        for end in ends {
            match self.try_call(&create(&path[..end], b"", CreateMode::Persistent))? {
                Ok(_) => {}
                Err(code) if code == ErrorCode::NodeExists.code() => {}
                Err(code) => return Err(Error::wrong(Wrong::Code(code))),
            }
        }
        Ok(())
    }

    /// Data of a znode.
    pub fn get(&mut self, path: &str) -> Result<Vec<u8>> {
        let body = self.call(&get(path, false))?;
        let response = GetDataResponse::read(&mut Reader::new(&body)).map_err(Error::wrong)?;
        Ok(response.data.unwrap_or_default().to_vec())
    }

    /// Names of the children.
    pub fn children(&mut self, path: &str) -> Result<Vec<String>> {
        let read = ReadRequest { path: path.into(), watch: false };
        let body = self.call(&Request::GetChildren(read))?;
        let response = GetChildrenResponse::read(&mut Reader::new(&body)).map_err(Error::wrong)?;
        Ok(response.children.into_iter().map(|name| name.into_owned()).collect())
    }

    /// How many znodes are below a path.
    pub fn descendants(&mut self, path: &str) -> Result<u64> {
        let request = Request::GetAllChildrenNumber(PathRequest { path: path.into() });
        let body = self.call(&request)?;
        let response =
            GetAllChildrenNumberResponse::read(&mut Reader::new(&body)).map_err(Error::wrong)?;
        Ok(u64::try_from(response.total_number).unwrap_or(0))
    }

    /// Ends the session.
    pub fn close(mut self) -> Result<()> {
        self.call(&Request::CloseSession).map(|_| ())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).map_err(Error::io("write to the server"))
    }

    fn frame(&mut self) -> Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).map_err(Error::io("read from the server"))?;
        let length = i32::from_be_bytes(length);
        let wanted = u64::try_from(length).map_err(|_| Error::wrong(Wrong::FrameLength(length)))?;
        let mut frame = Vec::new();
        // By `take`, so that a length alone allocates nothing.
        let got = (&self.stream).take(wanted).read_to_end(&mut frame);
        match got {
            Ok(n) if n as u64 == wanted => Ok(frame),
            Ok(_) => Err(Error::wrong(Wrong::FrameLength(length))),
            Err(e) => Err(Error::io("read from the server")(e)),
        }
    }
}
