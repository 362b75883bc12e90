//! What a comparison found, as it stands in results.json.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::compare::report;
use crate::error::{Error, Result};
use crate::metric::{Metric, Spread, Values};

/// Everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// On what, of what, and how.
    pub about: About,
    /// Every load of every server in every round.
    pub runs: Vec<Run>,
}

/// What somebody needs to know to do it again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// When it began, UTC.
    pub date: String,
    /// Processor and memory.
    pub machine: String,
    /// Kernel release.
    pub kernel: String,
    /// Commit of the sources.
    pub commit: String,
    /// The JVM of Apache's servers.
    pub java: String,
    /// The most memory of its heap.
    pub heap: String,
    /// The command line.
    pub command: String,
    /// The zoo.cfg of all servers.
    pub zoo_cfg: String,
    /// Load averages before.
    pub load_average_before: String,
    /// Load averages after.
    pub load_average_after: String,
    /// Seconds measured of each load (three times as many of open loops).
    pub seconds: f64,
    /// Rounds asked for.
    pub rounds: u32,
    /// Members of each server's ensemble; 0 and 1 are a standalone server.
    #[serde(default)]
    pub members: usize,
}

/// One load on one server in one round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The load's name.
    pub load: String,
    /// The server's name.
    pub server: String,
    /// From 1.
    pub round: u32,
    /// Its figures; none when it failed.
    pub values: Values,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl Results {
    /// Writes results.json and results.md into `dir`.
    pub fn write(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).map_err(Error::io(format!("make {}", dir.display())))?;
        let json = serde_json::to_vec_pretty(self)
            .map_err(|source| Error::BadResults { path: dir.to_owned(), source })?;
        for (name, bytes) in [("results.json", json), ("results.md", report::markdown(self).into())]
        {
            let path = dir.join(name);
            fs::write(&path, bytes).map_err(Error::io(format!("write {}", path.display())))?;
        }
        Ok(())
    }

    /// Reads a results.json.
    pub fn read(path: &Path) -> Result<Results> {
        let bytes = fs::read(path).map_err(Error::io(format!("read {}", path.display())))?;
        serde_json::from_slice(&bytes)
            .map_err(|source| Error::BadResults { path: path.to_owned(), source })
    }

    /// The servers, in the order of the runs.
    #[must_use]
    pub fn servers(&self) -> Vec<&str> {
        in_order(self.runs.iter().map(|run| run.server.as_str()))
    }

    /// The loads, in the order of the runs.
    #[must_use]
    pub fn loads(&self) -> Vec<&str> {
        in_order(self.runs.iter().map(|run| run.load.as_str()))
    }

    /// A figure of a load on a server in one round.
    #[must_use]
    pub fn value(&self, load: &str, server: &str, round: u32, metric: Metric) -> Option<f64> {
        let is_it = |run: &&Run| run.load == load && run.server == server && run.round == round;
        self.runs.iter().find(is_it)?.values.get(metric)
    }

    /// A figure of a load on a server over the rounds.
    #[must_use]
    pub fn spread(&self, load: &str, server: &str, metric: Metric) -> Option<Spread> {
        let runs = self.runs.iter().filter(|run| run.load == load && run.server == server);
        Spread::of(runs.filter_map(|run| run.values.get(metric)))
    }
}

fn in_order<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut once = Vec::new();
    for name in names {
        if !once.contains(&name) {
            once.push(name);
        }
    }
    once
}
