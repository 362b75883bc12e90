//! Rule R5: a member that was wiped votes again when a working ensemble has given it everything.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[allow(dead_code, reason = "other tests use the rest")]
mod world;

use world::World;
use world::view::View;
use zk_proto::Sid;

/// Twice `syncLimit` and two ticks, of the members of these worlds.
const SURE_AFTER_MS: u64 = 2 * (500 + 100);

fn leads(view: &View, sid: Sid) -> bool {
    view.leaders().any(|(leader, it)| leader == sid && it.broadcasts())
}

/// A leads. B's connections to it break, which A does not notice, and C restarts: B and C elect B,
/// and commit a txn. Then C is wiped, and finds A, who still believes that it leads. If A's history
/// made C vote again, A and C would be a quorum without that txn.
#[test]
fn a_leader_that_is_none_any_more_mends_nobody() {
    let mut world = World::of(3, 0);
    world.until("all serve", |view| view.members.values().all(|member| member.broadcasts()));
    let a = world.view().leaders().next().unwrap().0;
    let others: Vec<_> = [1, 2, 3].map(Sid).into_iter().filter(|sid| *sid != a).collect();
    let (c, b) = (others[0], others[1]);
    world.propose(a);
    world.settle();
    world.part(b, a);
    world.kill(c);
    world.start(c);
    world.until("B leads", |view| leads(view, b));
    world.propose(b);
    world.settle();
    assert_eq!(world.view().committed.len(), 2);
    assert!(leads(&world.view(), a), "A believes that it leads");
    // The world looks whether C has the txn of B when it votes again.
    world.part(c, b);
    world.wipe(c);
    world.start(c);
    for _ in 0..200 {
        world.settle();
        world.pass(10);
    }
    assert!(!leads(&world.view(), a), "A has noticed by now");
    assert_eq!(world.mended, 0);
    world.join_all();
    world.until("C serves", |view| view.members[&c].broadcasts());
    assert_eq!(world.mended, 1);
    assert_eq!(world.view().members[&c].delivered, world.view().committed);
}

/// What a leader commits that it had not proposed when it last said what it has was logged by a
/// quorum since: nobody need wait until a leader without one would have noticed.
#[test]
fn a_txn_more_shows_that_its_leader_has_a_quorum() {
    let mut world = World::of(3, 0);
    world.until("all serve", |view| view.members.values().all(|member| member.broadcasts()));
    let a = world.view().leaders().next().unwrap().0;
    let c = [1, 2, 3].map(Sid).into_iter().find(|sid| *sid != a).unwrap();
    world.propose(a);
    world.settle();
    world.kill(c);
    world.wipe(c);
    world.start(c);
    // Half of the time after which it would be sure anyway.
    for _ in 0..SURE_AFTER_MS / 20 {
        world.settle();
        world.pass(10);
    }
    assert_eq!(world.mended, 0, "nothing shows it");
    world.propose(a);
    world.settle();
    assert_eq!(world.mended, 1);
}
