//! Serving one plain TCP connection: one future that reads, hands over, writes, until the end.

use super::conn::{Conn, Flush, Phase};
use crate::engine::{Engine, Hangup};
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;

/// How much is read at once; a longer frame makes the buffer grow for as long as it takes.
const SCRATCH_BYTES: usize = 128 << 10;

/// How long a closing connection waits for its client to close too, so that the last answer is
/// not destroyed by a reset (client-protocol 2.2).
const LINGER: Duration = Duration::from_secs(2);

thread_local! {
    /// Where a worker reads into: connections need no buffers of their own.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// Serves a connection to its end.
pub(crate) async fn serve(engine: Arc<Engine>, conn: Arc<Conn>, mut read: OwnedReadHalf) {
    let mut input = Input::default();
    poll_fn(|cx| input.poll_serve(&engine, &conn, &mut read, cx)).await;
    let is_graceful = conn.state.lock().phase == Phase::Closing;
    engine.disconnect(&conn);
    if is_graceful && conn.shutdown_write() {
        let drain = async {
            let mut sink = [0; 512];
            while matches!(read.read(&mut sink).await, Ok(n) if n > 0) {}
        };
        let _ = tokio::time::timeout(LINGER, drain).await;
    }
}

/// What has been read and not handled: the beginning of a frame, or frames that must wait.
#[derive(Default)]
struct Input {
    rest: Vec<u8>,
    /// `rest` may hold whole frames.
    has_backlog: bool,
}

impl Input {
    /// Does what can be done; ready when the connection has come to its end.
    fn poll_serve(
        &mut self,
        engine: &Arc<Engine>,
        conn: &Arc<Conn>,
        read: &mut OwnedReadHalf,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            let (may_read, has_output) = {
                let mut state = conn.state.lock();
                state.register(cx);
                match state.phase {
                    Phase::Dead => return Poll::Ready(()),
                    Phase::Closing if state.is_drained() => return Poll::Ready(()),
                    _ => {}
                }
                state.is_paused = !state.may_read();
                (!state.is_paused, state.has_output())
            };
            if has_output {
                if let Some(socket) = &conn.socket
                    && socket.as_ref().poll_write_ready(cx).is_pending()
                {
                    // A client that does not read is not read either.
                    return Poll::Pending;
                }
                match conn.flush() {
                    Flush::Broken => return Poll::Ready(()),
                    Flush::Blocked | Flush::Done => continue,
                }
            }
            if !may_read {
                return Poll::Pending;
            }
            if ready!(self.poll_input(engine, conn, read, cx)).is_err() {
                return Poll::Ready(());
            }
        }
    }

    /// Handles the backlog, or reads once and handles that.
    fn poll_input(
        &mut self,
        engine: &Arc<Engine>,
        conn: &Arc<Conn>,
        read: &mut OwnedReadHalf,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Hangup>> {
        if std::mem::take(&mut self.has_backlog) {
            let rest = std::mem::take(&mut self.rest);
            let used = match engine.input(conn, &rest) {
                Ok(used) => used,
                Err(hangup) => return Poll::Ready(Err(hangup)),
            };
            self.keep(&rest[used..], used > 0);
            return Poll::Ready(Ok(()));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let have = self.rest.len();
            scratch.resize(SCRATCH_BYTES.max(have + SCRATCH_BYTES / 2), 0);
            scratch[..have].copy_from_slice(&self.rest);
            let mut buf = ReadBuf::new(&mut scratch[have..]);
            if ready!(Pin::new(read).poll_read(cx, &mut buf)).is_err() {
                return Poll::Ready(Err(Hangup));
            }
            let got = buf.filled().len();
            if got == 0 {
                return Poll::Ready(Err(Hangup));
            }
            let all = &scratch[..have + got];
            match engine.input(conn, all) {
                Ok(used) => {
                    self.keep(&all[used..], used > 0);
                    Poll::Ready(Ok(()))
                }
                Err(hangup) => Poll::Ready(Err(hangup)),
            }
        })
    }

    fn keep(&mut self, rest: &[u8], progressed: bool) {
        self.has_backlog = !rest.is_empty() && progressed;
        self.rest = rest.to_vec();
    }
}
