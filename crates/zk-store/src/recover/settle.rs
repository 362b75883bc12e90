//! Prepares a recovered directory for new records.

use super::keep::keep;
use super::{Inventory, Recovered};
use crate::data_dir::DataDirs;
use crate::disk::{Access, Disk, read_full};
use crate::error::{Doing, FileError};
use crate::log::LogEnd;
use crate::manifest::{LOGS, Manifest, SNAPSHOTS, Seal};
use crate::names::Name;
use crate::reserve;
use std::io;
use std::path::Path;

/// So much of a log is written again at a time.
const PIECE_BYTES: u64 = 1 << 20;

impl Recovered {
    /// Makes what was recovered durable, cuts off what does not count, and takes the directory
    /// over: its files are listed as known from now on. To be called before anything that was
    /// recovered is shown to anybody: records that a crash left in the page cache only may
    /// otherwise be seen and then lost. Returns the list of logs, for
    /// [`LogWriter::new`](crate::log::LogWriter::new).
    pub fn settle(&self, disk: &dyn Disk, dirs: &DataDirs) -> Result<Manifest, FileError> {
        match self.settle_once(disk, dirs) {
            // A full disk must not keep what is there from being read. A crash may come at any
            // point of the first attempt, so the second one finds nothing that it does not expect.
            Err(error) if error.is_disk_full() && reserve::release(disk, &dirs.logs()) => {
                self.settle_once(disk, dirs)
            }
            result => result,
        }
    }

    fn settle_once(&self, disk: &dyn Disk, dirs: &DataDirs) -> Result<Manifest, FileError> {
        let (log_dir, snapshot_dir) = (dirs.logs(), dirs.snapshots());
        remove_leftovers(disk, &log_dir)?;
        remove_leftovers(disk, &snapshot_dir)?;
        // Before anything else: nothing is cut that is not kept.
        self.logs.iter().try_for_each(|log| keep(disk, log))?;
        for path in self.snapshot.iter().map(|(path, _)| path) {
            sync(disk, path)?;
        }
        for log in self.logs.iter().filter(|log| log.end > 0) {
            write_tail_again(disk, log).doing("write again", &log.path)?;
        }
        disk.sync_dir(&snapshot_dir).doing("sync", &snapshot_dir)?;
        disk.sync_dir(&log_dir).doing("sync", &log_dir)?;

        // First the lists, then the cuts: a crash between leaves logs that are known to end where
        // they are going to be cut.
        let inventory = Inventory::take(disk, dirs)?;
        let mut snapshots = Manifest::default();
        for entry in &inventory.snapshots {
            snapshots.insert(file_name(&entry.path), Seal::Open);
        }
        let mut logs = Manifest::default();
        for entry in &inventory.logs {
            logs.insert(Name::Log(entry.name).to_string(), entry.seal.unwrap_or(Seal::Kept));
        }
        for log in &self.logs {
            let LogEnd { end, zxid, checksum, .. } = *log;
            match end {
                0 => logs.remove(&Name::Log(log.name).to_string()),
                _ => logs
                    .insert(Name::Log(log.name).to_string(), Seal::Closed { end, zxid, checksum }),
            }
        }
        logs.store(disk, &log_dir, LOGS).doing("replace", &log_dir.join(LOGS))?;
        snapshots
            .store(disk, &snapshot_dir, SNAPSHOTS)
            .doing("replace", &snapshot_dir.join(SNAPSHOTS))?;
        for log in self.logs.iter().filter(|log| log.is_dirty) {
            log.clean(disk).doing("cut", &log.path)?;
        }
        disk.sync_dir(&log_dir).doing("sync", &log_dir)?;
        Ok(logs)
    }
}

/// Makes the records of a log durable. A sync is not enough: after one that failed, Linux takes the
/// pages for clean (RELIABILITY, fsyncgate). The records are read as they were written, and no
/// later sync brings them to the disk, so what nothing vouches for is written once more.
fn write_tail_again(disk: &dyn Disk, log: &LogEnd) -> io::Result<()> {
    let file = disk.open(&log.path, Access::Write)?;
    let mut at = log.proven_to.min(log.end);
    let mut piece = vec![0; PIECE_BYTES.min(log.end.saturating_sub(at)) as usize];
    while at < log.end {
        let most = PIECE_BYTES.min(log.end - at) as usize;
        let n = read_full(&*file, &mut piece[..most], at)?;
        if n == 0 {
            break;
        }
        file.write_at(&piece[..n], at)?;
        at += n as u64;
    }
    file.sync_data()
}

fn sync(disk: &dyn Disk, path: &Path) -> Result<(), FileError> {
    let file = disk.open(path, Access::Read).doing("open", path)?;
    file.sync_data().doing("sync", path)
}

/// Temporary files of ours that a crash left.
fn remove_leftovers(disk: &dyn Disk, dir: &Path) -> Result<(), FileError> {
    for entry in disk.list(dir).doing("list", dir)? {
        if entry.name.starts_with("zkfleet.") && entry.name.ends_with(".tmp") {
            let path = dir.join(entry.name);
            disk.remove(&path).doing("remove", &path)?;
        }
    }
    Ok(())
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
