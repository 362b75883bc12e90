//! What requests that are larger than most may take together (Apache `largeRequestThreshold`).
//!
//! As in Apache a request beyond it ends its connection: when its length is read, if those under
//! way leave no room for it, and again when it is there. One that is answered at once, as reads
//! are, is under way for no time.

use super::requests::Hangup;
use crate::admin::Counter;
use crate::config::LargeRequestSettings;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The large requests under way.
#[derive(Debug)]
pub(super) struct LargeRequests {
    threshold_bytes: usize,
    most_bytes: usize,
    bytes: AtomicUsize,
}

impl LargeRequests {
    pub(super) fn new(settings: Option<LargeRequestSettings>) -> LargeRequests {
        let none = LargeRequestSettings { threshold_bytes: usize::MAX, most_bytes: usize::MAX };
        let LargeRequestSettings { threshold_bytes, most_bytes } = settings.unwrap_or(none);
        LargeRequests { threshold_bytes, most_bytes, bytes: AtomicUsize::new(0) }
    }

    fn is_large(&self, len: usize) -> bool {
        len > self.threshold_bytes
    }

    /// Refuses a request for which there is no room; counts it in `rejected`.
    #[inline]
    pub(super) fn check(&self, len: usize, rejected: &Counter) -> Result<(), Hangup> {
        let is_beyond =
            |len: usize| self.bytes.load(Ordering::Relaxed).saturating_add(len) > self.most_bytes;
        if !self.is_large(len) || !is_beyond(len) {
            return Ok(());
        }
        rejected.add(1);
        Err(Hangup)
    }

    /// The same for the request of which `input` is the beginning, if its length is there.
    pub(super) fn check_begun(&self, input: &[u8], rejected: &Counter) -> Result<(), Hangup> {
        match input.first_chunk().map(|length| usize::try_from(i32::from_be_bytes(*length))) {
            Some(Ok(len)) => self.check(len, rejected),
            _ => Ok(()),
        }
    }

    /// A request comes under way, unless there is no room for it.
    #[inline]
    pub(super) fn take(&self, len: usize, rejected: &Counter) -> Result<(), Hangup> {
        if !self.is_large(len) {
            return Ok(());
        }
        let before = self.bytes.fetch_add(len, Ordering::Relaxed);
        if before.saturating_add(len) > self.most_bytes {
            self.bytes.fetch_sub(len, Ordering::Relaxed);
            rejected.add(1);
            return Err(Hangup);
        }
        Ok(())
    }

    /// A request is answered, or nobody waits for it any more.
    #[inline]
    pub(super) fn give_back(&self, len: usize) {
        if self.is_large(len) {
            self.bytes.fetch_sub(len, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(threshold_bytes: usize, most_bytes: usize) -> LargeRequests {
        LargeRequests::new(Some(LargeRequestSettings { threshold_bytes, most_bytes }))
    }

    #[test]
    fn large_ones_share_what_there_is() {
        let (large, rejected) = (of(100, 500), Counter::default());
        assert_eq!(large.take(200, &rejected), Ok(()));
        assert_eq!(large.take(300, &rejected), Ok(()));
        assert_eq!(large.take(101, &rejected), Err(Hangup));
        assert_eq!(large.check(101, &rejected), Err(Hangup));
        assert_eq!(rejected.get(), 2);
        // Small ones are not counted.
        assert_eq!(large.take(100, &rejected), Ok(()));
        large.give_back(100);
        assert_eq!(large.check(101, &rejected), Err(Hangup));
        large.give_back(300);
        assert_eq!(large.check(300, &rejected), Ok(()));
        assert_eq!(large.check(301, &rejected), Err(Hangup));
        assert_eq!((rejected.get(), large.bytes.into_inner()), (4, 200));
    }

    #[test]
    fn a_length_is_enough_to_refuse() {
        let (large, rejected) = (of(100, 500), Counter::default());
        for (input, refused) in [
            (&[0, 0, 2][..], false),
            (&[0, 0, 2, 0], true),
            (&[0, 0, 1, 0, 7], false),
            (&[0x7f, 0xff, 0xff, 0xff], true),
            (&[0xff, 0, 0, 0], false),
        ] {
            assert_eq!(large.check_begun(input, &rejected).is_err(), refused, "{input:?}");
        }
    }

    #[test]
    fn without_a_threshold_nothing_is_large() {
        let (large, rejected) = (LargeRequests::new(None), Counter::default());
        assert!((0..9).all(|_| large.take(usize::MAX / 2, &rejected).is_ok()));
        assert_eq!(large.bytes.into_inner(), 0);
    }
}
