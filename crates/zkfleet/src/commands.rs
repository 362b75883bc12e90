//! The commands. Each has a file of its own below `commands/`, with its arguments (`Args`) and
//! `run(&Args) -> ExitCode`; a new one is a module and two lines here.

mod server;
mod shell;

use std::process::ExitCode;

/// What can be done.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Run one ZooKeeper server from a zoo.cfg
    Server(server::Args),
    /// Look into an ensemble and change it, with the commands of Apache's zkCli
    Shell(shell::Args),
}

impl Command {
    pub(crate) fn run(&self) -> ExitCode {
        match self {
            Command::Server(args) => server::run(args),
            Command::Shell(args) => shell::run(args),
        }
    }
}
