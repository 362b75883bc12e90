//! `ShouldNotBeTriggered` (`CheckDuringAction` in the system specification): no packet comes to
//! somebody who cannot have been meant.
//!
//! The five branches are those of [`Branch`]. In the specification they are looked at by the
//! actions; here the machines do that themselves, and end the connection: a learner leaves, a
//! leader closes. Only ACKs are not looked at by the leader, which ignores odd ones (followers of
//! 3.8 send some); the world does that. What ends a connection by design is no violation in the
//! specification either: `FollowerShutdown` at a LEADERINFO of an older epoch, `LeaderShutdown` at
//! a follower that is ahead.

use zk_proto::quorum::{FromLeader, FromLearner};
use zk_proto::{Epoch, Sid, Zxid};
use zk_zab::Role;
use zk_zab::learner::{Arrival, Learner, Output, Silence};

use super::{Verdict, holds, rejects};
use crate::world::view::{Branch, Odd, View};

/// `\A p \in DOMAIN violatedInvariants: violatedInvariants[p] = FALSE`
pub fn should_not_be_triggered(view: &View) -> Verdict {
    match view.odd.first() {
        Some(odd) => Err(format!("{:?} at {}: {}", odd.branch, odd.sid, odd.what)),
        None => Ok(view.broadcasts.len()),
    }
}

#[test]
fn should_not_be_triggered_holds() {
    holds("ShouldNotBeTriggered");
}

#[test]
fn should_not_be_triggered_can_be_violated() {
    for branch in [Branch::State, Branch::Proposal, Branch::Commit, Branch::Ack, Branch::Message] {
        let odd = Odd { branch, sid: Sid(1), what: "spoiled".to_owned() };
        rejects(should_not_be_triggered, |view| view.odd.push(odd), &format!("{branch:?} at 1"));
    }
}

/// A learner with txns up to 0x100000005 that has promised epoch 2.
fn promised() -> Learner {
    let arrival = Arrival {
        sid: Sid(1),
        role: Role::Participant,
        config_version: 0,
        accepted_epoch: Epoch(1),
        current_epoch: Epoch(1),
        last_zxid: Zxid::new(Epoch(1), 5),
        forgets: false,
    };
    let mut out = Vec::new();
    let silence = Silence { init_ms: 1000, sync_ms: 500 };
    let mut learner = Learner::new(0, arrival, silence, &mut out);
    learner.heard(0, FromLeader::LeaderInfo(Epoch(2)), &mut out);
    learner.accepted_written(&mut out);
    learner
}

/// What the branches stand for is noticed by the machines, under that name.
#[test]
fn each_branch_is_noticed_where_it_is_triggered() {
    let [six, seven] = [6, 7].map(|counter| Zxid::new(Epoch(1), counter));
    let [sixth, seventh] = [six, seven].map(|zxid| super::world::txn_of(zxid, 1));
    let diff = || FromLeader::Diff(seven);
    fn proposal(zxid: Zxid, txn: &[u8]) -> FromLeader<'_> {
        FromLeader::Proposal { zxid, txn }
    }
    let cases = [
        (vec![FromLeader::UpToDate], Branch::State),
        (vec![FromLeader::LeaderInfo(Epoch(2))], Branch::State),
        (vec![diff(), diff()], Branch::State),
        (vec![diff(), proposal(seven, &seventh)], Branch::Proposal),
        (vec![diff(), FromLeader::Commit(six)], Branch::Commit),
        (vec![diff(), proposal(six, &sixth), FromLeader::Commit(seven)], Branch::Commit),
    ];
    for (packets, branch) in cases {
        let (mut learner, mut left) = (promised(), None);
        for packet in packets.clone() {
            let mut out = Vec::new();
            learner.heard(0, packet, &mut out);
            left = out.into_iter().find_map(|output| match output {
                Output::Leave(leave) => Some(leave),
                _ => None,
            });
        }
        let left = left.unwrap_or_else(|| panic!("{packets:?}"));
        assert_eq!(Branch::of_leave(&left), Some(branch), "{left}");
    }
    let illegal = zk_zab::leader::Refusal::Unexpected(FromLearner::Ack(six).name());
    assert_eq!(Branch::of_refusal(&illegal), Some(Branch::Message));
}
