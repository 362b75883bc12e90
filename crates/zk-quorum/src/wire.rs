//! A connection between two members: plain, or what a [`Guard`] has made of it.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::QuorumSasl;

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Makes a connection safe, or refuses it: TLS.
pub trait Guard: Send + Sync {
    /// This member has dialled `host`.
    fn dialled(&self, stream: TcpStream, host: &str) -> Guarding;
    /// This member was dialled.
    fn accepted(&self, stream: TcpStream) -> Guarding;
}

/// A connection on its way to be safe. Whoever waits for it bounds the time.
pub type Guarding = Pin<Box<dyn Future<Output = io::Result<Wire>> + Send>>;

/// What guards all connections of a member; nothing, by default.
#[derive(Clone, Default)]
pub struct Guards {
    /// What makes the bytes safe.
    pub guard: Option<Arc<dyn Guard>>,
    /// What proves then who is at the other end.
    pub sasl: Option<Arc<QuorumSasl>>,
}

impl Guards {
    /// Proves who this member is, and that the other end knows it: at the place in the protocol
    /// where whoever has dialled does that.
    ///
    /// # Errors
    /// Why the other end is not believed, or does not believe.
    pub(crate) async fn authenticate(&self, wire: &mut Wire) -> io::Result<()> {
        match &self.sasl {
            Some(sasl) => sasl.authenticate(wire).await,
            None => Ok(()),
        }
    }

    /// Hears who has dialled.
    ///
    /// # Errors
    /// Why that one is not let in.
    pub async fn admit(&self, wire: &mut Wire, patience: Duration) -> io::Result<()> {
        match &self.sasl {
            Some(sasl) => sasl.admit(wire, patience).await,
            None => Ok(()),
        }
    }

    /// Guards a connection that was dialled.
    ///
    /// # Errors
    /// Why the other end is not trusted, or is not there.
    pub async fn dialled(&self, stream: TcpStream, host: &str) -> io::Result<Wire> {
        match &self.guard {
            Some(guard) => guard.dialled(stream, host).await,
            None => Wire::plain(stream),
        }
    }

    /// Guards a connection that was accepted.
    ///
    /// # Errors
    /// The same.
    pub async fn accepted(&self, stream: TcpStream) -> io::Result<Wire> {
        match &self.guard {
            Some(guard) => guard.accepted(stream).await,
            None => Wire::plain(stream),
        }
    }
}

impl fmt::Debug for Guards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (guard, sasl) = (self.guard.is_some(), self.sasl.is_some());
        f.debug_struct("Guards").field("guard", &guard).field("sasl", &sasl).finish()
    }
}

/// A connection that may be used.
pub struct Wire {
    kind: Kind,
    peer: SocketAddr,
    /// What was read and is not used yet.
    come: Vec<u8>,
}

enum Kind {
    Plain(TcpStream),
    Guarded(Box<dyn Stream>),
}

/// Where bytes come from.
pub(crate) struct From {
    half: FromHalf,
    /// What has come already.
    come: Vec<u8>,
}

enum FromHalf {
    Plain(OwnedReadHalf),
    Guarded(ReadHalf<Box<dyn Stream>>),
}

/// Where bytes go to.
pub(crate) enum To {
    Plain(OwnedWriteHalf),
    Guarded(WriteHalf<Box<dyn Stream>>),
}

impl Wire {
    /// One that needs no guard.
    ///
    /// # Errors
    /// If it has gone already.
    pub fn plain(stream: TcpStream) -> io::Result<Wire> {
        stream.set_nodelay(true)?;
        Ok(Wire { peer: stream.peer_addr()?, kind: Kind::Plain(stream), come: Vec::new() })
    }

    /// One that was guarded.
    #[must_use]
    pub fn guarded(stream: impl Stream + 'static, peer: SocketAddr) -> Wire {
        Wire { kind: Kind::Guarded(Box::new(stream)), peer, come: Vec::new() }
    }

    /// The other end.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// What has come and is not used yet.
    pub(crate) fn come(&self) -> &[u8] {
        &self.come
    }

    /// So many of these bytes are used.
    pub(crate) fn used(&mut self, count: usize) {
        self.come.drain(..count);
    }

    /// Waits for more bytes; an error at the end.
    pub(crate) async fn read(&mut self) -> io::Result<()> {
        // What is read before a connection is split is a few KiB long.
        self.come.reserve(1024);
        let count = match &mut self.kind {
            Kind::Plain(stream) => stream.read_buf(&mut self.come).await?,
            Kind::Guarded(stream) => stream.read_buf(&mut self.come).await?,
        };
        if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// Sends all of these bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.kind {
            Kind::Plain(stream) => stream.write_all(bytes).await,
            Kind::Guarded(stream) => write_through(stream, bytes).await,
        }
    }

    pub(crate) fn split(self) -> (From, To) {
        let (half, to) = match self.kind {
            Kind::Plain(stream) => {
                let (from, to) = stream.into_split();
                (FromHalf::Plain(from), To::Plain(to))
            }
            Kind::Guarded(stream) => {
                let (from, to) = tokio::io::split(stream);
                (FromHalf::Guarded(from), To::Guarded(to))
            }
        };
        (From { half, come: self.come }, to)
    }
}

impl From {
    /// Reads some bytes; 0 at the end.
    pub(crate) async fn read(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        if !self.come.is_empty() {
            let come = std::mem::take(&mut self.come);
            into.extend_from_slice(&come);
            return Ok(come.len());
        }
        match &mut self.half {
            FromHalf::Plain(from) => from.read_buf(into).await,
            FromHalf::Guarded(from) => from.read_buf(into).await,
        }
    }
}

async fn write_through(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}

impl To {
    /// Sends all of these bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            To::Plain(to) => to.write_all(bytes).await,
            To::Guarded(to) => write_through(to, bytes).await,
        }
    }
}
