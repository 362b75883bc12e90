//! TLS for the client listeners and SASL DIGEST-MD5 (client-protocol 14, operations 1.5).
mod secret;
pub use secret::Secret;
