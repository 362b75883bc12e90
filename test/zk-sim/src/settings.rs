//! How a seed's world is: every run has its own mixture, so that rare combinations come up.

use crate::model::write::Rules;
use crate::oracle::Terms;
use crate::rng::Rng;

/// A fault planted into the driver, to see whether the invariants notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mutant {
    /// Transactions count as logged before they are on disk.
    ReplyBeforeSync,
    /// Notifications go out behind the replies of the same turn.
    EventAfterReply,
    /// A notification is lost.
    LostEvent,
    /// A notification goes out twice.
    DoubledEvent,
    /// Every connection is told everything that some connection is told.
    ForeignEvent,
    /// A request is taken in twice.
    DoubledRequest,
    /// A transaction is applied once more, on top of what followed.
    DoubleApply,
    /// A read is answered from an old tree.
    StaleRead,
    /// Two replies of a turn change places.
    SwappedReplies,
    /// A reply is lost.
    LostReply,
    /// The log forgets a transaction that it said was on disk.
    LostWrite,
    /// Recovery leaves the newest snapshot's sessions out.
    ForgottenSession,
    /// A session whose client is silent counts as heard.
    ImmortalSession,
    /// A session whose client speaks counts as silent.
    DeafServer,
    /// A snapshot is given an older name than its content.
    MisnamedSnapshot,
    /// The watches of a connection stay when it ends.
    WatchesStay,
    /// A closed session is restored by the next start.
    Undead,
    /// A part of a multi's reply says something else than the rest.
    TornMulti,
    /// A sync is answered from an old tree.
    StaleSync,
    /// Recovery finds counters of sequential names as they were before.
    RewoundCounter,
    /// Recovery leaves a znode out.
    ForgottenZnode,
    /// Containers are reaped before anybody could use them.
    EagerReaper,
    /// A connection that must be closed stays open.
    LostClose,
    /// The change of the password rule forgets the sessions that are alive.
    ForgottenLegacy,
    /// What a full disk refused counts as written.
    FullDiskIsIgnored,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 25] = [
        Mutant::ReplyBeforeSync,
        Mutant::EventAfterReply,
        Mutant::LostEvent,
        Mutant::DoubledEvent,
        Mutant::ForeignEvent,
        Mutant::DoubledRequest,
        Mutant::DoubleApply,
        Mutant::StaleRead,
        Mutant::SwappedReplies,
        Mutant::LostReply,
        Mutant::LostWrite,
        Mutant::ForgottenSession,
        Mutant::ImmortalSession,
        Mutant::DeafServer,
        Mutant::MisnamedSnapshot,
        Mutant::WatchesStay,
        Mutant::Undead,
        Mutant::TornMulti,
        Mutant::StaleSync,
        Mutant::RewoundCounter,
        Mutant::ForgottenZnode,
        Mutant::EagerReaper,
        Mutant::LostClose,
        Mutant::ForgottenLegacy,
        Mutant::FullDiskIsIgnored,
    ];
}

/// How often something happens, each in thousand where it could.
#[derive(Clone, Copy, Debug)]
pub struct Odds {
    /// The member dies between two effects.
    pub crash: u32,
    /// The disk will soon fail or lose power.
    pub harm: u32,
    /// A client leaves or is cut off.
    pub leave: u32,
    /// A client sends something that no client should.
    pub nonsense: u32,
    /// The wall clock jumps.
    pub wall_jump: u32,
    /// Everything stands still for long.
    pub pause: u32,
    /// A read is answered beside the pipeline.
    pub direct_read: u32,
    /// Somebody looks at the whole tree.
    pub inspect: u32,
    /// The log's disk is full, or not any more.
    pub fill: u32,
}

/// A seed's world.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What clients and oracle must know.
    pub terms: Terms,
    /// Whether closeSession lists the ephemerals that go.
    pub close_session_txn: bool,
    /// Whether transactions carry the digest of the tree.
    pub digest: bool,
    /// Seed of the member's hash tables.
    pub hash_seed: u64,
    /// How many clients.
    pub clients: usize,
    /// How many applications on the real client session.
    pub apps: usize,
    /// How many steps of chance before the faults end.
    pub steps: usize,
    /// Whether storage is zk-store's on a simulated disk.
    pub has_files: bool,
    /// Faults.
    pub odds: Odds,
    /// Weights of clients, the member's reading, delivery, the log, reports, snapshots, ticks.
    pub weights: [u32; 7],
    /// The wall clock begins at the same time with each start, as on a machine without a battery.
    pub forgets_time: bool,
    /// Watches are preferred by clients.
    pub loves_watches: bool,
    /// Bytes that the log keeps back for a disk that is really full; `None` if a full disk is only
    /// said to be.
    pub reserve_bytes: Option<u64>,
}

impl Settings {
    /// The world of a seed.
    pub fn draw(rng: &mut Rng) -> Settings {
        let tick_ms = *rng.pick(&[500, 2000]);
        let mut often = |choices: &[u32]| *rng.pick(choices);
        let odds = Odds {
            crash: often(&[0, 1, 3]),
            harm: often(&[0, 2, 6]),
            leave: often(&[5, 20, 60]),
            nonsense: often(&[0, 10, 40]),
            wall_jump: often(&[0, 2]),
            pause: often(&[0, 1, 4]),
            direct_read: often(&[0, 500, 1000]),
            inspect: often(&[2, 10]),
            fill: often(&[0, 0, 4]),
        };
        let weights = [
            often(&[10, 25, 50]),
            often(&[20, 40]),
            often(&[15, 40]),
            often(&[3, 10, 30]),
            often(&[3, 10, 30]),
            often(&[0, 2, 8]),
            often(&[2, 5]),
        ];
        Settings {
            terms: Terms {
                rules: Rules { extended_types: rng.chance(700), enforce_quota: rng.chance(500) },
                tick_ms,
                min_timeout_ms: 2 * tick_ms as i32,
                max_timeout_ms: 20 * tick_ms as i32,
                enforces_digest: rng.chance(100),
                max_response_bytes: *rng.pick(&[120, 1 << 20, 1 << 20]),
                keyed_from: None,
            },
            close_session_txn: rng.chance(800),
            digest: rng.chance(900),
            hash_seed: rng.draw(),
            clients: rng.between(1, 6) as usize,
            apps: rng.between(0, 2) as usize,
            steps: rng.between(300, 2500) as usize,
            has_files: rng.chance(500),
            odds,
            weights,
            forgets_time: rng.chance(150),
            loves_watches: rng.chance(400),
            reserve_bytes: None,
        }
    }

    /// The rest of it, from a stream of its own.
    pub fn draw_more(&mut self, rng: &mut Rng) {
        self.terms.keyed_from = *rng.pick(&[None, None, None, Some(0), Some(1), Some(2)]);
        if self.has_files && rng.chance(400) {
            self.reserve_bytes = Some(*rng.pick(&[0, 8 << 10, 64 << 10]));
            self.odds.fill = *rng.pick(&[4, 10]);
        }
    }
}
