//! The error codes of the client protocol (client-protocol 4).

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal),* $(,)?) => {
        /// An error code as it stands in a reply header. Codes that clients do not know make them
        /// throw, so there are none of our own.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum ErrorCode { $($(#[$doc])* $name),* }

        impl ErrorCode {
            /// Every code, for tables and tests.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name),*];

            /// The number on the wire.
            #[must_use]
            pub const fn code(self) -> i32 {
                match self { $(ErrorCode::$name => $code),* }
            }

            /// The code for a number; `None` if ZooKeeper has no such code.
            #[must_use]
            pub const fn from_code(code: i32) -> Option<ErrorCode> {
                match code { $($code => Some(ErrorCode::$name),)* _ => None }
            }

            /// Apache's name of the code.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(ErrorCode::$name => stringify!($name)),* }
            }
        }
    };
}

error_codes! {
    /// Success.
    Ok = 0,
    /// Something inside the server failed.
    SystemError = -1,
    /// An operation of a multi after the one that failed.
    RuntimeInconsistency = -2,
    /// Data does not fit together.
    DataInconsistency = -3,
    /// Client side: the connection broke; the outcome is unknown.
    ConnectionLoss = -4,
    /// The request could not be decoded.
    MarshallingError = -5,
    /// The server does not do this.
    Unimplemented = -6,
    /// Client side: no answer in time.
    OperationTimeout = -7,
    /// A path, flag or argument is not valid.
    BadArguments = -8,
    /// The session is not known to this server.
    UnknownSession = -12,
    /// A reconfig has no quorum of its new members.
    NewConfigNoQuorum = -13,
    /// Another reconfig is under way.
    ReconfigInProgress = -14,
    /// Below this, errors of the API.
    ApiError = -100,
    /// The znode does not exist.
    NoNode = -101,
    /// The ACL does not allow it.
    NoAuth = -102,
    /// The expected version is not the actual one.
    BadVersion = -103,
    /// An ephemeral znode cannot have children.
    NoChildrenForEphemerals = -108,
    /// The znode exists already.
    NodeExists = -110,
    /// The znode has children.
    NotEmpty = -111,
    /// The session has expired or is closing.
    SessionExpired = -112,
    /// Client side.
    InvalidCallback = -113,
    /// The ACL list is empty or holds an invalid entry.
    InvalidAcl = -114,
    /// Authentication failed.
    AuthFailed = -115,
    /// The session moved to another server; never sent, the connection closes.
    SessionMoved = -118,
    /// A write on a read-only server.
    NotReadOnly = -119,
    /// An ephemeral create on a local session that may not be upgraded.
    EphemeralOnLocalSession = -120,
    /// There is no such watch.
    NoWatcher = -121,
    /// Client side: the request timed out.
    RequestTimeout = -122,
    /// Reconfiguration is switched off.
    ReconfigDisabled = -123,
    /// The server closes the session because it demands authentication first.
    SessionClosedRequireSaslAuth = -124,
    /// A hard quota would be exceeded.
    QuotaExceeded = -125,
    /// The request waited too long and was not carried out.
    ThrottledOp = -127,
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name(), self.code())
    }
}

impl std::error::Error for ErrorCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_numbers_are_inverse() {
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_code(code.code()), Some(code));
        }
        assert_eq!(ErrorCode::from_code(-9), None);
    }
}
