//! The client's end: one session that outlives its connections.
//!
//! Mirrors `ClientCnxn` of Apache ZooKeeper 3.9; differs in: requests that were never sent survive
//! a reconnect where that keeps their order (see [`Failure::ConnectionLoss`]), the window of
//! unanswered requests is bounded, and retries back off.

mod config;
mod connection;
mod protocol;
mod requests;
mod timers;
mod watches;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use zk_proto::password::NO_PASSWORD;
use zk_proto::request::Request;
use zk_proto::watch::{EventType, WatcherType};
use zk_proto::{ErrorCode, SessionId, Zxid};

pub use config::{Backoff, Config, SavedSession};
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
    auth: Box<[u8]>,
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

/// What happens to a session.
pub enum Input<'a, T> {
    /// Time has passed; give it at the latest at [`ClientSession::next_timer_ms`].
    Tick,
    /// The dial succeeded.
    Connected,
    /// The dial failed or the connection ended.
    Disconnected,
    /// A frame without its length.
    Frame(&'a [u8]),
    /// The application asks something. `Ping`, `Auth`, `Sasl`, `SetWatches` and `CloseSession` have
    /// inputs of their own or are the machine's business.
    Request {
        /// Comes back with the answer.
        token: T,
        /// What is asked.
        request: &'a Request<'a>,
    },
    /// The application adds an identity; it is sent again on every connection.
    Auth {
        /// Comes back with the first answer.
        token: T,
        /// `digest`, `ip`, ...
        scheme: &'a str,
        /// The scheme's credentials.
        auth: &'a [u8],
    },
    /// The next token of a SASL exchange.
    SaslToken(&'a [u8]),
    /// The SASL exchange is over (the server's last token was accepted).
    SaslDone,
    /// The SASL exchange failed: the session is over.
    SaslFailed,
    /// Nobody listens to this watch any more; it is not restored on the next connection.
    ForgetWatch(WatcherType, &'a str),
    /// The list of servers changed.
    Servers {
        /// Their number.
        count: usize,
        /// Which of them the present connection belongs to; without one it is given up.
        current: Option<usize>,
    },
    /// A probe found a server that is not read-only.
    ReadWriteServer(usize),
    /// Close the session, after all requests before.
    Close {
        /// Comes back with the answer.
        token: T,
    },
    /// Give the connection up and leave the session alive for somebody else.
    Detach,
}

/// What the caller has to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect<T> {
    /// Connect to the server with this number, then give [`Input::Connected`].
    Dial {
        /// Its place in the caller's list.
        server: usize,
    },
    /// End the connection or the dial.
    Hangup,
    /// A request was answered by the frame just given; the body begins at [`BODY_AT`].
    Reply {
        /// The request's.
        token: T,
        /// The newest zxid that the server had applied; -1 and 0 in a few special replies.
        zxid: Zxid,
        /// 0 or an error code.
        err: i32,
    },
    /// A request will not be answered.
    Failed {
        /// The request's.
        token: T,
        /// Why.
        failure: Failure,
    },
    /// A watch fired.
    Event(Event),
    /// The session changed its state.
    State(SessionState),
    /// The session is served by a read-only member: ask this server `isro`, and if it says `rw`
    /// give [`Input::ReadWriteServer`].
    Probe {
        /// Its place in the caller's list.
        server: usize,
    },
    /// Begin a SASL exchange.
    SaslStart,
    /// The frame just given answers the last SASL token; the body holds the server's.
    SaslReply {
        /// 0 or an error code.
        err: i32,
    },
}

/// A notification of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// What happened.
    pub kind: EventType,
    /// The znode.
    pub path: String,
    /// The transaction that did it; `None` from servers before 3.9 and in catch-up events.
    pub zxid: Option<Zxid>,
}

/// How a session is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SessionState {
    /// It was never connected yet.
    Connecting,
    /// A member serves it.
    Connected,
    /// A member without a quorum serves it, reads only.
    ConnectedReadOnly,
    /// There is no connection; the session lives on for its timeout, locks may be lost.
    Disconnected,
    /// It is over: the ensemble says so, or nothing was heard for 4/3 of its timeout.
    Expired,
    /// It is over: a server refused the credentials.
    AuthFailed,
    /// It was closed.
    Closed,
    /// It was left to somebody else.
    Detached,
}

impl SessionState {
    /// Apache's name (`KeeperState`).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            SessionState::Connecting => "Connecting",
            SessionState::Connected => "SyncConnected",
            SessionState::ConnectedReadOnly => "ConnectedReadOnly",
            SessionState::Disconnected => "Disconnected",
            SessionState::Expired => "Expired",
            SessionState::AuthFailed => "AuthFailed",
            SessionState::Closed => "Closed",
            SessionState::Detached => "Detached",
        }
    }

    /// Whether requests are being answered.
    #[must_use]
    pub const fn is_connected(self) -> bool {
        matches!(self, SessionState::Connected | SessionState::ConnectedReadOnly)
    }

    /// Whether nothing will ever be answered again.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(
            self,
            SessionState::Expired
                | SessionState::AuthFailed
                | SessionState::Closed
                | SessionState::Detached
        )
    }
}

/// Why a request is not answered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Failure {
    /// The connection broke.
    ConnectionLoss {
        /// Whether the request had been sent, so that its outcome is unknown. A request that was
        /// not sent had no effect; it fails because a write before it has an unknown outcome, and
        /// going on behind that would break the order of the pipeline, or because there was no
        /// connection for too long.
        was_sent: bool,
    },
    /// The session has expired.
    SessionExpired,
    /// A server refused the credentials.
    AuthFailed,
    /// The session was closed or detached here.
    Closed,
    /// The request is longer than servers take; they would cut the connection.
    TooLong {
        /// Length of its frame in bytes.
        len: usize,
    },
}

impl Failure {
    /// The code that Apache's client gives.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Failure::ConnectionLoss { .. } => ErrorCode::ConnectionLoss,
            Failure::SessionExpired | Failure::Closed => ErrorCode::SessionExpired,
            Failure::AuthFailed => ErrorCode::AuthFailed,
            Failure::TooLong { .. } => ErrorCode::BadArguments,
        }
    }
}

/// What steps produce.
#[derive(Debug)]
pub struct Output<T> {
    /// To be carried out in order.
    pub effects: Vec<Effect<T>>,
    /// To be written to the present connection.
    pub bytes: Vec<u8>,
}

impl<T> Default for Output<T> {
    fn default() -> Output<T> {
        Output { effects: Vec::new(), bytes: Vec::new() }
    }
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
