//! What a connection begins with (client-protocol 14.1).

/// What the first byte of a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detected {
    /// The start of a TLS handshake.
    Tls,
    /// A connect request or a four-letter word.
    Plain,
}

/// The type of a TLS record that holds a handshake.
const HANDSHAKE: u8 = 0x16;

/// Tells TLS from plain text. One byte is enough: nothing plain starts with 0x16, as a length it
/// would be 369 MB, and a connect request has less than 100 bytes.
///
/// Differs from Apache in: it waits for five bytes, and so for ever if four come.
#[must_use]
pub fn detect(first: u8) -> Detected {
    if first == HANDSHAKE { Detected::Tls } else { Detected::Plain }
}

/// Whoever speaks what we do not: for the log, which should name the mistake.
#[must_use]
pub fn name_stranger(first: &[u8]) -> &'static str {
    const HTTP: [&[u8]; 6] = [b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"CONN"];
    match first {
        [HANDSHAKE, 3, ..] => "TLS on a port for plain text",
        [a, b, c, d, ..] if HTTP.contains(&&[*a, *b, *c, *d][..]) => "HTTP",
        _ => "not ZooKeeper's protocol",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_decides() {
        assert_eq!(detect(0x16), Detected::Tls);
        for plain in [b'r', 0, 0x15, 0x17, 0xff] {
            assert_eq!(detect(plain), Detected::Plain, "{plain}");
        }
    }

    #[test]
    fn strangers_have_names() {
        assert_eq!(name_stranger(b"GET / HTTP/1.1"), "HTTP");
        assert_eq!(name_stranger(&[0x16, 3, 1, 2, 0]), "TLS on a port for plain text");
        assert_eq!(name_stranger(&[0xff; 8]), "not ZooKeeper's protocol");
        assert_eq!(name_stranger(b""), "not ZooKeeper's protocol");
    }
}
