//! Bytes that are no requests, and none at all.

use super::Kept;
use super::ground::{Ground, PATIENCE};
use crate::{Connection, Error};

/// First lengths, and lengths in a session, for which a connection ends: the greatest is
/// `jute.maxbuffer` and one more.
const BAD_LENGTHS: [i32; 5] = [-1, i32::MIN, i32::MAX, 0x0010_0000, 0];

/// Noise, before the connect request and in a session.
pub(super) fn random_bytes(ground: &Ground, kept: &mut Kept) -> Result<(), Error> {
    let mut state = kept.turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    let noise: Vec<u8> = (0..4096).map(|_| byte()).collect();
    let is_stranger = kept.turn.is_multiple_of(2);
    let mut connection =
        if is_stranger { Connection::open(ground.client)? } else { ground.session()? };
    // A length that is taken, so that the noise is a record.
    let mut frames = Vec::new();
    if kept.turn % 4 < 2 {
        frames.extend_from_slice(&(noise.len() as i32).to_be_bytes());
    }
    frames.extend_from_slice(&noise);
    connection.send(&frames)?;
    kept.keep(connection);
    Ok(())
}

/// A length that no frame may have: the connection must end.
pub(super) fn bad_lengths(ground: &Ground, kept: &mut Kept) -> Result<(), Error> {
    let length = kept.choose(&BAD_LENGTHS);
    for mut connection in [Connection::open(ground.client)?, ground.session()?] {
        connection.send(&length.to_be_bytes())?;
        connection.read_to_end(PATIENCE)?;
    }
    Ok(())
}

/// Frames that come a byte at a time and are never whole, before the connect request and in a
/// session.
pub(super) fn endless(ground: &Ground, kept: &mut Kept) -> Result<(), Error> {
    for connection in &mut kept.connections {
        connection.send(&[0])?;
    }
    let is_stranger = kept.turn.is_multiple_of(2);
    let mut connection =
        if is_stranger { Connection::open(ground.client)? } else { ground.session()? };
    connection.send(&[0, 0xf, 0, 0])?;
    kept.keep(connection);
    Ok(())
}

/// Connections that never send anything.
pub(super) fn silence(ground: &Ground, kept: &mut Kept) -> Result<(), Error> {
    kept.keep(Connection::open(ground.client)?);
    Ok(())
}
