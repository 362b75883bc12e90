//! What happens in a round, made of its seed alone: which faults, of whom, when, how long.

use std::time::Duration;

/// A member, by what it is when its fault begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Whom {
    Leader,
    /// One of the others, counted from the smallest sid, round and round.
    Other(u64),
}

/// What becomes of packets between two sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum How {
    /// Connections are reset, new ones refused.
    Cut,
    /// Nothing arrives on either side.
    Silent,
    /// The first side hears nothing.
    Deaf,
    /// The first side is not heard.
    Mute,
    /// Everything takes so long.
    Slow(Duration),
}

/// One thing that goes wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// SIGKILL; it is started again in the end.
    Kill(Whom),
    /// SIGSTOP; it goes on in the end.
    Pause(Whom),
    /// These, and all others.
    Apart(Vec<Whom>, How),
    /// Two that do not hear each other, while both hear the others.
    Between(Whom, Whom, How),
    /// The disk of its log.
    Full(Whom),
}

/// When it begins and how long it lasts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Planned {
    pub(crate) at: Duration,
    pub(crate) lasts: Duration,
    pub(crate) fault: Fault,
}

/// Which faults there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Faults {
    All,
    /// All, and full disks.
    Disks,
    /// Only such that leave a quorum which can work: minorities that are cut off in all ways.
    Minorities,
}

impl Fault {
    /// The word that it is counted under.
    pub(crate) fn kind(&self) -> String {
        let word = match self {
            Fault::Kill(_) => "kill",
            Fault::Pause(_) => "pause",
            Fault::Full(_) => "full disk",
            Fault::Between(.., how) => return format!("between {}", how.word()),
            Fault::Apart(whom, how) if whom.contains(&Whom::Leader) => {
                return format!("leader's side {}", how.word());
            }
            Fault::Apart(_, how) => return format!("minority {}", how.word()),
        };
        word.to_owned()
    }
}

impl How {
    fn word(self) -> &'static str {
        match self {
            How::Cut => "cut",
            How::Silent => "silent",
            How::Deaf => "deaf",
            How::Mute => "mute",
            How::Slow(_) => "slow",
        }
    }
}

/// Chance, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        // splitmix64: neighbouring seeds have nothing in common.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn ms(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }

    fn whom(&mut self) -> Whom {
        match self.below(5) {
            0 | 1 => Whom::Leader,
            n => Whom::Other(n),
        }
    }

    fn how(&mut self) -> How {
        match self.below(9) {
            0 | 1 => How::Cut,
            2 | 3 => How::Silent,
            4 | 5 => How::Deaf,
            6 | 7 => How::Mute,
            _ => How::Slow(self.ms(5, 200)),
        }
    }

    /// At least one, and never a quorum.
    fn minority(&mut self, members: u64) -> Vec<Whom> {
        let count = 1 + self.below((members - 1) / 2);
        let leader = self.below(5) < 2;
        let first = self.below(members);
        let others = (0..count - u64::from(leader)).map(|n| Whom::Other(first + n));
        leader.then_some(Whom::Leader).into_iter().chain(others).collect()
    }

    fn fault(&mut self, members: u64, faults: Faults) -> Fault {
        let kind = match faults {
            Faults::Minorities => 6,
            Faults::Disks => self.below(12),
            Faults::All => self.below(10),
        };
        match kind {
            0 | 1 => Fault::Kill(self.whom()),
            2 | 3 => Fault::Pause(self.whom()),
            4 | 5 => {
                let (a, b) = match self.below(2) {
                    0 => (Whom::Leader, Whom::Other(self.below(members))),
                    _ => (Whom::Other(0), Whom::Other(1)),
                };
                Fault::Between(a, b, self.how())
            }
            6..10 => {
                let minority = self.minority(members);
                Fault::Apart(minority, self.how())
            }
            _ => Fault::Full(self.whom()),
        }
    }
}

/// The faults of a round, by the time at which they begin.
pub(crate) fn plan(seed: u64, members: u64, faults: Faults) -> Vec<Planned> {
    let mut dice = Dice(seed);
    // A second minority beside the first would leave no quorum.
    let count = if faults == Faults::Minorities { 1 } else { 1 + dice.below(4) };
    let mut planned = Vec::new();
    for _ in 0..count {
        let fault = dice.fault(members, faults);
        let lasts = match (&fault, faults) {
            (Fault::Pause(_), _) if dice.below(3) == 0 => dice.ms(1000, 5000),
            // Longer than it takes to notice.
            (_, Faults::Minorities) => dice.ms(500, 5000),
            _ => dice.ms(100, 2500),
        };
        planned.push(Planned { at: dice.ms(50, 2500), lasts, fault });
    }
    planned.sort_by_key(|planned| planned.at);
    planned
}

#[test]
fn a_seed_is_a_plan() {
    for seed in 0..2000 {
        for (members, faults) in [(3, Faults::All), (5, Faults::Disks), (5, Faults::Minorities)] {
            let one = plan(seed, members, faults);
            assert_eq!(one, plan(seed, members, faults));
            for planned in one {
                let Fault::Apart(minority, _) = planned.fault else { continue };
                assert!((1..=(members as usize - 1) / 2).contains(&minority.len()), "{minority:?}");
            }
        }
    }
    assert_ne!(plan(1, 3, Faults::All), plan(2, 3, Faults::All));
}
