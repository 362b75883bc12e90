//! A worker that waits long for the disk reads nothing, and what it has not read must not count as
//! silence: neither of its connections' clients, nor of one that has come to renew its session.
//! While it waits nothing could be logged, so no session ends anyway; all are given a moment
//! longer, in which their words are read. No worker waits again for a while on a disk that has done
//! that.
//!
//! The same holds for a whole process that was not let run: a leader hears by the learners' answers
//! to its pings which of their clients have spoken meanwhile.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

/// A shorter wait matters to no session, in ms.
const LONG_MS: i64 = 100;

/// Until the worker has read what came meanwhile, in ms at most.
const GRACE_MS: i64 = 1_000;

/// So long after a long wait none is risked again, in ms.
const DISTRUST_MS: i64 = 10_000;

/// So many late ticks in a row are excused, and no more: on a machine that is always late silence
/// must end too.
const MOST_LATE: u32 = 5;

/// No worker waits.
const NEVER: i64 = i64::MIN;

/// Whether a worker waits for the disk, or has lately. Times are ms of the monotonic clock.
#[derive(Debug)]
pub(super) struct Stall {
    since_ms: AtomicI64,
    /// When the last long wait ended, and until when silence is excused for it.
    ended_ms: AtomicI64,
    until_ms: AtomicI64,
    /// Ticks in a row that came too late.
    late: AtomicU32,
}

impl Stall {
    pub(super) fn new() -> Stall {
        let never = || AtomicI64::new(NEVER);
        let late = AtomicU32::new(0);
        Stall { since_ms: never(), ended_ms: never(), until_ms: never(), late }
    }

    /// Whether a worker may wait for the disk.
    pub(super) fn trusts(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(DISTRUST_MS) >= self.ended_ms.load(Ordering::Relaxed)
    }

    /// A worker begins to wait: one at a time can.
    pub(super) fn begin(&self, now_ms: i64) {
        self.since_ms.store(now_ms, Ordering::Release);
    }

    /// It has the disk's answer.
    pub(super) fn end(&self, now_ms: i64) {
        let took_ms = now_ms - self.since_ms.load(Ordering::Relaxed);
        if took_ms >= LONG_MS {
            self.ended_ms.store(now_ms, Ordering::Relaxed);
            self.until_ms.store(now_ms + took_ms.min(GRACE_MS), Ordering::Release);
        }
        self.since_ms.store(NEVER, Ordering::Release);
    }

    /// A tick came `late_ms` after its time: so long nobody was heard. Learners are heard again
    /// within `tick_ms`.
    pub(super) fn ticked(&self, now_ms: i64, late_ms: i64, tick_ms: i64) {
        if late_ms < LONG_MS.max(tick_ms / 4) {
            return self.late.store(0, Ordering::Relaxed);
        }
        if self.late.fetch_add(1, Ordering::Relaxed) < MOST_LATE {
            self.until_ms.fetch_max(now_ms + GRACE_MS.max(tick_ms), Ordering::Release);
        }
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
    fn a_long_wait_excuses_and_a_moment_longer() {
        let stall = Stall::new();
        assert!(!stall.excuses(0) && stall.trusts(0));
        stall.begin(1000);
        assert!(!stall.excuses(1000 + LONG_MS - 1) && stall.excuses(1000 + LONG_MS));
        stall.end(3000);
        assert!(stall.excuses(3000) && stall.excuses(3999) && !stall.excuses(4000));
        assert!(!stall.trusts(3000 + DISTRUST_MS - 1) && stall.trusts(3000 + DISTRUST_MS));
        stall.begin(60_000);
        stall.end(60_000 + LONG_MS - 1);
        assert!(!stall.excuses(60_000 + LONG_MS - 1), "too short to matter");
        assert!(stall.trusts(60_000 + LONG_MS - 1));
    }

    #[test]
    fn a_late_tick_excuses_for_another_but_not_for_ever() {
        let stall = Stall::new();
        stall.ticked(10_000, 499, 2_000);
        assert!(!stall.excuses(10_000), "as late as on a busy machine");
        stall.ticked(20_000, 3_000, 2_000);
        assert!(stall.excuses(21_999) && !stall.excuses(22_000));
        for at in 1..i64::from(MOST_LATE) {
            stall.ticked(20_000 + at * 2_500, 500, 2_000);
            assert!(stall.excuses(20_000 + at * 2_500));
        }
        stall.ticked(40_000, 500, 2_000);
        assert!(!stall.excuses(40_000), "always late");
        stall.ticked(42_000, 0, 2_000);
        stall.ticked(44_000, 500, 2_000);
        assert!(stall.excuses(44_000));
    }
}
