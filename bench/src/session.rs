//! The client's end of many sessions: requests numbered, answers matched in order.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use zk_proto::request::Request;
use zk_proto::response::ReplyHeader;
use zk_proto::{Jute, Reader, Xid};

use crate::client::{self, Identity};
use crate::error::{Error, Result, Wrong};
use crate::net::{self, Events, Net, Peer};
use crate::wire;

/// Handshakes under way at once. Apache listens with a backlog of 50, and a connection that does
/// not fit waits a second for its second SYN.
const OPENING: usize = 48;
/// How long the set-up and the end of a load may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nanoseconds since the load began.
pub type Nanos = u64;

/// A request under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// When it left, or should have.
    pub at: Nanos,
    /// What the load wants to know when its answer comes.
    pub tag: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Opening,
    Open,
    /// closeSession is sent; the end of the connection is now what is wanted.
    Closing,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    state: State,
    next_xid: i32,
    last_zxid: i64,
    sent: VecDeque<Sent>,
}

/// What a frame of the server means.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// The session is open.
    Opened,
    /// The answer to the oldest outstanding request, without its header.
    Answer(Sent, &'a [u8]),
    /// A watch event, without its header.
    Event(&'a [u8]),
}

impl Session {
    fn new() -> Session {
        Session { state: State::Opening, next_xid: 1, last_zxid: 0, sent: VecDeque::new() }
    }

    /// The xid of the next request.
    #[must_use]
    pub fn next_xid(&self) -> i32 {
        self.next_xid
    }

    /// Requests without an answer.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.sent.len()
    }

    /// Notes that the request with [`Session::next_xid`] leaves.
    pub fn note(&mut self, sent: Sent) {
        self.sent.push_back(sent);
        self.next_xid = if self.next_xid == i32::MAX { 1 } else { self.next_xid + 1 };
    }

    /// Appends a request made on the spot.
    pub fn send(&mut self, out: &mut Vec<u8>, request: &Request<'_>, sent: Sent) {
        out.extend_from_slice(&wire::frame(self.next_xid, request));
        self.note(sent);
    }

    /// Appends closeSession. After its answer the server closes the connection.
    pub fn send_close(&mut self, out: &mut Vec<u8>, sent: Sent) {
        self.send(out, &Request::CloseSession, sent);
        self.state = State::Closing;
    }

    fn oldest_xid(&self) -> i32 {
        let xid = self.next_xid - self.sent.len() as i32;
        if xid > 0 { xid } else { xid + i32::MAX }
    }

    /// Understands a frame. Every answer must be the next one in order, without an error, and its
    /// zxid must not fall.
    fn hear<'a>(&mut self, frame: &'a [u8]) -> Result<Heard<'a>, Wrong> {
        if self.state == State::Opening {
            client::check_handshake(frame)?;
            self.state = State::Open;
            return Ok(Heard::Opened);
        }
        let mut r = Reader::new(frame);
        let header = ReplyHeader::read(&mut r)?;
        if header.xid == Xid::NOTIFICATION.0 {
            return Ok(Heard::Event(r.rest()));
        }
        if self.sent.is_empty() {
            return Err(Wrong::Unasked { got: header.xid });
        }
        if header.xid != self.oldest_xid() {
            return Err(Wrong::Order { got: header.xid });
        }
        if header.err != 0 {
            return Err(Wrong::Code(header.err));
        }
        if header.zxid < self.last_zxid {
            return Err(Wrong::ZxidFell { before: self.last_zxid, after: header.zxid });
        }
        self.last_zxid = header.zxid;
        let sent = self.sent.pop_front().expect("checked above");
        Ok(Heard::Answer(sent, r.rest()))
    }

    fn may_end(&self) -> bool {
        self.state == State::Closing && self.sent.is_empty()
    }
}

/// The session whose frame is being looked at.
pub struct Turn<'a> {
    /// Its number.
    pub conn: usize,
    /// When the frame was read.
    pub at: Nanos,
    /// The session.
    pub session: &'a mut Session,
    /// What is written to it after its batch of frames.
    pub out: &'a mut Vec<u8>,
}

/// All sessions of a load, numbered from 0.
pub struct Sessions {
    net: Net,
    list: Vec<Session>,
    events: Events,
    begin: Instant,
    /// How many were begun: each goes to the next member.
    begun: usize,
    addrs: Vec<SocketAddr>,
    /// Sessions whose connection ended as it should, since [`Sessions::take_ended`].
    ended: Vec<usize>,
}

impl Sessions {
    /// No sessions yet; they will be spread over these members.
    pub fn new(addrs: &[SocketAddr]) -> Result<Sessions> {
        Ok(Sessions {
            net: Net::new()?,
            list: Vec::new(),
            events: Events::new(),
            begin: Instant::now(),
            addrs: addrs.to_vec(),
            begun: 0,
            ended: Vec::new(),
        })
    }

    /// Opens `count` sessions and returns once they all stand.
    pub fn open(&mut self, count: usize) -> Result<()> {
        let mut opened = 0;
        let mut begun = 0;
        self.pump_until("all sessions to open", |this| {
            while begun < count && begun - opened < OPENING {
                this.dial()?;
                begun += 1;
            }
            this.pump(Duration::from_millis(100), |_, heard| {
                opened += usize::from(heard == Heard::Opened);
                Ok(())
            })?;
            Ok(opened == count)
        })
    }

    /// Begins one session; its number may be that of one that ended.
    pub fn dial(&mut self) -> Result<usize> {
        let conn = self.net.connect(self.addrs[self.begun % self.addrs.len()])?;
        self.begun += 1;
        if conn == self.list.len() {
            self.list.push(Session::new());
        } else {
            self.list[conn] = Session::new();
        }
        client::put_handshake(self.net.out(conn), &Identity::NEW);
        self.net.flush(conn)?;
        Ok(conn)
    }

    /// How many sessions there were at most.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there never was a session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// When the clock was 0.
    #[must_use]
    pub fn began(&self) -> Instant {
        self.begin
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Nanos {
        self.begin.elapsed().as_nanos() as Nanos
    }

    /// Queues on a session without writing yet.
    pub fn queue<T>(
        &mut self,
        conn: usize,
        act: impl FnOnce(&mut Session, &mut Vec<u8>) -> T,
    ) -> T {
        act(&mut self.list[conn], self.net.out(conn))
    }

    /// Writes what is queued.
    pub fn flush(&mut self, conn: usize) -> Result<()> {
        self.net.flush(conn)
    }

    /// Waits at most `timeout`, then hands over every frame that came and writes what was queued
    /// on its session: one read and one write for each session that has something.
    pub fn pump(
        &mut self,
        timeout: Duration,
        mut each: impl FnMut(Turn<'_>, Heard<'_>) -> Result<()>,
    ) -> Result<()> {
        let Sessions { net, list, events, begin, ended, .. } = self;
        net.wait(events, Some(timeout))?;
        for event in events.iter() {
            let Some(conn) = net::token(event) else { continue };
            let session = &mut list[conn];
            let mut at = 0;
            let peer = net.read(conn, event, |out, frame| {
                if at == 0 {
                    at = begin.elapsed().as_nanos() as Nanos;
                }
                let xid = session.oldest_xid();
                let heard =
                    session.hear(frame).map_err(|wrong| Error::Wrong { conn, xid, wrong })?;
                each(Turn { conn, at, session, out }, heard)
            })?;
            match peer {
                Peer::Open => net.flush(conn)?,
                Peer::Closed if session.may_end() => {
                    net.close(conn);
                    ended.push(conn);
                }
                Peer::Closed => {
                    return Err(Error::Closed { conn, outstanding: session.outstanding() });
                }
            }
        }
        Ok(())
    }

    /// The sessions that ended since the last call.
    pub fn take_ended(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.ended)
    }

    /// Repeats `step` until it says that all is done.
    pub fn pump_until(
        &mut self,
        what: &str,
        mut step: impl FnMut(&mut Sessions) -> Result<bool>,
    ) -> Result<()> {
        let begin = Instant::now();
        while !step(self)? {
            if begin.elapsed() > PATIENCE {
                return Err(Error::Timeout { what: what.to_owned(), seconds: PATIENCE.as_secs() });
            }
        }
        Ok(())
    }

    /// Closes all sessions and waits until the server has ended their connections.
    pub fn close(mut self) -> Result<()> {
        let open: Vec<usize> =
            (0..self.list.len()).filter(|&conn| self.list[conn].state == State::Open).collect();
        for &conn in &open {
            let at = self.now();
            self.queue(conn, |session, out| session.send_close(out, Sent { at, tag: 0 }));
            self.flush(conn)?;
        }
        let mut left = open.len();
        self.pump_until("all sessions to close", |this| {
            this.pump(Duration::from_millis(100), |_, _| Ok(()))?;
            left -= this.take_ended().len();
            Ok(left == 0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_proto::ErrorCode;

    fn open(requests: i32) -> Session {
        let mut session = Session::new();
        session.state = State::Open;
        (0..requests).for_each(|i| session.note(Sent { at: 0, tag: i as u64 }));
        session
    }

    fn reply(xid: i32, zxid: i64, err: ErrorCode) -> Vec<u8> {
        ReplyHeader::new(xid, zxid, err).to_bytes()
    }

    #[test]
    fn answers_come_in_order_without_errors_and_zxids_do_not_fall() {
        let mut session = open(5);
        let tag = |tag| Ok(Heard::Answer(Sent { at: 0, tag }, &[][..]));
        assert_eq!(session.hear(&reply(1, 7, ErrorCode::Ok)), tag(0));
        assert_eq!(session.hear(&reply(3, 7, ErrorCode::Ok)), Err(Wrong::Order { got: 3 }));
        assert_eq!(session.hear(&reply(2, 7, ErrorCode::Ok)), tag(1));
        let fell = Wrong::ZxidFell { before: 7, after: 6 };
        assert_eq!(session.hear(&reply(3, 6, ErrorCode::Ok)), Err(fell));
        assert_eq!(session.hear(&reply(3, 8, ErrorCode::NoNode)), Err(Wrong::Code(-101)));
        assert_eq!(open(0).hear(&reply(1, 7, ErrorCode::Ok)), Err(Wrong::Unasked { got: 1 }));
    }

    #[test]
    fn events_take_no_answer_s_place() {
        let mut session = open(1);
        assert_eq!(session.hear(&reply(-1, -1, ErrorCode::Ok)), Ok(Heard::Event(&[])));
        assert_eq!(session.outstanding(), 1);
    }

    #[test]
    fn xids_start_over_after_the_greatest() {
        let mut session = open(0);
        session.next_xid = i32::MAX;
        let xids = [session.next_xid(), {
            session.note(Sent { at: 0, tag: 0 });
            session.next_xid()
        }];
        session.note(Sent { at: 0, tag: 1 });
        assert_eq!(xids, [i32::MAX, 1]);
        assert_eq!(session.oldest_xid(), i32::MAX);
        assert!(session.hear(&reply(i32::MAX, 1, ErrorCode::Ok)).is_ok());
        assert_eq!(session.oldest_xid(), 1);
        assert!(session.hear(&reply(1, 1, ErrorCode::Ok)).is_ok());
    }
}
