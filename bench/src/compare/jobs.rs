//! What is measured in a comparison: loads, and what needs servers started for it.

use std::fmt;
use std::str::FromStr;

use crate::compare::server::Server;
use crate::error::Error;
use crate::metric::Metric;
use crate::spec::{Kind, Pace, Spec};

/// One line of a comparison.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Job {
    /// A load.
    Load(Spec),
    /// Start on an empty directory: time to the first answer, memory.
    Empty,
    /// Many znodes: creating them, memory, starts from log and snapshot, writes during snapshots.
    Znodes {
        /// How many, of 100 bytes each.
        count: usize,
    },
}

/// What `--loads all` means: the standalone rows of the performance goals.
pub const ALL: [&str; 27] = [
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

impl Job {
    /// Whether it is run on a server that nothing else was run on.
    #[must_use]
    pub fn needs_own_server(&self) -> bool {
        match self {
            Job::Empty | Job::Znodes { .. } => true,
            // A heap that other loads have grown hides what a session or a znode takes.
            Job::Load(spec) => matches!(spec.kind, Kind::Sessions { .. } | Kind::Preload { .. }),
        }
    }

    /// The figures that the report shows; the others stand in results.json.
    #[must_use]
    pub fn shown(&self) -> &'static [Metric] {
        use Metric::*;
        match self {
            Job::Empty => &[FirstAnswerMs, RssMb],
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
            Job::Load(spec) => match (spec.kind, spec.kind.pace()) {
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

    /// The jobs of a list of names and groups, each once.
    pub fn list(names: &[String]) -> Result<Vec<Job>, Error> {
        let mut jobs = Vec::new();
        for name in names {
            let group: Vec<&str> = match name.as_str() {
                "all" => ALL.to_vec(),
                "bar" => BAR.to_vec(),
                name => vec![name],
            };
            for name in group {
                let job = name.parse()?;
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
            Job::Empty => f.write_str("empty"),
            Job::Znodes { count } => write!(f, "znodes-{count}"),
        }
    }
}

impl FromStr for Job {
    type Err = Error;

    fn from_str(name: &str) -> Result<Job, Error> {
        if name == "empty" {
            return Ok(Job::Empty);
        }
        match name.strip_prefix("znodes-").map(str::parse) {
            Some(Ok(count)) if count > 0 => Ok(Job::Znodes { count }),
            Some(_) => Err(Error::BadLoad { name: name.to_owned(), why: "its count is none" }),
            None => name.parse().map(Job::Load),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_hold_jobs_that_print_as_their_names() {
        for name in ALL.iter().chain(&BAR) {
            assert_eq!(name.parse::<Job>().unwrap().to_string(), *name);
        }
        let names = ["bar".to_owned(), "get-1x1".to_owned(), "all".to_owned()];
        let jobs = Job::list(&names).unwrap();
        assert_eq!(jobs.len(), ALL.len(), "all holds bar, and nothing is twice");
        assert!(Job::list(&["znodes-x".to_owned()]).is_err());
    }
}
