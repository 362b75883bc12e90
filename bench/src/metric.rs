//! The figures: their names, units, and which way is better.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::drive::Outcome;
use crate::error::Result;
use crate::proc::{CpuUse, Pid, rss_bytes};

macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident $label:literal $better:ident),* $(,)?) => {
        /// A figure of a load. Its serialized name carries the unit.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Metric { $($(#[$doc])* $name),* }

        impl Metric {
            /// Every metric.
            pub const ALL: &'static [Metric] = &[$(Metric::$name),*];

            /// Name and unit, for people.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Metric::$name => $label),* }
            }

            /// Which way is better.
            #[must_use]
            pub const fn better(self) -> Better {
                match self { $(Metric::$name => Better::$better),* }
            }
        }
    };
}

/// Which way is better.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Better {
    /// More is.
    Higher,
    /// Less is.
    Lower,
}

metrics! {
    /// Operations answered a second; znodes of a preload, cycles of a churn, rounds of a watch.
    OpsPerS "ops/s" Higher,
    /// Median latency.
    P50Us "p50 us" Lower,
    /// 99th percentile.
    P99Us "p99 us" Lower,
    /// 99.9th percentile.
    P999Us "p99.9 us" Lower,
    /// The slowest.
    MaxUs "max us" Lower,
    /// p99.9 over p50.
    TailRatio "p99.9 : p50" Lower,
    /// Reads of a mixed load.
    ReadP50Us "read p50 us" Lower,
    /// Reads of a mixed load.
    ReadP99Us "read p99 us" Lower,
    /// Writes of a mixed load.
    WriteP50Us "write p50 us" Lower,
    /// Writes of a mixed load.
    WriteP99Us "write p99 us" Lower,
    /// The server's processor time an operation.
    CpuUsPerOp "CPU us/op" Lower,
    /// The load generator's own.
    ClientCpuUsPerOp "client CPU us/op" Lower,
    /// Cores that other programs used meanwhile: the noise.
    OtherCores "other cores" Lower,
    /// A small durable write right before the load, without any server: the state of the disk.
    FsyncUs "fdatasync p50 us" Lower,
    /// The server's resident memory at the end.
    RssMb "RSS MB" Lower,
    /// From the start of the process to the first answer, nothing on disk.
    FirstAnswerMs "first answer ms" Lower,
    /// From the start of the first of several members to the first acknowledged write, nothing on
    /// disk.
    FirstWriteMs "first acknowledged write ms" Lower,
    /// The longest time between two acknowledged writes of one client while the leader was lost.
    WriteGapMs "longest write gap of a client ms" Lower,
    /// The same in the median loss of a round.
    TypicalWriteGapMs "the same in the median loss ms" Lower,
    /// The longest time without an acknowledged write of any client meanwhile.
    OutageMs "longest time without any write ms" Lower,
    /// From the start of a wiped member until it serves.
    RejoinMs "wiped member serves after ms" Lower,
    /// A session's share of resident memory.
    RssBytesPerSession "RSS B/session" Lower,
    /// Sessions opened a second.
    SessionsPerS "sessions/s" Higher,
    /// Resident memory right after the znodes were created.
    LoadedRssMb "RSS MB as loaded" Lower,
    /// Resident memory right after a start from their snapshot.
    BootedRssMb "RSS MB as booted" Lower,
    /// From the start of the process to the first answer, with all znodes in the log.
    BootLogMs "start from log ms" Lower,
    /// The same, with all znodes in a snapshot.
    BootSnapshotMs "start from snapshot ms" Lower,
    /// Write p99 at the same rate without snapshots.
    QuietP99Us "write p99 us, no snapshot" Lower,
    /// Write p99 while a snapshot is written.
    SnapshotP99Us "write p99 us, during snapshots" Lower,
    /// With over without.
    SnapshotP99Ratio "write p99, during : without" Lower,
    /// The slowest write while a snapshot is written.
    SnapshotMaxUs "write max us, during snapshots" Lower,
    /// Snapshots that the two stand on.
    Snapshots "snapshots seen" Higher,
    /// How long one took.
    SnapshotMs "one snapshot ms" Lower,
    /// Reads while the server is attacked.
    AttackedReadP50Us "read p50 us, under attack" Lower,
    /// Reads while the server is attacked.
    AttackedReadP99Us "read p99 us, under attack" Lower,
    /// With attackers over without.
    AttackedReadP99Ratio "read p99, under attack : alone" Lower,
    /// Writes while the server is attacked.
    AttackedWriteP50Us "write p50 us, under attack" Lower,
    /// Writes while the server is attacked.
    AttackedWriteP99Us "write p99 us, under attack" Lower,
    /// With attackers over without.
    AttackedWriteP99Ratio "write p99, under attack : alone" Lower,
    /// What attackers did a second: fewer strikes than planned, if the server let them wait.
    StrikesPerS "strikes/s" Higher,
    /// The most that resident memory grew while attackers were there.
    PeakGrowthMib "RSS growth MiB, at most" Lower,
    /// How much it has grown when they are gone.
    GrowthMib "RSS growth MiB, afterwards" Lower,
    /// Good clients got an error or lost their connection: 1, or 0.
    GoodClientsFailed "good clients failed" Lower,
    /// The server's process ended: 1, or 0.
    ServersEnded "server ended" Lower,
}

/// The figures of one load in one round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Values(pub BTreeMap<Metric, f64>);

impl Values {
    /// Adds a figure, to a thousandth: nothing here is known better than that.
    pub fn put(&mut self, metric: Metric, value: f64) {
        self.0.insert(metric, (value * 1e3).round() / 1e3);
    }

    /// A figure.
    #[must_use]
    pub fn get(&self, metric: Metric) -> Option<f64> {
        self.0.get(&metric).copied()
    }

    /// Adds the latencies of `histogram`, in ns.
    pub fn put_latencies(&mut self, histogram: &Histogram<u64>) {
        let us = |quantile| quantile_us(histogram, quantile);
        self.put(Metric::P50Us, us(0.5));
        self.put(Metric::P99Us, us(0.99));
        self.put(Metric::P999Us, us(0.999));
        self.put(Metric::MaxUs, histogram.max() as f64 / 1e3);
        self.put(Metric::TailRatio, us(0.999) / us(0.5).max(f64::MIN_POSITIVE));
    }

    /// Adds rate and processor time of `ops` operations in `seconds`, and the memory of all
    /// members.
    pub fn put_costs(
        &mut self,
        ops: u64,
        seconds: f64,
        cpu: CpuUse,
        members: &[Pid],
    ) -> Result<()> {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / ops.max(1) as f64;
        self.put(Metric::OpsPerS, ops as f64 / seconds);
        self.put(Metric::ClientCpuUsPerOp, each(cpu.own));
        if !members.is_empty() {
            self.put(Metric::CpuUsPerOp, each(cpu.server));
            self.put(Metric::OtherCores, cpu.others.as_secs_f64() / seconds);
            self.put(Metric::RssMb, megabytes(rss_bytes(members)?));
        }
        Ok(())
    }

    /// The figures of a driven load.
    pub fn of(outcome: &Outcome, members: &[Pid]) -> Result<Values> {
        let mut values = Values::default();
        let all = outcome.all();
        values.put_latencies(&all);
        values.put_costs(all.len(), outcome.seconds, outcome.cpu, members)?;
        let (reads, writes) = (&outcome.reads, &outcome.writes);
        if !reads.is_empty() && !writes.is_empty() {
            values.put(Metric::ReadP50Us, quantile_us(reads, 0.5));
            values.put(Metric::ReadP99Us, quantile_us(reads, 0.99));
            values.put(Metric::WriteP50Us, quantile_us(writes, 0.5));
            values.put(Metric::WriteP99Us, quantile_us(writes, 0.99));
        }
        Ok(values)
    }
}

/// A quantile of a histogram of ns, in us.
#[must_use]
pub fn quantile_us(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e3
}

/// A duration in ms.
#[must_use]
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Millions of bytes.
#[must_use]
pub fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Median, least and greatest of some rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of these values; `None` of none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let below = sorted[(sorted.len() - 1) / 2];
        Some(Spread { median: (below + sorted[middle]) / 2.0, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_counts() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[3.0, 1.0, 9.0]), Some(Spread { median: 3.0, min: 1.0, max: 9.0 }));
        assert_eq!(spread(&[4.0, 1.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
    }

    #[test]
    fn a_metric_s_name_on_file_carries_its_unit() {
        let mut values = Values::default();
        values.put(Metric::CpuUsPerOp, 0.5);
        let text = serde_json::to_string(&values).unwrap();
        assert_eq!(text, r#"{"cpu_us_per_op":0.5}"#);
        assert_eq!(serde_json::from_str::<Values>(&text).unwrap(), values);
    }
}
