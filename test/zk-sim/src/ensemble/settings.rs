//! How a seed's ensemble is.

use super::member::Terms;
use crate::rng::Rng;
use zk_zab::{Configs, Ensemble};

/// A seed's world.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Members that vote.
    pub voters: i64,
    /// Members that observe.
    pub observers: i64,
    /// How many clients.
    pub clients: usize,
    /// How long a client thinks between two requests, in µs, on the average.
    pub thinks_us: u64,
    /// How long there are faults, in ms.
    pub stormy_ms: u64,
    /// Faults come one after so many ms, on the average.
    pub fault_every_ms: u64,
    /// Members are founded by somebody who says that the ensemble is new.
    pub is_initial: bool,
    /// `tickTime` in ms.
    pub tick_ms: u64,
    /// `initLimit`, `syncLimit`.
    pub limits: [u64; 2],
    /// How many committed txns a leader keeps for its learners.
    pub window: usize,
    /// A member takes a snapshot after so many txns.
    pub snap_count: u32,
    /// How long an election waits for a better vote, in ms.
    pub last_wait_ms: u64,
    /// Seed of hash tables.
    pub hash_seed: u64,
    /// Members have zk-store's files on a simulated disk.
    pub has_files: bool,
    /// Members join, leave, and change their roles.
    pub reconfigures: bool,
    /// Followers feed observers.
    pub feeds: bool,
}

impl Settings {
    /// The world of a seed: short, with many faults.
    pub fn draw(rng: &mut Rng) -> Settings {
        Settings {
            voters: *rng.pick(&[3, 3, 3, 3, 5]),
            observers: *rng.pick(&[0, 0, 0, 1]),
            clients: rng.between(2, 8) as usize,
            thinks_us: *rng.pick(&[20_000, 60_000, 120_000]),
            stormy_ms: *rng.pick(&[20_000, 40_000, 80_000]),
            fault_every_ms: *rng.pick(&[500, 1_000, 2_000, 4_000]),
            is_initial: rng.chance(700),
            tick_ms: *rng.pick(&[200, 500, 2_000]),
            limits: *rng.pick(&[[10, 5], [5, 2]]),
            window: *rng.pick(&[5, 50, 500]),
            snap_count: *rng.pick(&[50, 300, 2_000]),
            last_wait_ms: *rng.pick(&[0, 50, 200, 200]),
            hash_seed: rng.draw(),
            has_files: false,
            reconfigures: false,
            feeds: false,
        }
    }

    /// What a run asks for beyond the seed's world, and the observers that it needs.
    pub(crate) fn add(&mut self, reconfigures: bool, feeds: bool) {
        (self.reconfigures, self.feeds) = (reconfigures, feeds);
        self.observers += i64::from(reconfigures) + 2 * i64::from(feeds);
    }

    /// The world by which speed is measured: three members, eight clients, 50 or more operations
    /// and 0.2 or more faults a second, `tickTime` 2000, 300 s.
    pub fn measured(rng: &mut Rng) -> Settings {
        Settings {
            voters: 3,
            observers: 0,
            clients: 8,
            thinks_us: 50_000,
            stormy_ms: 300_000,
            fault_every_ms: 3_000,
            is_initial: true,
            tick_ms: 2_000,
            limits: [10, 5],
            window: 500,
            snap_count: 2_000,
            last_wait_ms: 200,
            hash_seed: rng.draw(),
            has_files: false,
            reconfigures: false,
            feeds: false,
        }
    }

    pub(crate) fn terms(&self) -> Terms {
        let line = |sid: i64| {
            let role = if sid > self.voters { "observer" } else { "participant" };
            format!("server.{sid}=h{sid}:1:2:{role}\n")
        };
        let text: String = (1..=self.voters + self.observers).map(line).collect();
        let ensemble = Ensemble::parse(&text).expect("these lines are a configuration");
        let [init_ticks, sync_ticks] = self.limits;
        Terms {
            tick_ms: self.tick_ms,
            init_ticks,
            sync_ticks,
            configs: Configs::new(ensemble),
            reconfigures: self.reconfigures,
            feeds: self.feeds,
            window: self.window,
            snap_count: self.snap_count,
            hash_seed: self.hash_seed,
            last_wait_ms: self.last_wait_ms,
        }
    }
}
