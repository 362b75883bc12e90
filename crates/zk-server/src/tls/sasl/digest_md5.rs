//! The server's side of DIGEST-MD5 (RFC 2831, `auth` only) as Java's `DigestMD5Server` does it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use ring::rand::{SecureRandom, SystemRandom};

use super::super::Secret;
use super::directives;
use super::users::Users;

/// What Apache calls itself: realm and host at once.
const REALM: &str = "zk-sasl-md5";
/// What a client must say that it is talking to.
const DIGEST_URI: &str = "zookeeper/zk-sasl-md5";
/// Random bytes of a nonce, as in Java.
const NONCE_LEN: usize = 30;
/// A nonce is used once; what a client says about it in `nc` does not matter to Java.
const NONCE_COUNT: &str = "00000001";

/// One exchange of one connection.
///
/// *The order rule:* [`DigestMd5::step`] is called with the first token, whose content does not
/// matter to Java, then with the answer to the challenge; any step after these two is an error.
#[derive(Debug)]
pub struct DigestMd5 {
    users: Arc<Users>,
    state: State,
}

#[derive(Debug)]
enum State {
    Start,
    Challenged { nonce: String },
    Over,
}

/// What a step gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// The token to send; another step follows.
    Challenge(Vec<u8>),
    /// The last token to send, and who the client is: the id of the scheme `sasl`.
    Done {
        /// The proof that the server knows the password.
        token: Vec<u8>,
        /// The user.
        user: String,
    },
}

/// Why a client is not let in. For the log; a client learns only that it failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaslError {
    /// A token came after the exchange was over.
    #[error("the exchange is over; another needs another connection")]
    OutOfOrder,
    /// The answer is not a list of directives.
    #[error("the answer is not of the form of DIGEST-MD5")]
    Form,
    /// A directive is missing or not acceptable.
    #[error("the directive {0} is missing or not acceptable")]
    Directive(&'static str),
    /// Nobody has this name, or the password is wrong; which of them is not told apart.
    #[error("no user has this name and password")]
    WrongUserOrPassword,
    /// The system has no random numbers.
    #[error("no random numbers can be had from the system")]
    NoRandomness,
}

impl DigestMd5 {
    /// An exchange that lets the users in.
    #[must_use]
    pub fn new(users: Arc<Users>) -> DigestMd5 {
        DigestMd5 { users, state: State::Start }
    }

    /// Takes a token of the client.
    pub fn step(&mut self, token: &[u8]) -> Result<Step, SaslError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Start => self.challenge(&fresh_nonce()?),
            State::Challenged { nonce } => self.check(token, &nonce),
            State::Over => Err(SaslError::OutOfOrder),
        }
    }

    fn challenge(&mut self, nonce: &str) -> Result<Step, SaslError> {
        self.state = State::Challenged { nonce: nonce.to_owned() };
        let text = format!("realm=\"{REALM}\",nonce=\"{nonce}\",charset=utf-8,algorithm=md5-sess");
        Ok(Step::Challenge(text.into_bytes()))
    }

    fn check(&self, token: &[u8], nonce: &str) -> Result<Step, SaslError> {
        let all = directives::parse(token).ok_or(SaslError::Form)?;
        let get = |name: &'static str| {
            let found = all.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_slice())
        };
        let need = |name: &'static str| get(name).ok_or(SaslError::Directive(name));
        let is_or = |name: &'static str, wanted: &str| match get(name) {
            Some(value) if value != wanted.as_bytes() => Err(SaslError::Directive(name)),
            _ => Ok(()),
        };
        is_or("charset", "utf-8")?;
        is_or("qop", "auth")?;
        is_or("digest-uri", DIGEST_URI)?;
        if need("realm")? != REALM.as_bytes() {
            return Err(SaslError::Directive("realm"));
        }
        if need("nonce")? != nonce.as_bytes() {
            return Err(SaslError::Directive("nonce"));
        }
        let name =
            std::str::from_utf8(need("username")?).map_err(|_| SaslError::Directive("username"))?;
        // Apache would look for rules that map such names, as for Kerberos principals.
        if name.is_empty() || name.contains('@') {
            return Err(SaslError::Directive("username"));
        }
        let known = self.users.password(name);
        // The same work for a name that nobody has: its absence is not to be measured.
        let unknown = Secret::default();
        let proof = Proof {
            name,
            password: known.unwrap_or(&unknown),
            nonce,
            cnonce: need("cnonce")?,
            digest_uri: need("digest-uri")?,
            authzid: get("authzid"),
        };
        let is_right = proof.response("AUTHENTICATE").matches(need("response")?);
        if !is_right || known.is_none() {
            return Err(SaslError::WrongUserOrPassword);
        }
        let token = [b"rspauth=", proof.response("").expose()].concat();
        Ok(Step::Done { token, user: name.to_owned() })
    }
}

/// What a response is computed from.
struct Proof<'a> {
    name: &'a str,
    password: &'a Secret,
    nonce: &'a str,
    cnonce: &'a [u8],
    digest_uri: &'a [u8],
    authzid: Option<&'a [u8]>,
}

impl Proof<'_> {
    /// The 32 hex digits of section 2.1.2.1; the method is empty for the server's own proof.
    fn response(&self, method: &str) -> Secret {
        let password = String::from_utf8_lossy(self.password.expose());
        let user = md5(&[&charset(self.name), &charset(REALM), &charset(&password)]);
        let mut a1 = vec![user.as_slice(), self.nonce.as_bytes(), self.cnonce];
        a1.extend(self.authzid);
        let a1 = hex(&md5(&a1));
        let a2 = hex(&md5(&[method.as_bytes(), self.digest_uri]));
        let all: [&[u8]; 6] = [
            a1.as_bytes(),
            self.nonce.as_bytes(),
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
    let latin1 = text.chars().map(|c| u8::try_from(c as u32)).collect::<Result<Vec<_>, _>>();
    latin1.unwrap_or_else(|_| text.as_bytes().to_vec())
}

fn fresh_nonce() -> Result<String, SaslError> {
    let mut bytes = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SaslError::NoRandomness)?;
    Ok(STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> DigestMd5 {
        let text = "Server { x required user_chris=\"secret\" user_bj\u{f6}rn=\"p\u{e4}ss\" \
                    user_\u{6f22}=\"\u{5b57}\"; };";
        DigestMd5::new(Arc::new(Users::parse("jaas", text, "Server").unwrap()))
    }

    /// A machine that gave a certain nonce.
    fn challenged(nonce: &str) -> DigestMd5 {
        let mut machine = machine();
        machine.challenge(nonce).unwrap();
        machine
    }

    /// Answers that Java's client (`com.sun.security.sasl.digest.DigestMD5Client`) gave to our
    /// challenge, with the proof that it then accepted. See `testdata/README.md`.
    const JAVA: &str = include_str!("../testdata/digest-md5-java.txt");

    #[test]
    fn javas_answers_are_accepted_and_its_proofs_are_ours() {
        let mut count = 0;
        for line in JAVA.lines() {
            let [user, nonce, answer, proof] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            let step = challenged(nonce).step(answer.as_bytes());
            let token = proof.as_bytes().to_vec();
            assert_eq!(step, Ok(Step::Done { token, user: user.to_owned() }), "{line}");
            count += 1;
        }
        assert!(count >= 4);
    }

    #[test]
    fn the_challenge_is_apaches() {
        let Ok(Step::Challenge(text)) = machine().step(b"") else { panic!() };
        let text = String::from_utf8(text).unwrap();
        let nonce = text.strip_prefix("realm=\"zk-sasl-md5\",nonce=\"").unwrap();
        let (nonce, rest) = nonce.split_once('"').unwrap();
        assert_eq!(rest, ",charset=utf-8,algorithm=md5-sess");
        assert_eq!(STANDARD.decode(nonce).unwrap().len(), NONCE_LEN);
        let Ok(Step::Challenge(other)) = machine().step(b"") else { panic!() };
        assert_ne!(text.as_bytes(), other);
    }

    #[test]
    fn what_was_changed_is_refused() {
        let line = JAVA.lines().next().unwrap().split('\t').collect::<Vec<_>>();
        let (nonce, answer) = (line[1], line[2]);
        let refused = |from: &str, to: &str| {
            assert!(answer.contains(from), "{from}");
            challenged(nonce).step(answer.replace(from, to).as_bytes()).unwrap_err()
        };
        use SaslError::{Directive, WrongUserOrPassword};
        assert_eq!(refused("username=\"chris\"", "username=\"eve\""), WrongUserOrPassword);
        assert_eq!(refused("response=", "response=0"), WrongUserOrPassword);
        assert_eq!(refused("realm=\"zk-sasl-md5", "realm=\"other"), Directive("realm"));
        assert_eq!(refused("nonce=\"", "nonce=\"x"), Directive("nonce"));
        assert_eq!(refused("qop=auth", "qop=AUTH"), Directive("qop"));
        assert_eq!(refused("zookeeper/zk-sasl-md5", "http/x"), Directive("digest-uri"));
        assert_eq!(refused("cnonce=", "nonsense="), Directive("cnonce"));
        assert_eq!(refused("username=\"chris\"", "username=\"\""), Directive("username"));
        assert_eq!(refused("realm=", "realm"), SaslError::Form);
        let other_nonce = challenged("another").step(answer.as_bytes());
        assert_eq!(other_nonce, Err(Directive("nonce")));
    }

    /// What Apache 3.9.4 let pass when it was asked with raw packets.
    #[test]
    fn what_java_does_not_look_at_does_not_matter() {
        let line = JAVA.lines().next().unwrap().split('\t').collect::<Vec<_>>();
        let (nonce, answer) = (line[1], line[2]);
        for (from, to) in [
            ("nc=00000001", "nc=00000002"),
            (",nc=00000001", ""),
            (",qop=auth", ""),
            ("charset=utf-8,", ""),
            ("maxbuf=65536", "maxbuf=1"),
        ] {
            assert!(answer.contains(from), "{from}");
            let step = challenged(nonce).step(answer.replace(from, to).as_bytes());
            assert!(step.is_ok(), "{from} {to}: {step:?}");
        }
    }

    #[test]
    fn steps_have_one_order() {
        let mut machine = machine();
        assert!(machine.step(b"anything").is_ok());
        assert_eq!(machine.step(b""), Err(SaslError::Directive("realm")));
        assert_eq!(machine.step(b""), Err(SaslError::OutOfOrder));
    }

    /// RFC 2831, section 4, the IMAP example, on the function that all answers go through.
    #[test]
    fn the_hash_is_the_rfcs() {
        let a1 = md5(&[b"chris", b"elwood.innosoft.com", b"secret"]);
        let a1 = hex(&md5(&[&a1, b"OA6MG9tEQGm2hh", b"OA6MHXh6VqTrRk"]));
        let a2 = hex(&md5(&[b"AUTHENTICATE", b"imap/elwood.innosoft.com"]));
        let all: [&[u8]; 6] = [
            a1.as_bytes(),
            b"OA6MG9tEQGm2hh",
            NONCE_COUNT.as_bytes(),
            b"OA6MHXh6VqTrRk",
            b"auth",
            a2.as_bytes(),
        ];
        assert_eq!(hex(&md5(&all)), "d388dad90d4bbd760a152321f2143af7");
    }
}
