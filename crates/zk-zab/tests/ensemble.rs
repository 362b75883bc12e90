//! Whole ensembles of the machines under crashes, lost disks' tails and cut connections: what was
//! committed once stays, everybody has the same history, and in the end all follow one leader.
//!
//! `ZKFLEET_ZAB_SEEDS=n` runs that many (300), `ZKFLEET_ZAB_FROM=s` from another seed than 0,
//! `ZKFLEET_ZAB_TELL=1` prints what happens.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[allow(dead_code, reason = "other tests use the rest")]
mod world;

use world::World;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn what_is_committed_stays_and_all_agree_in_the_end() {
    let from = number("ZKFLEET_ZAB_FROM", 0);
    let (mut commits, mut reigns, mut crashes, mut mended, mut configs) = (0, 0, 0, 0, 0);
    for seed in from..from + number("ZKFLEET_ZAB_SEEDS", 300) {
        let mut world = World::new(seed);
        for _ in 0..800 {
            world.step();
        }
        world.heal();
        commits += world.committed();
        reigns += world.reigns();
        crashes += world.crashes;
        mended += world.mended;
        configs += world.configs_made.len();
    }
    println!(
        "{commits} txns, {configs} of them reconfigurations, in {reigns} reigns; {crashes} crashes, \
         {mended} mended"
    );
    assert!(commits > 0 && reigns > 0);
}
