//! Several threads append, borrow, roll and wait as chance will have it, with and without trouble.
//!
//! A seed decides what everybody wants, the scheduler when they come to it: a round that failed may
//! have to be run some times. `ZKFLEET_COMMIT_ROUNDS` says how many rounds (400),
//! `ZKFLEET_COMMIT_SEED` which seed is the first (1).

mod ledger;
mod round;

use super::*;
use round::{Outcome, Round};
use std::sync::mpsc::RecvTimeoutError;
use std::thread;

/// So many rounds run at once: some wait half a second for a full disk.
const LANES: u64 = 4;
/// For one round, whose longest waits are such half seconds.
const PATIENCE: Duration = Duration::from_secs(30);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Runs a round on a thread of its own, so that one without end fails, too.
fn watched(seed: u64) -> Outcome {
    let (done, is_done) = channel();
    thread::spawn(move || done.send(Round::new(seed).run()));
    match is_done.recv_timeout(PATIENCE) {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Disconnected) => panic!("failed: ZKFLEET_COMMIT_SEED={seed}"),
        Err(RecvTimeoutError::Timeout) => panic!("does not end: ZKFLEET_COMMIT_SEED={seed}"),
    }
}

#[test]
fn whatever_happens_the_log_has_what_was_told() {
    let (rounds, from) = (number("ZKFLEET_COMMIT_ROUNDS", 400), number("ZKFLEET_COMMIT_SEED", 1));
    let lane = |at| (from + at..from + rounds).step_by(LANES as usize).map(watched);
    let all = thread::scope(|scope| {
        let run = |at| scope.spawn(move || lane(at).fold(Outcome::default(), Outcome::and));
        let lanes: Vec<_> = (0..LANES).map(run).collect();
        let outcome = |lane: thread::ScopedJoinHandle<'_, Outcome>| {
            lane.join().expect("what is wrong is said above")
        };
        lanes.into_iter().map(outcome).fold(Outcome::default(), Outcome::and)
    });
    println!("{all:?}");
    // Else the test has come to test nothing; a few rounds need not have everything in them.
    let Outcome { whole, failed, by_borrowers, put_back } = all;
    let is_telling = whole > rounds / 2 && failed > rounds / 20;
    assert!(rounds < 100 || is_telling && by_borrowers > rounds && put_back > 0, "{all:?}");
}
