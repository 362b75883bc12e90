//! Random programs on Apache 3.9.4 and on ours. `ZKFLEET_RANDOM_PROGRAMS` says how many (10),
//! `ZKFLEET_RANDOM_SEED` the first seed (1), `ZKFLEET_RANDOM_ENGINE=3.8.0` or `3.9.4` puts an
//! Apache in the place of ours. With `ZKFLEET_BLESS=1` the first programs are written to
//! `cases/random.txt`, so that they also run where there is no Apache.

use std::error::Error;
use std::{env, fs};

use compat::random::{self, Pair};
use compat::{here, suite};
use zk_testkit::{Engine, apache_or_skip};

/// How many programs have golden transcripts.
const RECORDED: u64 = 60;

fn number(name: &str, default: u64) -> Result<u64, Box<dyn Error>> {
    Ok(env::var(name).map_or(Ok(default), |text| text.parse())?)
}

fn seeds() -> Result<Vec<u64>, Box<dyn Error>> {
    let text = fs::read_to_string(here("random-regressions.txt"))?;
    let recorded = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut seeds = recorded.map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    let first = number("ZKFLEET_RANDOM_SEED", 1)?;
    seeds.extend(first..first + number("ZKFLEET_RANDOM_PROGRAMS", 10)?);
    Ok(seeds)
}

#[test]
fn random_programs_are_answered_as_by_apache_394() -> Result<(), Box<dyn Error>> {
    if env::var_os("ZKFLEET_BLESS").is_some() {
        return record();
    }
    let engine = match env::var("ZKFLEET_RANDOM_ENGINE").as_deref() {
        Ok("3.8.0") => Engine::Apache38,
        Ok("3.9.4") => Engine::Apache39,
        _ => Engine::Ours,
    };
    if !apache_or_skip(Engine::Apache39) || (engine.is_apache() && !apache_or_skip(engine)) {
        return Ok(());
    }
    let rules = suite::load_rules()?;
    let mut pair = Pair {
        model: random::start(Engine::Apache39)?,
        subject: random::start(engine)?,
        rules: &rules,
    };
    for seed in seeds()? {
        let steps = random::program(seed);
        if pair.differences(&steps)?.is_empty() {
            continue;
        }
        let (least, report) = pair.shrink(&steps)?;
        panic!(
            "seed {seed} (add it to random-regressions.txt):\n{}\n{}",
            random::case_text("shrunk", &least),
            report.join("\n")
        );
    }
    Ok(())
}

fn record() -> Result<(), Box<dyn Error>> {
    let mut text = String::from(
        "# The random programs of the first seeds, written by tests/random.rs with ZKFLEET_BLESS=1.\n",
    );
    for (key, value) in random::config() {
        text.push_str(&format!("config {key}={value}\n"));
    }
    for seed in 1..=RECORDED {
        text.push('\n');
        text.push_str(&random::case_text(&format!("seed-{seed}"), &random::program(seed)));
    }
    fs::write(here("cases/random.txt"), text)?;
    Ok(())
}
