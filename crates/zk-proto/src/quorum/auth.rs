//! What members say while one proves to the other who it is (quorum-protocol 14). Mirrors
//! `QuorumAuthPacket` of `zookeeper.jute`.

use crate::{DecodeError, Jute, Limits, Reader};

/// `QuorumAuth.QUORUM_AUTH_MAGIC_NUMBER`, written there as `-0xa0dbcafecafe1234L`: no length of a
/// vote and no type of a packet is as large as its first half.
const MAGIC: i64 = 0x5f24_3501_3501_edcc;
/// The longest response that RFC 2831 allows; its challenges are half as long.
const MAX_TOKEN: Limits = Limits { max_len: 4096 };

/// How far they are (`QuorumAuth.Status`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthStatus {
    /// More follows.
    InProgress,
    /// Who dialled is let in.
    Success,
    /// It is not.
    Error,
}

/// One such packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AuthPacket<'a> {
    /// How far they are.
    pub status: AuthStatus,
    /// A token of the SASL mechanism.
    pub token: Option<&'a [u8]>,
}

impl<'a> AuthPacket<'a> {
    /// Whether such a packet comes first; `None` while too little has come to tell.
    #[must_use]
    pub fn comes_first(bytes: &[u8]) -> Option<bool> {
        let magic = MAGIC.to_be_bytes();
        let head = &bytes[..bytes.len().min(magic.len())];
        match magic.starts_with(head) {
            true if head.len() < magic.len() => None,
            begins => Some(begins),
        }
    }

    /// The first packet of `bytes` and its length, if it is whole.
    ///
    /// # Errors
    /// If something else begins there, or it is too long.
    pub fn read(bytes: &'a [u8]) -> Result<Option<(AuthPacket<'a>, usize)>, DecodeError> {
        let mut r = Reader::with_limits(bytes, MAX_TOKEN);
        let mut read = || {
            let magic = r.i64()?;
            if magic != MAGIC {
                return Err(DecodeError::Unknown { what: "kind of packet", value: magic });
            }
            let status = match r.i32()? {
                0 => AuthStatus::InProgress,
                1 => AuthStatus::Success,
                // As in Apache, for any other number.
                _ => AuthStatus::Error,
            };
            Ok(AuthPacket { status, token: r.buffer()? })
        };
        match read() {
            Ok(packet) => Ok(Some((packet, r.position()))),
            Err(DecodeError::Truncated { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Appends it.
    pub fn put(&self, out: &mut Vec<u8>) {
        MAGIC.write(out);
        let status = match self.status {
            AuthStatus::InProgress => 0i32,
            AuthStatus::Success => 1,
            AuthStatus::Error => -1,
        };
        status.write(out);
        self.token.write(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(packet: AuthPacket<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        packet.put(&mut out);
        out
    }

    #[test]
    fn what_is_written_is_read_at_every_length() {
        for status in [AuthStatus::InProgress, AuthStatus::Success, AuthStatus::Error] {
            for token in [None, Some(&b""[..]), Some(b"abc")] {
                let packet = AuthPacket { status, token };
                let bytes = bytes(packet);
                for len in 0..bytes.len() {
                    assert_eq!(AuthPacket::read(&bytes[..len]), Ok(None), "{len}");
                }
                let more = [&bytes[..], b"more"].concat();
                assert_eq!(AuthPacket::read(&more), Ok(Some((packet, bytes.len()))));
            }
        }
    }

    /// As `BinaryOutputArchive` of Apache writes it.
    #[test]
    fn the_first_packet_is_apaches() {
        let first = AuthPacket { status: AuthStatus::InProgress, token: Some(b"") };
        let wanted = b"\x5f\x24\x35\x01\x35\x01\xed\xcc\0\0\0\0\0\0\0\0";
        assert_eq!(bytes(first), wanted);
    }

    #[test]
    fn other_packets_are_told_apart_by_their_first_byte() {
        let magic = MAGIC.to_be_bytes();
        for len in 0..8 {
            assert_eq!(AuthPacket::comes_first(&magic[..len]), None, "{len}");
        }
        assert_eq!(AuthPacket::comes_first(&magic), Some(true));
        assert_eq!(AuthPacket::comes_first(b"\0"), Some(false));
        assert_eq!(AuthPacket::comes_first(b"\x5f\x24\0"), Some(false));
    }

    #[test]
    fn long_tokens_are_refused_before_they_come() {
        let token = [7; 5000];
        let long = bytes(AuthPacket { status: AuthStatus::InProgress, token: Some(&token) });
        assert!(AuthPacket::read(&long[..16]).is_err());
        assert!(AuthPacket::read(&[0; 16]).is_err());
    }
}
