//! A session on any stream, call by call: what happens is what the test says.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use zk_proto::acl::{self, Acl, AclBytes};
use zk_proto::connect::{ConnectRequest, ConnectResponse};
use zk_proto::jute::put_frame;
use zk_proto::request::{Create, CreateMode, ReadRequest, Request, RequestHeader, SetDataRequest};
use zk_proto::response::{GetDataResponse, ReplyHeader, WhoAmIResponse};
use zk_proto::watch::WatcherEvent;
use zk_proto::{Jute, OpCode, Perms, Reader, SessionId};

use crate::PATIENCE;

/// What bytes go through.
pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A session.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    /// Received and not yet looked at.
    buffer: Vec<u8>,
    pub(crate) session: ConnectResponse,
    last_xid: i32,
}

/// An answer, or an event (xid −1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reply {
    pub(crate) xid: i32,
    pub(crate) err: i32,
    pub(crate) body: Vec<u8>,
}

/// A socket on which nothing waits for ever.
pub(crate) fn open(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Whether the peer ends the stream without a byte.
pub(crate) fn is_closed_by_peer(mut stream: impl Read) -> bool {
    match stream.read(&mut [0]) {
        Ok(n) => n == 0,
        // Silence is no end.
        Err(e) => !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

/// Everything that is said after a four-letter word.
pub(crate) fn four_letter_word(mut stream: impl Read + Write, word: &str) -> String {
    stream.write_all(word.as_bytes()).unwrap();
    stream.flush().unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

impl Client {
    /// A session over plain text, a minute long.
    pub(crate) fn connect(addr: SocketAddr) -> io::Result<Client> {
        Client::handshake(open(addr), 60_000)
    }

    /// A session of a timeout in ms.
    pub(crate) fn handshake(stream: impl Stream + 'static, timeout_ms: i32) -> io::Result<Client> {
        let client = Client::ask(stream, timeout_ms, None, false)?;
        assert_ne!(client.session.session_id, SessionId::NONE, "the session was refused");
        Ok(client)
    }

    /// A session for reading alone, a new one or one that is there.
    pub(crate) fn reads(
        addr: SocketAddr,
        timeout_ms: i32,
        session: Option<(SessionId, [u8; 16])>,
    ) -> io::Result<Client> {
        Client::ask(open(addr), timeout_ms, session, true)
    }

    /// The answer to the renewal of a session with this id and password: it may be refused.
    pub(crate) fn renew(addr: SocketAddr, session: (SessionId, [u8; 16])) -> Client {
        Client::renew_on(open(addr), session)
    }

    /// The same on a connection that is there.
    pub(crate) fn renew_on(
        stream: impl Stream + 'static,
        session: (SessionId, [u8; 16]),
    ) -> Client {
        Client::ask(stream, 60_000, Some(session), false).unwrap()
    }

    fn ask(
        stream: impl Stream + 'static,
        timeout_ms: i32,
        session: Option<(SessionId, [u8; 16])>,
        reads: bool,
    ) -> io::Result<Client> {
        let none = ConnectResponse::expired(None);
        let stream = Box::new(stream);
        let mut client = Client { stream, buffer: Vec::new(), session: none, last_xid: 0 };
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms,
            session_id: session.map_or(SessionId::NONE, |(id, _)| id),
            password: session.as_ref().map(|(_, password)| &password[..]),
            read_only: Some(reads),
        };
        client.send_frame(|out| request.write(out))?;
        let frame = client.frame()?;
        client.session = ConnectResponse::read(&mut Reader::new(&frame)).unwrap();
        Ok(client)
    }

    fn send_frame(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut bytes = Vec::new();
        put_frame(&mut bytes, write);
        self.send_bytes(&bytes)
    }

    /// Bytes as they are.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Sends a request; its xid.
    pub(crate) fn send(&mut self, request: &Request<'_>) -> io::Result<i32> {
        self.last_xid += 1;
        let header = RequestHeader { xid: self.last_xid, op: request.opcode().code() };
        self.send_frame(|out| {
            header.write(out);
            request.write(out);
        })?;
        Ok(header.xid)
    }

    /// The next frame.
    pub(crate) fn frame(&mut self) -> io::Result<Vec<u8>> {
        let mut chunk = [0; 32 << 10];
        loop {
            if let Some(length) = self.buffer.first_chunk::<4>() {
                let end = 4 + usize::try_from(i32::from_be_bytes(*length)).unwrap();
                if self.buffer.len() >= end {
                    let frame = self.buffer[4..end].to_vec();
                    self.buffer.drain(..end);
                    return Ok(frame);
                }
            }
            match self.stream.read(&mut chunk)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                n => self.buffer.extend_from_slice(&chunk[..n]),
            }
        }
    }

    /// The next answer or event.
    pub(crate) fn reply(&mut self) -> io::Result<Reply> {
        let frame = self.frame()?;
        let mut r = Reader::new(&frame);
        let header = ReplyHeader::read(&mut r).unwrap();
        Ok(Reply { xid: header.xid, err: header.err, body: r.rest().to_vec() })
    }

    /// Sends and waits for the answer, which must be the next frame.
    pub(crate) fn call(&mut self, request: &Request<'_>) -> io::Result<Reply> {
        let xid = self.send(request)?;
        let reply = self.reply()?;
        assert_eq!(reply.xid, xid, "{reply:?}");
        Ok(reply)
    }

    /// Creates a znode that all may use; the error code.
    pub(crate) fn create(&mut self, path: &str, data: &[u8]) -> io::Result<i32> {
        Ok(self.call(&create(path, data, AclBytes::OPEN))?.err)
    }

    /// Creates a znode for an id with all rights; the error code.
    pub(crate) fn create_for(&mut self, path: &str, scheme: &str, id: &str) -> i32 {
        let acl = acl::encode(&[Acl::new(Perms::ALL, scheme, id)]);
        self.call(&create(path, b"mine", AclBytes::parse(&acl).unwrap())).unwrap().err
    }

    /// The data of a znode, or the error code.
    pub(crate) fn get(&mut self, path: &str) -> Result<Vec<u8>, i32> {
        self.try_get(path).unwrap()
    }

    /// The same, of a member that may let its clients go.
    pub(crate) fn try_get(&mut self, path: &str) -> io::Result<Result<Vec<u8>, i32>> {
        let reply = self.call(&get(path, false))?;
        if reply.err != 0 {
            return Ok(Err(reply.err));
        }
        let record = GetDataResponse::read(&mut Reader::new(&reply.body)).unwrap();
        Ok(Ok(record.data.unwrap_or_default().to_vec()))
    }

    /// Sets the data of a znode; the error code.
    pub(crate) fn set(&mut self, path: &str, data: &[u8]) -> i32 {
        self.try_set(path, data).unwrap()
    }

    /// The same, of a member that may let its clients go.
    pub(crate) fn try_set(&mut self, path: &str, data: &[u8]) -> io::Result<i32> {
        let request = SetDataRequest { path: path.into(), data: Some(data), version: -1 };
        Ok(self.call(&Request::SetData(request))?.err)
    }

    /// The identities of the connection as `scheme:id`, those by address left out.
    pub(crate) fn who(&mut self) -> Vec<String> {
        let reply = self.call(&Request::WhoAmI).unwrap();
        let record = WhoAmIResponse::read(&mut Reader::new(&reply.body)).unwrap();
        let all = record.client_info.iter().filter(|info| info.auth_scheme != "ip");
        all.map(|info| format!("{}:{}", info.auth_scheme, info.user)).collect()
    }

    /// The next frame, which must be an event: its type and path.
    pub(crate) fn event(&mut self) -> (i32, String) {
        let reply = self.reply().unwrap();
        assert_eq!(reply.xid, -1, "{reply:?}");
        let event = WatcherEvent::read(&mut Reader::new(&reply.body)).unwrap();
        (event.event_type, event.path.into_owned())
    }

    /// Whether the server has ended the connection.
    pub(crate) fn ends(mut self) -> bool {
        is_closed_by_peer(&mut self.stream)
    }
}

/// A create request.
pub(crate) fn create<'a>(path: &'a str, data: &'a [u8], acl: AclBytes<'a>) -> Request<'a> {
    Request::Create(Create {
        op: OpCode::Create,
        path: path.into(),
        data: Some(data),
        acl,
        flags: CreateMode::Persistent.flags(),
        ttl_ms: 0,
    })
}

/// A getData request.
pub(crate) fn get(path: &str, watch: bool) -> Request<'_> {
    Request::GetData(ReadRequest { path: path.into(), watch })
}
