//! The claims: one established leader for each epoch, and what its initial history must hold.

use zk_proto::quorum::FromLeader;
use zk_proto::{Epoch, Sid};
use zk_zab::leader::{LinkId, Output as Lead};

use super::machines::{Reign, z};
use super::world::World;
use super::world::view::{Mark, View};

/// At most one leader is established in an epoch: its quorum has promised it the epoch, and a
/// second leader of the same epoch only hears that the promise is given.
#[test]
fn an_epoch_is_entered_by_one_leader_at_most() {
    let promised_to = |is_first: bool| {
        let mut reign = Reign::of(3);
        reign.comes(1, Epoch(1));
        reign.leader.accepted_written(0, &mut reign.out);
        let told = Lead::Send { to: LinkId(1), packet: FromLeader::LeaderInfo(Epoch(2)) };
        assert_eq!(reign.wants(), [Lead::WriteAccepted(Epoch(2)), told]);
        reign.promises(1, z(1, 5), is_first.then_some(Epoch(1)));
        reign.wants()
    };
    assert_eq!(promised_to(true), [Lead::WriteCurrent(Epoch(2))]);
    assert_eq!(promised_to(false), [], "it has promised the epoch to another one");
}

fn serving(view: &View) -> bool {
    view.leaders().any(|(sid, leader)| {
        leader.broadcasts() && view.learners_of(sid).any(|(_, it)| it.follows() && it.broadcasts())
    })
}

fn leader(world: &World) -> Sid {
    world.view().leaders().next().unwrap().0
}

/// An ensemble of five whose first leader has two txns committed by everybody.
fn five() -> (World, Sid, Vec<Sid>) {
    let mut world = World::of(5, 0);
    world.until("all serve", |view| view.members.values().all(|member| member.broadcasts()));
    let first = leader(&world);
    for _ in 0..2 {
        world.propose(first);
    }
    world.settle();
    let others = (1..=5).map(Sid).filter(|sid| *sid != first).collect();
    (world, first, others)
}

/// The initial history of whoever leads when these are dead.
fn initial_history(world: &mut World, dead: &[Sid]) -> Vec<Mark> {
    dead.iter().for_each(|sid| world.kill(*sid));
    world.until("somebody leads", serving);
    world.view().leaders().next().unwrap().1.history.clone()
}

/// What is committed in e is in the initial history of each later epoch, whoever is left: here only
/// three of five have it, and two of these die.
#[test]
fn what_is_committed_is_in_every_later_initial_history() {
    let pairs =
        |others: &[Sid]| -> Vec<Vec<Sid>> { others.iter().map(|dead| vec![*dead]).collect() };
    let (_, _, others) = five();
    for dead in pairs(&others) {
        let (mut world, first, others) = five();
        // These two hear nothing of it.
        others[2..].iter().for_each(|sid| world.isolate(*sid));
        world.propose(first);
        world.settle();
        let committed = world.view().committed;
        assert_eq!(committed.len(), 3, "three of five are a quorum");
        let all = [&dead[..], &[first]].concat();
        all.iter().for_each(|sid| world.kill(*sid));
        others[2..].iter().for_each(|sid| world.join(*sid));
        let history = initial_history(&mut world, &[]);
        assert_eq!(history, committed, "without {all:?}");
    }
}

/// The initial history of an epoch begins with that of each earlier one.
#[test]
fn an_initial_history_begins_with_the_earlier_ones() {
    let (mut world, first, _) = five();
    let mut before: Vec<Mark> = Vec::new();
    let mut dead = first;
    for _ in 0..4 {
        let history = initial_history(&mut world, &[dead]);
        assert!(history.len() > before.len() && history.starts_with(&before), "{history:?}");
        before = history;
        world.start(dead);
        dead = leader(&world);
        world.propose(dead);
        world.settle();
    }
    assert_eq!(world.view().epoch_leaders.len(), 5);
}

/// A txn that is not in an initial history is skipped for ever: its leader comes back with it, and
/// loses it, also when it leads again.
#[test]
fn what_was_skipped_never_comes_back() {
    let (mut world, first, others) = five();
    world.isolate(first);
    world.propose(first);
    world.settle();
    let skipped = *world.view().members[&first].logged.last().unwrap();
    world.kill(first);
    world.join(first);
    let history = initial_history(&mut world, &[]);
    assert!(!history.contains(&skipped));
    world.start(first);
    world.until("all serve", |view| view.members.values().all(|member| member.broadcasts()));
    world.propose(leader(&world));
    world.settle();
    // Two of the others die, and it is needed for a quorum.
    let history = initial_history(&mut world, &others[2..]);
    let view = world.view();
    assert!(!history.contains(&skipped) && !view.committed.contains(&skipped));
    assert!(!view.members[&first].logged.contains(&skipped));
}

/// What may have been committed is: a txn that a survivor of the quorum has accepted is in the
/// initial history, although no survivor knows that it was committed.
#[test]
fn what_may_have_been_committed_is_in_the_initial_history() {
    let (mut world, first, others) = five();
    others[1..].iter().for_each(|sid| world.isolate(*sid));
    world.propose(first);
    world.settle();
    assert_eq!(world.view().committed.len(), 2, "two of five are no quorum");
    let maybe = *world.view().members[&others[0]].logged.last().unwrap();
    assert_eq!(maybe.0, z(1, 3));
    world.kill(first);
    others[1..].iter().for_each(|sid| world.join(*sid));
    let history = initial_history(&mut world, &[]);
    assert!(history.contains(&maybe));
}

/// Liveness: when a quorum is up, has one leader and hears of it in time, what it proposes is
/// delivered by all of them.
#[test]
fn what_a_leader_with_a_quorum_proposes_is_delivered() {
    let (mut world, first, others) = five();
    let dead = [first, others[0]];
    initial_history(&mut world, &dead);
    world.propose(leader(&world));
    world.until("all deliver it", |view| {
        let up = view.members.iter().filter(|(sid, _)| !dead.contains(sid));
        let mut delivered = up.map(|(_, member)| member.delivered.len());
        delivered.all(|count| count == 3)
    });
}
