//! A run beside its golden file.

use crate::allowed::{self, Rule};
use crate::transcript::{CaseRecord, StepRecord};

/// The step of a case that could not be run to its end.
pub const HARNESS_FAILED: &str = "the harness failed";

/// Differences of one case, ready to be read by a person; empty if there are none.
#[must_use]
pub fn compare(
    rules: &[Rule],
    engine: &str,
    file: &str,
    golden: &CaseRecord,
    there: &CaseRecord,
) -> Vec<String> {
    let name = format!("{file}/{}", golden.name);
    let mut report = Vec::new();
    for (i, want) in golden.steps.iter().enumerate() {
        if let Some(failed) = there.steps.first().filter(|step| step.step == [HARNESS_FAILED]) {
            report.extend(show(failed, &[], &failed.output));
            break;
        }
        let Some(got) = there.steps.get(i).filter(|got| got.step == want.step) else {
            report.push(format!("  the case was changed after its golden file (step {})", i + 1));
            break;
        };
        let step = want.step.join(" ");
        let expected = allowed::rewrite(rules, engine, &name, &step, &want.output);
        if !allowed::equal(rules, engine, &name, &expected, &got.output) {
            report.extend(show(want, &expected, &got.output));
        }
    }
    if there.steps.len() > golden.steps.len() {
        report.push("  the case has steps that its golden file has not".to_owned());
    }
    if !report.is_empty() {
        report.insert(0, format!("{name}: {engine} differs from Apache 3.9.4"));
    }
    report
}

fn show(step: &StepRecord, expected: &[String], got: &[String]) -> Vec<String> {
    let mut lines = step.step.iter().map(|line| format!("    > {line}")).collect::<Vec<_>>();
    let head = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
    let (want, got) = (&expected[head..], &got[head..]);
    let tail = want.iter().rev().zip(got.iter().rev()).take_while(|(a, b)| a == b).count();
    let mut add = |mark: &str, part: &[String]| {
        lines.extend(part.iter().map(|line| format!("    {mark} < {line}")));
    };
    add(" ", &expected[..head]);
    add("-", &want[..want.len() - tail]);
    add("+", &got[..got.len() - tail]);
    add(" ", &want[want.len() - tail..]);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(steps: &[(&str, &[&str])]) -> CaseRecord {
        let steps = steps.iter().map(|(step, output)| StepRecord {
            step: vec![(*step).to_owned()],
            output: output.iter().map(|line| (*line).to_owned()).collect(),
        });
        CaseRecord { name: "c".into(), steps: steps.collect() }
    }

    #[test]
    fn equal_runs_say_nothing() {
        let run = record(&[("a ping", &["+1 ok"])]);
        assert_eq!(compare(&[], "ours", "f", &run, &run), Vec::<String>::new());
    }

    #[test]
    fn a_difference_is_shown_in_its_step() {
        let golden = record(&[("a ping", &["+1 ok"]), ("a sync /", &["+1 ok /", "x", "z"])]);
        let there = record(&[("a ping", &["+1 ok"]), ("a sync /", &["+1 ok /", "y", "z"])]);
        assert_eq!(
            compare(&[], "ours", "f", &golden, &there).join("\n"),
            "f/c: ours differs from Apache 3.9.4\n    > a sync /\n      < +1 ok /\n    - < x\n    + < y\n      < z"
        );
    }

    #[test]
    fn lost_added_and_changed_steps_are_differences() {
        let golden = record(&[("a ping", &[])]);
        for there in
            [record(&[]), record(&[("b ping", &[])]), record(&[("a ping", &[]), ("b", &[])])]
        {
            assert!(!compare(&[], "ours", "f", &golden, &there).is_empty(), "{there:?}");
        }
    }
}
