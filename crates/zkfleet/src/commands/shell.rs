//! `zkfleet shell`: the commands and habits of Apache's zkCli.
//!
//! Mirrors `org.apache.zookeeper.ZooKeeperMain` of 3.9; differs in: one command with an exit code
//! prints its result and nothing else (no "Connecting to", no watch events), `--json`, errors that
//! say what to do, failures that Apache hides behind exit code 0 (deleteall, setAcl -R; any command
//! of a pipe but the last), control characters, which a terminal is shown escaped, and a znode that
//! cannot be read, which ends Apache's `ls -R` and `setAcl -R` where it stands and here hides only
//! what is below.

mod client_config;
mod complete;
mod flags;
mod format;
mod interactive;
mod paths;
mod report;
mod run;
mod session;
mod spec;
mod tls;
mod trouble;
mod words;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use super::told;
use flags::Flags;
use report::Report;
use session::{Session, Show};
use trouble::Trouble;

/// The session lives on a runtime of its own, so that it answers pings while a person thinks.
struct Reactor {
    runtime: tokio::runtime::Handle,
    stop: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

/// Arguments of the shell; they are zkCli's, so they are not clap's.
#[derive(clap::Args)]
#[command(disable_help_flag = true, override_usage = flags::USAGE, after_help = flags::HELP)]
pub(crate) struct Args {
    /// Options as zkCli takes them, then a command; without a command the shell is interactive
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    words: Vec<String>,
}

/// Exit code of a command that failed.
const FAILED: u8 = 1;
/// Exit code of a command that cannot be understood.
const BAD_USAGE: u8 = 2;

/// Runs one command, or many from a person or a pipe. The exit code is that of the last command of
/// a person, and of the first one of a pipe that failed.
pub(crate) fn run(args: &Args) -> ExitCode {
    let flags = match Flags::parse(&args.words) {
        Ok(Some(flags)) => flags,
        Ok(None) => {
            let said = say(&format!("{}\n\n{}", flags::USAGE, flags::HELP));
            return told(said).err().unwrap_or(ExitCode::SUCCESS);
        }
        Err(trouble) => return fail(&trouble, args.words.iter().any(|word| word == "--json")),
    };
    let reactor = match Reactor::start() {
        Ok(reactor) => reactor,
        Err(error) => {
            eprintln!("no thread for the session: {error}");
            return ExitCode::from(FAILED);
        }
    };
    let code = match flags.command.is_empty() {
        false => one_command(&reactor, flags),
        true => interactive::run(&reactor, flags),
    };
    reactor.stop();
    code
}

/// A command from the command line.
fn one_command(reactor: &Reactor, flags: Flags) -> ExitCode {
    let (command, is_json) = (flags.command.clone(), flags.is_json);
    let done = reactor.runtime.block_on(async {
        let mut session = Session::new(flags, Show::nothing(), false);
        // A command line that cannot be understood needs no server.
        let parsed = spec::parse(&command)?;
        if parsed.spec.needs_session {
            session.connect_and_wait(None).await?;
        }
        let report = session.execute(&parsed).await;
        session.close().await;
        report
    });
    match done {
        Ok(report) => {
            let code = if report.has_failed { ExitCode::from(FAILED) } else { ExitCode::SUCCESS };
            told(report.print(is_json)).err().unwrap_or(code)
        }
        Err(trouble) => fail(&trouble, is_json),
    }
}

/// Text for standard output, which is there when this returns.
fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let is_terminal = out.is_terminal();
    out.write_all(if is_terminal { shown(text) } else { text.into() }.as_bytes())?;
    out.flush()
}

/// Text for standard error; there is nobody to tell that it cannot be written.
fn warn(text: &str) {
    let mut err = io::stderr().lock();
    let is_terminal = err.is_terminal();
    let _ = err.write_all(if is_terminal { shown(text) } else { text.into() }.as_bytes());
}

/// Text as a terminal may have it: what others have written into znodes must not command it.
fn shown(text: &str) -> Cow<'_, str> {
    let is_command = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(is_command) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match is_command(c) {
            true => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            false => out.push(c),
        }
    }
    out.into()
}

fn fail(trouble: &Trouble, is_json: bool) -> ExitCode {
    trouble.print(is_json);
    ExitCode::from(trouble.exit_code())
}

impl Reactor {
    fn start() -> std::io::Result<Reactor> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::Builder::new().name("session".to_owned()).spawn(move || {
            // Either word ends it: stop, or nobody left to say stop.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(Reactor { runtime: handle, stop, thread })
    }

    fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_terminal_is_not_commanded_by_data() {
        assert_eq!(
            super::shown("a\u{1b}[2J\r\u{9b}\u{7f}\tä\n"),
            "a\\u001b[2J\\u000d\\u009b\\u007f\tä\n"
        );
        assert_eq!(super::shown("plain\n"), "plain\n");
    }
}
