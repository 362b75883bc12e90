//! How a server finds its state again, and when it must not start (disk-formats 4; RELIABILITY
//! 2.2, cases A to K).
//!
//! [`recover`] only reads. It gives a [`Restore`] the newest whole snapshot and every transaction
//! behind it, and refuses by name whatever it cannot prove to be whole. What another engine wrote
//! is judged by Apache's rules and by what stands behind the apparent end; what we wrote, by the
//! durable mark besides. [`Recovered::settle`] then prepares the directory for new records.

mod accept;
mod digest;
mod error;
mod escape;
mod file;
mod inventory;
mod keep;
mod replay;
mod settle;

use crate::data_dir::DataDirs;
use crate::disk::Disk;
use crate::log::LogEnd;
use crate::restore::Restore;
use crate::snapshot::{ReadOptions, SnapshotError, SnapshotInfo, read_snapshot};
pub use accept::{Accept, UnknownAccept};
pub use error::{LogFault, Loss, Mismatch, Note, RecoverError, Why};
pub use escape::{Behind, Escape, find_escape};
pub use inventory::Void;
pub(crate) use inventory::{Inventory, LogEntry};
use replay::Replay;
pub(crate) use replay::successor;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use zk_proto::{Limits, Zxid};

/// How many snapshots are tried, as in Apache.
const SNAPSHOTS_TRIED: usize = 100;

/// What an operator may let pass knowingly; each loses something, or may.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Overrides {
    /// `snapshot.trust.empty`: logs count although the snapshot they go on from is missing (E).
    pub trust_empty: bool,
    /// [`Accept::MissingLog`].
    pub missing_log: bool,
    /// [`Accept::CutNewestLog`].
    pub cut_newest_log: bool,
    /// [`Accept::Gaps`].
    pub gaps: bool,
    /// [`Accept::Digest`].
    pub digest: bool,
}

/// How to recover.
#[derive(Clone, Copy, Debug)]
pub struct RecoverOptions {
    /// Bounds of what is read of snapshots. By default a znode is bounded only by the file, as it
    /// must be for what was written with another `jute.maxbuffer`.
    pub read: ReadOptions,
    /// What passes on explicit order.
    pub overrides: Overrides,
}

impl Default for RecoverOptions {
    fn default() -> RecoverOptions {
        let read = ReadOptions { limits: Limits::NONE, ..ReadOptions::default() };
        RecoverOptions { read, overrides: Overrides::default() }
    }
}

impl Overrides {
    /// Lets something pass.
    pub fn accept(&mut self, accept: Accept) {
        *match accept {
            Accept::MissingLog => &mut self.missing_log,
            Accept::CutNewestLog => &mut self.cut_newest_log,
            Accept::Gaps => &mut self.gaps,
            Accept::Digest => &mut self.digest,
        } = true;
    }

    fn accepts(mut self, accept: Accept) -> bool {
        let before = self;
        self.accept(accept);
        self == before
    }
}

/// A state that was found.
#[derive(Debug)]
pub struct Recovered {
    /// The last transaction; 0 in a new directory.
    pub last: Zxid,
    /// The snapshot it began with, and where that is.
    pub snapshot: Option<(PathBuf, SnapshotInfo)>,
    /// How many transactions were applied behind the snapshot.
    pub txns: u64,
    /// How long the snapshot took.
    pub snapshot_time: Duration,
    /// How long the logs took.
    pub logs_time: Duration,
    /// Nothing was there: neither snapshot nor log.
    pub is_new: bool,
    /// What was odd.
    pub notes: Vec<Note>,
    pub(crate) logs: Vec<LogEnd>,
}

/// Finds the state in a server's directories and gives it to `restore`, which holds rubbish after
/// an error.
pub fn recover<R: Restore>(
    disk: &dyn Disk,
    dirs: &DataDirs,
    options: &RecoverOptions,
    restore: &mut R,
) -> Result<Recovered, RecoverError> {
    let mut inventory = Inventory::take(disk, dirs)?;
    let mut notes = std::mem::take(&mut inventory.notes);
    if inventory.has_ours
        && let Some(void) = &inventory.void
    {
        notes.push(Note::Void(void.clone()));
    }
    let is_new =
        inventory.snapshots.is_empty() && inventory.logs.is_empty() && inventory.listed.is_empty();
    let begin = Instant::now();
    let snapshot = load_snapshot(disk, dirs, options, &inventory, restore, &mut notes)?;
    let snapshot_time = begin.elapsed();
    let mut replay = Replay::new(disk, options, &inventory, snapshot.as_ref(), restore, notes);
    replay.check_missing_logs(dirs)?;
    replay.run()?;
    replay.check_logs_reach(dirs)?;
    let (last, txns, notes, logs) = replay.finish()?;
    let logs_time = begin.elapsed() - snapshot_time;
    Ok(Recovered { last, snapshot, txns, snapshot_time, logs_time, is_new, notes, logs })
}

/// Loads the newest whole snapshot. `None`: there is none and none is needed, the state begins
/// with an empty tree.
fn load_snapshot<R: Restore>(
    disk: &dyn Disk,
    dirs: &DataDirs,
    options: &RecoverOptions,
    inventory: &Inventory,
    restore: &mut R,
    notes: &mut Vec<Note>,
) -> Result<Option<(PathBuf, SnapshotInfo)>, RecoverError> {
    let mut newest_damage = None;
    for entry in inventory.snapshots.iter().take(SNAPSHOTS_TRIED) {
        let form = (entry.zxid, entry.compression);
        match read_snapshot(disk, &entry.path, form, &options.read, restore) {
            Ok(info) => {
                notes.extend(newest_damage.map(Note::DamagedSnapshot));
                return Ok(Some((entry.path.clone(), info)));
            }
            Err(SnapshotError::File(error)) => return Err(error.into()),
            Err(damaged) if newest_damage.is_none() => newest_damage = Some(Box::new(damaged)),
            Err(damaged) => notes.push(Note::DamagedSnapshot(Box::new(damaged))),
        }
    }
    restore.reset();
    let first = inventory.logs.first().map(|log| log.name);
    match (newest_damage, first) {
        (damage, Some(first)) if is_beginning(first) => {
            notes.extend(damage.map(Note::DamagedSnapshot));
            Ok(None)
        }
        // There never was one; what is damaged was there, and is missed.
        (None, Some(_)) if options.overrides.trust_empty => Ok(None),
        (Some(newest), _) => {
            Err(RecoverError::NoValidSnapshot { tried: inventory.snapshots.len(), newest })
        }
        (None, Some(first)) => Err(RecoverError::NoSnapshot { dir: dirs.snapshots(), first }),
        (None, None) => Ok(None),
    }
}

/// Whether a log of this name is the first of a history: that of a standalone server, or of an
/// ensemble's first epoch. The recorded digests prove it when it is replayed.
pub(crate) fn is_beginning(first: Zxid) -> bool {
    first == Zxid(1) || first == Zxid(0x1_0000_0001)
}
