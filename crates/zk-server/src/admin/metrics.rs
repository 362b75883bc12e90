//! The counters and distributions of the server, under Apache's names (operations 3.1).
//!
//! What is left out, because it has no meaning here: the stages of Apache's commit processor, its
//! response caches, its dead-watcher queues, Netty's buffers, and until there are ensembles
//! everything about elections, learners and proposals.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::summary::Detail::{Advanced, Basic};
use super::summary::Unit::{Count, Millis};
use super::summary::{Summary, SummarySet};

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

macro_rules! metrics {
    (
        counters { $($(#[$cdoc:meta])* $counter:ident,)* }
        summaries { $($(#[$sdoc:meta])* $summary:ident: $detail:ident $unit:ident,)* }
        sets { $($(#[$tdoc:meta])* $set:ident: $tdetail:ident $tunit:ident,)* }
    ) => {
        /// All metrics; fields that Apache knows have Apache's names.
        #[derive(Debug)]
        pub struct Metrics {
            /// What `srvr` and `stat` show.
            pub stats: ServerStats,
            $($(#[$cdoc])* pub $counter: Counter,)*
            $($(#[$sdoc])* pub $summary: Summary,)*
            $($(#[$tdoc])* pub $set: SummarySet,)*
        }

        impl Default for Metrics {
            fn default() -> Metrics {
                Metrics {
                    stats: ServerStats::default(),
                    $($counter: Counter::default(),)*
                    $($summary: Summary::new($detail, $unit),)*
                    $($set: SummarySet::new($tdetail, $tunit),)*
                }
            }
        }

        impl Metrics {
            /// Counters by name.
            pub fn counters(&self) -> Vec<(&'static str, &Counter)> {
                vec![$((stringify!($counter), &self.$counter),)*]
            }

            /// Distributions by name.
            pub fn summaries(&self) -> Vec<(&'static str, &Summary)> {
                vec![$((stringify!($summary), &self.$summary),)*]
            }

            /// Labelled distributions by name.
            pub fn sets(&self) -> Vec<(&'static str, &SummarySet)> {
                vec![$((stringify!($set), &self.$set),)*]
            }
        }
    };
}

metrics! {
    counters {
        /// Bytes of requests, with their lengths.
        bytes_received_count,
        /// Connections closed because the server was not serving yet.
        cnxn_closed_without_zk_server_running,
        /// Connections closed by the server for a fault of theirs.
        connection_drop_count,
        /// Connections refused at accept: too many of one address, or of all.
        connection_rejected,
        /// Connect requests of new sessions.
        connection_request_count,
        /// Connect requests of sessions that exist.
        connection_revalidate_count,
        /// Txns whose digest was not the tree's.
        digest_mismatches_count,
        /// Ensemble names that did not fit.
        ensemble_auth_fail,
        /// Ensemble names when none is configured.
        ensemble_auth_skip,
        /// Ensemble names that fitted.
        ensemble_auth_success,
        /// Requests refused because large ones fill the memory set aside for them.
        large_requests_rejected,
        /// Changes that were prepared and wait to be applied.
        outstanding_changes_queued,
        /// Prepared changes that were applied.
        outstanding_changes_removed,
        /// Requests that entered the pipeline.
        prep_processor_request_queued,
        /// Requests that had to wait for room in the pipeline.
        request_throttle_wait_count,
        /// Bytes of replies, with their lengths.
        response_bytes,
        /// Restores by the admin server that failed.
        restore_error_count,
        /// Restores refused because the last one was too recent.
        restore_rate_limited_count,
        /// Connections closed because they opened no session in time.
        sessionless_connections_expired,
        /// Snapshots by the admin server that failed.
        snapshot_error_count,
        /// Snapshots refused because the last one was too recent.
        snapshot_rate_limited_count,
        /// Replies that nobody was there for any more.
        stale_replies,
        /// Requests that nobody waited for any more.
        stale_requests,
        /// Those of them that were dropped.
        stale_requests_dropped,
        /// Sessions that expired.
        stale_sessions_expired,
        /// Writes handed to the log.
        sync_processor_request_queued,
        /// TLS connections refused because too many handshakes were under way.
        tls_handshake_exceeded,
        /// Errors that stopped the server's work.
        unrecoverable_error_count,
        /// TLS handshakes that failed.
        unsuccessful_handshake,
        /// Bytes of watch events.
        watch_bytes,
    }
    summaries {
        /// Deciding what closing a session deletes.
        close_session_prep_time: Advanced Millis,
        /// Loading the data at start.
        dbinittime: Basic Millis,
        /// One fdatasync of the log.
        fsynctime: Basic Millis,
        /// How late the event loop was: Apache's name for a stalled JVM.
        jvm_pause_time_ms: Advanced Millis,
        /// Watches fired by a data change.
        node_changed_watch_count: Basic Count,
        /// Watches fired by a change of children.
        node_children_watch_count: Basic Count,
        /// Watches fired by a creation.
        node_created_watch_count: Basic Count,
        /// Watches fired by a deletion.
        node_deleted_watch_count: Basic Count,
        /// Preparing one write.
        prep_process_time: Basic Millis,
        /// Requests waiting to be prepared.
        prep_processor_queue_size: Basic Count,
        /// How long a request waited to be prepared.
        prep_processor_queue_time_ms: Advanced Millis,
        /// From the creation of a txn to its effect on this member.
        propagation_latency: Advanced Millis,
        /// Answering one read.
        read_final_proc_time_ms: Advanced Millis,
        /// From the arrival of a read to its answer.
        readlatency: Advanced Millis,
        /// How long a request waited for room in the pipeline.
        request_throttle_queue_time_ms: Advanced Millis,
        /// Loading a snapshot that an operator sent.
        restore_time: Basic Millis,
        /// Writing one snapshot.
        snapshottime: Basic Millis,
        /// Closing one socket.
        socket_closing_time: Basic Millis,
        /// Reading the snapshot at start.
        startup_snap_load_time: Basic Millis,
        /// Reading the log at start.
        startup_txns_load_time: Basic Millis,
        /// Txns read from the log at start.
        startup_txns_loaded: Basic Count,
        /// Appending one batch to the log.
        sync_process_time: Basic Millis,
        /// Writes in one sync.
        sync_processor_batch_size: Basic Count,
        /// From handing a write to the log until it is on disk.
        sync_processor_queue_and_flush_time_ms: Advanced Millis,
        /// One flush of the log.
        sync_processor_queue_flush_time_ms: Advanced Millis,
        /// Writes waiting for the log.
        sync_processor_queue_size: Basic Count,
        /// How long a write waited for the log.
        sync_processor_queue_time_ms: Advanced Millis,
        /// From the arrival of a write to its answer.
        updatelatency: Advanced Millis,
        /// Applying and answering one write.
        write_final_proc_time_ms: Advanced Millis,
    }
    sets {
        /// Bytes of the answers of reads, by the first part of the path.
        read_per_namespace: Basic Count,
        /// Bytes of the requests of writes, by the first part of the path.
        write_per_namespace: Basic Count,
    }
}

impl Metrics {
    /// Sets everything to zero, as `srst` does in Apache.
    pub fn reset(&self) {
        self.stats.reset();
        self.counters().iter().for_each(|(_, counter)| counter.reset());
        self.summaries().iter().for_each(|(_, summary)| summary.reset());
        self.sets().iter().for_each(|(_, set)| set.reset());
    }
}

/// The figures of Apache's `ServerStats` and `BufferStats`.
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
    pub response_sizes: Summary,
    last_response: AtomicU64,
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
            response_sizes: Summary::new(Basic, Count),
            last_response: AtomicU64::new(0),
        }
    }
}

impl ServerStats {
    /// Records the bytes of a reply.
    #[inline]
    pub fn record_response(&self, bytes: u64) {
        self.response_sizes.record(bytes);
        self.last_response.store(bytes, Relaxed);
    }

    /// Last, least and greatest reply in bytes; -1 before the first, as in Apache.
    pub fn response_bytes(&self) -> [i64; 3] {
        if self.response_sizes.count() == 0 {
            return [-1; 3];
        }
        let last = self.last_response.load(Relaxed) as i64;
        [last, self.response_sizes.min() as i64, self.response_sizes.max() as i64]
    }

    fn reset(&self) {
        let summaries = [&self.latency, &self.response_sizes];
        summaries.iter().for_each(|summary| summary.reset());
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
        metrics.counters().iter().for_each(|(_, counter)| counter.add(3));
        metrics.summaries().iter().for_each(|(_, summary)| summary.record(3));
        metrics.read_per_namespace.get("app").record(3);
        metrics.stats.record_response(40);
        metrics.stats.record_response(30);
        assert_eq!(metrics.stats.response_bytes(), [30, 30, 40]);
        metrics.reset();
        assert!(metrics.counters().iter().all(|(_, counter)| counter.get() == 0));
        assert!(metrics.summaries().iter().all(|(_, summary)| summary.count() == 0));
        assert_eq!(metrics.read_per_namespace.get("app").count(), 0);
        assert_eq!(metrics.stats.response_bytes(), [-1; 3]);
    }
}
