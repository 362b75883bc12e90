//! The log, lent to one who waits for it.
//!
//! To wake the log's thread for a single record, and to be woken by it, takes longer than to write
//! the record where it was made; only who has nothing else to do meanwhile can do that. While the
//! log is lent, others append as ever, and the thread goes on with that afterwards.

use super::GroupCommit;
use super::committer::give_up;
use super::queue::WHOLE_BATCH_BYTES;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// On a slower disk it does not matter who writes, but whoever does is away for so long.
const QUICK: Duration = Duration::from_millis(1);

/// The right to commit what is appended from now on. What is still there when it is dropped is the
/// thread's.
#[must_use = "nobody else commits meanwhile"]
pub struct Loan<'a>(pub(super) &'a GroupCommit);

impl GroupCommit {
    /// Lends the log to the caller, if nothing is under way and the disk is quick; the caller
    /// should append at once, and commit when it holds no lock that the news is told under.
    pub fn lend(&self) -> Option<Loan<'_>> {
        let mut state = self.shared.lock();
        (state.took <= QUICK && state.lend()).then(|| Loan(self))
    }
}

impl Loan<'_> {
    /// Commits what was appended, and tells it, on this thread. It is left to the log's thread if
    /// it is more than a write and a sync: when a file must be begun or made longer. Should the
    /// disk have no room for it, the reserve is released, and it is written once more; only where
    /// there is no reserve, or too little of it, the records are put back, and the thread waits for
    /// space.
    pub fn commit(self) {
        self.commit_and(|| ());
    }

    /// The same, with something that is done before the log is given back.
    pub fn commit_and(self, then: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(|| self.write())).is_err() {
            give_up(&self.0.shared, &self.0.desk);
        }
        then();
    }

    fn write(&self) {
        let GroupCommit { shared, desk, .. } = self.0;
        let mut seat = desk.seat();
        let Some(committer) = &mut *seat else { return };
        let batch = {
            let mut state = shared.lock();
            let bytes = state.frames.len();
            let is_little = bytes > 0 && bytes <= WHOLE_BATCH_BYTES && state.rolls.is_empty();
            if !is_little || !committer.is_ready_for(bytes) {
                return;
            }
            state.take()
        };
        committer.commit_at_once(batch.frames);
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        self.0.shared.give_back();
    }
}
