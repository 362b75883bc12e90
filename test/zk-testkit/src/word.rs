//! Four-letter words, the oldest way to ask a server how it is.

use std::net::SocketAddr;
use std::time::Duration;

use crate::{Connection, Error};

/// Sends a word and returns everything the server says before it closes the connection.
pub fn four_letter_word(
    addr: SocketAddr,
    word: &[u8],
    timeout: Duration,
) -> Result<Vec<u8>, Error> {
    let mut connection = Connection::open(addr)?;
    connection.send(word)?;
    connection.read_to_end(timeout)
}
