//! The comparison itself: rounds in turn, results on file, failures told.
#![allow(clippy::unwrap_used, reason = "a test's panic is its failure")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use zkfleet_bench::compare::jobs::Job;
use zkfleet_bench::compare::report::markdown;
use zkfleet_bench::compare::results::Results;
use zkfleet_bench::compare::server::{Host, Server};
use zkfleet_bench::compare::{Options, compare};
use zkfleet_bench::metric::Metric;
use zkfleet_bench::run::Timing;

fn options(dir: &Path, servers: &[&str], loads: &[&str], rounds: u32) -> Options {
    let names: Vec<String> = loads.iter().map(|&name| name.to_owned()).collect();
    let servers = servers.iter().map(|name| Server::parse(name, Path::new("")).unwrap());
    let instant = Duration::from_millis(50);
    // Something is answered in it even where all tests run at once.
    let short = Duration::from_millis(200);
    Options {
        servers: servers.collect(),
        jobs: Job::list(&names, 1).unwrap(),
        members: 1,
        rounds,
        timing: Timing { warm: instant, measured: short },
        jvm_warm: instant,
        settle: Duration::ZERO,
        host: Host {
            apache_script: PathBuf::new(),
            heap: String::new(),
            config: Vec::new(),
            dir: dir.join("data"),
            bench: env!("CARGO_BIN_EXE_zkfleet-bench").into(),
            keep: false,
        },
        out: dir.join("out"),
    }
}

#[test]
fn servers_take_turns_and_results_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let loads = ["sessions-50", "get-1x1", "set-2x2"];
    let results = compare(&options(dir.path(), &["floor"], &loads, 2)).unwrap();

    let order: Vec<(u32, &str)> =
        results.runs.iter().map(|run| (run.round, run.load.as_str())).collect();
    // What needs a server of its own comes last in its round.
    let round = |n| [(n, "get-1x1"), (n, "set-2x2"), (n, "sessions-50")];
    assert_eq!(order, [round(1), round(2)].concat());
    let rate = results.spread("set-2x2", "floor", Metric::OpsPerS);
    assert!(rate.is_some_and(|rate| rate.min > 0.0), "{:?}", results.runs);

    assert_eq!(Results::read(&dir.path().join("out/results.json")).unwrap(), results);
    let text = std::fs::read_to_string(dir.path().join("out/results.md")).unwrap();
    assert_eq!(text, markdown(&results));
    assert!(text.contains("| get-1x1 | p50 us |"), "{text}");
    let left = std::fs::read_dir(dir.path().join("data")).unwrap().count();
    assert_eq!(left, 0, "data directories are removed");
}

#[test]
fn a_server_that_does_not_start_fails_its_loads_and_nobody_else_s() {
    let dir = tempfile::tempdir().unwrap();
    let servers = ["broken=/bin/ls", "floor"];
    let results = compare(&options(dir.path(), &servers, &["empty", "get-1x1"], 1)).unwrap();
    let failed: Vec<(&str, bool)> =
        results.runs.iter().map(|run| (run.server.as_str(), run.failed.is_some())).collect();
    assert_eq!(failed, [("broken", true), ("broken", true), ("floor", false)]);
    let text = markdown(&results);
    let told = text.lines().find(|line| line.starts_with("- round 1, broken, get-1x1")).unwrap();
    // ls finds no file "server" and lists zoo.cfg: the last words of a server are in the report.
    assert!(told.contains("broken ended with") && told.contains("zoo.cfg"), "{told}");
}

/// The shell starts a floor server through the program, tells its number, and is killed.
#[test]
fn a_server_ends_with_the_program_that_started_it() {
    let bench = env!("CARGO_BIN_EXE_zkfleet-bench");
    let script = format!("{bench} child -- {bench} floor & echo $!; read forever");
    let mut shell = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(shell.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut told = [lines.next().unwrap(), lines.next().unwrap()];
    told.sort_by_key(String::len);
    let [pid, addr] = told;
    std::net::TcpStream::connect(&addr).unwrap();

    shell.kill().unwrap();
    shell.wait().unwrap();
    // Gone, or a zombie of whoever inherited it.
    let ended = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.map_or(true, |stat| stat.contains(") Z "))
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while !ended() {
        assert!(Instant::now() < deadline, "process {pid} outlives its parent");
        std::thread::yield_now();
    }
}
