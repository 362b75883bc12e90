//! Phase 2: a quorum takes the initial history, and with it enters the epoch.

use zk_proto::Epoch;
use zk_proto::quorum::FromLeader;
use zk_zab::leader::{LinkId, Output as Lead};
use zk_zab::learner::{Leave, Output as Learn};

use super::machines::{Life, Reign, ack, z};

/// f.2.1: NEWLEADER(e') of an epoch that was not promised to this leader ends the iteration.
#[test]
fn f_2_1_newleader_counts_only_in_the_promised_epoch() {
    for epoch in [1, 3] {
        let mut life = Life::promised();
        life.hears(FromLeader::Diff(z(1, 5)));
        life.new_leader(epoch);
        assert_eq!(life.leaves(), Leave::Gap { last: z(2, 0), next: z(epoch, 0) });
    }
}

/// f.2.1: the ACK of NEWLEADER means that the whole initial history is accepted, durably, and f.a
/// with it. The paper does both at once; here the history comes first, so that who is stopped in
/// between has not entered.
#[test]
fn f_2_1_the_ack_of_newleader_follows_the_durable_history() {
    let mut life = Life::promised();
    life.hears(FromLeader::Diff(z(1, 7)));
    for counter in [6, 7] {
        life.proposal(z(1, counter));
        life.commit(z(1, counter));
    }
    life.new_leader(2);
    assert_eq!(life.accepts(), [z(1, 6), z(1, 7)]);
    life.logs(z(1, 6));
    assert_eq!(life.wants(), [], "one of two is on disk");
    life.logs(z(1, 7));
    assert_eq!(life.wants(), [Learn::WriteCurrent(Epoch(2))]);
    life.learner.current_written(&mut life.out);
    assert_eq!(life.wants()[0], ack(z(2, 0)));
}

/// l.2.2: COMMIT-LD goes out when a quorum has acknowledged NEWLEADER; the leader itself counts
/// from the moment on in which its f.a is on disk.
#[test]
fn l_2_2_a_leader_is_established_by_a_quorum_of_acks() {
    let mut reign = Reign::of(5);
    for sid in [1, 2] {
        reign.comes(sid, Epoch(1));
    }
    reign.leader.accepted_written(0, &mut reign.out);
    for sid in [1, 2] {
        reign.promises(sid, z(1, 5), Some(Epoch(1)));
    }
    // An ACK that comes before NEWLEADER was sent acknowledges nothing.
    assert!(!reign.leader.is_leading());
    reign.leader.current_written(0, &mut reign.out);
    reign.wants();
    reign.acks(1, z(2, 0));
    assert_eq!(reign.wants(), [], "two of five are no quorum");
    reign.acks(2, z(1, 0));
    assert_eq!(reign.wants(), [], "of another epoch");
    reign.acks(2, z(2, 0));
    let told = |sid| Lead::Send { to: LinkId(sid), packet: FromLeader::UpToDate };
    assert_eq!(reign.wants(), [Lead::Lead(Epoch(2)), told(1), told(2)]);
}

/// f.2.2: a follower delivers the initial history when COMMIT-LD comes, all of it and in order;
/// nobody is served from it before.
#[test]
fn f_2_2_the_initial_history_is_delivered_at_commit_ld() {
    let mut life = Life::promised();
    life.hears(FromLeader::Diff(z(1, 6)));
    life.proposal(z(1, 6));
    life.commit(z(1, 6));
    life.new_leader(2);
    life.logs(z(1, 6));
    life.learner.current_written(&mut life.out);
    assert!(!life.learner.is_serving());
    let wants = life.wants();
    assert!(!wants.contains(&Learn::Serve), "{wants:?}");
    assert_eq!(wants.last(), Some(&Learn::Apply(z(1, 6))));
    life.hears(FromLeader::UpToDate);
    assert!(life.wants().contains(&Learn::Serve));
}

/// NEWLEADER comes behind the initial history and not before it: who hears it first takes nothing.
#[test]
fn newleader_without_a_history_is_refused() {
    let mut life = Life::promised();
    life.new_leader(2);
    assert!(matches!(life.leaves(), Leave::Unexpected { .. }));
}
