//! What a leader wants done.

use zk_proto::quorum::FromLeader;
use zk_zab::leader::{LinkId, Output as Lead, Plan};

use super::snap::Outgoing;
use super::state::{Ask, Chore, Held};

impl Held<'_> {
    pub(super) fn lead<'a>(&mut self, outputs: Vec<Lead<'a>>, asks: &mut Vec<Ask<'a>>) {
        let mut committed = None;
        for output in outputs {
            match output {
                Lead::Send { to, packet } => self.send(to, &packet),
                Lead::Close { link, why } => {
                    tracing::warn!("the connection of a learner is closed: {why}");
                    self.state.links.remove(&link);
                }
                Lead::WriteAccepted(epoch) => self.chore(Chore::WriteAccepted(epoch)),
                Lead::WriteCurrent(epoch) => self.chore(Chore::WriteCurrent(epoch)),
                Lead::LookUp { link, zxid } => self.chore(Chore::LookUp(link, zxid)),
                Lead::Synchronize { link, plan } => self.synchronize(link, plan),
                Lead::Lead(epoch) => self.chore(Chore::Lead(epoch)),
                Lead::Propose { zxid, to } => {
                    // As a rule it is the last one.
                    let found = self.state.under_way.iter().rev().find(|(it, _)| *it == zxid);
                    let Some((_, txn)) = found else { continue };
                    let packet = FromLeader::Proposal { zxid, txn };
                    to.iter().for_each(|link| self.send(*link, &packet));
                }
                Lead::Commit { zxid, followers, observers } => {
                    followers.iter().for_each(|link| self.send(*link, &FromLeader::Commit(zxid)));
                    let Some(entry) = self.state.under_way.pop_front() else { continue };
                    debug_assert_eq!(entry.0, zxid);
                    let packet = FromLeader::Inform { zxid, txn: &entry.1 };
                    observers.iter().for_each(|link| self.send(*link, &packet));
                    self.keep(entry);
                    self.state.committed = zxid;
                    committed = Some(zxid);
                }
                Lead::Request { link, request } => asks.push(Ask::Request(link, request)),
                Lead::Revalidate { link, session, timeout_ms } => {
                    asks.push(Ask::Revalidate(link, session, timeout_ms));
                }
                Lead::Touched { touched, .. } => asks.push(Ask::Touched(touched)),
                Lead::Synced(Some(link)) => self.send(link, &FromLeader::Sync),
                // Own syncs wait in the pipeline, behind what was proposed.
                Lead::Synced(None) => {}
                // Only with reconfigurations.
                Lead::Proposed(_) | Lead::Activate(_) | Lead::CommitAndActivate { .. } => {}
                // Told by the turn.
                Lead::StepDown(_) => {}
            }
        }
        if let Some(zxid) = committed {
            self.quorum.pipe().commit(zxid);
        }
    }

    pub(super) fn send(&self, to: LinkId, packet: &FromLeader<'_>) {
        if let Some(link) = self.state.links.get(&to) {
            link.send(|out| packet.put(out));
        }
    }

    /// Ends a learner's connection.
    pub(super) fn hang_up(&mut self, link: LinkId) {
        self.state.links.remove(&link);
        self.state.peer.learner_lost(link);
    }

    fn synchronize(&mut self, link: LinkId, plan: Plan) {
        match plan {
            Plan::Window(after) | Plan::Log(after) => {
                self.send(link, &FromLeader::Diff(self.state.committed));
                let tail = std::mem::take(&mut self.state.tail);
                let mut last = after;
                for (zxid, txn) in tail.iter().chain(&self.state.window) {
                    // They overlap.
                    if *zxid > last {
                        last = *zxid;
                        self.send(link, &FromLeader::Proposal { zxid: *zxid, txn });
                        self.send(link, &FromLeader::Commit(*zxid));
                    }
                }
            }
            Plan::Trunc(zxid) => self.send(link, &FromLeader::Trunc(zxid)),
            Plan::Snap => {
                let zxid = self.state.committed;
                self.send(link, &FromLeader::Snap(zxid));
                if let Some(pieces) = self.stream_to(link) {
                    self.state.outgoing.push(Outgoing { link, zxid, pieces });
                }
            }
        }
    }
}
