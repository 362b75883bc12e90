//! A follower that feeds observers, so that its leader need not (quorum-protocol 9). Mirrors
//! `ObserverMaster`; differs in: observers hear of a txn when it is on the follower's own disk, and
//! what is kept for those that come back is what a leader keeps.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use zk_proto::quorum::{Forwarded, FromLeader, FromLearner};
use zk_proto::{OpCode, SessionId, Sid, Zxid};

use super::{Census, Incumbent, Leader, LeaderTimes, LinkId, Output, Phase, Refusal};
use crate::Configs;
use crate::planted::{Faults, Planted};

/// A delete of the root at any version, which every leader answers with an error's transaction.
const DELETE_ROOT: &[u8] = &[0, 0, 0, 1, b'/', 0xff, 0xff, 0xff, 0xff];

/// The observers of one follower under one leader.
///
/// To them it is a leader whose txns are committed by another: what is learned goes on to them, and
/// what they ask for goes up, with the answers back to who has asked.
#[derive(Debug)]
pub struct Feeder {
    reign: Leader,
    /// Reconfigurations that are committed, and who leads from each of them on.
    designated: BTreeMap<Zxid, Sid>,
    /// Who has asked for each sync that the leader has not answered; nobody, if it was an own
    /// client.
    syncs: VecDeque<Option<LinkId>>,
    /// Sessions that move here, if the leader says so: to whom; nobody is an own client.
    moves: VecDeque<(SessionId, Option<LinkId>)>,
    /// Who has each session that came here or was opened by an observer's client. To the leader
    /// they are all this follower's, so it is here that late requests of an old place are kept from
    /// it.
    owners: BTreeMap<SessionId, Option<LinkId>>,
    /// Since when who had a session before is refused what it asks for in its name.
    refused: BTreeMap<(LinkId, SessionId), u64>,
}

impl Feeder {
    /// A follower that begins to serve, with everything that it has applied.
    #[must_use]
    pub fn new(own: Incumbent, times: LeaderTimes) -> Feeder {
        let (epoch, applied) = (own.current_epoch, own.last_zxid);
        let reign = Leader {
            times,
            phase: Phase::Feeding,
            deadline_ms: 0,
            epoch,
            links: BTreeMap::new(),
            window: VecDeque::new(),
            committed: applied,
            outstanding: VecDeque::new(),
            logged: applied,
            syncs: VecDeque::new(),
            followers: Arc::default(),
            observers: Arc::default(),
            ping_at_ms: 0,
            check_at_ms: 0,
            faults: Faults::default(),
            own,
        };
        Feeder {
            reign,
            designated: BTreeMap::new(),
            syncs: VecDeque::new(),
            moves: VecDeque::new(),
            owners: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// It breaks what a leader with these faults breaks.
    pub(crate) fn plant(&mut self, faults: Faults) {
        self.reign.faults = faults;
    }

    /// An observer connected.
    pub fn connected(&mut self, now_ms: u64, link: LinkId) {
        self.reign.connected(now_ms, link);
    }

    /// An observer's connection is gone. What it has asked for is answered all the same, and its
    /// sessions stay its own until they move: another place that they had before is still not
    /// theirs.
    pub fn disconnected(&mut self, link: LinkId) {
        self.reign.disconnected(link);
        self.refused.retain(|(of, _), _| *of != link);
    }

    /// An observer said something.
    pub fn heard<'a>(
        &mut self,
        now_ms: u64,
        link: LinkId,
        packet: FromLearner<'a>,
        out: &mut Vec<Output<'a>>,
    ) {
        let mut wanted = Vec::new();
        self.reign.heard(now_ms, link, packet, &mut wanted);
        for output in wanted {
            match output {
                Output::Request { link, request } => self.pass_up(now_ms, link, request, out),
                output => out.push(output),
            }
        }
    }

    /// What an observer's client wants goes to the leader. Where its session has moved elsewhere
    /// behind this follower meanwhile, the leader could not tell, and is asked for what it refuses:
    /// the observer gets its answer in the order of questions, and nothing is changed. It is told
    /// before that: a move that came late may have taken the session from where its client is, who
    /// must not go on with errors, but come again. An observer of Apache's does not understand; one
    /// that still asks after `syncLimit` is let go.
    fn pass_up<'a>(
        &mut self,
        now_ms: u64,
        link: LinkId,
        request: Forwarded<'a>,
        out: &mut Vec<Output<'a>>,
    ) {
        let session = request.session;
        let is_elsewhere = |owner: &Option<LinkId>| *owner != Some(link);
        let has_moved = self.owners.get(&session).is_some_and(is_elsewhere)
            && !self.reign.faults.has(Planted::PassesOldPlaces);
        let request = match OpCode::from_code(request.op) {
            Some(OpCode::Sync) => {
                self.syncs.push_back(Some(link));
                request
            }
            // A leader lets anybody end a session who knows it (`PrepRequestProcessor`).
            Some(OpCode::CloseSession) => request,
            _ if has_moved => {
                let since_ms = *self.refused.entry((link, session)).or_insert(now_ms);
                if now_ms.saturating_sub(since_ms) >= self.reign.times.sync_ms {
                    self.disconnected(link);
                    out.push(Output::Close { link, why: Refusal::Moved(session) });
                    return;
                }
                out.push(Output::Send { to: link, packet: FromLeader::Moved(session) });
                Forwarded { op: OpCode::Delete.code(), body: DELETE_ROOT, ..request }
            }
            op => {
                if op == Some(OpCode::CreateSession) {
                    self.owners.insert(session, Some(link));
                }
                request
            }
        };
        out.push(Output::Upstream(FromLearner::Request(request)));
    }

    /// Whether the log has what an observer needs ([`Output::LookUp`]).
    pub fn looked_up(&mut self, link: LinkId, is_there: bool, out: &mut Vec<Output<'_>>) {
        self.reign.looked_up(link, is_there, out);
    }

    /// Time has passed.
    pub fn tick(&mut self, now_ms: u64, out: &mut Vec<Output<'_>>) {
        self.reign.tick(now_ms, out);
    }

    /// A reconfiguration is committed: this one leads when it is applied.
    pub fn will_activate(&mut self, zxid: Zxid, leader: Sid) {
        self.designated.insert(zxid, leader);
    }

    /// These configurations count from here on.
    pub fn reconfigured(&mut self, configs: Configs) {
        self.reign.own.configs = configs;
    }

    /// Everything up to this zxid is applied: txns of this epoch, one after the other.
    pub fn learned(&mut self, upto: Zxid, out: &mut Vec<Output<'_>>) {
        let reign = &mut self.reign;
        while reign.committed < upto {
            let is_first = reign.committed.epoch() != upto.epoch();
            let next = if is_first { Zxid::new(upto.epoch(), 1) } else { reign.committed.next() };
            reign.committed = next;
            reign.window.push_back(next);
            if reign.window.len() > reign.own.window {
                reign.window.pop_front();
            }
            let leader = self.designated.remove(&next);
            if leader.is_some() || next == upto {
                let observers = reign.observers.clone();
                out.push(Output::Inform { upto: next, leader, observers });
            }
        }
    }

    /// An own client has asked the leader for a sync.
    pub fn asked_sync(&mut self) {
        self.syncs.push_back(None);
    }

    /// An own client asks the leader for its session.
    pub fn asked_move(&mut self, session: SessionId) {
        self.moves_to(session, None);
    }

    /// An observer's client asks the leader for its session; an own one has it no more.
    pub fn ask_move(
        &mut self,
        link: LinkId,
        session: SessionId,
        timeout_ms: i32,
        out: &mut Vec<Output<'_>>,
    ) {
        self.moves_to(session, Some(link));
        out.push(Output::Upstream(FromLearner::Revalidate { session, timeout_ms }));
    }

    /// The leader gives a session to who asks when it is asked: from then on it would take what an
    /// older place still says for the word of the new one.
    fn moves_to(&mut self, session: SessionId, to: Option<LinkId>) {
        self.moves.push_back((session, to));
        self.owners.insert(session, to);
        if let Some(link) = to {
            self.refused.remove(&(link, session));
        }
    }

    /// A session has ended.
    pub fn ended(&mut self, session: SessionId) {
        self.owners.remove(&session);
        self.refused.retain(|(_, of), _| *of != session);
    }

    /// The leader has answered the oldest sync; whether that was an observer's.
    pub fn synced(&mut self, out: &mut Vec<Output<'_>>) -> bool {
        let link = self.syncs.pop_front().flatten();
        out.extend(link.map(|link| Output::Synced(Some(link))));
        link.is_some()
    }

    /// The leader says whether a session is alive; whether an observer has asked.
    pub fn revalidated(
        &mut self,
        session: SessionId,
        is_valid: bool,
        out: &mut Vec<Output<'_>>,
    ) -> bool {
        let at = self.moves.iter().position(|(moving, _)| *moving == session);
        let Some((_, to)) = at.and_then(|at| self.moves.remove(at)) else { return false };
        let is_asked_again = self.moves.iter().any(|(moving, _)| *moving == session);
        if !is_valid && !is_asked_again {
            // There is no such session.
            self.owners.remove(&session);
        }
        let Some(to) = to else { return false };
        out.push(Output::Send { to, packet: FromLeader::Revalidate { session, is_valid } });
        true
    }

    /// What is committed and applied.
    #[must_use]
    pub fn applied(&self) -> Zxid {
        self.reign.committed
    }

    /// Its observers.
    #[must_use]
    pub fn census(&self) -> Census {
        self.reign.census()
    }
}

#[cfg(test)]
mod tests;
