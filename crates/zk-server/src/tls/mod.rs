//! TLS for the client listeners and between members, and SASL DIGEST-MD5 (client-protocol 14,
//! quorum-protocol 14, operations 1.5).
//!
//! Stores are read in the forms that Java writes (PEM, PKCS#12, JKS); chains, signatures and the
//! protocol are rustls'. **Invariant:** no secret is printable ([`Secret`]), secrets are compared
//! in constant time, and the SASL machine does no I/O.
//!
//! Read first: [`TlsContext`], [`subject_dn`], [`sasl::DigestMd5`].
//!
//! Tested with stores that keytool and openssl made, names that Java printed, and exchanges that
//! Java's SASL client had with Apache.

mod der;
mod detect;
mod dn;
#[cfg(fuzzing)]
pub mod fuzz;
mod jks;
mod member;
mod pbe;
mod pkcs12;
pub mod sasl;
mod secret;
mod server;
mod store;
#[cfg(test)]
mod tests;
mod verify;

pub use detect::{Detected, detect, name_stranger};
pub use dn::subject_dn;
pub(crate) use member::MemberTls;
pub use secret::Secret;
pub use server::{TlsContext, TlsError};
pub use store::{Fault, StoreError};
pub(crate) use verify::fault_of;
