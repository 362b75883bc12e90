//! The client's end: one session that outlives its connections.
//!
//! Mirrors `ClientCnxn` of Apache ZooKeeper 3.9; differs in: requests that were never sent survive
//! a reconnect where that keeps their order (see [`Failure::ConnectionLoss`]), the window of
//! unanswered requests is bounded, and retries back off.

mod config;
mod connection;
mod interface;
mod protocol;
mod requests;
mod timers;
mod watches;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use zk_proto::password::NO_PASSWORD;
use zk_proto::{SessionId, Zxid};

pub use config::{Backoff, Config, SavedSession};
pub use interface::{Effect, Event, Failure, Input, Output, SessionState};
pub use watches::{WatchKind, WatchSets};

use requests::{InFlight, Queued};
use timers::Timer;

/// Where the body begins in the frame of a reply, behind the header.
pub const BODY_AT: usize = 16;

/// One session of a client.
///
/// **The draining rule:** after each [`step`](ClientSession::step) the caller carries out the
/// effects in order and lets `Output::bytes` go to the connection, before it takes the next input
/// for granted. Inputs about a connection always mean the one that the last [`Effect::Dial`] asked
/// for; after [`Effect::Hangup`] nothing of an older one may come in. The bytes of a connection
/// that ended are cleared here; the caller may let bytes of several steps gather for one write.
///
/// **The order rule:** replies, notifications and state changes come out in the order in which the
/// server sent them.
///
/// `T` is what the caller wants back with an answer.
pub struct ClientSession<T> {
    config: Config,
    phase: Phase,
    state: SessionState,
    session: SavedSession,
    /// Whether the session was ever served by a read-write member; before, it is not worth keeping.
    has_seen_read_write: bool,
    /// The server that is dialled next.
    next_server: usize,
    /// Dials since the last established connection.
    attempts: u32,
    rng: u64,
    xid: i32,
    queue: VecDeque<Queued<T>>,
    in_flight: VecDeque<InFlight<T>>,
    in_flight_bytes: usize,
    auths: Vec<Auth<T>>,
    /// Indexes into `auths` of the packets that are not answered yet.
    auths_in_flight: VecDeque<usize>,
    watches: WatchSets,
    is_closing: bool,
    last_sent_ms: i64,
    last_heard_ms: i64,
    /// Since when the first of what waits for a connection does so.
    waiting_since_ms: i64,
    next_probe_ms: i64,
    probe_interval_ms: i64,
}

struct Auth<T> {
    scheme: String,
    auth: Option<Box<[u8]>>,
    /// Waits for the first answer.
    token: Option<T>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// No connection until this time.
    Waiting { until_ms: i64 },
    /// The caller is dialling.
    Dialling { since_ms: i64 },
    /// The connect request was sent.
    Handshake { since_ms: i64 },
    /// SASL tokens go to and fro.
    Sasl { is_read_only: bool },
    /// Requests may be sent.
    Ready,
    /// The session is over.
    Ended(Failure),
}

impl<T> ClientSession<T> {
    /// A session that begins to dial at its first [`Input::Tick`].
    #[must_use]
    pub fn new(config: Config, now_ms: i64) -> ClientSession<T> {
        let session = config.resume.clone().unwrap_or(SavedSession {
            id: SessionId::NONE,
            password: NO_PASSWORD,
            timeout_ms: config.timeout_ms,
            last_zxid: Zxid::ZERO,
        });
        ClientSession {
            has_seen_read_write: session.id != SessionId::NONE,
            phase: Phase::Waiting { until_ms: now_ms },
            state: SessionState::Connecting,
            session,
            next_server: 0,
            attempts: 0,
            rng: config.seed | 1,
            xid: 0,
            queue: VecDeque::new(),
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            auths: Vec::new(),
            auths_in_flight: VecDeque::new(),
            watches: WatchSets::default(),
            is_closing: false,
            last_sent_ms: now_ms,
            last_heard_ms: now_ms,
            waiting_since_ms: now_ms,
            next_probe_ms: now_ms,
            probe_interval_ms: 0,
            config,
        }
    }

    /// Takes one input and appends what it makes necessary to `out`.
    pub fn step(&mut self, now_ms: i64, input: Input<'_, T>, out: &mut Output<T>) {
        match input {
            Input::Tick => self.tick(now_ms, out),
            Input::Connected => self.greet(now_ms, out),
            Input::Disconnected => self.lose(now_ms, out),
            Input::Frame(frame) => self.receive(now_ms, frame, out),
            Input::Request { token, request } => self.submit(now_ms, token, request, out),
            Input::Auth { token, scheme, auth } => self.add_auth(now_ms, token, scheme, auth, out),
            Input::SaslToken(token) => self.send_sasl(now_ms, token, out),
            Input::SaslDone => self.sasl_done(now_ms, out),
            Input::SaslFailed => self.end(SessionState::AuthFailed, Failure::AuthFailed, out),
            Input::ForgetWatch(kind, path) => self.watches.remove(kind, path),
            Input::Servers { count, current } => self.set_servers(now_ms, count, current, out),
            Input::ReadWriteServer(server) => self.move_to(now_ms, server, out),
            Input::Close { token } => self.close(now_ms, token, out),
            Input::Detach => self.end(SessionState::Detached, Failure::Closed, out),
        }
    }

    /// When [`Input::Tick`] is needed; `None` when the session is over.
    #[must_use]
    pub fn next_timer_ms(&self) -> Option<i64> {
        Timer::ALL.into_iter().filter_map(|timer| self.deadline_ms(timer)).min()
    }

    fn tick(&mut self, now_ms: i64, out: &mut Output<T>) {
        for timer in Timer::ALL {
            if self.deadline_ms(timer).is_some_and(|deadline_ms| deadline_ms <= now_ms) {
                self.fire(now_ms, timer, out);
            }
        }
    }

    /// How the session is.
    #[must_use]
    pub fn state(&self) -> SessionState {
        self.state
    }

    /// The session as somebody else would need it to go on: id, password, negotiated timeout and
    /// the newest zxid seen. The id is [`SessionId::NONE`] before the first handshake.
    #[must_use]
    pub fn session(&self) -> &SavedSession {
        &self.session
    }

    /// The watches that are set, or will be set again on the next connection.
    #[must_use]
    pub fn watches(&self) -> &WatchSets {
        &self.watches
    }

    /// Requests that are not answered: sent ones and queued ones.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.in_flight.len() + self.queue.len()
    }

    fn set_state(&mut self, state: SessionState, out: &mut Output<T>) {
        if self.state != state {
            self.state = state;
            out.effects.push(Effect::State(state));
        }
    }
}
