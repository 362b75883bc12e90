//! A second ZooKeeper, naive on purpose: what a correct server would say.
//!
//! Written from the protocol's description, not from `zk-tree`: a map from path to znode, whole
//! copies instead of undo, children found by looking at every path, the digest summed up from
//! scratch. It decodes requests with `zk-proto` (which has its own tests) and shares nothing else
//! with what it judges.

pub mod acl;
pub mod digest;
pub mod password;
mod quota;
pub mod read;
pub mod state;
pub mod watch;
pub mod wire;
pub mod write;

/// Error codes of client-protocol 4 that the model gives.
pub mod code {
    /// Marshalling error.
    pub const MARSHALLING: i32 = -5;
    /// Unimplemented.
    pub const UNIMPLEMENTED: i32 = -6;
    /// Bad arguments.
    pub const BAD_ARGUMENTS: i32 = -8;
    /// The operations of a failed multi behind the one that failed.
    pub const RUNTIME_INCONSISTENCY: i32 = -2;
    /// No such znode.
    pub const NO_NODE: i32 = -101;
    /// Not allowed.
    pub const NO_AUTH: i32 = -102;
    /// Another version.
    pub const BAD_VERSION: i32 = -103;
    /// An ephemeral has no children.
    pub const NO_CHILDREN_FOR_EPHEMERALS: i32 = -108;
    /// There is such a znode.
    pub const NODE_EXISTS: i32 = -110;
    /// It has children.
    pub const NOT_EMPTY: i32 = -111;
    /// The session is gone.
    pub const SESSION_EXPIRED: i32 = -112;
    /// The ACL is no ACL.
    pub const INVALID_ACL: i32 = -114;
    /// Authentication failed.
    pub const AUTH_FAILED: i32 = -115;
    /// Nothing can be written now.
    pub const NOT_READ_ONLY: i32 = -119;
    /// `enforce.auth` is not satisfied.
    pub const AUTH_REQUIRED: i32 = -124;
    /// No such watch.
    pub const NO_WATCHER: i32 = -121;
    /// Reconfiguration is off.
    pub const RECONFIG_DISABLED: i32 = -123;
    /// A hard quota.
    pub const QUOTA_EXCEEDED: i32 = -125;
}
