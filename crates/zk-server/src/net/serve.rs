//! Serving one connection: one small future that reads, hands over, writes, until the end.

use super::conn::{Conn, Phase};
use super::turns::{LONG, Ticket, let_others_go_first};
use super::welcome::Gatekeeper;
use super::wire::Wire;
use crate::engine::{Engine, Handled, Hangup, Next};
use crate::tls::name_stranger;
use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::ReadBuf;

/// How much is read at once; a longer frame makes the buffer grow for as long as it takes.
const SCRATCH_BYTES: usize = 128 << 10;

/// There is always room for so much more of a frame.
const LEAST_BYTES: usize = 4 << 10;

/// How long a closing connection waits for its client to close too.
const LINGER: Duration = Duration::from_secs(2);

thread_local! {
    /// Where a worker reads into: connections need no buffers of their own.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_BYTES]);
}

/// The first bytes of a connection were nothing that is spoken here; a guess what they were.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stranger(&'static str);

/// The whole life of a connection. It is a task of its own, and small: what lets a connection in is
/// many times larger, and an idle connection would keep its room.
pub(super) struct Serving {
    gatekeeper: Arc<Gatekeeper>,
    conn: Arc<Conn>,
    /// Until it is being closed.
    wire: Option<Wire>,
    input: Input,
    closing: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Serving {
    pub(super) fn new(gatekeeper: Arc<Gatekeeper>, conn: Arc<Conn>, wire: Wire) -> Serving {
        let (wire, input) = (Some(wire), Input::default());
        Serving { gatekeeper, conn, wire, input, closing: None }
    }
}

impl Future for Serving {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Serving { gatekeeper, conn, wire, input, closing, .. } = &mut *self;
        if let Some(open) = wire {
            ready!(input.poll_serve(&gatekeeper.engine, conn, open, cx));
            // Before the line about it is written: no lock is held over that.
            let (is_graceful, session) = {
                let state = conn.state.lock();
                (state.phase == Phase::Closing, state.session)
            };
            gatekeeper.engine.disconnect(conn);
            tracing::debug!(
                peer = %conn.line.peer,
                %session,
                by_client = input.is_dropped,
                "connection closed"
            );
            if input.is_dropped {
                gatekeeper.engine.metrics.connection_drop_count.add(1);
            }
            if let Some(Stranger(name)) = input.stranger {
                gatekeeper.tell(conn.line.peer, &format_args!("it speaks {name}"));
            }
            let open = wire.take().filter(|_| is_graceful);
            *closing = open.map(|wire| {
                let conn = conn.clone();
                let close = async move { wire.close(&conn).await };
                let close: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
                    // Who does not close meanwhile has had its time.
                    let _ = tokio::time::timeout(LINGER, close).await;
                });
                close
            });
        }
        match closing {
            Some(closing) => closing.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }
}

/// What has been read and not handled: the beginning of a frame, or frames that must wait.
#[derive(Default)]
struct Input {
    rest: Vec<u8>,
    /// Bytes of `rest` that have been read; it may be longer while a long frame is on its way.
    have: usize,
    /// `rest` begins with a whole frame.
    has_backlog: bool,
    /// Bytes of output that had not gone out when reading stopped for them.
    unsent: usize,
    /// Its place among those whose turns are long.
    ticket: Option<Arc<Ticket>>,
    /// How long it has been served without a look at others.
    used: Duration,
    stranger: Option<Stranger>,
    /// The stream has ended or is broken: the client's doing, not ours.
    is_dropped: bool,
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
        self.used = Duration::ZERO;
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
            engine.post_again(conn);
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
                Ok(Next::Frame | Next::Turn) if self.used < LONG => {}
                Ok(Next::Frame | Next::Turn | Next::Others) => {
                    let_others_go_first(cx);
                    return match wire.poll_output(conn, cx) {
                        Poll::Ready(Err(Hangup)) => Poll::Ready(()),
                        _ => Poll::Pending,
                    };
                }
                // The log wakes the task. Reads in front of what waits may have been answered.
                Ok(Next::Log) => match wire.poll_output(conn, cx) {
                    Poll::Ready(Err(Hangup)) => return Poll::Ready(()),
                    _ => return Poll::Pending,
                },
                Err(Hangup) => return Poll::Ready(()),
            }
        }
    }

    /// Handles the backlog, or reads once and handles what is whole.
    fn poll_input(
        &mut self,
        engine: &Arc<Engine>,
        conn: &Arc<Conn>,
        wire: &mut Wire,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Next, Hangup>> {
        if self.has_backlog {
            ready!(self.poll_turn(engine, conn, cx));
            let rest = std::mem::take(&mut self.rest);
            return Poll::Ready(self.hand_over(engine, conn, &rest));
        }
        if self.have > 0 {
            return self.poll_more(engine, conn, wire, cx);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(SCRATCH_BYTES, 0);
            match ready!(poll_read(wire, scratch, cx)) {
                Ok(got) if is_slow(engine, conn) => {
                    self.rest = scratch[..got].to_vec();
                    self.has_backlog = true;
                    Poll::Ready(Ok(Next::Turn))
                }
                Ok(got) => Poll::Ready(self.hand_over(engine, conn, &scratch[..got])),
                Err(hangup) => {
                    self.is_dropped = true;
                    Poll::Ready(Err(hangup))
                }
            }
        })
    }

    /// Reads on where a frame began; nothing is moved, however small the parts are in which it
    /// comes.
    fn poll_more(
        &mut self,
        engine: &Arc<Engine>,
        conn: &Arc<Conn>,
        wire: &mut Wire,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Next, Hangup>> {
        if self.rest.len() < self.have + LEAST_BYTES {
            // Grows with what came, never by what a length promises.
            self.rest.resize(2 * self.have + SCRATCH_BYTES / 2, 0);
        }
        match ready!(poll_read(wire, &mut self.rest[self.have..], cx)) {
            Ok(got) => self.have += got,
            Err(hangup) => {
                self.is_dropped = true;
                return Poll::Ready(Err(hangup));
            }
        }
        if !is_whole(&self.rest[..self.have], engine.options.max_frame_bytes) {
            return Poll::Ready(Ok(Next::Frame));
        }
        self.rest.truncate(std::mem::take(&mut self.have));
        if is_slow(engine, conn) {
            self.has_backlog = true;
            return Poll::Ready(Ok(Next::Turn));
        }
        let rest = std::mem::take(&mut self.rest);
        Poll::Ready(self.hand_over(engine, conn, &rest))
    }

    /// Ready when the connection may be served: at once, unless turns of its address are long.
    fn poll_turn(&mut self, engine: &Engine, conn: &Conn, cx: &Context<'_>) -> Poll<()> {
        if self.ticket.is_none() && !is_slow(engine, conn) {
            return Poll::Ready(());
        }
        conn.line.home.turns.poll(&mut self.ticket, conn.line.peer.ip(), cx)
    }

    fn hand_over(
        &mut self,
        engine: &Arc<Engine>,
        conn: &Arc<Conn>,
        all: &[u8],
    ) -> Result<Next, Hangup> {
        let is_fresh = conn.state.lock().phase == Phase::Fresh;
        let turns = &conn.line.home.turns;
        let begun = turns.begin();
        let handled = engine.input(conn, all);
        self.used += turns.end(&begun, conn.line.peer.ip(), || engine.now_ms());
        let Handled { bytes, next } = handled.inspect_err(|_| {
            self.stranger = is_fresh.then(|| Stranger(name_stranger(all)));
        })?;
        self.rest = all[bytes..].to_vec();
        self.has_backlog = next != Next::Frame;
        self.have = if self.has_backlog { 0 } else { self.rest.len() };
        Ok(next)
    }
}

/// Whether the turns of its address are long ones.
fn is_slow(engine: &Engine, conn: &Conn) -> bool {
    conn.line.home.turns.is_slow(conn.line.peer.ip(), || engine.now_ms())
}

/// Whether the first frame is there, or too long ever to be.
fn is_whole(bytes: &[u8], max_bytes: usize) -> bool {
    let Some(length) = bytes.first_chunk::<4>() else { return false };
    match usize::try_from(i32::from_be_bytes(*length)) {
        Ok(length) if length <= max_bytes => bytes.len() >= 4 + length,
        // The engine decides.
        _ => true,
    }
}

/// Reads once; the end of the stream is a hangup.
fn poll_read(wire: &mut Wire, to: &mut [u8], cx: &mut Context<'_>) -> Poll<Result<usize, Hangup>> {
    let mut buf = ReadBuf::new(to);
    match ready!(wire.poll_read(cx, &mut buf)) {
        Ok(()) if !buf.filled().is_empty() => Poll::Ready(Ok(buf.filled().len())),
        _ => Poll::Ready(Err(Hangup)),
    }
}
