//! The log file that is being written: its positions, its zeros, its mark.
//!
//! A file of ours has a fixed extent: a header, records, zeros that were *written* ahead of the
//! records (a commit over written blocks takes half the time of one that allocates; PERFORMANCE
//! section 2), a hole, and the slots of the durable mark at the very end. The order of positions,
//! checked in debug builds:
//!
//! `marked <= durable <= written <= zeroed_to <= told_to <= zeros_to <= extent - SLOTS_LEN`

use super::blocks::Blocks;
use super::frame::{FRAME_HEAD, HEADER_LEN};
use super::mark::{Mark, SLOT_LEN, SLOT_STRIDE, SLOTS_LEN};
use super::writer::LogOptions;
use crate::disk::{Access, Aligned, DIRECT_ALIGN, Disk, DiskFile};
use crate::error::{Doing, FileError};
use crate::names::Name;
use std::io;
use std::path::{Path, PathBuf};
use zk_proto::snapshot::FileHeader;
use zk_proto::{Jute, Zxid, txn};

/// A file that will be a log; the name says nothing to Apache.
const TEMP_NAME: &str = "zkfleet.log.tmp";
/// Zeros are written ahead in steps that grow with the file, from this many bytes ...
const ZERO_STEP_MIN: u64 = 64 << 10;
/// ... to this many: the largest that a commit hardly feels.
pub(super) const ZERO_STEP_MAX: u64 = 1 << 20;
/// Below this a file would hold next to nothing, and each new one costs several syncs.
const EXTENT_MIN: u64 = 128 << 10;
const BLOCK: u64 = DIRECT_ALIGN as u64;

/// Where something ends: offset, and zxid and checksum of the record before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Position {
    pub(super) end: u64,
    pub(super) zxid: Zxid,
    pub(super) checksum: u32,
}

/// The log file that is being written.
#[derive(Debug)]
pub(super) struct Current {
    /// Written in whole blocks, past the page cache if its records are synced: who does not wait
    /// for the disk must not wait for direct writes either.
    file: Box<dyn DiskFile>,
    blocks: Blocks,
    /// The same file, through the page cache: a mark must not be waited for.
    marks: Box<dyn DiskFile>,
    path: PathBuf,
    pub(super) name: Zxid,
    extent: u64,
    /// Behind the last record that was written.
    pub(super) written: Position,
    /// Behind the last record that is on the disk.
    pub(super) durable: Position,
    /// What the newest slot says.
    pub(super) marked: Position,
    sequence: u64,
    /// The newest slot may not be on the disk yet. It is written over then, so that the other one
    /// stays whole whatever a crash does to it.
    is_mark_under_way: bool,
    /// How far zeros are on the disk and a slot says so: records may go there.
    pub(super) zeroed_to: u64,
    /// How far the newest slot says so.
    told_to: u64,
    /// How far zeros were written.
    pub(super) zeros_to: u64,
}

impl Current {
    /// Begins the file of transaction `name`, with room for `bytes` bytes at least. It gets its
    /// name when its header is on the disk: Apache 3.8 does not start on an empty log.
    pub(super) fn create(
        disk: &dyn Disk,
        dir: &Path,
        name: Zxid,
        LogOptions { extent_bytes, force_sync, .. }: LogOptions,
        bytes: usize,
    ) -> Result<Current, FileError> {
        let wanted = HEADER_LEN + (bytes + FRAME_HEAD) as u64;
        let extent = extent_bytes.max(EXTENT_MIN).max(wanted + SLOTS_LEN).next_multiple_of(BLOCK);
        let zeroed_to = wanted.next_multiple_of(BLOCK).max(ZERO_STEP_MIN).min(extent - SLOTS_LEN);
        let (temp, path) = (dir.join(TEMP_NAME), dir.join(Name::Log(name).to_string()));
        let begin = Position { end: HEADER_LEN, zxid: Zxid::ZERO, checksum: 0 };
        let access = if force_sync { Access::CreateDirect } else { Access::Create };
        let mut current = Current {
            file: disk.open(&temp, access).doing("create", &temp)?,
            blocks: Blocks::new(),
            marks: disk.open(&temp, Access::Write).doing("open", &temp)?,
            path,
            name,
            extent,
            written: begin,
            durable: begin,
            marked: begin,
            sequence: 0,
            is_mark_under_way: false,
            zeroed_to,
            told_to: zeroed_to,
            zeros_to: 0,
        };
        current.write_zeros(zeroed_to)?;
        let head = FileHeader { magic: txn::MAGIC, version: txn::VERSION, dbid: 0 }.to_bytes();
        current.blocks.append(&*current.file, 0, &head).doing("begin", &temp)?;
        let no_marks = [0; SLOTS_LEN as usize];
        current.marks.write_at(&no_marks, extent - SLOTS_LEN).doing("extend", &temp)?;
        current.write_mark()?;
        current.sync()?;
        disk.rename(&temp, &current.path).doing("name", &current.path)?;
        disk.sync_dir(dir).doing("sync", dir)?;
        Ok(current)
    }

    /// Appends records that end a batch; there must be room over zeros that are on the disk.
    pub(super) fn append(
        &mut self,
        frames: &[u8],
        zxid: Zxid,
        checksum: u32,
    ) -> Result<(), FileError> {
        let end = self.written.end + frames.len() as u64;
        debug_assert!(end + FRAME_HEAD as u64 <= self.zeroed_to, "zeros end the log");
        let Current { file, blocks, written, .. } = self;
        blocks.append(&**file, written.end, frames).doing("append to", &self.path)?;
        self.written = Position { end, zxid, checksum };
        Ok(())
    }

    /// Whether the next start will find the file: what is written to one that was removed, or that
    /// was moved with its directory, is lost then.
    pub(super) fn find(&self) -> Result<(), FileError> {
        if self.marks.is_at(&self.path) {
            return Ok(());
        }
        let what = "the server writes it, and somebody has removed or moved it";
        Err(io::Error::new(io::ErrorKind::NotFound, what)).doing("find", &self.path)
    }

    /// Makes everything durable and the mark complete; whether that was needed.
    pub(super) fn complete(&mut self) -> Result<bool, FileError> {
        if self.durable != self.written || self.is_mark_under_way {
            self.sync()?;
        }
        let is_behind = self.marked != self.durable;
        if is_behind {
            self.write_mark()?;
            self.sync()?;
        }
        Ok(is_behind)
    }

    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.written.end + (bytes + FRAME_HEAD) as u64 <= self.extent - SLOTS_LEN
    }

    /// Whether so many bytes go over zeros that are on the disk, and enough of those are left.
    pub(super) fn is_ready_for(&self, bytes: usize) -> bool {
        let end = self.written.end + bytes as u64;
        let over_zeros = end + FRAME_HEAD as u64 <= self.zeroed_to;
        self.has_room(bytes) && over_zeros && self.zeros_to - end >= self.zero_step() / 2
    }

    /// Writes the slot that is next in turn: durable, and how far zeros were written.
    pub(super) fn write_mark(&mut self) -> Result<(), FileError> {
        self.check();
        let Position { end, zxid, checksum } = self.durable;
        let sequence = self.sequence + u64::from(!self.is_mark_under_way);
        let mark =
            Mark { sequence, file: self.name, end, zxid, checksum, zeroed_to: self.zeros_to };
        // As a whole block: nothing must be read for it.
        let mut block = [0; SLOT_STRIDE as usize];
        block[..SLOT_LEN].copy_from_slice(&mark.to_bytes());
        let offset = mark.offset(self.extent);
        self.marks.write_at(&block, offset).doing("mark", &self.path)?;
        // It is on its way while the records are written, and their sync waits for both.
        self.marks.begin_write(offset, SLOT_STRIDE);
        // Only now: after a failure the same slot is written again, and the other one stays whole.
        (self.sequence, self.is_mark_under_way) = (sequence, true);
        (self.marked, self.told_to) = (self.durable, self.zeros_to);
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Result<(), FileError> {
        // A sync that fails for want of space has failed like any other: the file is given up. It
        // must not pass for a full disk, which is tried again.
        self.file.sync_data().map_err(io::Error::other).doing("sync", &self.path)?;
        self.durable = self.written;
        self.zeroed_to = self.told_to;
        self.is_mark_under_way = false;
        self.check();
        Ok(())
    }

    fn zero_step(&self) -> u64 {
        (self.written.end / 2).clamp(ZERO_STEP_MIN, ZERO_STEP_MAX).next_multiple_of(BLOCK)
    }

    pub(super) fn zero_ahead(&mut self) -> Result<(), FileError> {
        let step = self.zero_step();
        if self.zeros_to - self.written.end < step / 2 {
            self.write_zeros(self.zeros_to + step)?;
        }
        Ok(())
    }

    /// Makes room for `bytes` bytes over zeros that are on the disk; whether it needed new ones.
    pub(super) fn extend(&mut self, bytes: usize) -> Result<bool, FileError> {
        let wanted = self.written.end + (bytes + FRAME_HEAD) as u64;
        if wanted <= self.zeroed_to {
            return Ok(false);
        }
        let needs_more = wanted > self.zeros_to;
        if needs_more {
            self.write_zeros(wanted)?;
        }
        self.write_mark()?;
        self.sync()?;
        Ok(needs_more)
    }

    fn write_zeros(&mut self, to: u64) -> Result<(), FileError> {
        let to = to.next_multiple_of(BLOCK).min(self.extent - SLOTS_LEN);
        if to > self.zeros_to {
            let zeros = Aligned::new((to - self.zeros_to) as usize);
            self.file.write_at(&zeros, self.zeros_to).doing("extend", &self.path)?;
            self.zeros_to = to;
        }
        Ok(())
    }

    fn check(&self) {
        debug_assert!(self.marked.end <= self.durable.end);
        debug_assert!(self.durable.end <= self.written.end);
        debug_assert!(self.written.end <= self.zeroed_to);
        debug_assert!(self.zeroed_to <= self.told_to && self.told_to <= self.zeros_to);
        debug_assert!(self.zeros_to <= self.extent - SLOTS_LEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimDisk;

    #[test]
    fn one_slot_at_a_time_is_not_on_the_disk() {
        let disk = SimDisk::new(512);
        disk.create_dir_all(Path::new("/")).unwrap();
        let options = LogOptions::default();
        let mut log = Current::create(&disk, Path::new("/"), Zxid(1), options, 10).unwrap();
        let before = log.sequence;
        log.write_mark().unwrap();
        log.write_zeros(log.zeros_to + 1).unwrap();
        log.write_mark().unwrap();
        assert_eq!(log.sequence, before + 1, "the other slot stays as it is");
        let file = disk.open(&log.path, Access::Read).unwrap();
        let mark = Mark::read(&*file, Zxid(1)).unwrap().unwrap();
        assert_eq!((mark.sequence, mark.zeroed_to), (before + 1, log.zeros_to));
        log.sync().unwrap();
        log.write_mark().unwrap();
        assert_eq!(log.sequence, before + 2);
        assert!(log.complete().is_ok() && !disk.has_unsynced());
    }
}
