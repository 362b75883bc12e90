//! SASL DIGEST-MD5 (RFC 2831, `auth` only) as ZooKeeper speaks it: clients to servers, and members
//! to one another (client-protocol 14.3, quorum-protocol 14).
//!
//! It knows both sides of an exchange and the files with names and passwords, and nothing of the
//! packets that carry the tokens. **Invariant:** it does no I/O, randomness is passed in; no secret
//! is printable ([`Secret`]), and secrets are compared in constant time.
//!
//! Read first: [`Service`], [`Challenger`], [`Claimant`].
//!
//! Tested by `cargo test -p zk-sasl`: with the RFC's example, exchanges that Java's client had, and
//! both sides against each other.
//!
//! Mirrors Java's `DigestMD5Server` and `DigestMD5Client` as Apache ZooKeeper configures them.

mod challenger;
mod claimant;
mod digest;
mod directives;
mod jaas;
mod secret;
mod service;
mod users;

pub use challenger::{Challenger, SaslError, Step};
pub use claimant::{Claimant, Refusal};
pub use jaas::{Jaas, JaasError};
pub use secret::Secret;
pub use service::{NONCE_BYTES, Nonce, Service};
pub use users::{Account, Users};
