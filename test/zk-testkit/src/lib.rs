//! Real server processes, raw connections and recorded histories for tests.
//!
//! It knows how to start `zkfleet server` and Apache ZooKeeper side by side, how to stop, pause and
//! kill them, and how to talk to them byte by byte. **Invariant:** it never interprets what a
//! server should have answered; that is for the tests. The one opinion here is [`history`], a
//! checker that is itself tested with planted lies.
//!
//! Read first: [`Server`] (a process with a data directory), [`Connection`] (frames in, frames
//! out), [`Client`] (typed calls on a connection).
//!
//! Tested by `cargo test -p zk-testkit`.

mod client;
mod connection;
mod engine;
mod ensemble;
mod error;
pub mod history;
pub mod hostile;
mod http;
mod network;
mod server;
mod word;

pub use client::{Client, Created, Reply};
pub use connection::{Connection, Incoming};
pub use engine::{Engine, apache_or_skip, zkfleet};
pub use ensemble::{Ensemble, Seen};
pub use error::Error;
pub use http::{HttpAnswer, http};
pub use network::{Flow, Network, Way};
pub use server::{Server, ServerConfig, free_port};
pub use word::four_letter_word;

use std::time::Duration;

/// How long tests wait for anything that should happen at once. Generous, because test machines
/// are shared; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);
