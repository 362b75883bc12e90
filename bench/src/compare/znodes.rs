//! Many znodes on one server: creating them, memory, starting from the log and from a snapshot,
//! and writes while a snapshot is written.

use std::time::{Duration, Instant};

use crate::compare::ensemble::Ensemble;
use crate::compare::server::{Host, Server};
use crate::compare::snapshots::{Watch, Window};
use crate::drive::{Outcome, Plan, Span, histogram};
use crate::error::{Error, Result};
use crate::loads::preload;
use crate::metric::{Metric, Values, megabytes, milliseconds, quantile_us};
use crate::proc::rss_bytes;
use crate::run::{Timing, driven, run};
use crate::spec::{DEFAULT_VALUE_BYTES, Kind, Pace, Spec};

/// No snapshot within any number of transactions that are made here.
const NO_SNAPSHOTS: &str = "snapCount=2000000000";
/// A snapshot after 4,000 to 8,000 transactions: at [`WRITES_PER_S`] every 4 to 8 seconds, so
/// that there is time without one between two.
const SNAPSHOTS: &str = "snapCount=8000";
/// Sets a second while snapshots are written: an easy rate for every server, so that what is seen
/// is the snapshot and not a queue.
const WRITES_PER_S: u32 = 1000;
/// How long; five snapshots or so.
const WRITES_FOR: Duration = Duration::from_secs(30);
/// How long they are watched without any snapshot, for comparison.
const QUIET_FOR: Duration = Duration::from_secs(10);
/// Before that: a JVM that has just started.
const WARM: Duration = Duration::from_secs(5);
/// A snapshot begins before its file grows.
const BEFORE: Duration = Duration::from_millis(50);
/// And after that it is synced and written back, which the log's own syncs may wait for.
const AFTER: Duration = Duration::from_secs(1);
/// A 99th percentile of fewer says nothing.
const LEAST_SAMPLES: u64 = 200;

/// Runs all of it.
pub fn run_all(host: &Host, server: &Server, count: usize) -> Result<Values> {
    let path = preload::path(0);
    let no_snapshots = &[NO_SNAPSHOTS.to_owned()];
    let mut running = Ensemble::start(host, server, 1, no_snapshots)?;
    running.first_answer("/")?;
    let spec = Spec { kind: Kind::Preload { count }, value_bytes: DEFAULT_VALUE_BYTES };
    let timing = Timing { warm: Duration::ZERO, measured: Duration::ZERO };
    let mut values = run(&spec, &running.target(), &timing)?;
    values.put(Metric::LoadedRssMb, rss_mb(&running)?);

    running.restart(0, no_snapshots)?;
    let boot = running.first_answer(&path)?;
    values.put(Metric::BootLogMs, milliseconds(boot));
    verify(&running, count)?;
    running.member(0).settle_disk()?;
    let quiet = write(&running, QUIET_FOR)?;
    values.put(Metric::QuietP99Us, quantile_us(&quiet.writes, 0.99));

    running.restart(0, &[SNAPSHOTS.to_owned()])?;
    running.first_answer(&path)?;
    running.member(0).settle_disk()?;
    let watch = Watch::start(running.member(0).data_dir());
    let outcome = write(&running, WRITES_FOR)?;
    let windows = watch.finish();
    put_during(&outcome, &windows, &mut values);
    if windows.is_empty() {
        return Err(Error::Timeout {
            what: "the server to write a snapshot".to_owned(),
            seconds: WRITES_FOR.as_secs(),
        });
    }

    running.restart(0, no_snapshots)?;
    let boot = running.first_answer(&path)?;
    values.put(Metric::BootSnapshotMs, milliseconds(boot));
    values.put(Metric::BootedRssMb, rss_mb(&running)?);
    verify(&running, count)?;
    running.stop();
    Ok(values)
}

fn rss_mb(running: &Ensemble<'_>) -> Result<f64> {
    rss_bytes(&running.target().pids).map(megabytes)
}

fn verify(running: &Ensemble<'_>, count: usize) -> Result<()> {
    let mut client = running.target().client()?;
    preload::verify(&mut client, count, DEFAULT_VALUE_BYTES)?;
    client.close()
}

/// Writes at a fixed rate, keeping every sample.
fn write(running: &Ensemble<'_>, measured: Duration) -> Result<Outcome> {
    let pace = Pace::Open { per_s: WRITES_PER_S };
    let spec =
        Spec { kind: Kind::Keyed { read_percent: 0, pace }, value_bytes: DEFAULT_VALUE_BYTES };
    let plan = Plan { pace, span: Span::For { warm: WARM, measured }, keep_samples: true };
    driven(&spec, &running.target(), plan)
}

/// The latencies of the writes that were due while a snapshot was written.
fn put_during(outcome: &Outcome, windows: &[Window], values: &mut Values) {
    let mut during = histogram();
    for &(due, latency) in &outcome.samples {
        if touches(windows, outcome.began + Duration::from_nanos(due)) {
            during.saturating_record(latency);
        }
    }
    values.put(Metric::Snapshots, windows.len() as f64);
    let longest = windows.iter().map(|window| window.to - window.from).max();
    values.put(Metric::SnapshotMs, milliseconds(longest.unwrap_or_default()));
    if during.len() < LEAST_SAMPLES {
        return;
    }
    let p99 = quantile_us(&during, 0.99);
    values.put(Metric::SnapshotP99Us, p99);
    values.put(Metric::SnapshotMaxUs, during.max() as f64 / 1e3);
    if let Some(quiet) = values.get(Metric::QuietP99Us) {
        values.put(Metric::SnapshotP99Ratio, p99 / quiet);
    }
}

fn touches(windows: &[Window], at: Instant) -> bool {
    windows.iter().any(|window| window.from <= at + BEFORE && at <= window.to + AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::CpuUse;

    #[test]
    fn only_writes_that_were_due_during_a_snapshot_count() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let slow = 1000..2500;
        // One write a millisecond; those due while a snapshot is written take ten times as long.
        let latency = |due: &u64| if slow.contains(due) { 1_000_000 } else { 100_000 };
        let samples = (0..5000).map(|due| (due * 1_000_000, latency(&due))).collect();
        let outcome = Outcome {
            reads: histogram(),
            writes: histogram(),
            seconds: 5.0,
            cpu: CpuUse::default(),
            began,
            samples,
        };
        let mut values = Values::default();
        values.put(Metric::QuietP99Us, 100.0);
        put_during(&outcome, &[Window { from: at(1000), to: at(1500) }], &mut values);
        let ratio = values.get(Metric::SnapshotP99Ratio).unwrap();
        assert!((9.9..10.1).contains(&ratio), "{ratio}");
        assert_eq!(values.get(Metric::SnapshotMs), Some(500.0));

        put_during(&outcome, &[Window { from: at(3000), to: at(3100) }], &mut values);
        let ratio = values.get(Metric::SnapshotP99Ratio).unwrap();
        assert!((0.9..1.1).contains(&ratio), "{ratio}");

        let mut none = Values::default();
        put_during(&outcome, &[], &mut none);
        assert_eq!(none.get(Metric::SnapshotP99Us), None);
    }
}
