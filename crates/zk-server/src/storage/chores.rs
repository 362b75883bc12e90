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
/// that the members of an ensemble do not all do it at once (Apache `SyncRequestProcessor`). It
/// also knows how large the log file has become.
pub(super) struct Pace {
    txns: AtomicU64,
    bytes: AtomicU64,
    txns_due: AtomicU64,
    bytes_due: AtomicU64,
    /// Bytes in the log's newest file.
    file_bytes: AtomicU64,
    settings: StorageSettings,
    state: Mutex<State>,
    news: Condvar,
}

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
        if txns > self.txns_due.load(Ordering::Relaxed)
            || bytes > self.bytes_due.load(Ordering::Relaxed)
        {
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

    /// Waits for the next snapshot, or until it is time to purge.
    fn wait(&self, purge_at: Option<Instant>) -> Task {
        let mut state = self.state.lock();
        loop {
            if state.stop {
                return Task::Stop;
            }
            if std::mem::take(&mut state.is_due) {
                return Task::Snapshot;
            }
            match purge_at {
                None => self.news.wait(&mut state),
                Some(at) if self.news.wait_until(&mut state, at).timed_out() => return Task::Purge,
                Some(_) => {}
            }
        }
    }
}

/// What there is to do.
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
    thread: JoinHandle<()>,
}

impl Chores {
    pub(super) fn start(
        pace: Arc<Pace>,
        snapshots: Arc<Snapshots>,
        log: Arc<OnceLock<GroupCommit>>,
        purging: Option<Purging>,
    ) -> io::Result<Chores> {
        let waiting = pace.clone();
        let body = move || {
            let mut purge_at = purging.as_ref().map(|purging| Instant::now() + purging.interval());
            loop {
                match waiting.wait(purge_at) {
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
                if snapshots.take().is_none() {
                    tracing::warn!("Too busy to snap, skipping");
                }
            }
        };
        let thread = Builder::new().name("zk-snap".into()).spawn(body)?;
        Ok(Chores { pace, thread })
    }

    pub(super) fn stop(self) {
        self.pace.state.lock().stop = true;
        self.pace.news.notify_one();
        let _ = self.thread.join();
    }
}
