//! When snapshots are taken and old files removed, and the thread that does both.

use super::Snapshots;
use crate::config::{PurgeSettings, StorageSettings};
use parking_lot::{Condvar, Mutex};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use zk_store::data_dir::DataDirs;
use zk_store::disk::Disk;
use zk_store::group_commit::GroupCommit;
use zk_store::purge::purge;
use zk_store::snapshot::ReadOptions;

/// Counts what was logged since the last snapshot, and says when the next one is due: after
/// between a half and the whole of `snapCount` transactions, or of the size limit, at random, so
/// that the members of an ensemble do not all do it at once (Apache `SyncRequestProcessor`).
///
/// Without `snapCount` in the configuration it waits longer, at most ten times: until the log is
/// as long as the last snapshot, and as one extent of the log. Replaying it then costs a start
/// about as much as loading the snapshot, and snapshots at most double what is written; a large
/// tree under a steady load would otherwise be written out every few seconds. And it rests as long
/// as the last snapshot took: at most half of the time one is being written.
///
/// It also knows how large the log file has become.
pub(super) struct Pace {
    txns: AtomicU64,
    bytes: AtomicU64,
    /// Size of the newest snapshot, if it was written by this process.
    snapshot_bytes: AtomicU64,
    txns_due: AtomicU64,
    bytes_due: AtomicU64,
    /// Bytes in the log's newest file.
    file_bytes: AtomicU64,
    settings: StorageSettings,
    state: Mutex<State>,
    news: Condvar,
}

/// How many times `snapCount` a snapshot may wait for the log to become as long as the last one.
const PATIENCE: u64 = 10;

#[derive(Default)]
struct State {
    is_due: bool,
    stop: bool,
}

impl Pace {
    /// `txns` are in the log behind the newest snapshot already.
    pub(super) fn new(settings: &StorageSettings, txns: u64) -> Pace {
        let pace = Pace {
            txns: AtomicU64::new(txns),
            bytes: AtomicU64::new(0),
            snapshot_bytes: AtomicU64::new(0),
            txns_due: AtomicU64::new(0),
            bytes_due: AtomicU64::new(0),
            file_bytes: AtomicU64::new(0),
            settings: settings.clone(),
            state: Mutex::default(),
            news: Condvar::new(),
        };
        pace.draw();
        pace
    }

    fn draw(&self) {
        let between = |whole: u64| whole / 2 + crate::server::random_seed() % (whole / 2).max(1);
        self.txns_due.store(between(self.settings.snap_count.into()), Ordering::Relaxed);
        let bytes = self.settings.snap_size_limit_bytes.map_or(u64::MAX, between);
        self.bytes_due.store(bytes, Ordering::Relaxed);
    }

    /// A batch is on disk.
    pub(super) fn logged(&self, txns: u64, bytes: u64) {
        let txns = self.txns.fetch_add(txns, Ordering::Relaxed) + txns;
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let txns_due = self.txns_due.load(Ordering::Relaxed);
        let least = self.snapshot_bytes.load(Ordering::Relaxed).max(self.settings.prealloc_bytes);
        let is_worth_it =
            !self.settings.paces_snapshots || bytes >= least || txns > PATIENCE * txns_due;
        if txns > txns_due && is_worth_it || bytes > self.bytes_due.load(Ordering::Relaxed) {
            self.txns.store(0, Ordering::Relaxed);
            self.bytes.store(0, Ordering::Relaxed);
            self.draw();
            self.state.lock().is_due = true;
            self.news.notify_one();
        }
    }

    /// Whether the log's file is too large, with `bytes` more in it, to be gone on with
    /// (`txnLogSizeLimitInKb`); the next bytes are then those of a new one.
    pub(super) fn fills_file(&self, bytes: u64) -> bool {
        let Some(limit) = self.settings.log_roll_bytes else { return false };
        let is_full = self.file_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > limit;
        if is_full {
            self.file_bytes.store(0, Ordering::Relaxed);
        }
        is_full
    }

    /// A snapshot took so long: until when there is no other.
    fn rest_after(&self, took: Duration) -> Option<Instant> {
        self.settings.paces_snapshots.then(|| Instant::now() + took)
    }

    /// Waits for the next snapshot, not before `rested_at`, or until it is time to purge.
    fn wait(&self, purge_at: Option<Instant>, rested_at: Option<Instant>) -> Task {
        let mut state = self.state.lock();
        loop {
            if state.stop {
                return Task::Stop;
            }
            let now = Instant::now();
            let is_past = |at: Instant| at <= now;
            // First: the next snapshot may be due whenever the last one ends.
            if purge_at.is_some_and(is_past) {
                return Task::Purge;
            }
            if state.is_due && rested_at.is_none_or(is_past) {
                state.is_due = false;
                return Task::Snapshot;
            }
            let due_at = rested_at.filter(|_| state.is_due);
            match purge_at.into_iter().chain(due_at).min() {
                Some(at) => {
                    self.news.wait_until(&mut state, at);
                }
                None => self.news.wait(&mut state),
            }
        }
    }
}

/// What there is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Task {
    Snapshot,
    Purge,
    Stop,
}

/// Which files are old (`autopurge.*`).
pub(super) struct Purging {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dirs: DataDirs,
    pub(super) settings: PurgeSettings,
    pub(super) read: ReadOptions,
}

impl Purging {
    fn interval(&self) -> Duration {
        Duration::from_secs(3600 * u64::from(self.settings.interval_hours))
    }

    fn run(&self) {
        match purge(&*self.disk, &self.dirs, self.settings.retain_count as usize, &self.read) {
            Ok(purged) => {
                for damaged in &purged.damaged {
                    tracing::error!(
                        "a snapshot does not count and is kept for inspection: {damaged}"
                    );
                }
                for path in &purged.removed {
                    tracing::info!("removed {}", path.display());
                }
            }
            Err(error) => tracing::error!("cannot remove old files: {error}"),
        }
    }
}

/// The thread that takes snapshots and removes old files, one after the other.
pub(super) struct Chores {
    pace: Arc<Pace>,
    snapshots: Arc<Snapshots>,
    thread: JoinHandle<()>,
}

impl Chores {
    pub(super) fn start(
        pace: Arc<Pace>,
        snapshots: Arc<Snapshots>,
        log: Arc<OnceLock<GroupCommit>>,
        purging: Option<Purging>,
    ) -> io::Result<Chores> {
        let (waiting, own) = (pace.clone(), snapshots.clone());
        let body = move || {
            let mut purge_at = purging.as_ref().map(|purging| Instant::now() + purging.interval());
            let mut rested_at = None;
            loop {
                match waiting.wait(purge_at, rested_at) {
                    Task::Stop => return,
                    Task::Snapshot => {}
                    Task::Purge => {
                        if let Some(purging) = &purging {
                            purging.run();
                            purge_at = Some(Instant::now() + purging.interval());
                        }
                        continue;
                    }
                }
                // A new log file first: the snapshot then makes the old ones superfluous.
                if let Some(log) = log.get() {
                    log.roll();
                    waiting.file_bytes.store(0, Ordering::Relaxed);
                }
                let began = Instant::now();
                match snapshots.take() {
                    Some(Ok((_, file))) => {
                        waiting.snapshot_bytes.store(file.bytes, Ordering::Relaxed);
                    }
                    // It was logged.
                    Some(Err(_)) => {}
                    None => tracing::warn!("Too busy to snap, skipping"),
                }
                rested_at = waiting.rest_after(began.elapsed());
            }
        };
        let thread = Builder::new().name("zk-snap".into()).spawn(body)?;
        Ok(Chores { pace, snapshots: own, thread })
    }

    pub(super) fn stop(self) {
        self.snapshots.hurry(true);
        self.pace.state.lock().stop = true;
        self.pace.news.notify_one();
        let _ = self.thread.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Options, parse};

    fn pace(lines: &str) -> Pace {
        let text = format!("dataDir=/d\nclientPort=1\npreAllocSize=1\n{lines}");
        let config = parse("zoo.cfg", text.as_bytes(), &[], Options::default()).unwrap().config;
        Pace::new(&config.storage, 0)
    }

    /// After how many batches of a txn and `bytes` the next snapshot is due.
    fn due_after(pace: &Pace, bytes: u64) -> u64 {
        let mut batches = 0;
        while !std::mem::take(&mut pace.state.lock().is_due) {
            pace.logged(1, bytes);
            batches += 1;
        }
        batches
    }

    #[test]
    fn a_snap_count_that_is_set_counts() {
        let pace = pace("snapCount=100\n");
        pace.snapshot_bytes.store(1 << 30, Ordering::Relaxed);
        for _ in 0..20 {
            assert!((51..=100).contains(&due_after(&pace, 1)));
        }
    }

    #[test]
    fn else_the_log_must_be_worth_a_snapshot() {
        let pace = pace("");
        assert!((50_001..=100_000).contains(&due_after(&pace, 100)));
        pace.snapshot_bytes.store(20_000_000, Ordering::Relaxed);
        assert_eq!(due_after(&pace, 100), 200_000);
        // But not for ever.
        pace.snapshot_bytes.store(1 << 40, Ordering::Relaxed);
        assert!((500_001..=1_000_001).contains(&due_after(&pace, 100)));
    }

    #[test]
    fn snapshots_rest_as_long_as_they_took() {
        let took = Duration::from_millis(50);
        let rested = pace("");
        rested.state.lock().is_due = true;
        let began = Instant::now();
        assert_eq!(rested.wait(None, rested.rest_after(took)), Task::Snapshot);
        assert!(began.elapsed() >= took);
        // What is to be purged does not wait for that, nor does who stops.
        rested.state.lock().is_due = true;
        let long = rested.rest_after(Duration::from_secs(3600));
        assert_eq!(rested.wait(Some(Instant::now()), long), Task::Purge);
        rested.state.lock().stop = true;
        assert_eq!(rested.wait(None, long), Task::Stop);
        let busy = pace("snapCount=100\n");
        busy.state.lock().is_due = true;
        assert_eq!(busy.wait(Some(Instant::now()), None), Task::Purge);
        assert_eq!(busy.wait(None, None), Task::Snapshot);
        // Who says how many transactions a snapshot is worth gets it then.
        assert_eq!(pace("snapCount=100\n").rest_after(took), None);
    }

    #[test]
    fn the_size_limit_counts_alone() {
        let pace = pace("snapSizeLimitInKb=100\n");
        assert!((51..=101).contains(&due_after(&pace, 1024)));
    }
}
