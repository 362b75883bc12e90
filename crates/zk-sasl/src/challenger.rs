//! The side that asks for a proof, as Java's `DigestMD5Server` does it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::digest::Digest;
use crate::{Nonce, Secret, Service, Users, directives};

/// One exchange of one connection.
///
/// *The order rule:* [`Challenger::step`] is called with the first token, whose content does not
/// matter to Java, then with the answer to the challenge; any step after these two is an error.
#[derive(Debug)]
pub struct Challenger {
    service: &'static Service,
    users: Arc<Users>,
    nonce: String,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Start,
    Challenged,
    Over,
}

/// What a step gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// The token to send; another step follows.
    Challenge(Vec<u8>),
    /// The last token to send, and who the claimant is.
    Done {
        /// The proof that this side knows the password.
        token: Vec<u8>,
        /// The user.
        user: String,
    },
}

/// Why somebody is not let in. For the log; the other side learns only that it failed.
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

impl Challenger {
    /// An exchange that lets the users in.
    #[must_use]
    pub fn new(service: &'static Service, users: Arc<Users>, nonce: &Nonce) -> Challenger {
        Challenger { service, users, nonce: STANDARD.encode(nonce), state: State::Start }
    }

    /// Takes a token of the claimant.
    pub fn step(&mut self, token: &[u8]) -> Result<Step, SaslError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Start => Ok(self.challenge()),
            State::Challenged => self.check(token),
            State::Over => Err(SaslError::OutOfOrder),
        }
    }

    fn challenge(&mut self) -> Step {
        self.state = State::Challenged;
        let (realm, nonce) = (self.service.realm, &self.nonce);
        let text = format!("realm=\"{realm}\",nonce=\"{nonce}\",charset=utf-8,algorithm=md5-sess");
        Step::Challenge(text.into_bytes())
    }

    fn check(&self, token: &[u8]) -> Result<Step, SaslError> {
        let all = directives::parse(token).ok_or(SaslError::Form)?;
        let get = |name: &'static str| directives::get(&all, name);
        let need = |name: &'static str| get(name).ok_or(SaslError::Directive(name));
        let is_or = |name: &'static str, wanted: &str| match get(name) {
            Some(value) if value != wanted.as_bytes() => Err(SaslError::Directive(name)),
            _ => Ok(()),
        };
        is_or("charset", "utf-8")?;
        is_or("qop", "auth")?;
        is_or("digest-uri", &self.service.digest_uri())?;
        if need("realm")? != self.service.realm.as_bytes() {
            return Err(SaslError::Directive("realm"));
        }
        if need("nonce")? != self.nonce.as_bytes() {
            return Err(SaslError::Directive("nonce"));
        }
        let user =
            std::str::from_utf8(need("username")?).map_err(|_| SaslError::Directive("username"))?;
        if user.is_empty() || self.service.maps_names && user.contains('@') {
            return Err(SaslError::Directive("username"));
        }
        if !self.service.maps_names {
            is_or("authzid", user)?;
        }
        let known = self.users.password(user);
        // The same work for a name that nobody has: its absence is not to be measured.
        let unknown = Secret::default();
        let digest = Digest {
            user,
            password: known.unwrap_or(&unknown),
            realm: self.service.realm,
            nonce: self.nonce.as_bytes(),
            cnonce: need("cnonce")?,
            digest_uri: need("digest-uri")?,
            authzid: get("authzid"),
        };
        let is_right = digest.response().matches(need("response")?);
        if !is_right || known.is_none() {
            return Err(SaslError::WrongUserOrPassword);
        }
        Ok(Step::Done { token: digest.proof(), user: user.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: Nonce = [7; crate::NONCE_BYTES];

    fn of(service: &'static Service) -> Challenger {
        let text = "Server { x required user_chris=\"secret\" user_bj\u{f6}rn=\"p\u{e4}ss\" \
                    user_\u{6f22}=\"\u{5b57}\" user_a@b=c; };";
        let users = Users::read(&crate::Jaas::parse("jaas", text).unwrap(), "Server").unwrap();
        Challenger::new(service, Arc::new(users), &NONCE)
    }

    fn machine() -> Challenger {
        of(Service::CLIENTS)
    }

    /// A machine that gave a certain nonce.
    fn challenged(nonce: &str) -> Challenger {
        Challenger { nonce: nonce.to_owned(), state: State::Challenged, ..machine() }
    }

    /// Answers that Java's client (`com.sun.security.sasl.digest.DigestMD5Client`) gave to our
    /// challenge, with the proof that it then accepted. See `testdata/README.md`.
    const JAVA: &str = include_str!("testdata/digest-md5-java.txt");

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
        for (service, realm) in
            [(Service::CLIENTS, "zk-sasl-md5"), (Service::MEMBERS, "zk-quorum-sasl-md5")]
        {
            let nonce = STANDARD.encode(NONCE);
            let wanted =
                format!("realm=\"{realm}\",nonce=\"{nonce}\",charset=utf-8,algorithm=md5-sess");
            assert_eq!(of(service).step(b""), Ok(Step::Challenge(wanted.into_bytes())));
        }
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

    /// An answer of the other side, changed or as it is.
    fn answered(
        service: &'static Service,
        user: &str,
        change: impl Fn(String) -> String,
    ) -> Result<Step, SaslError> {
        let account = crate::Account { user: user.to_owned(), password: Secret::new("c") };
        let mut claimant = crate::Claimant::new(service, account, &NONCE);
        let mut machine = of(service);
        let Ok(Step::Challenge(challenge)) = machine.step(b"") else { panic!() };
        let answer = String::from_utf8(claimant.answer(&challenge).unwrap()).unwrap();
        machine.step(change(answer).as_bytes())
    }

    #[test]
    fn names_with_an_at_are_for_members_only() {
        let user = "a@b";
        let got = answered(Service::CLIENTS, user, |answer| answer);
        assert_eq!(got, Err(SaslError::Directive("username")));
        assert!(answered(Service::MEMBERS, user, |answer| answer).is_ok());
    }

    #[test]
    fn no_member_acts_for_another() {
        let acts_for = |who: &str| {
            let got = answered(Service::MEMBERS, "a@b", |text| format!("{text},authzid=\"{who}\""));
            got.unwrap_err()
        };
        assert_eq!(acts_for("chris"), SaslError::Directive("authzid"));
        // Its response is not made for it.
        assert_eq!(acts_for("a@b"), SaslError::WrongUserOrPassword);
    }

    #[test]
    fn an_answer_to_one_service_is_none_to_another() {
        let got = answered(Service::MEMBERS, "a@b", |text| {
            text.replace("zookeeper-quorum/zk-quorum-sasl-md5", "zookeeper/zk-sasl-md5")
        });
        assert_eq!(got, Err(SaslError::Directive("digest-uri")));
    }
}
