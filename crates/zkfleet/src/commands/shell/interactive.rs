//! Lines from a person or a pipe.

use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::termios::{QueueSelector, tcflush};
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, ExternalPrinter, Helper};
use serde_json::json;
use tokio::runtime::Handle;
use zk_client::Client;

use super::flags::Flags;
use super::session::{Session, Show};
use super::{FAILED, Reactor, Report, Trouble, complete, say, shown, spec, told, words};

/// How many commands `history` shows besides itself.
const HISTORY_SHOWN: usize = 10;

struct Shell {
    runtime: Handle,
    session: Session,
    lines: Vec<String>,
    code: u8,
    is_person: bool,
    /// One value of JSON for each command, and nothing else.
    is_json: bool,
    written: Written,
}

/// Runs until the end of input or `quit`; the exit code is that of the last command of a person,
/// and of the first one of a pipe that failed.
pub(super) fn run(reactor: &Reactor, flags: Flags) -> ExitCode {
    let runtime = reactor.runtime.clone();
    let is_terminal = io::stdin().is_terminal();
    let written = Written::default();
    if !flags.is_json {
        written.say(&format!("Connecting to {}\n", flags.server));
    }
    let code = match is_terminal {
        true => person(runtime, flags, &written),
        false => pipe(runtime, flags, &written),
    };
    told(written.result()).err().unwrap_or(ExitCode::from(code))
}

/// Standard output, and the first thing that could not be written to it.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Option<io::Error>>>);

impl Written {
    fn say(&self, text: &str) {
        self.note(say(text));
    }

    /// Events among the results.
    fn shown(&self) -> Show {
        let written = self.clone();
        Show::with(move |text| written.say(&text))
    }

    fn note(&self, written: io::Result<()>) {
        if let Err(error) = written {
            self.0.lock().get_or_insert(error);
        }
    }

    /// Whether nobody will see what comes of further commands. That nobody reads on is no failure.
    fn has_failed(&self) -> bool {
        self.0.lock().as_ref().is_some_and(|error| error.kind() != io::ErrorKind::BrokenPipe)
    }

    fn result(&self) -> io::Result<()> {
        self.0.lock().take().map_or(Ok(()), Err)
    }
}

impl Shell {
    fn start(
        runtime: Handle,
        flags: Flags,
        show: Show,
        is_person: bool,
        written: &Written,
    ) -> Result<Shell, u8> {
        let is_json = flags.is_json;
        // An event is no answer to a command.
        let show = if is_json { Show::nothing() } else { show };
        let mut session = Session::new(flags, show, is_person);
        if let Err(trouble) = runtime.block_on(session.connect(None)) {
            trouble.print(is_json);
            return Err(trouble.exit_code());
        }
        if !is_json {
            written.say("Welcome to ZooKeeper!\n");
        }
        let written = written.clone();
        Ok(Shell { runtime, session, lines: Vec::new(), code: 0, is_person, is_json, written })
    }

    /// Runs a line; `false` to leave.
    fn line(&mut self, line: &str) -> bool {
        if self.written.has_failed() {
            return false;
        }
        if line.trim().is_empty() {
            return true;
        }
        self.lines.push(line.to_owned());
        match self.command(line) {
            Ok(Some(report)) => {
                self.written.note(report.print(self.is_json));
                self.ended(if report.has_failed { FAILED } else { 0 });
            }
            Ok(None) => return false,
            Err(trouble) => self.refused(&trouble),
        }
        // A person has the prompt at once.
        if !self.is_person {
            self.runtime.clone().block_on(self.session.settle());
        }
        true
    }

    /// Runs a line that may be no text, which keeps nobody from carrying out the others; `false` to
    /// leave.
    fn bytes(&mut self, line: &[u8], number: u64) -> bool {
        match str::from_utf8(line) {
            Ok(line) => self.line(line.strip_suffix('\r').unwrap_or(line)),
            Err(_) => {
                let message = format!("line {number} is not UTF-8, and was not carried out");
                self.refused(&Trouble::usage(message).hint("the lines behind it are"));
                true
            }
        }
    }

    fn refused(&mut self, trouble: &Trouble) {
        trouble.print(self.is_json);
        self.ended(trouble.exit_code());
    }

    /// A person has seen what failed before; who reads a script's exit code has not.
    fn ended(&mut self, code: u8) {
        if self.is_person || self.code == 0 {
            self.code = code;
        }
    }

    /// `None`: quit.
    fn command(&mut self, line: &str) -> Result<Option<Report>, Trouble> {
        let parsed = spec::parse(&words::split(line))?;
        match parsed.spec.name {
            "quit" => Ok(None),
            "history" => Ok(Some(self.history())),
            "redo" => {
                let line = self.redone(parsed.arg(0))?;
                // The history shows what was done, not how.
                self.lines.pop();
                self.lines.push(line.clone());
                self.command(&line)
            }
            _ => self.runtime.block_on(async {
                tokio::select! {
                    done = self.session.execute(&parsed) => done.map(Some),
                    () = interrupted(self.is_person) => Err(Trouble::failed("interrupted")
                        .hint("what was asked may still be carried out")),
                }
            }),
        }
    }

    fn history(&self) -> Report {
        let first = self.lines.len().saturating_sub(HISTORY_SHOWN + 1);
        let shown = self.lines.iter().enumerate().skip(first);
        let json = shown.clone().map(|(at, line)| json!({ "number": at, "command": line }));
        let report = Report::new().json(json!({ "commands": json.collect::<Vec<_>>() }));
        shown.fold(report, |report, (at, line)| report.line(format_args!("{at} - {line}")))
    }

    fn redone(&self, number: &str) -> Result<String, Trouble> {
        let out_of_range =
            || Trouble::usage("Command index out of range").hint("the numbers: history");
        // The last line is the redo itself.
        let number = number.parse::<usize>().map_err(|_| out_of_range())?;
        let line = self.lines[..self.lines.len() - 1].get(number).ok_or_else(out_of_range)?;
        match words::split(line).first().map(String::as_str) {
            Some("redo") => Err(Trouble::usage("No redoing redos")),
            _ => Ok(line.clone()),
        }
    }

    fn leave(mut self) -> u8 {
        self.runtime.clone().block_on(self.session.close());
        self.code
    }
}

/// Ctrl-C ends what a person waits for, and everything when lines come from elsewhere.
async fn interrupted(is_person: bool) {
    if !is_person || tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

/// Lines without a prompt.
fn pipe(runtime: Handle, flags: Flags, written: &Written) -> u8 {
    let mut shell = match Shell::start(runtime, flags, written.shown(), false, written) {
        Ok(shell) => shell,
        Err(code) => return code,
    };
    for (line, number) in io::stdin().lock().split(b'\n').zip(1u64..) {
        let goes_on = match line {
            Ok(line) => shell.bytes(&line, number),
            Err(error) => {
                shell.refused(&Trouble::usage(format!("standard input cannot be read: {error}")));
                false
            }
        };
        if !goes_on {
            break;
        }
    }
    shell.leave()
}

/// A prompt with history and completion.
fn person(runtime: Handle, flags: Flags, written: &Written) -> u8 {
    let config = Config::builder().completion_type(CompletionType::List).build();
    let mut editor = match Editor::<Names, DefaultHistory>::with_config(config) {
        Ok(editor) => editor,
        Err(error) => {
            eprintln!("the terminal cannot be used: {error}");
            return FAILED;
        }
    };
    let show = match editor.create_external_printer() {
        Ok(printer) => {
            let printer = Mutex::new(printer);
            Show::with(move |text| {
                // Nowhere to show it: the terminal has gone.
                let _ = printer.lock().print(shown(&text).into_owned());
            })
        }
        Err(_) => written.shown(),
    };
    let mut shell = match Shell::start(runtime.clone(), flags, show, true, written) {
        Ok(shell) => shell,
        Err(code) => return code,
    };
    loop {
        let client = shell.session.client().ok().cloned();
        editor.set_helper(Some(Names { runtime: runtime.clone(), client }));
        let prompt = format!("{} {}] ", shell.session.prompt(), shell.lines.len());
        let line = match editor.readline(&prompt) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                // What stands behind it on the same line is no command of its own.
                let _ = tcflush(io::stdin(), QueueSelector::IFlush);
                shell.refused(&not_utf8());
                continue;
            }
            Err(ReadlineError::Eof) => break,
            Err(error) => {
                shell.refused(&Trouble::failed(format!("the terminal cannot be read: {error}")));
                break;
            }
        };
        let _ = editor.add_history_entry(&line);
        if !shell.line(&line) {
            break;
        }
    }
    shell.leave()
}

/// A byte that no key of a terminal in UTF-8 gives.
fn not_utf8() -> Trouble {
    Trouble::usage("the line has a byte that is not UTF-8, and was not carried out")
        .hint("does the terminal send another encoding?")
}

/// Completes from the table of commands and from the tree.
struct Names {
    runtime: Handle,
    client: Option<Client>,
}

impl Completer for Names {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(complete::complete(&line[..at], |path| match &self.client {
            Some(client) => complete::children(&self.runtime, client, path),
            None => Vec::new(),
        }))
    }
}

impl Hinter for Names {
    type Hint = String;
}
impl Highlighter for Names {}
impl Validator for Names {}
impl Helper for Names {}
