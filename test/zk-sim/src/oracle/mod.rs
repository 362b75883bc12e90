//! What every record means: the model's state at each zxid, who asked what, what is due.
//!
//! The oracle follows a run and works each record out once, into a [`Fact`]; the invariants only
//! compare. It knows nothing of the server but the records.

mod conn;
mod follow;
mod sent;
mod submit;

pub use conn::{Asked, ConnView, Expected, Phase};
pub use submit::{SUPER_DIGEST, USERS};

use crate::model::read::Reply;
use crate::model::state::State;
use crate::model::watch::Event;
use crate::model::write::{Rules, Step};
use crate::record::{Conn, Now, Record};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use zk_proto::response::ReplyHeader;
use zk_proto::txn::TxnHeader;

/// What the oracle must know of the member's configuration.
#[derive(Clone, Copy, Debug, Hash)]
pub struct Terms {
    /// Rules of writes.
    pub rules: Rules,
    /// `tickTime` in ms.
    pub tick_ms: i64,
    /// `minSessionTimeout` in ms.
    pub min_timeout_ms: i32,
    /// `maxSessionTimeout` in ms.
    pub max_timeout_ms: i32,
    /// `enforce.auth`: a connection must have a digest before it may do anything.
    pub enforces_digest: bool,
    /// The longest answer to a multiRead in bytes.
    pub max_response_bytes: usize,
    /// From which start on, counted from 0, `sessionPassword=hmac` holds; `None` for never.
    pub keyed_from: Option<u32>,
}

/// Why a transaction came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A connection's request.
    Request(Conn),
    /// A connection's handshake.
    Handshake(Conn),
    /// A session was not heard of for too long.
    Expiry,
    /// The reaper.
    Reaper,
    /// Nobody asked for it.
    Nobody,
}

/// A transaction of the model.
#[derive(Clone, Debug)]
pub struct Committed {
    /// What it did.
    pub step: Step,
    /// Its session.
    pub session: i64,
    /// Why it is.
    pub cause: Cause,
    /// Whether it ends its session.
    pub is_close: bool,
}

/// What is known of a live session.
#[derive(Clone, Copy, Debug)]
pub struct SessionView {
    /// The timeout last agreed on, in ms.
    pub timeout_ms: i64,
    /// When it was last heard, monotonic ms.
    pub heard_ms: i64,
    /// Who holds it.
    pub owner: Option<Conn>,
}

/// Events of one connection over some zxids: those that are due, and those that were sent.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// Which connection.
    pub conn: Conn,
    /// By the model.
    pub due: Vec<Event>,
    /// By the member.
    pub sent: Vec<Event>,
}

/// What a record means.
#[derive(Clone, Debug)]
pub enum Fact {
    /// Nothing more than it says.
    Plain,
    /// A transaction was given out.
    Proposed {
        /// Why.
        cause: Cause,
        /// Its header; `None` if it cannot be read.
        header: Option<TxnHeader>,
        /// The digest that it foretells.
        digest: Option<u64>,
    },
    /// An answer to a handshake.
    Handshake {
        /// On which connection.
        conn: Conn,
        /// What it should be; `None` if none is due.
        expected: Option<Vec<u8>>,
        /// The transaction that opened the session, if it is new.
        opened: Option<i64>,
    },
    /// A notification.
    Event {
        /// On which connection.
        conn: Conn,
        /// What it says.
        event: Event,
    },
    /// A reply.
    Replied {
        /// On which connection.
        conn: Conn,
        /// Its session.
        session: i64,
        /// Its header.
        header: ReplyHeader,
        /// The request whose turn it is, if any waits.
        asked: Option<Box<Asked>>,
        /// What the model says; `None` if it has no such state.
        expected: Option<Reply>,
        /// Catch-up events: due and sent.
        missed: (Vec<Event>, Vec<Event>),
    },
    /// A connection was closed by the member.
    Closed {
        /// Which.
        conn: Conn,
        /// Why it may be; `None` if there is no reason.
        reason: Option<&'static str>,
    },
}

/// The two ends of a connection's wire, which outlive the member.
#[derive(Clone, Debug, Default)]
struct Wire {
    /// For each frame on its way in: the newest write that any client knew to be done when it left.
    inbound: VecDeque<i64>,
    /// For each frame on its way out: the write that it answers.
    outbound: VecDeque<Option<i64>>,
}

/// What the records so far mean.
#[derive(Debug)]
pub struct Oracle {
    /// The configuration.
    pub terms: Terms,
    /// By zxid, from the beginning.
    pub history: BTreeMap<i64, Committed>,
    /// The newest transaction that was given out.
    pub proposed: i64,
    /// The newest that is on disk.
    pub synced: i64,
    /// The newest that was applied, as far as the member said.
    pub applied: i64,
    /// Connections that the member has.
    pub conns: BTreeMap<Conn, ConnView>,
    /// Sessions that it has.
    pub sessions: BTreeMap<i64, SessionView>,
    /// The newest write that some client knows to be done.
    pub completed: i64,
    /// The time of the latest input.
    pub now: Now,
    /// Whether the member refuses writes.
    pub is_read_only: bool,
    /// How often it has started.
    starts: u32,
    /// Sessions that were opened under the keyed rule of passwords.
    keyed: BTreeSet<i64>,
    /// What the latest record meant.
    pub fact: Fact,
    /// Events that were settled by the latest record.
    pub settled: Vec<Settlement>,
    wires: BTreeMap<Conn, Wire>,
    input: Input,
}

/// The latest input of the member: its effects follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Input {
    None,
    Handshake(Conn),
    /// Writes whose transactions have not been given out yet, in the order in which they came.
    Requests(VecDeque<Conn>),
    Tick,
    Reap(String),
}

impl Oracle {
    /// Before the first record.
    #[must_use]
    pub fn new(terms: Terms) -> Oracle {
        let step =
            Step { after: Rc::new(State::first()), reply: Ok(Vec::new()), changes: Vec::new() };
        let first = Committed { step, session: 0, cause: Cause::Nobody, is_close: false };
        Oracle {
            terms,
            history: BTreeMap::from([(0, first)]),
            proposed: 0,
            synced: 0,
            applied: 0,
            conns: BTreeMap::new(),
            sessions: BTreeMap::new(),
            completed: 0,
            now: Now { monotonic_ms: 0, wall_ms: 0 },
            is_read_only: false,
            starts: 0,
            keyed: BTreeSet::new(),
            fact: Fact::Plain,
            settled: Vec::new(),
            wires: BTreeMap::new(),
            input: Input::None,
        }
    }

    /// The model's state at a zxid.
    #[must_use]
    pub fn state(&self, zxid: i64) -> Option<&Rc<State>> {
        self.history.get(&zxid).map(|committed| &committed.step.after)
    }

    /// Whether a session exists at a zxid.
    #[must_use]
    pub fn has_session(&self, session: i64, zxid: i64) -> bool {
        self.state(zxid).is_some_and(|state| state.sessions.contains_key(&session))
    }

    /// The request of a connection that became this transaction, as long as it waits.
    #[must_use]
    pub fn asked(&self, conn: Conn, zxid: i64) -> Option<&Asked> {
        let asked = &self.conns.get(&conn)?.asked;
        asked.iter().find(|asked| asked.expected == Expected::Write(Some(zxid)))
    }

    /// Works the next record out.
    pub fn see(&mut self, record: &Record) {
        self.settled.clear();
        self.fact = match record {
            Record::Started { now, picture } => {
                self.now = *now;
                self.started(picture)
            }
            Record::Crashed => {
                self.conns.clear();
                self.input = Input::None;
                Fact::Plain
            }
            Record::Accepted { conn, ip } => {
                self.conns.insert(*conn, ConnView::new(ip));
                Fact::Plain
            }
            Record::Invoked { conn, .. } => {
                self.wires.entry(*conn).or_default().inbound.push_back(self.completed);
                Fact::Plain
            }
            Record::Submitted { conn, frame, now } => {
                self.now = *now;
                self.submitted(*conn, frame)
            }
            Record::Admitted { is_read_only } => {
                self.is_read_only = *is_read_only;
                Fact::Plain
            }
            Record::Ticked { now } => {
                self.now = *now;
                self.input = Input::Tick;
                Fact::Plain
            }
            Record::Reaped { path, now } => {
                self.now = *now;
                self.input = Input::Reap(path.clone());
                Fact::Plain
            }
            Record::Appended { zxid, txn } => self.appended(*zxid, txn),
            Record::Synced { zxid } => {
                self.synced = self.synced.max(*zxid);
                Fact::Plain
            }
            Record::Logged { now, .. } => {
                self.now = *now;
                self.input = Input::None;
                Fact::Plain
            }
            Record::Applied { zxid, .. } => self.applied(*zxid),
            Record::Sent { conn, frame } => self.sent(*conn, frame),
            Record::Received { conn, frame } => self.received(*conn, frame),
            Record::Closed { conn } => self.closed(*conn),
            Record::Gone { conn } => {
                self.conns.remove(conn);
                Fact::Plain
            }
            Record::Inspected { .. }
            | Record::Snapshotted { .. }
            | Record::Noted(_)
            | Record::Quiet => Fact::Plain,
        };
    }
}
