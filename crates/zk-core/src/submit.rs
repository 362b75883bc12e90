//! Requests on their way in: what each becomes, and behind what it waits.

use crate::audit::Asked;
use crate::effects::{Effect, Effects};
use crate::learner::Noted;
use crate::options::{Admission, MAX_IDENTITIES, MAX_IDENTITY_BYTES, Times};
use crate::pipeline::{Answer, ConnState, Core, Owner, Work};
use crate::read::{Reader, WatchAccess};
use std::sync::Arc;
use zk_proto::request::{AuthPacket, Request, RequestHeader};
use zk_proto::response::ReplyHeader;
use zk_proto::{DecodeError, ErrorCode, Jute, Limits, OpCode, SessionId};
use zk_tree::auth::{self, AuthOutcome, Identity};
use zk_tree::{ConnId, Proposal, Tree, check_create_mode, is_well_formed};

/// Where the path stands in most requests: behind the header.
const PATH_AT: usize = 8;

impl Core {
    /// A request of a live connection: its frame without the length. Reads need not come here
    /// while nothing else of their connection is under way (see [`Reader`]).
    pub fn submit(
        &mut self,
        tree: &Tree,
        watches: &mut impl WatchAccess,
        now: Times,
        conn: ConnId,
        frame: &[u8],
        fx: &mut Effects,
    ) {
        let Some(connection) = self.conns.get(&conn) else { return };
        if connection.state != ConnState::Live {
            return;
        }
        let mut r = zk_proto::Reader::with_limits(frame, self.options.limits);
        let Ok(header) = RequestHeader::read(&mut r) else { return self.drop_connection(conn, fx) };
        let op = OpCode::from_code(header.op).filter(|op| op.is_client_request());
        if !connection.admitted && !matches!(op, Some(OpCode::Auth | OpCode::Sasl)) {
            let reply = ReplyHeader::new(header.xid, 0, ErrorCode::SessionClosedRequireSaslAuth);
            return self.answer_and_close(conn, reply, fx);
        }
        let Some(op) = op else {
            let reply = ReplyHeader::new(header.xid, -1, ErrorCode::Unimplemented);
            return self.answer_and_close(conn, reply, fx);
        };
        // Apache drops such a request in silence, and its client waits for ever.
        let session = connection.session;
        let is_local = self.is_local(session);
        if !is_local && self.sessions.get(session).is_none() {
            return self.drop_connection(conn, fx);
        }
        if is_local && op == OpCode::CloseSession {
            return self.close_local(tree, conn, session, header.xid, fx);
        }
        let is_alone = self.admission == Admission::Alone;
        if is_alone && op == OpCode::Sync {
            return self.refuse(tree, conn, header.xid, ErrorCode::NotReadOnly, fx);
        }
        let is_read_only = is_alone || self.admission == Admission::ReadOnly;
        let refusal = match frame.get(PATH_AT..) {
            Some(body) if is_local && !is_read_only => {
                self.upgrade_for(tree, now, session, (op, body), fx)
            }
            _ => None,
        };
        if self.is_learning() && (op.is_write() && !is_read_only || op == OpCode::Sync) {
            return self.ask(conn, (header.xid, op, refusal), frame, fx);
        }
        match Request::read(op, &mut r) {
            Ok(Some(Request::Auth(packet))) => self.auth(conn, header, &packet, fx),
            Ok(Some(Request::Multi(multi))) if !is_well_formed(&multi) => {
                self.refuse(tree, conn, header.xid, ErrorCode::MarshallingError, fx);
            }
            Ok(Some(_)) if op.is_write() && is_read_only => {
                self.refuse(tree, conn, header.xid, ErrorCode::NotReadOnly, fx);
            }
            Ok(Some(request)) if op.is_write() => {
                self.write(tree, now, conn, header.xid, &request, fx)
            }
            Ok(Some(_)) => self.read(tree, watches, conn, frame, fx),
            // Apache reads it where there is no way back but to close.
            Err(_) if op == OpCode::Auth => self.drop_connection(conn, fx),
            // A null path is readable there, and no path.
            Err(DecodeError::Null { at: PATH_AT }) if op.is_write() => {
                self.write_nowhere(tree, now, (conn, header.xid, op), frame, fx);
            }
            Ok(None) | Err(_) => {
                self.refuse(tree, conn, header.xid, ErrorCode::MarshallingError, fx)
            }
        }
    }

    /// A request that changes nothing, in its turn.
    fn read(
        &mut self,
        tree: &Tree,
        watches: &mut impl WatchAccess,
        conn: ConnId,
        frame: &[u8],
        fx: &mut Effects,
    ) {
        let Some(connection) = self.conns.get(&conn) else { return };
        let identities = connection.identities.clone();
        if self.queue.is_empty() {
            self.read_now(tree, watches, conn, &identities, frame, fx);
        } else {
            self.queue.push_back(Work::Request { conn, identities, frame: frame.into() });
        }
    }

    fn write(
        &mut self,
        tree: &Tree,
        now: Times,
        conn: ConnId,
        xid: i32,
        request: &Request<'_>,
        fx: &mut Effects,
    ) {
        let Some(connection) = self.conns.get_mut(&conn) else { return };
        let (session, identities) = (connection.session, connection.identities.clone());
        let answer = Answer::Request { conn, xid, op: request.opcode(), refusal: None };
        let proposal = match request {
            Request::CloseSession => {
                connection.state = ConnState::Closing;
                if !self.sessions.set_closing(session) {
                    return;
                }
                Proposal::CloseSession
            }
            request => self.wanted(request, session, Owner::Conn(conn)),
        };
        self.propose(tree, now, session, xid, &identities, &proposal, answer, fx);
        self.note_for_audit(conn, identities, || Asked::of(request));
    }

    /// What becomes of a write by who has the session's connection.
    pub(crate) fn wanted<'r, 'a>(
        &mut self,
        request: &'r Request<'a>,
        session: SessionId,
        owner: Owner,
    ) -> Proposal<'r, 'a> {
        if matches!(request, Request::Reconfig(_)) && !self.options.reconfig_enabled {
            return Proposal::Refused(ErrorCode::ReconfigDisabled);
        }
        if let Err(code) = self.check_owner(session, owner) {
            return Proposal::Refused(code);
        }
        let Request::Reconfig(reconfig) = request else { return Proposal::Request(request) };
        let next = match &self.membership {
            // Alone there is nothing to change.
            None => Err(ErrorCode::Unimplemented),
            // The driver has not heard of it yet, perhaps.
            Some(_) if self.committed < self.reconfigured => Err(ErrorCode::ReconfigInProgress),
            Some(membership) => membership.next(reconfig, self.last_proposed.next()),
        };
        next.map_or_else(Proposal::Refused, Proposal::Reconfig)
    }

    /// Asks the leader for what a client wants: for a transaction, whatever is in the request, or
    /// for a sync.
    fn ask(
        &mut self,
        conn: ConnId,
        (xid, op, refusal): (i32, OpCode, Option<ErrorCode>),
        frame: &[u8],
        fx: &mut Effects,
    ) {
        let Some(connection) = self.conns.get_mut(&conn) else { return };
        let (session, identities) = (connection.session, connection.identities.clone());
        let body = frame.get(PATH_AT..).unwrap_or_default();
        if op == OpCode::Sync {
            return self.forward_sync(conn, (session, xid), identities, frame, body, fx);
        }
        if op == OpCode::CloseSession {
            connection.state = ConnState::Closing;
            if !self.sessions.set_closing(session) {
                return;
            }
        }
        let ip = connection.peer;
        let noted = self.options.audit.then(|| {
            let mut r = zk_proto::Reader::with_limits(body, self.options.limits);
            let asked = Request::read(op, &mut r).ok()??;
            Some(Noted { identities: identities.clone(), ip, asked: Asked::of(&asked)? })
        });
        let answer = Answer::Request { conn, xid, op, refusal };
        self.forward((session, xid, op), identities, body, answer, noted.flatten(), fx);
    }

    /// The transaction just made is one that the audit log tells of.
    fn note_for_audit(
        &mut self,
        conn: ConnId,
        identities: Arc<[Identity]>,
        asked: impl FnOnce() -> Option<Asked>,
    ) {
        if self.options.audit
            && let Some(asked) = asked()
        {
            let ip = self.conns.get(&conn).and_then(|connection| connection.peer);
            self.audit.note(self.last_proposed, identities, ip, asked);
        }
    }

    /// A write with a null path. In Apache the record is read to its end first, and then comes what
    /// is checked before the path (`PrepRequestProcessor.pRequest2Txn`).
    fn write_nowhere(
        &mut self,
        tree: &Tree,
        now: Times,
        (conn, xid, op): (ConnId, i32, OpCode),
        frame: &[u8],
        fx: &mut Effects,
    ) {
        let body = with_empty_path(&frame[PATH_AT..]);
        let mut r = zk_proto::Reader::with_limits(&body, self.options.limits);
        let request = Request::read(op, &mut r);
        let refused = match &request {
            Ok(Some(request)) => refused_without_path(request, tree),
            _ => None,
        };
        let (Ok(Some(request)), Some(code)) = (request, refused) else {
            return self.refuse(tree, conn, xid, ErrorCode::MarshallingError, fx);
        };
        if matches!(self.admission, Admission::ReadOnly | Admission::Alone) {
            return self.refuse(tree, conn, xid, ErrorCode::NotReadOnly, fx);
        }
        let Some(connection) = self.conns.get(&conn) else { return };
        let (session, identities) = (connection.session, connection.identities.clone());
        let code = self.check_owner(session, Owner::Conn(conn)).err().unwrap_or(code);
        let answer = Answer::Request { conn, xid, op, refusal: None };
        self.propose(tree, now, session, xid, &identities, &Proposal::Refused(code), answer, fx);
        self.note_for_audit(conn, identities, || Asked::nowhere(&request));
    }

    /// An answer without a body, in its turn.
    fn refuse(&mut self, tree: &Tree, conn: ConnId, xid: i32, code: ErrorCode, fx: &mut Effects) {
        // Made in its turn: with the zxid of now it would lead its client back in time.
        if self.queue.is_empty() {
            fx.reply(conn, ReplyHeader::new(xid, tree.last_zxid().0, code), |_| {});
        } else {
            self.queue.push_back(Work::Refused { conn, xid, code });
        }
    }

    pub(crate) fn answer_and_close(&mut self, conn: ConnId, header: ReplyHeader, fx: &mut Effects) {
        self.answer(conn, header, true, fx);
    }

    fn drop_connection(&mut self, conn: ConnId, fx: &mut Effects) {
        if let Some(connection) = self.conns.get_mut(&conn) {
            connection.state = ConnState::Closing;
        }
        fx.close(conn);
    }

    fn answer(&mut self, conn: ConnId, header: ReplyHeader, close: bool, fx: &mut Effects) {
        let mut frame = Vec::new();
        zk_proto::jute::put_frame(&mut frame, |out| header.write(out));
        self.answer_frame(conn, &frame, close, fx);
    }

    /// An answer that was made outside (SASL), in its turn.
    /// With `close` the connection ends, and what was read behind is dropped.
    pub fn answer_frame(&mut self, conn: ConnId, frame: &[u8], close: bool, fx: &mut Effects) {
        if let Some(connection) = self.conns.get_mut(&conn).filter(|_| close) {
            connection.state = ConnState::Closing;
        }
        if !self.queue.is_empty() {
            self.queue.push_back(Work::Ready { conn, frame: frame.into(), close });
            return;
        }
        fx.ready(conn, frame);
        if close {
            fx.close(conn);
        }
    }

    /// Identities count at once, for every request read later; the answer keeps its turn (Apache's
    /// may overtake earlier answers, on which kazoo trips).
    fn auth(
        &mut self,
        conn: ConnId,
        header: RequestHeader,
        packet: &AuthPacket<'_>,
        fx: &mut Effects,
    ) {
        let Some(connection) = self.conns.get(&conn) else { return };
        let scheme = packet.scheme.as_deref().unwrap_or_default();
        let outcome = self.options.prepare.auth.authenticate(scheme, packet.auth, connection.peer);
        if scheme == "ensemble" {
            let names = self.options.prepare.auth.ensemble_names.as_deref().unwrap_or_default();
            let is_any = names.is_empty() || packet.auth.unwrap_or_default().is_empty();
            match outcome {
                AuthOutcome::Granted(_) if is_any => self.counters.ensemble_skips += 1,
                AuthOutcome::Granted(_) => self.counters.ensemble_matches += 1,
                AuthOutcome::CloseSilently => self.counters.ensemble_mismatches += 1,
                AuthOutcome::Failed => {}
            }
        }
        match outcome {
            AuthOutcome::Granted(granted) if fits(&connection.identities, &granted) => {
                self.add_identities(conn, granted, fx);
                self.answer(conn, ReplyHeader::new(header.xid, 0, ErrorCode::Ok), false, fx);
            }
            AuthOutcome::Failed | AuthOutcome::Granted(_) => {
                self.counters.auth_failures += 1;
                let reply = ReplyHeader::new(header.xid, 0, ErrorCode::AuthFailed);
                self.answer_and_close(conn, reply, fx);
            }
            AuthOutcome::CloseSilently => self.drop_connection(conn, fx),
        }
    }

    /// Adds identities to a connection; those that it has stay once.
    pub fn add_identities(&mut self, conn: ConnId, granted: Vec<Identity>, fx: &mut Effects) {
        let Some(connection) = self.conns.get(&conn) else { return };
        let mut all = connection.identities.to_vec();
        for identity in granted {
            if !all.contains(&identity) {
                all.push(identity);
            }
        }
        auth::sort_as_apache(&mut all);
        let identities: Arc<[Identity]> = all.into();
        let admitted = self.is_admitted(&identities);
        if let Some(connection) = self.conns.get_mut(&conn) {
            connection.identities = identities.clone();
            connection.admitted = admitted;
        }
        fx.list.push(Effect::Identities { conn, identities, admitted });
    }

    /// Carries out a request that changes nothing.
    pub(crate) fn read_now(
        &mut self,
        tree: &Tree,
        watches: &mut impl WatchAccess,
        conn: ConnId,
        identities: &[Identity],
        frame: &[u8],
        fx: &mut Effects,
    ) {
        let Some(connection) = self.conns.get(&conn) else { return };
        let start = fx.bytes.len();
        let mut reader = Reader {
            tree,
            watches,
            auth: &self.options.prepare.auth,
            conn,
            session: connection.session,
            identities,
            limits: self.options.limits,
            max_response_bytes: self.options.max_response_bytes,
            max_answer_bytes: self.options.max_answer_bytes,
        };
        // Catch-up events of a setWatches are in the same bytes, in front of the answer.
        reader.answer(frame, &mut fx.bytes);
        let frame = fx.span_from(start);
        fx.list.push(Effect::Send { conn, frame, is_reply: true });
    }
}

/// A request's body with an empty path where it has a null path: the length of null is -1.
fn with_empty_path(body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    body[..4].fill(0);
    body
}

/// What Apache refuses a write for before it looks at its path, if that is null.
fn refused_without_path(request: &Request<'_>, tree: &Tree) -> Option<ErrorCode> {
    match request {
        Request::Create(create) => check_create_mode(create, tree.options().extended_types).err(),
        Request::SetData(_) | Request::SetAcl(_) => Some(ErrorCode::BadArguments),
        _ => None,
    }
}

/// The same of a request whose body has a null path.
pub(crate) fn code_without_path(
    op: OpCode,
    body: &[u8],
    tree: &Tree,
    limits: Limits,
) -> Option<ErrorCode> {
    let body = with_empty_path(body);
    match Request::read(op, &mut zk_proto::Reader::with_limits(&body, limits)) {
        Ok(Some(request)) => refused_without_path(&request, tree),
        _ => None,
    }
}

/// Whether a connection may have these identities too.
fn fits(present: &[Identity], granted: &[Identity]) -> bool {
    let bytes = |list: &[Identity]| list.iter().map(|identity| identity.id.len()).sum::<usize>();
    present.len() + granted.len() <= MAX_IDENTITIES
        && bytes(present) + bytes(granted) <= MAX_IDENTITY_BYTES
}
