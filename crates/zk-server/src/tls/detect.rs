//! TLS or plain text on one port (client-protocol 14.1).

/// What the first bytes of a connection are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detected {
    /// The start of a TLS handshake.
    Tls,
    /// A connect request or a four-letter word.
    Plain,
    /// It could still be either.
    NeedMore,
}

/// The type of a TLS record that holds a handshake.
const HANDSHAKE: u8 = 0x16;
/// All versions of TLS are 3 something.
const MAJOR_VERSION: u8 = 3;
/// Length of the header of a TLS record.
const RECORD_HEADER_LEN: usize = 5;

/// Tells TLS from plain text by the first bytes, which stay unread. Nothing plain starts with 0x16:
/// as a length it would be 369 MB, far above any limit.
#[must_use]
pub fn detect(first: &[u8]) -> Detected {
    match first {
        [] => Detected::NeedMore,
        [HANDSHAKE] => Detected::NeedMore,
        [HANDSHAKE, MAJOR_VERSION, ..] if first.len() >= RECORD_HEADER_LEN => Detected::Tls,
        [HANDSHAKE, MAJOR_VERSION, ..] => Detected::NeedMore,
        _ => Detected::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_decide() {
        let hello = [0x16, 3, 1, 2, 0];
        for len in 0..hello.len() {
            assert_eq!(detect(&hello[..len]), Detected::NeedMore, "{len}");
        }
        assert_eq!(detect(&hello), Detected::Tls);
        for plain in [&b"r"[..], b"ruok", &[0], &[0, 0, 0, 45, 0], &[0x16, 9], &[0x15, 3, 1, 0, 2]]
        {
            assert_eq!(detect(plain), Detected::Plain, "{plain:?}");
        }
    }
}
