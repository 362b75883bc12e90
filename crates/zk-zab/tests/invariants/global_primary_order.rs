//! `GlobalPrimaryOrder`: who delivers a of epoch e and b of a later epoch delivers a first.
//! Observers are members in this.

use super::{Verdict, holds, leader_and_follower, rejects};
use crate::world::view::View;

pub fn global_primary_order(view: &View) -> Verdict {
    let mut cases = 0;
    for (sid, member) in &view.members {
        for two in member.delivered.windows(2) {
            if two[0].0.epoch() > two[1].0.epoch() {
                return Err(format!("{sid} delivers {:?} before {:?}", two[0], two[1]));
            }
            cases += usize::from(two[0].0.epoch() < two[1].0.epoch());
        }
    }
    Ok(cases)
}

#[test]
fn global_primary_order_holds() {
    holds("GlobalPrimaryOrder");
}

#[test]
fn global_primary_order_can_be_violated() {
    let spoil = |view: &mut View| {
        let (_, follower) = leader_and_follower(view);
        view.members.get_mut(&follower).unwrap().delivered.swap(0, 2);
    };
    rejects(global_primary_order, spoil, "before");
}
