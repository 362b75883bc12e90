//! At most one run in an interval, for commands that cost much.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The last allowed run.
#[derive(Debug)]
pub(super) struct RateLimiter {
    interval: Duration,
    last: Mutex<Option<Instant>>,
}

impl RateLimiter {
    pub(super) fn new(interval: Duration) -> RateLimiter {
        RateLimiter { interval, last: Mutex::new(None) }
    }

    /// Whether a run may start now; if so, it counts as started.
    pub(super) fn allows(&self, now: Instant) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = last.is_none_or(|last| now.duration_since(last) >= self.interval);
        if allowed {
            *last = Some(now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_in_an_interval() {
        let limiter = RateLimiter::new(Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| limiter.allows(start + Duration::from_secs(seconds));
        assert_eq!([at(0), at(9), at(10), at(19), at(25)], [true, false, true, false, true]);
    }
}
