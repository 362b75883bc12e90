//! A client of an ensemble: it knows the members' addresses, holds on to its session, and does not
//! wait for ever.

use super::coverage::Point;
use super::event::Event;
use super::hub::Hub;
use super::net::ClientLink;
use super::record::Record;
use super::workload::{Workload, frame};
use crate::record::Conn;
use crate::world::client::{Client, Heard, Held};
use std::rc::Rc;
use zk_proto::connect::ConnectRequest;
use zk_proto::request::{AuthPacket, ReconfigRequest, Request};
use zk_proto::{Jute, SessionId, Sid};

/// So many requests it has under way at most.
const MOST: usize = 6;

/// See the module.
#[derive(Debug)]
pub(crate) struct Agent {
    at: usize,
    ip: Rc<str>,
    inner: Client,
    conn: Option<Conn>,
    timeout_ms: u64,
    /// How long it thinks between two requests, in µs.
    thinks_us: u64,
    /// Whether it proves who it is.
    proves: bool,
    /// It changes the ensemble, and does nothing else.
    is_operator: bool,
    /// It has asked for the end of its session.
    is_closing: bool,
    /// When it connected, last sent and last heard something.
    connected_us: u64,
    sent_us: u64,
    heard_us: u64,
    /// Requests that it has sent.
    pub(crate) asked: u64,
    /// Replies that it got.
    pub(crate) answered: u64,
}

impl Agent {
    pub(crate) fn new(at: usize, thinks_us: u64, timeout_ms: u64, proves: bool) -> Agent {
        let inner = Client::new(at);
        Agent {
            at,
            ip: inner.ip.as_str().into(),
            inner,
            conn: None,
            timeout_ms,
            thinks_us,
            proves,
            is_operator: false,
            is_closing: false,
            connected_us: 0,
            sent_us: 0,
            heard_us: 0,
            asked: 0,
            answered: 0,
        }
    }

    /// One who may change the ensemble.
    pub(crate) fn operator(at: usize, timeout_ms: u64) -> Agent {
        let thinks_us = 1_500_000;
        Agent { is_operator: true, ..Agent::new(at, thinks_us, timeout_ms, true) }
    }

    pub(crate) fn ip(&self) -> Rc<str> {
        self.ip.clone()
    }

    pub(crate) fn timeout_us(&self) -> u64 {
        self.timeout_ms * 1000
    }

    /// Whether it has a session now, and was told so since then.
    pub(crate) fn is_served_since(&self, since_us: u64) -> bool {
        self.inner.is_live && self.heard_us >= since_us
    }

    pub(crate) fn conn(&self) -> Option<Conn> {
        self.conn
    }

    /// Its turn.
    pub(crate) fn act(
        &mut self,
        hub: &mut Hub,
        members: &[(Sid, u32)],
        work: &Workload,
        calm: bool,
    ) {
        let draw = hub.rng.draw();
        let mut next_us = self.thinks_us / 2 + draw % self.thinks_us.max(1);
        let timeout_us = self.timeout_ms * 1000;
        match self.conn {
            None => {
                self.connect(hub, members);
                next_us = 100_000;
            }
            Some(_) if !self.inner.is_live => {
                if hub.now_us > self.connected_us + timeout_us / 3 {
                    self.leave(hub);
                }
                next_us = 100_000;
            }
            Some(_) if hub.now_us > self.heard_us + timeout_us * 2 / 3 => self.leave(hub),
            Some(_) if !calm && hub.rng.chance(1) => self.leave(hub),
            Some(conn) if self.is_operator => self.operate(hub, conn, members.len(), calm),
            Some(conn) => self.go_on(hub, conn, work, calm),
        }
        let at = self.at;
        hub.queue.push(hub.now_us + next_us, Event::Client { at });
    }

    /// It is connected, and does what it is there for.
    fn go_on(&mut self, hub: &mut Hub, conn: Conn, work: &Workload, calm: bool) {
        if self.is_closing || self.inner.asked.len() >= MOST {
            return;
        }
        let is_quiet = hub.now_us < self.sent_us + self.timeout_ms * 1000 / 3;
        let (xid, request) = match hub.rng.below(if calm { 990 } else { 1000 }) {
            999 => (0, Request::CloseSession),
            990..999 if is_quiet => return,
            990..999 => (-2, Request::Ping),
            _ => (0, work.request(&mut hub.rng)),
        };
        self.is_closing = matches!(request, Request::CloseSession);
        let xid = if xid == 0 { self.next_xid() } else { xid };
        self.ask(hub, conn, xid, &frame(xid, &request));
    }

    /// A member joins, leaves, or gets another role.
    fn operate(&mut self, hub: &mut Hub, conn: Conn, members: usize, calm: bool) {
        let xid = self.next_xid();
        if calm {
            return self.ask(hub, conn, -2, &frame(-2, &Request::Ping));
        }
        let sid = 1 + hub.rng.below(members);
        let role = *hub.rng.pick(&["participant", "participant", "observer"]);
        let line = format!("server.{sid}=h{sid}:1:2:{role};h{sid}:3");
        let leaves = hub.rng.chance(350);
        let request = Request::Reconfig(ReconfigRequest {
            joining: (!leaves).then(|| line.into()),
            leaving: leaves.then(|| sid.to_string().into()),
            new_members: None,
            config_id: -1,
        });
        self.ask(hub, conn, xid, &frame(xid, &request));
    }

    fn next_xid(&mut self) -> i32 {
        self.inner.xid += 1;
        self.inner.xid
    }

    fn ask(&mut self, hub: &mut Hub, conn: Conn, xid: i32, bytes: &[u8]) {
        let frame: Rc<[u8]> = bytes.into();
        self.inner.asked.push_back((xid, frame.clone()));
        self.asked += 1;
        self.send(hub, conn, frame);
    }

    fn send(&mut self, hub: &mut Hub, conn: Conn, frame: Rc<[u8]>) {
        self.sent_us = hub.now_us;
        let session =
            if self.inner.is_live { self.inner.session.as_ref().map_or(0, |s| s.id) } else { 0 };
        hub.tell(Record::Invoked { conn, session, frame: frame.clone() });
        to_member(hub, conn, Event::ToMember { conn, frame });
    }

    /// It connects to any member.
    fn connect(&mut self, hub: &mut Hub, members: &[(Sid, u32)]) {
        let (sid, life) = *hub.rng.pick(members);
        let conn = hub.net.next();
        let link = ClientLink {
            client: self.at,
            sid,
            life,
            is_accepted: false,
            is_closed_by_member: false,
            is_torn: false,
            last_us: [0, 0],
        };
        hub.net.conns.insert(conn, link);
        self.conn = Some(conn);
        self.inner.conn = Some(conn);
        self.inner.is_live = false;
        (self.connected_us, self.heard_us) = (hub.now_us, hub.now_us);
        to_member(hub, conn, Event::Connects { conn });
        self.inner.renews = self.inner.session.is_some();
        let held = self.inner.session.clone().unwrap_or(Held { id: 0, password: vec![0; 16] });
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.inner.last_zxid,
            timeout_ms: self.timeout_ms as i32,
            session_id: SessionId(held.id),
            password: Some(&held.password),
            read_only: Some(false),
        };
        self.send(hub, conn, request.to_bytes().into());
    }

    /// It leaves its connection.
    pub(crate) fn leave(&mut self, hub: &mut Hub) {
        if let Some(conn) = self.conn {
            to_member(hub, conn, Event::ClosedByClient { conn });
        }
        self.lose();
    }

    /// Its connection is over.
    pub(crate) fn lose(&mut self) {
        self.conn = None;
        self.inner.disconnected();
        if std::mem::take(&mut self.is_closing) {
            self.inner.forget();
        }
    }

    /// A frame comes.
    pub(crate) fn hear(&mut self, hub: &mut Hub, conn: Conn, frame: &Rc<[u8]>) {
        if self.conn != Some(conn) {
            return;
        }
        self.heard_us = hub.now_us;
        hub.tell(Record::Received { conn, frame: frame.clone() });
        match self.inner.hear(frame) {
            Heard::Established => self.established(hub, conn),
            Heard::Expired | Heard::Event => {}
            Heard::Reply => self.answered += 1,
        }
    }

    fn established(&mut self, hub: &mut Hub, conn: Conn) {
        if self.proves {
            let user = if self.is_operator { 2 } else { 0 };
            let auth = Some(crate::oracle::USERS[user].0.as_bytes());
            let packet = AuthPacket { auth_type: 0, scheme: Some("digest".into()), auth };
            self.ask(hub, conn, -4, &frame(-4, &Request::Auth(packet)));
        }
        if !self.inner.renews || self.inner.armed.is_empty() {
            return;
        }
        hub.mark(Point::CaughtUp);
        let request = self.inner.armed.restore(self.inner.last_zxid);
        self.ask(hub, conn, -8, &frame(-8, &request));
    }
}

/// Puts something on its way to a member.
fn to_member(hub: &mut Hub, conn: Conn, event: Event) {
    let us = hub.delay_us();
    let now_us = hub.now_us;
    let Some(link) = hub.net.conns.get_mut(&conn) else { return };
    link.last_us[0] = (now_us + us).max(link.last_us[0] + 1);
    let at_us = link.last_us[0];
    hub.queue.push(at_us, event);
}
