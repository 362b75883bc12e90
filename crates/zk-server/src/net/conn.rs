//! One client connection as all threads see it: its output, and what decides where a request goes.
//!
//! An idle connection holds no buffers: input is read into the worker's scratch space, output is
//! allocated when there is some.

use super::home::Home;
use super::seats::Seat;
use super::traffic::Share;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Waker};
use tokio::net::tcp::OwnedWriteHalf;
use zk_core::Times;
use zk_proto::{OpCode, SessionId};
use zk_sasl::Challenger;
use zk_tree::ConnId;
use zk_tree::auth::Identity;

/// More unsent output than this, and no more requests are read from the connection.
pub(crate) const OUTPUT_HIGH_WATER: usize = 1 << 20;

/// A connection.
pub(crate) struct Conn {
    pub(crate) id: ConnId,
    pub(crate) line: Line,
    pub(crate) state: Mutex<ConnState>,
    /// When it last sent something, ms of the engine's monotonic clock.
    pub(crate) heard_ms: AtomicI64,
    /// It is closed at this time, unless it does what it must before; [`NO_DEADLINE`] for never.
    pub(crate) deadline_ms: AtomicI64,
    /// When it connected, ms since the Unix epoch.
    pub(crate) established_ms: i64,
}

/// What a connection comes with: its socket and what belongs to that.
pub(crate) struct Line {
    pub(crate) peer: SocketAddr,
    /// The socket, when other threads may write to it; a TLS stream is written by its task alone.
    pub(crate) socket: Option<OwnedWriteHalf>,
    /// Free again when the socket is closed.
    pub(crate) seat: Option<Seat>,
    /// The thread that serves it.
    pub(crate) home: Arc<Home>,
    /// Whether it came through TLS.
    pub(crate) is_secure: bool,
}

/// No deadline.
pub(crate) const NO_DEADLINE: i64 = i64::MAX;

/// What the connection commands report (Apache `ServerCnxn`).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConnStats {
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) last_operation: Option<OpCode>,
    pub(crate) last_xid: i32,
    pub(crate) last_zxid: i64,
    pub(crate) last_response_ms: i64,
    pub(crate) latency: Latency,
}

/// Latencies in ms.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Latency {
    pub(crate) last: u32,
    pub(crate) min: u32,
    pub(crate) max: u32,
    sum: u64,
    count: u64,
}

impl Latency {
    /// `count` requests took `ms` each.
    pub(crate) fn record(&mut self, ms: u32, count: u64) {
        self.min = if self.count == 0 { ms } else { self.min.min(ms) };
        self.max = self.max.max(ms);
        self.last = ms;
        self.sum += u64::from(ms) * count;
        self.count += count;
    }

    /// The mean.
    pub(crate) fn avg(&self) -> u64 {
        self.sum.checked_div(self.count).unwrap_or(0)
    }
}

/// The part behind the lock.
pub(crate) struct ConnState {
    /// Frames to send, in order.
    output: Vec<u8>,
    /// How much of `output` has gone out.
    sent: usize,
    /// What the stream's task took out of `output` the last time and may still have.
    taken: usize,
    /// How much of all this the sum of all connections knows.
    counted: usize,
    /// Somebody is writing what was in `output`.
    is_writing: bool,
    /// Requests given to the pipeline and not answered yet. While there are any, reads go there
    /// too, behind them.
    pub(crate) in_flight: u32,
    /// Their bytes: each may wait in memory as a whole.
    in_flight_bytes: usize,
    /// What they cost, and what the sum of the address knows of that.
    in_flight_cost: usize,
    told: usize,
    arrivals: VecDeque<Arrival>,
    pub(crate) stats: ConnStats,
    pub(crate) phase: Phase,
    pub(crate) session: SessionId,
    pub(crate) timeout_ms: i32,
    pub(crate) identities: Arc<[Identity]>,
    pub(crate) admitted: bool,
    /// A SASL exchange under way.
    pub(crate) sasl: Option<Box<Challenger>>,
    /// The task stopped reading until there is room again.
    pub(crate) is_paused: bool,
    /// It is on the list of connections to flush.
    pub(crate) is_dirty: bool,
    /// Whole frames that wait for the pipeline; they count as given to it.
    pub(crate) inbox: Inbox,
    /// The pipeline knows that there is something in the inbox, and counts it.
    pub(crate) is_posted: bool,
    /// Its socket is closed; what is in the inbox is all that will come.
    pub(crate) is_gone: bool,
    waker: Option<Waker>,
}

/// Frames in order.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) frames: Vec<u8>,
    pub(crate) count: usize,
}

/// A request on its way.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    bytes: u32,
    cost: u32,
    /// When it came.
    now_ms: i64,
}

/// Where a connection is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Nothing received yet: a connect request or a four-letter word comes next.
    Fresh,
    /// The connect request is under way; what follows waits.
    Connecting,
    /// A four-letter word is being answered; then it ends.
    Asking,
    /// Requests are served.
    Live,
    /// What is in the output still goes out, then it ends.
    Closing,
    /// It ends now.
    Dead,
}

/// How a flush went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flush {
    /// Everything is out, or somebody else is at it.
    Done,
    /// The socket takes no more for now.
    Blocked,
    /// The connection is broken.
    Broken,
}

impl Conn {
    pub(crate) fn new(
        id: ConnId,
        line: Line,
        identities: Arc<[Identity]>,
        admitted: bool,
        now: Times,
        deadline_ms: i64,
    ) -> Conn {
        let (now_ms, established_ms) = (now.monotonic_ms, now.wall_ms);
        Conn {
            id,
            line,
            state: Mutex::new(ConnState {
                output: Vec::new(),
                sent: 0,
                taken: 0,
                counted: 0,
                is_writing: false,
                in_flight: 0,
                in_flight_bytes: 0,
                in_flight_cost: 0,
                told: 0,
                arrivals: VecDeque::new(),
                stats: ConnStats::default(),
                phase: Phase::Fresh,
                session: SessionId::NONE,
                timeout_ms: 0,
                identities,
                admitted,
                sasl: None,
                is_paused: false,
                is_dirty: false,
                inbox: Inbox::default(),
                is_posted: false,
                is_gone: false,
                waker: None,
            }),
            heard_ms: AtomicI64::new(now_ms),
            deadline_ms: AtomicI64::new(deadline_ms),
            established_ms,
        }
    }

    /// Makes the connection's task look at it again.
    pub(crate) fn wake(&self) {
        let waker = self.state.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// When its client was last heard. While the server itself does not read, because too much is
    /// under way, silence says nothing; it does when all that waits for the client to read.
    pub(crate) fn heard_ms(&self, now_ms: i64) -> i64 {
        let state = self.state.lock();
        let is_our_fault = state.is_full() && state.may_answer();
        if is_our_fault || self.line.home.rounds.is_late() {
            now_ms
        } else {
            self.heard_ms.load(Ordering::Relaxed)
        }
    }

    /// Tells the sum of all connections how much waits for this one.
    pub(crate) fn count_backlog(&self, state: &mut ConnState) {
        // Who writes has it all in hand, and counts afterwards.
        if !state.is_writing {
            let now = state.backlog();
            self.line.home.backlog.tell(&mut state.counted, now);
        }
    }

    /// What more requests of its address may cost; `None` for nothing, see [`Share::room`].
    pub(crate) fn room(&self) -> Option<usize> {
        let Some(share) = self.share() else { return Some(usize::MAX) };
        share.room(&self.line.home.traffic)
    }

    /// Whether nothing of its address is under way.
    pub(crate) fn is_first(&self) -> bool {
        self.share().is_some_and(Share::is_idle)
    }

    /// Tells the sum of its address what its requests cost.
    pub(crate) fn count_traffic(&self, state: &mut ConnState) {
        if let Some(share) = self.share() {
            let now = state.cost();
            share.tell(&self.line.home.traffic, &mut state.told, now);
        }
    }

    fn share(&self) -> Option<&Share> {
        self.line.seat.as_ref().map(|seat| &*seat.share)
    }

    /// Lets what waits for it go; who is writing some of it drops that himself.
    pub(crate) fn drop_backlog(&self, state: &mut ConnState) {
        state.drop_output();
        self.line.home.backlog.tell(&mut state.counted, 0);
    }

    /// Ends the connection at once, unsent output and all.
    pub(crate) fn kill(&self) {
        self.state.lock().phase = Phase::Dead;
        self.wake();
    }

    /// Ends the socket, though it may not be closed yet.
    pub(crate) fn shut(&self) {
        if let Some(socket) = &self.line.socket {
            // Its other end may have done so before.
            let _ = socket2::SockRef::from(socket.as_ref()).shutdown(std::net::Shutdown::Both);
        }
    }

    /// Says that nothing more will be written; false if that cannot be said.
    pub(crate) fn shutdown_write(&self) -> bool {
        let Some(socket) = &self.line.socket else { return false };
        socket2::SockRef::from(socket.as_ref()).shutdown(std::net::Shutdown::Write).is_ok()
    }

    /// Writes what a turn of the pipeline left; its task looks at what has changed beyond that.
    pub(crate) fn deliver(&self) {
        let is_over = {
            let mut state = self.state.lock();
            state.is_dirty = false;
            matches!(state.phase, Phase::Closing | Phase::Dead) || state.is_paused
        };
        self.flush();
        if is_over {
            self.wake();
        }
    }

    /// Writes what there is, from whatever thread. No lock is held over the system call.
    pub(crate) fn flush(&self) -> Flush {
        let Some(socket) = &self.line.socket else {
            self.wake();
            return Flush::Done;
        };
        loop {
            let (bytes, mut from) = {
                let mut state = self.state.lock();
                if state.is_writing || state.output.is_empty() {
                    return Flush::Done;
                }
                state.is_writing = true;
                (std::mem::take(&mut state.output), std::mem::take(&mut state.sent))
            };
            let outcome = write_all(socket, &bytes, &mut from);
            let mut state = self.state.lock();
            state.is_writing = false;
            match outcome {
                Flush::Done if state.output.is_empty() => {
                    self.count_backlog(&mut state);
                    let resume =
                        std::mem::take(&mut state.is_paused) || state.phase == Phase::Closing;
                    drop(state);
                    if resume {
                        self.wake();
                    }
                    return Flush::Done;
                }
                Flush::Done => {}
                // It was let go meanwhile.
                Flush::Blocked if state.phase == Phase::Dead => {
                    state.drop_output();
                    self.count_backlog(&mut state);
                    return Flush::Blocked;
                }
                Flush::Blocked => {
                    // What came meanwhile goes behind what is left. What has gone out is cut off
                    // when it is the greater part: a client that is always a little late would
                    // have all of it kept.
                    let mut bytes = bytes;
                    if from > bytes.len() / 2 {
                        bytes.drain(..std::mem::take(&mut from));
                    }
                    let newer = std::mem::replace(&mut state.output, bytes);
                    state.output.extend_from_slice(&newer);
                    state.sent = from;
                    self.count_backlog(&mut state);
                    drop(state);
                    self.wake();
                    return Flush::Blocked;
                }
                Flush::Broken => {
                    state.phase = Phase::Dead;
                    drop(state);
                    self.wake();
                    return Flush::Broken;
                }
            }
        }
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        let Line { home, seat, .. } = &self.line;
        let state = self.state.get_mut();
        home.backlog.tell(&mut state.counted, 0);
        if let Some(seat) = seat {
            seat.share.tell(&home.traffic, &mut state.told, 0);
        }
    }
}

fn write_all(socket: &OwnedWriteHalf, bytes: &[u8], from: &mut usize) -> Flush {
    while *from < bytes.len() {
        match socket.try_write(&bytes[*from..]) {
            Ok(0) => return Flush::Broken,
            Ok(n) => *from += n,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Flush::Blocked,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Flush::Broken,
        }
    }
    Flush::Done
}

impl ConnState {
    /// Where frames for the client are appended.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// A request of so many bytes, that costs so much, was given to the pipeline.
    pub(crate) fn arrived(&mut self, bytes: usize, cost: u32, now_ms: i64) {
        self.in_flight += 1;
        self.in_flight_bytes += bytes;
        self.in_flight_cost += cost as usize;
        self.arrivals.push_back(Arrival { bytes: bytes as u32, cost, now_ms });
    }

    /// The pipeline answered one: how long it took, in ms, and its bytes.
    pub(crate) fn answered(&mut self, now_ms: i64) -> (u32, usize) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(Arrival { bytes, cost, now_ms: since_ms }) = self.arrivals.pop_front() else {
            return (0, 0);
        };
        self.in_flight_cost -= cost as usize;
        let took_ms = (now_ms - since_ms).clamp(0, i64::from(u32::MAX)) as u32;
        self.in_flight_bytes -= bytes as usize;
        if self.arrivals.is_empty() {
            // An idle connection keeps no buffers.
            self.arrivals = VecDeque::new();
        }
        self.stats.latency.record(took_ms, 1);
        self.stats.last_response_ms = now_ms;
        (took_ms, bytes as usize)
    }

    /// What its requests under way cost others; nothing while they wait for the client to read.
    fn cost(&self) -> usize {
        let is_parked = self.inbox.count > 0 && !self.is_posted;
        if is_parked { 0 } else { self.in_flight_cost }
    }

    /// Nobody waits for answers any more: the bytes of the requests without one.
    pub(crate) fn abandon(&mut self) -> impl Iterator<Item = usize> {
        (self.in_flight, self.in_flight_bytes, self.in_flight_cost) = (0, 0, 0);
        std::mem::take(&mut self.arrivals).into_iter().map(|arrival| arrival.bytes as usize)
    }

    /// Bytes that have not gone out.
    pub(crate) fn unsent(&self) -> usize {
        self.output.len() - self.sent
    }

    /// The most that may be in memory for the client.
    pub(crate) fn backlog(&self) -> usize {
        self.unsent() + self.taken
    }

    /// What waits for the client, as the sum of all connections knows it.
    pub(crate) fn counted(&self) -> usize {
        self.counted
    }

    /// Forgets what has not gone out.
    pub(crate) fn drop_output(&mut self) {
        (self.output, self.sent, self.taken) = (Vec::new(), 0, 0);
    }

    /// Whether there is something to write, and nobody at it.
    pub(crate) fn has_output(&self) -> bool {
        !self.is_writing && !self.output.is_empty()
    }

    /// Whether everything has gone out.
    pub(crate) fn is_drained(&self) -> bool {
        !self.is_writing && self.output.is_empty()
    }

    /// Takes the output, for a stream that only its task can write.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        self.sent = 0;
        self.taken = self.output.len();
        std::mem::take(&mut self.output)
    }

    /// The task of `cx` is woken by [`Conn::wake`].
    pub(crate) fn register(&mut self, cx: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    /// Whether another request may be read: its answer must find room.
    pub(crate) fn may_read(&self) -> bool {
        matches!(self.phase, Phase::Fresh | Phase::Live) && self.may_answer() && !self.is_full()
    }

    /// Whether the pipeline may answer more: the client takes what it is sent.
    pub(crate) fn may_answer(&self) -> bool {
        self.unsent() < OUTPUT_HIGH_WATER
    }

    /// Whether as much is under way as may be.
    fn is_full(&self) -> bool {
        self.in_flight >= MAX_IN_FLIGHT || self.in_flight_bytes >= MAX_IN_FLIGHT_BYTES
    }
}

/// Requests of one connection under way at a time; beyond it the socket is not read.
pub(crate) const MAX_IN_FLIGHT: u32 = 4096;
/// The same for their bytes; the last one may go beyond it.
const MAX_IN_FLIGHT_BYTES: usize = 4 << 20;
