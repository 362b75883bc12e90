//! Rules about files as text: heads, sizes, last lines, placeholders, places of one machine.

use crate::code;
use crate::{Finding, files::TextFile};

/// The most lines of a hand-written Rust file.
pub const MAX_LINES: usize = 800;

/// Every Rust file says what it is.
#[must_use]
pub fn heads(files: &[TextFile]) -> Vec<Finding> {
    rust(files)
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| Finding::new(&file.path, 1, "begin with a //! line that says what this is"))
        .collect()
}

/// No Rust file is too long to be read.
#[must_use]
pub fn sizes(files: &[TextFile]) -> Vec<Finding> {
    rust(files)
        .filter_map(|file| {
            let count = file.text.lines().count();
            let what = format!("{count} lines; split it, {MAX_LINES} are the most");
            (count > MAX_LINES).then(|| Finding::new(&file.path, 0, what))
        })
        .collect()
}

/// The most columns of a line of a comment; rustfmt sees to code alone.
pub const MAX_COLUMNS: usize = 100;

/// Comments are as wide as code.
#[must_use]
pub fn widths(files: &[TextFile]) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in rust(files) {
        let comments = (1..).zip(file.text.lines()).filter(|(_, line)| {
            // A link has no place to break.
            line.trim_start().starts_with("//") && !line.contains("://")
        });
        let wide = comments.filter(|(_, line)| line.chars().count() > MAX_COLUMNS);
        let what = format!("wrap the comment at {MAX_COLUMNS} columns");
        found.extend(wide.map(|(at, _)| Finding::new(&file.path, at, what.clone())));
    }
    found
}

/// The most lines of a function: one screen.
pub const MAX_FUNCTION_LINES: usize = 70;

/// No function is too long to be seen at once. Relies on rustfmt: a function ends at the first
/// closing brace that stands where it began.
#[must_use]
pub fn functions(files: &[TextFile]) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in rust(files) {
        let lines: Vec<&str> = file.text.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| begins_function(line)) {
            let indent = &line[..line.len() - line.trim_start().len()];
            let ends = |line: &&str| line.strip_prefix(indent).is_some_and(|rest| rest == "}");
            let has_body = |line: &&str| line.ends_with('{');
            let head = lines[at..].iter().find(|line| line.ends_with(['{', ';', '}']));
            if !head.is_some_and(has_body) {
                continue;
            }
            let count = lines[at..].iter().position(ends).map_or(0, |last| last + 1);
            if count > MAX_FUNCTION_LINES {
                let what = format!("{count} lines; split it, {MAX_FUNCTION_LINES} are the most");
                found.push(Finding::new(&file.path, at + 1, what));
            }
        }
    }
    found
}

fn begins_function(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.find(|word| !word.starts_with("pub") && !["const", "async"].contains(word)) == Some("fn")
}

/// Files of other programs, kept byte for byte, and files that tests write.
const MADE: [&str; 2] = ["/testdata/", "/golden/"];

/// A text file ends with one newline, and no line with blanks.
#[must_use]
pub fn ends(files: &[TextFile]) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| !MADE.iter().any(|made| file.path.contains(made))) {
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            found.push(Finding::new(&file.path, 0, "end the last line with a newline"));
        }
        if file.text.ends_with("\n\n") {
            found.push(Finding::new(&file.path, 0, "remove the empty lines at the end"));
        }
        if file.is_rust() || file.is_markdown() {
            let trailing = |(_, line): &(usize, &str)| line.ends_with([' ', '\t', '\r']);
            let lines = (1..).zip(file.text.split('\n')).filter(trailing);
            found.extend(
                lines.map(|(n, _)| Finding::new(&file.path, n, "remove the blanks at the end")),
            );
        }
    }
    found
}

/// Macros that stand for something that is not there yet, or was only there to look.
const PLACEHOLDERS: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];

/// No code that is still to be written.
#[must_use]
pub fn placeholders(files: &[TextFile]) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in rust(files) {
        for (number, line) in (1..).zip(code::without_text(&file.text).lines()) {
            let names = PLACEHOLDERS.iter().filter(|name| line.contains(*name));
            found.extend(names.map(|name| {
                Finding::new(&file.path, number, format!("{name}: write it, or leave it out"))
            }));
        }
    }
    found
}

/// Folders below the root that only one machine has, or that are not the same on all.
const PLACES: [&str; 4] = ["work", "root", "home", "tmp"];

/// No path of the machine of whoever wrote it.
#[must_use]
pub fn machine_paths(files: &[TextFile]) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in files {
        for (number, line) in (1..).zip(file.text.lines()) {
            if let Some(place) = PLACES.iter().find(|place| names_place(line, place)) {
                let what = format!(
                    "/{place} is not on every machine; use a temporary directory or an argument"
                );
                found.push(Finding::new(&file.path, number, what));
            }
        }
    }
    found
}

/// Whether the path begins at its root here, and is not the tail of another one.
fn names_place(line: &str, place: &str) -> bool {
    line.match_indices(&format!("/{place}/"))
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "-_.}".contains(c)))
}

fn rust(files: &[TextFile]) -> impl Iterator<Item = &TextFile> {
    files.iter().filter(|file| file.is_rust())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn lines(rule: fn(&[TextFile]) -> Vec<Finding>, path: &str, text: &str) -> Vec<usize> {
        rule(&[TextFile::new(path, text)]).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_file_without_a_head_is_found() {
        assert_eq!(lines(heads, "a.rs", "//! What it is.\n"), NONE);
        assert_eq!(lines(heads, "a.rs", "use std::fmt;\n"), [1]);
        assert_eq!(lines(heads, "a.rs", ""), [1]);
        assert_eq!(lines(heads, "a.txt", "x\n"), NONE);
    }

    #[test]
    fn a_long_file_is_found() {
        assert_eq!(lines(sizes, "a.rs", &"x\n".repeat(MAX_LINES)), NONE);
        assert_eq!(lines(sizes, "a.rs", &"x\n".repeat(MAX_LINES + 1)), [0]);
    }

    #[test]
    fn a_long_function_is_found() {
        let function = |count: usize| {
            format!(
                "trait T {{\n    fn a(&self);\n    pub(crate) fn b() {{\n{}    }}\n}}\n",
                "x\n".repeat(count)
            )
        };
        assert_eq!(lines(functions, "a.rs", &function(MAX_FUNCTION_LINES - 2)), NONE);
        assert_eq!(lines(functions, "a.rs", &function(MAX_FUNCTION_LINES - 1)), [3]);
    }

    #[test]
    fn unclean_ends_are_found() {
        assert_eq!(lines(ends, "a.md", "x\ny\n"), NONE);
        assert_eq!(lines(ends, "a.txt", "x"), [0]);
        assert_eq!(lines(ends, "a.txt", "x\n\n"), [0]);
        assert_eq!(lines(ends, "a.rs", "x\ny \n"), [2]);
        assert_eq!(lines(ends, "a.txt", "x \n"), NONE);
    }

    #[test]
    fn placeholders_count_in_code_only() {
        assert_eq!(lines(placeholders, "a.rs", "// todo!\nfn f() {\n    todo!()\n}\n"), [3]);
        assert_eq!(lines(placeholders, "a.rs", "const A: &str = \"dbg!\";\n"), NONE);
    }

    #[test]
    fn places_of_one_machine_are_found() {
        for place in PLACES {
            for (before, after) in [("cd ", "x"), ("\"", "me/x\""), ("a=", "x")] {
                let line = format!("{before}/{place}/{after}");
                assert_eq!(lines(machine_paths, "a.txt", &line), [1], "{line}");
            }
            for before in ["a", "$dir", "${dir}"] {
                let line = format!("{before}/{place}/b");
                assert_eq!(lines(machine_paths, "a.txt", &line), NONE, "{line}");
            }
        }
        assert_eq!(lines(machine_paths, "a.txt", "homework/"), NONE);
    }
}
