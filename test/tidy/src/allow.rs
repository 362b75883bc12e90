//! Exceptions, each with its reason: `RULE PATH REASON`, one in a line.
//!
//! A line that nothing needs any more is a finding itself.

use std::collections::BTreeSet;

use crate::Finding;

/// The list, for one rule.
#[derive(Debug)]
pub struct AllowList<'a> {
    paths: Vec<(usize, &'a str)>,
}

/// Where the list is, for findings about it.
const FILE: &str = "test/tidy/allow.txt";

impl<'a> AllowList<'a> {
    /// The exceptions from `rule`.
    #[must_use]
    pub fn of(rule: &str, text: &'a str) -> AllowList<'a> {
        let paths = lines(text)
            .filter(|(_, words)| words.first() == Some(&rule))
            .filter_map(|(line, words)| Some((line, *words.get(1)?)))
            .collect();
        AllowList { paths }
    }

    /// The findings that count: all but the excepted, and the exceptions without a finding.
    #[must_use]
    pub fn apply(&self, findings: Vec<Finding>) -> Vec<Finding> {
        let mut used = BTreeSet::new();
        let mut left: Vec<Finding> = findings
            .into_iter()
            .filter(|finding| match self.paths.iter().find(|(_, path)| *path == finding.file) {
                Some((line, _)) => {
                    used.insert(*line);
                    false
                }
                None => true,
            })
            .collect();
        let stale = self.paths.iter().filter(|(line, _)| !used.contains(line));
        left.extend(stale.map(|(line, path)| {
            Finding::new(FILE, *line, format!("{path} needs no exception; remove the line"))
        }));
        left
    }
}

/// Lines of the list that are none: of an unknown rule, or without a reason.
#[must_use]
pub fn malformed(rules: &[&str], text: &str) -> Vec<Finding> {
    lines(text)
        .filter(|(_, words)| words.len() < 3 || !rules.contains(&words[0]))
        .map(|(line, _)| {
            Finding::new(FILE, line, format!("write RULE PATH REASON; the rules are {rules:?}"))
        })
        .collect()
}

fn lines(text: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| (number, line.split_whitespace().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# a comment\nsize a.rs a table\n\nsize gone.rs was long\nwords a.rs x\n";

    #[test]
    fn an_exception_hides_its_file_only_and_a_stale_one_is_told() {
        let found = ["a.rs", "b.rs"].map(|file| Finding::new(file, 0, "too long")).to_vec();
        let left: Vec<String> =
            AllowList::of("size", LIST).apply(found).iter().map(Finding::to_string).collect();
        let stale = "test/tidy/allow.txt:4: gone.rs needs no exception; remove the line";
        assert_eq!(left, ["b.rs: too long", stale]);
    }

    #[test]
    fn an_exception_has_a_known_rule_and_a_reason() {
        assert_eq!(malformed(&["size", "words"], LIST), []);
        assert_eq!(malformed(&["size"], LIST).len(), 1);
        assert_eq!(malformed(&["size"], "size a.rs\n").len(), 1);
    }
}
