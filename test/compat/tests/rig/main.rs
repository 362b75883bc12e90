//! Real members behind a network that breaks: they are killed and stopped, cut off in both
//! directions or in one, slowed down, and their disks are full, all at random and under load. No
//! acknowledged write is lost, none is done twice, members never disagree, who reaches no quorum
//! acknowledges nothing, no session that is kept alive expires; and when the faults are over, the
//! ensemble works again in time.
//!
//! `ZKFLEET_RIG_SEEDS` says how many ensembles each test has (1), `ZKFLEET_RIG_SEED` the seed of
//! the first (1), `ZKFLEET_RIG_ROUNDS` how many rounds of faults each lives through (2).

mod disk;
mod keeper;
mod plan;
mod rig;
mod round;

use std::time::Duration;

use compat::number;
use zk_testkit::history::CutOff;
use zk_testkit::{Engine, Error, apache_or_skip};

use keeper::Keeper;
use plan::{Faults, plan};
use rig::Rig;
use round::round;

/// Longer than a client with something to say waits for a member that does not answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whoever always waits for an answer asks nothing of a member that has just lost its quorum; every
/// second client is idle often enough to.
const IDLE_MS: u64 = 100;

fn lives(test: &str, engines: &[Engine], faults: Faults) -> Result<(), Error> {
    let first = number("ZKFLEET_RIG_SEED", 1);
    (first..first + number("ZKFLEET_RIG_SEEDS", 1))
        .try_for_each(|seed| life(test, engines, faults, seed))
}

/// The life of one ensemble.
fn life(test: &str, engines: &[Engine], faults: Faults, seed: u64) -> Result<(), Error> {
    let mut rig = Rig::start(engines, seed, faults)?;
    for (n, worker) in (0..).zip(&mut rig.load.workers) {
        worker.pace(PATIENCE, n % 2 * IDLE_MS);
    }
    let sids = rig.load.ensemble.sids();
    let addrs =
        sids.iter().map(|sid| rig.load.ensemble.addr(*sid)).collect::<Result<Vec<_>, _>>()?;
    let keepers = (0..sids.len()).map(|at| Keeper::new(at, addrs.clone()));
    let mut keepers = keepers.collect::<Result<Vec<_>, _>>()?;
    let rounds = number("ZKFLEET_RIG_ROUNDS", 2);
    for n in 0..rounds {
        rig.tell(&format!("round {n}"));
        // Seeds that follow each other share no round.
        let planned = plan(seed << 32 | n, engines.len() as u64, faults);
        let violations = match round(&mut rig, &mut keepers, &planned) {
            Ok(violations) => violations,
            Err(error) => vec![format!("cannot go on: {error}")],
        };
        if !violations.is_empty() {
            println!("{}", rig.logs(200));
            panic!(
                "{test}, seed {seed}, round {n}:\n{}\n\n{}\n\nagain: ZKFLEET_RIG_SEED={seed} \
                 ZKFLEET_RIG_ROUNDS={} cargo test -p compat --test rig {test}",
                violations.join("\n"),
                rig.told.join("\n"),
                n + 1,
            );
        }
    }
    let ended: usize = keepers.iter().map(|keeper| keeper.ended).sum();
    let (alone, asked) = rig.alone_count;
    println!(
        "{test}, seed {seed}: {rounds} rounds, {} operations, {:?}; {alone} times a member without \
         a quorum, asked for {asked} writes; {ended} sessions that nobody could keep; all members \
         serve {:?} after the faults at most",
        rig.load.writes, rig.counts, rig.slowest
    );
    Ok(())
}

#[test]
fn three_members() -> Result<(), Error> {
    lives("three_members", &[Engine::Ours; 3], Faults::Disks)
}

#[test]
fn five_members() -> Result<(), Error> {
    lives("five_members", &[Engine::Ours; 5], Faults::All)
}

/// Minorities come and go; the others go on.
#[test]
fn minorities_of_five() -> Result<(), Error> {
    lives("minorities_of_five", &[Engine::Ours; 5], Faults::Minorities)
}

#[test]
fn two_of_ours_and_one_of_apaches() -> Result<(), Error> {
    if !apache_or_skip(Engine::Apache39) {
        return Ok(());
    }
    let engines = [Engine::Ours, Engine::Apache39, Engine::Ours];
    lives("two_of_ours_and_one_of_apaches", &engines, Faults::All)
}

/// The test of the test: a member that acknowledges although nobody can have agreed.
#[test]
fn a_member_that_serves_alone_is_caught() -> Result<(), Error> {
    let mut rig = Rig::start(&[Engine::Ours; 3], 1, Faults::All)?;
    assert_eq!(round(&mut rig, &mut [], &[])?, Vec::<String>::new());
    rig.load.checker.check_minorities(&[CutOff { server: 1, from: 0, to: u64::MAX }]);
    let violations = rig.load.checker.violations();
    assert!(violations.iter().any(|v| v.starts_with("Z5: server 1")), "{violations:?}");
    Ok(())
}
