//! Where the history in a log ends, and how to remove what stands behind.

use super::frame::HEADER_LEN;
use super::mark::{Mark, SLOTS_LEN};
use crate::disk::{Access, Disk};
use std::io;
use std::path::PathBuf;
use zk_proto::Zxid;

/// The end of a log that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LogEnd {
    pub(crate) path: PathBuf,
    /// The zxid of the file's name.
    pub(crate) name: Zxid,
    /// Behind the last record that counts, in bytes; 0 if there is not even a header.
    pub(crate) end: u64,
    /// The zxid of that record; 0 if there is none.
    pub(crate) zxid: Zxid,
    pub(crate) checksum: u32,
    /// The mark that the file had.
    pub(crate) mark: Option<Mark>,
    /// Up to here a mark or a list vouches that it is on the disk.
    pub(crate) proven_to: u64,
    /// Something stands behind that no reader should find.
    pub(crate) is_dirty: bool,
    /// An operator ordered that it is cut here: as it was it is kept under this name.
    pub(crate) keep_as: Option<PathBuf>,
}

impl LogEnd {
    /// Makes the mark say that the log ends here, before anything is taken away (rule R3).
    pub(crate) fn lower_mark(&self, disk: &dyn Disk) -> io::Result<()> {
        let Some(mark) = self.mark else { return Ok(()) };
        let file = disk.open(&self.path, Access::Write)?;
        let LogEnd { end, zxid, checksum, .. } = *self;
        let lowered = Mark { sequence: mark.sequence + 1, end, zxid, checksum, ..mark };
        file.write_at(&lowered.to_bytes(), lowered.offset(file.len()?))?;
        file.sync_data()
    }

    /// Removes what stands behind. Apache must not stumble over it either.
    pub(crate) fn clean(&self, disk: &dyn Disk) -> io::Result<()> {
        if self.end < HEADER_LEN {
            return disk.remove(&self.path);
        }
        self.lower_mark(disk)?;
        let file = disk.open(&self.path, Access::Write)?;
        match self.mark {
            Some(Mark { zeroed_to, .. }) if file.len()? >= zeroed_to + SLOTS_LEN => {
                let zeros = vec![0; zeroed_to.saturating_sub(self.end) as usize];
                file.write_at(&zeros, self.end)?;
            }
            _ => file.set_len(self.end)?,
        }
        file.sync_data()
    }
}
