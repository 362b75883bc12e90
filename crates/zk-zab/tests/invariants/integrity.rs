//! `Integrity`: what a follower delivers was broadcast by a leader. Observers deliver nothing else
//! either. The specification counts the history that NEWLEADER sends as broadcast; here only what a
//! leader has proposed in its own epoch counts, which says more.

use std::collections::BTreeSet;

use super::{Verdict, holds, leader_and_follower, rejects};
use crate::world::view::View;

pub fn integrity(view: &View) -> Verdict {
    let broadcast: BTreeSet<_> = view.broadcasts.iter().map(|it| it.txn).collect();
    let mut cases = 0;
    for (sid, member) in &view.members {
        if let Some(txn) = member.delivered.iter().find(|txn| !broadcast.contains(txn)) {
            return Err(format!("{sid} has delivered {txn:?}, which nobody has broadcast"));
        }
        cases += member.delivered.len();
    }
    Ok(cases)
}

#[test]
fn integrity_holds() {
    holds("Integrity");
}

#[test]
fn integrity_can_be_violated() {
    let spoil = |view: &mut View| {
        let (_, follower) = leader_and_follower(view);
        let delivered = &mut view.members.get_mut(&follower).unwrap().delivered;
        let last = delivered.last().unwrap().0;
        delivered.push((last.next(), 1000));
    };
    rejects(integrity, spoil, "which nobody has broadcast");
}
