//! SASL DIGEST-MD5 as Apache's server speaks it (client-protocol 14.3).
//!
//! Two packets: the client sends an empty token and gets a challenge; it answers the challenge and
//! gets a proof that the server knows the password too.

mod digest_md5;
mod directives;
mod users;

pub use digest_md5::{DigestMd5, SaslError, Step};
pub use users::{Users, UsersError};
