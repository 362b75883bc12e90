//! `PrefixConsistency`: what any two members have delivered is the same, as far as both have come.
//! Observers are members in this.

use super::{Verdict, holds, leader_and_follower, rejects};
use crate::world::view::View;

pub fn prefix_consistency(view: &View) -> Verdict {
    let mut cases = 0;
    for ((one, this), (other, that)) in view.pairs() {
        for (a, b) in this.delivered.iter().zip(&that.delivered) {
            if a != b {
                return Err(format!("{one} has delivered {a:?}, {other} {b:?} in its place"));
            }
            cases += 1;
        }
    }
    Ok(cases)
}

#[test]
fn prefix_consistency_holds() {
    holds("PrefixConsistency");
}

/// Another txn of the same zxid.
#[test]
fn prefix_consistency_can_be_violated() {
    let spoil = |view: &mut View| {
        let (_, follower) = leader_and_follower(view);
        view.members.get_mut(&follower).unwrap().delivered[1].1 += 100;
    };
    rejects(prefix_consistency, spoil, "in its place");
}
