//! The invariants of Apache's TLA+ specifications, one function each over a view of the whole
//! world: `protocol-spec/Zab.tla`, `system-spec/zk-3.7/ZkV3_7_0.tla` and, where said, those that
//! the authors check after each action of their test specification (`ZkV3_4_10.tla`). Each is
//! checked after every step of random worlds of the real machines, and each is shown a view of a
//! real world that was spoiled in the way that it forbids.
//!
//! The specifications know neither observers nor reconfigurations nor lost disks; the worlds do.
//! Where a statement is about followers, it is checked of whatever it also holds for, and the file
//! says what that is. What a learner applies before UPTODATE is not delivered: it may never be
//! committed, and nobody is served from it.
//!
//! `ZKFLEET_ZAB_SEEDS=n` runs that many worlds for each invariant (100), `ZKFLEET_ZAB_FROM=s` from
//! another seed than 0.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../world/mod.rs"]
mod world;

mod agreement;
mod committed_log;
mod global_primary_order;
mod integrity;
mod leadership;
mod local_primary_order;
#[cfg(feature = "planted")]
mod planted;
mod prefix_consistency;
mod primary_integrity;
mod process_consistency;
mod reached;
mod should_not_be_triggered;
mod total_order;
mod type_ok;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use world::World;
use world::view::View;

/// What an invariant says of a view: to how many cases it applied, or which one is wrong.
pub type Verdict = Result<usize, String>;

pub type Invariant = fn(&View) -> Verdict;

/// All of them, by Apache's names. `PrimaryIntegrity` is there as the specification and as the
/// paper have it.
pub const INVARIANTS: [(&str, Invariant); 16] = [
    ("ShouldNotBeTriggered", should_not_be_triggered::should_not_be_triggered),
    ("Leadership1", leadership::leadership1),
    ("Leadership2", leadership::leadership2),
    ("PrefixConsistency", prefix_consistency::prefix_consistency),
    ("Integrity", integrity::integrity),
    ("Agreement", agreement::agreement),
    ("TotalOrder", total_order::total_order),
    ("LocalPrimaryOrder", local_primary_order::local_primary_order),
    ("GlobalPrimaryOrder", global_primary_order::global_primary_order),
    ("PrimaryIntegrity", primary_integrity::primary_integrity),
    ("PrimaryIntegrity of all", primary_integrity::primary_integrity_of_all),
    ("CommittedLogMonotonicity", committed_log::committed_log_monotonicity),
    ("LeaderLogCompleteness", committed_log::leader_log_completeness),
    ("CommittedLogDurability", committed_log::committed_log_durability),
    ("ProcessConsistency", process_consistency::process_consistency),
    ("TypeOK", type_ok::type_ok),
];

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What was seen in the worlds.
#[derive(Default)]
struct Seen {
    /// Of each invariant: to how many cases it applied, or where it is violated first.
    verdicts: BTreeMap<&'static str, Verdict>,
    worlds: u64,
    /// A quorum followed a leader in a later epoch than the third.
    late_epochs: u64,
}

/// The worlds are the same for all invariants, so they are made once.
static SEEN: LazyLock<Seen> = LazyLock::new(|| {
    let from = number("ZKFLEET_ZAB_FROM", 0);
    let worlds = number("ZKFLEET_ZAB_SEEDS", 100);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let mut all = Seen::default();
    std::thread::scope(|scope| {
        let some = |first| {
            scope.spawn(move || {
                let mut seen = Seen::default();
                (from + first..from + worlds)
                    .step_by(threads as usize)
                    .for_each(|seed| seen.see(seed, &mut World::new(seed)));
                seen
            })
        };
        let parts: Vec<_> = (0..threads).map(some).collect();
        parts.into_iter().for_each(|part| all.add(part.join().unwrap()));
    });
    all
});

impl Seen {
    /// Looks at a world after each step. Now and then it recovers, or most of the time nobody would
    /// lead.
    fn see(&mut self, seed: u64, world: &mut World) {
        world.is_rough = seed % 2 == 1;
        let mut is_late = false;
        for step in 0..1600 {
            match step % 200 {
                0 => world.recover(),
                _ => world.step(),
            }
            let view = world.view();
            is_late = is_late || reached::should_be_triggered1(&view);
            for (name, invariant) in INVARIANTS {
                let verdict = self.verdicts.entry(name).or_insert(Ok(0));
                if let Ok(cases) = verdict {
                    let wrong = |why| format!("seed {seed}, step {step}: {why}");
                    *verdict = invariant(&view).map(|more| *cases + more).map_err(wrong);
                }
            }
        }
        self.worlds += 1;
        self.late_epochs += u64::from(is_late);
    }

    fn add(&mut self, other: Seen) {
        self.worlds += other.worlds;
        self.late_epochs += other.late_epochs;
        for (name, verdict) in other.verdicts {
            let sum = match (self.verdicts.remove(name), verdict) {
                (Some(Ok(these)), Ok(those)) => Ok(these + those),
                (Some(Err(why)), _) | (_, Err(why)) => Err(why),
                (None, verdict) => verdict,
            };
            self.verdicts.insert(name, sum);
        }
    }
}

/// An invariant holds after each step of all worlds, and not because there is nothing to look at.
#[track_caller]
pub fn holds(name: &str) {
    match &SEEN.verdicts[name] {
        Ok(cases) => assert!(*cases > 100 * SEEN.worlds as usize, "only {cases} cases"),
        Err(why) => panic!("{why}"),
    }
}

/// It holds in a world where much has happened, and no more when something is spoiled there.
#[track_caller]
pub fn rejects(invariant: Invariant, spoil: impl FnOnce(&mut View), why: &str) {
    let mut view = EVENTFUL.clone();
    let cases = invariant(&view);
    assert!(matches!(cases, Ok(1..)), "{cases:?}");
    spoil(&mut view);
    let Err(told) = invariant(&view) else { panic!("it is not noticed") };
    assert!(told.contains(why), "{told}");
}

/// Three members and an observer. The leaders of two epochs have each had two txns committed. The
/// first has logged one more, which was cut off again; the second has proposed one more.
static EVENTFUL: LazyLock<View> = LazyLock::new(|| {
    let mut world = World::of(3, 1);
    let all_serve = |view: &View| view.members.values().all(|member| member.broadcasts());
    let leader = |world: &World| world.view().leaders().next().unwrap().0;
    world.until("all serve", all_serve);
    let first = leader(&world);
    for _ in 0..2 {
        world.propose(first);
    }
    world.settle();
    world.isolate(first);
    world.propose(first);
    world.settle();
    world.kill(first);
    world.join(first);
    world.until("another leads", |view| view.leaders().any(|(_, it)| it.broadcasts()));
    world.start(first);
    world.until("all serve", all_serve);
    let second = leader(&world);
    for _ in 0..2 {
        world.propose(second);
    }
    world.settle();
    world.propose(second);
    world.view()
});

/// The leader of an eventful view, and one of its followers.
pub fn leader_and_follower(view: &View) -> (zk_proto::Sid, zk_proto::Sid) {
    let leader = view.leaders().next().unwrap().0;
    let follower = view.learners_of(leader).find(|(_, member)| member.follows()).unwrap().0;
    (leader, follower)
}
