//! What the pipeline wants done. Effects are data: a driver carries them out in order, a simulator
//! may stop between any two.

use crate::audit::AuditRecord;
use std::sync::Arc;
use zk_proto::response::ReplyHeader;
use zk_proto::watch::EventType;
use zk_proto::{Jute, OpCode, SessionId, Zxid};
use zk_tree::ConnId;
use zk_tree::auth::Identity;

/// A part of [`Effects::bytes`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    start: usize,
    end: usize,
}

/// From this on, a turn ends: answers of any size wait in memory until they are carried out.
const LARGE_BYTES: usize = 1 << 20;
/// Allocations that are kept from turn to turn.
const KEPT_BYTES: usize = 4 << 20;
const KEPT_EFFECTS: usize = 16 << 10;

/// One thing to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Append a transaction to the log, and propose it to followers; once it is committed, report
    /// it by [`Core::committed`](crate::Core::committed).
    Append {
        /// Its zxid.
        zxid: Zxid,
        /// Header, body and digest.
        txn: Span,
    },
    /// Ask the leader for something that a client wants.
    Forward {
        /// The client's session.
        session: SessionId,
        /// The request's xid.
        cxid: i32,
        /// What.
        op: OpCode,
        /// The request without its header.
        body: Span,
        /// What the client has proved to be.
        identities: Arc<[Identity]>,
    },
    /// Ask the leader whether a session is alive, that wants to move here; then
    /// [`Core::revalidated`](crate::Core::revalidated).
    Revalidate {
        /// Which.
        session: SessionId,
        /// The timeout in ms that was negotiated with its client.
        timeout_ms: i32,
    },
    /// Send a frame to a connection.
    Send {
        /// To whom.
        conn: ConnId,
        /// The frame, length included.
        frame: Span,
        /// Whether this answers a request that was submitted (and not a notification).
        is_reply: bool,
    },
    /// A connection now has its session; from here on it may send requests.
    Established {
        /// Which connection.
        conn: ConnId,
        /// Its session.
        session: SessionId,
        /// The negotiated timeout in ms.
        timeout_ms: i32,
    },
    /// A connection's identities changed.
    Identities {
        /// Which connection.
        conn: ConnId,
        /// All of them.
        identities: Arc<[Identity]>,
        /// Whether they satisfy `enforce.auth`.
        admitted: bool,
    },
    /// Close a connection, after what was sent to it has gone out.
    Close {
        /// Which connection.
        conn: ConnId,
    },
    /// A line for the audit log, of what is on disk and applied.
    Audit(Box<AuditRecord>),
}

/// What happened to a session or to who wanted one, for the log that people read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// A session was silent for its timeout: its end is on its way to the log, unless only this
    /// member knew of it.
    Expired {
        /// Which.
        session: SessionId,
        /// The timeout in ms.
        timeout_ms: i32,
    },
    /// A session's end is applied, or only this member knew of it.
    Ended {
        /// Which.
        session: SessionId,
    },
    /// A connect request was refused.
    Refused {
        /// Of which connection.
        conn: ConnId,
        /// The session that it wanted to renew; none if it wanted a new one.
        session: SessionId,
        /// Why.
        why: Refusal,
    },
}

/// Why a connect request was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It cannot be read, or is not the first.
    Form,
    /// The throttle of connect requests.
    TooManyRequests,
    /// There are as many sessions as there may be.
    TooManySessions,
    /// The member does not serve, or not for this.
    NotServing,
    /// The client has seen this zxid, and we have not.
    Ahead(i64),
    /// The session is gone, is being closed, or has another password.
    UnknownSession,
    /// The session was opened with another certificate.
    OtherCertificate,
}

/// Effects in order, with the bytes that they refer to.
#[derive(Debug, Default)]
pub struct Effects {
    /// What to do, in order.
    pub list: Vec<Effect>,
    /// Frames and transactions.
    pub bytes: Vec<u8>,
    /// What changes told watches, for the metrics: an event, and how many wanted it.
    pub fired: Vec<(EventType, u32)>,
    /// When the txns that were applied were made, by the wall clock of who made them, for the
    /// metrics of an ensemble.
    pub applied_ms: Vec<i64>,
    /// Where hard quotas refused writes, by the first part of the path, for the metrics.
    pub over_quota: Vec<Box<str>>,
    /// What people may want to read.
    pub news: Vec<News>,
    /// How long the lines for the audit log are.
    audit_bytes: usize,
}

impl Effects {
    /// No effects.
    #[must_use]
    pub fn new() -> Effects {
        Effects::default()
    }

    /// The bytes of a span.
    #[must_use]
    pub fn get(&self, span: Span) -> &[u8] {
        self.bytes.get(span.start..span.end).unwrap_or_default()
    }

    /// Whether there is nothing to do and nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.fired.is_empty() && self.news.is_empty()
    }

    /// Makes room for the next turn; keeps the allocations, unless a rare turn made them large.
    pub fn clear(&mut self) {
        self.list.clear();
        self.list.shrink_to(KEPT_EFFECTS);
        self.fired.clear();
        self.applied_ms.clear();
        self.over_quota.clear();
        self.news.clear();
        self.audit_bytes = 0;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
    }

    /// Whether there is so much that the driver should carry it out before it goes on.
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.bytes.len() + self.audit_bytes >= LARGE_BYTES
    }

    pub(crate) fn span_from(&self, start: usize) -> Span {
        Span { start, end: self.bytes.len() }
    }

    pub(crate) fn append(&mut self, zxid: Zxid, txn: Span) {
        self.list.push(Effect::Append { zxid, txn });
    }

    pub(crate) fn forward(
        &mut self,
        (session, cxid, op): (SessionId, i32, OpCode),
        identities: Arc<[Identity]>,
        body: &[u8],
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(body);
        let body = self.span_from(start);
        self.list.push(Effect::Forward { session, cxid, op, body, identities });
    }

    pub(crate) fn audit(&mut self, record: AuditRecord) {
        self.audit_bytes += record.line_bytes();
        self.list.push(Effect::Audit(Box::new(record)));
    }

    /// A connection ends when its client has what was sent before.
    pub fn close(&mut self, conn: ConnId) {
        self.list.push(Effect::Close { conn });
    }

    /// A frame of a reply header and a body.
    pub(crate) fn reply(
        &mut self,
        conn: ConnId,
        header: ReplyHeader,
        body: impl FnOnce(&mut Vec<u8>),
    ) {
        self.frame(conn, true, |out| {
            header.write(out);
            body(out);
        });
    }

    pub(crate) fn frame(&mut self, conn: ConnId, is_reply: bool, body: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        zk_proto::jute::put_frame(&mut self.bytes, body);
        let frame = self.span_from(start);
        self.list.push(Effect::Send { conn, frame, is_reply });
    }

    /// A frame that is ready.
    pub(crate) fn ready(&mut self, conn: ConnId, frame: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(frame);
        let frame = self.span_from(start);
        self.list.push(Effect::Send { conn, frame, is_reply: true });
    }
}
