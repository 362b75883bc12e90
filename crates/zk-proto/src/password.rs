//! Session passwords as Apache computes them (client-protocol 2.4, DESIGN R2).
//!
//! They are a function of the public session id, so whoever can read an `ephemeralOwner` can take
//! a session over (RELIABILITY T3). Ensembles that hold only our servers use a keyed rule instead.

use crate::SessionId;

/// Length of a session password in bytes.
pub const PASSWORD_LEN: usize = 16;

/// A session password.
pub type Password = [u8; PASSWORD_LEN];

/// What an invalid session gets.
pub const NO_PASSWORD: Password = [0; PASSWORD_LEN];

/// `java.util.Random` seeded with `id ^ 0xB3415C00`, four `nextInt`s, least significant byte first.
#[must_use]
pub fn apache(id: SessionId) -> Password {
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;
    let mut state = ((id.0 as u64) ^ 0xB341_5C00 ^ MULTIPLIER) & MASK;
    let mut out = NO_PASSWORD;
    for word in out.chunks_exact_mut(4) {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
        word.copy_from_slice(&((state >> 16) as u32).to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_javas() {
        // new java.util.Random(0).nextInt() == -1155484576; the seed becomes 0 with this id.
        let first = apache(SessionId(0xB341_5C00));
        assert_eq!(i32::from_le_bytes([first[0], first[1], first[2], first[3]]), -1_155_484_576);
    }
}
