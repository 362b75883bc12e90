//! Records of a snapshot file (disk-formats 2). The file around them is zk-store's.

use crate::acl::AclBytes;
use crate::record::record;
use crate::{StatPersisted, Text};

/// `ZKSN`.
pub const MAGIC: i32 = 0x5a4b_534e;
/// The only version there is.
pub const VERSION: i32 = 2;
/// What Apache writes as database id of a snapshot.
pub const DBID: i64 = -1;
/// The id of the ACL `world:anyone:cdrwa`, which is never listed.
pub const OPEN_ACL_ID: i64 = -1;
/// Ends the znodes and stands behind every checksum.
pub const TERMINATOR: &str = "/";

record! {
    /// At the beginning of snapshots and logs.
    #[derive(Copy)]
    pub struct FileHeader {
        /// [`MAGIC`], or [`crate::txn::MAGIC`] for a log.
        pub magic: i32,
        /// 2; not checked by Apache.
        pub version: i32,
        /// Which database the file belongs to.
        pub dbid: i64,
    }

    /// A global session.
    #[derive(Copy)]
    pub struct SessionRecord {
        /// Its id.
        pub id: i64,
        /// Its timeout in ms.
        pub timeout_ms: i32,
    }

    /// An ACL list that znodes refer to.
    pub struct AclRecord<'a> {
        /// Its number.
        pub id: i64,
        /// The list.
        pub acl: AclBytes<'a>,
    }

    /// A znode; the root's path is empty.
    pub struct NodeRecord<'a> {
        /// Where.
        pub path: Text<'a>,
        /// Data, or null.
        pub data: Option<&'a [u8]>,
        /// Number of its ACL list.
        pub acl_id: i64,
        /// Metadata.
        pub stat: StatPersisted,
    }

    /// The tree digest at a zxid.
    #[derive(Copy)]
    pub struct ZxidDigest {
        /// After this transaction.
        pub zxid: i64,
        /// [`crate::txn::DIGEST_VERSION`].
        pub version: i32,
        /// Sum over all znodes.
        pub digest: i64,
    }
}
