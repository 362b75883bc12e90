//! Doors for the fuzz targets (`fuzz/`); they exist under `cfg(fuzzing)` alone.

use crate::sasl::{Exchange, Next, Sasl};

/// The client's side of a SASL exchange, without a connection.
pub struct SaslExchange(Exchange);

/// What an exchange does next.
pub enum SaslNext {
    /// It sends this token.
    Token(Vec<u8>),
    /// The server has proved itself.
    Done,
    /// The session ends.
    Failed,
}

impl SaslExchange {
    /// An exchange that must succeed; `None` without randomness.
    #[must_use]
    pub fn new(user: &str, password: &str) -> Option<SaslExchange> {
        let (user, password) = (user.to_owned(), password.to_owned());
        Exchange::new(&Sasl { user, password, is_required: true }).map(SaslExchange)
    }

    /// Takes the error code and the body of a server's reply.
    pub fn next(&mut self, err: i32, body: &[u8]) -> SaslNext {
        match self.0.next(err, body) {
            Next::Token(token) => SaslNext::Token(token),
            Next::Done => SaslNext::Done,
            Next::Failed => SaslNext::Failed,
        }
    }
}
