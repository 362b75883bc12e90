//! A client as the outside knows it: a session that it holds on to, requests under way, watches
//! that it believes in.

use crate::record::Conn;
use std::collections::{BTreeSet, VecDeque};
use zk_proto::connect::ConnectResponse;
use zk_proto::request::{Request, RequestHeader, SetWatches2};
use zk_proto::response::ReplyHeader;
use zk_proto::watch::WatcherEvent;
use zk_proto::{Jute, OpCode, Reader, Text};

/// A frame without its length.
pub(crate) type Frame = std::rc::Rc<[u8]>;

/// A session that a client holds.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) id: i64,
    pub(crate) password: Vec<u8>,
}

/// Watches that a client believes to have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Armed {
    data: BTreeSet<String>,
    exist: BTreeSet<String>,
    child: BTreeSet<String>,
    persistent: BTreeSet<String>,
    recursive: BTreeSet<String>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) ip: String,
    pub(crate) conn: Option<Conn>,
    pub(crate) is_live: bool,
    pub(crate) session: Option<Held>,
    pub(crate) last_zxid: i64,
    pub(crate) xid: i32,
    /// Requests without a reply, by xid.
    pub(crate) asked: VecDeque<(i32, Frame)>,
    pub(crate) armed: Armed,
    /// What it asked for in its handshake.
    pub(crate) renews: bool,
}

/// What a frame from the member was to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Established,
    Expired,
    Event,
    Reply,
}

impl Armed {
    pub(crate) fn is_empty(&self) -> bool {
        self.one_shots_are_empty() && self.persistent.is_empty() && self.recursive.is_empty()
    }

    fn one_shots_are_empty(&self) -> bool {
        self.data.is_empty() && self.exist.is_empty() && self.child.is_empty()
    }

    /// The request that restores them.
    pub(crate) fn restore(&self, relative_zxid: i64) -> Request<'static> {
        let list =
            |set: &BTreeSet<String>| Some(set.iter().cloned().map(Text::Owned).map(Some).collect());
        let body = SetWatches2 {
            relative_zxid,
            data: list(&self.data),
            exist: list(&self.exist),
            child: list(&self.child),
            persistent: list(&self.persistent),
            persistent_recursive: list(&self.recursive),
        };
        if self.persistent.is_empty() && self.recursive.is_empty() {
            Request::SetWatches(body)
        } else {
            Request::SetWatches2(body)
        }
    }

    fn fired(&mut self, kind: i32, path: &str) {
        if kind != 4 {
            self.data.remove(path);
            self.exist.remove(path);
        }
        if matches!(kind, 2 | 4) {
            self.child.remove(path);
        }
    }

    fn answered(&mut self, request: &Request<'_>, err: i32) {
        let add = |set: &mut BTreeSet<String>, path: &str| {
            set.insert(path.to_string());
        };
        match (request, err) {
            (Request::GetData(body) | Request::Exists(body), 0) if body.watch => {
                add(&mut self.data, &body.path);
            }
            (Request::Exists(body), -101) if body.watch => add(&mut self.exist, &body.path),
            (Request::GetChildren(body) | Request::GetChildren2(body), 0) if body.watch => {
                add(&mut self.child, &body.path);
            }
            (Request::AddWatch(body), 0) => {
                let set = if body.mode == 0 { &mut self.persistent } else { &mut self.recursive };
                body.path.iter().for_each(|path| add(set, path));
            }
            (Request::RemoveWatches(body), 0) => {
                let Some(path) = body.path.as_deref() else { return };
                let kind = body.watcher_type;
                if matches!(kind, 2 | 3) {
                    self.data.remove(path);
                    self.exist.remove(path);
                }
                if matches!(kind, 1 | 3) {
                    self.child.remove(path);
                }
                if matches!(kind, 4 | 3) {
                    self.persistent.remove(path);
                }
                if matches!(kind, 5 | 3) {
                    self.recursive.remove(path);
                }
            }
            _ => {}
        }
    }
}

impl Client {
    pub(crate) fn new(number: usize) -> Client {
        Client {
            ip: format!("10.0.0.{}", number + 1),
            conn: None,
            is_live: false,
            session: None,
            last_zxid: 0,
            xid: 0,
            asked: VecDeque::new(),
            armed: Armed::default(),
            renews: false,
        }
    }

    /// The connection is over; the session is not.
    pub(crate) fn disconnected(&mut self) {
        self.conn = None;
        self.is_live = false;
        self.asked.clear();
    }

    /// The session is over.
    pub(crate) fn forget(&mut self) {
        self.session = None;
        self.last_zxid = 0;
        self.armed = Armed::default();
    }

    /// Takes a frame in.
    pub(crate) fn hear(&mut self, frame: &Frame) -> Heard {
        if !self.is_live {
            return self.hear_handshake(frame);
        }
        let mut r = Reader::new(frame);
        let Ok(header) = ReplyHeader::read(&mut r) else { return Heard::Reply };
        if header.xid == -1 {
            if let Ok(event) = WatcherEvent::read(&mut r) {
                self.armed.fired(event.event_type, &event.path);
            }
            return Heard::Event;
        }
        if header.zxid > 0 {
            self.last_zxid = header.zxid;
        }
        let Some((_, asked)) = self.asked.pop_front() else { return Heard::Reply };
        let mut q = Reader::new(&asked);
        let op = RequestHeader::read(&mut q).ok().and_then(|header| OpCode::from_code(header.op));
        let Some(Ok(Some(request))) = op.map(|op| Request::read(op, &mut q)) else {
            return Heard::Reply;
        };
        self.armed.answered(&request, header.err);
        if matches!(request, Request::CloseSession) && header.err == 0 {
            self.forget();
        }
        Heard::Reply
    }

    fn hear_handshake(&mut self, frame: &Frame) -> Heard {
        let response = ConnectResponse::read(&mut Reader::new(frame));
        match response {
            Ok(response) if response.timeout_ms > 0 => {
                self.is_live = true;
                if !self.renews {
                    self.forget();
                }
                self.session =
                    Some(Held { id: response.session_id.0, password: response.password.to_vec() });
                Heard::Established
            }
            _ => {
                self.forget();
                Heard::Expired
            }
        }
    }
}
