//! What the member says, beside what it should say.

use super::{Asked, ConnView, Expected, Fact, Oracle, Phase};
use crate::model::read::{self, Look, Reply};
use crate::model::watch::Event;
use crate::record::Conn;
use std::rc::Rc;
use zk_proto::request::{Request, RequestHeader};
use zk_proto::response::ReplyHeader;
use zk_proto::watch::WatcherEvent;
use zk_proto::{Jute, OpCode, Reader};

impl Oracle {
    pub(super) fn sent(&mut self, conn: Conn, frame: &Rc<[u8]>) -> Fact {
        let Some(view) = self.conns.get_mut(&conn) else { return Fact::Plain };
        let mut r = Reader::new(frame);
        let header = ReplyHeader::read(&mut r).unwrap_or(ReplyHeader { xid: 0, zxid: 0, err: 0 });
        if view.phase == Phase::Opening || (view.handshake.is_some() && header.xid == 0) {
            return self.sent_handshake(conn);
        }
        if header.xid == -1
            && let Ok(body) = WatcherEvent::read(&mut r)
        {
            let event = Event { zxid: header.zxid, kind: body.event_type, path: body.path.into() };
            match header.zxid {
                -1 => view.catch_up.push(event.clone()),
                _ => view.unsettled.push(event.clone()),
            }
            return Fact::Event { conn, event };
        }
        let asked = view.asked.pop_front();
        let session = view.session;
        let write = match asked.as_ref().map(|asked| asked.expected) {
            Some(Expected::Write(zxid)) => zxid,
            _ => None,
        };
        self.wires.entry(conn).or_default().outbound.push_back(write);
        if header.zxid > 0 {
            self.settle(conn, header.zxid);
        }
        let (missed, expected) = match &asked {
            Some(asked) => self.expected(conn, asked, &header),
            None => (Vec::new(), None),
        };
        let caught_up = match self.conns.get_mut(&conn) {
            Some(view) => std::mem::take(&mut view.catch_up),
            None => Vec::new(),
        };
        let missed = (missed, caught_up);
        Fact::Replied { conn, session, header, asked: asked.map(Box::new), expected, missed }
    }

    fn sent_handshake(&mut self, conn: Conn) -> Fact {
        self.wires.entry(conn).or_default().outbound.push_back(None);
        let applied = self.applied;
        let Some(view) = self.conns.get_mut(&conn) else { return Fact::Plain };
        let expected = view.handshake.take();
        let opened = view.opened;
        if view.phase == Phase::Opening {
            view.phase = Phase::Live;
            view.settled = applied;
        }
        Fact::Handshake { conn, expected, opened }
    }

    /// The model's reply, and the catch-up events in front of it.
    fn expected(
        &mut self,
        conn: Conn,
        asked: &Asked,
        header: &ReplyHeader,
    ) -> (Vec<Event>, Option<Reply>) {
        let none = Vec::new();
        match asked.expected {
            Expected::Fixed(_, error) | Expected::Refusal(error) => {
                (none, Some((error, Vec::new())))
            }
            Expected::Write(None) => (none, None),
            Expected::Write(Some(zxid)) => {
                let reply = self.history.get(&zxid).map(|committed| &committed.step.reply);
                let reply = reply.map(|reply| match reply {
                    Ok(body) => (0, body.clone()),
                    Err(error) => (*error, Vec::new()),
                });
                (none, reply)
            }
            Expected::Read => {
                let Some(state) = self.state(header.zxid).cloned() else { return (none, None) };
                let Some(view) = self.conns.get_mut(&conn) else { return (none, None) };
                match read_of(asked) {
                    Some(op_and_rest) => {
                        let most = self.terms.max_response_bytes;
                        let (missed, reply) = answer(&state, view, asked, op_and_rest, most);
                        (missed, Some(reply))
                    }
                    None => (none, None),
                }
            }
        }
    }

    pub(super) fn received(&mut self, conn: Conn, frame: &[u8]) -> Fact {
        let header = ReplyHeader::read(&mut Reader::new(frame));
        if header.is_ok_and(|header| header.xid != -1) {
            let wire = self.wires.entry(conn).or_default();
            if let Some(Some(zxid)) = wire.outbound.pop_front() {
                self.completed = self.completed.max(zxid);
            }
        }
        Fact::Plain
    }

    pub(super) fn closed(&mut self, conn: Conn) -> Fact {
        let view = self.conns.remove(&conn);
        let reason = view.and_then(|view| match view.phase {
            Phase::Ending(reason) => Some(reason),
            _ if view.session != 0 && !self.has_session(view.session, self.proposed) => {
                Some("its session ended")
            }
            _ => None,
        });
        Fact::Closed { conn, reason }
    }
}

/// The operation of a request and the reader behind its header.
fn read_of(asked: &Asked) -> Option<(OpCode, Reader<'_>)> {
    let mut r = Reader::new(&asked.frame);
    let header = RequestHeader::read(&mut r).ok()?;
    Some((OpCode::from_code(header.op)?, r))
}

fn answer(
    state: &crate::model::state::State,
    view: &mut ConnView,
    asked: &Asked,
    (op, mut r): (OpCode, Reader<'_>),
    max_response_bytes: usize,
) -> (Vec<Event>, Reply) {
    let Ok(Some(request)) = Request::read(op, &mut r) else {
        return (Vec::new(), (crate::model::code::MARSHALLING, Vec::new()));
    };
    let look = Look { state, session: view.session, ids: &asked.ids, max_response_bytes };
    read::answer(look, &mut view.watches, &request)
}
