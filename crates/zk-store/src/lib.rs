//! Apache ZooKeeper's files: the transaction log, snapshots and what stands beside them.
//!
//! It knows bytes on a disk and what they promise. **Invariant:** no tree, no sockets, no tokio; a
//! record is acknowledged only after its fdatasync returned, and after a failed write or sync
//! nothing is acknowledged any more. What it cannot prove to be whole it refuses by name; Apache's
//! own files are read as they are, and ours are loadable by Apache.
//!
//! Read first: [`disk::Disk`] (the seam for tests), [`log::LogWriter`] with
//! [`group_commit::GroupCommit`] (how writes become durable), [`recover::recover`] (how a server
//! finds its state again).
//!
//! Tested by `cargo test -p zk-store`: golden files of Apache servers, every byte flipped, every
//! disk call failed, every crash state of a short trace.
//!
//! Mirrors `org.apache.zookeeper.server.persistence`.

pub mod data_dir;
pub mod disk;
pub mod doctor;
mod error;
pub mod group_commit;
pub mod incomplete;
pub mod log;
pub mod manifest;
pub mod names;
pub mod purge;
pub mod recover;
pub mod replacement;
mod reserve;
pub mod restore;
mod sealed_text;
pub mod session_rule;
pub mod sim;
pub mod snapshot;
pub mod tail;
#[cfg(test)]
mod testing;
pub mod truncate;
mod window;

pub use error::FileError;
pub use names::Compression;
pub use restore::Restore;
