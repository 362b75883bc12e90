//! What can go wrong in a run, in words that say what to do.

use std::io;
use std::path::PathBuf;

/// Shorthand.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a run ended without a figure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// The server answered something that is not true. Figures of such a server mean nothing.
    #[error("wrong answer on connection {conn}, xid {xid}: {wrong}")]
    Wrong {
        /// Number of the connection within the load.
        conn: usize,
        /// The request.
        xid: i32,
        /// What is wrong with its answer.
        wrong: Wrong,
    },
    /// The server closed a connection in the middle of a load.
    #[error(
        "the server closed connection {conn} with {outstanding} requests unanswered; see its log"
    )]
    Closed {
        /// Number of the connection within the load.
        conn: usize,
        /// Requests without an answer.
        outstanding: usize,
    },
    /// Something did not happen in time.
    #[error("waited {seconds} s for {what}; is the server alive, and is its log clean?")]
    Timeout {
        /// For what.
        what: String,
        /// How long.
        seconds: u64,
    },
    /// A load's name says nothing.
    #[error("no load is called {name:?}: {why} (zkfleet-bench loads prints them)")]
    BadLoad {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A server's name says nothing.
    #[error(
        "no server is called {name:?}: use ours, NAME=PATH of a zkfleet binary, apache-VERSION or floor"
    )]
    BadServer {
        /// The name.
        name: String,
    },
    /// A server could not be started, or ended by itself.
    #[error("{server} {what}; its log is {log}")]
    Server {
        /// Which one.
        server: String,
        /// What happened.
        what: String,
        /// What it printed.
        log: PathBuf,
    },
    /// Attackers found no server to attack.
    #[error("cannot prepare an attack: {0}")]
    Attack(#[from] zk_testkit::Error),
    /// A comparison is not whole.
    #[error("{count} measurements failed; the report lists them")]
    Failed {
        /// How many.
        count: usize,
    },
    /// A results file is not one.
    #[error("{path} holds no results: {source}")]
    BadResults {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
}

/// What is wrong with one answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Wrong {
    /// Answers of a session must come in the order of its requests.
    #[error("the answer carries xid {got}")]
    Order {
        /// The xid that came.
        got: i32,
    },
    /// An answer or notification that nobody asked for.
    #[error("nobody asked for an answer with xid {got}")]
    Unasked {
        /// The xid that came.
        got: i32,
    },
    /// An error where there should be none.
    #[error("error {0}")]
    Code(i32),
    /// zxids of answers never fall within a session.
    #[error("zxid 0x{after:x} after 0x{before:x}")]
    ZxidFell {
        /// The newest zxid seen before.
        before: i64,
        /// The zxid of this answer.
        after: i64,
    },
    /// The bytes are no answer to this request.
    #[error("undecodable: {0}")]
    Decode(#[from] zk_proto::DecodeError),
    /// The session was refused.
    #[error("the server refused the session")]
    Refused,
    /// A frame of impossible length.
    #[error("a frame of {0} bytes")]
    FrameLength(i32),
    /// A create made another znode.
    #[error("created {got:?} instead of number {number}")]
    Path {
        /// The path that came.
        got: String,
        /// The number it should end with.
        number: u64,
    },
    /// A get returned what was never stored there, or is too old.
    #[error("znode {node} holds other data than was stored")]
    Data {
        /// The number of the znode.
        node: u64,
    },
    /// A write was applied twice, not at all, or a read went back in time.
    #[error("znode {node} has version {got}, {want} was expected")]
    Version {
        /// The number of the znode.
        node: u64,
        /// The version that came.
        got: i64,
        /// The version of the write.
        want: i64,
    },
    /// A multi with other results than asked for.
    #[error("result {index} of a multi is not a setData")]
    MultiResult {
        /// Its place.
        index: usize,
    },
    /// An event other than the change that was made.
    #[error("an event of type {event} on {path:?}")]
    Event {
        /// Its type.
        event: i32,
        /// Its path.
        path: String,
    },
    /// Something is left where nothing should be, or missing.
    #[error("{path} has {got} znodes below it, {want} were expected")]
    Count {
        /// The parent.
        path: String,
        /// What the server counts.
        got: u64,
        /// What there should be.
        want: u64,
    },
}

impl Error {
    /// Wraps a failed system call.
    pub fn io<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> Error {
        let doing = doing.into();
        move |source| Error::Io { doing, source: source.into() }
    }

    /// A wrong answer outside any load (set-up, verification).
    #[must_use]
    pub fn wrong(wrong: impl Into<Wrong>) -> Error {
        Error::Wrong { conn: 0, xid: 0, wrong: wrong.into() }
    }
}
