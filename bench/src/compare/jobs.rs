//! What is measured in a comparison: loads, and what needs servers started for it.

use std::fmt;
use std::str::FromStr;

use crate::compare::ensemble::Role;
use crate::compare::failover::Loss;
use crate::compare::server::Server;
use crate::error::Error;
use crate::metric::Metric;
use crate::spec::{Kind, Pace, Spec};

/// One line of a comparison.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Job {
    /// A load.
    Load(Spec),
    /// A load with all sessions at one member of an ensemble.
    At {
        /// At which.
        role: Role,
        /// The load.
        spec: Spec,
    },
    /// Start on empty directories: time to the first answer, or write; memory.
    Empty,
    /// An ensemble loses its leader under load: for how long nobody can write.
    Lose(Loss),
    /// A wiped member of an ensemble comes back to many znodes.
    Rejoin {
        /// How many, of 100 bytes each.
        count: usize,
    },
    /// Hostile clients beside good ones: what these feel, and what memory it takes.
    Hostile,
    /// Many znodes: creating them, memory, starts from log and snapshot, writes during snapshots.
    Znodes {
        /// How many, of 100 bytes each.
        count: usize,
    },
}

/// What `--loads all` means: the standalone rows of the performance goals.
pub const ALL: [&str; 28] = [
    "get-1x1",
    "get-64x1",
    "get-16x32",
    "get-64x32-1k",
    "set-1x1",
    "set-64x1",
    "set-16x32",
    "mixed50-64x32-1k",
    "mixed90-64x32-1k",
    "set-64x32-1k",
    "multi10-16x8",
    "open-get-5000",
    "open-get-15000",
    "open-set-500",
    "open-set-10000",
    "watch-1000",
    "churn-64",
    "create-16x32",
    "createseq-16x32",
    "createdelete-16x32",
    "ephemeral-16x32",
    "get-1x1-1k",
    "set-1x1-1k",
    "empty",
    "sessions-10000",
    "preload-100000",
    "znodes-1000000",
    "hostile",
];

/// What `--loads bar` means: what issue 2 asks for.
pub const BAR: [&str; 10] = [
    "get-1x1",
    "get-16x32",
    "set-1x1",
    "set-16x32",
    "create-16x32",
    "createdelete-16x32",
    "churn-64",
    "empty",
    "sessions-10000",
    "znodes-1000000",
];

/// What `--loads all` and `--loads bar` mean of an ensemble. Who leads changes with the last two
/// of those that share one.
pub const OF_ENSEMBLES: [&str; 10] = [
    "set-1x1@leader",
    "set-1x1@follower",
    "get-16x32",
    "set-16x32",
    "create-16x32",
    "mixed50-16x32",
    "leader-killed",
    "leader-unreachable",
    "empty",
    "rejoin-1000000",
];

impl Job {
    /// Whether it is run on a server that nothing else was run on.
    #[must_use]
    pub fn needs_own_server(&self) -> bool {
        match self {
            Job::Empty | Job::Hostile | Job::Znodes { .. } | Job::Rejoin { .. } => true,
            Job::At { .. } | Job::Lose(_) => false,
            // A heap that other loads have grown hides what a session or a znode takes.
            Job::Load(spec) => matches!(spec.kind, Kind::Sessions { .. } | Kind::Preload { .. }),
        }
    }

    /// The figures that the report shows; the others stand in results.json.
    #[must_use]
    pub fn shown(&self) -> &'static [Metric] {
        use Metric::*;
        match self {
            Job::Empty => &[FirstAnswerMs, FirstWriteMs, RssMb],
            Job::Lose(Loss::Killed) => &[WriteGapMs, TypicalWriteGapMs, OutageMs],
            Job::Lose(Loss::Unreachable) => &[WriteGapMs, OutageMs],
            Job::Rejoin { .. } => &[OpsPerS, CpuUsPerOp, RejoinMs],
            Job::Hostile => &[
                ReadP50Us,
                ReadP99Us,
                AttackedReadP50Us,
                AttackedReadP99Us,
                AttackedReadP99Ratio,
                WriteP50Us,
                WriteP99Us,
                AttackedWriteP50Us,
                AttackedWriteP99Us,
                AttackedWriteP99Ratio,
                StrikesPerS,
                PeakGrowthMib,
                GrowthMib,
                GoodClientsFailed,
                ServersEnded,
            ],
            Job::Znodes { .. } => &[
                OpsPerS,
                CpuUsPerOp,
                LoadedRssMb,
                BootLogMs,
                BootSnapshotMs,
                BootedRssMb,
                QuietP99Us,
                SnapshotP99Us,
                SnapshotP99Ratio,
                SnapshotMaxUs,
                SnapshotMs,
            ],
            Job::Load(spec) | Job::At { spec, .. } => match (spec.kind, spec.kind.pace()) {
                (_, Some(Pace::Closed { depth: 1, .. })) => &[OpsPerS, P50Us, P99Us, CpuUsPerOp],
                (_, Some(Pace::Open { .. })) => &[P50Us, P99Us, P999Us, TailRatio, CpuUsPerOp],
                (Kind::Sessions { .. }, _) => &[SessionsPerS, RssBytesPerSession, CpuUsPerOp],
                (Kind::Preload { .. }, _) => &[OpsPerS, CpuUsPerOp],
                (Kind::Watch { .. }, _) => &[P50Us, P99Us, CpuUsPerOp],
                _ => &[OpsPerS, P99Us, CpuUsPerOp],
            },
        }
    }

    /// The floor server has nothing to start from.
    #[must_use]
    pub fn applies_to(&self, server: &Server) -> bool {
        !server.keeps_nothing() || matches!(self, Job::Load(_))
    }

    /// Refuses what so many members cannot do.
    fn check(&self, members: usize) -> Result<(), Error> {
        let why = match self {
            Job::Hostile | Job::Znodes { .. } if members > 1 => {
                "it is for a standalone server (--members 1)"
            }
            Job::At { .. } | Job::Lose(_) | Job::Rejoin { .. } if members < 3 => {
                "it needs an ensemble (--members 3)"
            }
            _ => return Ok(()),
        };
        Err(Error::BadLoad { name: self.to_string(), why })
    }

    /// The jobs of a list of names and groups, each once, for ensembles of so many members.
    pub fn list(names: &[String], members: usize) -> Result<Vec<Job>, Error> {
        let mut jobs = Vec::new();
        for name in names {
            let group: Vec<&str> = match name.as_str() {
                "all" | "bar" if members > 1 => OF_ENSEMBLES.to_vec(),
                "all" => ALL.to_vec(),
                "bar" => BAR.to_vec(),
                name => vec![name],
            };
            for name in group {
                let job: Job = name.parse()?;
                job.check(members)?;
                if !jobs.contains(&job) {
                    jobs.push(job);
                }
            }
        }
        Ok(jobs)
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Job::Load(spec) => spec.fmt(f),
            Job::At { role: Role::Leader, spec } => write!(f, "{spec}@leader"),
            Job::At { role: Role::Follower, spec } => write!(f, "{spec}@follower"),
            Job::Empty => f.write_str("empty"),
            Job::Hostile => f.write_str("hostile"),
            Job::Lose(Loss::Killed) => f.write_str("leader-killed"),
            Job::Lose(Loss::Unreachable) => f.write_str("leader-unreachable"),
            Job::Rejoin { count } => write!(f, "rejoin-{count}"),
            Job::Znodes { count } => write!(f, "znodes-{count}"),
        }
    }
}

impl FromStr for Job {
    type Err = Error;

    fn from_str(name: &str) -> Result<Job, Error> {
        let bad = |why| Error::BadLoad { name: name.to_owned(), why };
        let count = |count: &str| match count.parse() {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(bad("its count is none")),
        };
        match name {
            "empty" => return Ok(Job::Empty),
            "hostile" => return Ok(Job::Hostile),
            "leader-killed" => return Ok(Job::Lose(Loss::Killed)),
            "leader-unreachable" => return Ok(Job::Lose(Loss::Unreachable)),
            _ => {}
        }
        if let Some(text) = name.strip_prefix("znodes-") {
            return Ok(Job::Znodes { count: count(text)? });
        }
        if let Some(text) = name.strip_prefix("rejoin-") {
            return Ok(Job::Rejoin { count: count(text)? });
        }
        let Some((spec, role)) = name.split_once('@') else { return name.parse().map(Job::Load) };
        let role = match role {
            "leader" => Role::Leader,
            "follower" => Role::Follower,
            _ => return Err(bad("sessions are @leader or @follower")),
        };
        Ok(Job::At { role, spec: spec.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_hold_jobs_that_print_as_their_names() {
        for name in ALL.iter().chain(&BAR).chain(&OF_ENSEMBLES) {
            assert_eq!(name.parse::<Job>().unwrap().to_string(), *name);
        }
        let names = ["bar".to_owned(), "get-1x1".to_owned(), "all".to_owned()];
        let jobs = Job::list(&names, 1).unwrap();
        assert_eq!(jobs.len(), ALL.len(), "all holds bar, and nothing is twice");
        let jobs = Job::list(&names, 3).unwrap();
        assert_eq!(jobs.len(), OF_ENSEMBLES.len() + 1);
    }

    #[test]
    fn refusals_say_why() {
        for (name, members, why) in [
            ("znodes-x", 1, "its count is none"),
            ("znodes-5", 3, "standalone"),
            ("rejoin-5", 1, "needs an ensemble"),
            ("leader-killed", 1, "needs an ensemble"),
            ("set-1x1@leader", 1, "needs an ensemble"),
            ("set-1x1@observer", 3, "@leader or @follower"),
        ] {
            let refusal = Job::list(&[name.to_owned()], members).unwrap_err().to_string();
            assert!(refusal.contains(why), "{name}: {refusal}");
        }
    }
}
