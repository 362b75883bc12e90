//! `TotalOrder`: where one member delivers a before b, whoever delivers b delivers a, and before b.
//! Observers are members in this.

use super::{Verdict, holds, leader_and_follower, rejects};
use crate::world::view::{View, places};

pub fn total_order(view: &View) -> Verdict {
    let mut cases = 0;
    for ((one, this), (other, that)) in view.pairs() {
        let places = places(&that.delivered);
        let Some(last) = this.delivered.iter().rposition(|txn| places.contains_key(txn)) else {
            continue;
        };
        let mut before = None;
        for txn in &this.delivered[..=last] {
            let at = places.get(txn).copied();
            if at <= before {
                return Err(format!("{one} has delivered {txn:?} where {other} has not"));
            }
            before = at;
        }
        cases += last;
    }
    Ok(cases)
}

#[test]
fn total_order_holds() {
    holds("TotalOrder");
}

#[test]
fn total_order_can_be_violated() {
    let swapped = |view: &mut View| {
        let (_, follower) = leader_and_follower(view);
        view.members.get_mut(&follower).unwrap().delivered.swap(1, 2);
    };
    rejects(total_order, swapped, "where");
    let left_out = |view: &mut View| {
        let (_, follower) = leader_and_follower(view);
        view.members.get_mut(&follower).unwrap().delivered.remove(1);
    };
    rejects(total_order, left_out, "where");
}
