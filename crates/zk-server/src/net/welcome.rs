//! From an accepted socket to a served connection: limits, TLS or plain text, certificates.

use super::serve::serve;
use super::wire::{Tls, Wire};
use crate::engine::Engine;
use crate::tls::{Detected, TlsContext, detect, subject_dn};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
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
    /// How long the first bytes, and the TLS handshake, may take.
    pub(crate) patience: Duration,
    /// `clientTcpKeepAlive`.
    pub(crate) keep_alive: bool,
    /// TLS handshakes under way.
    pub(crate) handshakes: AtomicUsize,
    /// `netty.server.outstandingHandshake.limit`; 0 for no limit.
    pub(crate) max_handshakes: usize,
}

/// Between two looks at the first bytes of a connection that could be either.
const PEEK_AGAIN: Duration = Duration::from_millis(5);

impl Gatekeeper {
    /// Serves a new connection to its end.
    pub(crate) async fn welcome(
        self: Arc<Self>,
        stream: std::net::TcpStream,
        peer: SocketAddr,
        speaks: Speaks,
    ) {
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        // Answers are written in one piece and must not wait for more.
        let _ = stream.set_nodelay(true);
        if self.keep_alive {
            let _ = socket2::SockRef::from(&stream).set_keepalive(true);
        }
        let is_tls = match speaks {
            Speaks::Plain => false,
            Speaks::Tls => true,
            Speaks::Either => match tokio::time::timeout(self.patience, is_tls(&stream)).await {
                Ok(Ok(is_tls)) => is_tls,
                _ => return,
            },
        };
        if is_tls {
            // Boxed: a handshake is large, and over soon.
            if let Some((stream, identities)) = Box::pin(self.handshake(stream, peer)).await
                && let Some(conn) = self.engine.connect(peer, None, identities, true)
            {
                serve(self.engine.clone(), conn, Wire::Tls(Tls::new(stream))).await;
            }
            return;
        }
        let (read, write) = stream.into_split();
        match self.engine.connect(peer, Some(write), Vec::new(), false) {
            Some(conn) => serve(self.engine.clone(), conn, Wire::Plain(read)).await,
            None => tracing::warn!(
                "Too many connections from {}, see maxClientCnxns and maxCnxns",
                peer.ip()
            ),
        }
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Option<(TlsStream<TcpStream>, Vec<Identity>)> {
        let metrics = &self.engine.metrics;
        let under_way = self.handshakes.fetch_add(1, Ordering::Relaxed);
        let _done = Leave(&self.handshakes);
        if self.max_handshakes != 0 && under_way >= self.max_handshakes {
            metrics.tls_handshake_exceeded.add(1);
            return None;
        }
        let acceptor = TlsAcceptor::from(self.tls.as_ref()?.current());
        match tokio::time::timeout(self.patience, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => match self.identities(&stream) {
                Ok(identities) => return Some((stream, identities)),
                Err(fault) => {
                    tracing::warn!(%peer, "the client's certificate has no readable subject: {fault}")
                }
            },
            Ok(Err(error)) => tracing::warn!(%peer, "the TLS handshake failed: {error}"),
            Err(_) => tracing::warn!(%peer, "the TLS handshake took too long"),
        }
        metrics.unsuccessful_handshake.add(1);
        None
    }

    fn identities(
        &self,
        stream: &TlsStream<TcpStream>,
    ) -> Result<Vec<Identity>, crate::tls::Fault> {
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

async fn is_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; 5];
    loop {
        let n = stream.peek(&mut first).await?;
        match detect(&first[..n]) {
            Detected::Tls => return Ok(true),
            Detected::Plain => return Ok(false),
            Detected::NeedMore if n == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            Detected::NeedMore => tokio::time::sleep(PEEK_AGAIN).await,
        }
    }
}
