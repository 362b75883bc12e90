//! Serving one connection: one future that reads, hands over, writes, until the end.

use super::conn::{Conn, Phase};
use super::wire::Wire;
use crate::engine::{Engine, Hangup};
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

/// Serves a connection to its end.
pub(crate) async fn serve(engine: Arc<Engine>, conn: Arc<Conn>, mut wire: Wire) {
    let mut input = Input::default();
    poll_fn(|cx| input.poll_serve(&engine, &conn, &mut wire, cx)).await;
    let is_graceful = conn.state.lock().phase == Phase::Closing;
    engine.disconnect(&conn);
    if is_graceful {
        // Boxed: the future of every idle connection would be as large as this rare one.
        let _ = Box::pin(tokio::time::timeout(LINGER, wire.close(&conn))).await;
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
        wire: &mut Wire,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            conn.state.lock().register(cx);
            if conn.state.lock().phase == Phase::Dead {
                return Poll::Ready(());
            }
            if ready!(wire.poll_output(conn, cx)).is_err() {
                return Poll::Ready(());
            }
            let may_read = {
                let mut state = conn.state.lock();
                match state.phase {
                    Phase::Dead => return Poll::Ready(()),
                    Phase::Closing if state.is_drained() => return Poll::Ready(()),
                    _ => {}
                }
                let may_read = state.may_read();
                state.is_paused = !may_read;
                may_read
            };
            if !may_read {
                return Poll::Pending;
            }
            if ready!(self.poll_input(engine, conn, wire, cx)).is_err() {
                return Poll::Ready(());
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
    ) -> Poll<Result<(), Hangup>> {
        if std::mem::take(&mut self.has_backlog) {
            let rest = std::mem::take(&mut self.rest);
            return self.hand_over(engine, conn, &rest);
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
            self.hand_over(engine, conn, &scratch[..have + got])
        })
    }

    /// Gives what was read to the engine and keeps what it leaves. Pending when the engine takes no
    /// requests for now: it wakes the connection when it does.
    fn hand_over(&mut self, engine: &Arc<Engine>, conn: &Arc<Conn>, all: &[u8]) -> Poll<Result<(), Hangup>> {
        let used = match engine.input(conn, all) {
            Ok(used) => used,
            Err(hangup) => return Poll::Ready(Err(hangup)),
        };
        self.rest = all[used..].to_vec();
        self.has_backlog = engine.has_frame(&self.rest);
        if self.has_backlog && used == 0 { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}
