//! A thread that only one connection keeps busy, and may therefore wait for the disk itself.
//!
//! To hand a lone request to the log's thread costs more time than a quick disk needs to store it.
//! So the thread of a connection that has it, and the log, to itself borrows the log
//! ([`zk_store::group_commit::Loan`]). Whatever else comes to the thread meanwhile waits as long;
//! that nobody's session pays for it is up to [`crate::engine`]'s `Stall`.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use tokio::sync::Notify;
use zk_tree::ConnId;

/// After so long without others somebody is alone, in ms.
const QUIET_MS: i64 = 100;

/// So long it may wait again at any time, in ms.
const WHILE_MS: i64 = 1000;

/// A quick disk does not take so long, in ms.
const AWAY_MS: i64 = 5;

/// Who keeps something busy, and whether alone. One thread writes it at a time.
#[derive(Debug, Default)]
pub(crate) struct Company {
    last: AtomicU64,
    /// When it was somebody else than before.
    changed_ms: AtomicI64,
}

impl Company {
    /// `conn` sent something.
    pub(crate) fn note(&self, conn: ConnId, now_ms: i64) {
        if self.last.load(Ordering::Relaxed) != conn.0 {
            self.last.store(conn.0, Ordering::Relaxed);
            self.changed_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    /// Whether nobody but `conn` has sent anything for a while.
    pub(crate) fn is_alone(&self, conn: ConnId, now_ms: i64) -> bool {
        self.last.load(Ordering::Relaxed) == conn.0
            && now_ms - self.changed_ms.load(Ordering::Relaxed) >= QUIET_MS
    }
}

/// What is known of one of the threads that serve connections.
#[derive(Debug)]
pub(crate) struct Solo {
    company: Company,
    /// It may wait for the disk at all.
    may_wait: bool,
    /// It waits for the disk.
    is_waiting: AtomicBool,
    /// When it began to, or did the last time, ms of the engine's monotonic clock.
    began_ms: AtomicI64,
    /// It has begun to, after a while.
    begun: Notify,
}

impl Solo {
    pub(crate) fn new(may_wait: bool) -> Solo {
        Solo {
            company: Company::default(),
            may_wait,
            is_waiting: AtomicBool::new(false),
            began_ms: AtomicI64::new(-WHILE_MS),
            begun: Notify::new(),
        }
    }

    /// A connection of the thread sent something.
    pub(crate) fn note(&self, conn: ConnId, now_ms: i64) {
        self.company.note(conn, now_ms);
    }

    /// Whether the thread may wait for the disk on behalf of `conn`.
    pub(crate) fn may_wait(&self, conn: ConnId, now_ms: i64) -> bool {
        self.may_wait && self.company.is_alone(conn, now_ms)
    }

    /// Whether it has waited too long already to be given anything to do.
    pub(crate) fn is_away(&self, now_ms: i64) -> bool {
        self.is_waiting.load(Ordering::Acquire)
            && now_ms - self.began_ms.load(Ordering::Relaxed) >= AWAY_MS
    }

    /// Whether it has waited lately.
    pub(crate) fn waits_often(&self, now_ms: i64) -> bool {
        self.is_waiting.load(Ordering::Relaxed)
            || now_ms - self.began_ms.load(Ordering::Relaxed) < WHILE_MS
    }

    /// It begins to wait, now and then.
    pub(crate) async fn begun(&self) {
        self.begun.notified().await;
    }

    /// From now on the thread reads nothing.
    pub(crate) fn begin(&self, now_ms: i64) {
        let often = self.waits_often(now_ms);
        self.began_ms.store(now_ms, Ordering::Relaxed);
        self.is_waiting.store(true, Ordering::Release);
        if !often {
            self.begun.notify_one();
        }
    }

    /// It reads again.
    pub(crate) fn end(&self) {
        self.is_waiting.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alone_is_who_is_alone_for_a_while() {
        let company = Company::default();
        assert!(!company.is_alone(ConnId(1), 1000));
        company.note(ConnId(1), 1000);
        company.note(ConnId(1), 1000 + QUIET_MS - 1);
        assert!(!company.is_alone(ConnId(1), 1000 + QUIET_MS - 1));
        assert!(company.is_alone(ConnId(1), 1000 + QUIET_MS));
        assert!(!company.is_alone(ConnId(2), 1000 + QUIET_MS));
        company.note(ConnId(2), 1200);
        company.note(ConnId(1), 1201);
        assert!(!company.is_alone(ConnId(1), 1300));
        assert!(company.is_alone(ConnId(1), 1301));
    }

    #[test]
    fn who_waits_long_is_away() {
        let solo = Solo::new(true);
        assert!(!solo.is_away(1000) && !solo.waits_often(1000));
        solo.begin(1000);
        assert_eq!((solo.is_away(1001), solo.is_away(1000 + AWAY_MS)), (false, true));
        assert!(solo.waits_often(9000));
        solo.end();
        assert!(!solo.is_away(9001) && !solo.waits_often(9001));
        solo.begin(9001);
        solo.end();
        assert!(solo.waits_often(9001 + WHILE_MS - 1) && !solo.waits_often(9001 + WHILE_MS));
    }

    #[test]
    fn a_thread_without_others_never_waits() {
        for others in [false, true] {
            let solo = Solo::new(others);
            solo.note(ConnId(1), 0);
            assert_eq!(solo.may_wait(ConnId(1), 1000), others);
            solo.note(ConnId(2), 1000);
            solo.note(ConnId(1), 1000);
            assert!(!solo.may_wait(ConnId(1), 1001), "not alone");
        }
    }
}
