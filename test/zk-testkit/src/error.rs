//! What can go wrong around a server under test.

use std::io;
use std::path::PathBuf;

use crate::Engine;

/// A failure of the testkit, not of a server's answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server's program is not on this machine.
    #[error("{engine} is not here: {why}")]
    Missing {
        /// Which server.
        engine: Engine,
        /// What to do about it.
        why: String,
    },
    /// The process ended, or did not answer in time.
    #[error("{engine} did not come up ({why}); the end of its log {log}:\n{tail}", log = log.display())]
    NotUp {
        /// Which server.
        engine: Engine,
        /// Exit status or deadline.
        why: String,
        /// Where its output went.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// The process is not running.
    #[error("the server is not running")]
    Stopped,
    /// The connection ended where an answer was due.
    #[error("the server closed the connection")]
    Closed,
    /// The server says that the session is gone.
    #[error("the session is gone")]
    Expired,
    /// Nothing came where an answer was due.
    #[error("no answer within {0:?}")]
    Silence(std::time::Duration),
    /// The server's answer is an error code.
    #[error("the server answered {0}")]
    Refused(i32),
    /// An answer that is not what the protocol says.
    #[error("answer cannot be read: {0}")]
    Garbled(#[from] zk_proto::DecodeError),
    /// The operating system said no.
    #[error(transparent)]
    Io(#[from] io::Error),
}
