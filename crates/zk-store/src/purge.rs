//! Removes snapshots and logs that no recovery needs any more (disk-formats 6).
//!
//! Mirrors `PurgeTxnLog.purge`; differs in: a snapshot counts only when it was read to its last
//! seal, whatever its compression, and while too few count nothing is removed.

use crate::data_dir::DataDirs;
use crate::disk::Disk;
use crate::error::{Doing, FileError};
use crate::names::{Compression, Name};
use crate::restore::Discard;
use crate::snapshot::{ReadOptions, SnapshotError, read_snapshot};
use std::path::PathBuf;
use zk_proto::Zxid;

/// Apache's least value of `autopurge.snapRetainCount`.
pub const RETAIN_MIN: usize = 3;

/// What a purge did.
#[derive(Debug, Default)]
pub struct Purged {
    /// What was removed.
    pub removed: Vec<PathBuf>,
    /// Snapshots that do not count, and why.
    pub damaged: Vec<SnapshotError>,
}

/// Keeps the newest `retain` whole snapshots (at least [`RETAIN_MIN`]) and every log that holds
/// anything behind the oldest of them. To be called by whoever takes snapshots, not beside it.
pub fn purge(
    disk: &dyn Disk,
    dirs: &DataDirs,
    retain: usize,
    options: &ReadOptions,
) -> Result<Purged, FileError> {
    let (snapshot_dir, log_dir) = (dirs.snapshots(), dirs.logs());
    let mut snapshots: Vec<(Zxid, Compression, PathBuf)> = Vec::new();
    for entry in disk.list(&snapshot_dir).doing("list", &snapshot_dir)? {
        if let Name::Snapshot(zxid, compression) = Name::parse(&entry.name) {
            snapshots.push((zxid, compression, snapshot_dir.join(entry.name)));
        }
    }
    snapshots.sort_by_key(|(zxid, ..)| std::cmp::Reverse(*zxid));
    let mut purged = Purged::default();
    let mut whole = Vec::new();
    for (zxid, compression, path) in &snapshots {
        match read_snapshot(disk, path, (*zxid, *compression), options, &mut Discard) {
            // Two forms of one snapshot are one.
            Ok(_) if whole.last() != Some(zxid) => whole.push(*zxid),
            Ok(_) => {}
            Err(SnapshotError::File(error)) => return Err(error),
            Err(damaged) => purged.damaged.push(damaged),
        }
        if whole.len() == retain.max(RETAIN_MIN) {
            break;
        }
    }
    let Some(&oldest) = whole.get(retain.max(RETAIN_MIN) - 1) else { return Ok(purged) };

    let mut old: Vec<PathBuf> =
        snapshots.into_iter().filter(|(zxid, ..)| *zxid < oldest).map(|(.., path)| path).collect();
    let mut logs: Vec<(Zxid, PathBuf)> = Vec::new();
    for entry in disk.list(&log_dir).doing("list", &log_dir)? {
        match Name::parse(&entry.name) {
            Name::Log(first) if first <= oldest => logs.push((first, log_dir.join(entry.name))),
            _ => {}
        }
    }
    logs.sort();
    // The newest log that begins before may go on behind.
    logs.pop();
    old.extend(logs.into_iter().map(|(_, path)| path));
    for path in old {
        disk.remove(&path).doing("remove", &path)?;
        purged.removed.push(path);
    }
    disk.sync_dir(&snapshot_dir).doing("sync", &snapshot_dir)?;
    disk.sync_dir(&log_dir).doing("sync", &log_dir)?;
    Ok(purged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimDisk;
    use crate::snapshot::{SnapshotOptions, SnapshotWriter};
    use std::sync::Arc;

    const DAMAGED: &[u8] = b"\x1f\x8bnot a whole gzip member";

    fn snapshot(disk: &SimDisk, dirs: &DataDirs, zxid: i64, compression: Compression) {
        let (shared, dir) = (Arc::new(disk.clone()), dirs.snapshots());
        let options = SnapshotOptions { compression, ..SnapshotOptions::default() };
        let begun = SnapshotWriter::begin(shared, &dir, Zxid(zxid), options, &[], &[0; 4]);
        begun.unwrap().finish(None).unwrap();
    }

    fn setup() -> (SimDisk, DataDirs) {
        let (disk, dirs) = (SimDisk::new(512), DataDirs::new("/data", Some("/logs".into())));
        drop(dirs.open(&disk, true).unwrap());
        for dir in ["/data", "/logs", "/logs/version-2"] {
            disk.sync_dir(dir.as_ref()).unwrap();
        }
        for zxid in [10, 20, 30, 40, 50] {
            snapshot(&disk, &dirs, zxid, Compression::None);
        }
        for first in [1, 15, 25, 30, 31, 45] {
            disk.plant(&dirs.logs().join(Name::Log(Zxid(first)).to_string()), b"");
        }
        (disk, dirs)
    }

    fn names(disk: &SimDisk, dir: PathBuf) -> Vec<String> {
        let names = disk.list(&dir).unwrap().into_iter().map(|entry| entry.name);
        names.filter(|name| Name::parse(name) != Name::Other).collect()
    }

    fn run(disk: &SimDisk, dirs: &DataDirs, retain: usize) -> Purged {
        purge(disk, dirs, retain, &ReadOptions::default()).unwrap()
    }

    #[test]
    fn the_newest_snapshots_and_what_follows_the_oldest_of_them_are_kept() {
        let (disk, dirs) = setup();
        assert_eq!(run(&disk, &dirs, 0).removed.len(), 5);
        assert_eq!(names(&disk, dirs.snapshots()), ["snapshot.1e", "snapshot.28", "snapshot.32"]);
        assert_eq!(names(&disk, dirs.logs()), ["log.1e", "log.1f", "log.2d"]);
        assert!(run(&disk, &dirs, 3).removed.is_empty());
        assert!(!disk.has_unsynced());
    }

    #[test]
    fn a_damaged_snapshot_does_not_count_even_with_the_right_magic() {
        let (disk, dirs) = setup();
        disk.plant(&dirs.snapshots().join("snapshot.3c.gz"), DAMAGED);
        let purged = run(&disk, &dirs, 3);
        assert_eq!(purged.damaged.len(), 1);
        assert_eq!(
            names(&disk, dirs.snapshots()),
            ["snapshot.1e", "snapshot.28", "snapshot.32", "snapshot.3c.gz"]
        );
    }

    #[test]
    fn too_few_snapshots_keep_everything_and_forms_of_one_count_once() {
        let (disk, dirs) = setup();
        assert!(run(&disk, &dirs, 6).removed.is_empty());
        for zxid in [10, 20, 30] {
            disk.remove(&dirs.snapshots().join(format!("snapshot.{zxid:x}"))).unwrap();
        }
        snapshot(&disk, &dirs, 50, Compression::Gzip);
        snapshot(&disk, &dirs, 50, Compression::Snappy);
        assert!(run(&disk, &dirs, 3).removed.is_empty());
    }
}
