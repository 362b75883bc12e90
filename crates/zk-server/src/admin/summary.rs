//! Distributions that are cheap to record: fixed buckets, no lock, no allocation.
//!
//! Apache keeps a random sample behind a lock and was slowed by it (ZOOKEEPER-4289, -4767). Here a
//! value is a count in one of 592 buckets whose width is at most 1/16 of their value.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Bits of a value that a bucket keeps besides the highest.
const SUB_BITS: u32 = 4;
const SUB: usize = 1 << SUB_BITS;
/// Values from here on share the last bucket: 2^40 us are twelve days.
const MAX_BITS: u32 = 40;
const BUCKETS: usize = (MAX_BITS - SUB_BITS + 1) as usize * SUB;

/// What the recorded numbers are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Just numbers.
    Count,
    /// Recorded in microseconds and shown in milliseconds: Apache's unit, without losing what is
    /// faster than one.
    Millis,
}

/// A bucket that is fuller makes all of them fade.
const FULL: u32 = 1 << 22;

/// How much of a distribution is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// Average, least, greatest, count and sum.
    Basic,
    /// Percentiles too.
    Advanced,
}

/// A distribution since the last reset.
#[derive(Debug)]
pub struct Summary {
    /// What is recorded.
    pub unit: Unit,
    /// How much is shown.
    pub detail: Detail,
    count: AtomicU64,
    sum: AtomicU64,
    min: AtomicU64,
    max: AtomicU64,
    buckets: Box<[AtomicU32; BUCKETS]>,
}

impl Summary {
    /// An empty one.
    #[must_use]
    pub fn new(detail: Detail, unit: Unit) -> Summary {
        Summary {
            unit,
            detail,
            count: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            min: AtomicU64::new(u64::MAX),
            max: AtomicU64::new(0),
            buckets: Box::new([const { AtomicU32::new(0) }; BUCKETS]),
        }
    }

    /// Adds a number.
    #[inline]
    pub fn record(&self, value: u64) {
        self.bucket(value, 1);
        self.add(1, value, value, value);
    }

    /// Adds a number `count` times.
    #[inline]
    pub fn record_many(&self, value: u64, count: u64) {
        if count > 0 {
            self.bucket(value, count as u32);
            self.add(count, value * count, value, value);
        }
    }

    /// Adds a time; the unit must be [`Unit::Millis`].
    #[inline]
    pub fn record_time(&self, time: Duration) {
        debug_assert_eq!(self.unit, Unit::Millis);
        self.record(time.as_micros() as u64);
    }

    #[inline]
    fn bucket(&self, value: u64, count: u32) {
        if self.buckets[bucket_of(value)].fetch_add(count, Relaxed) > FULL {
            self.fade();
        }
    }

    /// Halves all buckets: percentiles are about the latest values, and no bucket wraps.
    #[cold]
    fn fade(&self) {
        for bucket in self.buckets.iter() {
            bucket.fetch_sub(bucket.load(Relaxed) / 2, Relaxed);
        }
    }

    #[inline]
    fn add(&self, count: u64, sum: u64, min: u64, max: u64) {
        self.count.fetch_add(count, Relaxed);
        self.sum.fetch_add(sum, Relaxed);
        // Reading first keeps the line shared: the extremes hardly ever move.
        if min < self.min.load(Relaxed) {
            self.min.fetch_min(min, Relaxed);
        }
        if max > self.max.load(Relaxed) {
            self.max.fetch_max(max, Relaxed);
        }
    }

    /// Forgets everything. A value recorded at the same moment may be kept in part.
    pub fn reset(&self) {
        self.count.store(0, Relaxed);
        self.sum.store(0, Relaxed);
        self.min.store(u64::MAX, Relaxed);
        self.max.store(0, Relaxed);
        self.buckets.iter().for_each(|bucket| bucket.store(0, Relaxed));
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// The sum in the shown unit.
    pub fn sum(&self) -> f64 {
        self.shown(self.sum.load(Relaxed) as f64)
    }

    /// The least value in the shown unit; 0 without values.
    pub fn min(&self) -> f64 {
        if self.count() == 0 { 0.0 } else { self.shown(self.min.load(Relaxed) as f64) }
    }

    /// The greatest value in the shown unit.
    pub fn max(&self) -> f64 {
        self.shown(self.max.load(Relaxed) as f64)
    }

    /// The average in the shown unit, rounded to four decimals as Apache does; 0 without values.
    pub fn avg(&self) -> f64 {
        match self.count() {
            0 => 0.0,
            count => (self.sum() / count as f64 * 1e4).round() / 1e4,
        }
    }

    /// The value in the shown unit below which `share` (0 to 1) of the values are; at most 1/16 too
    /// high. 0 without values.
    pub fn percentile(&self, share: f64) -> f64 {
        let counts = self.buckets.iter().map(|bucket| u64::from(bucket.load(Relaxed)));
        let counts = counts.collect::<Vec<_>>();
        let total = counts.iter().sum::<u64>();
        if total == 0 {
            return 0.0;
        }
        let rank = ((total as f64 * share).ceil() as u64).clamp(1, total);
        let mut seen = 0;
        let hit = counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        let upper = hit.map_or(0, upper_bound);
        let (min, max) = (self.min.load(Relaxed), self.max.load(Relaxed));
        self.shown(upper.clamp(min.min(max), max) as f64)
    }

    fn shown(&self, value: f64) -> f64 {
        match self.unit {
            Unit::Count => value,
            Unit::Millis => value / 1000.0,
        }
    }
}

#[inline]
fn bucket_of(value: u64) -> usize {
    if value < SUB as u64 {
        return value as usize;
    }
    let exponent = value.ilog2();
    let sub = (value >> (exponent - SUB_BITS)) as usize & (SUB - 1);
    (((exponent - SUB_BITS + 1) as usize) * SUB + sub).min(BUCKETS - 1)
}

/// The greatest value of a bucket.
fn upper_bound(bucket: usize) -> u64 {
    if bucket < SUB {
        return bucket as u64;
    }
    let shift = bucket / SUB - 1;
    (((SUB + bucket % SUB + 1) as u64) << shift) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_summary_is_all_zero() {
        let summary = Summary::new(Detail::Advanced, Unit::Millis);
        let all = [summary.avg(), summary.min(), summary.max(), summary.sum()];
        assert_eq!((all, summary.percentile(0.99), summary.count()), ([0.0; 4], 0.0, 0));
    }

    #[test]
    fn times_are_recorded_in_microseconds_and_shown_in_milliseconds() {
        let summary = Summary::new(Detail::Advanced, Unit::Millis);
        for micros in [500, 1500, 2500] {
            summary.record_time(Duration::from_micros(micros));
        }
        assert_eq!((summary.min(), summary.avg(), summary.max()), (0.5, 1.5, 2.5));
        assert_eq!((summary.sum(), summary.count()), (4.5, 3));
        summary.reset();
        assert_eq!((summary.min(), summary.max(), summary.count()), (0.0, 0.0, 0));
    }

    #[test]
    fn averages_have_four_decimals() {
        let summary = Summary::new(Detail::Basic, Unit::Count);
        [0, 0, 1].iter().for_each(|value| summary.record(*value));
        assert_eq!(summary.avg(), 0.3333);
    }

    proptest! {
        #[test]
        fn percentiles_are_at_most_a_sixteenth_too_high(
            mut values in prop::collection::vec(0u64..1 << 36, 1..300),
            share in 0.01f64..1.0,
        ) {
            let summary = Summary::new(Detail::Advanced, Unit::Count);
            values.iter().for_each(|value| summary.record(*value));
            values.sort_unstable();
            let rank = ((values.len() as f64 * share).ceil() as usize).max(1);
            let exact = values[rank - 1] as f64;
            let got = summary.percentile(share);
            prop_assert!(got >= exact && got <= exact * (1.0 + 1.0 / 16.0) + 1.0, "{got} {exact}");
        }
    }

    #[test]
    fn percentiles_are_about_the_latest_values_and_nothing_wraps() {
        let summary = Summary::new(Detail::Advanced, Unit::Count);
        for _ in 0..3000 {
            summary.record_many(1, 2_000_000);
        }
        assert_eq!((summary.percentile(0.99), summary.count()), (1.0, 6_000_000_000));
        for _ in 0..30 {
            summary.record_many(9, 1_000_000);
        }
        assert_eq!((summary.percentile(0.5), summary.percentile(0.99)), (9.0, 9.0));
    }
}
