//! `ProcessConsistency` of the test specification: a follower that has acknowledged NEWLEADER has a
//! prefix of its leader's history. Observers, too.

use super::{Verdict, holds, leader_and_follower, rejects};
use crate::world::view::View;

pub fn process_consistency(view: &View) -> Verdict {
    let mut cases = 0;
    for (sid, leader) in view.leaders() {
        let entered = |current, accepted| current == accepted && current == leader.current;
        let learners = view.learners_of(sid);
        for (other, learner) in learners.filter(|(_, it)| entered(it.current, it.accepted)) {
            if !leader.history.starts_with(&learner.history) {
                return Err(format!(
                    "{other} has {:?}, its leader {sid} {:?}",
                    learner.history, leader.history
                ));
            }
            cases += learner.history.len();
        }
    }
    Ok(cases)
}

#[test]
fn process_consistency_holds() {
    holds("ProcessConsistency");
}

#[test]
fn process_consistency_can_be_violated() {
    let longer = |view: &mut View| {
        let (_, follower) = leader_and_follower(view);
        let history = &mut view.members.get_mut(&follower).unwrap().history;
        history.push((history.last().unwrap().0.next(), 1000));
    };
    rejects(process_consistency, longer, "its leader");
    let other = |view: &mut View| {
        let (_, follower) = leader_and_follower(view);
        view.members.get_mut(&follower).unwrap().history[0].1 += 100;
    };
    rejects(process_consistency, other, "its leader");
}
