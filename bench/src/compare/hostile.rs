//! What good clients feel of hostile ones: the same open loop of gets and sets, alone and then
//! while strangers attack the server (`zk_testkit::hostile`), and what memory that leaves behind.

use std::time::{Duration, Instant};

use zk_testkit::hostile::{Attackers, Ground, wanted};

use crate::compare::ensemble::Ensemble;
use crate::drive::{Outcome, Plan, Span};
use crate::error::Result;
use crate::metric::{Metric, Values, quantile_us};
use crate::proc::{peak_rss_bytes, rss_bytes};
use crate::run::{Timing, driven};
use crate::spec::{DEFAULT_VALUE_BYTES, Kind, Pace, Spec};

/// Half of them gets: an easy rate for every server, so that what is seen is the attack.
const PER_S: u32 = 1000;
/// Attackers have processors of their own; here they take what the others leave.
const NICENESS: i32 = 19;
/// Until attackers' sessions have expired, which live for 10 s, and their memory may be given back.
const GONE_AFTER: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(100);
/// The goal of the growth; once it is reached nothing more is waited for.
const MIB: u64 = 1 << 20;
const GROWTH: u64 = 64 * MIB;

/// The lines of a zoo.cfg that let in what attackers try. Their connections must not wait a second
/// because the queue in front of the door has overflowed.
#[must_use]
pub fn lines(admin: u16) -> Vec<String> {
    let port = format!("admin.serverPort={admin}");
    let lines = ["admin.enableServer=true", "admin.serverAddress=127.0.0.1", &port];
    let more = ["4lw.commands.whitelist=*", "clientPortListenBacklog=1024"];
    lines.iter().chain(&more).map(|line| (*line).to_owned()).collect()
}

/// Measures on a standalone server that was started with [`lines`].
pub fn run(running: &mut Ensemble<'_>, admin: u16, timing: &Timing) -> Result<Values> {
    let target = running.target();
    let ground = Ground { client: target.addrs[0], admin: ([127, 0, 0, 1], admin).into() };
    ground.prepare()?;
    let pace = Pace::Open { per_s: PER_S };
    let kind = Kind::Keyed { read_percent: 50, pace };
    let spec = Spec { kind, value_bytes: DEFAULT_VALUE_BYTES };
    let span = Span::For { warm: timing.warm, measured: timing.measured };
    let good = || driven(&spec, &target, Plan { pace, span, keep_samples: false });

    let alone = good()?;
    let before = rss_bytes(&target.pids)?;
    let attackers = Attackers::start(&ground, &wanted(), NICENESS);
    let began = Instant::now();
    let attacked = good();
    let took = began.elapsed();
    let landed: u64 = attackers.finish().iter().map(|tally| tally.landed).sum();

    let mut values = Values::default();
    values.put(Metric::StrikesPerS, landed as f64 / took.as_secs_f64());
    put_latencies(&mut values, &alone, attacked.as_ref().ok());
    // A server that attackers have ended, or that has let good clients down, is a figure, too.
    let is_down = !running.is_alive();
    values.put(Metric::ServersEnded, f64::from(u8::from(is_down)));
    values.put(Metric::GoodClientsFailed, f64::from(u8::from(attacked.is_err())));
    if let Err(error) = attacked {
        eprintln!("good clients of {ground:?}: {error}; {}", running.last_words());
    }
    if !is_down {
        let growth = |bytes: u64| bytes.saturating_sub(before) as f64 / MIB as f64;
        values.put(Metric::PeakGrowthMib, growth(peak_rss_bytes(&target.pids)?));
        let began = Instant::now();
        while rss_bytes(&target.pids)? > before + GROWTH && began.elapsed() < GONE_AFTER {
            std::thread::sleep(LOOK);
        }
        values.put(Metric::GrowthMib, growth(rss_bytes(&target.pids)?));
    }
    Ok(values)
}

/// Latencies alone and under attack, and how many times the first the second are.
fn put_latencies(values: &mut Values, alone: &Outcome, attacked: Option<&Outcome>) {
    let both = [
        (&alone.reads, attacked.map(|attacked| &attacked.reads), READS),
        (&alone.writes, attacked.map(|attacked| &attacked.writes), WRITES),
    ];
    for (alone, attacked, [p50, p99, attacked_p50, attacked_p99, ratio]) in both {
        values.put(p50, quantile_us(alone, 0.5));
        values.put(p99, quantile_us(alone, 0.99));
        if let Some(attacked) = attacked {
            values.put(attacked_p50, quantile_us(attacked, 0.5));
            values.put(attacked_p99, quantile_us(attacked, 0.99));
            values.put(ratio, quantile_us(attacked, 0.99) / quantile_us(alone, 0.99));
        }
    }
}

const READS: [Metric; 5] = [
    Metric::ReadP50Us,
    Metric::ReadP99Us,
    Metric::AttackedReadP50Us,
    Metric::AttackedReadP99Us,
    Metric::AttackedReadP99Ratio,
];

const WRITES: [Metric; 5] = [
    Metric::WriteP50Us,
    Metric::WriteP99Us,
    Metric::AttackedWriteP50Us,
    Metric::AttackedWriteP99Us,
    Metric::AttackedWriteP99Ratio,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::histogram;
    use crate::proc::CpuUse;

    fn outcome(read_us: u64, write_us: u64) -> Outcome {
        let mut outcome = Outcome {
            reads: histogram(),
            writes: histogram(),
            seconds: 1.0,
            cpu: CpuUse::default(),
            began: Instant::now(),
            samples: Vec::new(),
        };
        outcome.reads.saturating_record(read_us * 1000);
        outcome.writes.saturating_record(write_us * 1000);
        outcome
    }

    #[test]
    fn ratios_are_of_the_same_kind_and_those_of_failed_clients_are_missing() {
        let mut values = Values::default();
        put_latencies(&mut values, &outcome(100, 1000), Some(&outcome(300, 2000)));
        let ratio = |metric| (values.get(metric).unwrap() * 10.0).round() / 10.0;
        assert_eq!(ratio(Metric::AttackedReadP99Ratio), 3.0);
        assert_eq!(ratio(Metric::AttackedWriteP99Ratio), 2.0);
        let mut values = Values::default();
        put_latencies(&mut values, &outcome(100, 1000), None);
        assert!(values.get(Metric::WriteP99Us).is_some());
        assert_eq!(values.get(Metric::AttackedWriteP99Ratio), None);
    }
}
