//! The side that says who it is, as Java's `DigestMD5Client` does it; differs in checking the other
//! side's proof before anything else is said.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::digest::{Digest, NONCE_COUNT};
use crate::{Account, Nonce, Secret, Service, directives};

/// One exchange of one connection. It begins with an empty token.
#[derive(Debug)]
pub struct Claimant {
    service: &'static Service,
    account: Account,
    cnonce: String,
    /// What the other side must prove, once it has challenged.
    proof: Option<Secret>,
}

/// Why the other side is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Its challenge cannot be read, or asks for less than a keyed answer.
    #[error("its challenge is not of the form of DIGEST-MD5 that is spoken here")]
    Challenge,
    /// It does not know the password.
    #[error("it does not prove that it knows the password")]
    Proof,
}

impl Claimant {
    /// An exchange as one user.
    #[must_use]
    pub fn new(service: &'static Service, account: Account, nonce: &Nonce) -> Claimant {
        Claimant { service, account, cnonce: STANDARD.encode(nonce), proof: None }
    }

    /// Whether a challenge was answered.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.proof.is_some()
    }

    /// The answer to a challenge.
    ///
    /// # Errors
    /// If nothing can be proved by an answer to it.
    pub fn answer(&mut self, challenge: &[u8]) -> Result<Vec<u8>, Refusal> {
        let all = directives::parse(challenge).ok_or(Refusal::Challenge)?;
        let get = |name: &str| match directives::get(&all, name) {
            Some(value) => std::str::from_utf8(value).map(Some).map_err(|_| Refusal::Challenge),
            None => Ok(None),
        };
        let (realm, nonce) = (get("realm")?.unwrap_or_default(), get("nonce")?);
        let nonce = nonce.ok_or(Refusal::Challenge)?;
        let takes_auth = |qop: &str| qop.split(',').any(|qop| qop.trim() == "auth");
        if get("algorithm")? != Some("md5-sess") || !get("qop")?.is_none_or(takes_auth) {
            return Err(Refusal::Challenge);
        }
        let (user, cnonce) = (&self.account.user, &self.cnonce);
        let digest_uri = self.service.digest_uri();
        let digest = Digest {
            user,
            password: &self.account.password,
            realm,
            nonce: nonce.as_bytes(),
            cnonce: cnonce.as_bytes(),
            digest_uri: digest_uri.as_bytes(),
            authzid: None,
        };
        self.proof = Some(Secret::new(digest.proof()));
        let charset = if get("charset")? == Some("utf-8") { "charset=utf-8," } else { "" };
        let (user, realm) = (directives::quoted(user), directives::quoted(realm));
        let nonce = directives::quoted(nonce);
        let response = digest.response();
        let response = String::from_utf8_lossy(response.expose());
        let text = format!(
            "{charset}username={user},realm={realm},nonce={nonce},nc={NONCE_COUNT},\
             cnonce=\"{cnonce}\",digest-uri=\"{digest_uri}\",maxbuf=65536,response={response},qop=auth"
        );
        Ok(text.into_bytes())
    }

    /// Looks at the last token of the other side.
    ///
    /// # Errors
    /// If it does not know the password.
    pub fn check(&self, token: &[u8]) -> Result<(), Refusal> {
        match &self.proof {
            Some(proof) if proof.matches(token) => Ok(()),
            _ => Err(Refusal::Proof),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Challenger, Jaas, Step, Users};
    use std::sync::Arc;

    const NONCE: Nonce = [7; crate::NONCE_BYTES];

    fn claimant(password: &str) -> Claimant {
        let account = Account { user: "b\"ob".to_owned(), password: Secret::new(password) };
        Claimant::new(Service::CLIENTS, account, &NONCE)
    }

    #[test]
    fn the_answer_has_javas_directives_in_its_order() {
        let mut claimant = claimant("pw");
        assert!(!claimant.has_answered());
        let challenge =
            b"realm=\"zk-sasl-md5\",nonce=\"n\\\"once\",charset=utf-8,algorithm=md5-sess";
        let answer = claimant.answer(challenge).unwrap();
        assert!(claimant.has_answered());
        let all = directives::parse(&answer).unwrap();
        let names = all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
        let want = "charset username realm nonce nc cnonce digest-uri maxbuf response qop";
        assert_eq!(names.join(" "), want);
        assert_eq!(directives::get(&all, "nonce"), Some(&b"n\"once"[..]));
        assert_eq!(directives::get(&all, "username"), Some(&b"b\"ob"[..]));
    }

    #[test]
    fn weak_and_broken_challenges_are_not_answered() {
        for challenge in [
            "nonsense",
            "nonce=\"open",
            "algorithm=md5-sess",
            "nonce=\"n\",algorithm=md5",
            "nonce=\"n\",algorithm=md5-sess,qop=\"auth-conf\"",
        ] {
            let answer = claimant("pw").answer(challenge.as_bytes());
            assert_eq!(answer, Err(Refusal::Challenge), "{challenge}");
        }
        assert!(
            claimant("pw").answer(b"nonce=n,algorithm=md5-sess,qop=\"auth-int, auth\"").is_ok()
        );
    }

    #[test]
    fn both_sides_prove_that_they_know_the_password() {
        let text = "S { x required \"user_b\\\"ob\"=\"right\"; };";
        let users = Users::read(&Jaas::parse("jaas", text).unwrap(), "S").unwrap();
        let users = Arc::new(users);
        for (password, is_right) in [("right", true), ("wrong", false)] {
            let mut claimant = claimant(password);
            let mut challenger = Challenger::new(Service::CLIENTS, users.clone(), &[9; 30]);
            let Ok(Step::Challenge(challenge)) = challenger.step(b"") else { panic!() };
            assert_eq!(claimant.check(&challenge), Err(Refusal::Proof), "nothing was asked yet");
            let answer = claimant.answer(&challenge).unwrap();
            match challenger.step(&answer) {
                Ok(Step::Done { token, user }) => {
                    assert!(is_right);
                    assert_eq!(user, "b\"ob");
                    assert_eq!(claimant.check(b"rspauth=00"), Err(Refusal::Proof));
                    assert_eq!(claimant.check(&token), Ok(()));
                }
                refused => assert!(!is_right, "{refused:?}"),
            }
        }
    }
}
