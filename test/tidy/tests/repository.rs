//! Every rule on this repository. Exceptions and their reasons are in `allow.txt`.

use std::error::Error;

use tidy::allow::{self, AllowList};
use tidy::files::{self, TextFile};
use tidy::{Finding, layers, links, purity, root, text, words};

/// The names of the rules, as `allow.txt` uses them.
const RULES: [&str; 10] = [
    "head",
    "size",
    "width",
    "function",
    "end",
    "placeholder",
    "machine-path",
    "pure",
    "word",
    "link",
];

const ALLOW: &str = include_str!("../allow.txt");

type Outcome = Result<(), Box<dyn Error>>;

fn check(rule: &str, found: impl FnOnce(&[TextFile]) -> Vec<Finding>) -> Outcome {
    assert!(RULES.contains(&rule), "{rule} is not in the list of rules");
    report(&AllowList::of(rule, ALLOW).apply(found(&files::load(&root())?)))
}

fn report(left: &[Finding]) -> Outcome {
    let lines: Vec<String> = left.iter().map(Finding::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
    Ok(())
}

#[test]
fn exceptions_have_a_rule_and_a_reason() -> Outcome {
    report(&allow::malformed(&RULES, ALLOW))
}

#[test]
fn every_rust_file_says_what_it_is() -> Outcome {
    check("head", text::heads)
}

#[test]
fn no_file_is_too_long() -> Outcome {
    check("size", text::sizes)
}

#[test]
fn comments_are_as_wide_as_code() -> Outcome {
    check("width", text::widths)
}

#[test]
fn no_function_is_too_long() -> Outcome {
    check("function", text::functions)
}

#[test]
fn files_and_lines_end_cleanly() -> Outcome {
    check("end", text::ends)
}

#[test]
fn nothing_is_left_to_be_written() -> Outcome {
    check("placeholder", text::placeholders)
}

#[test]
fn no_path_of_one_machine() -> Outcome {
    check("machine-path", text::machine_paths)
}

#[test]
fn pure_crates_do_not_touch_the_world() -> Outcome {
    check("pure", purity::impure_code)
}

#[test]
fn pure_crates_depend_on_pure_crates() -> Outcome {
    report(&purity::impure_dependencies(&layers::packages(&root())?))
}

#[test]
fn crates_depend_on_lower_layers_only() -> Outcome {
    report(&layers::violations(&layers::packages(&root())?))
}

#[test]
fn the_words_of_the_glossary_are_kept() -> Outcome {
    let banned = words::banned(&std::fs::read_to_string(root().join(words::GLOSSARY))?);
    assert!(banned.len() > 10, "the glossary bans {} words: are its tables read?", banned.len());
    check("word", |files| words::uses(&banned, files))
}

#[test]
fn links_between_documents_lead_somewhere() -> Outcome {
    check("link", |files| links::dead(files, |path| root().join(path).exists()))
}
