//! On what, of what and how a comparison was made.

use std::path::Path;
use std::process::Command;

use crate::compare::Options;
use crate::compare::ensemble::quorum_lines;
use crate::compare::results::About;
use crate::compare::server::zoo_cfg;
use crate::error::Result;
use crate::proc;

/// What is known before the first round.
pub fn about(options: &Options) -> Result<About> {
    let load_average = proc::load_average()?;
    let lines = [&options.host.config[..], &quorum_lines(&vec![(0, 0); options.members])].concat();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(About {
        date: first_line(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"])),
        machine: proc::machine()?,
        kernel: proc::kernel()?,
        commit: commit(sources),
        java: first_line(Command::new("java").arg("--version")),
        heap: options.host.heap.clone(),
        command: command(std::env::args().skip(1)),
        zoo_cfg: zoo_cfg(Path::new("DIR"), 0, &lines),
        load_average_before: load_average.clone(),
        load_average_after: load_average,
        seconds: options.timing.measured.as_secs_f64(),
        rounds: options.rounds,
        members: options.members,
    })
}

fn command(arguments: impl Iterator<Item = String>) -> String {
    let arguments: Vec<String> = arguments.collect();
    format!("cargo run --release -p zkfleet-bench -- {}", arguments.join(" "))
}

/// The commit, and whether the files differ from it.
fn commit(sources: &Path) -> String {
    let git =
        |arguments: &[&str]| first_line(Command::new("git").arg("-C").arg(sources).args(arguments));
    let changed = !git(&["status", "--porcelain", "--untracked-files=no", ".."]).is_empty();
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    if changed { format!("{commit} with changes") } else { commit }
}

/// The first line that a program prints; nothing when it cannot be run.
fn first_line(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or("").to_owned()
}
