//! What a leader wants done.

use std::sync::Arc;

use zk_proto::quorum::FromLeader;
use zk_proto::{SessionId, Zxid};
use zk_zab::Ensemble;
use zk_zab::leader::{LinkId, Output as Lead, Plan};

use super::snap::Outgoing;
use super::state::{Ask, Chore, Held, find};
use super::tally::zxid_of;
use crate::admin::Ages;

/// What is sent to a learner txn by txn waits in memory.
const MAX_DIFF_BYTES: usize = 64 << 20;

/// So many sessions that observers have heard are told to the leader with one PING.
const MAX_TOUCHED: usize = 1 << 20;

/// Packets for the same learners, encoded once.
#[derive(Default)]
struct Batch {
    to: Option<Arc<[LinkId]>>,
    bytes: Vec<u8>,
    count: u64,
    last_zxid: Option<Zxid>,
}

impl Batch {
    fn put(&mut self, held: &Held<'_>, to: &Arc<[LinkId]>, packet: &FromLeader<'_>) {
        if !self.to.as_ref().is_some_and(|those| Arc::ptr_eq(those, to)) {
            self.send(held);
            self.to = Some(to.clone());
        }
        packet.put(&mut self.bytes);
        self.count += 1;
        self.last_zxid = zxid_of(packet).or(self.last_zxid);
    }

    fn send(&mut self, held: &Held<'_>) {
        for link in self.to.take().iter().flat_map(|to| to.iter()) {
            if let Some(link) = held.state.links.get(link) {
                link.send_encoded(&self.bytes, self.count, self.last_zxid);
            }
        }
        self.bytes.clear();
        self.count = 0;
    }
}

impl Held<'_> {
    pub(super) fn lead<'a>(&mut self, outputs: Vec<Lead<'a>>, asks: &mut Vec<Ask<'a>>) {
        let before = self.state.committed;
        // Followers hear of proposals and commits in their order; each observer is told once.
        let (mut to_followers, mut to_observers) = (Batch::default(), Batch::default());
        let (mut commits, mut ages) = (0, Ages::default());
        for output in outputs {
            match output {
                Lead::Propose { zxid, to } => {
                    if let Some(txn) = find(&self.state.under_way, zxid) {
                        to_followers.put(self, &to, &FromLeader::Proposal { zxid, txn });
                    }
                    continue;
                }
                Lead::Commit { zxid, followers, observers } => {
                    to_followers.put(self, &followers, &FromLeader::Commit(zxid));
                    let Some(txn) = self.commit_oldest(zxid, &mut ages) else { continue };
                    commits += 1;
                    if !observers.is_empty() {
                        let packet = FromLeader::Inform { zxid, txn: &txn };
                        to_observers.put(self, &observers, &packet);
                    }
                    if self.state.moves.front().is_some_and(|(behind, ..)| *behind <= zxid) {
                        to_followers.send(self);
                        to_observers.send(self);
                        self.answer_moves();
                    }
                    continue;
                }
                Lead::CommitAndActivate { zxid, config, leader, followers, observers } => {
                    let packet = FromLeader::CommitAndActivate { zxid, leader };
                    to_followers.put(self, &followers, &packet);
                    let Some(txn) = self.commit_oldest(zxid, &mut ages) else { continue };
                    commits += 1;
                    let packet = FromLeader::InformAndActivate { zxid, leader, txn: &txn };
                    to_observers.put(self, &observers, &packet);
                    to_followers.send(self);
                    to_observers.send(self);
                    self.answer_moves();
                    self.chore(Chore::Activated(config));
                    continue;
                }
                Lead::Inform { upto, leader, observers } => {
                    while let Some((zxid, txn)) =
                        self.state.fresh.pop_front_if(|(zxid, _)| *zxid <= upto)
                    {
                        let packet = match leader.filter(|_| zxid == upto) {
                            Some(leader) => {
                                FromLeader::InformAndActivate { zxid, leader, txn: &txn }
                            }
                            None => FromLeader::Inform { zxid, txn: &txn },
                        };
                        to_observers.put(self, &observers, &packet);
                    }
                    continue;
                }
                other => {
                    to_followers.send(self);
                    to_observers.send(self);
                    self.lead_one(other, asks);
                }
            }
        }
        to_followers.send(self);
        to_observers.send(self);
        if self.state.committed > before {
            self.quorum.count_commits(commits, ages);
            let who = self.quorum.pipe().commit(self.state.committed);
            self.note_due(who);
        }
    }

    /// The oldest transaction that was proposed is committed.
    fn commit_oldest(&mut self, zxid: Zxid, ages: &mut Ages) -> Option<Arc<[u8]>> {
        let entry = self.state.under_way.pop_front()?;
        debug_assert_eq!(entry.0, zxid);
        self.quorum.note_commit(&entry, ages);
        let txn = entry.1.clone();
        self.keep(entry);
        self.state.committed = zxid;
        Some(txn)
    }

    /// Other members may be needed from now on.
    pub(super) fn propose_config(&mut self, config: Ensemble) {
        self.tell_port();
        self.chore(Chore::Proposed(config));
    }

    /// What is neither a proposal nor a commit.
    fn lead_one<'a>(&mut self, output: Lead<'a>, asks: &mut Vec<Ask<'a>>) {
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
            Lead::Request { link, request } => asks.push(Ask::Request(link, request)),
            Lead::Revalidate { link, session, timeout_ms } => {
                asks.push(Ask::Revalidate(link, session, timeout_ms));
            }
            // The leader hears of them with the next PING.
            Lead::Touched { touched, .. } if self.state.peer.fed_upto().is_some() => {
                let room = MAX_TOUCHED.saturating_sub(self.state.touched.len());
                self.state.touched.extend(touched.iter().take(room));
            }
            Lead::Touched { touched, .. } => asks.push(Ask::Touched(touched)),
            Lead::Prove => self.chore(Chore::Prove),
            Lead::Upstream(packet) => self.state.ask(&packet),
            Lead::Synced(Some(link)) => self.send(link, &FromLeader::Sync),
            // Own syncs wait in the pipeline, behind what was proposed.
            Lead::Synced(None) => {}
            Lead::Proposed(config) => self.propose_config(config),
            Lead::Activate(config) => self.chore(Chore::Activated(config)),
            // Told by the turn.
            Lead::StepDown(_) => {}
            // Those of `lead`.
            Lead::Propose { .. }
            | Lead::Commit { .. }
            | Lead::CommitAndActivate { .. }
            | Lead::Inform { .. } => {}
        }
    }

    pub(super) fn send(&self, to: LinkId, packet: &FromLeader<'_>) {
        if let Some(link) = self.state.links.get(&to) {
            link.send(packet);
        }
    }

    /// A run that is too long to be kept for a learner goes as a snapshot.
    fn affordable(&self, plan: Plan) -> Plan {
        let (Plan::Window(after) | Plan::Log(after)) = plan else { return plan };
        let behind = self.state.window.iter().filter(|(zxid, _)| *zxid > after);
        let bytes: usize = self.state.tail.iter().chain(behind).map(|(_, txn)| txn.len()).sum();
        if bytes > MAX_DIFF_BYTES { Plan::Snap } else { plan }
    }

    /// Tells a learner whether a session is its own now, behind everything that is under way.
    pub(super) fn answer_move(&mut self, link: LinkId, session: SessionId, is_valid: bool) {
        let last = self.state.under_way.back().map_or(self.state.committed, |(zxid, _)| *zxid);
        self.state.moves.push_back((last, link, session, is_valid));
        self.answer_moves();
    }

    fn answer_moves(&mut self) {
        let committed = self.state.committed;
        while let Some((_, link, session, is_valid)) =
            self.state.moves.pop_front_if(|(behind, ..)| *behind <= committed)
        {
            self.send(link, &FromLeader::Revalidate { session, is_valid });
        }
    }

    /// Ends a learner's connection.
    pub(super) fn hang_up(&mut self, link: LinkId) {
        self.state.links.remove(&link);
        self.state.peer.learner_lost(link);
    }

    fn synchronize(&mut self, link: LinkId, plan: Plan) {
        let plan = self.affordable(plan);
        let metrics = &self.quorum.metrics.quorum;
        self.state.begin_synchronization(metrics, link, plan == Plan::Snap);
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
