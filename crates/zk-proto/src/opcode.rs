//! Operation numbers (client-protocol 3).

macro_rules! opcodes {
    ($($(#[$doc:meta])* $name:ident = $code:literal $text:literal),* $(,)?) => {
        /// What a request asks for, or what a transaction of the log is.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        pub enum OpCode { $($(#[$doc])* $name),* }

        impl OpCode {
            /// Every operation, for tables and tests.
            pub const ALL: &'static [OpCode] = &[$(OpCode::$name),*];

            /// The number on the wire and on disk.
            #[must_use]
            pub const fn code(self) -> i32 {
                match self { $(OpCode::$name => $code),* }
            }

            /// The operation of a number; `None` for all others.
            #[must_use]
            pub const fn from_code(code: i32) -> Option<OpCode> {
                match code { $($code => Some(OpCode::$name),)* _ => None }
            }

            /// Apache's name of the operation (`ZooDefs.OpCode`).
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(OpCode::$name => $text),* }
            }
        }
    };
}

opcodes! {
    /// Create a znode; the answer is its path.
    Create = 1 "create",
    /// Delete a childless znode.
    Delete = 2 "delete",
    /// Stat of a znode, or a watch on its creation.
    Exists = 3 "exists",
    /// Data and Stat.
    GetData = 4 "getData",
    /// Replace the data.
    SetData = 5 "setData",
    /// ACL and Stat.
    GetAcl = 6 "getACL",
    /// Replace the ACL.
    SetAcl = 7 "setACL",
    /// Names of the children.
    GetChildren = 8 "getChildren",
    /// Wait until this member has caught up with the leader.
    Sync = 9 "sync",
    /// Keep the session alive.
    Ping = 11 "ping",
    /// Names of the children, and Stat.
    GetChildren2 = 12 "getChildren2",
    /// Version check; only inside a multi.
    Check = 13 "check",
    /// Several writes as one transaction.
    Multi = 14 "multi",
    /// Create; the answer is path and Stat.
    Create2 = 15 "create2",
    /// Change the ensemble's members.
    Reconfig = 16 "reconfig",
    /// Ask whether a watch exists.
    CheckWatches = 17 "checkWatches",
    /// Remove watches.
    RemoveWatches = 18 "removeWatches",
    /// Create a container.
    CreateContainer = 19 "createContainer",
    /// Reap a container or TTL znode; internal.
    DeleteContainer = 20 "deleteContainer",
    /// Create a znode with a time to live.
    CreateTtl = 21 "createTTL",
    /// Several reads in one request.
    MultiRead = 22 "multiRead",
    /// Add an identity to the connection.
    Auth = 100 "auth",
    /// Restore watches after a reconnect.
    SetWatches = 101 "setWatches",
    /// A step of a SASL exchange.
    Sasl = 102 "sasl",
    /// The session's ephemerals below a prefix.
    GetEphemerals = 103 "getEphemerals",
    /// How many znodes are below a path.
    GetAllChildrenNumber = 104 "getAllChildrenNumber",
    /// Restore watches of all kinds.
    SetWatches2 = 105 "setWatches2",
    /// Add a persistent watch.
    AddWatch = 106 "addWatch",
    /// The connection's identities.
    WhoAmI = 107 "whoAmI",
    /// Open a session; internal.
    CreateSession = -10 "createSession",
    /// Close the session.
    CloseSession = -11 "closeSession",
    /// A failed write in the log.
    Error = -1 "error",
}

impl OpCode {
    /// Whether a client may send it as a request of its own. The rest is answered "unimplemented"
    /// and the connection closed, and never reaches the log (RELIABILITY T12, ZOOKEEPER-2623).
    #[must_use]
    pub const fn is_client_request(self) -> bool {
        !matches!(
            self,
            OpCode::Check | OpCode::DeleteContainer | OpCode::CreateSession | OpCode::Error
        )
    }

    /// Whether it becomes a transaction.
    #[must_use]
    pub const fn is_write(self) -> bool {
        matches!(
            self,
            OpCode::Create
                | OpCode::Delete
                | OpCode::SetData
                | OpCode::SetAcl
                | OpCode::Multi
                | OpCode::Create2
                | OpCode::Reconfig
                | OpCode::CreateContainer
                | OpCode::DeleteContainer
                | OpCode::CreateTtl
                | OpCode::CreateSession
                | OpCode::CloseSession
                | OpCode::Check
                | OpCode::Error
        )
    }
}

impl std::fmt::Display for OpCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_numbers_are_inverse_over_the_whole_range() {
        let known = (-128..1024).filter_map(OpCode::from_code).collect::<Vec<_>>();
        assert_eq!(known.len(), OpCode::ALL.len());
        for op in known {
            assert_eq!(OpCode::from_code(op.code()), Some(op));
        }
    }
}
