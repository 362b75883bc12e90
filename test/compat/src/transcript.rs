//! What happened, as text: `== case`, `> step`, `< answer`. Golden files have this form.

use crate::SyntaxError;

/// A step and everything that came back.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StepRecord {
    /// The lines of the script.
    pub step: Vec<String>,
    /// What came.
    pub output: Vec<String>,
}

/// A run of a case.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CaseRecord {
    /// Its name.
    pub name: String,
    /// In order; the last ones are `end CONNECTION` and `tree`.
    pub steps: Vec<StepRecord>,
}

/// Writes records as a golden file.
#[must_use]
pub fn to_text(records: &[CaseRecord]) -> String {
    let mut text = String::new();
    for record in records {
        text.push_str(&format!("== {}\n", record.name));
        for step in &record.steps {
            for line in &step.step {
                text.push_str(&format!("> {line}\n"));
            }
            for line in &step.output {
                text.push_str(&format!("< {line}\n"));
            }
        }
        text.push('\n');
    }
    text
}

/// Reads a golden file.
pub fn parse(file: &str, text: &str) -> Result<Vec<CaseRecord>, SyntaxError> {
    let mut records: Vec<CaseRecord> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let fault =
            |what: &str| SyntaxError { file: file.into(), line: index + 1, what: what.into() };
        if line.is_empty() {
            continue;
        }
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        if mark == "==" {
            records.push(CaseRecord { name: rest.to_owned(), steps: Vec::new() });
            continue;
        }
        let steps = &mut records.last_mut().ok_or_else(|| fault("want == NAME first"))?.steps;
        match (mark, steps.last_mut()) {
            // A line of the script after an answer begins the next step.
            (">", Some(step)) if step.output.is_empty() && in_block(step) => {
                step.step.push(rest.to_owned());
            }
            (">", _) => steps.push(StepRecord { step: vec![rest.to_owned()], output: Vec::new() }),
            ("<", Some(step)) => step.output.push(rest.to_owned()),
            _ => return Err(fault("a line begins with ==, > or <")),
        }
    }
    Ok(records)
}

/// Whether the step's block is still open.
fn in_block(step: &StepRecord) -> bool {
    let opens = step.step[0]
        .split_whitespace()
        .nth(1)
        .is_some_and(|verb| matches!(verb, "multi" | "multiRead" | "pipeline"));
    opens && step.step.last().is_none_or(|line| line != "end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_files_round_trip() {
        let step = |step: &[&str], output: &[&str]| StepRecord {
            step: step.iter().map(|s| s.to_string()).collect(),
            output: output.iter().map(|s| s.to_string()).collect(),
        };
        let records = vec![
            CaseRecord {
                name: "one".into(),
                steps: vec![
                    step(&["a drop"], &[]),
                    step(&["a multi", "  check /a 0", "end"], &["+1 ok", "  check"]),
                    step(&["tree"], &[]),
                ],
            },
            CaseRecord { name: "two".into(), steps: vec![] },
        ];
        let text = to_text(&records);
        assert_eq!(parse("x", &text).unwrap(), records);
        assert_eq!(parse("x", "nonsense").unwrap_err().line, 1);
    }
}
