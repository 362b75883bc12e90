//! A history on its way out: a leader's snapshot takes its place (SNAP, quorum-protocol 7).
//!
//! The member that throws its history away has nothing to show until the snapshot is on its disk.
//! If it ends in between, it must not vote with what is left (DESIGN R5), and must know that after
//! any crash: a file says so from before the first other file goes until after the snapshot is
//! whole. A member that finds it takes its history from a leader again.
//!
//! Apache does not look at that file: a directory that has it must not be given to an Apache
//! member.

use crate::data_dir::DataDirs;
use crate::disk::{Disk, read_small, replace_file};
use crate::error::{Doing, FileError};
use crate::manifest::{LOGS, Manifest, SNAPSHOTS};
use crate::names::Name;
use std::io;
use std::path::Path;
use zk_proto::Zxid;

/// The file that says it.
pub const INCOMPLETE: &str = "zkfleet.incomplete";
const TEXT: &[u8] =
    b"This member takes its history from a leader and has no vote until it is whole.\n";
const MAX_BYTES: u64 = 4096;

/// Whether the directories hold what is left of a history, at most.
pub fn is_incomplete(disk: &dyn Disk, dirs: &DataDirs) -> Result<bool, FileError> {
    let path = dirs.snapshots().join(INCOMPLETE);
    match read_small(disk, &path, MAX_BYTES) {
        // Whatever it says: nobody else makes it.
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(true),
        Err(error) => Err(error).doing("read", &path),
    }
}

/// Notes, durably, that the history must not be built upon.
pub fn note_incomplete(disk: &dyn Disk, dirs: &DataDirs) -> Result<(), FileError> {
    let dir = dirs.snapshots();
    let temporary = format!("{INCOMPLETE}.tmp");
    replace_file(disk, &dir, INCOMPLETE, &temporary, TEXT).doing("write", &dir.join(INCOMPLETE))
}

/// Throws the history away, durably, after it is noted that there is none. No writer may be open.
/// To be called again after an error or a crash.
pub fn discard_history(disk: &dyn Disk, dirs: &DataDirs) -> Result<(), FileError> {
    let (logs, snapshots) = (dirs.logs(), dirs.snapshots());
    note_incomplete(disk, dirs)?;
    // Nothing is missed any more, and nothing marked.
    let nothing = Manifest::default();
    nothing.store(disk, &logs, LOGS).doing("replace", &logs.join(LOGS))?;
    nothing.store(disk, &snapshots, SNAPSHOTS).doing("replace", &snapshots.join(SNAPSHOTS))?;
    // The newest first: what a careless reader finds is never a history with a hole.
    remove_all(disk, &logs, |name| match name {
        Name::Log(first) => Some(first),
        _ => None,
    })?;
    remove_all(disk, &snapshots, |name| match name {
        Name::Snapshot(zxid, _) => Some(zxid),
        _ => None,
    })
}

/// A snapshot is on the disk, whole: it is the history, and this member has one again.
pub fn history_is_whole(disk: &dyn Disk, dirs: &DataDirs) -> Result<(), FileError> {
    let dir = dirs.snapshots();
    let path = dir.join(INCOMPLETE);
    match disk.remove(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).doing("remove", &path);
        }
        _ => {}
    }
    disk.sync_dir(&dir).doing("sync", &dir)
}

fn remove_all(
    disk: &dyn Disk,
    dir: &Path,
    wanted: impl Fn(Name) -> Option<Zxid>,
) -> Result<(), FileError> {
    let entries = disk.list(dir).doing("list", dir)?;
    let mut found: Vec<(Zxid, String)> = entries
        .into_iter()
        .filter_map(|entry| Some((wanted(Name::parse(&entry.name))?, entry.name)))
        .collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    for (_, name) in found {
        let path = dir.join(name);
        disk.remove(&path).doing("remove", &path)?;
        disk.sync_dir(dir).doing("sync", dir)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Access;
    use crate::manifest::{Loaded, Seal};
    use crate::sim::SimDisk;
    use std::path::PathBuf;

    const OLD: [&str; 4] = ["log.1", "log.20", "snapshot.0", "snapshot.1f.gz"];

    /// A history in one or two directories, with what else may lie there.
    fn old_history(is_split: bool) -> (SimDisk, DataDirs) {
        let disk = SimDisk::new(512);
        let log = is_split.then(|| PathBuf::from("/l"));
        let dirs = DataDirs::new("/d", log);
        for dir in [dirs.logs(), dirs.snapshots()] {
            disk.create_dir_all(&dir).unwrap();
        }
        for (dir, list, prefix) in
            [(dirs.logs(), LOGS, "log."), (dirs.snapshots(), SNAPSHOTS, "snapshot.")]
        {
            let mut manifest = Manifest::default();
            for name in OLD.iter().filter(|name| name.starts_with(prefix)) {
                write(&disk, &dir.join(name));
                manifest.insert(*name, Seal::Open);
            }
            manifest.store(&disk, &dir, list).unwrap();
        }
        write(&disk, &dirs.snapshots().join("currentEpoch"));
        write(&disk, &dirs.snapshots().join("snapshot.5.mine"));
        (disk, dirs)
    }

    fn write(disk: &SimDisk, path: &Path) {
        let file = disk.open(path, Access::Create).unwrap();
        file.write_at(b"content", 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(path.parent().unwrap()).unwrap();
    }

    fn names(disk: &SimDisk, dirs: &DataDirs) -> Vec<String> {
        let mut names: Vec<_> = [dirs.logs(), dirs.snapshots()]
            .iter()
            .flat_map(|dir| disk.list(dir).unwrap())
            .map(|entry| entry.name)
            .filter(|name| !matches!(Name::parse(name), Name::Other | Name::Stray))
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// What a snapshot does that is written afterwards.
    fn put_snapshot(disk: &SimDisk, dirs: &DataDirs) -> io::Result<()> {
        let dir = dirs.snapshots();
        let file = disk.open(&dir.join("new.tmp"), Access::Create)?;
        file.write_at(b"content", 0)?;
        file.sync_data()?;
        disk.rename(&dir.join("new.tmp"), &dir.join("snapshot.30"))?;
        disk.sync_dir(&dir)
    }

    #[test]
    fn nothing_of_the_history_stays_and_nothing_else_goes() {
        for is_split in [false, true] {
            let (disk, dirs) = old_history(is_split);
            assert!(!is_incomplete(&disk, &dirs).unwrap());
            discard_history(&disk, &dirs).unwrap();
            assert!(is_incomplete(&disk, &dirs).unwrap());
            assert_eq!(names(&disk, &dirs), [""; 0]);
            for (dir, list) in [(dirs.logs(), LOGS), (dirs.snapshots(), SNAPSHOTS)] {
                let loaded = Manifest::load(&disk, &dir, list).unwrap();
                assert_eq!(loaded, Loaded::Manifest(Manifest::default()));
            }
            let left = disk.list(&dirs.snapshots()).unwrap();
            for kept in ["currentEpoch", "snapshot.5.mine"] {
                assert!(left.iter().any(|entry| entry.name == kept), "{kept}");
            }
            discard_history(&disk, &dirs).expect("again");
            history_is_whole(&disk, &dirs).unwrap();
            assert!(!is_incomplete(&disk, &dirs).unwrap());
            history_is_whole(&disk, &dirs).expect("again");
        }
    }

    #[test]
    fn a_file_that_cannot_be_understood_says_it_too() {
        let (disk, dirs) = old_history(false);
        let path = dirs.snapshots().join(INCOMPLETE);
        let file = disk.open(&path, Access::Create).unwrap();
        assert!(is_incomplete(&disk, &dirs).unwrap(), "empty");
        file.write_at(&vec![7; 5000], 0).unwrap();
        assert!(is_incomplete(&disk, &dirs).unwrap(), "too long");
    }

    /// After any crash: all of the old history, or the word that there is none, or the new snapshot
    /// alone.
    #[test]
    fn a_crash_never_leaves_a_part_that_counts() {
        let (mut old, mut incomplete, mut new) = (0, 0, 0);
        for calls in 0.. {
            let (disk, dirs) = old_history(true);
            disk.cut_power_at(calls);
            let done = discard_history(&disk, &dirs).is_ok()
                && put_snapshot(&disk, &dirs).is_ok()
                && history_is_whole(&disk, &dirs).is_ok();
            disk.crash_states(300, calls, |after| {
                let found = names(&after, &dirs);
                if is_incomplete(&after, &dirs).unwrap() {
                    incomplete += 1;
                } else if found == ["snapshot.30"] {
                    new += 1;
                } else {
                    old += 1;
                    assert_eq!(found, OLD, "after call {calls}");
                }
            });
            if done {
                break;
            }
        }
        assert!(old > 0 && incomplete > 0 && new > 0, "{old} {incomplete} {new}");
    }
}
