//! A member's history as its ensemble sees it: epochs, and what a leader has it cut or replace.

use super::{Loading, Snapshots};
use crate::engine::Engine;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use zk_core::LearnError;
use zk_proto::{Epoch, SessionId, Zxid};
use zk_store::FileError;
use zk_store::data_dir::{DataDirs, EpochError, EpochFile};
use zk_store::disk::{Access, Disk};
use zk_store::group_commit::{AppendError, GroupCommit, ReopenError};
use zk_store::incomplete::{history_is_whole, note_incomplete};
use zk_store::log::{LogError, LogOptions, LogWriter};
use zk_store::manifest::Manifest;
use zk_store::recover::{RecoverError, RecoverOptions, recover};
use zk_store::replacement::{Replacement, replace_history};
use zk_store::tail::{Encoded, read_tail};
use zk_store::truncate::{TruncateError, truncate};
use zk_tree::TreeOptions;

/// More than this of the log is not read for a learner: a snapshot is sent instead.
const TAIL_BYTES: usize = 32 << 20;

/// What `zkServer-initialize.sh` makes.
const INITIALIZE: &str = "initialize";

/// Why a member cannot go on with its history.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum HistoryError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Epoch(#[from] EpochError),
    #[error(transparent)]
    Truncate(#[from] TruncateError),
    #[error(transparent)]
    Recover(#[from] RecoverError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Append(#[from] AppendError),
    /// Files were changed half way, and the log is closed: the next start goes on with it.
    #[error("{0}; what was begun is ended at the next start")]
    Files(Box<HistoryError>),
    /// What was logged is not what can be applied.
    #[error("what is logged cannot be applied: {0}")]
    Learn(#[from] LearnError),
    /// The epoch files contradict the log, or one another.
    #[error(
        "epoch {current} in currentEpoch, {accepted} in acceptedEpoch, and the log ends at {last}: these \
         do not belong together; restore the files, or start the member empty"
    )]
    Epochs { current: i32, accepted: i32, last: Zxid },
}

impl From<ReopenError<HistoryError>> for HistoryError {
    fn from(error: ReopenError<HistoryError>) -> HistoryError {
        match error {
            ReopenError::Log(error) => HistoryError::Log(error),
            ReopenError::Files(error) => HistoryError::Files(Box::new(error)),
        }
    }
}

impl HistoryError {
    /// Whether there was no room, and nothing else is wrong.
    pub(crate) fn is_disk_full(&self) -> bool {
        match self {
            HistoryError::File(error) | HistoryError::Epoch(EpochError::File(error)) => {
                error.is_disk_full()
            }
            _ => false,
        }
    }
}

/// The files of a member's history.
pub(crate) struct HistoryFiles {
    pub(super) engine: Arc<Engine>,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dirs: DataDirs,
    pub(super) log_options: LogOptions,
    pub(super) tree_options: TreeOptions,
    pub(super) log: Arc<OnceLock<GroupCommit>>,
}

impl HistoryFiles {
    pub(crate) fn tree_options(&self) -> TreeOptions {
        self.tree_options
    }

    /// `acceptedEpoch` and `currentEpoch` of a history that ends at `last` (quorum-protocol 4).
    pub(crate) fn epochs(&self, last: Zxid) -> Result<(Epoch, Epoch), HistoryError> {
        let read = |file| self.dirs.epoch(&*self.disk, file, last);
        let current = read(EpochFile::Current)?.unwrap_or(last.epoch());
        let accepted = read(EpochFile::Accepted)?.unwrap_or(current);
        // The history of an epoch gets to the disk before the word that it is entered: whoever has
        // promised it and has txns of it has everything in front of them.
        let current = if last.epoch() <= accepted { current.max(last.epoch()) } else { current };
        if last.epoch() > current || accepted < current {
            return Err(HistoryError::Epochs { current: current.0, accepted: accepted.0, last });
        }
        Ok((accepted, current))
    }

    /// Whether somebody who knows says that the ensemble is new: Apache's file `initialize` in the
    /// data directory.
    pub(crate) fn is_initial(&self) -> bool {
        self.disk.open(&self.dirs.data().join(INITIALIZE), Access::Read).is_ok()
    }

    /// It is new no more.
    pub(crate) fn note_founded(&self) -> Result<(), HistoryError> {
        let path = self.dirs.data().join(INITIALIZE);
        match self.disk.remove(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(FileError { action: "remove", path, source }.into())
            }
            _ => Ok(()),
        }
    }

    /// This member has no vote, also after a crash, until its history is whole.
    pub(crate) fn note_damaged(&self) -> Result<(), HistoryError> {
        Ok(note_incomplete(&*self.disk, &self.dirs)?)
    }

    /// The history is that of a working ensemble.
    pub(crate) fn note_whole(&self) -> Result<(), HistoryError> {
        Ok(history_is_whole(&*self.disk, &self.dirs)?)
    }

    pub(crate) fn set_epoch(&self, file: EpochFile, epoch: Epoch) -> Result<(), HistoryError> {
        Ok(self.dirs.set_epoch(&*self.disk, file, epoch)?)
    }

    fn log(&self) -> Result<&GroupCommit, AppendError> {
        self.log.get().ok_or(AppendError::Closed)
    }

    /// Waits until everything that was appended is durable, for `patience` at most; whether it is.
    pub(crate) fn flush_within(&self, patience: Duration) -> Result<bool, HistoryError> {
        Ok(self.log()?.flush_within(patience)?)
    }

    /// Whether the disk takes what a member has to write in its part: tried with what is there
    /// already.
    pub(crate) fn has_room(&self, accepted: Epoch) -> Result<bool, HistoryError> {
        match self.log()?.admits() {
            Err(AppendError::DiskFull) => return Ok(false),
            Err(closed @ AppendError::Closed) => return Err(closed.into()),
            Ok(()) | Err(AppendError::Busy) => {}
        }
        match self.set_epoch(EpochFile::Accepted, accepted) {
            Err(error) if error.is_disk_full() => Ok(false),
            written => written.map(|()| true),
        }
    }

    /// Waits until everything that was appended is durable.
    fn flush(&self) -> Result<(), HistoryError> {
        Ok(self.log()?.flush()?)
    }

    /// The transactions behind `after`, up to `upto`, if the log has them all and they are not too
    /// many to be kept in memory.
    pub(crate) fn tail(&self, after: Zxid, upto: Zxid) -> Option<Vec<Encoded>> {
        let tail = read_tail(&*self.disk, &self.dirs, after, upto, TAIL_BYTES);
        tail.unwrap_or_else(|error| {
            tracing::warn!("{error}; a learner gets a snapshot instead");
            None
        })
    }

    /// Cuts the log behind `zxid`, and reads tree and sessions anew; the last transaction
    /// afterwards, or `None` if it cannot be cut there. Nothing is on its way to the log.
    pub(crate) fn truncate(&self, zxid: Zxid) -> Result<Option<Zxid>, HistoryError> {
        let _turn = self.snapshots.turn_at_last();
        self.flush()?;
        let options = RecoverOptions::default();
        let mut is_cut = true;
        let mut found = None;
        self.log()?.reopen(|| -> Result<LogWriter, HistoryError> {
            match truncate(&*self.disk, &self.dirs, zxid, &options) {
                Err(TruncateError::File(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!("{error}");
                    is_cut = false;
                }
                Ok(()) => {}
            }
            let mut loading = Loading::new(self.tree_options);
            let recovered = recover(&*self.disk, &self.dirs, &options, &mut loading)?;
            recovered.notes.iter().for_each(|note| tracing::warn!("{note}"));
            let manifest = recovered.settle(&*self.disk, &self.dirs)?;
            let last = recovered.last;
            found = Some((loading, last));
            let (disk, logs) = (self.disk.clone(), self.dirs.logs());
            Ok(LogWriter::new(disk, logs, self.log_options, last, manifest)?)
        })?;
        let Some((loading, last)) = found else { return Ok(None) };
        self.engine.replace_learning(loading.tree, loading.sessions.into_iter().collect());
        Ok(is_cut.then_some(last))
    }

    /// Puts a leader's snapshot in the place of the whole history. A member that has no vote gets
    /// it when the leader is known to lead.
    pub(crate) fn replace(&self, mut loading: Loading, has_vote: bool) -> Result<(), HistoryError> {
        let turn = self.snapshots.turn_at_last();
        self.flush()?;
        let sessions: Vec<(SessionId, i32)> = loading.sessions.into_iter().collect();
        let name = self.snapshots.put_aside(&mut loading.tree, &sessions, &turn)?;
        self.log()?.reopen(|| -> Result<LogWriter, HistoryError> {
            replace_history(&*self.disk, &self.dirs, Replacement { name, has_vote })?;
            let (disk, logs) = (self.disk.clone(), self.dirs.logs());
            let last = loading.tree.last_zxid();
            Ok(LogWriter::new(disk, logs, self.log_options, last, Manifest::default())?)
        })?;
        self.engine.replace_learning(loading.tree, sessions);
        Ok(())
    }
}
