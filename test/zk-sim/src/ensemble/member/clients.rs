//! A member's clients: what comes from them, and what the pipeline wants done.

use super::{Driver, reconfiguration};
use crate::ensemble::coverage::Point;
use crate::ensemble::mutant::Mutant;
use crate::ensemble::record::Record;
use crate::ensemble::store::Entry;
use crate::oracle::SUPER_DIGEST;
use std::rc::Rc;
use std::sync::Arc;
use zk_core::{Admission, Effect, Effects, News, Reader};
use zk_proto::quorum::{Forwarded, FromLearner, Id};
use zk_proto::request::RequestHeader;
use zk_proto::{Jute, Limits, OpCode, SessionId};
use zk_tree::ConnId;
use zk_tree::auth::{AuthOptions, Identity};

/// A connection that the member has.
#[derive(Debug)]
pub(super) struct Serving {
    is_new: bool,
    is_live: bool,
    session: SessionId,
    identities: Arc<[Identity]>,
    pub(super) heard_ms: i64,
    /// Requests given to the pipeline and not answered.
    under_way: usize,
    /// Frames that came before the session was there.
    early: Vec<Rc<[u8]>>,
}

impl Driver<'_> {
    /// A client connects; whether it is let in.
    pub(crate) fn accept(&mut self, conn: u64, ip: &Rc<str>) -> bool {
        if self.p.core.admission() == Admission::Closed {
            self.hub.close_client(conn);
            return false;
        }
        let identities = self.p.core.connected(ConnId(conn), ip.parse().ok(), Vec::new());
        let serving = Serving {
            is_new: true,
            is_live: false,
            session: SessionId::NONE,
            identities,
            heard_ms: self.times().monotonic_ms,
            under_way: 0,
            early: Vec::new(),
        };
        self.p.conns.insert(conn, serving);
        self.hub.tell(Record::Accepted { sid: self.sid, conn, ip: ip.clone() });
        true
    }

    /// A frame comes from a client.
    pub(crate) fn submit(&mut self, conn: u64, frame: &Rc<[u8]>) {
        let now = self.times();
        let Some(serving) = self.p.conns.get_mut(&conn) else { return };
        serving.heard_ms = now.monotonic_ms;
        if !serving.is_new && !serving.is_live {
            serving.early.push(frame.clone());
            return;
        }
        let local_ms = now.monotonic_ms;
        self.hub.tell(Record::Submitted { sid: self.sid, conn, local_ms });
        let Some(serving) = self.p.conns.get_mut(&conn) else { return };
        if std::mem::take(&mut serving.is_new) {
            let frame = self.without_last_zxid(frame);
            let super::Process { core, tree, fx, .. } = &mut *self.p;
            core.handshake(tree, now, ConnId(conn), &frame, fx);
        } else if self.read_aside(conn, frame) {
            return;
        } else {
            if let Some(serving) = self.p.conns.get_mut(&conn) {
                serving.under_way += 1;
            }
            self.foresee_frame(frame);
            let super::Process { core, tree, watches, fx, .. } = &mut *self.p;
            core.submit(tree, watches, now, ConnId(conn), frame, fx);
        }
        self.carry_out();
        self.settle();
    }

    /// [`Mutant::ForgetsLastZxid`]: the handshake as of one who has seen nothing.
    fn without_last_zxid(&self, frame: &Rc<[u8]>) -> Rc<[u8]> {
        if !self.hub.has(Mutant::ForgetsLastZxid) || frame.len() < 12 {
            return frame.clone();
        }
        let mut bytes = frame.to_vec();
        bytes[4..12].fill(0);
        bytes.into()
    }

    /// A read may be answered beside the pipeline, if nothing else of its connection is under way;
    /// whether it was.
    fn read_aside(&mut self, conn: u64, frame: &Rc<[u8]>) -> bool {
        let Some(serving) = self.p.conns.get_mut(&conn) else { return false };
        if serving.under_way > 0 || !is_read(frame) || self.hub.rng.chance(300) {
            if self.hub.has(Mutant::SyncIsLocal) && serving.under_way == 0 && is_sync(frame) {
                return self.read_now(conn, frame);
            }
            return false;
        }
        self.read_now(conn, frame)
    }

    fn read_now(&mut self, conn: u64, frame: &Rc<[u8]>) -> bool {
        let auth =
            AuthOptions { super_digest: Some(SUPER_DIGEST.into()), ..AuthOptions::default() };
        let super::Process { tree, watches, conns, core_options, .. } = &mut *self.p;
        let Some(serving) = conns.get(&conn) else { return false };
        let mut reader = Reader {
            tree,
            watches,
            auth: &auth,
            conn: ConnId(conn),
            session: serving.session,
            identities: &serving.identities,
            limits: Limits::default(),
            max_response_bytes: core_options.max_response_bytes,
            max_answer_bytes: core_options.max_answer_bytes,
        };
        let mut out = Vec::new();
        reader.answer(frame, &mut out);
        self.hub.mark(Point::ReadAside);
        self.send_frames(conn, &out);
        true
    }

    /// Several frames with their lengths.
    fn send_frames(&mut self, conn: u64, mut bytes: &[u8]) {
        while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let (frame, rest) = rest.split_at(length.min(rest.len()));
            if self.hub.survives(self.sid, Point::ToClient) {
                let frame: Rc<[u8]> = frame.into();
                self.hub.tell(Record::Sent { sid: self.sid, conn, frame: frame.clone() });
                self.hub.send_client(conn, frame);
            }
            bytes = rest;
        }
    }

    /// A client's connection is over.
    pub(crate) fn client_left(&mut self, conn: u64) {
        self.forget_client(conn);
        self.settle();
    }

    fn forget_client(&mut self, conn: u64) {
        if let Some(serving) = self.p.conns.remove(&conn) {
            self.p.core.disconnected(ConnId(conn), serving.heard_ms);
            self.p.watches.remove_connection(ConnId(conn));
            self.hub.tell(Record::Gone { sid: self.sid, conn });
        }
    }

    /// The member closes a client's connection.
    pub(super) fn drop_client(&mut self, conn: u64) {
        if self.p.conns.contains_key(&conn) && self.hub.survives(self.sid, Point::CloseClient) {
            self.hub.close_client(conn);
            self.forget_client(conn);
        }
    }

    /// Carries out what the pipeline wants, in order.
    pub(super) fn carry_out(&mut self) {
        let mut fx = std::mem::take(&mut self.p.fx);
        let mut list = std::mem::take(&mut fx.list);
        for news in std::mem::take(&mut fx.news) {
            self.tell_news(news);
        }
        self.spoil_effects(&mut list);
        let mut made: Vec<Entry> = Vec::new();
        let mut early = Vec::new();
        for effect in list.drain(..) {
            if !matches!(effect, Effect::Append { .. }) && !made.is_empty() {
                self.propose(std::mem::take(&mut made));
            }
            match effect {
                Effect::Append { zxid, txn } => {
                    let txn: Rc<[u8]> = fx.get(txn).into();
                    let sid = self.sid;
                    self.hub.tell(Record::Proposed { sid, zxid, txn: txn.clone() });
                    made.push((zxid, txn));
                }
                other => early.extend(self.carry_out_one(&fx, other)),
            }
        }
        if !made.is_empty() {
            self.propose(made);
        }
        fx.clear();
        fx.list = list;
        self.p.fx = fx;
        for (conn, frame) in early {
            self.submit(conn, &frame);
        }
    }

    fn carry_out_one(&mut self, fx: &Effects, effect: Effect) -> Vec<(u64, Rc<[u8]>)> {
        match effect {
            Effect::Append { .. } | Effect::Audit(_) => {}
            Effect::Forward { session, cxid, op, body, identities } => {
                let id = |id: &Identity| Id {
                    scheme: Some(id.scheme.to_string().into()),
                    id: Some(id.id.clone().into()),
                };
                let identities = identities.iter().map(id).collect();
                let body = fx.get(body);
                let asked = Forwarded { session, cxid, op: op.code(), body, identities };
                let packet = FromLearner::Request(asked);
                // Those of observers stand in the same row.
                if op == OpCode::Sync {
                    self.p.peer.asked_sync();
                }
                self.send_up(&packet, Point::SendRequest);
                if self.hub.mutates(Mutant::ForwardsTwice, 50) {
                    self.send_up(&packet, Point::SendRequest);
                }
            }
            Effect::Revalidate { session, timeout_ms } => {
                let packet = FromLearner::Revalidate { session, timeout_ms };
                self.p.peer.asked_move(session);
                self.send_up(&packet, Point::SendRevalidate);
            }
            Effect::Send { conn, frame, is_reply } => {
                if is_reply && let Some(serving) = self.p.conns.get_mut(&conn.0) {
                    serving.under_way = serving.under_way.saturating_sub(1);
                }
                let mutant = match is_reply {
                    true => Mutant::LostReply,
                    false => Mutant::LostEvent,
                };
                if !is_reply {
                    self.hub.mark(Point::Event);
                }
                if self.hub.mutates(mutant, 20) {
                    return Vec::new();
                }
                self.send_frames(conn.0, fx.get(frame));
            }
            Effect::Established { conn, session, .. } => {
                if !self.hub.survives(self.sid, Point::Established) {
                    return Vec::new();
                }
                let Some(serving) = self.p.conns.get_mut(&conn.0) else { return Vec::new() };
                (serving.is_live, serving.session, serving.under_way) = (true, session, 0);
                let early = std::mem::take(&mut serving.early);
                return early.into_iter().map(|frame| (conn.0, frame)).collect();
            }
            Effect::Identities { conn, identities, .. } => {
                if let Some(serving) = self.p.conns.get_mut(&conn.0) {
                    serving.identities = identities;
                }
            }
            Effect::Close { conn } => self.drop_client(conn.0),
        }
        Vec::new()
    }

    fn tell_news(&mut self, news: News) {
        let local_ms = self.times().monotonic_ms;
        match news {
            News::Expired { session, timeout_ms } => {
                self.hub.mark(Point::SessionExpired);
                let (sid, timeout_ms) = (self.sid, i64::from(timeout_ms));
                let session = session.0;
                self.hub.tell(Record::Expires { sid, session, timeout_ms, local_ms });
            }
            News::Refused { session, why, .. } => {
                if matches!(why, zk_core::Refusal::UnknownSession) {
                    self.hub.mark(Point::SessionGone);
                }
                self.hub.note(|| format!("{} refuses session {:x}: {why:?}", self.sid, session.0));
            }
            News::Ended { session } => self.p.peer.session_ended(session),
        }
    }

    /// Txns were made: they go to the followers and to the own log.
    fn propose(&mut self, made: Vec<Entry>) {
        self.p.under_way.extend(made.iter().cloned());
        for (zxid, txn) in &made {
            let zxid = *zxid;
            let config = reconfiguration(txn);
            self.act_alone(|peer, now, wants| match config {
                Some(config) => peer.reconfigure(now, zxid, config, wants),
                None => peer.propose(now, zxid, wants),
            });
            if self.hub.has(Mutant::CommitsAlone) && self.p.committed < zxid {
                self.hub.tell(Record::Committed { sid: self.sid, zxid });
            }
        }
        for entry in made {
            self.append(entry);
        }
    }
}

fn op_of(frame: &[u8]) -> Option<OpCode> {
    let header = RequestHeader::read(&mut zk_proto::Reader::new(frame)).ok()?;
    OpCode::from_code(header.op)
}

fn is_sync(frame: &[u8]) -> bool {
    op_of(frame) == Some(OpCode::Sync)
}

/// Whether a request only needs the tree.
fn is_read(frame: &[u8]) -> bool {
    op_of(frame).is_some_and(|op| {
        op.is_client_request() && !op.is_write() && !matches!(op, OpCode::Sync | OpCode::Auth)
    })
}
