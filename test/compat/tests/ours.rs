//! Ours against the golden files of Apache 3.9.4. No Java is needed.

use std::error::Error;

use compat::suite;
use zk_testkit::Engine;

#[test]
fn ours_answers_as_apache_394() -> Result<(), Box<dyn Error>> {
    let files = suite::load_cases()?;
    let rules = suite::load_rules()?;
    let records = suite::run(Engine::Ours, &files, &rules)?;
    let mut report = suite::differences(Engine::Ours, &rules, &suite::load_golden()?, &records);
    if std::env::var_os("ZKFLEET_CASE").is_none() {
        report.extend(suite::stale(Engine::Ours, &rules));
    }
    assert!(report.is_empty(), "{}", report.join("\n"));
    Ok(())
}
