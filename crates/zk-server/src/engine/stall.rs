//! A worker that waits long for the disk reads nothing, and what it has not read must not count as
//! silence: neither of its connections' clients, nor of one that has come to renew its session. While
//! it waits nothing could be logged, so no session ends anyway; all are given as long again, in which
//! their words are read.

use std::sync::atomic::{AtomicI64, Ordering};

/// A shorter wait matters to no session, in ms.
const LONG_MS: i64 = 100;

/// No worker waits.
const NEVER: i64 = i64::MIN;

/// Whether a worker waits for the disk, or has lately. Times are ms of the monotonic clock.
#[derive(Debug)]
pub(super) struct Stall {
    since_ms: AtomicI64,
    until_ms: AtomicI64,
}

impl Stall {
    pub(super) fn new() -> Stall {
        Stall { since_ms: AtomicI64::new(NEVER), until_ms: AtomicI64::new(NEVER) }
    }

    /// A worker begins to wait: one at a time can.
    pub(super) fn begin(&self, now_ms: i64) {
        self.since_ms.store(now_ms, Ordering::Release);
    }

    /// It has the disk's answer.
    pub(super) fn end(&self, now_ms: i64) {
        let took_ms = now_ms - self.since_ms.load(Ordering::Relaxed);
        if took_ms >= LONG_MS {
            self.until_ms.store(now_ms + took_ms, Ordering::Release);
        }
        self.since_ms.store(NEVER, Ordering::Release);
    }

    /// Whether silence says nothing now.
    pub(super) fn excuses(&self, now_ms: i64) -> bool {
        let since_ms = self.since_ms.load(Ordering::Acquire);
        let is_long = since_ms != NEVER && now_ms - since_ms >= LONG_MS;
        is_long || now_ms < self.until_ms.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_wait_excuses_and_as_long_again() {
        let stall = Stall::new();
        assert!(!stall.excuses(0));
        stall.begin(1000);
        assert!(!stall.excuses(1000 + LONG_MS - 1) && stall.excuses(1000 + LONG_MS));
        stall.end(3000);
        assert!(stall.excuses(3000) && stall.excuses(4999) && !stall.excuses(5000));
        stall.begin(6000);
        stall.end(6000 + LONG_MS - 1);
        assert!(!stall.excuses(6000 + LONG_MS - 1), "too short to matter");
    }
}
