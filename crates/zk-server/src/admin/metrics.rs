//! The counters and distributions of the server, under Apache's names (operations 3.1).
//!
//! A figure that nothing measures is not here: a zero would be taken for a measurement. So there is
//! nothing about Apache's CommitProcessor, stale requests, response caches, dead watchers, Netty
//! and the JVM, which are not here; what is about elections, learners and proposals is of members
//! of ensembles alone ([`QuorumMetrics`]). Nor is there what would cost each request a look at the
//! clock or a look-up of its first path component: the times in queues, and traffic by namespace
//! (`read_per_namespace`, `write_per_namespace`). A test lists every name of Apache's `mntr` that
//! is left out (`tests/words.rs`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::summary::Detail::{Advanced, Basic};
use super::summary::Summary;
use super::summary::Unit::{Count, Millis};

/// A number that only grows until a reset.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Sets it to 0.
    pub fn reset(&self) {
        self.0.store(0, Relaxed);
    }
}

/// Clients choose the names of namespaces, and each is a few lines of every answer: there are no
/// more.
pub(crate) const MOST_NAMESPACES: usize = 100;

/// A longer name is not counted: a name stays when its znode is gone.
const LONGEST_NAME_BYTES: usize = 1024;

/// A counter for each namespace, the first part of paths: those that were counted first.
#[derive(Debug, Default)]
pub struct CounterSet(Mutex<BTreeMap<Box<str>, u64>>);

impl CounterSet {
    /// Adds one.
    pub fn add(&self, namespace: Box<str>) {
        let mut counts = self.0.lock();
        if let Some(count) = counts.get_mut(&namespace) {
            *count += 1;
        } else if counts.len() < MOST_NAMESPACES && namespace.len() <= LONGEST_NAME_BYTES {
            counts.insert(namespace, 1);
        }
    }

    /// Names and their numbers.
    pub fn get(&self) -> Vec<(Box<str>, u64)> {
        self.0.lock().iter().map(|(name, count)| (name.clone(), *count)).collect()
    }

    /// Sets all to 0; the names stay, as in Apache.
    pub fn reset(&self) {
        self.0.lock().values_mut().for_each(|count| *count = 0);
    }
}

macro_rules! metrics {
    (
        $(#[$doc:meta])* $name:ident
        others { $($(#[$odoc:meta])* $other:ident: $type:ty,)* }
        counters { $($(#[$cdoc:meta])* $counter:ident,)* }
        summaries { $($(#[$sdoc:meta])* $summary:ident: $detail:ident $unit:ident,)* }
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            $($(#[$odoc])* pub $other: $type,)*
            $($(#[$cdoc])* pub $counter: Counter,)*
            $($(#[$sdoc])* pub $summary: Summary,)*
        }

        impl Default for $name {
            fn default() -> $name {
                $name {
                    $($other: <$type>::default(),)*
                    $($counter: Counter::default(),)*
                    $($summary: Summary::new($detail, $unit),)*
                }
            }
        }

        impl $name {
            /// Counters by name.
            pub fn counters(&self) -> Vec<(&'static str, &Counter)> {
                vec![$((stringify!($counter), &self.$counter),)*]
            }

            /// Distributions by name.
            pub fn summaries(&self) -> Vec<(&'static str, &Summary)> {
                vec![$((stringify!($summary), &self.$summary),)*]
            }
        }
    };
}

mod quorum;

pub(crate) use quorum::{ACK_EVERY, Ages, WallClock};
pub use quorum::{QuorumMetrics, SidSummaries};

metrics! {
    /// All metrics; fields that Apache knows have Apache's names.
    Metrics
    others {
        /// What `srvr` and `stat` show.
        stats: ServerStats,
        /// Writes that a hard quota refused.
        quota_exceeded_error_per_namespace: CounterSet,
        /// What a member of an ensemble counts besides.
        quorum: QuorumMetrics,
    }
    counters {
        /// Bytes of requests, with their lengths.
        bytes_received_count,
        /// Connections that their clients ended, or that broke.
        connection_drop_count,
        /// Connections refused: too many of one address, or of all, or in a time.
        connection_rejected,
        /// Connect requests.
        connection_request_count,
        /// Connect requests that name a session.
        connection_revalidate_count,
        /// Txns whose digest was not the tree's.
        digest_mismatches_count,
        /// Names of another ensemble that a client gave.
        ensemble_auth_fail,
        /// Clients without the name of an ensemble, or any name here.
        ensemble_auth_skip,
        /// Names of ours that a client gave.
        ensemble_auth_success,
        /// Connections closed because there was no room for a large request.
        large_requests_rejected,
        /// Requests given to the pipeline: writes, and reads behind writes.
        prep_processor_request_queued,
        /// Times a connection had to wait because of `request_throttle_max_requests`.
        request_throttle_wait_count,
        /// Bytes of replies, with their lengths.
        response_bytes,
        /// Restores by the admin server that failed.
        restore_error_count,
        /// Restores refused because the last one was too recent.
        restore_rate_limited_count,
        /// Connections closed because they opened no session in time.
        sessionless_connections_expired,
        /// New sessions refused because there were `maxSessions` (ours).
        sessions_refused,
        /// Snapshots by the admin server that failed.
        snapshot_error_count,
        /// Snapshots refused because the last one was too recent.
        snapshot_rate_limited_count,
        /// Sessions that expired.
        stale_sessions_expired,
        /// Txns given to the log.
        sync_processor_request_queued,
        /// TLS connections refused because too many handshakes were under way.
        tls_handshake_exceeded,
        /// Errors that stopped the server's work.
        unrecoverable_error_count,
        /// Connections closed because their client did not read (`maxUnsentBytes`; ours).
        unsent_limit_exceeded,
        /// TLS handshakes that failed.
        unsuccessful_handshake,
        /// Bytes of watch events.
        watch_bytes,
    }
    summaries {
        /// Tokens that the throttle of connect requests misses, at each that it let pass.
        connection_token_deficit: Basic Count,
        /// Loading the data at start.
        dbinittime: Basic Millis,
        /// One fdatasync of the log.
        fsynctime: Basic Millis,
        /// Watches that a setData fired.
        node_changed_watch_count: Basic Count,
        /// Watches on children that the coming or going of one fired.
        node_children_watch_count: Basic Count,
        /// Watches that a create fired.
        node_created_watch_count: Basic Count,
        /// Watches that a delete fired.
        node_deleted_watch_count: Basic Count,
        /// From the arrival of a read to its answer.
        readlatency: Advanced Millis,
        /// Loading a snapshot that an operator sent.
        restore_time: Basic Millis,
        /// Writing one snapshot.
        snapshottime: Basic Millis,
        /// Loading the snapshot at start.
        startup_snap_load_time: Basic Millis,
        /// Reading and applying the log at start.
        startup_txns_load_time: Basic Millis,
        /// Txns read from the log at start.
        startup_txns_loaded: Basic Count,
        /// Writes in one sync.
        sync_processor_batch_size: Basic Count,
        /// From the arrival of a write to its answer.
        updatelatency: Advanced Millis,
    }
}

impl Metrics {
    /// All counters that are shown; the last ones only of a member of an ensemble.
    pub(super) fn shown_counters(&self, is_member: bool) -> Vec<(&'static str, &Counter)> {
        let mut all = self.counters();
        all.extend(self.quorum.counters().into_iter().filter(|_| is_member));
        all
    }

    /// The same of the distributions.
    pub(super) fn shown_summaries(&self, is_member: bool) -> Vec<(&'static str, &Summary)> {
        let mut all = self.summaries();
        all.extend(self.quorum.summaries().into_iter().filter(|_| is_member));
        all
    }

    /// Sets everything to zero, as `srst` does in Apache.
    pub fn reset(&self) {
        self.stats.reset();
        self.quorum.reset();
        self.quota_exceeded_error_per_namespace.reset();
        self.counters().iter().for_each(|(_, counter)| counter.reset());
        self.summaries().iter().for_each(|(_, summary)| summary.reset());
    }
}

/// The figures of Apache's `ServerStats`.
#[derive(Debug)]
pub struct ServerStats {
    /// From the arrival of any request to its answer.
    pub latency: Summary,
    /// Packets received.
    pub packets_received: Counter,
    /// Packets sent, with watch events.
    pub packets_sent: Counter,
    /// Syncs slower than `fsync.warningthresholdms`.
    pub fsync_threshold_exceed_count: Counter,
    /// Failed authentications.
    pub auth_failed_count: Counter,
    /// Connections without mutual TLS of other machines.
    pub non_mtls_remote_conn_count: Counter,
    /// Connections without mutual TLS of this machine.
    pub non_mtls_local_conn_count: Counter,
    /// Bytes of replies.
    pub responses: Sizes,
}

/// Sizes in bytes, and the last one (Apache `BufferStats`).
#[derive(Debug)]
pub struct Sizes {
    all: Summary,
    last: AtomicU64,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes { all: Summary::new(Basic, Count), last: AtomicU64::new(0) }
    }
}

impl Sizes {
    /// Records `count` of one size.
    #[inline]
    pub fn record(&self, bytes: u64, count: u64) {
        self.all.record_many(bytes, count);
        self.last.store(bytes, Relaxed);
    }

    /// Last, least and greatest; -1 before the first, as in Apache.
    pub fn last_least_greatest(&self) -> [i64; 3] {
        if self.all.count() == 0 {
            return [-1; 3];
        }
        [self.last.load(Relaxed) as i64, self.all.min() as i64, self.all.max() as i64]
    }

    /// Forgets all.
    pub fn reset(&self) {
        self.all.reset();
    }
}

impl Default for ServerStats {
    fn default() -> ServerStats {
        ServerStats {
            latency: Summary::new(Basic, Millis),
            packets_received: Counter::default(),
            packets_sent: Counter::default(),
            fsync_threshold_exceed_count: Counter::default(),
            auth_failed_count: Counter::default(),
            non_mtls_remote_conn_count: Counter::default(),
            non_mtls_local_conn_count: Counter::default(),
            responses: Sizes::default(),
        }
    }
}

impl ServerStats {
    fn reset(&self) {
        self.latency.reset();
        self.responses.reset();
        let counters = [
            &self.packets_received,
            &self.packets_sent,
            &self.fsync_threshold_exceed_count,
            &self.auth_failed_count,
            &self.non_mtls_remote_conn_count,
            &self.non_mtls_local_conn_count,
        ];
        counters.iter().for_each(|counter| counter.reset());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_clears_everything() {
        let metrics = Metrics::default();
        metrics.shown_counters(true).iter().for_each(|(_, counter)| counter.add(3));
        metrics.quorum.proposals.record(48, 1);
        metrics.quorum.ack_latency.record(7, 1000);
        metrics.shown_summaries(true).iter().for_each(|(_, summary)| summary.record(3));
        metrics.stats.responses.record(40, 1);
        metrics.stats.responses.record(30, 1);
        metrics.quota_exceeded_error_per_namespace.add("app".into());
        assert_eq!(metrics.stats.responses.last_least_greatest(), [30, 30, 40]);
        metrics.reset();
        assert!(metrics.shown_counters(true).iter().all(|(_, counter)| counter.get() == 0));
        assert!(metrics.shown_summaries(true).iter().all(|(_, summary)| summary.count() == 0));
        assert_eq!(metrics.stats.responses.last_least_greatest(), [-1; 3]);
        assert_eq!(metrics.quota_exceeded_error_per_namespace.get(), [("app".into(), 0)]);
        assert_eq!(metrics.quorum.proposals.last_least_greatest(), [-1; 3]);
        assert!(metrics.quorum.ack_latency.get().iter().all(|(_, all)| all.count() == 0));
    }

    #[test]
    fn clients_do_not_choose_how_many_namespaces_there_are() {
        let counts = CounterSet::default();
        counts.add("x".repeat(LONGEST_NAME_BYTES + 1).into());
        for n in 0..2 * MOST_NAMESPACES {
            counts.add(format!("{n:03}").into());
            counts.add("000".into());
        }
        let all = counts.get();
        assert_eq!(all.len(), MOST_NAMESPACES);
        assert_eq!(all[0], ("000".into(), 2 * MOST_NAMESPACES as u64 + 1));
        assert_eq!(all[MOST_NAMESPACES - 1], ("099".into(), 1));
    }
}
