//! What waits for all clients together: each may let some megabytes wait, but not all of them.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A connection tells the sum of a change that is as large as this, or when nothing waits any more:
/// most answers are gone before they are noticed.
const STEP: usize = 16 << 10;

/// Bytes that wait for clients.
#[derive(Debug)]
pub(crate) struct Backlog {
    bytes: AtomicUsize,
    most: usize,
}

impl Backlog {
    /// No more than `most` bytes may wait, apart from those of the last turn.
    pub(crate) fn new(most: usize) -> Backlog {
        Backlog { bytes: AtomicUsize::new(0), most }
    }

    /// Whether more waits than may.
    pub(crate) fn is_over(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.most
    }

    /// `now` bytes wait for a connection, of which `counted` have been told before.
    pub(super) fn tell(&self, counted: &mut usize, now: usize) {
        if now == *counted || now > 0 && now.abs_diff(*counted) < STEP {
            return;
        }
        match now.checked_sub(*counted) {
            Some(more) => self.bytes.fetch_add(more, Ordering::Relaxed),
            None => self.bytes.fetch_sub(*counted - now, Ordering::Relaxed),
        };
        *counted = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_large_changes() {
        let backlog = Backlog::new(3 * STEP);
        let mut counted = [0; 2];
        let sum = || backlog.bytes.load(Ordering::Relaxed);
        backlog.tell(&mut counted[0], STEP - 1);
        assert_eq!(sum(), 0, "too little");
        backlog.tell(&mut counted[0], 2 * STEP);
        backlog.tell(&mut counted[1], STEP);
        assert!(sum() == 3 * STEP && !backlog.is_over());
        backlog.tell(&mut counted[1], 2 * STEP - 1);
        assert!(!backlog.is_over());
        backlog.tell(&mut counted[1], 2 * STEP);
        assert!(backlog.is_over());
        backlog.tell(&mut counted[1], 1);
        assert_eq!(sum(), 2 * STEP + 1);
        backlog.tell(&mut counted[1], 0);
        backlog.tell(&mut counted[0], 0);
        assert_eq!((sum(), counted), (0, [0; 2]));
    }
}
