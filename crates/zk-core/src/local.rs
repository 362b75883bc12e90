//! Sessions that only this member knows (Apache `UpgradeableSessionTracker`, `LocalSessionTracker`;
//! client-protocol 2.10): all new ones with `localSessionsEnabled`, and those of a member without a
//! quorum that lets clients read. No transaction tells of them; they end when this member's part in
//! the ensemble does. One that wants to own an ephemeral becomes one of the ensemble first.
//!
//! **Invariant:** a session is in one of the two tables at most. A member without a quorum opens
//! such sessions in any case; Apache's answers with what no client can read, unless they are
//! enabled.

use crate::effects::{Effects, News};
use crate::options::{Admission, Times};
use crate::pipeline::{Answer, ConnState, Core, Owner, Work};
use zk_proto::request::{CreateMode, MultiOp, Request};
use zk_proto::response::ReplyHeader;
use zk_proto::{ErrorCode, OpCode, Reader, SessionId};
use zk_session::tracker::SessionTable;
use zk_tree::{ConnId, Tree};

impl Core {
    /// Whether new sessions are of this member alone.
    pub(crate) fn opens_locally(&self) -> bool {
        self.options.local_sessions.is_some() || self.admission == Admission::Alone
    }

    /// Sessions that only this member knows.
    #[must_use]
    pub fn local_sessions(&self) -> &SessionTable<Owner> {
        &self.local
    }

    pub(crate) fn is_local(&self, session: SessionId) -> bool {
        self.local.get(session).is_some()
    }

    /// A client ends its session; it is told so in its turn.
    pub(crate) fn close_local(
        &mut self,
        tree: &Tree,
        conn: ConnId,
        session: SessionId,
        xid: i32,
        fx: &mut Effects,
    ) {
        self.local.close(session);
        fx.news.push(News::Ended { session });
        if let Some(connection) = self.conns.get_mut(&conn) {
            connection.state = ConnState::Closing;
        }
        if self.queue.is_empty() {
            end_connection(tree, conn, xid, fx);
        } else {
            self.queue.push_back(Work::Ended { conn, xid });
        }
    }

    /// Sessions whose clients were not heard in time end.
    pub(crate) fn tick_local(
        &mut self,
        now: Times,
        heard_ms: &mut impl FnMut(ConnId) -> Option<i64>,
        fx: &mut Effects,
    ) {
        let mut expired = Vec::new();
        self.local.expire_due(
            now.monotonic_ms,
            |_, owner| owner.and_then(Owner::conn).and_then(&mut *heard_ms),
            &mut expired,
        );
        for session in expired {
            let Some(ended) = self.local.close(session) else { continue };
            self.counters.sessions_expired += 1;
            fx.news.push(News::Expired { session, timeout_ms: ended.lease_ms() });
            fx.news.push(News::Ended { session });
            if let Some(conn) = ended.owner.and_then(Owner::conn)
                && let Some(connection) = self.conns.get_mut(&conn)
            {
                connection.state = ConnState::Closing;
                fx.close(conn);
            }
        }
    }

    /// A client wants something changed in a session of this member alone: if that makes an
    /// ephemeral, the session is upgraded first, whatever becomes of the request. The error if it
    /// may not be (`QuorumZooKeeperServer.checkUpgradeSession`).
    pub(crate) fn upgrade_for(
        &mut self,
        tree: &Tree,
        now: Times,
        session: SessionId,
        (op, body): (OpCode, &[u8]),
        fx: &mut Effects,
    ) -> Option<ErrorCode> {
        if !matches!(op, OpCode::Create | OpCode::Create2 | OpCode::Multi) {
            return None;
        }
        let request = Request::read(op, &mut Reader::with_limits(body, self.options.limits));
        if !matches!(&request, Ok(Some(request)) if makes_ephemeral(request)) {
            return None;
        }
        if !self.options.local_sessions.is_some_and(|local| local.upgrading) {
            return Some(ErrorCode::EphemeralOnLocalSession);
        }
        if let Some(before) = self.local.close(session) {
            let timeout_ms = before.timeout_ms;
            self.sessions.track(session, timeout_ms, before.owner, now.monotonic_ms);
            if let Some(owner) = before.owner {
                self.sessions.renew(session, owner, before.lease_ms(), now.monotonic_ms);
            }
            self.create_session(tree, now, session, timeout_ms, Answer::None, fx);
        }
        None
    }

    /// What an ephemeral of a session is refused with, if it may own none: a learner corrects the
    /// error of its own one.
    pub(crate) fn no_ephemerals(&self, session: SessionId) -> Option<ErrorCode> {
        self.options.local_sessions?;
        match (self.sessions.get(session), self.local.get(session)) {
            (Some(_), _) => None,
            (None, Some(_)) => Some(ErrorCode::EphemeralOnLocalSession),
            (None, None) => Some(ErrorCode::SessionExpired),
        }
    }

    /// Whether a session that is not known here may be another member's alone: not one of ours,
    /// which is gone (`LeaderSessionTracker.checkSession`).
    pub(crate) fn may_be_elsewhere(&self, session: SessionId) -> bool {
        let [sid, ..] = session.0.to_be_bytes();
        self.options.local_sessions.is_some() && sid != self.options.server_id
    }
}

/// The end of a connection whose client has closed its session.
pub(crate) fn end_connection(tree: &Tree, conn: ConnId, xid: i32, fx: &mut Effects) {
    fx.reply(conn, ReplyHeader::new(xid, tree.last_zxid().0, ErrorCode::Ok), |_| {});
    fx.close(conn);
}

fn makes_ephemeral(request: &Request<'_>) -> bool {
    let is_ephemeral = |flags| CreateMode::from_flags(flags).is_some_and(CreateMode::is_ephemeral);
    match request {
        Request::Create(create) => is_ephemeral(create.flags),
        Request::Multi(multi) => multi.ops.iter().any(|op| match op {
            MultiOp::Create(create) => {
                matches!(create.op, OpCode::Create | OpCode::Create2) && is_ephemeral(create.flags)
            }
            _ => false,
        }),
        _ => false,
    }
}
