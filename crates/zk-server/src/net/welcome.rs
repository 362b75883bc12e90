//! From an accepted socket to a served connection: limits, TLS or plain text, certificates.

use super::conn::Line;
use super::home::Home;
use super::seats::Seats;
use super::seldom::Seldom;
use super::serve::Serving;
use super::wire::{Tls, Wire};
use crate::engine::Engine;
use crate::tls::{Detected, Fault, TlsContext, detect, refused_certificate, subject_dn};
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use zk_tree::auth::Identity;

/// What is spoken on a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Speaks {
    /// Plain text.
    Plain,
    /// TLS.
    Tls,
    /// The first byte of a connection says which.
    Either,
}

/// What is needed to let a client in.
pub(crate) struct Gatekeeper {
    pub(crate) engine: Arc<Engine>,
    pub(crate) tls: Option<Arc<TlsContext>>,
    /// `X509AuthenticationProvider.superUser`.
    pub(crate) super_dn: Option<String>,
    /// `maxClientCnxns` and `maxCnxns`.
    pub(crate) seats: Arc<Seats>,
    /// What is told of those who are not let in.
    pub(crate) seldom: Seldom,
    /// `ssl.handshakeDetectionTimeoutMillis`: how long the first byte may take that tells TLS from
    /// plain text.
    pub(crate) detection: Duration,
    /// `clientTcpKeepAlive`.
    pub(crate) keep_alive: bool,
    /// TLS handshakes under way.
    pub(crate) handshakes: AtomicUsize,
    /// `netty.server.outstandingHandshake.limit`; 0 for no limit.
    pub(crate) max_handshakes: usize,
}

impl Gatekeeper {
    /// Lets a new connection in, or not; once in, a task of its own serves it.
    pub(crate) async fn welcome(
        self: Arc<Self>,
        stream: std::net::TcpStream,
        peer: SocketAddr,
        speaks: Speaks,
        home: Arc<Home>,
    ) {
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        let seat = match self.seats.take(peer.ip()) {
            Ok(seat) => seat,
            Err(full) => {
                self.engine.metrics.connection_rejected.add(1);
                return self.tell(peer, &full);
            }
        };
        // One bound for all that a client must do to get a session: its first byte, TLS and the
        // connect request.
        let patience_ms = self.engine.options.handshake_deadline_ms;
        let deadline_ms = self.engine.now_ms() + patience_ms;
        let deadline = Instant::now() + Duration::from_millis(patience_ms.unsigned_abs());
        // Answers are written in one piece and must not wait for more.
        let _ = stream.set_nodelay(true);
        if self.keep_alive {
            let _ = socket2::SockRef::from(&stream).set_keepalive(true);
        }
        let is_tls = match speaks {
            Speaks::Plain => false,
            Speaks::Tls => true,
            Speaks::Either => {
                let detected_by = deadline.min(Instant::now() + self.detection);
                match timeout_at(detected_by, is_tls(&stream)).await {
                    Ok(Ok(is_tls)) => is_tls,
                    _ => return,
                }
            }
        };
        let line = |socket, is_secure| Line { peer, socket, seat: Some(seat), home, is_secure };
        let (conn, wire) = if is_tls {
            // Boxed: a handshake is large, and over soon.
            let shaken = Box::pin(self.handshake(stream, deadline)).await;
            let (stream, identities) = match shaken {
                Ok(shaken) => shaken,
                Err(why) => {
                    self.engine.metrics.unsuccessful_handshake.add(1);
                    return self.tell(peer, &why);
                }
            };
            let conn = self.engine.connect(line(None, true), identities, deadline_ms);
            (conn, Wire::Tls(Tls::new(stream)))
        } else {
            let (read, write) = stream.into_split();
            let conn = self.engine.connect(line(Some(write), false), Vec::new(), deadline_ms);
            (conn, Wire::Plain(read))
        };
        tracing::debug!(%peer, is_tls, "connection accepted");
        tokio::spawn(Serving::new(self, conn, wire));
    }

    /// Says why a client was not let in.
    pub(super) fn tell(&self, peer: SocketAddr, why: &dyn Display) {
        if self.seldom.allows(self.engine.now_ms()) {
            tracing::warn!("the connection from {peer} was closed: {why}");
        }
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        deadline: Instant,
    ) -> Result<(TlsStream<TcpStream>, Vec<Identity>), Refusal> {
        let under_way = self.handshakes.fetch_add(1, Ordering::Relaxed);
        let _done = Leave(&self.handshakes);
        if self.max_handshakes != 0 && under_way >= self.max_handshakes {
            self.engine.metrics.tls_handshake_exceeded.add(1);
            return Err(Refusal::TooMany(self.max_handshakes));
        }
        let tls = self.tls.as_ref().ok_or(Refusal::NoTls)?;
        let accept = TlsAcceptor::from(tls.current()).accept(stream);
        let stream =
            timeout_at(deadline, accept).await.map_err(|_| Refusal::Slow)?.map_err(Refusal::of)?;
        let identities = self.identities(&stream).map_err(Refusal::Certificate)?;
        Ok((stream, identities))
    }

    fn identities(&self, stream: &TlsStream<TcpStream>) -> Result<Vec<Identity>, Fault> {
        let Some(certificate) = stream.get_ref().1.peer_certificates().and_then(<[_]>::first)
        else {
            return Ok(Vec::new());
        };
        let dn = subject_dn(certificate.as_ref())?;
        let is_super = self.super_dn.as_ref() == Some(&dn);
        let mut identities = vec![Identity::new("x509", dn.clone())];
        if is_super {
            identities.push(Identity::new("super", dn));
        }
        Ok(identities)
    }
}

/// One handshake less, however it ended.
struct Leave<'a>(&'a AtomicUsize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why there was no TLS with a client.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(
        "too many TLS handshakes are under way - max is {0} (netty.server.outstandingHandshake.limit)"
    )]
    TooMany(usize),
    #[error("no key store is configured")]
    NoTls,
    #[error("the TLS handshake took too long")]
    Slow,
    #[error("the TLS handshake failed: {0}")]
    Failed(io::Error),
    #[error("the TLS handshake failed: {0}")]
    Unusable(String),
    #[error("its certificate has no readable subject: {0}")]
    Certificate(Fault),
}

impl Refusal {
    /// A handshake that failed, in our own words if there are any.
    fn of(error: io::Error) -> Refusal {
        match refused_certificate(&error, "ssl.trustStore.location") {
            Some(why) => Refusal::Unusable(why),
            None => Refusal::Failed(error),
        }
    }
}

/// Looks at the first byte, which stays unread.
async fn is_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(detect(first[0]) == Detected::Tls),
    }
}
