//! Sockets between the members of an ensemble.
//!
//! It knows how members find each other and keep in touch, and nothing of what they say.
//! **Invariant:** what a peer claims is bounded before it is believed: lengths, numbers of
//! connections, and time.
//!
//! Read first: [`election::ElectionPort`].
//!
//! Tested by `cargo test -p zk-quorum`: members of ours over real sockets, with greetings, votes
//! and whatever else may come in.
//!
//! Mirrors `QuorumCnxManager` of Apache ZooKeeper 3.9.

mod dial;
pub mod election;
mod guests;
pub mod link;
mod sasl;
mod wire;

pub use dial::{DialError, DialOptions, dial, join, within};
pub use guests::{Guest, Guests};
pub use sasl::{QuorumSasl, QuorumSaslOptions};
pub use wire::{Guard, Guarding, Guards, Stream, Wire};
