//! Directories cross over, with the real servers: what Apache wrote starts ours and the other way
//! round, with every kind of transaction, znode and session, all compressions of snapshots, after a
//! stop and after a kill; nothing of tree, Stats, ACLs, ephemerals, sessions and digest is different.
//!
//! Each pair of engines is a test and makes one journey, so that all compressions and both ends
//! occur; with `ZKFLEET_CROSSINGS=all` it makes all six.

use std::error::Error;

use zk_testkit::{Engine, apache_or_skip};

use crate::journey::{End, Journey};

const COMPRESSIONS: [&str; 3] = ["", "gz", "snappy"];
const ENDS: [End; 2] = [End::Killed, End::Told];

/// `turn` says which journey is made if not all are.
fn cross(from: Engine, to: Engine, turn: usize) -> Result<(), Box<dyn Error>> {
    if [from, to].iter().any(|engine| engine.is_apache() && !apache_or_skip(*engine)) {
        return Ok(());
    }
    let all = ENDS.into_iter().flat_map(|end| COMPRESSIONS.map(|compression| (compression, end)));
    let is_full = std::env::var("ZKFLEET_CROSSINGS").is_ok_and(|value| value == "all");
    for (number, (compression, end)) in all.enumerate() {
        if is_full || number == turn {
            Journey { from, to, compression, end }.run()?;
        }
    }
    Ok(())
}

#[test]
fn from_ours_to_apache_394_and_home() -> Result<(), Box<dyn Error>> {
    cross(Engine::Ours, Engine::Apache39, 0)
}

#[test]
fn from_ours_to_apache_380_and_home() -> Result<(), Box<dyn Error>> {
    cross(Engine::Ours, Engine::Apache38, 5)
}

#[test]
fn from_apache_394_to_ours_and_home() -> Result<(), Box<dyn Error>> {
    cross(Engine::Apache39, Engine::Ours, 2)
}

#[test]
fn from_apache_380_to_ours_and_home() -> Result<(), Box<dyn Error>> {
    cross(Engine::Apache38, Engine::Ours, 4)
}
