//! A connection between two members: plain, or what a [`Guard`] has made of it.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Makes a connection safe, or refuses it: TLS, or a proof of who is at the other end.
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
pub struct Guards(pub Option<Arc<dyn Guard>>);

impl Guards {
    /// Guards a connection that was dialled.
    ///
    /// # Errors
    /// Why the other end is not trusted, or is not there.
    pub async fn dialled(&self, stream: TcpStream, host: &str) -> io::Result<Wire> {
        match &self.0 {
            Some(guard) => guard.dialled(stream, host).await,
            None => Wire::plain(stream),
        }
    }

    /// Guards a connection that was accepted.
    ///
    /// # Errors
    /// The same.
    pub async fn accepted(&self, stream: TcpStream) -> io::Result<Wire> {
        match &self.0 {
            Some(guard) => guard.accepted(stream).await,
            None => Wire::plain(stream),
        }
    }
}

impl fmt::Debug for Guards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Guards(some)" } else { "Guards(none)" })
    }
}

/// A connection that may be used.
pub struct Wire {
    kind: Kind,
    peer: SocketAddr,
}

enum Kind {
    Plain(TcpStream),
    Guarded(Box<dyn Stream>),
}

/// Where bytes come from.
pub(crate) enum From {
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
        Ok(Wire { peer: stream.peer_addr()?, kind: Kind::Plain(stream) })
    }

    /// One that was guarded.
    #[must_use]
    pub fn guarded(stream: impl Stream + 'static, peer: SocketAddr) -> Wire {
        Wire { kind: Kind::Guarded(Box::new(stream)), peer }
    }

    /// The other end.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(crate) fn split(self) -> (From, To) {
        match self.kind {
            Kind::Plain(stream) => {
                let (from, to) = stream.into_split();
                (From::Plain(from), To::Plain(to))
            }
            Kind::Guarded(stream) => {
                let (from, to) = tokio::io::split(stream);
                (From::Guarded(from), To::Guarded(to))
            }
        }
    }
}

impl From {
    /// Reads some bytes; 0 at the end.
    pub(crate) async fn read(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        use tokio::io::AsyncReadExt;
        match self {
            From::Plain(from) => from.read_buf(into).await,
            From::Guarded(from) => from.read_buf(into).await,
        }
    }
}

impl To {
    /// Sends all of these bytes.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            To::Plain(to) => to.write_all(bytes).await,
            To::Guarded(to) => {
                to.write_all(bytes).await?;
                to.flush().await
            }
        }
    }
}
