//! `Agreement`: where one follower has delivered a, and another one b, the second has delivered a
//! or the first b. Observers are members in this.

use std::collections::BTreeSet;

use super::{Verdict, holds, leader_and_follower, rejects};
use crate::world::view::View;

pub fn agreement(view: &View) -> Verdict {
    let mut cases = 0;
    for ((one, this), (other, that)) in view.pairs() {
        let [these, those]: [BTreeSet<_>; 2] =
            [this, that].map(|member| member.delivered.iter().collect());
        let a = these.difference(&those).next();
        if let (Some(a), Some(b)) = (a, those.difference(&these).next()) {
            return Err(format!("{one} has {a:?} and not {b:?}, {other} the other way round"));
        }
        cases += these.len().min(those.len());
    }
    Ok(cases)
}

#[test]
fn agreement_holds() {
    holds("Agreement");
}

#[test]
fn agreement_can_be_violated() {
    let spoil = |view: &mut View| {
        let (leader, follower) = leader_and_follower(view);
        view.members.get_mut(&leader).unwrap().delivered.remove(0);
        view.members.get_mut(&follower).unwrap().delivered.pop();
    };
    rejects(agreement, spoil, "the other way round");
}
