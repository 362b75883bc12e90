//! A load by its name: the name says everything, so figures need no legend.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::wire::{NUMBERS, STAMP};

/// Bytes of data when a name says nothing.
pub const DEFAULT_VALUE_BYTES: usize = 100;
/// A znode's data and its path must fit into one frame of `jute.maxbuffer`, 1 MiB by default.
const MAX_VALUE_BYTES: usize = 1000 << 10;
/// Connections of an open loop: enough that none of them is a queue of its own.
pub const OPEN_CONNS: usize = 16;

/// How requests are paced.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pace {
    /// Closed loop: each connection keeps `depth` requests outstanding.
    Closed {
        /// Connections.
        conns: usize,
        /// Requests outstanding on each.
        depth: usize,
    },
    /// Open loop: requests leave at fixed times whether answers come or not, and latency counts
    /// from the time a request should have left (no coordinated omission).
    Open {
        /// Requests a second, over all connections.
        per_s: u32,
    },
}

/// What becomes of created znodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Creates {
    /// They stay.
    Stay,
    /// They are sequential and stay.
    Sequential,
    /// Each is deleted by the next request.
    Deleted,
    /// They are ephemeral, and each is deleted by the next request.
    Ephemeral,
}

/// What a load does.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    /// getData and setData on a fixed set of znodes.
    Keyed {
        /// Share of reads.
        read_percent: u8,
        /// How fast.
        pace: Pace,
    },
    /// Creates.
    Create {
        /// Of which kind.
        creates: Creates,
        /// How fast.
        pace: Pace,
    },
    /// Transactions of several setData.
    Multi {
        /// How many in each.
        sets: usize,
        /// How fast.
        pace: Pace,
    },
    /// One writer, many watchers: how long until the last one is told.
    Watch {
        /// How many.
        watchers: usize,
    },
    /// Sessions that open, create an ephemeral znode, and close.
    Churn {
        /// How many at a time.
        conns: usize,
    },
    /// Sessions that open and then do nothing.
    Sessions {
        /// How many.
        count: usize,
    },
    /// Znodes created by multis.
    Preload {
        /// How many.
        count: usize,
    },
}

/// A load.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spec {
    /// What it does.
    pub kind: Kind,
    /// Data of each znode, in bytes.
    pub value_bytes: usize,
}

/// What `zkfleet-bench loads` prints.
pub const GRAMMAR: &str = "\
WORK-CxD      closed loop: C connections with D requests outstanding each; WORK is one of
              get, set, mixedP (P percent reads), create, createseq, createdelete,
              ephemeral (create and delete), multiK (K setData in one multi)
open-WORK-R   open loop: R requests a second at fixed times; latency from the time due
watch-W       one setData tells W watchers; latency until the last is told
churn-C       C sessions at a time: open, create an ephemeral, close
sessions-N    open N sessions, then hold them: rate and memory of each
preload-N     create N znodes by multis of 250
              Any of them may end in -SIZE (200, 1k): bytes of data, 100 by default.";

impl Pace {
    /// How many connections it takes.
    #[must_use]
    pub const fn conns(self) -> usize {
        match self {
            Pace::Closed { conns, .. } => conns,
            Pace::Open { .. } => OPEN_CONNS,
        }
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pace::Closed { conns, depth } => write!(f, "{conns}x{depth}"),
            Pace::Open { per_s } => write!(f, "{per_s}"),
        }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Pace::Open { .. }) = self.kind.pace() {
            f.write_str("open-")?;
        }
        match self.kind {
            Kind::Keyed { read_percent: 100, pace } => write!(f, "get-{pace}")?,
            Kind::Keyed { read_percent: 0, pace } => write!(f, "set-{pace}")?,
            Kind::Keyed { read_percent, pace } => write!(f, "mixed{read_percent}-{pace}")?,
            Kind::Create { creates, pace } => write!(f, "{}-{pace}", creates.name())?,
            Kind::Multi { sets, pace } => write!(f, "multi{sets}-{pace}")?,
            Kind::Watch { watchers } => write!(f, "watch-{watchers}")?,
            Kind::Churn { conns } => write!(f, "churn-{conns}")?,
            Kind::Sessions { count } => write!(f, "sessions-{count}")?,
            Kind::Preload { count } => write!(f, "preload-{count}")?,
        }
        match self.value_bytes {
            DEFAULT_VALUE_BYTES => Ok(()),
            bytes if bytes % 1024 == 0 => write!(f, "-{}k", bytes / 1024),
            bytes => write!(f, "-{bytes}"),
        }
    }
}

impl Creates {
    const ALL: [Creates; 4] =
        [Creates::Stay, Creates::Sequential, Creates::Deleted, Creates::Ephemeral];

    const fn name(self) -> &'static str {
        match self {
            Creates::Stay => "create",
            Creates::Sequential => "createseq",
            Creates::Deleted => "createdelete",
            Creates::Ephemeral => "ephemeral",
        }
    }
}

impl Kind {
    /// How it is paced, if that can be chosen.
    #[must_use]
    pub fn pace(&self) -> Option<Pace> {
        match *self {
            Kind::Keyed { pace, .. } | Kind::Create { pace, .. } | Kind::Multi { pace, .. } => {
                Some(pace)
            }
            _ => None,
        }
    }
}

impl FromStr for Spec {
    type Err = Error;

    fn from_str(name: &str) -> Result<Spec, Error> {
        parse(name).map_err(|why| Error::BadLoad { name: name.to_owned(), why })
    }
}

fn parse(name: &str) -> Result<Spec, &'static str> {
    let (open, rest) = name.strip_prefix("open-").map_or((false, name), |rest| (true, rest));
    let mut parts = rest.split('-');
    let work = parts.next().unwrap_or("");
    let amount = parts.next().ok_or("its size is missing")?;
    let value_bytes = parts.next().map_or(Ok(DEFAULT_VALUE_BYTES), size)?;
    if parts.next().is_some() {
        return Err("it has too many parts");
    }
    if value_bytes < STAMP {
        return Err("data needs at least 16 bytes, to tell one write from another");
    }
    let pace = || match amount.split_once('x') {
        _ if open => Ok(Pace::Open { per_s: count(amount)? }),
        Some((conns, depth)) => Ok(Pace::Closed { conns: count(conns)?, depth: count(depth)? }),
        None => Err("its size is not CONNECTIONSxDEPTH"),
    };
    let digits_at = work.find(|c: char| c.is_ascii_digit()).unwrap_or(work.len());
    let kind = match work.split_at(digits_at) {
        ("get", "") => Kind::Keyed { read_percent: 100, pace: pace()? },
        ("set", "") => Kind::Keyed { read_percent: 0, pace: pace()? },
        ("mixed", percent) => Kind::Keyed { read_percent: percent_of(percent)?, pace: pace()? },
        ("multi", sets) => Kind::Multi { sets: count(sets)?, pace: pace()? },
        ("watch", "") if !open => Kind::Watch { watchers: count(amount)? },
        ("churn", "") if !open => Kind::Churn { conns: count(amount)? },
        ("sessions", "") if !open => Kind::Sessions { count: count(amount)? },
        ("preload", "") if !open => match count(amount)? {
            count if count as u64 <= NUMBERS => Kind::Preload { count },
            _ => return Err("paths have room for ten million znodes"),
        },
        (name, "") => match Creates::ALL.into_iter().find(|creates| creates.name() == name) {
            Some(creates) => Kind::Create { creates, pace: pace()? },
            None => return Err("the work is unknown"),
        },
        _ => return Err("the work is unknown"),
    };
    Ok(Spec { kind, value_bytes })
}

fn count<T: FromStr + PartialOrd + From<u8>>(text: &str) -> Result<T, &'static str> {
    match text.parse::<T>() {
        Ok(n) if n >= T::from(1) => Ok(n),
        _ => Err("a number in it is none, or 0"),
    }
}

fn percent_of(text: &str) -> Result<u8, &'static str> {
    text.parse().ok().filter(|percent| *percent <= 100).ok_or("its percentage is above 100 or none")
}

fn size(text: &str) -> Result<usize, &'static str> {
    match text.strip_suffix('k') {
        Some(kib) => count::<usize>(kib).map(|n| n.saturating_mul(1024)),
        None => count(text),
    }
    .and_then(
        |bytes| if bytes <= MAX_VALUE_BYTES { Ok(bytes) } else { Err("its data is too long") },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pace() -> impl Strategy<Value = Pace> {
        prop_oneof![
            (1usize..9999, 1usize..999).prop_map(|(conns, depth)| Pace::Closed { conns, depth }),
            (1u32..99_999).prop_map(|per_s| Pace::Open { per_s }),
        ]
    }

    fn kind() -> impl Strategy<Value = Kind> {
        prop_oneof![
            (0u8..=100, pace()).prop_map(|(read_percent, pace)| Kind::Keyed { read_percent, pace }),
            (0usize..4, pace())
                .prop_map(|(i, pace)| Kind::Create { creates: Creates::ALL[i], pace }),
            (1usize..99, pace()).prop_map(|(sets, pace)| Kind::Multi { sets, pace }),
            (1usize..9999).prop_map(|watchers| Kind::Watch { watchers }),
            (1usize..9999).prop_map(|conns| Kind::Churn { conns }),
            (1usize..9999).prop_map(|count| Kind::Sessions { count }),
            (1usize..9999).prop_map(|count| Kind::Preload { count }),
        ]
    }

    proptest! {
        #[test]
        fn every_load_has_a_name_that_means_it(kind in kind(), value_bytes in STAMP..10_000) {
            let spec = Spec { kind, value_bytes };
            prop_assert_eq!(spec.to_string().parse::<Spec>().unwrap(), spec);
        }

        #[test]
        fn any_other_name_is_refused_without_a_panic(name: String) {
            let _ = name.parse::<Spec>();
        }
    }

    #[test]
    fn refusals_say_why() {
        for (name, why) in [
            ("get", "its size is missing"),
            ("get-16", "its size is not CONNECTIONSxDEPTH"),
            ("get-0x1", "a number in it is none, or 0"),
            ("get-1x1-15", "data needs at least 16 bytes"),
            ("get-1x1-100-1", "it has too many parts"),
            ("get-1x1-9000k", "its data is too long"),
            ("mixed101-1x1", "its percentage is above 100 or none"),
            ("preload-10000001", "paths have room for ten million znodes"),
            ("open-watch-5", "the work is unknown"),
            ("put-1x1", "the work is unknown"),
        ] {
            let refusal = name.parse::<Spec>().unwrap_err().to_string();
            assert!(refusal.contains(why), "{name}: {refusal}");
        }
    }
}
