//! The invariants on which the paper's proofs rest: what a follower accepts, in which epoch, and
//! what the phases do to histories.

use zk_proto::quorum::FromLeader;
use zk_proto::{Epoch, Sid};
use zk_zab::learner::{Leave, Output as Learn};

use super::machines::{Life, z};
use super::world::World;
use super::world::view::{Mark, View};

/// A follower accepts a proposal of epoch e only while e is its f.a: not while it synchronises, not
/// before its f.a is on disk, and none of another epoch afterwards.
#[test]
fn a_proposal_is_accepted_only_in_the_own_epoch() {
    let mut life = Life::promised();
    life.hears(FromLeader::Diff(z(1, 5)));
    life.new_leader(2);
    life.proposal(z(2, 1));
    assert_eq!(life.accepts(), [], "f.a is not on disk");
    life.learner.current_written(&mut life.out);
    assert_eq!(life.accepts(), [], "the leader is not established");
    life.hears(FromLeader::UpToDate);
    assert_eq!(life.accepts(), [z(2, 1)]);
    for other in [z(3, 1), z(1, 6)] {
        let mut life = Life::following();
        life.proposal(other);
        assert_eq!(life.leaves(), Leave::Gap { last: z(1, 5), next: other });
    }
    let mut life = Life::promised();
    life.hears(FromLeader::Diff(z(3, 1)));
    life.proposal(z(3, 1));
    assert_eq!(life.leaves(), Leave::Gap { last: z(1, 5), next: z(3, 1) });
}

/// While f.a is e, a follower accepts and delivers in the order of the zxids: none is left out,
/// none comes twice.
#[test]
fn a_follower_accepts_and_delivers_in_order() {
    for next in [z(2, 1), z(2, 3), z(2, 0)] {
        let mut life = Life::following();
        life.proposal(z(2, 1));
        life.wants();
        life.proposal(next);
        assert_eq!(life.leaves(), Leave::Gap { last: z(2, 1), next });
    }
    let mut life = Life::following();
    for counter in [1, 2, 3] {
        life.proposal(z(2, counter));
    }
    life.logs(z(2, 3));
    life.wants();
    for counter in [1, 2, 3] {
        life.commit(z(2, counter));
    }
    assert_eq!(life.wants(), [1, 2, 3].map(|counter| Learn::Apply(z(2, counter))));
}

/// A follower that has promised e' accepts nothing of an earlier epoch: it is with one leader at a
/// time, whose epoch it has promised, and takes no proposal before that leader's history.
#[test]
fn who_has_promised_accepts_nothing_of_an_earlier_epoch() {
    let mut life = Life::promised();
    life.proposal(z(1, 6));
    assert!(matches!(life.leaves(), Leave::Unexpected { .. }));
    let mut later = Life::with_promise(3);
    later.out.clear();
    later.hears(FromLeader::LeaderInfo(Epoch(2)));
    assert_eq!(later.leaves(), Leave::OldEpoch { leaders: 2, promised: 3 });
    later.hears(FromLeader::Diff(z(1, 6)));
    later.proposal(z(1, 6));
    assert_eq!(later.wants(), []);
}

/// What the leader and one that synchronises with it have in the end.
fn synchronised(make: impl FnOnce(&mut World, Sid, Sid)) -> (Vec<Mark>, Vec<Mark>, View) {
    let mut world = World::of(3, 0);
    let all_serve = |view: &View| view.members.values().all(|member| member.broadcasts());
    world.until("all serve", all_serve);
    let leader = world.view().leaders().next().unwrap().0;
    let other = world.view().learners_of(leader).next().unwrap().0;
    for _ in 0..3 {
        world.propose(leader);
    }
    world.settle();
    make(&mut world, leader, other);
    world.until("all serve again", all_serve);
    let view = world.view();
    let leader = view.leaders().next().unwrap().1.logged.clone();
    (leader, view.members[&other].logged.clone(), view)
}

/// NEWLEADER neither alters nor reorders nor loses anything of the initial history, by DIFF out of
/// the window or the log, or by SNAP.
#[test]
fn newleader_does_not_alter_the_history() {
    for missed in [0, 1, 3, 20] {
        let (leader, other, _) = synchronised(|world, leader, other| {
            world.kill(other);
            for _ in 0..missed {
                world.propose(leader);
            }
            world.settle();
            world.start(other);
        });
        assert_eq!(leader.len(), 3 + missed);
        assert_eq!(leader, other);
    }
}

/// Nor by TRUNC: what goes is what the initial history has not.
#[test]
fn trunc_takes_only_what_the_initial_history_has_not() {
    let (leader, other, view) = synchronised(|world, leader, _| {
        world.isolate(leader);
        world.propose(leader);
        world.settle();
        world.kill(leader);
        world.join(leader);
        world.until("another leads", |view| view.leaders().any(|(_, it)| it.broadcasts()));
        world.start(leader);
    });
    assert_eq!(leader.len(), 3);
    assert_eq!(leader, other);
    assert_eq!(view.cuts.len(), 1);
    assert_eq!(view.cuts[0].txn.0, z(1, 4));
}

/// What a follower delivers in the broadcast of epoch e is a prefix of what the leader of e
/// broadcasts.
#[test]
fn what_is_delivered_in_an_epoch_was_broadcast_in_it() {
    let (_, _, view) = synchronised(|world, leader, _| {
        world.kill(leader);
        world.until("another leads", |view| view.leaders().any(|(_, it)| it.broadcasts()));
        let next = world.view().leaders().next().unwrap().0;
        for _ in 0..2 {
            world.propose(next);
        }
        world.settle();
        world.start(leader);
    });
    for epoch in [1, 2] {
        let of_epoch = view.broadcasts.iter().filter(|it| it.epoch == epoch);
        let (sids, broadcast): (Vec<_>, Vec<_>) = of_epoch.map(|it| (it.sid, it.txn)).unzip();
        assert!(!broadcast.is_empty() && sids.iter().all(|sid| *sid == sids[0]));
        for member in view.members.values() {
            let delivered = member.delivered.iter().copied();
            let delivered: Vec<_> = delivered.filter(|it| it.0.epoch().0 == epoch).collect();
            assert!(!delivered.is_empty() && broadcast.starts_with(&delivered));
        }
    }
}
