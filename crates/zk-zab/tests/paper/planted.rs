//! Rules that a follower does not keep, and what it does then: the invariants of this folder would
//! say so.

use zk_proto::election::{Notification, ServerState};
use zk_proto::quorum::FromLeader;
use zk_proto::{Epoch, Sid};
use zk_zab::learner::Output as Learn;
use zk_zab::peer::{History, Peer, Turn, Wants};
use zk_zab::{Configs, Planted};

use super::machines::{ensemble, z};
use super::options::options;

/// Follower 1 of two, with 5 txns of epoch 1, that follows 2 in epoch 2.
fn following(fault: Option<Planted>) -> Peer {
    let mut peer = Peer::new(options(), Configs::new(ensemble(2)));
    fault.into_iter().for_each(|fault| peer.plant(fault));
    let vote = Notification {
        state: ServerState::Looking,
        leader: Sid(2),
        zxid: z(1, 5),
        election_epoch: 1,
        peer_epoch: 1,
        version: 2,
        config: None,
    };
    let (accepted_epoch, current_epoch, last_zxid) = (Epoch(1), Epoch(1), z(1, 5));
    let history = History { accepted_epoch, current_epoch, last_zxid, ..History::default() };
    let mut wants = Wants::default();
    peer.heard_vote(0, Sid(2), &vote, &mut wants);
    peer.look(0, history, &mut wants);
    assert_eq!(wants.turn, Some(Turn::Join(Sid(2))));
    peer.joined(0, Sid(2), &mut wants);
    peer.heard_leader(0, FromLeader::LeaderInfo(Epoch(2)), &mut wants);
    peer.accepted_written(0, Epoch(2), &mut wants);
    peer.heard_leader(0, FromLeader::Diff(z(1, 5)), &mut wants);
    peer.heard_leader(0, FromLeader::NewLeader { zxid: z(2, 0), config: None }, &mut wants);
    peer.current_written(0, Epoch(2), &mut wants);
    peer.heard_leader(0, FromLeader::UpToDate, &mut wants);
    assert!(peer.is_serving());
    peer
}

/// Whether it appends a proposal behind a hole.
fn takes_a_gap(fault: Option<Planted>) -> bool {
    let (mut peer, txn) = (following(fault), super::world::txn_of(z(2, 2), 1));
    let mut wants = Wants::default();
    peer.heard_leader(0, FromLeader::Proposal { zxid: z(2, 2), txn: &txn }, &mut wants);
    wants.learn.iter().any(|output| matches!(output, Learn::Append { .. }))
}

#[test]
fn a_follower_that_takes_gaps_is_noticed() {
    assert!(!takes_a_gap(None));
    assert!(takes_a_gap(Some(Planted::TakesGaps)));
}

/// Whether it delivers its oldest proposal at the COMMIT of another one.
fn takes_any_commit(fault: Option<Planted>) -> bool {
    let mut peer = following(fault);
    let txns = [1, 2].map(|counter| (z(2, counter), super::world::txn_of(z(2, counter), 1)));
    let mut wants = Wants::default();
    for (zxid, txn) in &txns {
        peer.heard_leader(0, FromLeader::Proposal { zxid: *zxid, txn }, &mut wants);
    }
    peer.logged(z(2, 2), &mut wants);
    peer.heard_leader(0, FromLeader::Commit(z(2, 2)), &mut wants);
    wants.learn.contains(&Learn::Apply(z(2, 1)))
}

#[test]
fn a_follower_that_takes_any_commit_is_noticed() {
    assert!(!takes_any_commit(None));
    assert!(takes_any_commit(Some(Planted::TakesAnyCommit)));
}
