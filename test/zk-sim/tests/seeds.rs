//! Random seeds, seeds that failed once, and one seed with its story.

use std::collections::BTreeMap;
use zk_sim::{RunOptions, run};

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Runs a seed twice: nothing may be wrong, and both runs must be the same.
fn check(seed: u64, marks: &mut BTreeMap<&'static str, u64>) -> Result<(), String> {
    let replay =
        format!("ZKFLEET_SIM_SEED={seed} cargo test -p zk-sim --test seeds one -- --nocapture");
    let first = std::panic::catch_unwind(|| run(seed, RunOptions::default()))
        .map_err(|_| format!("seed {seed}: something panicked, replay it with: {replay}"))?;
    if let Some(report) = first.report() {
        return Err(report);
    }
    let second = run(seed, RunOptions::default());
    if first.hash != second.hash {
        return Err(format!("seed {seed} is not the same twice"));
    }
    for (mark, count) in first.marks {
        *marks.entry(mark).or_default() += count;
    }
    Ok(())
}

fn check_all(seeds: impl IntoIterator<Item = u64>) -> BTreeMap<&'static str, u64> {
    let mut marks = BTreeMap::new();
    let mut failed = Vec::new();
    let limit = from_environment("ZKFLEET_SIM_FAILURES").unwrap_or(3) as usize;
    for seed in seeds {
        failed.extend(check(seed, &mut marks).err());
        assert!(failed.len() < limit, "{}", failed.join("\n\n"));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    marks
}

#[test]
fn random_seeds() {
    let count = from_environment("ZKFLEET_SIM_SEEDS").unwrap_or(200);
    let from = from_environment("ZKFLEET_SIM_FROM").unwrap_or(1);
    let marks = check_all(from..from + count);
    println!("{marks:#?}");
    let missing: Vec<_> = RARE.iter().filter(|mark| !marks.contains_key(**mark)).collect();
    assert!(count < 100 || missing.is_empty(), "never happened: {missing:?}");
}

/// Seeds that found something once: `regressions.txt`, one a line, with what it was.
#[test]
fn regressions() {
    let seed = |line: &str| line.split_whitespace().next().and_then(|word| word.parse().ok());
    let seeds: Vec<u64> = include_str!("../regressions.txt").lines().filter_map(seed).collect();
    assert!(!seeds.is_empty());
    check_all(seeds);
}

/// The process dies before each effect of a run, one after the other.
#[test]
fn a_crash_at_every_effect() {
    let count = from_environment("ZKFLEET_SIM_CRASHES").unwrap_or(50);
    let from = from_environment("ZKFLEET_SIM_FROM").unwrap_or(1);
    let run_to = |seed, at| run(seed, RunOptions { crash_at: Some(at), ..RunOptions::default() });
    let mut tried = 0;
    for seed in from..from + count {
        let whole = run_to(seed, u64::MAX);
        assert!(whole.violation.is_none(), "{}", whole.report().unwrap_or_default());
        for at in 1..=whole.effects {
            let outcome = run_to(seed, at);
            assert!(outcome.violation.is_none(), "{}", outcome.report().unwrap_or_default());
            assert_eq!(outcome.marks.get("crash between effects"), Some(&1), "{seed} at {at}");
            tried += 1;
        }
    }
    println!("{tried} crashes");
}

/// Whatever is rare in one run happens in many: a world in which nothing goes wrong proves nothing.
const RARE: [&str; 15] = [
    "crash",
    "crash between effects",
    "crash by storage",
    "crash in recovery",
    "event",
    "event of an application",
    "read beside the pipeline",
    "renewal",
    "sessions keep their passwords",
    "snapshot",
    "start",
    "the disk is full",
    "told that the session is gone",
    "watches set again",
    "writes are refused",
];

/// ZKFLEET_SIM_SEED=n prints the story of one seed.
#[test]
fn one() {
    let Some(seed) = from_environment("ZKFLEET_SIM_SEED") else { return };
    let crash_at = from_environment("ZKFLEET_SIM_CRASH_AT");
    let outcome = run(seed, RunOptions { print: true, crash_at, ..RunOptions::default() });
    println!("{:#?}\n{:#?}", outcome.settings, outcome.marks);
    assert!(outcome.violation.is_none(), "{}", outcome.report().unwrap_or_default());
}
