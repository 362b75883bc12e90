//! The sums of an exchange (RFC 2831, section 2.1.2.1).

use md5::{Digest as _, Md5};

use crate::Secret;

/// A nonce is used once; what a peer says about it in `nc` does not matter to Java.
pub(crate) const NONCE_COUNT: &str = "00000001";

/// What a response is computed from.
pub(crate) struct Digest<'a> {
    pub(crate) user: &'a str,
    pub(crate) password: &'a Secret,
    pub(crate) realm: &'a str,
    pub(crate) nonce: &'a [u8],
    pub(crate) cnonce: &'a [u8],
    pub(crate) digest_uri: &'a [u8],
    pub(crate) authzid: Option<&'a [u8]>,
}

impl Digest<'_> {
    /// What proves that the claimant knows the password.
    pub(crate) fn response(&self) -> Secret {
        self.sum("AUTHENTICATE")
    }

    /// What proves that the challenger knows it too.
    pub(crate) fn proof(&self) -> Vec<u8> {
        [b"rspauth=", self.sum("").expose()].concat()
    }

    /// The 32 hex digits for a method.
    fn sum(&self, method: &str) -> Secret {
        let password = String::from_utf8_lossy(self.password.expose());
        let user = md5(&[&charset(self.user), &charset(self.realm), &charset(&password)]);
        let mut a1 = vec![user.as_slice(), self.nonce, self.cnonce];
        a1.extend(self.authzid);
        let a1 = hex(&md5(&a1));
        let a2 = hex(&md5(&[method.as_bytes(), self.digest_uri]));
        let all: [&[u8]; 6] = [
            a1.as_bytes(),
            self.nonce,
            NONCE_COUNT.as_bytes(),
            self.cnonce,
            b"auth",
            a2.as_bytes(),
        ];
        Secret::new(hex(&md5(&all)))
    }
}

/// The sum of the parts with colons between them.
fn md5(parts: &[&[u8]]) -> Vec<u8> {
    Md5::digest(parts.join(&b':')).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Text that fits into ISO 8859-1 is hashed in it, all other text in UTF-8 (RFC 2831, 2.1.2.1).
fn charset(text: &str) -> Vec<u8> {
    let latin1 = text.chars().map(|c| u8::try_from(u32::from(c))).collect::<Result<Vec<_>, _>>();
    latin1.unwrap_or_else(|_| text.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2831, section 4, the IMAP example.
    #[test]
    fn the_sums_are_the_rfcs() {
        let digest = Digest {
            user: "chris",
            password: &Secret::new("secret"),
            realm: "elwood.innosoft.com",
            nonce: b"OA6MG9tEQGm2hh",
            cnonce: b"OA6MHXh6VqTrRk",
            digest_uri: b"imap/elwood.innosoft.com",
            authzid: None,
        };
        assert_eq!(digest.response().expose(), b"d388dad90d4bbd760a152321f2143af7");
        assert_eq!(digest.proof(), b"rspauth=ea40f60335c427b5527b84dbabcdfffd");
    }

    #[test]
    fn names_are_hashed_in_latin1_where_they_fit() {
        assert_eq!(charset("\u{fc}"), b"\xfc");
        assert_eq!(charset("\u{4e2d}"), "\u{4e2d}".as_bytes());
    }
}
