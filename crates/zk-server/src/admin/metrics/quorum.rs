//! What only a member of an ensemble counts: elections, learners, proposals.
//!
//! Every member shows all of it, as in Apache: a follower may have led before, and that it has
//! committed nothing as a leader is a figure, too.
//!
//! Latencies are counted from when the leader made a txn, as its header says, to something that
//! happens here. Both are wall clocks, of two machines where the leader is another; what would be
//! negative is not counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::super::summary::Detail::{Advanced, Basic};
use super::super::summary::Summary;
use super::super::summary::Unit::{Count, Millis};
use super::{Counter, Sizes};

metrics! {
    /// What a member of an ensemble counts; fields that Apache knows have Apache's names.
    QuorumMetrics
    others {
        /// Bytes of proposals, while it leads.
        proposals: Sizes,
        /// To the ACK of each member, of one txn in a thousand.
        ack_latency: SidSummaries,
    }
    counters {
        /// Txns that this member has committed as a leader.
        commit_count,
        /// Learners that were given what they missed.
        diff_count,
        /// COMMIT and INFORM packets that came, while it serves.
        learner_commit_received_count,
        /// PROPOSAL packets that came, while it serves.
        learner_proposal_received_count,
        /// Times it looked for a leader.
        looking_count,
        /// Txns that this member has proposed.
        proposal_count,
        /// Learners that asked whether a session may move to them.
        revalidate_count,
        /// Learners that were given a snapshot.
        snap_count,
    }
    summaries {
        /// To the COMMIT or INFORM that a learner gets.
        commit_propagation_latency: Advanced Millis,
        /// From looking for a leader to having one; a member without a vote elects nobody.
        election_time: Basic Millis,
        /// From the leader's epoch to serving, of a follower.
        follower_sync_time: Basic Millis,
        /// Learners that get what they missed, when one begins or has it.
        inflight_diff_count: Basic Count,
        /// The same of snapshots.
        inflight_snap_count: Basic Count,
        /// From having no leader to leading.
        leader_unavailable_time: Basic Millis,
        /// The same as of followers, of an observer.
        observer_sync_time: Basic Millis,
        /// To applying it.
        propagation_latency: Advanced Millis,
        /// To having it on the own disk, where this is acknowledged.
        proposal_ack_creation_latency: Advanced Millis,
        /// To the PROPOSAL that a follower gets.
        proposal_latency: Advanced Millis,
        /// To having it on the disks of a quorum.
        quorum_ack_latency: Advanced Millis,
        /// From having no leader to serving.
        unavailable_time: Basic Millis,
    }
}

/// Of so many txns the latency of one member's ACKs is looked at once (`leader.ackLoggingFrequency`
/// of Apache).
pub(crate) const ACK_EVERY: i64 = 1000;

impl QuorumMetrics {
    pub(super) fn reset(&self) {
        self.proposals.reset();
        self.ack_latency.reset();
        self.counters().iter().for_each(|(_, counter)| counter.reset());
        self.summaries().iter().for_each(|(_, summary)| summary.reset());
    }
}

/// Sids are few; strangers may come with any.
const MOST_SIDS: usize = 255;

/// A distribution of times for each member.
#[derive(Debug, Default)]
pub struct SidSummaries(Mutex<BTreeMap<i64, Arc<Summary>>>);

impl SidSummaries {
    /// Records what one took, in us.
    pub fn record(&self, sid: i64, us: u64) {
        let mut all = self.0.lock();
        if all.len() < MOST_SIDS || all.contains_key(&sid) {
            all.entry(sid).or_insert_with(|| Arc::new(Summary::new(Advanced, Millis))).record(us);
        }
    }

    /// All of them by sid.
    pub fn get(&self) -> Vec<(i64, Arc<Summary>)> {
        self.0.lock().iter().map(|(sid, summary)| (*sid, summary.clone())).collect()
    }

    fn reset(&self) {
        self.0.lock().values().for_each(|summary| summary.reset());
    }
}

/// The wall clock, looked at once at most: latencies of a batch end at one moment.
#[derive(Debug, Default)]
pub(crate) struct WallClock(Option<i64>);

impl WallClock {
    /// How old a txn is in us, that was made at `made_ms`.
    pub(crate) fn age_us(&mut self, made_ms: i64) -> Option<u64> {
        let now_ms = *self.0.get_or_insert_with(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            since.map_or(0, |since| since.as_millis() as i64)
        });
        let age_ms = now_ms.checked_sub(made_ms)?;
        u64::try_from(age_ms).ok()?.checked_mul(1000)
    }
}

/// Ages of txns that come one after the other: many of them were made in the same ms.
#[derive(Debug, Default)]
pub(crate) struct Ages {
    clock: WallClock,
    made_ms: i64,
    count: u64,
}

impl Ages {
    /// One that was made at `made_ms`.
    #[inline]
    pub(crate) fn note(&mut self, made_ms: i64, latency: &Summary) {
        if made_ms != self.made_ms {
            self.record(latency);
            self.made_ms = made_ms;
        }
        self.count += 1;
    }

    /// Records those that were noted; an age that is negative is none.
    pub(crate) fn record(&mut self, latency: &Summary) {
        let count = std::mem::take(&mut self.count);
        if count > 0
            && let Some(us) = self.clock.age_us(self.made_ms)
        {
            latency.record_many(us, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_made_a_txn_later_than_now_is_not_counted() {
        let mut ages = Ages { clock: WallClock(Some(5000)), ..Ages::default() };
        let latency = Summary::new(Advanced, Millis);
        for made_ms in [4990, 4990, 5001, i64::MIN, i64::MAX, 4995] {
            ages.note(made_ms, &latency);
        }
        ages.record(&latency);
        assert_eq!((latency.count(), latency.max(), latency.min()), (3, 10.0, 5.0));
    }

    #[test]
    fn strangers_do_not_choose_how_many_members_are_shown() {
        let all = SidSummaries::default();
        for sid in 0..2 * MOST_SIDS as i64 {
            all.record(sid, 1000);
            all.record(0, 3000);
        }
        let all = all.get();
        assert_eq!(all.len(), MOST_SIDS);
        assert_eq!((all[0].1.count(), all[1].1.count()), (2 * MOST_SIDS as u64 + 1, 1));
    }
}
