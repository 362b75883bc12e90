//! Handshakes: new sessions and renewals (client-protocol 2.2).

use crate::effects::{Effect, Effects, News, Refusal};
use crate::options::{Admission, Times};
use crate::pipeline::{Answer, ConnState, Connection, Core, Owner, Work};
use std::sync::Arc;
use zk_proto::connect::{ConnectRequest, ConnectResponse};
use zk_proto::{Jute, OpCode, Reader, SessionId};
use zk_tree::{ConnId, Proposal, Tree};

impl Core {
    /// Whether a connection's first frame asks for a new session that is a transaction, which needs
    /// room in the log.
    #[must_use]
    pub fn opens_session(&self, frame: &[u8]) -> bool {
        let request = ConnectRequest::read(&mut Reader::with_limits(frame, self.options.limits));
        let is_new = request.is_ok_and(|request| request.session_id == SessionId::NONE);
        is_new && !self.opens_locally()
    }

    /// A connection's first frame.
    pub fn handshake(
        &mut self,
        tree: &Tree,
        now: Times,
        conn: ConnId,
        frame: &[u8],
        fx: &mut Effects,
    ) {
        let request = ConnectRequest::read(&mut Reader::with_limits(frame, self.options.limits));
        let session = request.as_ref().map_or(SessionId::NONE, |request| request.session_id);
        let is_new = session == SessionId::NONE;
        if request.is_ok() && !self.takes_connect(is_new, now) {
            self.counters.connects_throttled += 1;
            return self.refuse_connect(conn, session, Refusal::TooManyRequests, fx);
        }
        self.counters.connect_requests += 1;
        let is_first = self.conns.get(&conn).is_some_and(|c| c.state == ConnState::New);
        let serves = match self.admission {
            Admission::Serving => true,
            Admission::ReadOnly => !is_new,
            Admission::Alone => request.as_ref().is_ok_and(|it| it.read_only == Some(true)),
            Admission::Closed => false,
        };
        let request = match request {
            Ok(request) if is_first && serves => request,
            Ok(_) if is_first => {
                return self.refuse_connect(conn, session, Refusal::NotServing, fx);
            }
            _ => return self.refuse_connect(conn, session, Refusal::Form, fx),
        };
        // A client that has seen more than we have would go back in time.
        if request.last_zxid_seen > tree.last_zxid().0 {
            let why = Refusal::Ahead(request.last_zxid_seen);
            return self.refuse_connect(conn, session, why, fx);
        }
        let timeout_ms = request
            .timeout_ms
            .max(self.options.min_session_timeout_ms)
            .min(self.options.max_session_timeout_ms);
        if is_new {
            self.open_session(tree, now, conn, timeout_ms, request.read_only.is_some(), fx);
        } else {
            self.renew_session(now, conn, timeout_ms, &request, fx);
        }
    }

    /// Closes a connection without a word: there is none for "not here" or "not now", and
    /// "expired" would be a lie (DESIGN R1).
    pub(crate) fn refuse_connect(
        &mut self,
        conn: ConnId,
        session: SessionId,
        why: Refusal,
        fx: &mut Effects,
    ) {
        if let Some(connection) = self.conns.get_mut(&conn) {
            connection.state = ConnState::Closing;
        }
        fx.news.push(News::Refused { conn, session, why });
        fx.close(conn);
    }

    fn open_session(
        &mut self,
        tree: &Tree,
        now: Times,
        conn: ConnId,
        timeout_ms: i32,
        read_only_byte: bool,
        fx: &mut Effects,
    ) {
        if self.sessions.len() + self.local.len() + self.opening >= self.options.max_sessions {
            self.counters.sessions_refused += 1;
            return self.refuse_connect(conn, SessionId::NONE, Refusal::TooManySessions, fx);
        }
        let Core { ids, sessions, local, .. } = self;
        let session = ids.next(|id| sessions.get(id).is_some() || local.get(id).is_some());
        if self.opens_locally() {
            self.local.open(session, timeout_ms, Some(Owner::Conn(conn)), now.monotonic_ms);
            self.note_holder(session, conn);
            return self.establish(conn, session, timeout_ms, read_only_byte, fx);
        }
        self.opening += 1;
        if let Some(connection) = self.conns.get_mut(&conn) {
            connection.session = session;
            connection.state = ConnState::Opening;
        }
        let answer = Answer::Session { conn, read_only_byte };
        self.create_session(tree, now, session, timeout_ms, answer, fx);
    }

    /// Makes the transaction that opens a session, or asks the leader for it.
    pub(crate) fn create_session(
        &mut self,
        tree: &Tree,
        now: Times,
        session: SessionId,
        timeout_ms: i32,
        answer: Answer,
        fx: &mut Effects,
    ) {
        if self.is_learning() {
            let (asked, body) = ((session, 0, OpCode::CreateSession), timeout_ms.to_be_bytes());
            return self.forward(asked, Arc::default(), &body, answer, None, fx);
        }
        self.propose(tree, now, session, 0, &[], &Proposal::CreateSession(timeout_ms), answer, fx);
    }

    fn renew_session(
        &mut self,
        now: Times,
        conn: ConnId,
        timeout_ms: i32,
        request: &ConnectRequest<'_>,
        fx: &mut Effects,
    ) {
        let session = request.session_id;
        self.counters.renewals += 1;
        // Without a quorum nobody can be asked for one of the ensemble: its client looks elsewhere.
        let is_local = self.is_local(session);
        let may_have =
            self.conns.get(&conn).is_none_or(|it| self.holders.admit(session, &it.identities));
        let is_known = (is_local || self.admission != Admission::Alone)
            && self.options.passwords.accepts(session, request.password.unwrap_or_default());
        let refusal = Refusal::OtherCertificate;
        if is_known && !may_have {
            return self.end_renewal(
                conn,
                session,
                timeout_ms,
                request.read_only,
                Err(refusal),
                fx,
            );
        }
        if is_known && !is_local && self.is_learning() {
            if let Some(connection) = self.conns.get_mut(&conn) {
                connection.session = session;
                connection.state = ConnState::Opening;
            }
            return self.ask_leader(session, conn, timeout_ms, request.read_only, fx);
        }
        let read_only = request.read_only;
        let is_renewed = is_known && self.renew(now, session, Owner::Conn(conn), timeout_ms, fx);
        let result = if is_renewed { Ok(()) } else { Err(Refusal::UnknownSession) };
        self.end_renewal(conn, session, timeout_ms, read_only, result, fx);
    }

    /// Gives a session to somebody, if it is alive; its old connection here is closed.
    pub(crate) fn renew(
        &mut self,
        now: Times,
        session: SessionId,
        owner: Owner,
        timeout_ms: i32,
        fx: &mut Effects,
    ) -> bool {
        let table = if self.is_local(session) { &mut self.local } else { &mut self.sessions };
        let before = table.get(session).and_then(|s| s.owner?.conn());
        let is_renewed = table.renew(session, owner, timeout_ms, now.monotonic_ms);
        if is_renewed && let Some(old) = before.filter(|&old| Owner::Conn(old) != owner) {
            self.close_old(old, session, fx);
        }
        is_renewed
    }

    /// Closes a connection that a session has, or had until now.
    pub(crate) fn close_old(&mut self, old: ConnId, session: SessionId, fx: &mut Effects) {
        let has_it = |it: &&mut Connection| it.session == session && it.state != ConnState::Closing;
        if let Some(connection) = self.conns.get_mut(&old).filter(has_it) {
            connection.state = ConnState::Closing;
            fx.close(old);
        }
    }

    /// Answers who wanted to renew a session.
    pub(crate) fn end_renewal(
        &mut self,
        conn: ConnId,
        session: SessionId,
        timeout_ms: i32,
        read_only: Option<bool>,
        result: Result<(), Refusal>,
        fx: &mut Effects,
    ) {
        let Err(why) = result else {
            return self.grant(conn, session, timeout_ms, read_only.is_some(), fx);
        };
        // Only a serving member may say that a session is gone (DESIGN R1).
        if self.admission != Admission::Serving {
            return self.refuse_connect(conn, session, why, fx);
        }
        fx.news.push(News::Refused { conn, session, why });
        // In its turn: a session that is being closed is gone when that is on disk, not before.
        let mut frame = Vec::new();
        let response = ConnectResponse::expired(read_only);
        zk_proto::jute::put_frame(&mut frame, |out| response.write(out));
        self.answer_frame(conn, &frame, true, fx);
    }

    /// A session was opened here.
    pub(crate) fn note_holder(&mut self, session: SessionId, conn: ConnId) {
        let Core { holders, sessions, local, conns, .. } = self;
        if let Some(connection) = conns.get(&conn) {
            let lives = |id| sessions.get(id).is_some() || local.get(id).is_some();
            holders.note(session, &connection.identities, lives);
        }
    }

    /// A client has its session again. While something that it asked for on an older connection is
    /// under way it waits for that.
    fn grant(
        &mut self,
        conn: ConnId,
        session: SessionId,
        timeout_ms: i32,
        read_only_byte: bool,
        fx: &mut Effects,
    ) {
        if !self.queue.iter().any(|work| work.is_of(session)) {
            return self.establish(conn, session, timeout_ms, read_only_byte, fx);
        }
        if let Some(connection) = self.conns.get_mut(&conn) {
            connection.session = session;
            connection.state = ConnState::Opening;
            self.queue.push_back(Work::Renewed { conn, timeout_ms, read_only_byte });
        }
    }

    /// The session that a connection waits for: it may have moved on meanwhile.
    pub(crate) fn waits_for_its_session(&self, conn: ConnId) -> Option<SessionId> {
        let waits = |it: &&Connection| it.state == ConnState::Opening;
        self.conns.get(&conn).filter(waits).map(|it| it.session)
    }

    /// Tells a client that it has its session.
    pub(crate) fn establish(
        &mut self,
        conn: ConnId,
        session: SessionId,
        timeout_ms: i32,
        read_only_byte: bool,
        fx: &mut Effects,
    ) {
        let Some(connection) = self.conns.get_mut(&conn) else { return };
        connection.session = session;
        connection.state = ConnState::Live;
        let response = ConnectResponse {
            protocol_version: 0,
            timeout_ms,
            session_id: session,
            password: self.options.passwords.of(session),
            read_only: read_only_byte.then_some(self.admission == Admission::Alone),
        };
        fx.frame(conn, true, |out| response.write(out));
        fx.list.push(Effect::Established { conn, session, timeout_ms });
    }
}
