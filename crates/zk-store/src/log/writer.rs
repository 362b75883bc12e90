//! Writes the log: batches of records, each durable before it is acknowledged.
//!
//! A file of ours has a fixed extent: a header, records, zeros that were *written* ahead of the
//! records (a commit over written blocks takes half the time of one that allocates; PERFORMANCE
//! section 2), a hole, and the slots of the durable mark at the very end. When the extent is used
//! up the next file begins. The order of positions, checked in debug builds:
//!
//! `marked <= durable <= end <= zeroed_to <= extent - SLOTS_LEN`
//!
//! Mirrors `FileTxnLog.append` and `commit`; differs in: the mark, the zeros, the name that appears
//! only on a file that has its header, the directory's fsync.

use super::frame::{FRAME_HEAD, HEADER_LEN, seal_frames};
use super::mark::{Mark, SLOTS_LEN};
use crate::disk::{Access, Disk, DiskFile};
use crate::error::{Doing, FileError};
use crate::manifest::{self, Manifest, Seal};
use crate::names::Name;
use crate::reserve;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use zk_proto::snapshot::FileHeader;
use zk_proto::{Jute, Zxid, txn};

/// A file that will be a log; the name says nothing to Apache.
pub(crate) const TEMP_NAME: &str = "zkfleet.log.tmp";
/// Zeros are written ahead in steps that grow with the file, from this many bytes ...
const ZERO_STEP_MIN: u64 = 64 << 10;
/// ... to this many: the largest that a commit hardly feels.
const ZERO_STEP_MAX: u64 = 1 << 20;
const BLOCK: u64 = 4096;

/// How a log is written.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// Length of a log file in bytes, most of it a hole (64 MiB: Apache's preAllocSize).
    pub extent_bytes: u64,
    /// fdatasync before a batch counts as durable; `forceSync=no` turns it off.
    pub force_sync: bool,
    /// Disk space kept back in bytes; must hold what may be queued. 0: none.
    pub reserve_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions { extent_bytes: 64 << 20, force_sync: true, reserve_bytes: 5 << 20 }
    }
}

/// Why a batch is not durable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The disk refused. Whatever was not durable before may or may not be.
    #[error("{0}; nothing more is logged: check the disk, then restart the server")]
    File(#[from] FileError),
    /// It refused before. Asking the same file again would prove nothing.
    #[error("the transaction log failed before; restart the server to recover what is durable")]
    Poisoned,
}

/// A batch that is durable now (or only written, without `force_sync`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Committed {
    /// The last record's zxid.
    pub zxid: Zxid,
    /// How many records.
    pub records: usize,
    /// How many bytes were written for them.
    pub bytes: usize,
    /// How long fdatasync took; zero without `force_sync`.
    pub sync: Duration,
}

/// Appends to the logs of one directory.
#[derive(Debug)]
pub struct LogWriter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: LogOptions,
    manifest: Manifest,
    current: Option<Current>,
    last: Zxid,
    poisoned: bool,
    disk_full: bool,
}

/// Where something ends: offset, and zxid and checksum of the record before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Position {
    end: u64,
    zxid: Zxid,
    checksum: u32,
}

/// The log file that is being written.
#[derive(Debug)]
struct Current {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    name: Zxid,
    extent: u64,
    /// Behind the last record that was written.
    written: Position,
    /// Behind the last record that is on the disk.
    durable: Position,
    /// What the newest slot says.
    marked: Position,
    sequence: u64,
    /// How far zeros are on the disk and a slot says so: records may go there.
    zeroed_to: u64,
    /// How far the newest slot says so.
    told_to: u64,
    /// How far zeros were written.
    zeros_to: u64,
}

impl LogWriter {
    /// A writer behind transaction `last`. `manifest` lists the logs that are there; see
    /// [`Recovered::settle`](crate::recover::Recovered::settle), which makes both.
    pub fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: LogOptions,
        last: Zxid,
        manifest: Manifest,
    ) -> Result<LogWriter, FileError> {
        let mut writer = LogWriter {
            disk,
            dir,
            options,
            manifest,
            current: None,
            last,
            poisoned: false,
            disk_full: false,
        };
        match writer.refill() {
            Err(error) if !error.is_disk_full() => Err(error),
            _ => Ok(writer),
        }
    }

    /// The last zxid that was appended.
    #[must_use]
    pub fn last(&self) -> Zxid {
        self.last
    }

    /// Whether the disk is so full that nothing new should be taken.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        self.disk_full
    }

    /// Whether a write or sync failed; nothing will be logged any more.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Tries to set the reserve aside again, after the disk was full.
    pub fn refill(&mut self) -> Result<(), FileError> {
        self.disk_full = true;
        if self.options.reserve_bytes > 0 {
            reserve::keep(&*self.disk, &self.dir, self.options.reserve_bytes)?;
        }
        self.disk_full = false;
        Ok(())
    }

    /// Writes frames (see [`put_frame`](super::put_frame)) with one write and makes them durable,
    /// and with them a mark of what was durable before. `None` if there are no frames. After an
    /// error the writer is poisoned.
    pub fn commit(&mut self, frames: &mut [u8]) -> Result<Option<Committed>, LogError> {
        self.guarded(|writer| writer.commit_frames(frames, true))
    }

    /// The same without a mark, which saves a tenth of the time of a small commit; until the next
    /// mark nothing tells damage to these records from a torn write.
    pub fn commit_unmarked(&mut self, frames: &mut [u8]) -> Result<Option<Committed>, LogError> {
        self.guarded(|writer| writer.commit_frames(frames, false))
    }

    /// Makes the mark say all that is durable; costs a sync if it does not yet. Whether it did.
    pub fn complete_mark(&mut self) -> Result<bool, LogError> {
        self.guarded(|writer| match &mut writer.current {
            Some(current) if current.marked != current.durable => {
                current.write_mark()?;
                current.sync()?;
                Ok(true)
            }
            _ => Ok(false),
        })
    }

    /// Writes zeros ahead if there are few left. They become durable with the next commit.
    pub fn zero_ahead(&mut self) -> Result<(), LogError> {
        let zeroed = self.guarded(|writer| match &mut writer.current {
            Some(current) => Ok(current.zero_ahead()),
            None => Ok(Ok(())),
        })?;
        match zeroed {
            Err(error) if error.is_disk_full() => {
                self.disk_full = true;
                Ok(())
            }
            result => self.guarded(|_| result),
        }
    }

    /// The next record begins a new file.
    pub fn roll(&mut self) -> Result<(), LogError> {
        self.guarded(LogWriter::finish)
    }

    /// Makes everything durable, completes the mark and ends the file.
    pub fn close(mut self) -> Result<(), LogError> {
        self.guarded(LogWriter::finish)?;
        self.guarded(LogWriter::store_manifest)
    }

    fn guarded<T>(
        &mut self,
        act: impl FnOnce(&mut LogWriter) -> Result<T, FileError>,
    ) -> Result<T, LogError> {
        if self.poisoned {
            return Err(LogError::Poisoned);
        }
        act(self).map_err(|error| {
            self.poisoned = true;
            LogError::File(error)
        })
    }

    fn commit_frames(
        &mut self,
        frames: &mut [u8],
        is_marked: bool,
    ) -> Result<Option<Committed>, FileError> {
        let Some(sealed) = seal_frames(frames) else { return Ok(None) };
        let bytes = frames.len();
        if self.current.as_ref().is_some_and(|current| !current.has_room(bytes)) {
            self.finish()?;
        }
        self.with_reserve(|writer| writer.make_room(sealed.first, bytes))?;
        let Some(current) = &mut self.current else { return Ok(None) };
        debug_assert!(current.written.end + bytes as u64 + FRAME_HEAD as u64 <= current.zeroed_to);
        current.file.write_at(frames, current.written.end).doing("append to", &current.path)?;
        current.written = Position {
            end: current.written.end + bytes as u64,
            zxid: sealed.last,
            checksum: sealed.checksum,
        };
        if is_marked {
            current.write_mark()?;
        }
        let mut sync = Duration::ZERO;
        if self.options.force_sync {
            let begin = Instant::now();
            current.sync()?;
            sync = begin.elapsed();
        }
        self.last = sealed.last;
        Ok(Some(Committed { zxid: sealed.last, records: sealed.records, bytes, sync }))
    }

    /// Runs what may need new blocks; if there are none, once more with those of the reserve.
    fn with_reserve(
        &mut self,
        act: impl Fn(&mut LogWriter) -> Result<(), FileError>,
    ) -> Result<(), FileError> {
        match act(self) {
            Err(error) if error.is_disk_full() && reserve::release(&*self.disk, &self.dir) => {
                self.disk_full = true;
                act(self)
            }
            result => result,
        }
    }

    /// Sees to it that `bytes` bytes can be written over zeros that are on the disk.
    fn make_room(&mut self, first: Zxid, bytes: usize) -> Result<(), FileError> {
        match &mut self.current {
            Some(current) => current.extend(bytes),
            None => self.start(first, bytes),
        }
    }

    /// Begins the file of transaction `name`, with room for `bytes` bytes. It gets its name when
    /// its header is on the disk: Apache 3.8 does not start on an empty log.
    fn start(&mut self, name: Zxid, bytes: usize) -> Result<(), FileError> {
        let wanted = HEADER_LEN + bytes as u64 + FRAME_HEAD as u64;
        let extent = self.options.extent_bytes.max(wanted + SLOTS_LEN).next_multiple_of(BLOCK);
        let zeroed_to = wanted.next_multiple_of(BLOCK).max(ZERO_STEP_MIN).min(extent - SLOTS_LEN);
        let (temp, path) = (self.dir.join(TEMP_NAME), self.dir.join(Name::Log(name).to_string()));
        let begin = Position { end: HEADER_LEN, zxid: Zxid::ZERO, checksum: 0 };
        let mut current = Current {
            file: self.disk.open(&temp, Access::Create).doing("create", &temp)?,
            path: path.clone(),
            name,
            extent,
            written: begin,
            durable: begin,
            marked: begin,
            sequence: 0,
            zeroed_to,
            told_to: zeroed_to,
            zeros_to: zeroed_to,
        };
        let mut head = FileHeader { magic: txn::MAGIC, version: txn::VERSION, dbid: 0 }.to_bytes();
        head.resize(zeroed_to as usize, 0);
        let file = &current.file;
        file.write_at(&head, 0).doing("begin", &temp)?;
        file.write_at(&[0; SLOTS_LEN as usize], extent - SLOTS_LEN).doing("extend", &temp)?;
        current.write_mark()?;
        current.sync()?;
        self.disk.rename(&temp, &path).doing("name", &path)?;
        self.disk.sync_dir(&self.dir).doing("sync", &self.dir)?;
        self.manifest.insert(Name::Log(name).to_string(), Seal::Open);
        self.store_manifest()?;
        self.current = Some(current);
        Ok(())
    }

    /// Ends the current file: everything durable, the mark complete.
    fn finish(&mut self) -> Result<(), FileError> {
        let Some(mut current) = self.current.take() else { return Ok(()) };
        if current.durable != current.written {
            current.sync()?;
        }
        if current.marked != current.durable {
            current.write_mark()?;
            current.sync()?;
        }
        let Position { end, zxid, checksum } = current.durable;
        let name = Name::Log(current.name).to_string();
        // The manifest is stored when the next file is there: one replacement a roll.
        self.manifest.insert(name, Seal::Closed { end, zxid, checksum });
        Ok(())
    }

    fn store_manifest(&mut self) -> Result<(), FileError> {
        self.manifest
            .store(&*self.disk, &self.dir, manifest::LOGS)
            .doing("replace", &self.dir.join(manifest::LOGS))
    }
}

impl Current {
    fn has_room(&self, bytes: usize) -> bool {
        self.written.end + (bytes + FRAME_HEAD) as u64 <= self.extent - SLOTS_LEN
    }

    /// Writes the slot that is next in turn: durable, and how far zeros were written.
    fn write_mark(&mut self) -> Result<(), FileError> {
        self.check();
        self.sequence += 1;
        let Position { end, zxid, checksum } = self.durable;
        let mark = Mark {
            sequence: self.sequence,
            file: self.name,
            end,
            zxid,
            checksum,
            zeroed_to: self.zeros_to,
        };
        self.file.write_at(&mark.to_bytes(), mark.offset(self.extent)).doing("mark", &self.path)?;
        (self.marked, self.told_to) = (self.durable, self.zeros_to);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), FileError> {
        self.file.sync_data().doing("sync", &self.path)?;
        self.durable = self.written;
        self.zeroed_to = self.told_to;
        self.check();
        Ok(())
    }

    fn zero_step(&self) -> u64 {
        (self.written.end / 2).clamp(ZERO_STEP_MIN, ZERO_STEP_MAX).next_multiple_of(BLOCK)
    }

    fn zero_ahead(&mut self) -> Result<(), FileError> {
        let step = self.zero_step();
        if self.zeros_to - self.written.end < step / 2 {
            self.write_zeros(self.zeros_to + step)?;
        }
        Ok(())
    }

    /// Makes room for `bytes` bytes over zeros that are on the disk.
    fn extend(&mut self, bytes: usize) -> Result<(), FileError> {
        let wanted = self.written.end + (bytes + FRAME_HEAD) as u64;
        if wanted <= self.zeroed_to {
            return Ok(());
        }
        if wanted > self.zeros_to {
            self.write_zeros(wanted)?;
        }
        self.write_mark()?;
        self.sync()
    }

    fn write_zeros(&mut self, to: u64) -> Result<(), FileError> {
        let to = to.next_multiple_of(BLOCK).min(self.extent - SLOTS_LEN);
        if to > self.zeros_to {
            let zeros = vec![0; (to - self.zeros_to) as usize];
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
mod tests;
