//! ZooKeeper's vocabulary: Jute, every record of the client protocol, of the quorum and election
//! ports, of transactions and of snapshots, paths, ACLs and error codes.
//!
//! It knows bytes and nothing else. **Invariant:** no sockets, no files, no clock, no trees; no
//! length taken from a peer or a disk is used for an allocation before it was compared with the
//! bytes that are really there.
//!
//! Read first: [`jute::Reader`] (bounded, zero-copy), [`request::Request`] (what a client asks),
//! [`txn::Txn`] (what the log holds).
//!
//! Tested by `cargo test -p zk-proto`: round trips as properties, golden bytes of Apache servers.
//!
//! Mirrors `zookeeper.jute` and `org.apache.jute.BinaryInputArchive` of Apache ZooKeeper 3.9.

pub mod acl;
pub mod connect;
pub mod election;
mod error_code;
mod ids;
pub mod jute;
mod opcode;
pub mod password;
pub mod path;
pub mod quorum;
mod record;
pub mod request;
pub mod response;
pub mod snapshot;
mod stat;
pub mod txn;
pub mod watch;

pub use acl::{Acl, Perms};
pub use error_code::ErrorCode;
pub use ids::{Epoch, SessionId, Sid, Xid, Zxid};
pub use jute::{DecodeError, Jute, Limits, Reader, Text};
pub use opcode::OpCode;
pub use stat::{EphemeralOwner, OwnerKind, Stat, StatPersisted};
