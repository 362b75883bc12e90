//! The differences that are allowed, each with its reason (`allowed-differences.txt`).
//!
//! ```text
//! # a comment
//! difference ENGINE case=GLOB step=GLOB
//! reason why it is right that this server answers something else
//! - < line of the golden file, * for anything
//! + < line of this server, $1 for what the first * was
//!
//! shifted ENGINE case=GLOB
//! reason why transactions are counted differently there: zxids of the case are not compared
//!
//! skip ENGINE case=GLOB
//! reason why the case cannot run there
//! ```
//!
//! A difference says what the other server answers instead, not that anything goes: the golden
//! lines are rewritten, and then compared as always. Without a `-` line the golden file must show
//! nothing. A rule that nothing needs is an error, so
//! that the list stays true.

use std::cell::Cell;

use crate::SyntaxError;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Difference,
    Shifted,
    Skip,
}

/// A rule of the list.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Line in the file.
    pub line: usize,
    /// `ours`, `3.8.0`.
    pub engine: String,
    case: String,
    step: String,
    /// Why.
    pub reason: String,
    kind: Kind,
    golden: Vec<String>,
    there: Vec<String>,
    used: Cell<bool>,
}

impl Rule {
    /// Whether any case needed it.
    #[must_use]
    pub fn was_used(&self) -> bool {
        self.used.get()
    }
}

/// Reads the list.
pub fn parse(file: &str, text: &str) -> Result<Vec<Rule>, SyntaxError> {
    let mut rules: Vec<Rule> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let fault =
            |what: &str| SyntaxError { file: file.into(), line: index + 1, what: what.into() };
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        let kind = match mark {
            "difference" => Some(Kind::Difference),
            "shifted" => Some(Kind::Shifted),
            "skip" => Some(Kind::Skip),
            _ => None,
        };
        if let Some(kind) = kind {
            let mut words = rest.split(' ');
            let engine = words.next().unwrap_or_default().to_owned();
            let rest = rest[engine.len()..].trim_start();
            let (case, step) = rest.split_once(" step=").unwrap_or((rest, "*"));
            let case = case.strip_prefix("case=").ok_or_else(|| fault("want case=GLOB"))?;
            rules.push(Rule {
                line: index + 1,
                engine,
                case: case.to_owned(),
                step: step.to_owned(),
                reason: String::new(),
                kind,
                golden: Vec::new(),
                there: Vec::new(),
                used: Cell::new(false),
            });
            continue;
        }
        let rule = rules.last_mut().ok_or_else(|| fault("want difference or skip first"))?;
        let answer = || rest.strip_prefix("< ").unwrap_or(rest).to_owned();
        match mark {
            "reason" if rule.reason.is_empty() => rule.reason = rest.to_owned(),
            "reason" => rule.reason = format!("{} {rest}", rule.reason),
            "-" => rule.golden.push(answer()),
            "+" => rule.there.push(answer()),
            _ => return Err(fault("want difference, shifted, skip, reason, - or +")),
        }
    }
    for rule in &rules {
        let fault =
            |what: &str| SyntaxError { file: file.into(), line: rule.line, what: what.into() };
        if rule.reason.is_empty() {
            return Err(fault("a rule needs a reason"));
        }
        if rule.kind == Kind::Difference && rule.golden.is_empty() && rule.there.is_empty() {
            return Err(fault("a difference needs lines"));
        }
    }
    Ok(rules)
}

/// Whether this case (`file/name`) is not run on this engine.
#[must_use]
pub fn skips(rules: &[Rule], engine: &str, case: &str) -> bool {
    find(rules, Kind::Skip, engine, case).next().inspect(|rule| rule.used.set(true)).is_some()
}

fn find<'a>(
    rules: &'a [Rule],
    kind: Kind,
    engine: &'a str,
    case: &'a str,
) -> impl Iterator<Item = &'a Rule> {
    rules.iter().filter(move |rule| {
        rule.kind == kind && rule.engine == engine && glob(&rule.case, case).is_some()
    })
}

/// Whether a run gave what is expected. Where transactions are counted differently, zxids count as
/// equal.
#[must_use]
pub fn equal(
    rules: &[Rule],
    engine: &str,
    case: &str,
    expected: &[String],
    got: &[String],
) -> bool {
    if expected == got {
        return true;
    }
    let mask = |lines: &[String]| lines.iter().map(|line| without_zxids(line)).collect::<Vec<_>>();
    let mut shifted = find(rules, Kind::Shifted, engine, case);
    let equal = shifted.next().filter(|_| mask(expected) == mask(got));
    equal.inspect(|rule| rule.used.set(true)).is_some()
}

/// The line with every `+N` as `+`.
fn without_zxids(line: &str) -> String {
    let mut parts = line.split('+');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push('+');
        text.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    text
}

/// What this engine is expected to answer where the golden file has `golden`.
#[must_use]
pub fn rewrite(
    rules: &[Rule],
    engine: &str,
    case: &str,
    step: &str,
    golden: &[String],
) -> Vec<String> {
    let mut lines = golden.to_vec();
    for rule in find(rules, Kind::Difference, engine, case) {
        if glob(&rule.step, step).is_none() {
            continue;
        }
        if rule.golden.is_empty() && lines.is_empty() {
            rule.used.set(true);
            lines.clone_from(&rule.there);
            continue;
        }
        let mut at = 0;
        while !rule.golden.is_empty() && at + rule.golden.len() <= lines.len() {
            let window = &lines[at..at + rule.golden.len()];
            let Some(found) = match_lines(&rule.golden, window) else {
                at += 1;
                continue;
            };
            rule.used.set(true);
            let new = rule.there.iter().map(|line| fill(line, &found)).collect::<Vec<_>>();
            let end = at + rule.golden.len();
            at += new.len();
            lines.splice(end - rule.golden.len()..end, new);
        }
    }
    lines
}

fn match_lines(patterns: &[String], lines: &[String]) -> Option<Vec<String>> {
    let mut found = Vec::new();
    for (pattern, line) in patterns.iter().zip(lines) {
        found.extend(glob(pattern, line)?);
    }
    Some(found)
}

fn fill(line: &str, found: &[String]) -> String {
    // From the last, so that $12 is not taken for $1 and a 2.
    (0..found.len())
        .rev()
        .fold(line.to_owned(), |line, i| line.replace(&format!("${}", i + 1), &found[i]))
}

/// What each `*` of the pattern stands for, shortest first; `None` if the text does not match.
fn glob(pattern: &str, text: &str) -> Option<Vec<String>> {
    let Some((head, rest)) = pattern.split_once('*') else {
        return (pattern == text).then(Vec::new);
    };
    let text = text.strip_prefix(head)?;
    for (at, _) in text.char_indices().chain([(text.len(), ' ')]) {
        if let Some(mut found) = glob(rest, &text[at..]) {
            found.insert(0, text[..at].to_owned());
            return Some(found);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# list\ndifference 3.8.0 case=* step=*\nreason no zxid there\n\
                        - < event * *\n+ < event -1 $2\n\n\
                        difference ours case=a/b step=x delete *\nreason two lines\nreason at once\n\
                        - < one\n- < two\n+ < three\n\nskip 3.8.0 case=bad/*\nreason breaks it\n";

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn golden_lines_are_rewritten() {
        let rules = parse("x", LIST).unwrap();
        let golden = lines(&["event +1 NodeCreated /a", "event +2 NodeDeleted /a b", "+2 ok"]);
        let there = lines(&["event -1 NodeCreated /a", "event -1 NodeDeleted /a b", "+2 ok"]);
        assert_eq!(rewrite(&rules, "3.8.0", "f/c", "a ping", &golden), there);
        assert_eq!(rewrite(&rules, "ours", "f/c", "a ping", &golden), golden);
        assert!(rules[0].was_used() && !rules[1].was_used());
    }

    #[test]
    fn nothing_becomes_something() {
        let rules = parse("x", "difference ours case=*\nreason x\n+ < closed\n").unwrap();
        assert_eq!(rewrite(&rules, "ours", "a/b", "end a", &[]), lines(&["closed"]));
        assert_eq!(rewrite(&rules, "ours", "a/b", "end a", &lines(&["x"])), lines(&["x"]));
    }

    #[test]
    fn several_lines_become_one() {
        let rules = parse("x", LIST).unwrap();
        let golden = lines(&["zero", "one", "two", "four"]);
        let there = lines(&["zero", "three", "four"]);
        assert_eq!(rewrite(&rules, "ours", "a/b", "x delete /p", &golden), there);
        assert_eq!(rewrite(&rules, "ours", "a/c", "x delete /p", &golden), golden);
        assert_eq!(rules[1].reason, "two lines at once");
    }

    #[test]
    fn cases_are_skipped_by_name() {
        let rules = parse("x", LIST).unwrap();
        assert!(skips(&rules, "3.8.0", "bad/one"));
        assert!(!skips(&rules, "3.8.0", "good/one"));
        assert!(!skips(&rules, "ours", "bad/one"));
    }

    #[test]
    fn a_shifted_case_is_compared_without_zxids() {
        let rules = parse("x", "shifted ours case=a/*\nreason one less\n").unwrap();
        let (golden, there) = (lines(&["+12 ok {c+3 m+12}"]), lines(&["+11 ok {c+3 m+11}"]));
        assert!(equal(&rules, "ours", "a/b", &golden, &there));
        assert!(!equal(&rules, "ours", "b/b", &golden, &there));
        assert!(!equal(&rules, "ours", "a/b", &golden, &lines(&["+11 ok {c+3 m-}"])));
    }

    #[test]
    fn a_rule_without_a_reason_is_refused() {
        let error = parse("x", "difference ours case=*\n- < a\n").unwrap_err();
        assert_eq!(error.to_string(), "x:1: a rule needs a reason");
    }

    #[test]
    fn globs() {
        assert_eq!(glob("a*c*", "abcd"), Some(lines(&["b", "d"])));
        assert_eq!(glob("a*c", "abcd"), None);
        assert_eq!(glob("*", ""), Some(lines(&[""])));
    }
}
