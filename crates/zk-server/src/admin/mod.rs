//! What operators and monitoring see: four-letter words, the HTTP commands of Apache's AdminServer,
//! metrics for `mntr` and Prometheus (operations 3 to 5).
//!
//! Texts are pure functions of plain facts; the running server is behind [`Inspect`].
//! **Invariant:** no lock and no allocation where a metric is recorded, but that of a write which a
//! quota refuses; no secret in any text; no figure that is not measured (a metric without meaning
//! here is left out, not printed as 0).
//!
//! Read first: [`Inspect`], [`Metrics`], [`four_letter_answer`].
//!
//! Tested against texts that Apache 3.9.4 gave.

mod command;
mod ensemble;
mod environment;
mod facts;
mod http;
mod java;
mod json;
mod lobby;
mod metrics;
mod monitor;
mod payload;
mod process;
mod prometheus;
mod rate;
mod summary;
#[cfg(test)]
mod tests;
mod text;
mod visitor;
mod word;

pub use ensemble::{ObserverFacts, QuorumFacts, ReignFacts};
pub use facts::{
    AdminError, Authorization, ConnectionFacts, ConnectionSession, DigestFacts, ExpiryFacts,
    Inspect, LastSnapshot, Mode, QuotaFacts, SnapshotStream, TreeFacts, WatchFacts,
};
pub use http::AdminServer;
pub(crate) use metrics::{ACK_EVERY, Ages, MOST_NAMESPACES, WallClock};
pub use metrics::{Counter, CounterSet, Metrics, QuorumMetrics, ServerStats, SidSummaries, Sizes};
pub(crate) use rate::{BUSY, Queue, Turns};
pub use summary::{Detail, Summary, Unit};
pub use text::four_letter_answer;
pub use word::{FourLetterWord, UnknownWord, Whitelist};

/// The version that clients and tools see: the Apache version that we behave as, since tools
/// compare it, then ours.
pub const VERSION: &str = concat!("3.9.4-zkfleet-", env!("CARGO_PKG_VERSION"));

/// When this crate was built, in Apache's form (see `build.rs`).
const BUILD_DATE: &str = env!("ZKFLEET_BUILD_DATE");

/// `<version>, built on <date>`, the form of all Apache versions.
fn full_version() -> String {
    format!("{VERSION}, built on {}", BUILD_DATE)
}
