//! Lines of the log that strangers can cause: one a second, whatever they do (RELIABILITY 5).

use std::sync::atomic::{AtomicI64, Ordering};

/// Lets one through in each second.
#[derive(Debug)]
pub(crate) struct Seldom(AtomicI64);

impl Seldom {
    pub(crate) const fn new() -> Seldom {
        Seldom(AtomicI64::new(i64::MIN))
    }

    /// Whether this one may be told; `now_ms` is monotonic.
    pub(crate) fn allows(&self, now_ms: i64) -> bool {
        let last = self.0.load(Ordering::Relaxed);
        now_ms.saturating_sub(last) >= 1000
            && self.0.compare_exchange(last, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second() {
        let seldom = Seldom::new();
        let told: Vec<_> = (0..3000).filter(|now_ms| seldom.allows(*now_ms)).collect();
        assert_eq!(told, [0, 1000, 2000]);
    }
}
