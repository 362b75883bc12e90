//! A deterministic world for the cores: clocks, disk, network, clients and faults, all from one
//! seed.
//!
//! It drives the code that ships ([`zk_core::Core`], [`zk_tree::Tree`], `zk-store`'s log and
//! recovery) without a socket, a thread, a clock or a file, and lets it die between any two of its
//! effects. What happens is a list of [`record::Record`]s; a naive model ([`model`]) says what
//! should have happened, and one invariant per file compares. **Invariant:** nothing in here looks
//! at the time, at a random source or at the order of a hash table: the same seed gives the same
//! run, and a test checks that.
//!
//! [`ensemble`] does the same with all members of an ensemble.
//!
//! Read first: [`run`] (a seed's whole life), [`record::Record`] (what happens),
//! [`oracle::Oracle`] (what it means).
//!
//! Tested by `cargo test -p zk-sim`: many seeds, each run twice; seeds that failed once; planted
//! faults and altered histories, which the invariants must notice. See docs/testing.md.

pub mod ensemble;
mod invariants;
pub mod model;
pub mod oracle;
pub mod record;
pub mod rng;
mod settings;
mod storage;
mod world;

pub use invariants::{Invariant, Judge, Violation};
pub use settings::{Mutant, Odds, Settings};
pub use world::{Outcome, RunOptions, run};
