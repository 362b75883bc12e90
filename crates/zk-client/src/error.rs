//! What can go wrong for somebody who asks a server something.

use zk_proto::{DecodeError, ErrorCode};
use zk_session::client::Failure;

use crate::tls::TlsTrouble;

/// Why there is no answer, or no good one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server refused.
    #[error("{code} for {path}")]
    Refused {
        /// Why.
        code: ErrorCode,
        /// The znode that was asked for.
        path: String,
    },
    /// The server refused with a code that ZooKeeper does not have.
    #[error("the server answers error {code} for {path}, which ZooKeeper does not have")]
    Strange {
        /// The code.
        code: i32,
        /// The znode that was asked for.
        path: String,
    },
    /// One operation of a multi failed, so that none was carried out.
    #[error("operation {at} of the multi failed: {code} for {path}; nothing was changed")]
    Multi {
        /// Its place, from 0.
        at: usize,
        /// Why.
        code: ErrorCode,
        /// Its znode.
        path: String,
    },
    /// The connection broke before the answer came.
    #[error("connection lost: {}", if *.was_sent {
        "the request was sent, whether it was carried out is not known; read before you repeat it"
    } else {
        "the request was not sent and can be repeated"
    })]
    ConnectionLoss {
        /// Whether the server may have carried it out.
        was_sent: bool,
    },
    /// The session has expired: its ephemerals and watches are gone; open another one.
    #[error("the session has expired: its ephemerals and watches are gone, open another one")]
    SessionExpired,
    /// A server refused the credentials, which ends the session.
    #[error("the server refused the credentials given by addauth or SASL")]
    AuthFailed,
    /// The client was closed or detached.
    #[error("the client is closed")]
    Closed,
    /// The request is longer than servers take.
    #[error(
        "the request has {len} bytes, more than servers take: make it smaller, or raise \
         jute.maxbuffer on the servers and request_bytes_max here"
    )]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// No server could be reached in time.
    #[error("no connection to {servers}: {cause}")]
    NoServer {
        /// The list that was tried.
        servers: String,
        /// What the last try met.
        cause: String,
        /// Whether TLS was in the way, and how.
        tls: Option<TlsTrouble>,
    },
    /// The server tried last speaks TLS, which was not asked for (`Options::tls`).
    #[error("no connection to {servers}: the port speaks TLS, and this is a plain connection")]
    TlsWanted {
        /// The list that was tried.
        servers: String,
    },
    /// The answer is not the record it should be.
    #[error("the server's answer cannot be read: {0}")]
    BadReply(#[from] DecodeError),
}

impl Error {
    /// The code that Apache's client would throw.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Error::Refused { code, .. } | Error::Multi { code, .. } => *code,
            Error::ConnectionLoss { .. } | Error::NoServer { .. } | Error::TlsWanted { .. } => {
                ErrorCode::ConnectionLoss
            }
            Error::SessionExpired | Error::Closed => ErrorCode::SessionExpired,
            Error::AuthFailed => ErrorCode::AuthFailed,
            Error::TooLong { .. } => ErrorCode::BadArguments,
            Error::Strange { .. } | Error::BadReply(_) => ErrorCode::MarshallingError,
        }
    }

    pub(crate) fn refused(code: i32, path: &str) -> Error {
        let path = path.to_owned();
        match ErrorCode::from_code(code) {
            Some(code) => Error::Refused { code, path },
            None => Error::Strange { code, path },
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::ConnectionLoss { was_sent } => Error::ConnectionLoss { was_sent },
            Failure::SessionExpired => Error::SessionExpired,
            Failure::AuthFailed => Error::AuthFailed,
            Failure::Closed => Error::Closed,
            Failure::TooLong { len } => Error::TooLong { len },
        }
    }
}
