//! `zkfleet doctor DIR`: what a data directory holds, and whether it can be trusted.

use super::{DAMAGED, UNREADABLE, told};
use serde_json::json;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use zk_server::Loading;
use zk_store::data_dir::{DataDirs, LayoutError};
use zk_store::disk::{Disk, RealDisk};
use zk_store::doctor::{RepairError, Repaired, Report, examine, repair_copy};
use zk_store::recover::{Accept, RecoverOptions};
use zk_tree::TreeOptions;

const EXIT_CODES: &str = "\
Changes nothing in DIR. Says too what Apache ZooKeeper would do with the directory.

Exit codes:
  0  a server starts from it, nothing is lost, and every file is whole
  1  something is lost or a file is damaged, also one that a server can start without
  2  it cannot be looked at, or there is no copy
With --repair-to it is about the copy: 0 when nothing is lost in it, 1 when something is.";

/// Arguments of `zkfleet doctor`.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// The dataDir (the directory that holds version-2)
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The dataLogDir, if it is another one
    #[arg(long, value_name = "DIR")]
    log_dir: Option<PathBuf>,
    /// Write a repaired copy to this directory, which is empty or not there yet; the original is
    /// not touched
    #[arg(long, value_name = "DIR")]
    repair_to: Option<PathBuf>,
    /// The directory was written with extendedTypesEnabled (TTL znodes)
    #[arg(long)]
    extended_types: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let dirs = DataDirs::new(&args.dir, args.log_dir.clone());
    if !dirs.snapshots().is_dir() {
        eprintln!(
            "{} is not there: name the dataDir, which holds version-2",
            dirs.snapshots().display()
        );
        return ExitCode::from(UNREADABLE);
    }
    // As a server refuses to start: what is in the wrong place would not be seen at all.
    if let Err(error) = dirs.check_layout(&*disk) {
        match error {
            LayoutError::File(error) => eprintln!("{error}"),
            swapped => eprintln!("{swapped}"),
        }
        return ExitCode::from(UNREADABLE);
    }
    if let Some(Err(why)) = args.repair_to.as_deref().map(check_empty) {
        eprintln!("{why}: give a new directory for the repaired copy");
        return ExitCode::from(UNREADABLE);
    }
    let options = RecoverOptions::default();
    let tree = TreeOptions { extended_types: args.extended_types, ..TreeOptions::default() };
    let report = match examine(&*disk, &dirs, &options, &mut Loading::new(tree)) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(UNREADABLE);
        }
    };
    // Where there is a copy, it is made first: one object tells both.
    let copy =
        args.repair_to.as_ref().filter(|_| args.json).map(|to| repair(&disk, &dirs, to, tree));
    if let Err(code) = told(io::stdout().write_all(text(args, &report, copy.as_ref()).as_bytes())) {
        return code;
    }
    let verdict = if report.is_damaged() { ExitCode::from(DAMAGED) } else { ExitCode::SUCCESS };
    let Some(to) = &args.repair_to else { return verdict };
    match copy.unwrap_or_else(|| repair(&disk, &dirs, to, tree)) {
        Ok(repaired) => {
            eprint!("{repaired}");
            if repaired.cut.is_none() { ExitCode::SUCCESS } else { ExitCode::from(DAMAGED) }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(UNREADABLE)
        }
    }
}

fn repair(
    disk: &Arc<dyn Disk>,
    dirs: &DataDirs,
    to: &Path,
    tree: TreeOptions,
) -> Result<Repaired, RepairError> {
    let (to, options) = (DataDirs::new(to, None), RecoverOptions::default());
    repair_copy(disk, dirs, &to, &options, &mut Loading::new(tree))
}

/// What is printed of a directory, and as JSON of its copy.
fn text(args: &Args, report: &Report, copy: Option<&Result<Repaired, RepairError>>) -> String {
    let hint = args.log_dir.is_none().then(|| log_dir_hint(report)).flatten();
    if !args.json {
        return format!(
            "{report}{}",
            hint.map(|hint| format!("hint: {hint}\n")).unwrap_or_default()
        );
    }
    let hint = hint.map(|hint| ("hint", json!(hint).to_string()));
    let copy = copy.map(|copy| match copy {
        Ok(repaired) => ("repaired", repaired.to_json()),
        Err(error) => ("repaired", json!({ "error": error.to_string() }).to_string()),
    });
    with_parts(&report.to_json(), hint.into_iter().chain(copy))
}

/// What to do where logs are missed that may be in another directory.
fn log_dir_hint(report: &Report) -> Option<&'static str> {
    let is_missed = match &report.state {
        Ok(_) => report.logs.is_empty() && !report.snapshots.is_empty(),
        Err(error) => error.accept() == Some(Accept::MissingLog),
    };
    is_missed.then_some(
        "logs were looked for in the dataDir; if the configuration has a dataLogDir, name it with \
         --log-dir",
    )
}

/// A report as one line of JSON, with more behind its own fields.
fn with_parts(report: &str, parts: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let mut line = report.strip_suffix('}').unwrap_or(report).to_owned();
    for (name, json) in parts {
        line.push_str(&format!(",\"{name}\":{json}"));
    }
    line.push_str("}\n");
    line
}

/// Whether nothing is there: a copy among the files of somebody else would be neither's.
fn check_empty(dir: &Path) -> Result<(), String> {
    match fs::read_dir(dir).map(|mut entries| entries.next()) {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(format!("{} is not empty", dir.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("{}: {error}", dir.display())),
    }
}
