//! Phase 1: a quorum promises an epoch that is later than all before it.

use zk_proto::Epoch;
use zk_proto::quorum::{FromLeader, FromLearner};
use zk_zab::leader::{LinkId, Output as Lead, Refusal};
use zk_zab::learner::{Leave, Output as Learn};

use super::machines::{Life, Reign, z};

/// l.1.1: NEWEPOCH(e') goes out when a quorum has sent CEPOCH, and e' is later than all of these.
#[test]
fn l_1_1_the_new_epoch_is_later_than_all_that_a_quorum_has_promised() {
    let mut reign = Reign::of(5);
    reign.comes(1, Epoch(7));
    assert_eq!(reign.wants(), [], "two of five are no quorum");
    reign.comes(2, Epoch(4));
    assert_eq!(reign.wants(), [Lead::WriteAccepted(Epoch(8))]);
    reign.leader.accepted_written(0, &mut reign.out);
    let told = |sid| Lead::Send { to: LinkId(sid), packet: FromLeader::LeaderInfo(Epoch(8)) };
    assert_eq!(reign.wants(), [told(1), told(2)]);
}

/// f.1.1: who has promised less promises e', durably and before it says so.
#[test]
fn f_1_1_a_promise_is_given_once_it_is_on_disk() {
    let mut life = Life::with_promise(1);
    life.out.clear();
    life.hears(FromLeader::LeaderInfo(Epoch(2)));
    assert_eq!(life.wants(), [Learn::WriteAccepted(Epoch(2))]);
    life.learner.accepted_written(&mut life.out);
    assert!(matches!(life.wants()[..], [Learn::Send(FromLearner::AckEpoch { .. })]));
}

/// f.1.1: nobody promises an epoch that is not later than its last promise. What was promised
/// before may be heard again, but not as a promise.
#[test]
fn f_1_1_no_older_epoch_is_promised_and_none_twice() {
    let mut life = Life::with_promise(4);
    life.out.clear();
    life.hears(FromLeader::LeaderInfo(Epoch(3)));
    assert_eq!(life.leaves(), Leave::OldEpoch { leaders: 3, promised: 4 });
    let mut again = Life::with_promise(4);
    again.out.clear();
    again.hears(FromLeader::LeaderInfo(Epoch(4)));
    let said = FromLearner::AckEpoch { last_zxid: z(1, 5), current_epoch: None };
    assert_eq!(again.wants(), [Learn::Send(said)]);
}

/// l.1.2: the initial history is at least as recent as that of each follower of the quorum, first
/// by f.a, then by the last zxid. The leader has it already; whoever has a better one is no part of
/// the quorum.
#[test]
fn l_1_2_the_initial_history_is_the_most_recent_of_a_quorum() {
    for (zxid, current, is_behind) in
        [(z(1, 4), 1, true), (z(1, 5), 1, true), (z(1, 6), 1, false), (z(1, 1), 2, false)]
    {
        let mut reign = Reign::of(3);
        reign.comes(1, Epoch(2));
        reign.leader.accepted_written(0, &mut reign.out);
        reign.out.clear();
        reign.promises(1, zxid, Some(Epoch(current)));
        let ahead = Refusal::Ahead { epoch: current, zxid };
        let want = match is_behind {
            true => Lead::WriteCurrent(Epoch(3)),
            false => Lead::Close { link: LinkId(1), why: ahead },
        };
        assert_eq!(reign.wants(), [want]);
    }
}

/// ACK-E tells the history as it is: f.a and the last zxid are those on the disk, and promising
/// changes neither.
#[test]
fn ack_e_does_not_alter_the_history() {
    let mut life = Life::with_promise(1);
    life.hears(FromLeader::LeaderInfo(Epoch(2)));
    life.learner.accepted_written(&mut life.out);
    let said = FromLearner::AckEpoch { last_zxid: z(1, 5), current_epoch: Some(Epoch(1)) };
    let wants = life.wants();
    assert_eq!(wants.last(), Some(&Learn::Send(said)));
    let changes = |output: &&Learn<'_>| {
        matches!(output, Learn::Append { .. } | Learn::Truncate(_) | Learn::WriteCurrent(_))
    };
    assert_eq!(wants.iter().find(changes), None);
}
