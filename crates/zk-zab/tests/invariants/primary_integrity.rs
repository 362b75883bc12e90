//! `PrimaryIntegrity`: before a leader broadcasts in its epoch, it has delivered whatever anybody
//! ever delivers of earlier epochs.
//!
//! The specification compares a leader with its followers while both broadcast. The paper has no
//! such restriction, and so what each leader had delivered when it proposed for the first time is
//! compared with what everybody delivers, observers too.

use std::collections::BTreeSet;

use super::{Verdict, holds, leader_and_follower, rejects};
use crate::world::view::View;

/// As the specification has it.
pub fn primary_integrity(view: &View) -> Verdict {
    let mut cases = 0;
    for (sid, leader) in view.leaders().filter(|(_, leader)| leader.broadcasts()) {
        let has: BTreeSet<_> = leader.delivered.iter().collect();
        for (other, learner) in view.learners_of(sid).filter(|(_, it)| it.broadcasts()) {
            let mut older = learner.delivered.iter().filter(|it| it.0.epoch() < leader.current);
            if let Some(txn) = older.find(|txn| !has.contains(txn)) {
                return Err(format!("{other} has delivered {txn:?}, its leader {sid} has not"));
            }
            cases += learner.delivered.len();
        }
    }
    Ok(cases)
}

/// As the paper has it.
pub fn primary_integrity_of_all(view: &View) -> Verdict {
    let mut cases = 0;
    for ((leader, epoch), delivered) in &view.primaries {
        let has: BTreeSet<_> = delivered.iter().collect();
        for (sid, member) in &view.members {
            for txn in member.delivered.iter().filter(|txn| txn.0.epoch().0 < *epoch) {
                if !has.contains(txn) {
                    return Err(format!(
                        "{sid} has delivered {txn:?}, and {leader} had not when it proposed in {epoch}"
                    ));
                }
                cases += 1;
            }
        }
    }
    Ok(cases)
}

#[test]
fn primary_integrity_holds() {
    holds("PrimaryIntegrity");
    holds("PrimaryIntegrity of all");
}

#[test]
fn primary_integrity_can_be_violated() {
    let forgets = |view: &mut View| {
        let (leader, _) = leader_and_follower(view);
        view.members.get_mut(&leader).unwrap().delivered.remove(1);
    };
    rejects(primary_integrity, forgets, "has not");
    let proposes_early = |view: &mut View| {
        let last = view.primaries.last_entry().unwrap();
        assert_eq!(last.key().1, 2);
        last.into_mut().pop();
    };
    rejects(primary_integrity_of_all, proposes_early, "when it proposed in 2");
}
