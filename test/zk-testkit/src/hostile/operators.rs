//! Those who ask what operators ask, as fast as it goes, and do not wait for an answer.

use super::Kept;
use super::ground::Ground;
use crate::{Connection, Error};

/// Mostly the one that is known to have stopped servers.
const WORDS: [&[u8]; 10] =
    [b"wchp", b"wchp", b"wchp", b"wchp", b"wchp", b"wchp", b"wchc", b"dump", b"cons", b"mntr"];

const COMMANDS: [&str; 6] =
    ["watches_by_path", "watches", "dump", "connections", "monitor", "watch_summary"];

/// Four-letter words.
pub(super) fn words(ground: &Ground, kept: &mut Kept) -> Result<(), Error> {
    let mut connection = Connection::open(ground.client)?;
    connection.send(kept.choose(&WORDS))?;
    kept.keep(connection);
    Ok(())
}

/// Commands over HTTP.
pub(super) fn commands(ground: &Ground, kept: &mut Kept) -> Result<(), Error> {
    let mut connection = Connection::open(ground.admin)?;
    let command = kept.choose(&COMMANDS);
    let head = format!("GET /commands/{command} HTTP/1.1\r\nHost: {}\r\n\r\n", ground.admin);
    connection.send(head.as_bytes())?;
    kept.keep(connection);
    Ok(())
}

/// A head that never ends, or many long answers that are never read.
pub(super) fn deaf(ground: &Ground, kept: &mut Kept) -> Result<(), Error> {
    let mut connection = Connection::open(ground.admin)?;
    let head = "GET /commands/watches_by_path HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let bytes = match kept.turn % 2 {
        0 => head[..40].to_owned(),
        _ => head.repeat(10),
    };
    connection.send(bytes.as_bytes())?;
    kept.keep(connection);
    Ok(())
}
