//! The two kinds of byte streams under a connection, with one face.

use super::conn::{Conn, Flush};
use crate::engine::Hangup;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio_rustls::server::TlsStream;

/// Where a connection's task reads, and, for TLS, writes.
pub(crate) enum Wire {
    /// Plain TCP: any thread writes to the other half.
    Plain(OwnedReadHalf),
    /// TLS: its state belongs to the task alone.
    Tls(Box<Tls>),
}

/// A TLS stream with what it is about to send.
pub(crate) struct Tls {
    stream: TlsStream<TcpStream>,
    output: Vec<u8>,
    sent: usize,
    needs_flush: bool,
}

impl Tls {
    pub(crate) fn new(stream: TlsStream<TcpStream>) -> Box<Tls> {
        Box::new(Tls { stream, output: Vec::new(), sent: 0, needs_flush: false })
    }

    fn poll_output(&mut self, conn: &Conn, cx: &mut Context<'_>) -> Poll<Result<(), Hangup>> {
        loop {
            if self.sent == self.output.len() {
                (self.output, self.sent) = (conn.state.lock().take_output(), 0);
                if self.output.is_empty() {
                    if self.needs_flush
                        && ready!(Pin::new(&mut self.stream).poll_flush(cx)).is_err()
                    {
                        return Poll::Ready(Err(Hangup));
                    }
                    self.needs_flush = false;
                    return Poll::Ready(Ok(()));
                }
            }
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output[self.sent..])) {
                Ok(n) if n > 0 => self.sent += n,
                _ => return Poll::Ready(Err(Hangup)),
            }
            self.needs_flush = true;
        }
    }
}

impl Wire {
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self {
            Wire::Plain(read) => Pin::new(read).poll_read(cx, buf),
            Wire::Tls(tls) => Pin::new(&mut tls.stream).poll_read(cx, buf),
        }
    }

    /// Bytes that were taken from the connection's output and have not gone out.
    pub(crate) fn unsent(&self) -> usize {
        match self {
            Wire::Plain(_) => 0,
            Wire::Tls(tls) => tls.output.len() - tls.sent,
        }
    }

    /// Sends what is in the connection's output; ready when nothing is left.
    pub(crate) fn poll_output(
        &mut self,
        conn: &Conn,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Hangup>> {
        if let Wire::Tls(tls) = self {
            return tls.poll_output(conn, cx);
        }
        loop {
            if !conn.state.lock().has_output() {
                return Poll::Ready(Ok(()));
            }
            if let Some(socket) = &conn.socket {
                // A client that does not read is not read either.
                let _ = ready!(socket.as_ref().poll_write_ready(cx));
            }
            if conn.flush() == Flush::Broken {
                return Poll::Ready(Err(Hangup));
            }
        }
    }

    /// Says that nothing more comes, and waits until the client has seen it: a reset would destroy
    /// the last answer on its way (client-protocol 2.2).
    pub(crate) async fn close(mut self, conn: &Conn) {
        match &mut self {
            Wire::Plain(_) => {
                conn.shutdown_write();
            }
            Wire::Tls(tls) => {
                let _ =
                    std::future::poll_fn(|cx| Pin::new(&mut tls.stream).poll_shutdown(cx)).await;
            }
        }
        let mut sink = [0; 512];
        loop {
            let mut buf = ReadBuf::new(&mut sink);
            let read = std::future::poll_fn(|cx| self.poll_read(cx, &mut buf)).await;
            if read.is_err() || buf.filled().is_empty() {
                return;
            }
        }
    }
}
