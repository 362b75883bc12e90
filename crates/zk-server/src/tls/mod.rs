//! TLS for the client listeners and between members (client-protocol 14, quorum-protocol 14,
//! operations 1.5), and the files of SASL.
//!
//! Stores are read in the forms that Java writes (PEM, PKCS#12, JKS); chains, signatures and the
//! protocol are rustls'. **Invariant:** no secret is printable ([`Secret`]), and secrets are
//! compared in constant time.
//!
//! Read first: [`TlsContext`], [`subject_dn`].
//!
//! Tested with stores that keytool and openssl made, and names that Java printed.

mod der;
mod detect;
mod dn;
#[cfg(fuzzing)]
pub mod fuzz;
mod jks;
mod member;
mod pbe;
mod pkcs12;
mod sasl;
mod server;
mod store;
#[cfg(test)]
mod tests;
mod verify;

pub use detect::{Detected, detect, name_stranger};
pub use dn::subject_dn;
pub(crate) use member::MemberTls;
pub use sasl::{SaslFileError, load_jaas, random_nonce};
pub use server::{TlsContext, TlsError};
pub use store::{Fault, StoreError};
pub(crate) use verify::refused_certificate;
pub use zk_sasl::Secret;
