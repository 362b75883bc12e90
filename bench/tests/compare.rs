//! The comparison itself: rounds in turn, results on file, failures told.
#![allow(clippy::unwrap_used, reason = "a test's panic is its failure")]

use std::path::{Path, PathBuf};
use std::time::Duration;

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
    Options {
        servers: servers.collect(),
        jobs: Job::list(&names).unwrap(),
        rounds,
        timing: Timing { warm: instant, measured: instant },
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
    let servers = ["broken=/bin/false", "floor"];
    let results = compare(&options(dir.path(), &servers, &["empty", "get-1x1"], 1)).unwrap();
    let failed: Vec<(&str, bool)> =
        results.runs.iter().map(|run| (run.server.as_str(), run.failed.is_some())).collect();
    assert_eq!(failed, [("broken", true), ("broken", true), ("floor", false)]);
    assert!(markdown(&results).contains("- round 1, broken, get-1x1: broken ended with"));
}
