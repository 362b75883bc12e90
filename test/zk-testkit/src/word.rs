//! Four-letter words, the oldest way to ask a server how it is.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Error;

/// Sends a word and returns everything the server says before it closes the connection.
pub fn four_letter_word(
    addr: SocketAddr,
    word: &[u8],
    timeout: Duration,
) -> Result<Vec<u8>, Error> {
    let mut stream = TcpStream::connect_timeout(&addr, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(word)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}
