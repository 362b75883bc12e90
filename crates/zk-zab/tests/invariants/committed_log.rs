//! `CommittedLogMonotonicity`, `LeaderLogCompleteness` and `CommittedLogDurability` of the test
//! specification: what is committed only grows, the leader has all of it, and no synchronisation
//! cuts any of it off.
//!
//! The specification has one leader by its oracle. Here one may still believe that it leads when
//! another one does, so the leader of the latest epoch is meant.

use std::collections::BTreeSet;

use super::{Verdict, holds, leader_and_follower, rejects};
use crate::world::view::{Cut, Mark, MemberView, View};
use zk_proto::{Epoch, Sid};

/// Who leads in the latest epoch in which anybody has ever led.
fn leader(view: &View) -> Option<(Sid, &MemberView)> {
    let (latest, _) = view.epoch_leaders.last_key_value()?;
    view.leaders().find(|(_, leader)| leader.current.0 == *latest)
}

/// Whether these begin with everything that is committed.
fn begins(whose: Sid, txns: &[Mark], committed: &[Mark]) -> Verdict {
    for (at, txn) in committed.iter().enumerate() {
        if txns.get(at) != Some(txn) {
            let has = txns.get(at);
            return Err(format!("{txn:?} is committed, leader {whose} has {has:?} there"));
        }
    }
    Ok(committed.len())
}

/// Each txn is committed behind the last one, and a leader that broadcasts has committed them all.
pub fn committed_log_monotonicity(view: &View) -> Verdict {
    for two in view.committed.windows(2) {
        let (last, next) = (two[0].0, two[1].0);
        let begins_epoch = next.epoch() > last.epoch() && next.counter() == 1;
        if next != last.next() && !begins_epoch {
            return Err(format!("{next} is committed behind {last}"));
        }
    }
    match leader(view).filter(|(_, leader)| leader.broadcasts()) {
        Some((sid, leader)) => begins(sid, &leader.delivered, &view.committed),
        None => Ok(0),
    }
}

/// Who leads has everything that is committed, as soon as a quorum has promised.
pub fn leader_log_completeness(view: &View) -> Verdict {
    leader(view).map_or(Ok(0), |(sid, leader)| begins(sid, &leader.history, &view.committed))
}

/// What a new leader cuts off a log is committed nowhere, before and after. What a wiped member has
/// lost is not cut, but missing.
///
/// A leader also cuts off what it has proposed itself and not committed, if a follower comes back
/// with it: it comes again behind NEWLEADER, and may be committed meanwhile by those that still
/// have it. The follower's old ACK has ended with its connection and counts no more. So that is
/// allowed here, where the specification only asks what is committed at that moment.
pub fn committed_log_durability(view: &View) -> Verdict {
    let committed: BTreeSet<_> = view.committed.iter().collect();
    let by_new_leaders = || view.cuts.iter().filter(|cut| cut.txn.0.epoch() < cut.epoch);
    match by_new_leaders().find(|cut| committed.contains(&cut.txn)) {
        Some(Cut { sid, txn, .. }) => Err(format!("{sid} has cut off {txn:?}, which is committed")),
        None => Ok(by_new_leaders().count()),
    }
}

#[test]
fn committed_log_monotonicity_holds() {
    holds("CommittedLogMonotonicity");
}

#[test]
fn committed_log_monotonicity_can_be_violated() {
    let late = |view: &mut View| view.committed.swap(0, 1);
    rejects(committed_log_monotonicity, late, "is committed behind");
    let back = |view: &mut View| {
        let (leader, _) = leader_and_follower(view);
        view.members.get_mut(&leader).unwrap().delivered.pop();
    };
    rejects(committed_log_monotonicity, back, "has None there");
}

#[test]
fn leader_log_completeness_holds() {
    holds("LeaderLogCompleteness");
}

#[test]
fn leader_log_completeness_can_be_violated() {
    let spoil = |view: &mut View| {
        let (leader, _) = leader_and_follower(view);
        view.members.get_mut(&leader).unwrap().history.remove(1);
    };
    rejects(leader_log_completeness, spoil, "is committed, leader");
}

#[test]
fn committed_log_durability_holds() {
    holds("CommittedLogDurability");
}

#[test]
fn committed_log_durability_can_be_violated() {
    let spoil = |view: &mut View| {
        view.cuts.push(Cut { sid: Sid(1), epoch: Epoch(2), txn: view.committed[1] });
    };
    rejects(committed_log_durability, spoil, "which is committed");
}
