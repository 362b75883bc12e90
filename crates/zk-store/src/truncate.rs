//! Cuts history behind a transaction, as a leader's TRUNC asks (disk-formats 5.2).
//!
//! The order makes every crash leave either the longer history, or the shorter one, or something
//! between that recovers as a prefix: first the claims are lowered (lists and marks, rule R3), then
//! snapshots go, then logs from the newest on, then the end of the log that holds the cut.
//!
//! Mirrors `FileTxnLog.truncate`; differs in: snapshots that hold anything behind the cut go too.

use crate::data_dir::DataDirs;
use crate::disk::Disk;
use crate::error::{Doing, FileError};
use crate::log::{LogEnd, LogReader, OpenLog, Step};
use crate::manifest::{LOGS, Manifest, SNAPSHOTS, Seal};
use crate::names::Name;
use crate::recover::{Inventory, RecoverOptions, is_beginning};
use crate::restore::Discard;
use crate::snapshot::{SnapshotError, read_snapshot};
use std::path::{Path, PathBuf};
use zk_proto::Zxid;

/// Why history was not cut; nothing was changed then, except after [`TruncateError::File`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TruncateError {
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// No log holds the transaction behind which to cut.
    #[error("no log in {} holds {zxid}, so history cannot be cut behind it: take a SNAP", .dir.display())]
    NotThere {
        /// The log directory.
        dir: PathBuf,
        /// The transaction.
        zxid: Zxid,
    },
    /// All snapshots hold later transactions, and the logs do not begin at the first one.
    #[error("every snapshot in {} holds transactions behind {zxid}: take a SNAP", .dir.display())]
    NoSnapshot {
        /// The snapshot directory.
        dir: PathBuf,
        /// The transaction.
        zxid: Zxid,
    },
}

/// Cuts everything behind `zxid`, durably. No writer may be open; recover afterwards.
pub fn truncate(
    disk: &dyn Disk,
    dirs: &DataDirs,
    zxid: Zxid,
    options: &RecoverOptions,
) -> Result<(), TruncateError> {
    let (log_dir, snapshot_dir) = (dirs.logs(), dirs.snapshots());
    let inventory = Inventory::take(disk, dirs)?;
    let cut = find(disk, &inventory, zxid)?
        .ok_or_else(|| TruncateError::NotThere { dir: log_dir.clone(), zxid })?;
    let too_new = snapshots_behind(disk, &inventory, zxid, options)?;
    let begins = inventory.logs.first().is_some_and(|log| is_beginning(log.name));
    if too_new.len() == inventory.snapshots.len() && !begins {
        return Err(TruncateError::NoSnapshot { dir: snapshot_dir, zxid });
    }

    let mut logs = load(disk, &log_dir, LOGS)?;
    let name = Name::Log(cut.name).to_string();
    logs.retain(|listed| matches!(Name::parse(listed), Name::Log(first) if first <= cut.name));
    // Not closed yet: while later logs are still there they go on behind it.
    logs.insert(&*name, if cut.mark.is_some() { Seal::Open } else { Seal::Kept });
    logs.store(disk, &log_dir, LOGS).doing("replace", &log_dir.join(LOGS))?;
    cut.lower_mark(disk).doing("mark", &cut.path)?;

    let mut snapshots = load(disk, &snapshot_dir, SNAPSHOTS)?;
    for path in &too_new {
        disk.remove(path).doing("remove", path)?;
        disk.sync_dir(&snapshot_dir).doing("sync", &snapshot_dir)?;
    }
    snapshots.retain(|listed| !too_new.iter().any(|path| path.ends_with(listed)));
    snapshots
        .store(disk, &snapshot_dir, SNAPSHOTS)
        .doing("replace", &snapshot_dir.join(SNAPSHOTS))?;
    for log in inventory.logs.iter().rev().take_while(|log| log.name > cut.name) {
        disk.remove(&log.path).doing("remove", &log.path)?;
        disk.sync_dir(&log_dir).doing("sync", &log_dir)?;
    }

    let LogEnd { end, zxid, checksum, .. } = cut;
    logs.insert(&*name, Seal::Closed { end, zxid, checksum });
    logs.store(disk, &log_dir, LOGS).doing("replace", &log_dir.join(LOGS))?;
    cut.clean(disk).doing("cut", &cut.path)?;
    Ok(())
}

fn load(disk: &dyn Disk, dir: &Path, name: &str) -> Result<Manifest, FileError> {
    Manifest::load_to_change(disk, dir, name).doing("read", &dir.join(name))
}

/// Where the record of `zxid` ends.
fn find(disk: &dyn Disk, inventory: &Inventory, zxid: Zxid) -> Result<Option<LogEnd>, FileError> {
    let Some(log) = inventory.logs.iter().rev().find(|log| log.name <= zxid) else {
        return Ok(None);
    };
    let opened = LogReader::open(disk, &log.path, log.name);
    let OpenLog::Log(mut reader) = opened.doing("read", &log.path)? else { return Ok(None) };
    let mark = reader.mark();
    while let Step::Record(record) = reader.step().doing("read", &log.path)? {
        if record.zxid == zxid {
            let (end, checksum) = (record.end, record.checksum);
            let (path, name) = (log.path.clone(), log.name);
            let (proven_to, is_dirty, keep_as) = (0, true, None);
            let found =
                LogEnd { path, name, end, zxid, checksum, mark, proven_to, is_dirty, keep_as };
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Snapshots that hold, or may hold, a part of what is cut; damaged ones hold nothing.
fn snapshots_behind(
    disk: &dyn Disk,
    inventory: &Inventory,
    zxid: Zxid,
    options: &RecoverOptions,
) -> Result<Vec<PathBuf>, FileError> {
    let mut behind = Vec::new();
    for entry in &inventory.snapshots {
        let form = (entry.zxid, entry.compression);
        let keep = entry.zxid <= zxid
            && match read_snapshot(disk, &entry.path, form, &options.read, &mut Discard) {
                Ok(info) => info.fuzzy_to() <= zxid,
                Err(SnapshotError::File(error)) => return Err(error),
                Err(SnapshotError::Damaged { .. }) => false,
            };
        if !keep {
            behind.push(entry.path.clone());
        }
    }
    Ok(behind)
}
