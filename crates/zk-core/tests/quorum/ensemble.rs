//! A leader and its learners, wired together without anything between them but queues.

use std::collections::{BTreeMap, VecDeque};

use zk_core::{Core, CoreOptions, Effect, Effects, LearnError, LearnerId, LocalSessions, Times};
use zk_proto::acl::AclBytes;
use zk_proto::connect::{ConnectRequest, ConnectResponse};
use zk_proto::quorum::{Forwarded, Id, Touched};
use zk_proto::request::{Create, CreateMode, Request, RequestHeader};
use zk_proto::response::ReplyHeader;
use zk_proto::{Epoch, Jute, OpCode, Reader, SessionId, Zxid};
use zk_tree::{ConnId, Tree, TreeOptions, Watches};

/// What a client has heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Its session, and the timeout; 0 for one that has expired.
    Session(i64, i32),
    /// The answer to a request: its xid, its error.
    Answer(i32, i32),
    Closed,
}

/// What a learner has asked for.
pub enum Up {
    Request { session: SessionId, cxid: i32, op: OpCode, body: Vec<u8>, ids: Vec<(String, String)> },
    Revalidate(SessionId, i32),
}

/// What the leader says.
pub enum Down {
    Txn(Vec<u8>),
    Synced,
    Revalidated(SessionId, bool),
}

pub struct Member {
    pub core: Core,
    pub tree: Tree,
    watches: Watches,
    fx: Effects,
    /// What it asked for, and what it has not heard yet; a leader has neither.
    pub up: VecDeque<Up>,
    pub down: VecDeque<Down>,
    pub heard: BTreeMap<ConnId, Vec<Heard>>,
    passwords: BTreeMap<i64, Vec<u8>>,
}

pub struct Ensemble {
    pub now_ms: i64,
    pub leader: Member,
    pub learners: Vec<Member>,
    /// Proposed and not committed.
    pub proposed: VecDeque<(Zxid, Vec<u8>)>,
    next_conn: u64,
}

/// The leader, or a learner by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    Leader,
    Learner(usize),
}

pub fn create(path: &str) -> Request<'_> {
    Request::Create(create_as(path, CreateMode::Persistent))
}

pub fn create_as(path: &str, mode: CreateMode) -> Create<'_> {
    let (op, acl, flags) = (OpCode::Create, AclBytes::OPEN, mode.flags());
    Create { op, path: path.into(), data: Some(b"d"), acl, flags, ttl_ms: -1 }
}

impl Member {
    fn new(is_leader: bool, server_id: u8, local_sessions: Option<LocalSessions>) -> Member {
        let tree = Tree::new(TreeOptions::default());
        let options = CoreOptions { server_id, local_sessions, ..CoreOptions::default() };
        let now = Times { monotonic_ms: 0, wall_ms: 0 };
        let core = if is_leader {
            let mut core = Core::new(options, &tree, [], now);
            core.lead(Epoch(1));
            core
        } else {
            Core::learning(options, &tree, [], now)
        };
        Member {
            core,
            tree,
            watches: Watches::new(1),
            fx: Effects::new(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            heard: BTreeMap::new(),
            passwords: BTreeMap::new(),
        }
    }

    /// Carries out what the pipeline wants; the transactions that it has made.
    fn carry_out(&mut self) -> Vec<(Zxid, Vec<u8>)> {
        let mut made = Vec::new();
        for effect in std::mem::take(&mut self.fx.list) {
            match effect {
                Effect::Append { zxid, txn } => made.push((zxid, self.fx.get(txn).to_vec())),
                Effect::Forward { session, cxid, op, body, identities } => {
                    let ids = identities.iter();
                    let ids = ids.map(|id| (id.scheme.to_string(), id.id.clone())).collect();
                    let body = self.fx.get(body).to_vec();
                    self.up.push_back(Up::Request { session, cxid, op, body, ids });
                }
                Effect::Revalidate { session, timeout_ms } => {
                    self.up.push_back(Up::Revalidate(session, timeout_ms));
                }
                Effect::Send { conn, frame, .. } => {
                    let heard = self.heard.entry(conn).or_default();
                    let bytes = &self.fx.get(frame)[4..];
                    heard.push(if heard.is_empty() {
                        let response = ConnectResponse::read(&mut Reader::new(bytes)).unwrap();
                        let session = response.session_id.0;
                        self.passwords.insert(session, response.password.to_vec());
                        Heard::Session(session, response.timeout_ms)
                    } else {
                        let header = ReplyHeader::read(&mut Reader::new(bytes)).unwrap();
                        Heard::Answer(header.xid, header.err)
                    });
                }
                Effect::Close { conn } => self.heard.entry(conn).or_default().push(Heard::Closed),
                Effect::Established { .. } | Effect::Identities { .. } | Effect::Audit(_) => {}
            }
        }
        self.fx.clear();
        made
    }

    /// Hears the next thing that the leader says.
    pub fn hear(&mut self, now: Times) -> Result<(), LearnError> {
        let Member { core, tree, watches, fx, down, .. } = self;
        match down.pop_front() {
            Some(Down::Txn(txn)) => {
                core.learned(tree, watches, now.monotonic_ms, &txn, fx)?;
            }
            Some(Down::Synced) => assert!(core.synced(tree, watches, fx)),
            Some(Down::Revalidated(session, is_valid)) => {
                core.revalidated(now, session, is_valid, fx);
            }
            None => return Ok(()),
        }
        while core.go_on(tree, watches, fx) {}
        assert!(self.carry_out().is_empty(), "a learner makes no transactions");
        Ok(())
    }
}

impl Member {
    /// Takes all transactions that are there, and does nothing else.
    pub fn hear_lazily(&mut self) {
        let Member { core, tree, watches, fx, down, .. } = self;
        while let Some(Down::Txn(txn)) = down.pop_front() {
            core.learned(tree, watches, 0, &txn, fx).unwrap();
        }
        self.carry_out();
    }
}

impl Ensemble {
    pub fn new(learners: usize) -> Ensemble {
        Ensemble::with(learners, None)
    }

    pub fn with(learners: usize, local: Option<LocalSessions>) -> Ensemble {
        Ensemble {
            now_ms: 0,
            leader: Member::new(true, 1, local),
            learners: (0..learners).map(|i| Member::new(false, 2 + i as u8, local)).collect(),
            proposed: VecDeque::new(),
            next_conn: 1,
        }
    }

    pub fn now(&self) -> Times {
        Times { monotonic_ms: self.now_ms, wall_ms: 1_000_000 + self.now_ms }
    }

    pub fn member(&mut self, at: At) -> &mut Member {
        match at {
            At::Leader => &mut self.leader,
            At::Learner(i) => &mut self.learners[i],
        }
    }

    fn made(&mut self) {
        let made = self.leader.carry_out();
        self.proposed.extend(made);
    }

    /// A client connects, with the session that it had or without one.
    pub fn connect(&mut self, at: At, session: i64) -> ConnId {
        let password = [&self.leader].into_iter().chain(&self.learners);
        let password = password.filter_map(|member| member.passwords.get(&session)).next().cloned();
        self.connect_with(at, session, password.as_deref())
    }

    pub fn connect_with(&mut self, at: At, session: i64, password: Option<&[u8]>) -> ConnId {
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms: 5000,
            session_id: SessionId(session),
            password,
            read_only: Some(false),
        };
        let now = self.now();
        let member = self.member(at);
        member.core.connected(conn, None, Vec::new());
        let Member { core, tree, fx, .. } = member;
        core.handshake(tree, now, conn, &request.to_bytes(), fx);
        self.settle(at);
        conn
    }

    pub fn submit(&mut self, at: At, conn: ConnId, xid: i32, request: &Request<'_>) {
        let mut frame = RequestHeader { xid, op: request.opcode().code() }.to_bytes();
        request.write(&mut frame);
        self.submit_frame(at, conn, &frame);
    }

    pub fn submit_frame(&mut self, at: At, conn: ConnId, frame: &[u8]) {
        let now = self.now();
        let Member { core, tree, watches, fx, .. } = self.member(at);
        core.submit(tree, watches, now, conn, frame, fx);
        self.settle(at);
    }

    fn settle(&mut self, at: At) {
        match at {
            At::Leader => self.made(),
            At::Learner(i) => assert!(self.learners[i].carry_out().is_empty()),
        }
    }

    /// The leader hears the next thing that a learner asks for.
    pub fn ask(&mut self, i: usize) -> bool {
        let now = self.now();
        let Some(up) = self.learners[i].up.pop_front() else { return false };
        let Member { core, tree, fx, .. } = &mut self.leader;
        let from = LearnerId(i as u64);
        match up {
            Up::Request { op: OpCode::Sync, .. } => {
                // As the quorum does: when everything before it is committed.
                while self.commit() {}
                self.learners[i].down.push_back(Down::Synced);
            }
            Up::Request { session, cxid, op, body, ids } => {
                let ids = ids.iter();
                let identities = ids
                    .map(|(scheme, id)| Id {
                        scheme: Some(scheme.as_str().into()),
                        id: Some(id.as_str().into()),
                    })
                    .collect();
                let asked = Forwarded { session, cxid, op: op.code(), body: &body, identities };
                core.forwarded(tree, now, from, &asked, fx);
            }
            Up::Revalidate(session, timeout_ms) => {
                let is_valid = core.moves(now, session, timeout_ms, from, fx);
                self.learners[i].down.push_back(Down::Revalidated(session, is_valid));
            }
        }
        self.made();
        true
    }

    /// A quorum has the oldest proposal on disk.
    pub fn commit(&mut self) -> bool {
        let Some((zxid, txn)) = self.proposed.pop_front() else { return false };
        for learner in &mut self.learners {
            learner.down.push_back(Down::Txn(txn.clone()));
        }
        let Member { core, tree, watches, fx, .. } = &mut self.leader;
        while core.committed(tree, watches, self.now_ms, zxid, 9, fx) {}
        self.made();
        true
    }

    /// Everything that is under way arrives.
    pub fn run(&mut self) {
        let now = self.now();
        loop {
            let mut is_idle = !self.commit();
            for i in 0..self.learners.len() {
                is_idle &= !self.ask(i) && self.learners[i].down.is_empty();
                self.learners[i].hear(now).unwrap();
            }
            if is_idle {
                return;
            }
        }
    }

    pub fn heard(&mut self, at: At, conn: ConnId) -> Vec<Heard> {
        self.member(at).heard.get(&conn).cloned().unwrap_or_default()
    }

    /// A session on a new connection.
    pub fn session(&mut self, at: At) -> (ConnId, i64) {
        let conn = self.connect(at, 0);
        self.run();
        let heard = self.heard(at, conn);
        let [Heard::Session(session, 5000)] = heard[..] else { panic!("{heard:?}") };
        (conn, session)
    }

    /// A learner answers a ping.
    pub fn ping(&mut self, i: usize, heard_ms: impl FnMut(ConnId) -> Option<i64>) -> usize {
        let mut touched = Vec::new();
        self.learners[i].core.tell_heard(self.now_ms, heard_ms, &mut touched);
        let touched = Touched::of(&touched);
        self.leader.core.touched(self.now_ms, touched);
        touched.iter().count()
    }

    /// The leader's clock goes on.
    pub fn tick(&mut self) {
        self.tick_at(At::Leader, |_| None);
    }

    /// A member's clock goes on.
    pub fn tick_at(&mut self, at: At, mut heard_ms: impl FnMut(ConnId) -> Option<i64>) {
        let now = self.now();
        let Member { core, tree, fx, .. } = self.member(at);
        while core.tick(tree, now, &mut heard_ms, fx) {}
        self.settle(at);
    }
}
