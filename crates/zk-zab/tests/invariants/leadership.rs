//! `Leadership1` and `Leadership2`: an epoch has one leader at most, now and ever. One leads as
//! soon as a quorum has promised it the epoch and its own `currentEpoch` is on disk
//! (SYNCHRONIZATION).

use std::collections::{BTreeMap, BTreeSet};

use zk_proto::Sid;

use super::{Verdict, holds, leader_and_follower, rejects};
use crate::world::view::View;

/// No two of those that lead now are in one epoch. The system specification compares
/// `acceptedEpoch`, the protocol specification `currentEpoch`; both must hold.
pub fn leadership1(view: &View) -> Verdict {
    let (mut current, mut accepted) = (BTreeMap::new(), BTreeMap::new());
    for (sid, leader) in view.leaders() {
        let others =
            [current.insert(leader.current.0, sid), accepted.insert(leader.accepted.0, sid)];
        if let Some(other) = others.into_iter().flatten().next() {
            return Err(format!("{other} and {sid} lead in epoch {}", leader.current.0));
        }
    }
    Ok(current.len())
}

/// No two have ever led in one epoch.
pub fn leadership2(view: &View) -> Verdict {
    for (epoch, leaders) in &view.epoch_leaders {
        if leaders.len() > 1 {
            return Err(format!("epoch {epoch} has had the leaders {leaders:?}"));
        }
    }
    Ok(view.epoch_leaders.len())
}

#[test]
fn leadership1_holds() {
    holds("Leadership1");
}

#[test]
fn leadership1_can_be_violated() {
    let spoil = |view: &mut View| {
        let (leader, follower) = leader_and_follower(view);
        view.members.insert(follower, view.members[&leader].clone());
    };
    rejects(leadership1, spoil, "lead in epoch 2");
}

#[test]
fn leadership2_holds() {
    holds("Leadership2");
}

#[test]
fn leadership2_can_be_violated() {
    let spoil = |view: &mut View| {
        let leaders: BTreeSet<Sid> = [Sid(1), Sid(2), Sid(3)].into();
        view.epoch_leaders.insert(1, leaders);
    };
    rejects(leadership2, spoil, "epoch 1 has had");
}
