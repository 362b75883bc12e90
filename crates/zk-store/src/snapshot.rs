//! Snapshots (disk-formats 2): read as a stream with all seals checked, written so that a file
//! under a snapshot's name is always whole.

mod reader;
mod sink;
mod snappy;
mod source;
mod writer;

pub use reader::{
    SnapshotDamage, SnapshotError, SnapshotInfo, StreamError, read_snapshot, read_stream,
};
pub use source::{ReadOptions, detect};
pub use writer::{SnapshotFile, SnapshotOptions, SnapshotWriter};
