//! Both ends of a ZooKeeper session as pure state machines.
//!
//! The server's end is a table of sessions with their expiry, the ids it hands out and the
//! passwords that go with them; the client's end is one session that outlives its connections.
//! **Invariant:** no sockets, no clock, no randomness, no threads: time and seeds are passed in,
//! what has to be done comes out as effects.
//!
//! Read first: [`tracker::SessionTable`] (who lives how long), [`password::Passwords`] (rule R2),
//! [`client::ClientSession`] (reconnect, xids, watches).
//!
//! Tested by `cargo test -p zk-session`: the expiry rule against a naive model, the client machine
//! by transcripts that read like a log.
//!
//! Mirrors `SessionTrackerImpl`, `ExpiryQueue` and `ClientCnxn` of Apache ZooKeeper 3.9.

pub mod client;
pub mod ids;
pub mod password;
pub mod tracker;
