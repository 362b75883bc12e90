//! The command line of the benchmarks.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use rustix::process::{Signal, set_parent_process_death_signal};
use zkfleet_bench::compare::jobs::Job;
use zkfleet_bench::compare::report::markdown;
use zkfleet_bench::compare::results::Results;
use zkfleet_bench::compare::server::{Host, Server};
use zkfleet_bench::compare::{Options, compare};
use zkfleet_bench::error::{Error, Result};
use zkfleet_bench::floor::Floor;
use zkfleet_bench::floor::copies::{self, Copies};
use zkfleet_bench::loads::Check;
use zkfleet_bench::metric::{Metric, Values};
use zkfleet_bench::pipeline;
use zkfleet_bench::proc::{self, Pid};
use zkfleet_bench::run::{Target, Timing, run};
use zkfleet_bench::spec::{GRAMMAR, Spec};

/// What is compared when nothing is said.
const SERVERS: &[&str] = &["ours", "apache-3.8.0", "apache-3.9.4", "floor"];
/// The floor server is no member.
const SERVERS_OF_ENSEMBLES: &[&str] = &["ours", "apache-3.9.4"];

/// Loads for ZooKeeper servers, and a comparison of ours with Apache's.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one load on a server and print its figures.
    Run(RunArgs),
    /// Print what loads there are.
    Loads,
    /// Measure the pipeline alone, on one thread: no sockets, no disk, no locks.
    Pipeline {
        /// Kinds of writes: set, create, createdelete.
        #[arg(long, value_delimiter = ',', default_value = "set,create,createdelete")]
        kinds: Vec<String>,
        /// Seconds for each kind.
        #[arg(long, default_value = "2", value_parser = seconds)]
        seconds: Duration,
    },
    /// Measure several servers in turn and print a table with ratios and goals.
    Compare(CompareArgs),
    /// Print the table of a results.json again.
    Report {
        /// The file.
        results: PathBuf,
    },
    /// Become another program that ends when the one that started this ends.
    #[command(hide = true)]
    Child {
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Serve without keeping anything: the physical floor of this machine.
    Floor {
        /// Where to listen; the port may be 0.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Make every batch of writes durable in this file before answering.
        #[arg(long)]
        file: Option<PathBuf>,
        /// The file has so many copies, each written by a process of its own: a majority must be
        /// durable before an answer, as in an ensemble. The numbers of all processes are printed.
        #[arg(long, requires = "file", default_value_t = 0)]
        copies: usize,
    },
    /// Keep a copy of a floor server's file.
    #[command(hide = true)]
    FloorCopy {
        /// Who sends what is to be kept.
        #[arg(long)]
        leader: SocketAddr,
        /// Where it is kept.
        #[arg(long)]
        file: PathBuf,
    },
}

#[derive(Args)]
struct RunArgs {
    /// The server's client address; of an ensemble those of the members that sessions are
    /// spread over.
    #[arg(long, required = true, value_delimiter = ',')]
    server: Vec<SocketAddr>,
    /// The load, e.g. get-16x32, open-set-500, preload-1000000 (see loads).
    #[arg(long)]
    load: Spec,
    /// Seconds that are measured.
    #[arg(long, default_value = "5", value_parser = seconds)]
    seconds: Duration,
    /// Seconds before them.
    #[arg(long, default_value = "1", value_parser = seconds)]
    warm: Duration,
    /// The server's process, or those of all members: their processor time and memory count.
    #[arg(long, value_delimiter = ',')]
    pid: Vec<u32>,
    /// The server keeps nothing (floor): check only that answers fit their requests.
    #[arg(long)]
    framing_only: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct CompareArgs {
    /// The servers, in the order of a round: ours, NAME=PATH of another zkfleet binary,
    /// apache-VERSION, floor [default: ours,apache-3.8.0,apache-3.9.4,floor; of ensembles
    /// ours,apache-3.9.4].
    #[arg(long, value_delimiter = ',')]
    servers: Vec<String>,
    /// Members of each server's ensemble; 1 is a standalone server.
    #[arg(long, default_value_t = 1)]
    members: usize,
    /// The loads: all, bar (what issue 2 asks for), or names; besides those of `loads` also
    /// empty and znodes-N, and of ensembles LOAD@leader, LOAD@follower, leader-killed,
    /// leader-unreachable and rejoin-N (a wiped member comes back to N znodes).
    #[arg(long, value_delimiter = ',', default_value = "all")]
    loads: Vec<String>,
    /// How often each server has its turn.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds measured of each load; open loops take three times as long.
    #[arg(long, default_value = "4", value_parser = seconds)]
    seconds: Duration,
    /// Seconds before them.
    #[arg(long, default_value = "1", value_parser = seconds)]
    warm: Duration,
    /// Seconds that a JVM works before its first load.
    #[arg(long, default_value = "20", value_parser = seconds)]
    jvm_warm: Duration,
    /// Seconds that a turn waits at most until the disk is as fast again as at its best.
    #[arg(long, default_value = "60", value_parser = seconds)]
    settle: Duration,
    /// The most memory of a JVM's heap.
    #[arg(long, default_value = "2g")]
    heap: String,
    /// Further lines of every zoo.cfg.
    #[arg(long, value_name = "KEY=VALUE")]
    cfg: Vec<String>,
    /// Our server [default: the one that was built beside this program].
    #[arg(long, default_value_os_t = beside_this_program())]
    ours: PathBuf,
    /// The script that knows how to start Apache's servers.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../test/foreign/apache.sh"))]
    apache_script: PathBuf,
    /// Where servers keep their files meanwhile: its disk is what is measured.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench/data"))]
    dir: PathBuf,
    /// Keep the data directories and logs of all servers.
    #[arg(long)]
    keep: bool,
    /// Where results.json and results.md are written, after every round.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench"))]
    out: PathBuf,
}

fn beside_this_program() -> PathBuf {
    std::env::current_exe().unwrap_or_default().with_file_name("zkfleet")
}

fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|e| e.to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

fn main() -> ExitCode {
    proc::raise_file_limit();
    let done = match Cli::parse().command {
        Command::Run(args) => one(&args),
        Command::Loads => {
            println!("{GRAMMAR}");
            Ok(())
        }
        Command::Pipeline { kinds, seconds } => {
            pipelines(&kinds, seconds);
            Ok(())
        }
        Command::Compare(args) => several(args),
        Command::Report { results } => {
            Results::read(&results).map(|results| println!("{}", markdown(&results)))
        }
        Command::Child { command } => Err(become_child(&command)),
        Command::Floor { listen, file, copies } => serve_floor(listen, file.as_deref(), copies),
        Command::FloorCopy { leader, file } => copies::copy(leader, &file),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zkfleet-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve_floor(listen: SocketAddr, file: Option<&Path>, copies: usize) -> Result<()> {
    let mut floor = Floor::bind(listen, file)?;
    println!("{}", floor.addr());
    if let Some(file) = file.filter(|_| copies > 0) {
        let copies = Copies::start(copies, file)?;
        let pids = std::iter::once(process::id()).chain(copies.pids());
        println!("{}", pids.map(|pid| pid.to_string()).collect::<Vec<_>>().join(","));
        floor = floor.with_copies(copies);
    }
    floor.run(&AtomicBool::new(false))
}

fn pipelines(kinds: &[String], seconds: Duration) {
    println!("{:<16}{:>14}{:>14}{:>14}", "ns a write", "prepare", "apply", "writes");
    let is_wanted = |name: &str| kinds.iter().any(|kind| kind == name);
    for (name, kind) in pipeline::Kind::ALL.into_iter().filter(|(name, _)| is_wanted(name)) {
        let cost = pipeline::measure(kind, seconds);
        let (prepare, apply) = (cost.prepare_ns(), cost.apply_ns());
        println!("{name:<16}{prepare:>14.0}{apply:>14.0}{:>14}", cost.writes());
    }
}

fn several(args: CompareArgs) -> Result<()> {
    let default = if args.members > 1 { SERVERS_OF_ENSEMBLES } else { SERVERS };
    let names: Vec<&str> = match &args.servers[..] {
        [] => default.to_vec(),
        names => names.iter().map(String::as_str).collect(),
    };
    let servers = names.into_iter().map(|name| Server::parse(name, &args.ours));
    let options = Options {
        servers: servers.collect::<Result<_>>()?,
        jobs: Job::list(&args.loads, args.members)?,
        members: args.members,
        rounds: args.rounds,
        timing: Timing { warm: args.warm, measured: args.seconds },
        jvm_warm: args.jvm_warm,
        settle: args.settle,
        host: Host {
            apache_script: args.apache_script,
            heap: args.heap,
            config: args.cfg,
            dir: args.dir,
            bench: std::env::current_exe().map_err(Error::io("find this program"))?,
            keep: args.keep,
        },
        out: args.out,
    };
    let results = compare(&options)?;
    println!("{}", markdown(&results));
    match results.runs.iter().filter(|run| run.failed.is_some()).count() {
        0 => Ok(()),
        count => Err(Error::Failed { count }),
    }
}

/// Returns only when it fails.
fn become_child(command: &[OsString]) -> Error {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return Error::io("ask to end with the parent")(error);
    }
    let program = &command[0];
    let error = process::Command::new(program).args(&command[1..]).exec();
    Error::io(format!("execute {}", program.display()))(error)
}

fn one(args: &RunArgs) -> Result<()> {
    let target = Target {
        addrs: args.server.clone(),
        pids: args.pid.iter().copied().map(Pid).collect(),
        check: if args.framing_only { Check::Framing } else { Check::Content },
    };
    let timing = Timing { warm: args.warm, measured: args.seconds };
    let values = run(&args.load, &target, &timing)?;
    if args.json {
        println!("{}", json(&args.load, &values));
    } else {
        println!("{}", args.load);
        for &metric in Metric::ALL {
            if let Some(value) = values.get(metric) {
                println!("  {:<24}{value:>14.2}", metric.label());
            }
        }
    }
    Ok(())
}

fn json(load: &Spec, values: &Values) -> serde_json::Value {
    serde_json::json!({ "load": load.to_string(), "values": values })
}
