//! The two kinds of byte streams under a connection, with one face.

use super::conn::{Conn, Flush};
use crate::engine::Hangup;
use std::io::{self, Write};
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
///
/// Each frame ends a TLS record: kazoo waits for its socket, and would see a second frame of a
/// record only when more bytes come, which is at its next ping.
pub(crate) struct Tls {
    stream: TlsStream<TcpStream>,
    output: Vec<u8>,
    sent: usize,
    /// Where in `output` the frame under way ends.
    frame_end: usize,
    needs_flush: bool,
}

impl Tls {
    pub(crate) fn new(stream: TlsStream<TcpStream>) -> Box<Tls> {
        Box::new(Tls { stream, output: Vec::new(), sent: 0, frame_end: 0, needs_flush: false })
    }

    fn poll_output(&mut self, conn: &Conn, cx: &mut Context<'_>) -> Poll<Result<(), Hangup>> {
        loop {
            // As much as TLS takes is encrypted before it is written: that saves system calls.
            let is_full = self.encrypt().map_err(|_| Hangup)?;
            if !is_full {
                let mut state = conn.state.lock();
                (self.output, self.sent, self.frame_end) = (state.take_output(), 0, 0);
                conn.count_backlog(&mut state);
                drop(state);
                if !self.output.is_empty() {
                    continue;
                }
            }
            if self.needs_flush {
                if ready!(Pin::new(&mut self.stream).poll_flush(cx)).is_err() {
                    return Poll::Ready(Err(Hangup));
                }
                self.needs_flush = false;
            }
            if !is_full {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Encrypts output, a frame at a time; true when there is more than TLS takes for now.
    fn encrypt(&mut self) -> io::Result<bool> {
        while self.sent < self.output.len() {
            if self.sent == self.frame_end {
                self.frame_end += frame_len(&self.output[self.sent..]);
            }
            let frame = &self.output[self.sent..self.frame_end];
            let taken = self.stream.get_mut().1.writer().write(frame)?;
            if taken == 0 {
                return Ok(true);
            }
            self.sent += taken;
            self.needs_flush = true;
        }
        Ok(false)
    }
}

/// The length of the first frame of `output`; all of it when it is text.
fn frame_len(output: &[u8]) -> usize {
    let length = output.first_chunk().map(|length| i32::from_be_bytes(*length));
    let length = length.and_then(|length| usize::try_from(length).ok()?.checked_add(4));
    length.filter(|length| *length <= output.len()).unwrap_or(output.len())
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
            if let Some(socket) = &conn.line.socket {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_from_text() {
        assert_eq!(frame_len(&[0, 0, 0, 2, 7, 7, 0, 0]), 6);
        assert_eq!(frame_len(&[0, 0, 0, 0, 0]), 4);
        for text in [&b"imok"[..], b"This ZooKeeper", b"\xff\xff\xff\xff", b"abc"] {
            assert_eq!(frame_len(text), text.len());
        }
    }
}
