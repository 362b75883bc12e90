//! Apache against Apache: 3.9.4 still answers as the golden files say, and 3.8.0 differs only as
//! listed. This shows that the cases are deterministic and that the harness sees differences.

use std::error::Error;

use compat::suite;
use zk_testkit::{Engine, apache_or_skip};

fn run(engine: Engine) -> Result<(), Box<dyn Error>> {
    if !apache_or_skip(engine) {
        return Ok(());
    }
    let files = suite::load_cases()?;
    let rules = suite::load_rules()?;
    let records = suite::run(engine, &files, &rules)?;
    let filtered = std::env::var_os("ZKFLEET_CASE").is_some();
    if engine == Engine::Apache39 && std::env::var_os("ZKFLEET_BLESS").is_some() {
        assert!(!filtered, "ZKFLEET_BLESS writes whole files and wants every case");
        suite::bless(&suite::load_golden()?, &records, &files)?;
    }
    let mut report = suite::differences(engine, &rules, &suite::load_golden()?, &records);
    if !filtered {
        report.extend(suite::stale(engine, &rules));
    }
    assert!(report.is_empty(), "{}", report.join("\n"));
    Ok(())
}

#[test]
fn apache_394_answers_as_the_golden_files_say() -> Result<(), Box<dyn Error>> {
    run(Engine::Apache39)
}

#[test]
fn apache_380_differs_only_as_listed() -> Result<(), Box<dyn Error>> {
    run(Engine::Apache38)
}
