//! What is counted and told of a member, for operators. Nothing is decided by it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use zk_proto::quorum::{FromLeader, FromLearner};
use zk_proto::{Sid, Zxid};
use zk_quorum::link::Link;
use zk_zab::Role;
use zk_zab::leader::{Census, LinkId};

use super::state::{Entry, Quorum, State};
use crate::admin::{
    ACK_EVERY, Ages, ObserverFacts, QuorumFacts, QuorumMetrics, ReignFacts, WallClock,
};

/// When what began that takes a while.
#[derive(Debug, Default)]
pub(super) struct Moments {
    /// Nobody is served.
    unavailable: Option<Instant>,
    /// A leader is looked for.
    looking: Option<Instant>,
    /// The leader's epoch is known.
    synchronizing: Option<Instant>,
    /// This member leads.
    leading: Option<Instant>,
    /// Learners that have not acknowledged the history yet, and whether it goes to them as a
    /// snapshot.
    synchronized: BTreeMap<LinkId, bool>,
    /// Up to there it was counted when the own disk had a txn.
    logged: Zxid,
}

/// Packets that came together: what they want is done behind the last of them.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// When the txns were made that they propose.
    proposed: VecDeque<(Zxid, i64)>,
    proposals: u64,
    commits: u64,
    proposal_ages: Ages,
    commit_ages: Ages,
}

impl Run {
    /// Counts them, behind the last one.
    pub(super) fn count(mut self, quorum: &Quorum) {
        let metrics = &quorum.metrics.quorum;
        metrics.learner_proposal_received_count.add(self.proposals);
        metrics.learner_commit_received_count.add(self.commits);
        self.proposal_ages.record(&metrics.proposal_latency);
        self.commit_ages.record(&metrics.commit_propagation_latency);
    }
}

/// A learner's connection and what went over it.
pub(super) struct LearnerLink {
    link: Link,
    pub(super) tally: Arc<LinkTally>,
}

/// What went over a connection.
#[derive(Debug)]
pub(super) struct LinkTally {
    peer: SocketAddr,
    established_ms: i64,
    received: AtomicU64,
    requests: AtomicU64,
    sent: AtomicU64,
    last_zxid: AtomicI64,
}

impl LinkTally {
    pub(super) fn new(peer: SocketAddr) -> Arc<LinkTally> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Arc::new(LinkTally {
            peer,
            established_ms: since.map_or(0, |since| since.as_millis() as i64),
            received: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            last_zxid: AtomicI64::new(0),
        })
    }

    /// These have come.
    pub(super) fn heard(&self, packets: &[FromLearner<'_>]) {
        let requests = packets.iter().filter(|packet| matches!(packet, FromLearner::Request(_)));
        self.requests.fetch_add(requests.count() as u64, Relaxed);
        self.received.fetch_add(packets.len() as u64, Relaxed);
    }

    fn sent(&self, count: u64, last_zxid: Option<Zxid>) {
        self.sent.fetch_add(count, Relaxed);
        if let Some(zxid) = last_zxid.filter(|zxid| *zxid > Zxid::ZERO) {
            self.last_zxid.store(zxid.0, Relaxed);
        }
    }
}

impl LearnerLink {
    /// Ends when its learner has heard what was sent.
    pub(super) fn end(self) {
        self.link.end();
    }

    pub(super) fn new(link: Link, tally: Arc<LinkTally>) -> LearnerLink {
        LearnerLink { link, tally }
    }

    pub(super) fn send(&self, packet: &FromLeader<'_>) {
        self.link.send(|out| packet.put(out));
        self.tally.sent(1, zxid_of(packet));
    }

    /// So many packets, the last of them with this zxid.
    pub(super) fn send_encoded(&self, bytes: &[u8], count: u64, last_zxid: Option<Zxid>) {
        self.link.send(|out| out.extend_from_slice(bytes));
        self.tally.sent(count, last_zxid);
    }

    pub(super) fn send_stream(&self, pieces: mpsc::Receiver<Vec<u8>>) {
        self.link.send_stream(pieces);
    }

    fn facts(&self, sid: Sid) -> ObserverFacts {
        let LinkTally { peer, established_ms, received, requests, sent, last_zxid } = &*self.tally;
        ObserverFacts {
            peer: *peer,
            sid,
            established_ms: *established_ms,
            unsent_bytes: self.link.unsent_bytes(),
            received: received.load(Relaxed),
            sent: sent.load(Relaxed),
            requests: requests.load(Relaxed),
            last_zxid: Zxid(last_zxid.load(Relaxed)),
        }
    }
}

pub(super) fn zxid_of(packet: &FromLeader<'_>) -> Option<Zxid> {
    match packet {
        FromLeader::Diff(zxid)
        | FromLeader::Trunc(zxid)
        | FromLeader::Snap(zxid)
        | FromLeader::NewLeader { zxid, .. }
        | FromLeader::Proposal { zxid, .. }
        | FromLeader::Commit(zxid)
        | FromLeader::CommitAndActivate { zxid, .. }
        | FromLeader::Inform { zxid, .. }
        | FromLeader::InformAndActivate { zxid, .. }
        | FromLeader::Ping(zxid) => Some(*zxid),
        _ => None,
    }
}

/// When a txn was made, by the wall clock of its leader: its header has that behind session, cxid
/// and zxid.
fn made_ms(txn: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(txn.get(20..28)?.try_into().ok()?))
}

impl State {
    /// A txn that is still in memory.
    fn made_ms_of(&self, zxid: Zxid) -> Option<i64> {
        let find = |entries: &VecDeque<Entry>| made_ms(super::state::find(entries, zxid)?);
        find(&self.under_way).or_else(|| find(&self.window))
    }

    /// How many learners get the history in this way.
    fn count_synchronized(&mut self, metrics: &QuorumMetrics, is_snap: bool) {
        let State { moments, links, .. } = self;
        moments.synchronized.retain(|link, _| links.contains_key(link));
        let count = moments.synchronized.values().filter(|snap| **snap == is_snap).count();
        let [snaps, diffs] = [&metrics.inflight_snap_count, &metrics.inflight_diff_count];
        (if is_snap { snaps } else { diffs }).record(count as u64);
    }

    /// A learner begins to get the history.
    pub(super) fn begin_synchronization(
        &mut self,
        metrics: &QuorumMetrics,
        link: LinkId,
        is_snap: bool,
    ) {
        (if is_snap { &metrics.snap_count } else { &metrics.diff_count }).add(1);
        self.moments.synchronized.insert(link, is_snap);
        self.count_synchronized(metrics, is_snap);
    }

    fn observers(&self, census: &Census) -> Vec<ObserverFacts> {
        let observers = census.synced_observers.iter();
        observers.filter_map(|(link, sid)| Some(self.links.get(link)?.facts(*sid))).collect()
    }

    fn has_vote(&self) -> bool {
        self.peer.role() == Role::Participant
    }
}

impl Quorum {
    /// What operators see of this member.
    pub(crate) fn facts(&self) -> QuorumFacts {
        let state = self.state.lock();
        let peer = &state.peer;
        let reign = |census: Census| ReignFacts {
            learners: census.learners,
            synced_followers: census.synced_followers,
            synced_non_voting_followers: census.synced_non_voting_followers,
            pending_syncs: census.pending_syncs,
            uptime_ms: state.moments.leading.map_or(0, |at| at.elapsed().as_millis() as u64),
            observers: state.observers(&census),
        };
        QuorumFacts {
            sid: peer.sid(),
            state: peer.state(),
            zab_state: peer.zab_state(),
            leader: peer.leader(),
            ensemble: peer.configs().committed.clone(),
            reign: peer.census().map(reign),
            master: state.master.filter(|_| peer.leader().is_some()),
            observers: peer.observers().map(|census| state.observers(&census)),
        }
    }

    /// The member serves nobody any more.
    pub(super) fn note_rest(&self) {
        let moments = &mut self.state.lock().moments;
        moments.unavailable.get_or_insert_with(Instant::now);
        (moments.synchronizing, moments.leading) = (None, None);
    }

    /// It begins to look for a leader.
    pub(super) fn note_looking(&self) {
        let moments = &mut self.state.lock().moments;
        let now = Instant::now();
        moments.unavailable.get_or_insert(now);
        moments.looking = Some(now);
        self.metrics.quorum.looking_count.add(1);
    }

    /// A leader is elected.
    pub(super) fn note_elected(&self) {
        let mut state = self.state.lock();
        let looking = state.moments.looking.take();
        if let Some(since) = looking.filter(|_| state.has_vote()) {
            self.metrics.quorum.election_time.record_time(since.elapsed());
        }
    }

    /// It serves, as a learner or as the leader.
    pub(super) fn note_serving(&self) {
        let mut state = self.state.lock();
        let metrics = &self.metrics.quorum;
        let is_leader = state.peer.leader() == Some(state.peer.sid());
        if let Some(since) = state.moments.unavailable.take() {
            let took = since.elapsed();
            metrics.unavailable_time.record_time(took);
            if is_leader {
                metrics.leader_unavailable_time.record_time(took);
            }
        }
        if let Some(since) = state.moments.synchronizing.take() {
            let [follower, observer] = [&metrics.follower_sync_time, &metrics.observer_sync_time];
            (if state.has_vote() { follower } else { observer }).record_time(since.elapsed());
        }
        if is_leader {
            metrics.proposals.reset();
            state.moments.leading = Some(Instant::now());
        }
    }

    /// Takes note of what a leader commits.
    pub(super) fn note_commit(&self, entry: &Entry, ages: &mut Ages) {
        if let Some(made_ms) = made_ms(&entry.1) {
            ages.note(made_ms, &self.metrics.quorum.quorum_ack_latency);
        }
    }

    /// Counts so many commits, which were noted.
    pub(super) fn count_commits(&self, count: u64, mut ages: Ages) {
        self.metrics.quorum.commit_count.add(count);
        ages.record(&self.metrics.quorum.quorum_ack_latency);
    }

    /// Counts what is proposed.
    pub(super) fn count_proposals<'t>(&self, made: impl Iterator<Item = (Zxid, &'t [u8])>) {
        let metrics = &self.metrics.quorum;
        let (mut count, mut run) = (0, (0, 0));
        for (_, txn) in made {
            count += 1;
            if run.0 != txn.len() as u64 {
                metrics.proposals.record(run.0, run.1);
                run = (txn.len() as u64, 0);
            }
            run.1 += 1;
        }
        metrics.proposals.record(run.0, run.1);
        metrics.proposal_count.add(count);
    }

    /// A member has acknowledged the history, or a txn: of these one in a while is looked at.
    pub(super) fn count_acks(&self, link: LinkId, packets: &[FromLearner<'_>]) {
        let is_of_history =
            |packet: &FromLearner<'_>| matches!(packet, FromLearner::Ack(it) if it.counter() == 0);
        if packets.iter().any(is_of_history) {
            let mut state = self.state.lock();
            if let Some(is_snap) = state.moments.synchronized.remove(&link) {
                state.count_synchronized(&self.metrics.quorum, is_snap);
            }
        }
        let looked_at = packets.iter().filter_map(|packet| match packet {
            FromLearner::Ack(zxid) if zxid.0 % ACK_EVERY == 0 => Some(*zxid),
            _ => None,
        });
        for zxid in looked_at {
            let state = self.state.lock();
            let (Some(sid), Some(made_ms)) = (state.peer.learner_sid(link), state.made_ms_of(zxid))
            else {
                continue;
            };
            if let Some(us) = WallClock::default().age_us(made_ms) {
                self.metrics.quorum.ack_latency.record(sid.0, us);
            }
        }
    }
}

impl State {
    /// What has come from the leader, before it is heard.
    pub(super) fn count_packet(&mut self, quorum: &Quorum, packet: &FromLeader<'_>, run: &mut Run) {
        let metrics = &quorum.metrics.quorum;
        if let FromLeader::LeaderInfo(_) = packet {
            self.moments.synchronizing = Some(Instant::now());
        }
        if !self.peer.is_serving() {
            return;
        }
        let (made_ms, is_proposal) = match packet {
            FromLeader::Proposal { zxid, txn } => {
                let made_ms = made_ms(txn);
                run.proposed.extend(made_ms.map(|made_ms| (*zxid, made_ms)));
                (made_ms, true)
            }
            FromLeader::Commit(zxid) => {
                while run.proposed.pop_front_if(|(oldest, _)| *oldest < *zxid).is_some() {}
                let made_ms = match run.proposed.front() {
                    Some((oldest, made_ms)) if oldest == zxid => Some(*made_ms),
                    _ => self.made_ms_of(*zxid),
                };
                (made_ms, false)
            }
            FromLeader::Inform { txn, .. } => (made_ms(txn), false),
            _ => return,
        };
        match (is_proposal, made_ms) {
            (true, Some(made_ms)) => run.proposal_ages.note(made_ms, &metrics.proposal_latency),
            (false, Some(made_ms)) => {
                run.commit_ages.note(made_ms, &metrics.commit_propagation_latency);
            }
            (_, None) => {}
        }
        *(if is_proposal { &mut run.proposals } else { &mut run.commits }) += 1;
    }

    /// The own disk has everything up to there, before the machine hears of it.
    pub(super) fn count_logged(&mut self, quorum: &Quorum, zxid: Zxid) {
        let before = std::mem::replace(&mut self.moments.logged, zxid);
        if !self.has_vote() || !self.peer.is_serving() {
            return;
        }
        let metrics = &quorum.metrics.quorum;
        let (mut ages, mut clock) = (Ages::default(), WallClock::default());
        let since = self.under_way.partition_point(|(zxid, _)| *zxid <= before);
        for (at, txn) in self.under_way.iter().skip(since).take_while(|(at, _)| *at <= zxid) {
            let Some(made_ms) = made_ms(txn) else { continue };
            ages.note(made_ms, &metrics.proposal_ack_creation_latency);
            if at.0 % ACK_EVERY == 0
                && self.peer.leader() == Some(self.peer.sid())
                && let Some(us) = clock.age_us(made_ms)
            {
                metrics.ack_latency.record(self.peer.sid().0, us);
            }
        }
        ages.record(&metrics.proposal_ack_creation_latency);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_proto::Jute;
    use zk_proto::txn::TxnHeader;

    #[test]
    fn a_txn_says_when_it_was_made() {
        let header =
            TxnHeader { client_id: 1, cxid: 2, zxid: 3, time_ms: 1_795_995_112_347, op: 5 };
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        assert_eq!(made_ms(&bytes), Some(header.time_ms));
        assert_eq!(made_ms(&bytes[..27]), None);
    }
}
