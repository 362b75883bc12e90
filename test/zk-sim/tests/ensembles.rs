//! Whole ensembles: random seeds, seeds that failed once, and one seed with its story.

use std::time::Instant;
use zk_sim::ensemble::{Coverage, Point, RunOptions, run};

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// What many runs came to.
#[derive(Default)]
struct Sum {
    seeds: u64,
    simulated_ms: u64,
    committed: usize,
    replies: u64,
    coverage: Coverage,
}

/// How long this thread was on a processor, in s: others may want the machine too. Where nobody
/// says so, how long it took since `began`.
fn processor_s(began: Instant) -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    ns.map_or_else(|| began.elapsed().as_secs_f64(), |ns| ns / 1e9)
}

/// Runs a seed; nothing may be wrong. Now and then it is run twice, and must be the same.
fn check(seed: u64, options: &RunOptions, sum: &mut Sum) -> Result<(), String> {
    let replay = format!(
        "ZKFLEET_SIM_SEED={seed} cargo test -p zk-sim --release --test ensembles one -- --nocapture"
    );
    let outcome = std::panic::catch_unwind(|| run(seed, options))
        .map_err(|_| format!("seed {seed}: something panicked, replay it with: {replay}"))?;
    if let Some(report) = outcome.report() {
        return Err(report);
    }
    if seed.is_multiple_of(16) && run(seed, options).hash != outcome.hash {
        return Err(format!("seed {seed} is not the same twice"));
    }
    sum.seeds += 1;
    sum.simulated_ms += outcome.simulated_ms;
    sum.committed += outcome.committed;
    sum.replies += outcome.replies;
    sum.coverage.add(&outcome.coverage);
    Ok(())
}

fn check_all(seeds: impl IntoIterator<Item = u64>, options: &RunOptions) -> Sum {
    let (mut sum, mut failed) = (Sum::default(), Vec::new());
    let limit = from_environment("ZKFLEET_SIM_FAILURES").unwrap_or(3) as usize;
    for seed in seeds {
        failed.extend(check(seed, options, &mut sum).err());
        assert!(failed.len() < limit, "{}", failed.join("\n\n"));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    sum
}

/// From so many seeds on, everything that can happen must have happened.
const LONG: u64 = 1000;

#[test]
fn random_seeds() {
    let count = from_environment("ZKFLEET_SIM_ENSEMBLES").unwrap_or(60);
    let from = from_environment("ZKFLEET_SIM_FROM").unwrap_or(1);
    let began = Instant::now();
    let sum = check_all(from..from + count, &RunOptions::default());
    let took = processor_s(began);
    println!("{}", sum.coverage.table());
    println!(
        "{} seeds, {:.2} simulated hours, {} txns, {} replies, {} faults in {took:.1} s of a \
         processor: {:.0} times real time",
        sum.seeds,
        sum.simulated_ms as f64 / 3_600_000.0,
        sum.committed,
        sum.replies,
        sum.coverage.faults(),
        sum.simulated_ms as f64 / 1000.0 / took
    );
    let unhit: Vec<_> = sum.coverage.unhit().map(|point| point.name()).collect();
    println!("never happened: {unhit:?}");
    assert!(count < LONG || unhit.is_empty(), "never happened: {unhit:?}");
}

/// Half as many seeds of worlds in which more happens: all of that must.
fn check_special(options: &RunOptions, is_special: impl Fn(Point) -> bool) {
    let count = from_environment("ZKFLEET_SIM_ENSEMBLES").unwrap_or(60).div_ceil(2);
    let from = from_environment("ZKFLEET_SIM_FROM").unwrap_or(1);
    let sum = check_all(from..from + count, options);
    let mut unhit: Vec<Point> = Vec::new();
    for point in Point::ALL.iter().filter(|point| is_special(**point)) {
        let hits = sum.coverage.hits(*point);
        println!("{hits:8} {}", point.name());
        unhit.extend((hits == 0).then_some(*point));
    }
    println!("{} seeds, {} txns, {} replies", sum.seeds, sum.committed, sum.replies);
    assert!(unhit.is_empty(), "never happened: {unhit:?}");
}

/// Members join, leave, and change their roles, the leader too.
#[test]
fn changing_seeds() {
    let options = RunOptions { reconfigures: true, ..RunOptions::default() };
    check_special(&options, Point::is_of_changes);
}

/// Followers feed observers, and sessions move between them.
#[test]
fn feeding_seeds() {
    let options = RunOptions { feeds: true, ..RunOptions::default() };
    check_special(&options, Point::is_of_feeding);
}

/// The speed of the world that the goal is written for.
#[test]
fn measured() {
    let Some(count) = from_environment("ZKFLEET_SIM_MEASURED") else { return };
    let from = from_environment("ZKFLEET_SIM_FROM").unwrap_or(1);
    let options = RunOptions { is_measured: true, ..RunOptions::default() };
    let (mut simulated_ms, mut replies, mut faults) = (0, 0, 0);
    let began = Instant::now();
    for seed in from..from + count {
        let outcome = run(seed, &options);
        assert!(outcome.violation.is_none(), "{}", outcome.report().unwrap_or_default());
        simulated_ms += outcome.simulated_ms;
        (replies, faults) = (replies + outcome.replies, faults + outcome.coverage.faults());
    }
    let (took, simulated) = (processor_s(began), simulated_ms as f64 / 1000.0);
    println!(
        "{count} seeds, {simulated:.0} simulated s in {took:.2} s of a processor: {:.0} times real time; \
         {:.1} replies and {:.2} faults a simulated second",
        simulated / took,
        replies as f64 / simulated,
        faults as f64 / simulated
    );
}

/// Seeds that found something once: `ensemble-regressions.txt`, one a line, with what it was; with
/// a word in front where the world is not the common one.
#[test]
fn regressions() {
    let common = RunOptions::default;
    let worlds = [
        ("", common()),
        ("feeds ", RunOptions { feeds: true, ..common() }),
        ("changes ", RunOptions { reconfigures: true, ..common() }),
    ];
    let mut count = 0;
    for (world, options) in worlds {
        let seed = |line: &str| {
            let number = line.strip_prefix(world)?.split_whitespace().next()?;
            number.parse().ok()
        };
        let lines = include_str!("../ensemble-regressions.txt").lines();
        let seeds: Vec<u64> = lines.filter_map(seed).collect();
        count += seeds.len();
        check_all(seeds, &options);
    }
    let lines = include_str!("../ensemble-regressions.txt").lines();
    assert_eq!(count, lines.filter(|line| !line.starts_with('#')).count());
}

/// ZKFLEET_SIM_SEED=n prints the story of one seed.
#[test]
fn one() {
    let Some(seed) = from_environment("ZKFLEET_SIM_SEED") else { return };
    let is_measured = from_environment("ZKFLEET_SIM_MEASURED").is_some();
    let reconfigures = from_environment("ZKFLEET_SIM_CHANGES").is_some();
    let feeds = from_environment("ZKFLEET_SIM_FEEDS").is_some();
    let options =
        RunOptions { prints: true, is_measured, reconfigures, feeds, ..RunOptions::default() };
    let outcome = run(seed, &options);
    println!("{:#?}\n{}", outcome.settings, outcome.coverage.table());
    assert!(outcome.violation.is_none(), "{}", outcome.report().unwrap_or_default());
}
