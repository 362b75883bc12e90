//! Writes the log: batches of records, each durable before it is acknowledged.
//!
//! [`LogWriter`] chooses files and keeps order; one file is [`Current`]'s. When a file's room is
//! used up, or on demand, the next one begins.
//!
//! Mirrors `FileTxnLog.append` and `commit`; differs in: the mark, the zeros, the name that appears
//! only on a file that has its header, the directory's fsync.

use super::current::{Current, Position};
use super::frame::Run;
use crate::disk::Disk;
use crate::error::{Doing, FileError};
use crate::manifest::{self, Manifest, Seal};
use crate::names::Name;
use crate::reserve;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use zk_proto::Zxid;

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
    /// There is no space, nor any of the reserve: nothing of the batch counts as written. The same
    /// call may be made again when there is space.
    #[error("{0}; free space on the disk of the transaction log")]
    DiskFull(#[source] FileError),
    /// The next file could not be opened: nothing of the batch is written anywhere, and the file
    /// before is complete. The same call may be made again when files can be opened.
    #[error("{0}; too many files are open: raise their limit (ulimit -n), or close connections")]
    NoDescriptor(#[source] FileError),
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

/// The room on the disk of a log.
#[derive(Debug)]
pub struct Room<'a> {
    dir: &'a Path,
    free_bytes: Option<u64>,
    needed_bytes: u64,
}

impl fmt::Display for Room<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dir, needed) = (self.dir.display(), self.needed_bytes.div_ceil(1024));
        write!(f, "{dir} needs {needed} KiB of free space")?;
        match self.free_bytes {
            Some(free) => write!(f, ", and {} KiB are there", free / 1024),
            None => Ok(()),
        }
    }
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
    /// There was no space for zeros ahead; they are tried again when a commit found some.
    is_tight: bool,
}

impl LogError {
    /// Whether the same call may be made again, when what it lacked is there.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, LogError::DiskFull(_) | LogError::NoDescriptor(_))
    }
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
            is_tight: false,
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

    /// How much room there is, and how much there must be, for who has to make it.
    #[must_use]
    pub fn room(&self) -> Room<'_> {
        let free_bytes = self.disk.free_bytes(&self.dir);
        Room { dir: &self.dir, free_bytes, needed_bytes: self.options.reserve_bytes }
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

    /// Writes frames (see [`put_frame`](super::put_frame)) and makes them durable,
    /// and with them a mark of what was durable before. `None` if there are no frames. After an
    /// error the writer is poisoned, unless it is one after which the call may be made again.
    pub fn commit(&mut self, frames: &[u8]) -> Result<Option<Committed>, LogError> {
        self.guarded(|writer| writer.commit_frames(frames, true))
    }

    /// The same without a mark, which saves a tenth of the time of a small commit; until the next
    /// mark nothing tells damage to these records from a torn write.
    pub fn commit_unmarked(&mut self, frames: &[u8]) -> Result<Option<Committed>, LogError> {
        self.guarded(|writer| writer.commit_frames(frames, false))
    }

    /// Whether so many bytes of frames can be committed with one write and one sync, and no zeros
    /// are due after that.
    pub fn is_ready_for(&self, bytes: usize) -> bool {
        let is_troubled = self.poisoned || self.disk_full || self.is_tight;
        !is_troubled && self.current.as_ref().is_some_and(|current| current.is_ready_for(bytes))
    }

    /// Makes the mark say all that is durable; costs a sync if it does not yet. Whether it did.
    pub fn complete_mark(&mut self) -> Result<bool, LogError> {
        self.guarded(|writer| match &mut writer.current {
            Some(current) => current.complete(),
            None => Ok(false),
        })
    }

    /// Writes zeros ahead if there are few left. They become durable with the next commit. On a
    /// full disk what is left is for records.
    pub fn zero_ahead(&mut self) -> Result<(), LogError> {
        self.guarded(|writer| match &mut writer.current {
            Some(current) if !writer.disk_full && !writer.is_tight => match current.zero_ahead() {
                Err(error) if error.is_disk_full() => {
                    writer.is_tight = true;
                    Ok(())
                }
                result => result,
            },
            _ => Ok(()),
        })
    }

    /// The next record begins a new file.
    pub fn roll(&mut self) -> Result<(), LogError> {
        self.guarded(LogWriter::finish)
    }

    /// Makes everything durable, completes the mark and ends the file.
    pub fn close(mut self) -> Result<(), LogError> {
        self.guarded(|writer| writer.with_reserve(LogWriter::finish))?;
        match self.guarded(|writer| writer.with_reserve(LogWriter::store_manifest)) {
            // As after a crash: recovery reads the end of the log instead of being told.
            Err(LogError::DiskFull(error) | LogError::NoDescriptor(error)) => {
                tracing::warn!("{error}; the next start looks for the end of the log itself");
                Ok(())
            }
            result => result,
        }
    }

    fn guarded<T>(
        &mut self,
        act: impl FnOnce(&mut LogWriter) -> Result<T, FileError>,
    ) -> Result<T, LogError> {
        if self.poisoned {
            return Err(LogError::Poisoned);
        }
        act(self).map_err(|error| {
            if error.is_disk_full() {
                self.disk_full = true;
                return LogError::DiskFull(error);
            }
            // Between two files: what the next one has so far is written over, or made anew under
            // its name. With a current file nothing is opened.
            if self.current.is_none() && error.is_out_of_descriptors() {
                return LogError::NoDescriptor(error);
            }
            self.poisoned = true;
            LogError::File(error)
        })
    }

    fn commit_frames(
        &mut self,
        frames: &[u8],
        is_marked: bool,
    ) -> Result<Option<Committed>, FileError> {
        let Some(run) = Run::of(frames) else { return Ok(None) };
        let bytes = frames.len();
        if is_marked && let Some(current) = &mut self.current {
            match current.write_mark() {
                // A file system that copies what is overwritten; the mark can wait.
                Err(error) if error.is_disk_full() => self.disk_full = true,
                result => result?,
            }
        }
        // Up to here a full disk leaves nothing that a second attempt would not write over.
        self.with_reserve(|writer| writer.write(&run, frames))?;
        let Some(current) = &mut self.current else { return Ok(None) };
        let mut sync = Duration::ZERO;
        if self.options.force_sync {
            let begin = Instant::now();
            current.sync()?;
            sync = begin.elapsed();
        }
        // As seldom as marks are made, which is often enough.
        if is_marked {
            current.find()?;
        }
        self.last = run.last;
        Ok(Some(Committed { zxid: run.last, records: run.records, bytes, sync }))
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

    /// Writes frames behind the others, in a new file if the current one has no room.
    fn write(&mut self, run: &Run, frames: &[u8]) -> Result<(), FileError> {
        let bytes = frames.len();
        if self.current.as_ref().is_some_and(|current| !current.has_room(bytes)) {
            self.finish()?;
        }
        self.make_room(run.first, bytes)?;
        match &mut self.current {
            Some(current) => current.append(frames, run.last, run.checksum),
            None => Ok(()),
        }
    }

    /// Sees to it that `bytes` bytes can be written over zeros that are on the disk.
    fn make_room(&mut self, first: Zxid, bytes: usize) -> Result<(), FileError> {
        let Some(current) = &mut self.current else { return self.start(first, bytes) };
        if current.extend(bytes)? {
            self.is_tight = false;
        }
        Ok(())
    }

    /// Begins the file of transaction `name`, with room for `bytes` bytes.
    fn start(&mut self, name: Zxid, bytes: usize) -> Result<(), FileError> {
        let current = Current::create(&*self.disk, &self.dir, name, self.options, bytes)?;
        self.manifest.insert(Name::Log(name).to_string(), Seal::Open);
        self.forget_purged();
        self.store_manifest()?;
        self.current = Some(current);
        Ok(())
    }

    /// Forgets the logs before the oldest that is there: a purge removes only the oldest. Any other
    /// that is gone must be missed at the next start.
    fn forget_purged(&mut self) {
        // Should the directory not be readable now, they are forgotten next time.
        let there = self.disk.list(&self.dir).unwrap_or_default();
        let first = |name: &str| match Name::parse(name) {
            Name::Log(first) => Some(first),
            _ => None,
        };
        if let Some(oldest) = there.iter().filter_map(|entry| first(&entry.name)).min() {
            self.manifest.retain(|name| first(name).is_none_or(|first| first >= oldest));
        }
    }

    /// Ends the current file: everything durable, the mark complete.
    fn finish(&mut self) -> Result<(), FileError> {
        let Some(current) = &mut self.current else { return Ok(()) };
        current.complete()?;
        current.find()?;
        let Position { end, zxid, checksum } = current.durable;
        let name = Name::Log(current.name).to_string();
        self.current = None;
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

#[cfg(test)]
mod tests;
