//! The commands. Each has a file of its own below `commands/`, with its arguments (`Args`) and
//! `run(&Args) -> ExitCode`; a new one is a module and two lines here.

mod doctor;
mod log;
mod server;
mod shell;
mod snapshot;
mod text;

use std::io;
use std::process::ExitCode;

/// Exit code of the commands that look at files: something in them is lost or damaged.
const DAMAGED: u8 = 1;
/// Exit code of the same commands: they cannot be looked at, or the output cannot be written.
const UNREADABLE: u8 = 2;

/// What became of output. That nobody reads on, as behind a pipe, is no failure.
fn told(written: io::Result<()>) -> Result<(), ExitCode> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("the output cannot be written: {error}");
            Err(ExitCode::from(UNREADABLE))
        }
        _ => Ok(()),
    }
}

/// What can be done.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Run one ZooKeeper server from a zoo.cfg
    Server(server::Args),
    /// Look into an ensemble and change it, with the commands of Apache's zkCli
    Shell(shell::Args),
    /// Check a data directory: what is there, what is damaged, up to where it is safe
    Doctor(doctor::Args),
    /// Print the transactions of log files
    Log(log::Args),
    /// Print the tree of a snapshot file
    Snapshot(snapshot::Args),
}

impl Command {
    pub(crate) fn run(&self) -> ExitCode {
        match self {
            Command::Server(args) => server::run(args),
            Command::Shell(args) => shell::run(args),
            Command::Doctor(args) => doctor::run(args),
            Command::Log(args) => log::run(args),
            Command::Snapshot(args) => snapshot::run(args),
        }
    }
}
