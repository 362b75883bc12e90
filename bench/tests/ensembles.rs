//! Ensembles of ours, compared with nobody: every job has its figures, and a failure is told.
#![allow(clippy::unwrap_used, reason = "a test's panic is its failure")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use zk_testkit::zkfleet;
use zkfleet_bench::compare::jobs::Job;
use zkfleet_bench::compare::report::markdown;
use zkfleet_bench::compare::results::Results;
use zkfleet_bench::compare::server::{Host, Server};
use zkfleet_bench::compare::{Options, compare};
use zkfleet_bench::error::Error;
use zkfleet_bench::metric::Metric;
use zkfleet_bench::run::Timing;

fn run(dir: &Path, servers: &[&str], loads: &[&str]) -> Result<Results, Error> {
    let ours = PathBuf::from(zkfleet().unwrap().get_program());
    let names: Vec<String> = loads.iter().map(|&name| name.to_owned()).collect();
    let servers = servers.iter().map(|name| Server::parse(name, &ours).unwrap());
    let instant = Duration::from_millis(50);
    // Something is answered in it even where all tests run at once.
    let short = Duration::from_millis(300);
    compare(&Options {
        servers: servers.collect(),
        jobs: Job::list(&names, 3).unwrap(),
        members: 3,
        rounds: 1,
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
    })
}

/// Runs them on ours; each must have this figure, and it must be in the report.
fn all_have(jobs: &[(&str, Metric)]) {
    let dir = tempfile::tempdir().unwrap();
    let loads: Vec<&str> = jobs.iter().map(|(load, _)| *load).collect();
    let results = run(dir.path(), &["ours"], &loads).unwrap();
    let text = markdown(&results);
    for (load, metric) in jobs {
        let spread = results.spread(load, "ours", *metric);
        assert!(spread.is_some_and(|spread| spread.min > 0.0), "{load}: {text}");
        let row = format!("| {load} | {} |", metric.label());
        assert!(text.contains(&row), "{row}: {text}");
    }
    assert!(results.about.zoo_cfg.contains("server.3="), "{}", results.about.zoo_cfg);
    let left = std::fs::read_dir(dir.path().join("data")).unwrap().count();
    assert_eq!(left, 0, "data directories are removed");
}

#[test]
fn loads_run_on_all_members_or_at_one() {
    all_have(&[
        ("set-1x1@leader", Metric::P50Us),
        ("set-1x1@follower", Metric::P50Us),
        ("set-4x8", Metric::OpsPerS),
        ("mixed50-4x8", Metric::OpsPerS),
        ("createseq-4x8", Metric::OpsPerS),
        ("churn-6", Metric::OpsPerS),
        ("watch-12", Metric::P50Us),
    ]);
}

#[test]
fn members_start_lose_their_leader_and_come_back_with_nothing() {
    all_have(&[
        ("empty", Metric::FirstWriteMs),
        ("leader-killed", Metric::WriteGapMs),
        ("rejoin-3000", Metric::RejoinMs),
    ]);
}

/// It takes `syncLimit` ticks, 10 s, to be noticed.
#[test]
fn a_leader_that_nobody_hears_of_is_given_up() {
    all_have(&[("leader-unreachable", Metric::OutageMs)]);
}

#[test]
fn a_failed_job_is_told_and_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let results = run(dir.path(), &["broken=/bin/ls", "ours"], &["empty", "get-2x2"]).unwrap();
    let failed: Vec<(&str, bool)> =
        results.runs.iter().map(|run| (run.server.as_str(), run.failed.is_some())).collect();
    let [broken, whole] = [("broken", true), ("ours", false)];
    assert_eq!(failed, [broken, broken, whole, whole], "{}", markdown(&results));
}

#[test]
fn the_floor_server_is_no_member() {
    let dir = tempfile::tempdir().unwrap();
    let refusal = run(dir.path(), &["floor"], &["get-1x1"]).unwrap_err().to_string();
    assert!(refusal.contains("floor"), "{refusal}");
}
