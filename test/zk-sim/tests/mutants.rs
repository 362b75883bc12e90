//! Faults planted into the driver: the invariants must notice each of them, soon, and each
//! invariant must notice some of them on its own.

use zk_sim::{Mutant, RunOptions, run};

/// Within so many seeds a fault must show.
const SEEDS: u64 = 400;

/// The first seed that shows a fault, and what notices it: anything, or `only` this invariant. (The
/// world itself fails too when its clients are turned away for ever.)
fn noticed(mutant: Mutant, only: Option<&'static str>) -> Option<(u64, &'static str)> {
    let options = RunOptions { mutant: Some(mutant), only, ..RunOptions::default() };
    let violation = |seed| run(seed, options).violation.map(|violation| violation.invariant);
    (1..=SEEDS)
        .filter_map(|seed| Some((seed, violation(seed)?)))
        .find(|(_, found)| only.is_none_or(|only| only == *found))
}

#[test]
fn every_planted_fault_is_noticed() {
    let mut missed = Vec::new();
    for mutant in Mutant::ALL {
        match noticed(mutant, None) {
            Some((seed, invariant)) => println!("{mutant:?}: seed {seed}, {invariant}"),
            None => missed.push(mutant),
        }
    }
    assert!(missed.is_empty(), "not noticed within {SEEDS} seeds: {missed:?}");
}

/// By each invariant alone: faults that it must notice.
const ALONE: [(&str, &[Mutant]); 19] = [
    ("Z3 local primary order", &[Mutant::DoubledRequest]),
    ("Z5 durability", &[Mutant::ReplyBeforeSync, Mutant::LostWrite, Mutant::FullDiskIsIgnored]),
    ("Z8 tree digest", &[Mutant::DoubleApply, Mutant::MisnamedSnapshot, Mutant::RewoundCounter]),
    ("C1 linearizable writes", &[Mutant::ReplyBeforeSync]),
    ("C2 model equality", &[Mutant::SwappedReplies, Mutant::TornMulti, Mutant::RewoundCounter]),
    ("C3 FIFO client order", &[Mutant::SwappedReplies, Mutant::LostReply, Mutant::DoubledRequest]),
    ("C4 single system image", &[Mutant::StaleRead, Mutant::SwappedReplies]),
    ("C5 atomic multi", &[Mutant::TornMulti]),
    ("C6 sync", &[Mutant::StaleSync, Mutant::ReplyBeforeSync]),
    ("W1 event order", &[Mutant::EventAfterReply, Mutant::SwappedReplies]),
    ("W2 unique events", &[Mutant::DoubledEvent, Mutant::ForeignEvent]),
    ("W3 reliable events", &[Mutant::LostEvent, Mutant::EventAfterReply]),
    ("W4 no foreign path", &[Mutant::ForeignEvent]),
    (
        "S1 session",
        &[
            Mutant::ImmortalSession,
            Mutant::DeafServer,
            Mutant::ForgottenSession,
            Mutant::ForgottenLegacy,
        ],
    ),
    ("S2 ephemeral", &[Mutant::ForgottenSession]),
    ("S3 sequence", &[Mutant::SwappedReplies]),
    ("S4 reaping", &[Mutant::EagerReaper]),
    ("B1 exactness", &[Mutant::ForgottenSession, Mutant::MisnamedSnapshot, Mutant::ForgottenZnode]),
    ("L1 liveness", &[Mutant::LostReply, Mutant::WatchesStay, Mutant::LostClose]),
];

#[test]
fn every_invariant_notices_faults_on_its_own() {
    let mut missed = Vec::new();
    for (invariant, mutants) in ALONE {
        for &mutant in mutants {
            if noticed(mutant, Some(invariant)).is_none() {
                missed.push((invariant, mutant));
            }
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn clients_and_member_must_agree_on_watches() {
    assert!(noticed(Mutant::LostEvent, Some("K1 client session")).is_some());
}

#[test]
fn no_invariant_is_forgotten() {
    let settings = run(1, RunOptions::default()).settings;
    let mut names: Vec<_> = zk_sim::Judge::new(settings.terms).names().collect();
    let mut alone: Vec<_> = ALONE.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    alone.sort_unstable();
    assert_eq!(names, alone);
}
