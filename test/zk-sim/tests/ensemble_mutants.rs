//! The judges of ensembles are judged: faults that ZooKeeper had once, and others that it could
//! have, are planted into the members and their driver, and must be found.

use zk_sim::ensemble::{Mutant, RunOptions, run};

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// An ACK must be late by more than a member needs to come back, which may not happen in so many
/// seeds.
const SELDOM: [Mutant; 1] = [Mutant::MendsEarly];

/// So many seeds are tried for each; nearly all are found by one of the first ten.
const SEEDS: u64 = 2_000;
const SEEDS_FOR_SELDOM: u64 = 20;

/// How many seeds it took, and what was found.
fn find(mutant: Mutant) -> Option<(u64, String)> {
    let (reconfigures, feeds) = (mutant.is_of_changes(), mutant.is_of_feeding());
    let options = RunOptions { mutant: Some(mutant), reconfigures, feeds, ..RunOptions::default() };
    let default = if SELDOM.contains(&mutant) { SEEDS_FOR_SELDOM } else { SEEDS };
    let most = from_environment("ZKFLEET_SIM_MUTANT_SEEDS").unwrap_or(default);
    (1..=most).find_map(|seed| {
        let outcome = std::panic::catch_unwind(|| run(seed, &options));
        match outcome {
            Ok(outcome) => outcome.violation.map(|violation| (seed, violation.to_string())),
            Err(_) => Some((seed, "something panicked".into())),
        }
    })
}

#[test]
fn planted_faults_are_found() {
    let mut missed = Vec::new();
    let only = std::env::var("ZKFLEET_SIM_MUTANT").unwrap_or_default();
    let wanted = |mutant: &Mutant| format!("{mutant:?}").contains(&only);
    for mutant in Mutant::ALL.into_iter().filter(wanted) {
        match find(mutant) {
            Some((seeds, what)) => {
                let what: String = what.chars().take(140).collect();
                println!("{mutant:?}: seed {seeds}: {what}");
            }
            None if SELDOM.contains(&mutant) => println!("{mutant:?}: not found in these seeds"),
            None => missed.push(mutant),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
