//! What a client's frame asks for (client-protocol 2.2, 3, 8.4).

use super::{Asked, Expected, Fact, Input, Oracle, Phase};
use crate::model::wire::Bytes;
use crate::model::write::without_path;
use crate::model::{acl::Id, code, password};
use crate::record::Conn;
use std::collections::VecDeque;
use std::rc::Rc;
use zk_proto::connect::ConnectRequest;
use zk_proto::request::{AuthPacket, MultiOp, Request, RequestHeader};
use zk_proto::{DecodeError, Jute, OpCode, Reader, SessionId};

/// `user:password` and what the digest scheme makes of it (computed with another tool).
pub const USERS: [(&str, &str); 3] = [
    ("ann:a1", "ann:B+EWggFF0mAScgztRfpS12Ri7ck="),
    ("bob:b2", "bob:6W9Rm7ZIE5Sj6YFtLmm0dy+s3Og="),
    ("root:super", "root:M9wObUI0Txh8kORVbP6gNjqlkMU="),
];
/// The digest whose owner may do everything.
pub const SUPER_DIGEST: &str = USERS[2].1;

impl Oracle {
    pub(super) fn submitted(&mut self, conn: Conn, frame: &Rc<[u8]>) -> Fact {
        let wire = self.wires.entry(conn).or_default();
        let after = wire.inbound.pop_front().unwrap_or(self.completed);
        match self.conns.get(&conn).map(|view| view.phase) {
            Some(Phase::New) => {
                self.input = Input::Handshake(conn);
                self.handshake(conn, frame);
            }
            Some(Phase::Live) => {
                // Several requests may be taken in before their effects are carried out.
                if !matches!(self.input, Input::Requests(_)) {
                    self.input = Input::Requests(VecDeque::new());
                }
                self.heard(conn);
                self.request(conn, frame, after);
            }
            _ => self.heard(conn),
        }
        Fact::Plain
    }

    fn heard(&mut self, conn: Conn) {
        let Some(view) = self.conns.get(&conn) else { return };
        if let Some(session) = self.sessions.get_mut(&view.session)
            && session.owner == Some(conn)
        {
            session.heard_ms = session.heard_ms.max(self.now.monotonic_ms);
        }
    }

    fn end(&mut self, conn: Conn, reason: &'static str) {
        if let Some(view) = self.conns.get_mut(&conn) {
            view.phase = Phase::Ending(reason);
        }
    }

    fn handshake(&mut self, conn: Conn, frame: &[u8]) {
        let Ok(request) = ConnectRequest::read(&mut Reader::new(frame)) else {
            return self.end(conn, "unreadable handshake");
        };
        if self.is_read_only && request.session_id == SessionId::NONE {
            return self.end(conn, "no session opens now");
        }
        if request.last_zxid_seen > self.applied {
            return self.end(conn, "the client has seen more");
        }
        let (low, high) = (self.terms.min_timeout_ms, self.terms.max_timeout_ms);
        let timeout_ms = request.timeout_ms.max(low).min(high);
        let session = request.session_id.0;
        let password_fits = request.password == Some(&self.password(session));
        let is_renewal = session != 0;
        let lives = password_fits
            && self.has_session(session, self.applied)
            && self.has_session(session, self.proposed);
        let password = self.password(session);
        let Some(view) = self.conns.get_mut(&conn) else { return };
        view.timeout_ms = timeout_ms;
        view.has_read_only_byte = request.read_only.is_some();
        view.phase = Phase::Opening;
        if !is_renewal {
            return;
        }
        if !lives && self.is_read_only {
            return self.end(conn, "nobody is told now that a session is gone");
        }
        if !lives {
            view.handshake = Some(response(0, 0, &[0; 16], view.has_read_only_byte));
            return self.end(conn, "its session is gone");
        }
        view.session = session;
        view.handshake = Some(response(timeout_ms, session, &password, view.has_read_only_byte));
        self.renewed(conn, session, timeout_ms);
    }

    /// What its client must know: a session keeps the password with which it was opened.
    fn password(&self, session: i64) -> [u8; 16] {
        if self.keyed.contains(&session) {
            password::keyed(session)
        } else {
            zk_proto::password::apache(SessionId(session))
        }
    }

    /// The session moves here; whoever had it is cut off.
    fn renewed(&mut self, conn: Conn, session: i64, timeout_ms: i32) {
        for (&other, view) in &mut self.conns {
            if other != conn && view.session == session {
                view.phase = Phase::Ending("its session moved");
            }
        }
        if let Some(view) = self.sessions.get_mut(&session) {
            view.heard_ms = self.now.monotonic_ms;
            view.timeout_ms = i64::from(timeout_ms);
            view.owner = Some(conn);
        }
    }

    /// The handshake of a new session has its transaction: now the answer is known.
    pub(super) fn opening(&mut self, conn: Conn, session: i64, zxid: i64) {
        let starts = self.starts.saturating_sub(1);
        if self.terms.keyed_from.is_some_and(|from| from <= starts) {
            self.keyed.insert(session);
        } else {
            self.keyed.remove(&session);
        }
        let password = self.password(session);
        if let Some(view) = self.conns.get_mut(&conn) {
            view.session = session;
            view.opened = Some(zxid);
            view.handshake =
                Some(response(view.timeout_ms, session, &password, view.has_read_only_byte));
        }
    }

    fn request(&mut self, conn: Conn, frame: &Rc<[u8]>, after: i64) {
        let mut r = Reader::new(frame);
        let Ok(header) = RequestHeader::read(&mut r) else {
            return self.end(conn, "unreadable header");
        };
        let op = OpCode::from_code(header.op).filter(|op| op.is_client_request());
        let expected = match op {
            op if op != Some(OpCode::Auth) && !self.is_admitted(conn) => {
                self.end(conn, "it must say who it is");
                Expected::Fixed(0, code::AUTH_REQUIRED)
            }
            None => {
                self.end(conn, "unknown operation");
                Expected::Fixed(-1, code::UNIMPLEMENTED)
            }
            Some(op) => match Request::read(op, &mut r) {
                Ok(Some(request)) => match self.wanted(conn, &request) {
                    Some(expected) => expected,
                    None => return,
                },
                Err(_) if op == OpCode::Auth => return self.end(conn, "unreadable auth packet"),
                // A null path can be read, and is a bad one.
                Err(DecodeError::Null { at: 8 })
                    if without_path(self.terms.rules, op, &frame[8..]).is_some() =>
                {
                    match self.is_read_only {
                        true => Expected::Refusal(code::NOT_READ_ONLY),
                        false => Expected::Write(None),
                    }
                }
                _ => Expected::Refusal(code::MARSHALLING),
            },
        };
        let Some(view) = self.conns.get_mut(&conn) else { return };
        // Apache answers a ping as a ping, whatever xid it came with.
        let is_ping = header.op == OpCode::Ping.code() && expected == Expected::Read;
        let (xid, op) = (if is_ping { -2 } else { header.xid }, header.op);
        let ids = view.ids.clone();
        view.asked.push_back(Asked { xid, op, frame: frame.clone(), ids, expected, after });
        if let (Expected::Write(None), Input::Requests(writes)) = (expected, &mut self.input) {
            writes.push_back(conn);
        }
    }

    /// Whether `enforce.auth` lets a connection go on.
    fn is_admitted(&self, conn: Conn) -> bool {
        let has_digest = |ids: &[Id]| ids.iter().any(|(scheme, _)| scheme == "digest");
        !self.terms.enforces_digest
            || self.conns.get(&conn).is_some_and(|view| has_digest(&view.ids))
    }

    /// What answers a request; `None` if nothing will.
    fn wanted(&mut self, conn: Conn, request: &Request<'_>) -> Option<Expected> {
        let session = self.conns.get(&conn)?.session;
        Some(match request {
            Request::Auth(packet) => self.auth(conn, packet),
            Request::Multi(multi) if !multi.ops.iter().all(may_be_in_a_multi) => {
                Expected::Refusal(code::MARSHALLING)
            }
            request if request.opcode().is_write() && self.is_read_only => {
                Expected::Refusal(code::NOT_READ_ONLY)
            }
            Request::CloseSession => {
                self.end(conn, "it asked for it");
                // It has expired just now: the connection ends without a word.
                if !self.has_session(session, self.proposed) {
                    return None;
                }
                Expected::Write(None)
            }
            request if request.opcode().is_write() => Expected::Write(None),
            _ => Expected::Read,
        })
    }

    fn auth(&mut self, conn: Conn, packet: &AuthPacket<'_>) -> Expected {
        let credentials = packet.auth.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let known = USERS.iter().find(|(user, _)| Some(*user) == credentials.as_deref());
        match (packet.scheme.as_deref(), known) {
            (Some("digest"), Some((_, digest))) => {
                let Some(view) = self.conns.get_mut(&conn) else { return Expected::Fixed(0, 0) };
                let id = |scheme: &str, id: &str| -> Id { (scheme.into(), id.into()) };
                if *digest == SUPER_DIGEST {
                    view.add_identity(id("super", ""));
                }
                view.add_identity(id("digest", digest));
                Expected::Fixed(0, 0)
            }
            (Some("ip"), _) => Expected::Fixed(0, 0),
            _ => {
                self.end(conn, "authentication failed");
                Expected::Fixed(0, code::AUTH_FAILED)
            }
        }
    }
}

/// Only writes, and creates with flags that fit (client-protocol 6.1).
fn may_be_in_a_multi(op: &MultiOp<'_>) -> bool {
    match op {
        // Apache reads a createTTL without looking at it, and a null ACL of the others not at all.
        MultiOp::Create(create) if create.op == OpCode::CreateTtl => true,
        MultiOp::Create(create) if create.acl.as_bytes() == [0xff; 4] => false,
        MultiOp::Create(create) => (0..=4).contains(&create.flags),
        MultiOp::Delete(_) | MultiOp::SetData(_) | MultiOp::Check(_) => true,
        MultiOp::GetData(_) | MultiOp::GetChildren(_) => false,
    }
}

fn response(timeout_ms: i32, session: i64, password: &[u8], with_byte: bool) -> Vec<u8> {
    let bytes = Bytes::default().int(0).int(timeout_ms).long(session).buffer(Some(password));
    if with_byte { bytes.bool(false).0 } else { bytes.0 }
}
