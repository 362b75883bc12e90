//! What a leader wants done.

use super::chores::Chore;
use super::{Ask, Driver};
use crate::ensemble::coverage::Point;
use crate::ensemble::event::Payload;
use crate::ensemble::mutant::Mutant;
use crate::ensemble::net::Way;
use crate::ensemble::record::Record;
use crate::ensemble::store::Entry;
use std::rc::Rc;
use zk_core::LearnerId;
use zk_proto::quorum::FromLeader;
use zk_proto::{OpCode, SessionId, Sid, Zxid};
use zk_zab::leader::{LinkId, Output as Lead, Plan, Refusal, StepDown};

/// A packet that may go to several learners.
pub(super) fn encoded(packet: &FromLeader<'_>) -> Payload {
    let mut bytes = Vec::new();
    packet.put(&mut bytes);
    Payload::Packet(bytes.into())
}

impl Driver<'_> {
    pub(super) fn lead<'a>(&mut self, outputs: Vec<Lead<'a>>, asks: &mut Vec<Ask<'a>>) {
        for output in outputs {
            match output {
                Lead::Propose { zxid, to } => self.send_proposal(zxid, &to),
                Lead::Commit { zxid, followers, observers } => {
                    self.commit(zxid, None, &followers, &observers);
                }
                Lead::CommitAndActivate { zxid, config, leader, followers, observers } => {
                    self.hub.mark(Point::Reconfigured);
                    self.commit(zxid, Some(leader), &followers, &observers);
                    self.chore(Chore::Activated(config));
                }
                Lead::Proposed(config) => self.chore(Chore::Proposed(config)),
                Lead::Activate(config) => self.chore(Chore::Activated(config)),
                Lead::Send { to, packet } => self.send_down(to, &packet),
                Lead::Close { link, why } => {
                    self.hub.note(|| format!("{} closes {}: {why}", self.sid, link.0));
                    let is_silent = matches!(why, Refusal::Silent(_));
                    self.hub.mark(if is_silent {
                        Point::RefusedSilent
                    } else {
                        Point::RefusedLearner
                    });
                    self.p.links.remove(&link);
                    self.hub.close_link(link, self.sid);
                }
                Lead::WriteAccepted(epoch) => self.chore(Chore::WriteAccepted(epoch)),
                Lead::WriteCurrent(epoch) => self.chore(Chore::WriteCurrent(epoch)),
                Lead::LookUp { link, zxid } => self.chore(Chore::LookUp(link, zxid)),
                Lead::Synchronize { link, plan } => self.synchronize(link, plan),
                Lead::Lead(epoch) => {
                    self.hub.tell(Record::Leads { sid: self.sid, epoch });
                    self.chore(Chore::Lead(epoch));
                }
                Lead::Request { link, request } => asks.push(Ask::Request(link, request)),
                Lead::Revalidate { link, session, timeout_ms } => {
                    asks.push(Ask::Revalidate(link, session, timeout_ms));
                }
                Lead::Touched { touched, .. } if self.p.peer.fed_upto().is_some() => {
                    self.keep_touched(touched);
                }
                Lead::Touched { touched, .. } => asks.push(Ask::Touched(touched)),
                Lead::Synced(Some(link)) => self.send_down(link, &FromLeader::Sync),
                // Own syncs wait in the pipeline, behind what was proposed.
                Lead::Synced(None) => {}
                Lead::StepDown(why) => self.hub.mark(match why {
                    StepDown::NoQuorum(_) => Point::StepDownNoQuorum,
                    StepDown::LostQuorum => Point::StepDownLostQuorum,
                    StepDown::OwnLog(_) => Point::StepDownOwnLog,
                    _ => Point::StepDownOther,
                }),
                Lead::Prove => self.chore(Chore::Prove),
                Lead::Inform { upto, leader, observers } => self.inform(upto, leader, &observers),
                Lead::Upstream(packet) => self.pass_up(&packet),
            }
        }
    }

    pub(super) fn send_payload(&mut self, to: LinkId, payload: Payload, point: Point) {
        if self.p.links.contains(&to) && self.hub.survives(self.sid, point) {
            self.hub.send(to, Way::ToLearner, Some(payload));
        }
    }

    pub(super) fn send_down(&mut self, to: LinkId, packet: &FromLeader<'_>) {
        let point = match packet {
            FromLeader::LeaderInfo(_) => Point::SendLeaderInfo,
            FromLeader::Diff(_) => Point::SendDiff,
            FromLeader::Trunc(_) => Point::SendTrunc,
            FromLeader::Snap(_) => Point::SendSnap,
            FromLeader::NewLeader { .. } => Point::SendNewLeader,
            FromLeader::UpToDate => Point::SendUpToDate,
            FromLeader::Proposal { .. } => Point::SendProposal,
            FromLeader::Commit(_) | FromLeader::CommitAndActivate { .. } => Point::SendCommit,
            FromLeader::Inform { .. } | FromLeader::InformAndActivate { .. } => Point::SendInform,
            FromLeader::Ping(_) => Point::SendPing,
            FromLeader::Sync => Point::SendSync,
            FromLeader::Revalidate { .. } => Point::SendRevalidated,
            FromLeader::Moved(_) => Point::SendMoved,
        };
        self.send_payload(to, encoded(packet), point);
    }

    fn send_proposal(&mut self, zxid: Zxid, to: &[LinkId]) {
        let Some((_, txn)) = self.p.under_way.iter().find(|(found, _)| *found == zxid) else {
            return;
        };
        let payload = encoded(&FromLeader::Proposal { zxid, txn });
        for link in to {
            self.send_payload(*link, payload.clone(), Point::SendProposal);
        }
        if to.len() == 1 {
            self.hub.mark(Point::ProposedWhileSynchronizing);
        }
    }

    /// `leads_next` says who leads from then on, if it changes the ensemble.
    fn commit(
        &mut self,
        zxid: Zxid,
        leads_next: Option<Sid>,
        followers: &[LinkId],
        observers: &[LinkId],
    ) {
        self.hub.tell(Record::Committed { sid: self.sid, zxid });
        let payload = encoded(&match leads_next {
            None => FromLeader::Commit(zxid),
            Some(leader) => FromLeader::CommitAndActivate { zxid, leader },
        });
        let loses = self.hub.has(Mutant::LostCommitWhileSynchronizing);
        for link in followers {
            if loses && self.p.peer.census().is_none_or(|it| it.synced_followers < 2) {
                continue;
            }
            self.send_payload(*link, payload.clone(), Point::SendCommit);
        }
        let Some(entry) = self.p.under_way.pop_front() else { return };
        if !observers.is_empty() {
            let payload = encoded(&match leads_next {
                None => FromLeader::Inform { zxid, txn: &entry.1 },
                Some(leader) => FromLeader::InformAndActivate { zxid, leader, txn: &entry.1 },
            });
            for link in observers {
                self.send_payload(*link, payload.clone(), Point::SendInform);
            }
        }
        if !(self.hub.has(Mutant::HoleInHistory) && self.hub.rng.chance(100)) {
            self.keep(entry);
        }
        self.p.committed = zxid;
        self.p.due = zxid;
        self.answer_moves();
        self.wake_pipe();
    }

    /// Tells a learner whether a session is its own now, behind everything that is under way.
    fn answer_move(&mut self, link: LinkId, session: SessionId, is_valid: bool) {
        let last = self.p.under_way.back().map_or(self.p.committed, |(zxid, _)| *zxid);
        self.p.moves.push_back((last, link, session, is_valid));
        self.answer_moves();
    }

    fn answer_moves(&mut self) {
        let committed = self.p.committed;
        while let Some((_, link, session, is_valid)) =
            self.p.moves.pop_front_if(|(behind, ..)| *behind <= committed)
        {
            self.send_down(link, &FromLeader::Revalidate { session, is_valid });
        }
    }

    fn synchronize(&mut self, link: LinkId, plan: Plan) {
        self.hub.note(|| {
            let ends = |list: &mut dyn Iterator<Item = &Entry>| {
                list.map(|it| format!(" {}", it.0)).collect::<String>()
            };
            let (tail, window) = (ends(&mut self.p.tail.iter()), ends(&mut self.p.window.iter()));
            format!("{} on {}: {plan:?}, tail{tail}, window{window}", self.sid, link.0)
        });
        match plan {
            Plan::Window(after) | Plan::Log(after) => {
                self.send_down(link, &FromLeader::Diff(self.p.committed));
                let tail = std::mem::take(&mut self.p.tail);
                let window: Vec<_> = self.p.window.iter().cloned().collect();
                let mut last = after;
                for (zxid, txn) in tail.iter().chain(&window) {
                    // They overlap.
                    if *zxid > last {
                        last = *zxid;
                        self.send_down(link, &FromLeader::Proposal { zxid: *zxid, txn });
                        self.send_down(link, &FromLeader::Commit(*zxid));
                    }
                }
            }
            Plan::Trunc(zxid) => self.send_down(link, &FromLeader::Trunc(zxid)),
            Plan::Snap => {
                self.send_down(link, &FromLeader::Snap(self.p.committed));
                self.send_snapshot(link);
            }
        }
    }

    /// The tree is at exactly the last commit: who synchronises is at rest.
    fn send_snapshot(&mut self, link: LinkId) {
        let without = self.hub.has(Mutant::SnapshotWithoutSessions);
        let Some(mut image) = self.image() else { return };
        if image.head.zxid != self.p.committed {
            let what = format!("{} sends {}, not {}", self.sid, image.head.zxid, self.p.committed);
            self.hub.fail("Z2 integrity", what);
        }
        if without {
            image.sessions.clear();
        }
        self.send_payload(link, Payload::Snapshot(Rc::new(image)), Point::SendSnapshot);
    }

    /// Does what learners asked of the pipeline.
    pub(super) fn answer(&mut self, asks: Vec<Ask<'_>>) {
        for ask in asks {
            match ask {
                Ask::Request(link, request) if request.op == OpCode::Sync.code() => {
                    self.act_alone(|peer, _, wants| peer.sync(Some(link), wants));
                }
                Ask::Request(link, request) => self.forwarded(LearnerId(link.0), &request),
                Ask::Revalidate(link, session, timeout_ms) if self.p.peer.fed_upto().is_some() => {
                    self.moves_behind(link, session, timeout_ms);
                }
                Ask::Revalidate(link, session, timeout_ms) => {
                    let Some(is_valid) = self.moves(session, timeout_ms, LearnerId(link.0)) else {
                        continue;
                    };
                    let is_valid = match self.hub.mutant {
                        Some(Mutant::MovesAnySession) => true,
                        Some(Mutant::MovesNoSession) => false,
                        _ => is_valid,
                    };
                    self.answer_move(link, session, is_valid);
                }
                Ask::Touched(touched) => {
                    let local_ms = self.times().monotonic_ms;
                    let sessions = touched.iter().map(|(session, _)| session.0).collect();
                    self.hub.tell(Record::Touched { sid: self.sid, sessions, local_ms });
                    self.p.core.touched(local_ms, touched);
                }
            }
        }
    }
}
