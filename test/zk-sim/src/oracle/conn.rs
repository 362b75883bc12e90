//! A connection as the oracle sees it.

use crate::model::acl::Id;
use crate::model::watch::{Event, Registry};
use std::collections::VecDeque;
use std::rc::Rc;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No handshake yet.
    New,
    /// Its session is being opened or renewed.
    Opening,
    /// Requests are answered.
    Live,
    /// Nothing that is sent on it counts any more; it must be closed, for this reason.
    Ending(&'static str),
}

/// What answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A transaction, once it has its zxid.
    Write(Option<i64>),
    /// The state at the reply's zxid.
    Read,
    /// This error, without a body, with the zxid of the moment.
    Refusal(i32),
    /// Exactly this zxid and error.
    Fixed(i64, i32),
}

/// A request that waits for its reply.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Echoed in the reply.
    pub xid: i32,
    /// The operation's number.
    pub op: i32,
    /// The whole frame.
    pub frame: Rc<[u8]>,
    /// Who asked, when the member read it.
    pub ids: Rc<[Id]>,
    /// What will answer it.
    pub expected: Expected,
    /// The newest write that some client knew to be done when this was sent.
    pub after: i64,
}

/// What is known of a connection.
#[derive(Clone, Debug)]
pub struct ConnView {
    /// How far it is.
    pub phase: Phase,
    /// Its session, once it has one.
    pub session: i64,
    /// Its address.
    pub ip: String,
    /// Its identities.
    pub ids: Rc<[Id]>,
    /// What waits for a reply, in order.
    pub asked: VecDeque<Asked>,
    /// Its watches.
    pub watches: Registry,
    /// The answer that its handshake waits for, without its length.
    pub handshake: Option<Vec<u8>>,
    /// The transaction that opens its session.
    pub opened: Option<i64>,
    /// The timeout that its handshake came to.
    pub timeout_ms: i32,
    /// Whether its client knows of the read-only byte.
    pub has_read_only_byte: bool,
    /// Events of transactions up to here were accounted for.
    pub settled: i64,
    /// Events that were sent since.
    pub unsettled: Vec<Event>,
    /// Catch-up events that were sent since the last reply.
    pub catch_up: Vec<Event>,
}

impl ConnView {
    /// A new connection from an address, which is its first identity.
    #[must_use]
    pub fn new(ip: &str) -> ConnView {
        ConnView {
            phase: Phase::New,
            session: 0,
            ip: ip.into(),
            ids: [("ip".to_string(), ip.to_string())].into(),
            asked: VecDeque::new(),
            watches: Registry::default(),
            handshake: None,
            opened: None,
            timeout_ms: 0,
            has_read_only_byte: false,
            settled: 0,
            unsettled: Vec::new(),
            catch_up: Vec::new(),
        }
    }

    /// Adds an identity; one that it has stays once.
    pub fn add_identity(&mut self, id: Id) {
        if !self.ids.contains(&id) {
            self.ids = self.ids.iter().cloned().chain([id]).collect();
        }
    }
}
