//! A member that learns from a leader (Apache `FollowerRequestProcessor`, `CommitProcessor`,
//! `LearnerZooKeeperServer`): what its clients want done is asked of the leader, and done here when
//! the leader's transaction comes back.
//!
//! A leader makes transactions in the order in which one learner asks for them, so the oldest thing
//! that was asked for is the next that comes; what its clients want to read waits in its place.

use crate::audit::Asked;
use crate::effects::{Effect, Effects, Refusal};
use crate::options::Times;
use crate::pipeline::{Answer, ConnState, Core, Owner, Part, Work};
use crate::read::WatchAccess;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use zk_proto::quorum::Touched;
use zk_proto::txn::TxnEntry;
use zk_proto::{DecodeError, Jute, Limits, OpCode, Reader, SessionId, Zxid};
use zk_tree::auth::Identity;
use zk_tree::{ConnId, Tree};

/// What a learner has asked its leader for, beside requests, which wait in the queue.
#[derive(Debug, Default)]
pub(crate) struct Learning {
    /// Sessions that are about to move here, in the order in which the leader is asked for them.
    moving: VecDeque<Moving>,
    /// Until when the leader knows which sessions were heard.
    told_ms: i64,
    /// Sessions whose connections have ended since.
    ended: Vec<SessionId>,
}

#[derive(Clone, Copy, Debug)]
struct Moving {
    session: SessionId,
    conn: ConnId,
    timeout_ms: i32,
    read_only: Option<bool>,
}

/// A request that was forwarded.
#[derive(Debug)]
pub(crate) struct Forward {
    pub(crate) session: SessionId,
    cxid: i32,
    op: OpCode,
    answer: Answer,
    noted: Option<Noted>,
}

/// What the audit log will tell of it.
#[derive(Debug)]
pub(crate) struct Noted {
    pub(crate) identities: Arc<[Identity]>,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) asked: Asked,
}

impl Forward {
    /// Whether this is its transaction. The leader closes sessions by itself too, with the number 0
    /// that a client may also use.
    fn is(&self, entry: &TxnEntry<'_>) -> bool {
        let is_close = |op: i32| op == OpCode::CloseSession.code();
        self.session == entry.session()
            && self.cxid == entry.header.cxid
            && is_close(self.op.code()) == is_close(entry.header.op)
    }
}

/// Why a transaction of the leader is not taken: the connection to it must end.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LearnError {
    /// It cannot be read.
    #[error("a transaction cannot be read: {0}")]
    Unreadable(#[from] DecodeError),
    /// An older request has got no transaction, and will get none.
    #[error("the leader has passed over request {cxid} of session 0x{:x}", .session.0)]
    PassedOver {
        /// Whose.
        session: SessionId,
        /// Which.
        cxid: i32,
    },
}

impl Core {
    /// The pipeline of a member that follows or observes, with the state that it has recovered.
    #[must_use]
    pub fn learning(
        options: crate::CoreOptions,
        tree: &Tree,
        sessions: impl IntoIterator<Item = (SessionId, i32)>,
        now: Times,
    ) -> Core {
        let told_ms = now.monotonic_ms;
        let mut core = Core::new(options, tree, sessions, now);
        core.part = Part::Learning(Learning { told_ms, ..Learning::default() });
        core
    }

    pub(crate) fn is_learning(&self) -> bool {
        matches!(self.part, Part::Learning(_))
    }

    /// Asks the leader for a transaction, which `answer` waits for.
    pub(crate) fn forward(
        &mut self,
        (session, cxid, op): (SessionId, i32, OpCode),
        identities: Arc<[Identity]>,
        body: &[u8],
        answer: Answer,
        noted: Option<Noted>,
        fx: &mut Effects,
    ) {
        fx.forward((session, cxid, op), identities, body);
        self.queue.push_back(Work::Forwarded(Forward { session, cxid, op, answer, noted }));
    }

    /// Asks the leader for a sync, which the request in `frame` waits for.
    pub(crate) fn forward_sync(
        &mut self,
        conn: ConnId,
        (session, cxid): (SessionId, i32),
        identities: Arc<[Identity]>,
        frame: &[u8],
        body: &[u8],
        fx: &mut Effects,
    ) {
        fx.forward((session, cxid, OpCode::Sync), identities.clone(), body);
        self.queue.push_back(Work::Sync { conn, identities, frame: frame.into() });
    }

    /// Asks the leader whether a session is alive. From then on it takes what comes from here for
    /// the session's word, so an older connection of it is closed before.
    pub(crate) fn ask_leader(
        &mut self,
        session: SessionId,
        conn: ConnId,
        timeout_ms: i32,
        read_only: Option<bool>,
        fx: &mut Effects,
    ) {
        self.moved_away(session, fx);
        if let Part::Learning(learning) = &mut self.part {
            learning.moving.push_back(Moving { session, conn, timeout_ms, read_only });
            fx.list.push(Effect::Revalidate { session, timeout_ms });
        }
    }

    /// The next transaction is committed: applies it, answers whoever asked for it, and does what
    /// waited behind. It is on the own disk.
    ///
    /// # Errors
    /// If it is none, or not the one that had to come; nothing is changed then.
    pub fn learned(
        &mut self,
        tree: &mut Tree,
        watches: &mut impl WatchAccess,
        now_ms: i64,
        txn: &[u8],
        fx: &mut Effects,
    ) -> Result<Zxid, LearnError> {
        let entry = TxnEntry::read(&mut Reader::with_limits(txn, Limits::NONE))?;
        // Whatever it finds behind the last transaction must not be taken for the oldest request.
        while self.go_on(tree, watches, fx) {}
        let is_next = |work: &mut Work| matches!(work, Work::Forwarded(it) if it.is(&entry));
        let answer = match self.queue.pop_front_if(is_next) {
            Some(Work::Forwarded(forward)) => {
                if let Some(Noted { identities, ip, asked }) = forward.noted {
                    self.audit.note(entry.zxid(), identities, ip, asked);
                }
                forward.answer
            }
            _ => {
                self.expect_none(&entry)?;
                Answer::None
            }
        };
        (self.last_proposed, self.committed) = (entry.zxid(), entry.zxid());
        self.apply(tree, watches, now_ms, &entry, answer, fx);
        Ok(entry.zxid())
    }

    /// A transaction that answers a request behind the oldest one shows that the oldest is lost.
    fn expect_none(&self, entry: &TxnEntry<'_>) -> Result<(), LearnError> {
        let id = entry.session();
        let session = self.sessions.get(id).or_else(|| self.local.get(id));
        let owner = session.and_then(|session| session.owner?.conn());
        // Of other members' sessions nothing was asked for here; they are the most.
        if owner.is_none() {
            return Ok(());
        }
        let mut asked = self.queue.iter().filter_map(|work| match work {
            Work::Forwarded(forward) => Some(forward),
            _ => None,
        });
        match asked.next() {
            // The oldest one itself stands behind a sync that the leader has not answered.
            Some(oldest) if oldest.is(entry) || asked.any(|forward| forward.is(entry)) => {
                Err(LearnError::PassedOver { session: oldest.session, cxid: oldest.cxid })
            }
            _ => Ok(()),
        }
    }

    /// The leader has answered the oldest sync: everything that was committed before is applied.
    /// `false` if none waits for that, which ends the connection to the leader.
    pub fn synced(
        &mut self,
        tree: &Tree,
        watches: &mut impl WatchAccess,
        fx: &mut Effects,
    ) -> bool {
        while self.go_on(tree, watches, fx) {}
        let sync = self.queue.pop_front_if(|work| matches!(work, Work::Sync { .. }));
        let is_there = sync.is_some();
        if let Some(sync) = sync {
            self.carry_out(tree, watches, sync, fx);
        }
        is_there
    }

    /// Does what waited for what was learned, until there is much to send; says whether there is
    /// more to do. To be called after [`Core::learned`] and [`Core::synced`].
    pub fn go_on(&mut self, tree: &Tree, watches: &mut impl WatchAccess, fx: &mut Effects) -> bool {
        let is_ready = |work: &mut Work| !matches!(work, Work::Forwarded(_) | Work::Sync { .. });
        while let Some(work) = self.queue.pop_front_if(is_ready) {
            if self.carry_out(tree, watches, work, fx) || fx.is_large() {
                return true;
            }
        }
        false
    }

    /// The leader says whether a session that is about to move here is alive.
    pub fn revalidated(
        &mut self,
        now: Times,
        session: SessionId,
        is_valid: bool,
        fx: &mut Effects,
    ) {
        let Part::Learning(learning) = &mut self.part else { return };
        let Some(at) = learning.moving.iter().position(|it| it.session == session) else { return };
        let Some(Moving { conn, timeout_ms, read_only, .. }) = learning.moving.remove(at) else {
            return;
        };
        let waits =
            |c: &crate::pipeline::Connection| c.state == ConnState::Opening && c.session == session;
        if !self.conns.get(&conn).is_some_and(waits) {
            return;
        }
        let owner = Owner::Conn(conn);
        let is_renewed = is_valid && {
            // Its createSession may not have come here yet.
            self.sessions.open(session, timeout_ms, Some(owner), now.monotonic_ms);
            self.renew(now, session, owner, timeout_ms, fx)
        };
        let result = if is_renewed { Ok(()) } else { Err(Refusal::UnknownSession) };
        self.end_renewal(conn, session, timeout_ms, read_only, result, fx);
    }

    /// A session is about to move, to another connection or to a member that the leader reaches
    /// through this one: its connection here is closed, as the leader closes its own.
    pub fn moved_away(&mut self, session: SessionId, fx: &mut Effects) {
        if let Some(old) = self.sessions.get(session).and_then(|found| found.owner?.conn()) {
            self.close_old(old, session, fx);
        }
    }

    /// A session was asked for elsewhere behind this member's master, which refuses what is asked
    /// for here in its name with whatever error the leader has for that. The client must not take
    /// it for the answer to its request: nothing more is said to it, and it has to come again.
    pub fn turn_away(&mut self, session: SessionId, fx: &mut Effects) {
        let Some(conn) = self.sessions.get(session).and_then(|found| found.owner?.conn()) else {
            return;
        };
        if self.conns.get(&conn).is_some_and(|it| it.session == session) {
            self.conns.remove(&conn);
            fx.close(conn);
        }
    }

    /// Appends the sessions that were heard since the last time, for the answer to a ping of the
    /// leader: it alone lets sessions expire. `heard_ms` tells when a connection was last heard.
    pub fn tell_heard(
        &mut self,
        now_ms: i64,
        mut heard_ms: impl FnMut(ConnId) -> Option<i64>,
        out: &mut Vec<u8>,
    ) {
        let Part::Learning(learning) = &mut self.part else { return };
        let since_ms = std::mem::replace(&mut learning.told_ms, now_ms);
        let live = self.conns.iter().filter(|(conn, connection)| {
            connection.state == ConnState::Live
                && heard_ms(**conn).is_some_and(|heard_ms| heard_ms >= since_ms)
        });
        let ended = std::mem::take(&mut learning.ended);
        for session in live.map(|(_, connection)| connection.session).chain(ended) {
            if let Some(found) = self.sessions.get(session) {
                Touched::put(out, session, found.lease_ms());
            }
        }
    }

    /// A connection has ended, and was last heard then.
    pub(crate) fn note_ended(&mut self, session: SessionId, heard_ms: i64) {
        if let Part::Learning(learning) = &mut self.part
            && heard_ms >= learning.told_ms
        {
            learning.ended.push(session);
        }
    }
}
