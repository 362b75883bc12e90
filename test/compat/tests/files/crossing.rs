//! Directories cross over, with the real servers: what Apache wrote starts ours and the other way
//! round, with every kind of transaction, znode and session, all compressions of snapshots, after a
//! stop and after a kill; nothing of tree, Stats, ACLs, ephemerals, sessions and digest is
//! different.
//!
//! Each route is a test and makes one journey, so that all compressions and both ends occur; with
//! `ZKFLEET_CROSSINGS=all` it makes all six. Only then do those with a feature of their own go
//! between ours and 3.8.0, too.

use std::error::Error;

use zk_testkit::{Engine, apache_or_skip};

use crate::journey::{End, Feature, Journey};

const COMPRESSIONS: [&str; 3] = ["", "gz", "snappy"];
const ENDS: [End; 2] = [End::Killed, End::Told];

fn is_full() -> bool {
    std::env::var("ZKFLEET_CROSSINGS").is_ok_and(|value| value == "all")
}

/// `turn` says which journey is made if not all are.
fn go(route: &'static [Engine], feature: Feature, turn: usize) -> Result<(), Box<dyn Error>> {
    if route.iter().any(|engine| engine.is_apache() && !apache_or_skip(*engine)) {
        return Ok(());
    }
    let all = ENDS.into_iter().flat_map(|end| COMPRESSIONS.map(|compression| (compression, end)));
    for (number, (compression, end)) in all.enumerate() {
        if is_full() || number == turn {
            Journey { route, feature, compression, end }.run()?;
        }
    }
    Ok(())
}

const OURS_AND_394: [&[Engine]; 2] = [
    &[Engine::Ours, Engine::Apache39, Engine::Ours],
    &[Engine::Apache39, Engine::Ours, Engine::Apache39],
];
const OURS_AND_380: [&[Engine]; 2] = [
    &[Engine::Ours, Engine::Apache38, Engine::Ours],
    &[Engine::Apache38, Engine::Ours, Engine::Apache38],
];

/// Both ways between ours and 3.9.4, with 3.8.0 if everything is gone through.
fn go_with(feature: Feature, turns: [usize; 2]) -> Result<(), Box<dyn Error>> {
    let routes = [OURS_AND_394, OURS_AND_380];
    for pair in &routes[..if is_full() { 2 } else { 1 }] {
        for (route, turn) in pair.iter().zip(turns) {
            go(route, feature, turn)?;
        }
    }
    Ok(())
}

#[test]
fn from_ours_to_apache_394_and_home() -> Result<(), Box<dyn Error>> {
    go(OURS_AND_394[0], Feature::None, 0)
}

#[test]
fn from_ours_to_apache_380_and_home() -> Result<(), Box<dyn Error>> {
    go(OURS_AND_380[0], Feature::None, 5)
}

#[test]
fn from_apache_394_to_ours_and_home() -> Result<(), Box<dyn Error>> {
    go(OURS_AND_394[1], Feature::None, 2)
}

#[test]
fn from_apache_380_to_ours_and_home() -> Result<(), Box<dyn Error>> {
    go(OURS_AND_380[1], Feature::None, 4)
}

/// As somebody does who upgrades, and goes back to the very beginning.
#[test]
fn from_apache_380_over_394_to_ours_and_back_to_380() -> Result<(), Box<dyn Error>> {
    use Engine::{Apache38, Apache39, Ours};
    go(&[Apache38, Apache39, Ours, Apache38], Feature::None, 3)
}

#[test]
fn with_logs_in_a_directory_of_their_own() -> Result<(), Box<dyn Error>> {
    go_with(Feature::LogDir, [1, 3])
}

#[test]
fn without_digests() -> Result<(), Box<dyn Error>> {
    go_with(Feature::NoDigests, [2, 0])
}

#[test]
fn with_digests_later() -> Result<(), Box<dyn Error>> {
    use Engine::{Apache38, Apache39, Ours};
    go(&[Apache39, Ours, Apache39], Feature::DigestsLater, 4)?;
    go(&[Ours, Apache39, Ours, Apache38], Feature::DigestsLater, 1)
}
