//! A member without a quorum that lets clients read (Apache `ReadOnlyZooKeeperServer`): only those
//! that ask for no more, in sessions of this member alone. They end when it is one of an ensemble
//! again. Apache opens such sessions only with `localSessionsEnabled`, and answers others with what
//! no client can read.

use crate::effects::{Effects, Refusal};
use crate::options::Times;
use crate::pipeline::{ConnState, Core, Owner};
use zk_proto::connect::ConnectRequest;
use zk_proto::response::ReplyHeader;
use zk_proto::{ErrorCode, SessionId};
use zk_tree::{ConnId, Tree};

impl Core {
    /// Opens a session of this member alone, or renews one. One of the ensemble cannot be asked
    /// for: its client looks elsewhere.
    pub(crate) fn connect_alone(
        &mut self,
        now: Times,
        conn: ConnId,
        timeout_ms: i32,
        request: &ConnectRequest<'_>,
        fx: &mut Effects,
    ) {
        let session = request.session_id;
        let (owner, now_ms) = (Owner::Conn(conn), now.monotonic_ms);
        if session == SessionId::NONE {
            if self.sessions.len() + self.local.len() >= self.options.max_sessions {
                self.counters.sessions_refused += 1;
                return self.refuse_connect(conn, session, Refusal::TooManySessions, fx);
            }
            let Core { ids, sessions, local, .. } = self;
            let is_taken = |id| sessions.get(id).is_some() || local.get(id).is_some();
            let session = ids.next(is_taken);
            self.local.open(session, timeout_ms, Some(owner), now_ms);
            return self.establish(conn, session, timeout_ms, true, fx);
        }
        let password = request.password.unwrap_or_default();
        let old = self.local.get(session).and_then(|session| session.owner?.conn());
        let is_renewed = self.options.passwords.accepts(session, password)
            && self.local.renew(session, owner, timeout_ms, now_ms);
        if !is_renewed {
            return self.refuse_connect(conn, session, Refusal::UnknownSession, fx);
        }
        if let Some(old) = old.filter(|old| *old != conn)
            && let Some(connection) = self.conns.get_mut(&old)
        {
            connection.state = ConnState::Closing;
            fx.close(old);
        }
        self.establish(conn, session, timeout_ms, true, fx);
    }

    /// A client ends its session.
    pub(crate) fn close_alone(
        &mut self,
        tree: &Tree,
        conn: ConnId,
        session: SessionId,
        xid: i32,
        fx: &mut Effects,
    ) {
        self.local.close(session);
        let reply = ReplyHeader::new(xid, tree.last_zxid().0, ErrorCode::Ok);
        self.answer_and_close(conn, reply, fx);
    }

    /// Sessions whose clients were not heard in time end.
    pub(crate) fn tick_alone(
        &mut self,
        now: Times,
        mut heard_ms: impl FnMut(ConnId) -> Option<i64>,
        fx: &mut Effects,
    ) {
        let mut expired = Vec::new();
        self.local.expire_due(
            now.monotonic_ms,
            |_, owner| owner.and_then(Owner::conn).and_then(&mut heard_ms),
            &mut expired,
        );
        for session in expired {
            let conn = self.local.close(session).and_then(|session| session.owner?.conn());
            if let Some(conn) = conn
                && let Some(connection) = self.conns.get_mut(&conn)
            {
                connection.state = ConnState::Closing;
                fx.close(conn);
            }
        }
    }
}
