//! Many znodes on one server: creating them, memory, starting from the log and from a snapshot,
//! and writes while a snapshot is written.

use std::time::{Duration, Instant};

use crate::client::Client;
use crate::compare::server::{Host, Running, Server};
use crate::compare::snapshots::{Watch, Window};
use crate::drive::{Outcome, Plan, Span, histogram};
use crate::error::{Error, Result};
use crate::loads::preload;
use crate::metric::{Metric, Values, quantile_us};
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
/// Before that: a JVM that has just started.
const WARM: Duration = Duration::from_secs(5);
/// A snapshot begins before its file grows, and its last bytes still cost after.
const MARGIN: Duration = Duration::from_millis(50);
/// A 99th percentile of fewer says nothing.
const LEAST_SAMPLES: u64 = 200;

/// Runs all of it.
pub fn run_all(host: &Host, server: &Server, count: usize) -> Result<Values> {
    let path = preload::path(0);
    let no_snapshots = &[NO_SNAPSHOTS.to_owned()];
    let mut running = Running::start(host, server, no_snapshots)?;
    running.first_answer("/")?;
    let spec = Spec { kind: Kind::Preload { count }, value_bytes: DEFAULT_VALUE_BYTES };
    let timing = Timing { warm: Duration::ZERO, measured: Duration::ZERO };
    let mut values = run(&spec, &running.target(), &timing)?;
    values.put(Metric::LoadedRssMb, running.rss_mb()?);

    let mut running = running.restart(host, no_snapshots)?;
    let boot = running.first_answer(&path)?;
    values.put(Metric::BootLogMs, ms(boot));
    verify(&running, count)?;

    let mut running = running.restart(host, &[SNAPSHOTS.to_owned()])?;
    running.first_answer(&path)?;
    let snapshots = write_during_snapshots(&running, &mut values)?;
    if snapshots == 0 {
        return Err(Error::Timeout {
            what: "the server to write a snapshot".to_owned(),
            seconds: WRITES_FOR.as_secs(),
        });
    }

    let mut running = running.restart(host, no_snapshots)?;
    let boot = running.first_answer(&path)?;
    values.put(Metric::BootSnapshotMs, ms(boot));
    values.put(Metric::BootedRssMb, running.rss_mb()?);
    verify(&running, count)?;
    running.stop();
    Ok(values)
}

fn verify(running: &Running, count: usize) -> Result<()> {
    let mut client = Client::open(running.target().addr)?;
    preload::verify(&mut client, count, DEFAULT_VALUE_BYTES)?;
    client.close()
}

/// Writes at a fixed rate and tells the latencies during snapshots from the others. Returns how
/// many snapshots there were.
fn write_during_snapshots(running: &Running, values: &mut Values) -> Result<usize> {
    let pace = Pace::Open { per_s: WRITES_PER_S };
    let spec =
        Spec { kind: Kind::Keyed { read_percent: 0, pace }, value_bytes: DEFAULT_VALUE_BYTES };
    let plan = Plan {
        pace,
        span: Span::For { warm: WARM, measured: WRITES_FOR },
        server: Some(running.pid()),
        keep_samples: true,
    };
    let watch = Watch::start(running.data_dir());
    let outcome = driven(&spec, &running.target(), plan)?;
    let windows = watch.finish();
    put_split(&outcome, &windows, values);
    Ok(windows.len())
}

fn put_split(outcome: &Outcome, windows: &[Window], values: &mut Values) {
    let (mut during, mut quiet) = (histogram(), histogram());
    for &(due, latency) in &outcome.samples {
        let due = outcome.began + Duration::from_nanos(due);
        let of = if touches(windows, due) { &mut during } else { &mut quiet };
        of.saturating_record(latency);
    }
    values.put(Metric::Snapshots, windows.len() as f64);
    let longest = windows.iter().map(|window| window.to - window.from).max();
    values.put(Metric::SnapshotMs, ms(longest.unwrap_or_default()));
    if quiet.len() >= LEAST_SAMPLES {
        values.put(Metric::QuietP99Us, quantile_us(&quiet, 0.99));
    }
    if during.len() >= LEAST_SAMPLES {
        values.put(Metric::SnapshotP99Us, quantile_us(&during, 0.99));
        values.put(Metric::SnapshotMaxUs, during.max() as f64 / 1e3);
    }
    let p99 = |metric| values.get(metric);
    if let (Some(during), Some(quiet)) = (p99(Metric::SnapshotP99Us), p99(Metric::QuietP99Us)) {
        values.put(Metric::SnapshotP99Ratio, during / quiet);
    }
}

fn touches(windows: &[Window], at: Instant) -> bool {
    windows.iter().any(|window| window.from <= at + MARGIN && at <= window.to + MARGIN)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::CpuUse;

    #[test]
    fn latencies_are_told_apart_by_when_the_write_was_due() {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let slow = 1000..1500;
        // One write a millisecond; those due while a snapshot is written take ten times as long.
        let samples = (0..3000)
            .map(|due: u64| {
                (due * 1_000_000, if slow.contains(&due) { 1_000_000 } else { 100_000 })
            })
            .collect();
        let outcome = Outcome {
            reads: histogram(),
            writes: histogram(),
            seconds: 3.0,
            cpu: CpuUse::default(),
            began,
            samples,
        };
        let mut values = Values::default();
        put_split(&outcome, &[Window { from: at(1000), to: at(1500) }], &mut values);
        let ratio = values.get(Metric::SnapshotP99Ratio).unwrap();
        assert!((9.9..10.1).contains(&ratio), "{ratio}");
        assert_eq!(values.get(Metric::SnapshotMs), Some(500.0));

        let mut none = Values::default();
        put_split(&outcome, &[], &mut none);
        assert_eq!(none.get(Metric::SnapshotP99Us), None);
    }
}
