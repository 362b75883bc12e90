//! Serving one connection: one future that reads, hands over, writes, until the end.

use super::conn::{Conn, Phase};
use super::wire::Wire;
use crate::engine::{Engine, Handled, Hangup, Next};
use crate::tls::name_stranger;
use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::ReadBuf;

/// How much is read at once; a longer frame makes the buffer grow for as long as it takes.
const SCRATCH_BYTES: usize = 128 << 10;

/// How long a closing connection waits for its client to close too.
const LINGER: Duration = Duration::from_secs(2);

thread_local! {
    /// Where a worker reads into: connections need no buffers of their own.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// The first bytes of a connection were nothing that is spoken here; a guess what they were.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stranger(pub(super) &'static str);

/// Serves a connection to its end.
pub(super) async fn serve(
    engine: Arc<Engine>,
    conn: Arc<Conn>,
    mut wire: Wire,
) -> Result<(), Stranger> {
    let mut input = Input::default();
    poll_fn(|cx| input.poll_serve(&engine, &conn, &mut wire, cx)).await;
    let is_graceful = conn.state.lock().phase == Phase::Closing;
    engine.disconnect(&conn);
    if is_graceful {
        // Boxed: the future of every idle connection would be as large as this rare one.
        let _ = Box::pin(tokio::time::timeout(LINGER, wire.close(&conn))).await;
    }
    input.stranger.map_or(Ok(()), Err)
}

/// What has been read and not handled: the beginning of a frame, or frames that must wait.
#[derive(Default)]
struct Input {
    rest: Vec<u8>,
    /// `rest` begins with a whole frame.
    has_backlog: bool,
    /// Bytes of output that had not gone out when reading stopped for them.
    unsent: usize,
    stranger: Option<Stranger>,
}

impl Input {
    /// Does what can be done; ready when the connection has come to its end.
    fn poll_serve(
        &mut self,
        engine: &Arc<Engine>,
        conn: &Arc<Conn>,
        wire: &mut Wire,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            conn.state.lock().register(cx);
            if conn.state.lock().phase == Phase::Dead {
                return Poll::Ready(());
            }
            // Output that must wait for the client does not stop reading at once: behind a long
            // answer on a slow line come the pings that keep its session.
            let is_written = match wire.poll_output(conn, cx) {
                Poll::Ready(Err(Hangup)) => return Poll::Ready(()),
                poll => poll.is_ready(),
            };
            let may_read = {
                let mut state = conn.state.lock();
                match state.phase {
                    Phase::Dead => return Poll::Ready(()),
                    Phase::Closing if is_written && state.is_drained() => return Poll::Ready(()),
                    _ => {}
                }
                let may_read = state.may_read();
                state.is_paused = !may_read;
                let unsent = state.unsent() + wire.unsent();
                // Who takes its answers is alive, though its pings are not read meanwhile.
                if !may_read && unsent < self.unsent {
                    engine.note_heard(conn);
                }
                self.unsent = unsent;
                may_read
            };
            if !may_read {
                return Poll::Pending;
            }
            match ready!(self.poll_input(engine, conn, wire, cx)) {
                Ok(Next::Frame | Next::Turn) => {}
                // The log wakes the task.
                Ok(Next::Log) => return Poll::Pending,
                Err(Hangup) => return Poll::Ready(()),
            }
        }
    }

    /// Handles the backlog, or reads once and handles that.
    fn poll_input(
        &mut self,
        engine: &Arc<Engine>,
        conn: &Arc<Conn>,
        wire: &mut Wire,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Next, Hangup>> {
        if self.has_backlog {
            let rest = std::mem::take(&mut self.rest);
            return Poll::Ready(self.hand_over(engine, conn, &rest));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let have = self.rest.len();
            scratch.resize(SCRATCH_BYTES.max(have + SCRATCH_BYTES / 2), 0);
            scratch[..have].copy_from_slice(&self.rest);
            let mut buf = ReadBuf::new(&mut scratch[have..]);
            if ready!(wire.poll_read(cx, &mut buf)).is_err() {
                return Poll::Ready(Err(Hangup));
            }
            let got = buf.filled().len();
            if got == 0 {
                return Poll::Ready(Err(Hangup));
            }
            Poll::Ready(self.hand_over(engine, conn, &scratch[..have + got]))
        })
    }

    fn hand_over(
        &mut self,
        engine: &Arc<Engine>,
        conn: &Arc<Conn>,
        all: &[u8],
    ) -> Result<Next, Hangup> {
        let is_fresh = conn.state.lock().phase == Phase::Fresh;
        let Handled { bytes, next } = engine.input(conn, all).inspect_err(|_| {
            self.stranger = is_fresh.then(|| Stranger(name_stranger(all)));
        })?;
        self.rest = all[bytes..].to_vec();
        self.has_backlog = next != Next::Frame;
        Ok(next)
    }
}
