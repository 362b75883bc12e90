//! The zkfleet binary: one command line, one file per command.
//!
//! It knows arguments, output and exit codes. **Invariant:** no ZooKeeper logic lives here; a
//! command calls the crates and says what came of it.

mod commands;

use std::process::ExitCode;

use clap::Parser;

/// A ZooKeeper server and the tools for a fleet of them.
#[derive(Parser)]
#[command(name = "zkfleet", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    Cli::parse().command.run()
}
