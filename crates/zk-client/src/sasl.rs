//! SASL DIGEST-MD5, the client's side (client-protocol 14.3).
//!
//! Mirrors `ZooKeeperSaslClient`; differs in checking the server's proof before anything is sent,
//! and in being strict about servers without SASL.

use std::fmt;

use zk_proto::request::SaslToken;
use zk_proto::{Jute, Reader};
use zk_sasl::{Account, Claimant, Secret, Service};

use crate::tls::random;

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
    claimant: Claimant,
    is_required: bool,
}

impl Exchange {
    /// `None` without randomness.
    pub(crate) fn new(sasl: &Sasl) -> Option<Exchange> {
        let password = Secret::new(sasl.password.clone());
        let account = Account { user: sasl.user.clone(), password };
        let claimant = Claimant::new(Service::CLIENTS, account, &random()?);
        Some(Exchange { claimant, is_required: sasl.is_required })
    }

    /// The server speaks first; this makes it.
    pub(crate) fn first(&self) -> Next {
        Next::Token(Vec::new())
    }

    pub(crate) fn next(&mut self, err: i32, body: &[u8]) -> Next {
        let Ok(SaslToken { token }) = SaslToken::read(&mut Reader::new(body)) else {
            return Next::Failed;
        };
        match (err, token, self.claimant.has_answered()) {
            (0, None, false) if !self.is_required => Next::Done,
            (0, Some(challenge), false) => {
                self.claimant.answer(challenge).map_or(Next::Failed, Next::Token)
            }
            (0, Some(proof), true) if self.claimant.check(proof).is_ok() => Next::Done,
            _ => Next::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use zk_sasl::{Challenger, Jaas, Step, Users};

    fn exchange(is_required: bool) -> Exchange {
        let sasl = Sasl { user: "bob".to_owned(), password: "pw".to_owned(), is_required };
        Exchange::new(&sasl).unwrap()
    }

    fn token(bytes: &[u8]) -> Vec<u8> {
        SaslToken { token: Some(bytes) }.to_bytes()
    }

    #[test]
    fn challenge_answer_proof() {
        let jaas = Jaas::parse("jaas", "Server { x required user_bob=pw; };").unwrap();
        let users = Arc::new(Users::read(&jaas, "Server").unwrap());
        let mut server = Challenger::new(Service::CLIENTS, users, &[1; 30]);
        let mut exchange = exchange(true);
        let Next::Token(first) = exchange.first() else { panic!() };
        let Ok(Step::Challenge(challenge)) = server.step(&first) else { panic!() };
        let Next::Token(answer) = exchange.next(0, &token(&challenge)) else { panic!() };
        let Ok(Step::Done { token: proof, user }) = server.step(&answer) else { panic!() };
        assert_eq!(user, "bob");
        assert_eq!(exchange.next(0, &token(b"rspauth=00")), Next::Failed);
        assert_eq!(exchange.next(0, &token(&proof)), Next::Done);
    }

    #[test]
    fn refusals_and_garbage_fail() {
        for (err, body) in [
            (-115, token(b"")),
            (0, Vec::new()),
            (0, token(b"nonsense")),
            (0, token(b"nonce=\"n\",algorithm=md5")),
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
}
