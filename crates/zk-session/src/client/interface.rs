//! What goes into a session and what comes out.

use zk_proto::request::Request;
use zk_proto::watch::{EventType, WatcherType};
use zk_proto::{ErrorCode, Zxid};

/// What happens to a session.
pub enum Input<'a, T> {
    /// Time has passed; give it at the latest at
    /// [`next_timer_ms`](super::ClientSession::next_timer_ms).
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
        /// The scheme's credentials, if it has any; none is not the same as empty ones.
        auth: Option<&'a [u8]>,
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
    /// A request was answered by the frame just given; the body begins at
    /// [`BODY_AT`](super::BODY_AT).
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
