//! A server that does exactly what a test says: it accepts, reads requests, answers, hangs up.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use zk_client::{Address, Options};
use zk_proto::connect::{ConnectRequest, ConnectResponse};
use zk_proto::jute::put_frame;
use zk_proto::request::{Request, RequestHeader};
use zk_proto::response::{GetDataResponse, ReplyHeader};
use zk_proto::watch::{EventType, WatcherEvent};
use zk_proto::{Jute, OpCode, Reader, SessionId, Stat, Xid};

/// Nothing in these tests takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// The session that the server hands out.
pub(crate) const SESSION: SessionId = SessionId(0x0100_0000_0000_0001);

/// A listening socket.
pub(crate) struct Script {
    listener: TcpListener,
}

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) xid: i32,
    pub(crate) op: OpCode,
    body: Vec<u8>,
}

impl Asked {
    pub(crate) fn request(&self) -> Request<'_> {
        Request::read(self.op, &mut Reader::new(&self.body)).unwrap().unwrap()
    }
}

/// The server's end of a connection.
pub(crate) struct Peer<S = TcpStream>(pub(crate) S);

impl Script {
    pub(crate) async fn listen() -> Script {
        Script { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn address(&self) -> Address {
        let at = self.listener.local_addr().unwrap();
        Address { host: at.ip().to_string(), port: at.port() }
    }

    /// Options that lead here, with a session timeout of 10 s.
    pub(crate) fn options(&self) -> Options {
        Options {
            session_timeout: Duration::from_secs(10),
            connect_timeout: PATIENCE,
            ..Options::to(vec![self.address()])
        }
    }

    pub(crate) async fn accept(&self) -> Peer {
        Peer(timeout(PATIENCE, self.listener.accept()).await.unwrap().unwrap().0)
    }

    /// Accepts a client that opens a session.
    pub(crate) async fn serve(&self) -> Peer {
        let mut peer = self.accept().await;
        peer.welcome().await;
        peer
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(crate) async fn frame(&mut self) -> Vec<u8> {
        let read = async {
            let len = self.0.read_u32().await.unwrap();
            let mut frame = vec![0; len as usize];
            self.0.read_exact(&mut frame).await.unwrap();
            frame
        };
        timeout(PATIENCE, read).await.expect("the client says nothing")
    }

    pub(crate) async fn send(&mut self, body: &[u8]) {
        let mut bytes = Vec::new();
        put_frame(&mut bytes, |out| out.extend_from_slice(body));
        self.0.write_all(&bytes).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Answers a connect request: its session id, password and newest zxid.
    pub(crate) async fn welcome(&mut self) -> (SessionId, Vec<u8>, i64) {
        self.welcome_to(SESSION, 10_000, false).await
    }

    pub(crate) async fn welcome_to(
        &mut self,
        session_id: SessionId,
        timeout_ms: i32,
        is_read_only: bool,
    ) -> (SessionId, Vec<u8>, i64) {
        let frame = self.frame().await;
        let hello = ConnectRequest::read(&mut Reader::new(&frame)).unwrap();
        let answer = ConnectResponse {
            protocol_version: 0,
            timeout_ms,
            session_id,
            password: [7; 16],
            read_only: Some(is_read_only),
        };
        self.send(&answer.to_bytes()).await;
        (hello.session_id, hello.password.unwrap().to_vec(), hello.last_zxid_seen)
    }

    /// The next request; pings are not shown.
    pub(crate) async fn request(&mut self) -> Asked {
        loop {
            let frame = self.frame().await;
            let mut r = Reader::new(&frame);
            let RequestHeader { xid, op } = RequestHeader::read(&mut r).unwrap();
            let op = OpCode::from_code(op).unwrap();
            if op != OpCode::Ping {
                return Asked { xid, op, body: r.rest().to_vec() };
            }
        }
    }

    pub(crate) async fn reply(&mut self, xid: i32, zxid: i64, err: i32, body: &[u8]) {
        let header = ReplyHeader { xid, zxid, err }.to_bytes();
        self.send(&[header.as_slice(), body].concat()).await;
    }

    /// Reads an addWatch and answers that the watch is set.
    pub(crate) async fn serve_add_watch(&mut self, zxid: i64) {
        let asked = self.request().await;
        assert_eq!(asked.op, OpCode::AddWatch);
        self.reply(asked.xid, zxid, 0, &0i32.to_bytes()).await;
    }

    /// Reads a getData and answers it.
    pub(crate) async fn serve_get(&mut self, zxid: i64, data: Option<&[u8]>) -> String {
        let asked = self.request().await;
        let Request::GetData(read) = asked.request() else { panic!("{asked:?}") };
        let answer = GetDataResponse { data, stat: Stat::default() };
        self.reply(asked.xid, zxid, 0, &answer.to_bytes()).await;
        read.path.into_owned()
    }

    pub(crate) async fn notify(&mut self, kind: EventType, path: &str, zxid: i64) {
        let event = WatcherEvent { event_type: kind.code(), state: 3, path: path.into() };
        self.reply(Xid::NOTIFICATION.0, zxid, 0, &event.to_bytes()).await;
    }

    /// Waits until the client ends the connection.
    pub(crate) async fn until_end(&mut self) {
        let mut rest = Vec::new();
        timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("still connected").ok();
        assert_eq!(rest, [], "nothing more was to come");
    }
}
