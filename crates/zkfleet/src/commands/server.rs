//! `zkfleet server FILE`: one member, in the foreground, until a signal ends it.

mod lines;
mod memory;
mod signals;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use zk_server::Server;
use zk_server::config::{self, Options, Override};
use zk_store::disk::RealDisk;
use zk_store::recover::Accept;

use lines::Lines;
use signals::{Signals, Starting};

const EXIT_CODES: &str = "\
SIGTERM, SIGINT and SIGHUP stop the server, also while it starts; SIGHUP does not under nohup.
To have the configuration read again, restart it.

Exit codes, Apache ZooKeeper's:
   0  stopped as told, and everything is on disk
   1  the data is damaged or incomplete, or a port cannot be used
   2  the configuration or the command line is wrong
   3  the data directory is missing, not writable, in use, or holds what does not belong there
   4  the admin server cannot start
  10  the disk refused to read or to write, or the audit log could not be written";

/// Runs one ZooKeeper server from a zoo.cfg.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// The configuration, as Apache ZooKeeper reads it.
    #[arg(value_name = "ZOO.CFG")]
    file: PathBuf,
    /// A setting beside the file, with or without the prefix `zookeeper.`; the file wins, as in
    /// Apache ZooKeeper.
    #[arg(short = 'D', value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Start once although recovery refuses: missing-log (as when a snapshot alone is restored),
    /// cut-newest-log, gaps or digest, several with commas between them; the refusal names all that
    /// it takes. What is lost then stays lost. Refused when nothing is.
    #[arg(long, value_name = "LOSS", value_delimiter = ',')]
    accept: Vec<Accept>,
    /// How the lines of the log look: text, or json with a field for each value.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Accept settings that give data away.
    #[arg(long = "unsafe")]
    allow_unsafe: bool,
}

/// Exit code of a bad configuration, as in Apache ZooKeeper.
const BAD_CONFIG: u8 = 2;
/// Exit code after the log, or the audit log, could not be written.
const LOG_FAILED: u8 = 10;
/// How long the last lines on stderr may take.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Serves until it is told to stop. The exit code tells the truth: 0 only after a complete stop.
pub(crate) fn run(args: &Args) -> ExitCode {
    memory::bound_heaps();
    let lines = Lines::start();
    log_to(&lines, args.log_format);
    let starting = Signals::new().and_then(|signals| signals.while_starting(lines.clone()));
    let code = match starting {
        Ok(starting) => load_and_serve(args, &lines, starting),
        Err(error) => {
            tracing::error!("cannot wait for signals: {error}");
            ExitCode::FAILURE
        }
    };
    lines.flush(LAST_LINES);
    code
}

fn load_and_serve(args: &Args, lines: &Lines, mut starting: Starting) -> ExitCode {
    let options = Options { unsafe_allowed: args.allow_unsafe, ..Options::default() };
    let mut set: Vec<Override> =
        args.set.iter().map(|text| Override::from_argument(text)).collect();
    for variable in ["JVMFLAGS", "SERVER_JVMFLAGS"] {
        set.extend(Override::from_jvm_flags(&std::env::var(variable).unwrap_or_default()));
    }
    let loaded = match config::load(&args.file, &set, options) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(BAD_CONFIG);
        }
    };
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let audit = {
        let lines = lines.clone();
        Arc::new(move |line: &str| lines.audit(line))
    };
    let is_loaded = || starting.loaded();
    let disk = Arc::new(RealDisk);
    match Server::start_accepting(loaded.config, disk, &args.accept, audit, is_loaded) {
        Ok(server) => serve(server, starting),
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// How lines of the log look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Lines on stderr: one each, at INFO unless `ZKFLEET_LOG` says otherwise: a level, or levels by
/// module, as in `info,zk_server::net=debug`.
fn log_to(lines: &Lines, format: LogFormat) {
    let wanted = std::env::var("ZKFLEET_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let levels = wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer().with_writer(lines.clone());
    let registry = tracing_subscriber::registry().with(levels);
    // Only a second call fails, and then the first one holds.
    let _ = match format {
        LogFormat::Text => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
}

/// How often a failed log is looked for.
const WATCH: Duration = Duration::from_millis(100);

fn serve(server: Server, starting: Starting) -> ExitCode {
    let Some(mut signals) = starting.end() else { return ExitCode::FAILURE };
    let has_failed = match signals.wait(failure(&server)) {
        Ok(()) => true,
        Err(name) => {
            tracing::info!("stopping because of {name}");
            false
        }
    };
    let stopped = server.stop();
    if has_failed {
        return ExitCode::from(LOG_FAILED);
    }
    match stopped {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(LOG_FAILED)
        }
    }
}

async fn failure(server: &Server) {
    while !server.has_failed() {
        tokio::time::sleep(WATCH).await;
    }
}
