//! The fields of every command and their types. `shapes-3.9.4.txt` holds those of Apache's answers;
//! `UPDATE_EXPECT=1` writes it anew where that Apache is.

use std::collections::BTreeSet;

use expect_test::expect_file;
use serde_json::Value;
use zk_testkit::{Engine, apache_or_skip};

use crate::site::Site;

const APACHES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/admin/shapes-3.9.4.txt");
/// Answered by other tests: they want rights, and not JSON.
const ELSEWHERE: [&str; 2] = ["restore", "snapshot"];
/// Of these ours leaves out what is about a JVM (docs/deviations.md).
const SUBSETS: [&str; 2] = ["environment.", "monitor."];
/// Settings instead of what Java knows, without passwords.
const PROPERTIES: &str = "system_properties.";
/// What a JVM tells of itself.
const JVM: &str = "environment.java.";
/// What ours counts and Apache does not.
const OURS: [&str; 2] = ["monitor.sessions_refused: int", "monitor.unsent_limit_exceeded: int"];

/// A line for each field: where, and which type. Keys that are data (paths, ids, times) are `*`.
fn shape(at: &str, value: &Value, lines: &mut BTreeSet<String>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "real",
        Value::Number(_) => "int",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "map",
    };
    lines.insert(format!("{at}: {kind}"));
    for element in value.as_array().into_iter().flatten() {
        shape(&format!("{at}[]"), element, lines);
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        let is_data = key.starts_with(|c: char| c == '/' || c.is_ascii_digit());
        let key = if is_data { "*" } else { key };
        shape(&format!("{at}.{key}"), value, lines);
    }
}

/// Every command that the index names, on a server with some load.
fn shapes(engine: Engine) -> BTreeSet<String> {
    let site = Site::start(engine, &[]);
    let _clients = site.load();
    let index = site.ask("GET /commands", &[], b"").text();
    let commands = index.lines().filter_map(|line| {
        line.strip_prefix("<a href=\"/commands/")?.split_once('"').map(|(name, _)| name)
    });
    let mut lines = BTreeSet::new();
    for command in commands.filter(|name| !ELSEWHERE.contains(name)) {
        let arguments = if command == "set_trace_mask" { "?traceMask=306" } else { "" };
        let answer = site.command(&format!("{command}{arguments}"));
        assert_eq!(answer["command"], command);
        shape(command, &answer, &mut lines);
    }
    lines
}

#[test]
fn apache_394_answers_with_the_recorded_fields() {
    if !apache_or_skip(Engine::Apache39) {
        return;
    }
    // What this very machine and its JVM have is all text.
    let is_of_machine = |line: &String| {
        if line.starts_with(JVM) {
            return true;
        }
        let key = line.strip_prefix(PROPERTIES);
        key.is_some_and(|key| !["command: text", "error: null"].contains(&key))
    };
    let all = shapes(Engine::Apache39).into_iter();
    let (of_machine, lines) = all.partition::<Vec<_>, _>(is_of_machine);
    assert!(of_machine.iter().all(|line| line.ends_with(": text")), "{of_machine:#?}");
    let lines = lines.into_iter();
    expect_file![APACHES].assert_eq(&lines.map(|line| line + "\n").collect::<String>());
}

#[test]
fn ours_has_apaches_fields_with_their_types() {
    let text = std::fs::read_to_string(APACHES).unwrap();
    let apaches = text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let ours = shapes(Engine::Ours);
    let is_free = |line: &&String| {
        OURS.contains(&line.as_str()) || (line.starts_with(PROPERTIES) && line.ends_with(": text"))
    };
    let added = ours.difference(&apaches).filter(|line| !is_free(line)).collect::<Vec<_>>();
    let is_subset = |line: &&String| {
        SUBSETS.iter().any(|command| line.starts_with(command)) || line.starts_with(PROPERTIES)
    };
    let missing = apaches.difference(&ours).filter(|line| !is_subset(line)).collect::<Vec<_>>();
    assert!(added.is_empty() && missing.is_empty(), "added: {added:#?}\nmissing: {missing:#?}");
    for wanted in OURS {
        assert!(ours.contains(wanted), "{wanted} is listed and not there");
    }
}
