//! Clients: what they ask for, what they are told, and what they should be told.

use super::{Annals, Fact};
use crate::model::acl::Id;
use crate::model::code;
use crate::model::read::{self, Look, Reply};
use crate::model::watch::{Event, Registry};
use crate::oracle::{SUPER_DIGEST, Settlement, USERS};
use crate::record::Conn;
use std::collections::VecDeque;
use std::rc::Rc;
use zk_proto::connect::{ConnectRequest, ConnectResponse};
use zk_proto::request::{Request, RequestHeader};
use zk_proto::response::ReplyHeader;
use zk_proto::watch::WatcherEvent;
use zk_proto::{Jute, OpCode, Reader, Sid};

/// As members are configured.
const MAX_RESPONSE_BYTES: usize = 4 * zk_proto::Limits::DEFAULT_MAX_BUFFER;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Its number.
    pub(crate) xid: i32,
    /// What.
    pub(crate) op: Option<OpCode>,
    /// The session.
    pub(crate) session: i64,
    /// The whole frame.
    pub(crate) frame: Rc<[u8]>,
    /// Who asked.
    pub(crate) ids: Rc<[Id]>,
    /// The newest write that some client knew to be done when this was sent.
    pub(crate) after: i64,
}

/// What is known of a connection.
#[derive(Clone, Debug)]
pub(crate) struct ConnView {
    /// Which member has it.
    pub(crate) sid: Sid,
    /// Its session, once it has one.
    pub(crate) session: i64,
    /// The session that its handshake asked for.
    pub(crate) wanted: i64,
    /// The timeout in ms that its handshake came to.
    pub(crate) timeout_ms: i64,
    /// Its identities.
    pub(crate) ids: Rc<[Id]>,
    /// Whether the handshake was taken in, and answered.
    pub(crate) is_open: (bool, bool),
    /// What waits for a reply, in order.
    pub(crate) asked: VecDeque<Rc<Asked>>,
    /// Its watches.
    pub(crate) watches: Registry,
    /// Events of txns up to here were accounted for.
    pub(crate) settled: i64,
    /// Events that were sent since.
    pub(crate) unsettled: Vec<Event>,
    /// Catch-up events that were sent since the last reply.
    pub(crate) catch_up: Vec<Event>,
}

/// What outlives the member's end of a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Wire {
    /// Frames on their way in, with what was known to be done.
    inbound: VecDeque<(Rc<[u8]>, i64)>,
    /// For each reply on its way out: the write that it answers.
    outbound: VecDeque<Option<i64>>,
}

impl ConnView {
    pub(super) fn new(sid: Sid, ip: &str) -> ConnView {
        ConnView {
            sid,
            session: 0,
            wanted: 0,
            timeout_ms: 0,
            ids: Rc::from([("ip".to_string(), ip.to_string())]),
            is_open: (false, false),
            asked: VecDeque::new(),
            watches: Registry::default(),
            settled: 0,
            unsettled: Vec::new(),
            catch_up: Vec::new(),
        }
    }

    /// It proves to be somebody.
    fn add_identity(&mut self, digest: &str) {
        let id: Id = ("digest".into(), digest.into());
        let is_super = digest == SUPER_DIGEST;
        let all = [id, ("super".into(), String::new())].into_iter().take(1 + usize::from(is_super));
        for id in all {
            if !self.ids.contains(&id) {
                self.ids = self.ids.iter().cloned().chain([id]).collect();
            }
        }
    }
}

/// So many connections are remembered: many more than clients make while a member stands still.
const MOST_WIRES: usize = 8_192;

impl Annals {
    pub(super) fn invoked(&mut self, conn: Conn, frame: &Rc<[u8]>) {
        let item = (frame.clone(), self.completed);
        self.wires.entry(conn).or_default().inbound.push_back(item);
        if self.wires.len() > MOST_WIRES {
            let conns = &self.conns;
            // Of connections that are over for the member nothing comes any more; a member that
            // stands still takes some that have waited for long.
            let oldest = conns.keys().next().copied().unwrap_or(conn).min(conn);
            self.wires = self.wires.split_off(&oldest.saturating_sub(MOST_WIRES as u64 / 2));
        }
    }

    pub(super) fn submitted(&mut self, conn: Conn) {
        let next = self.wires.get_mut(&conn).and_then(|wire| wire.inbound.pop_front());
        let (Some((frame, after)), Some(view)) = (next, self.conns.get_mut(&conn)) else {
            return;
        };
        if !view.is_open.0 {
            view.is_open.0 = true;
            if let Ok(request) = ConnectRequest::read(&mut Reader::new(&frame)) {
                view.wanted = request.session_id.0;
            }
            return;
        }
        let mut r = Reader::new(&frame);
        let Ok(header) = RequestHeader::read(&mut r) else { return };
        let op = OpCode::from_code(header.op);
        let ids = view.ids.clone();
        let (xid, session) = (header.xid, view.session);
        let asked = Rc::new(Asked { xid, op, session, frame, ids, after });
        if op == Some(OpCode::Auth) {
            let is_of = |user: &&(&str, &str)| asked.frame.ends_with(user.0.as_bytes());
            view.add_identity(USERS.iter().find(is_of).map_or("", |user| user.1));
        }
        view.asked.push_back(asked.clone());
        if op.is_some_and(OpCode::is_write) {
            self.requests.insert((session, xid), asked);
        }
    }

    pub(super) fn sent(&mut self, conn: Conn, frame: &Rc<[u8]>) {
        let Some(view) = self.conns.get_mut(&conn) else { return };
        if !view.is_open.1 {
            view.is_open.1 = true;
            self.wires.entry(conn).or_default().outbound.push_back(None);
            if let Ok(response) = ConnectResponse::read(&mut Reader::new(frame)) {
                (view.session, view.timeout_ms) =
                    (response.session_id.0, i64::from(response.timeout_ms));
            }
            let (session, wanted) = (view.session, view.wanted);
            self.fact = Fact::Handshake { conn, session, wanted };
            return;
        }
        let mut r = Reader::new(frame);
        let header = ReplyHeader::read(&mut r).unwrap_or(ReplyHeader { xid: 0, zxid: 0, err: 0 });
        if header.xid == -1
            && let Ok(body) = WatcherEvent::read(&mut r)
        {
            let event = Event { zxid: header.zxid, kind: body.event_type, path: body.path.into() };
            match header.zxid {
                -1 => view.catch_up.push(event.clone()),
                _ => view.unsettled.push(event.clone()),
            }
            self.fact = Fact::Event { conn, event };
            return;
        }
        let asked = view.asked.pop_front();
        let session = view.session;
        let is_write = asked.as_ref().is_some_and(|it| it.op.is_some_and(OpCode::is_write));
        let zxid = match &asked {
            Some(asked) if is_write => self.answers.remove(&(session, asked.xid)),
            _ => None,
        };
        self.wires.entry(conn).or_default().outbound.push_back(zxid);
        if header.zxid > 0 {
            self.settle(conn, header.zxid);
        }
        let (missed, expected) = match &asked {
            Some(asked) if is_write => (Vec::new(), self.written(zxid, asked)),
            Some(asked) => self.read(conn, asked, header.zxid),
            None => (Vec::new(), None),
        };
        let caught_up = match self.conns.get_mut(&conn) {
            Some(view) => std::mem::take(&mut view.catch_up),
            None => Vec::new(),
        };
        let (missed, asked) = ((missed, caught_up), asked.map(|asked| Box::new((*asked).clone())));
        self.fact = Fact::Replied { conn, header, asked, zxid, expected, missed };
    }

    /// What is refused because it came late is never told to a client: it may be where its session
    /// is, if a move came late too.
    fn written(&self, zxid: Option<i64>, _: &Asked) -> Option<Reply> {
        let committed = self.committed(zxid?).filter(|it| !it.is_late)?;
        Some(match &committed.step.reply {
            Ok(body) => (0, body.clone()),
            Err(error) => (*error, Vec::new()),
        })
    }

    /// The model's reply to a read, and the catch-up events in front of it.
    fn read(&mut self, conn: Conn, asked: &Asked, zxid: i64) -> (Vec<Event>, Option<Reply>) {
        let none = (Vec::new(), None);
        if asked.op == Some(OpCode::Auth) {
            return (Vec::new(), Some((0, Vec::new())));
        }
        let Some(state) = self.state(zxid).cloned() else { return none };
        let Some(view) = self.conns.get_mut(&conn) else { return none };
        let mut r = Reader::new(&asked.frame);
        let (Ok(_), Some(op)) = (RequestHeader::read(&mut r), asked.op) else { return none };
        let Ok(Some(request)) = Request::read(op, &mut r) else {
            return (Vec::new(), Some((code::MARSHALLING, Vec::new())));
        };
        let max_response_bytes = MAX_RESPONSE_BYTES;
        let look =
            Look { state: &state, session: view.session, ids: &asked.ids, max_response_bytes };
        let (missed, reply) = read::answer(look, &mut view.watches, &request);
        (missed, Some(reply))
    }

    pub(super) fn received(&mut self, conn: Conn, frame: &[u8]) {
        let Ok(header) = ReplyHeader::read(&mut Reader::new(frame)) else { return };
        if header.xid != -1
            && let Some(wire) = self.wires.get_mut(&conn)
            && let Some(Some(zxid)) = wire.outbound.pop_front()
        {
            self.completed = self.completed.max(zxid).max(header.zxid);
        }
    }

    pub(super) fn settle_all(&mut self, sid: Sid, zxid: i64) {
        // Who has no watches is settled when it leaves one.
        let due = |view: &ConnView| {
            view.sid == sid && !(view.watches.is_empty() && view.unsettled.is_empty())
        };
        let conns: Vec<Conn> =
            self.conns.iter().filter(|(_, view)| due(view)).map(|(conn, _)| *conn).collect();
        conns.into_iter().for_each(|conn| self.settle(conn, zxid));
    }

    /// Compares a connection's events up to a zxid with those that are due.
    fn settle(&mut self, conn: Conn, zxid: i64) {
        let Some(view) = self.conns.get_mut(&conn) else { return };
        if zxid <= view.settled && view.unsettled.is_empty() {
            return;
        }
        if view.watches.is_empty() && view.unsettled.is_empty() {
            view.settled = view.settled.max(zxid);
            return;
        }
        let settled = view.settled;
        let from = self.first_behind(settled);
        let Some(view) = self.conns.get_mut(&conn) else { return };
        let (mut due, mut unordered) = (Vec::new(), Vec::new());
        for committed in self.history.range(from..).take_while(|it| it.zxid <= zxid) {
            for change in &committed.step.changes {
                due.extend(view.watches.events(committed.zxid, change, &view.ids));
            }
            if committed.is_close {
                unordered.push(committed.zxid);
            }
        }
        view.settled = view.settled.max(zxid);
        let mut sent = std::mem::take(&mut view.unsettled);
        for events in [&mut due, &mut sent] {
            for run in events.chunk_by_mut(|a, b| a.zxid == b.zxid) {
                if unordered.contains(&run[0].zxid) {
                    run.sort_unstable();
                }
            }
        }
        if !(due.is_empty() && sent.is_empty()) {
            self.settled.push(Settlement { conn, due, sent });
        }
    }
}
