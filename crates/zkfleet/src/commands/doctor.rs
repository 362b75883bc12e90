//! `zkfleet doctor DIR`: what a data directory holds, and whether it can be trusted.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use zk_server::Loading;
use zk_store::data_dir::DataDirs;
use zk_store::disk::{Disk, RealDisk};
use zk_store::doctor::{examine, repair_copy};
use zk_store::recover::RecoverOptions;
use zk_tree::TreeOptions;

/// Checks a data directory without changing it: files, damages, up to which zxid it is safe, what
/// Apache ZooKeeper would do with it. Exit code 0: a server starts from it and nothing is lost;
/// 1: something is damaged; 2: it cannot be looked at.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The dataDir (the directory that holds version-2)
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The dataLogDir, if it is another one
    #[arg(long, value_name = "DIR")]
    log_dir: Option<PathBuf>,
    /// Write a repaired copy to this empty directory; the original is not touched
    #[arg(long, value_name = "DIR")]
    repair_to: Option<PathBuf>,
    /// The directory was written with extendedTypesEnabled (TTL znodes)
    #[arg(long)]
    extended_types: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const DAMAGED: u8 = 1;
const UNREADABLE: u8 = 2;

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
    let options = RecoverOptions::default();
    let tree = TreeOptions { extended_types: args.extended_types, ..TreeOptions::default() };
    let report = match examine(&*disk, &dirs, &options, &mut Loading::new(tree)) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(UNREADABLE);
        }
    };
    if args.json {
        println!("{}", report.to_json());
    } else {
        print!("{report}");
    }
    let verdict = if report.state.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(DAMAGED) };
    let Some(to) = &args.repair_to else { return verdict };
    let to = DataDirs::new(to, None);
    match repair_copy(&disk, &dirs, &to, &options, &mut Loading::new(tree)) {
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
