//! The six properties of primary order broadcast, in the run by which the paper shows why total
//! order is not enough: a leader has several txns under way and dies, and the next one goes on from
//! what it knows.
//!
//! `tests/invariants` has them for all views of random worlds; here one run is told, in which they
//! could go wrong.

use std::sync::LazyLock;

use zk_proto::Sid;

use super::machines::z;
use super::world::World;
use super::world::view::{Mark, View, places};

/// Leader P of three has a and b committed, and c, d under way: c gets to Q, d to nobody. P dies.
/// Whoever leads then proposes e and f. P comes back, and everybody dies once.
static RUN: LazyLock<(View, Sid)> = LazyLock::new(|| {
    let mut world = World::of(3, 0);
    let all_serve = |view: &View| view.members.values().all(|member| member.broadcasts());
    world.until("all serve", all_serve);
    let p = world.view().leaders().next().unwrap().0;
    let others: Vec<_> = (1..=3).map(Sid).filter(|sid| *sid != p).collect();
    for _ in 0..2 {
        world.propose(p);
    }
    world.settle();
    world.isolate(others[1]);
    world.propose(p);
    // Q logs c, and dies with P before its ACK has come.
    world.deliver(p, others[0]);
    while world.view().members[&others[0]].logged.len() < 3 {
        world.complete(others[0]);
    }
    world.isolate(p);
    world.propose(p);
    world.settle();
    for sid in [p, others[1]] {
        world.kill(sid);
        world.join(sid);
    }
    world.start(others[1]);
    world.until("another leads", |view| {
        view.leaders().any(|(sid, it)| it.broadcasts() && view.learners_of(sid).count() == 1)
    });
    let next = world.view().leaders().next().unwrap().0;
    for _ in 0..2 {
        world.propose(next);
    }
    world.settle();
    world.start(p);
    world.until("all serve", all_serve);
    (world.view(), p)
});

fn delivered() -> Vec<(Sid, &'static [Mark])> {
    RUN.0.members.iter().map(|(sid, member)| (*sid, &member.delivered[..])).collect()
}

/// The run is the one that is told: c survives, d does not.
#[test]
fn the_run_is_as_told() {
    for (sid, delivered) in delivered() {
        let zxids: Vec<_> = delivered.iter().map(|txn| txn.0).collect();
        assert_eq!(zxids, [z(1, 1), z(1, 2), z(1, 3), z(2, 1), z(2, 2)], "{sid}");
    }
    let d = RUN.0.broadcasts[3].txn;
    assert_eq!(RUN.0.cuts.iter().map(|cut| (cut.sid, cut.txn)).collect::<Vec<_>>(), [(RUN.1, d)]);
}

/// Integrity: what is delivered was broadcast.
#[test]
fn integrity() {
    for txn in delivered().into_iter().flat_map(|(_, delivered)| delivered) {
        assert!(RUN.0.broadcasts.iter().any(|it| it.txn == *txn), "{txn:?}");
    }
}

/// Total order: all deliver in one order, and nobody leaves out what comes before.
#[test]
fn total_order() {
    let all = delivered();
    for (sid, delivered) in &all {
        assert_eq!(*delivered, all[0].1, "{sid}");
    }
}

/// Agreement: of two txns that two members deliver, one of the members delivers both.
#[test]
fn agreement() {
    for (_, these) in delivered() {
        for (_, those) in delivered() {
            let has_all = |some: &[Mark], other: &[Mark]| some.iter().all(|it| other.contains(it));
            assert!(has_all(these, those) || has_all(those, these));
        }
    }
}

/// Local primary order: what one leader broadcasts is delivered in that order, without a hole: d
/// may go because nothing behind it stays.
#[test]
fn local_primary_order() {
    for epoch in [1, 2] {
        let broadcast = RUN.0.broadcasts.iter().filter(|it| it.epoch == epoch);
        let broadcast: Vec<_> = broadcast.map(|it| it.txn).collect();
        for (sid, delivered) in delivered() {
            let of_epoch: Vec<_> =
                delivered.iter().copied().filter(|it| it.0.epoch().0 == epoch).collect();
            assert!(broadcast.starts_with(&of_epoch), "{sid}");
        }
    }
}

/// Global primary order: what an earlier leader broadcasts is delivered before what a later one
/// does.
#[test]
fn global_primary_order() {
    for (sid, delivered) in delivered() {
        let places = places(delivered);
        let at = |epoch| places.iter().filter(move |it| it.0.0.epoch().0 == epoch).map(|it| *it.1);
        assert!(at(1).max() < at(2).min(), "{sid}");
    }
}

/// Primary integrity: before the second leader broadcasts e, it has delivered all that anybody ever
/// delivers of the first, also c, of which nobody knew whether it was committed.
#[test]
fn primary_integrity() {
    let (_, at_first) = RUN.0.primaries.iter().find(|((_, epoch), _)| *epoch == 2).unwrap();
    for (sid, delivered) in delivered() {
        let earlier = delivered.iter().filter(|txn| txn.0.epoch().0 < 2);
        for txn in earlier {
            assert!(at_first.contains(txn), "{sid} has {txn:?}");
        }
    }
    assert_eq!(at_first.last().unwrap().0, z(1, 3));
}
