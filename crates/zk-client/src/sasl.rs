//! SASL DIGEST-MD5, the client's side (RFC 2831, `auth` only; client-protocol 14.3).
//!
//! Mirrors Java's `DigestMD5Client` as `ZooKeeperSaslClient` uses it; differs in checking the
//! server's proof before anything is sent, and in being strict about servers without SASL.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use zk_proto::request::SaslToken;
use zk_proto::{Jute, Reader};

use crate::tls::random;

/// What ZooKeeper's servers call themselves.
const DIGEST_URI: &str = "zookeeper/zk-sasl-md5";
/// One nonce, one use.
const NONCE_COUNT: &str = "00000001";

/// A user of DIGEST-MD5.
#[derive(Clone, PartialEq, Eq)]
pub struct Sasl {
    /// The name: the id of the scheme `sasl` afterwards.
    pub user: String,
    /// The password.
    pub password: String,
    /// Whether the session fails on a server that has no SASL. If not, it goes on without the
    /// identity, as Apache's client does.
    pub is_required: bool,
}

impl fmt::Debug for Sasl {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sasl").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What an exchange does next.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// Send this.
    Token(Vec<u8>),
    /// The server knows us and has proved that it knows the password.
    Done,
    /// Wrong credentials, or a server that is not what it says.
    Failed,
}

/// One exchange.
#[derive(Debug)]
pub(crate) struct Exchange {
    sasl: Sasl,
    cnonce: String,
    /// What the server must prove, once it was challenged.
    proof: Option<String>,
}

impl Exchange {
    /// `None` without randomness.
    pub(crate) fn new(sasl: &Sasl) -> Option<Exchange> {
        let cnonce = BASE64.encode(random::<24>()?);
        Some(Exchange { sasl: sasl.clone(), cnonce, proof: None })
    }

    /// The server speaks first; this makes it.
    pub(crate) fn first(&self) -> Next {
        Next::Token(Vec::new())
    }

    pub(crate) fn next(&mut self, err: i32, body: &[u8]) -> Next {
        let Ok(SaslToken { token }) = SaslToken::read(&mut Reader::new(body)) else {
            return Next::Failed;
        };
        match (err, token, &self.proof) {
            (0, None, None) if !self.sasl.is_required => Next::Done,
            (0, Some(challenge), None) => match self.answer(&String::from_utf8_lossy(challenge)) {
                Some(answer) => Next::Token(answer.into_bytes()),
                None => Next::Failed,
            },
            (0, Some(token), Some(proof)) if token == format!("rspauth={proof}").as_bytes() => {
                Next::Done
            }
            _ => Next::Failed,
        }
    }

    fn answer(&mut self, challenge: &str) -> Option<String> {
        let directives = directives(challenge)?;
        let get = |name: &str| {
            directives.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
        };
        let (realm, nonce) = (get("realm").unwrap_or_default(), get("nonce")?);
        let accepts_auth = get("qop").is_none_or(|qop| qop.split(',').any(|q| q.trim() == "auth"));
        if get("algorithm") != Some("md5-sess") || !accepts_auth {
            return None;
        }
        let Sasl { user, password, .. } = &self.sasl;
        let digest = Digest { user, password, realm, nonce, cnonce: &self.cnonce, uri: DIGEST_URI };
        self.proof = Some(digest.response(""));
        let utf8 = if get("charset") == Some("utf-8") { "charset=utf-8," } else { "" };
        Some(format!(
            "{utf8}username=\"{}\",realm=\"{}\",nonce=\"{}\",nc={NONCE_COUNT},cnonce=\"{}\",\
             digest-uri=\"{DIGEST_URI}\",maxbuf=65536,response={},qop=auth",
            quoted(user),
            quoted(realm),
            quoted(nonce),
            self.cnonce,
            digest.response("AUTHENTICATE"),
        ))
    }
}

/// What goes into a response.
struct Digest<'a> {
    user: &'a str,
    password: &'a str,
    realm: &'a str,
    nonce: &'a str,
    cnonce: &'a str,
    uri: &'a str,
}

impl Digest<'_> {
    /// RFC 2831, 2.1.2.1; the method is empty in the server's proof.
    fn response(&self, method: &str) -> String {
        let secret = [latin1(self.user), latin1(self.realm), latin1(self.password)].join(&b':');
        let a1 = [
            Md5::digest(&secret).as_slice(),
            format!(":{}:{}", self.nonce, self.cnonce).as_bytes(),
        ]
        .concat();
        let a2 = format!("{method}:{}", self.uri);
        let (nonce, cnonce) = (self.nonce, self.cnonce);
        let (a1, a2) = (hex_md5(&a1), hex_md5(a2.as_bytes()));
        hex_md5(format!("{a1}:{nonce}:{NONCE_COUNT}:{cnonce}:auth:{a2}").as_bytes())
    }
}

fn hex_md5(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What fits into ISO 8859-1 is hashed in it, the rest in UTF-8 (RFC 2831, 2.1.2.1).
fn latin1(text: &str) -> Vec<u8> {
    let narrow = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<Vec<_>>>();
    narrow.unwrap_or_else(|| text.as_bytes().to_vec())
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// `name=value,name="quoted \"value\""`; `None` if it is not of this form.
fn directives(text: &str) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| *c == ',' || c.is_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Some(found);
        }
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=') {
            name.push(c);
        }
        chars.next_if_eq(&'=')?;
        let mut value = String::new();
        if chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => value.push(chars.next()?),
                    c => value.push(c),
                }
            }
        } else {
            while let Some(c) = chars.next_if(|c| *c != ',') {
                value.push(c);
            }
        }
        found.push((name.trim().to_ascii_lowercase(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(is_required: bool) -> Exchange {
        let sasl = Sasl { user: "bob".to_owned(), password: "pw".to_owned(), is_required };
        Exchange { cnonce: "CNONCE".to_owned(), ..Exchange::new(&sasl).unwrap() }
    }

    fn token(bytes: &[u8]) -> Vec<u8> {
        SaslToken { token: Some(bytes) }.to_bytes()
    }

    #[test]
    fn the_example_of_rfc_2831() {
        let digest = Digest {
            user: "chris",
            password: "secret",
            realm: "elwood.innosoft.com",
            nonce: "OA6MG9tEQGm2hh",
            cnonce: "OA6MHXh6VqTrRk",
            uri: "imap/elwood.innosoft.com",
        };
        assert_eq!(digest.response("AUTHENTICATE"), "d388dad90d4bbd760a152321f2143af7");
        assert_eq!(digest.response(""), "ea40f60335c427b5527b84dbabcdfffd");
    }

    #[test]
    fn challenge_answer_proof() {
        let mut exchange = exchange(true);
        assert_eq!(exchange.first(), Next::Token(Vec::new()));
        let challenge =
            b"realm=\"zk-sasl-md5\",nonce=\"n\\\"once\",charset=utf-8,algorithm=md5-sess";
        let Next::Token(answer) = exchange.next(0, &token(challenge)) else { panic!() };
        let answer = String::from_utf8(answer).unwrap();
        let directives = directives(&answer).unwrap();
        let names = directives.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
        let want = [
            "charset",
            "username",
            "realm",
            "nonce",
            "nc",
            "cnonce",
            "digest-uri",
            "maxbuf",
            "response",
            "qop",
        ];
        assert_eq!(names, want);
        assert_eq!(directives[3].1, "n\"once");
        let proof = format!("rspauth={}", exchange.proof.clone().unwrap());
        assert_eq!(exchange.next(0, &token(b"rspauth=00")), Next::Failed);
        assert_eq!(exchange.next(0, &token(proof.as_bytes())), Next::Done);
    }

    #[test]
    fn refusals_garbage_and_weak_challenges_fail() {
        for (err, body) in [
            (-115, token(b"")),
            (0, Vec::new()),
            (0, token(b"nonsense")),
            (0, token(b"nonce=\"open")),
            (0, token(b"nonce=\"n\",algorithm=md5")),
            (0, token(b"nonce=\"n\",algorithm=md5-sess,qop=\"auth-conf\"")),
        ] {
            assert_eq!(exchange(true).next(err, &body), Next::Failed);
        }
    }

    #[test]
    fn a_server_without_sasl_is_a_matter_of_taste() {
        let null = SaslToken { token: None }.to_bytes();
        assert_eq!(exchange(true).next(0, &null), Next::Failed);
        assert_eq!(exchange(false).next(0, &null), Next::Done);
    }

    #[test]
    fn names_are_hashed_in_latin1_where_they_fit() {
        assert_eq!(latin1("ü"), b"\xfc");
        assert_eq!(latin1("\u{4e2d}"), "\u{4e2d}".as_bytes());
    }
}
