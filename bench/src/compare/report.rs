//! The table: medians and spreads, ratios, goals.

use std::fmt::Write;

use crate::compare::goals::{Bound, Goal, Medians, Source, goals};
use crate::compare::jobs::Job;
use crate::compare::results::{About, Results, Run};
use crate::metric::{Better, Metric, Spread};

/// The server that the goals are for.
const OURS: &str = "ours";
const APACHE: &str = "apache-";
const FLOOR: &str = "floor";
/// Figures are quoted only when other programs used less (the performance goals say so).
const QUIET_CORES: f64 = 0.2;

/// One line while it runs.
#[must_use]
pub fn progress(run: &Run, rounds: u32) -> String {
    let mut line = format!("round {}/{rounds} {:<14}{:<20}", run.round, run.server, run.load);
    if let Some(failed) = &run.failed {
        let _ = write!(line, "FAILED: {failed}");
        return line;
    }
    let shown = run.load.parse::<Job>().map_or(Metric::ALL, |job| job.shown());
    for &metric in shown {
        if let Some(value) = run.values.get(metric) {
            let _ = write!(line, "  {} {}", figure(value), metric.label());
        }
    }
    line
}

/// The whole report.
#[must_use]
pub fn markdown(results: &Results) -> String {
    let mut out = heading(&results.about);
    if let Some(others) =
        Spread::of(results.runs.iter().filter_map(|run| run.values.get(Metric::OtherCores)))
    {
        let (median, max) = (figure(others.median), figure(others.max));
        let noise = if others.median > QUIET_CORES { " **Too busy to be quoted.**" } else { "" };
        let _ =
            writeln!(out, "Other programs used {median} cores (at most {max}) meanwhile.{noise}\n");
    }
    if let Some(fsync) =
        Spread::of(results.runs.iter().filter_map(|run| run.values.get(Metric::FsyncUs)))
    {
        let _ = writeln!(out, "A durable write of 512 B took the disk {} us.\n", cell(fsync));
    }
    out.push_str("Median [least..greatest] of the rounds; the ratio is that of the medians.\n\n");
    let servers = results.servers();
    let _ = write!(out, "| load | figure |");
    servers.iter().for_each(|server| _ = write!(out, " {server} |"));
    out.push_str(" ours : better Apache | goals |\n|---|---|");
    servers.iter().for_each(|_| out.push_str("---|"));
    out.push_str("---|---|\n");
    for load in results.loads() {
        let shown = load.parse::<Job>().map_or(Metric::ALL, |job| job.shown());
        for &metric in shown {
            row(&mut out, results, &servers, load, metric);
        }
    }
    let failures: Vec<&Run> = results.runs.iter().filter(|run| run.failed.is_some()).collect();
    if !failures.is_empty() {
        out.push_str("\nFailed:\n\n");
    }
    for run in failures {
        let why = run.failed.as_deref().unwrap_or_default();
        let _ = writeln!(out, "- round {}, {}, {}: {why}", run.round, run.server, run.load);
    }
    out
}

fn heading(about: &About) -> String {
    let mut out = String::new();
    for (what, value) in [
        ("Date", about.date.as_str()),
        ("Machine", &about.machine),
        ("Kernel", &about.kernel),
        ("Commit", &about.commit),
        ("Java", &format!("{}, -Xmx{}", about.java, about.heap)),
        ("Load average", &format!("{} to {}", about.load_average_before, about.load_average_after)),
        (
            "Rounds",
            &format!(
                "{}, {} s a load (three times that in open loops)",
                about.rounds, about.seconds
            ),
        ),
    ] {
        let _ = writeln!(out, "- {what}: {value}");
    }
    let _ = writeln!(out, "- Command: `{}`", about.command);
    let _ = writeln!(out, "\nzoo.cfg of all servers:\n\n```\n{}```\n", about.zoo_cfg);
    out
}

fn row(out: &mut String, results: &Results, servers: &[&str], load: &str, metric: Metric) {
    let spread = |server: &str| results.spread(load, server, metric);
    if servers.iter().all(|server| spread(server).is_none()) {
        return;
    }
    let _ = write!(out, "| {load} | {} |", metric.label());
    for server in servers {
        let cell = spread(server).map_or("-".to_owned(), cell);
        let _ = write!(out, " {cell} |");
    }
    let median = |server: &str| spread(server).map(|spread| spread.median);
    let apaches = servers.iter().filter(|server| server.starts_with(APACHE));
    let medians = Medians {
        ours: median(OURS),
        apache: better(metric, apaches.filter_map(|server| median(server))),
        floor: median(FLOOR),
    };
    let ratio = match (medians.ours, medians.apache) {
        (Some(ours), Some(apache)) if apache > 0.0 => {
            format!("{}{}", times(ours / apache), ratios(results, servers, load, metric))
        }
        _ => "-".to_owned(),
    };
    let goals = goals(results.about.members)
        .iter()
        .filter(|goal| goal.load == load && goal.metric == metric);
    let goals: Vec<String> = goals.map(|goal| verdict(goal, &medians)).collect();
    let _ = writeln!(out, " {ratio} | {} |", goals.join("; "));
}

/// The least and the greatest ratio of a single round, if they differ: a round's turns follow each
/// other closely, so a slow hour of the machine is in both.
fn ratios(results: &Results, servers: &[&str], load: &str, metric: Metric) -> String {
    let rounds = 1..=results.runs.iter().map(|run| run.round).max().unwrap_or(0);
    let of_round = |round| {
        let value = |server: &str| results.value(load, server, round, metric);
        let apaches = servers.iter().filter(|server| server.starts_with(APACHE));
        let apache = better(metric, apaches.filter_map(|server| value(server)))?;
        (apache > 0.0).then_some(value(OURS)? / apache)
    };
    match Spread::of(rounds.filter_map(of_round)) {
        Some(spread) if spread.min < spread.max => {
            format!(" [{}..{}]", times(spread.min), times(spread.max))
        }
        _ => String::new(),
    }
}

fn better(metric: Metric, medians: impl Iterator<Item = f64>) -> Option<f64> {
    match metric.better() {
        Better::Higher => medians.max_by(f64::total_cmp),
        Better::Lower => medians.min_by(f64::total_cmp),
    }
}

fn verdict(goal: &Goal, medians: &Medians) -> String {
    let source = match goal.source {
        Source::Bar => "bar",
        Source::Goal => "goal",
    };
    let bound = match goal.bound {
        Bound::Apache(factor) => times(factor),
        Bound::Floor(factor) => format!("{} floor", times(factor)),
        Bound::Absolute(limit) => figure(limit),
    };
    let reached = match goal.is_reached(medians) {
        Some(true) => " pass",
        Some(false) => " **miss**",
        None => "",
    };
    format!("{source} {bound}{reached}")
}

fn cell(spread: Spread) -> String {
    if spread.min == spread.max {
        return figure(spread.median);
    }
    format!("{} [{}..{}]", figure(spread.median), figure(spread.min), figure(spread.max))
}

/// A ratio as people say it: 8.2x, 1/12.
fn times(ratio: f64) -> String {
    if ratio == 0.0 || ratio >= 0.45 {
        format!("{}x", figure(ratio))
    } else {
        format!("1/{}", figure(1.0 / ratio))
    }
}

/// Three digits.
fn figure(value: f64) -> String {
    let (value, unit) = match value.abs() {
        1e6.. => (value / 1e6, "M"),
        1e4.. => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    };
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Values;
    use expect_test::expect;

    fn run(load: &str, server: &str, round: u32, figures: &[(Metric, f64)]) -> Run {
        let values = Values(figures.iter().copied().collect());
        Run { load: load.to_owned(), server: server.to_owned(), round, values, failed: None }
    }

    #[test]
    fn the_report_compares_medians_with_the_better_apache() {
        let ops = |server, round, ops| run("get-16x32", server, round, &[(Metric::OpsPerS, ops)]);
        let cpu = |server, cpu| run("get-1x1", server, 1, &[(Metric::CpuUsPerOp, cpu)]);
        let mut runs = vec![
            ops("ours", 1, 612_345.0),
            ops("apache-3.8.0", 1, 69_000.0),
            ops("apache-3.9.4", 1, 60_000.0),
            ops("floor", 1, 1_620_000.0),
            ops("ours", 2, 600_000.0),
            ops("apache-3.8.0", 2, 71_000.0),
            cpu("ours", 25.0),
            cpu("apache-3.8.0", 177.0),
            cpu("apache-3.9.4", 175.0),
        ];
        runs.push(Run {
            failed: Some("it broke".to_owned()),
            ..run("set-1x1", "apache-3.9.4", 2, &[])
        });
        let text = markdown(&Results { about: About::default(), runs });
        let table = &text[text.find("| load").unwrap()..];
        expect![[r#"
            | load | figure | ours | apache-3.8.0 | apache-3.9.4 | floor | ours : better Apache | goals |
            |---|---|---|---|---|---|---|---|
            | get-16x32 | ops/s | 606k [600k..612k] | 70k [69k..71k] | 60k | 1.62M | 8.66x [8.45x..8.87x] | bar 8x pass; goal 10x **miss** |
            | get-1x1 | CPU us/op | 25 | 177 | 175 | - | 1/7 | bar 1/8 **miss**; goal 1/10 **miss** |

            Failed:

            - round 2, apache-3.9.4, set-1x1: it broke
        "#]]
        .assert_eq(table);
    }

    #[test]
    fn figures_have_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.2854, "0.285"),
            (9.999, "10"),
            (45.67, "45.7"),
            (1234.5, "1234"),
            (48_913.0, "48.9k"),
            (1_620_000.0, "1.62M"),
        ] {
            assert_eq!(figure(value), text);
        }
        assert_eq!([times(8.0), times(0.6), times(0.125)], ["8x", "0.6x", "1/8"]);
    }
}
