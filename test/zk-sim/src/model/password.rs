//! Session passwords under the keyed rule (R2), from its description: the first 16 bytes of the
//! HMAC-SHA-256 (RFC 2104) of the session id.

use sha2::{Digest, Sha256};

/// What the members of these worlds keep to themselves.
pub const SECRET: &[u8] = b"nobody guesses this";
/// The block of SHA-256 in bytes.
const BLOCK: usize = 64;

/// The password of a session.
#[must_use]
pub fn keyed(session: i64) -> [u8; 16] {
    let padded = |with: u8| {
        let mut block = [with; BLOCK];
        block.iter_mut().zip(SECRET).for_each(|(byte, secret)| *byte ^= secret);
        block
    };
    let inner = Sha256::digest([&padded(0x36)[..], &session.to_be_bytes()].concat());
    let outer = Sha256::digest([&padded(0x5c)[..], &inner[..]].concat());
    std::array::from_fn(|at| outer[at])
}
