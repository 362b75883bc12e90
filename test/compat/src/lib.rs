//! One script of requests, several servers, every answer compared.
//!
//! `cases/*.txt` are scripts in a small language ([`script`] describes it). A run on a server
//! gives a transcript: every response, error, zxid, event and closing, then the tree that is left,
//! with zxids relative to the start and session ids as names ([`symbols`]). `golden/*.txt` holds
//! the transcripts of Apache 3.9.4. Another server must give the same, except for what
//! `allowed-differences.txt` lists with a reason ([`allowed`]).
//!
//! **Invariant:** nothing here knows what the right answer is. The only opinion about ZooKeeper
//! is in the golden files, and those were written by Apache. Requests are put together from a
//! table of fields, byte by byte, so that a fault of `zk-proto` cannot hide itself.
//!
//! Beside that, the clients of tests that kill and cut: [`worker`] writes and remembers what it was
//! told, [`load`] has several of them write to an ensemble, and the testkit's checker judges.
//!
//! Read first: [`script::CaseFile`], [`run::run_case`], [`transcript::CaseRecord`].
//!
//! Tested by `cargo test -p compat`, which runs the suite too. Environment:
//! - `ZKFLEET_CASE=TEXT` runs only cases whose `file/name` contains TEXT,
//! - `ZKFLEET_BLESS=1` writes the golden files anew from Apache 3.9.4,
//! - `ZKFLEET_REQUIRE_APACHE=1` fails where an Apache is missing,
//! - `ZKFLEET_RANDOM_PROGRAMS=N` runs N random programs, from `ZKFLEET_RANDOM_SEED`,
//! - `ZKFLEET_KILL_ROUNDS=N` kills the server N times,
//! - `ZKFLEET_RIG_ROUNDS=N` breaks the network between members N times,
//! - `ZKFLEET_CROSSINGS=all` moves directories between servers in all ways, not in a few.

pub mod allowed;
mod audit;
pub mod compare;
pub mod load;
pub mod random;
pub mod render;
pub mod request;
pub mod run;
pub mod script;
pub mod suite;
pub mod symbols;
pub mod token;
pub mod transcript;
mod words;
pub mod worker;
pub mod world;

use std::path::PathBuf;

/// What an environment variable says, if it is a number.
#[must_use]
pub fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A file or folder of this package.
#[must_use]
pub fn here(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A fault in a case file or in one of the lists: where, and what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct SyntaxError {
    /// The file's name.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong, and what is expected.
    pub what: String,
}
