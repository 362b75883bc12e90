//! When snapshots are taken, and the thread that takes them.

use super::Snapshots;
use crate::config::StorageSettings;
use parking_lot::{Condvar, Mutex};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, JoinHandle};
use zk_store::group_commit::GroupCommit;

/// Counts what was logged since the last snapshot, and says when the next one is due: after
/// between a half and the whole of `snapCount` transactions, or of the size limit, at random, so
/// that the members of an ensemble do not all do it at once (Apache `SyncRequestProcessor`).
pub(super) struct Pace {
    txns: AtomicU64,
    bytes: AtomicU64,
    txns_due: AtomicU64,
    bytes_due: AtomicU64,
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

    /// Waits for the next snapshot; false when there will be none.
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        while !state.is_due && !state.stop {
            self.news.wait(&mut state);
        }
        state.is_due = false;
        !state.stop
    }
}

/// The thread that takes snapshots.
pub(super) struct Chores {
    pace: Arc<Pace>,
    thread: JoinHandle<()>,
}

impl Chores {
    pub(super) fn start(
        pace: Arc<Pace>,
        snapshots: Arc<Snapshots>,
        log: Arc<OnceLock<GroupCommit>>,
    ) -> io::Result<Chores> {
        let waiting = pace.clone();
        let body = move || {
            while waiting.wait() {
                // A new log file first: the snapshot then makes the old ones superfluous.
                if let Some(log) = log.get() {
                    log.roll();
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
