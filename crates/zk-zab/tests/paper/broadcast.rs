//! Phase 3: proposals in one order, committed by quorums.

use std::collections::BTreeSet;

use zk_proto::quorum::FromLeader;
use zk_proto::{Epoch, Sid};
use zk_zab::leader::{LinkId, Output as Lead, Plan};
use zk_zab::learner::Output as Learn;

use super::machines::{Life, Reign, ack, ensemble, z};

/// l.3.1: who is not established proposes nothing.
#[test]
fn l_3_1_nothing_is_proposed_before_the_leader_is_established() {
    let mut reign = Reign::of(3);
    reign.comes(1, Epoch(1));
    reign.leader.accepted_written(0, &mut reign.out);
    reign.promises(1, z(1, 5), Some(Epoch(1)));
    reign.leader.current_written(0, &mut reign.out);
    reign.wants();
    reign.proposes(z(2, 1));
    reign.logs(z(2, 1));
    assert_eq!(reign.wants(), []);
}

/// l.3.2: a txn is committed when a quorum has accepted it, the leader's own disk among them, and
/// in the order of the zxids.
#[test]
fn l_3_2_a_txn_is_committed_by_a_quorum_of_disks_and_in_order() {
    let mut reign = Reign::established();
    reign.proposes(z(2, 1));
    reign.proposes(z(2, 2));
    reign.acks(1, z(2, 1));
    assert_eq!(reign.commits(), [], "not on the own disk");
    reign.logs(z(2, 2));
    assert_eq!(reign.commits(), [z(2, 1)], "one disk is no quorum for the second");
    reign.acks(1, z(2, 2));
    assert_eq!(reign.commits(), [z(2, 2)]);
}

/// The same while members change: a txn that changes the ensemble, and each behind it, needs a
/// quorum of the new one, too. The paper knows no such txn; quorums of both are what makes two
/// quorums meet.
#[test]
fn l_3_2_during_a_change_of_the_ensemble_both_quorums_are_needed() {
    let mut reign = Reign::established();
    let mut next = ensemble(5);
    next.members.retain(|sid, _| [Sid(3), Sid(4), Sid(5)].contains(sid));
    assert!(!next.has_quorum(&BTreeSet::from([Sid(1), Sid(3)])));
    reign.leader.reconfigure(0, z(2, 1), next, &mut reign.out);
    reign.logs(z(2, 1));
    reign.acks(1, z(2, 1));
    assert_eq!(reign.commits(), [], "1 and 3 are a quorum of the old ensemble only");
}

/// f.3.1: a follower accepts each proposal in the order of the zxids; its ACK means that it is on
/// disk.
#[test]
fn f_3_1_a_proposal_is_acknowledged_when_it_is_on_disk() {
    let mut life = Life::following();
    life.proposal(z(2, 1));
    life.proposal(z(2, 2));
    assert_eq!(life.accepts(), [z(2, 1), z(2, 2)]);
    life.logs(z(2, 1));
    assert_eq!(life.wants(), [ack(z(2, 1))]);
    life.logs(z(2, 2));
    assert_eq!(life.wants(), [ack(z(2, 2))]);
}

/// f.3.2: a follower delivers a txn when it is committed, and never before.
#[test]
fn f_3_2_nothing_is_delivered_before_it_is_committed() {
    let mut life = Life::following();
    life.proposal(z(2, 1));
    life.proposal(z(2, 2));
    life.logs(z(2, 2));
    let delivers = |output: &Learn<'_>| matches!(output, Learn::Apply(_));
    assert!(!life.wants().iter().any(delivers));
    life.commit(z(2, 1));
    assert_eq!(life.wants(), [Learn::Apply(z(2, 1))]);
}

/// f.3.2: COMMITs come in order; one of a later txn delivers nothing.
#[test]
fn f_3_2_txns_are_delivered_in_order() {
    let mut life = Life::following();
    life.proposal(z(2, 1));
    life.proposal(z(2, 2));
    life.logs(z(2, 2));
    life.wants();
    life.commit(z(2, 2));
    assert!(matches!(life.wants()[..], [Learn::Leave(_)]));
}

/// l.3.3 and l.3.4: a follower that comes to an established leader gets the initial history and all
/// that was broadcast since, then NEWLEADER, and counts when it has acknowledged that.
#[test]
fn l_3_3_who_comes_late_gets_everything_and_counts_then() {
    let mut reign = Reign::established();
    for counter in [1, 2] {
        reign.proposes(z(2, counter));
        reign.logs(z(2, counter));
    }
    reign.acks(1, z(2, 1));
    reign.comes(2, Epoch(1));
    reign.wants();
    reign.promises(2, z(1, 3), Some(Epoch(1)));
    let wants = reign.wants();
    let plan = Plan::Window(z(1, 3));
    assert_eq!(wants[0], Lead::Synchronize { link: LinkId(2), plan });
    let is_newleader = |output: &Lead<'_>| matches!(output, Lead::Send { packet: FromLeader::NewLeader { zxid, .. }, .. } if *zxid == z(2, 0));
    assert!(is_newleader(&wants[1]), "{wants:?}");
    let [Lead::Propose { zxid, .. }] = wants[2..] else { panic!("{wants:?}") };
    assert_eq!(zxid, z(2, 2), "what is not committed follows as what it is");
    reign.acks(2, z(2, 2));
    assert_eq!(reign.commits(), [], "it has not acknowledged NEWLEADER");
    reign.acks(2, z(2, 0));
    let told = Lead::Send { to: LinkId(2), packet: FromLeader::UpToDate };
    assert_eq!(reign.wants(), [told]);
    reign.acks(2, z(2, 2));
    assert_eq!(reign.commits(), [z(2, 2)]);
}
