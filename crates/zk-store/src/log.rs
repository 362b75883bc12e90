//! The transaction log (disk-formats 3): reading it strictly, writing it safely, cutting it.

mod blocks;
mod current;
mod end;
mod frame;
mod heal;
mod mark;
mod reader;
mod scan;
mod source;
mod writer;

pub(crate) use frame::payload_at;
pub use frame::{EOR, FRAME_LEN, HEADER_LEN, Run, put_frame};
pub(crate) use heal::heal;
pub use mark::Mark;
pub use reader::{Damage, HeaderDamage, LogReader, OpenLog, Record, Step};
pub use scan::{Beyond, scan_beyond};
pub use writer::{Committed, LogError, LogOptions, LogWriter, Room};

pub(crate) use end::LogEnd;
pub(crate) use mark::crc32;
pub(crate) use source::FileSource;
