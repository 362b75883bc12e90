//! Rules that the machines do not keep, and the invariants that notice it in random worlds: `cargo
//! test -p zk-zab --features planted --test invariants`.
//!
//! [`Planted::TakesGaps`] and [`Planted::TakesAnyCommit`] need a leader that is wrong, too:
//! `tests/paper` has them. [`Planted::LeadsAlone`] lets clients read what is old: the simulator has
//! it.

use std::ops::Range;

use zk_zab::Planted;

use super::Seen;
use super::world::World;

/// In these worlds the fault is noticed, by each of these invariants at least.
#[track_caller]
fn notice(fault: Planted, seeds: Range<u64>, by: &[&str]) {
    let mut seen = Seen::default();
    for seed in seeds {
        seen.see(seed, &mut World::planted(seed, fault));
        if by.iter().all(|name| seen.verdicts[name].is_err()) {
            return;
        }
    }
    let missing: Vec<_> = by.iter().filter(|name| seen.verdicts[**name].is_ok()).collect();
    panic!("{fault:?} is not noticed by {missing:?}");
}

#[test]
fn a_tail_that_is_never_cut_is_noticed() {
    let by = ["PrefixConsistency", "Agreement", "ProcessConsistency", "LeaderLogCompleteness"];
    notice(Planted::NeverTruncates, 0..200, &by);
}

#[test]
fn a_leader_that_counts_itself_too_early_is_noticed() {
    notice(Planted::CountsItself, 0..60, &["TypeOK"]);
}

/// It takes a leader that dies right behind the change.
#[test]
fn a_change_without_the_new_quorum_is_noticed() {
    notice(Planted::OldQuorumOnly, 0..400, &["CommittedLogMonotonicity", "LeaderLogCompleteness"]);
}
