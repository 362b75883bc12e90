//! The directories of a server: layout, lock, and the small files beside logs and snapshots
//! (disk-formats 1 and 5.4).

use crate::disk::{Disk, DiskFile, read_small, replace_file};
use crate::error::{Doing, FileError};
use crate::names::Name;
use std::io;
use std::path::{Path, PathBuf};
use zk_proto::{Epoch, Zxid};

/// Logs and snapshots live in a directory of this name.
const VERSION_DIR: &str = "version-2";
/// Held by the server that uses the directory.
const LOCK: &str = "zkfleet.lock";
const SMALL_FILE_BYTES: u64 = 4096;

/// Where a server keeps its files: `dataDir` and `dataLogDir`, which are often the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DataDirs {
    data: PathBuf,
    log: PathBuf,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The disk refused.
    #[error("{0}; it must be a directory in which the server may write")]
    File(#[from] FileError),
    /// It is not there and must not be made (`datadir.autocreate=false`).
    #[error(
        "{} does not exist, and zookeeper.datadir.autocreate=false forbids to make it; is its disk \
         mounted? Else make it, or correct the configuration",
        .0.display()
    )]
    Missing(PathBuf),
    /// Its files stand where the directory for them should be.
    #[error(
        "{} holds {name} itself: is it the {VERSION_DIR} of a data directory? Then name the directory \
         above it; a server would begin here with nothing",
        .dir.display()
    )]
    Inside {
        /// The directory of the configuration.
        dir: PathBuf,
        /// A snapshot or log in it.
        name: String,
    },
    /// Snapshots where only logs belong: dataDir and dataLogDir are swapped (ZOOKEEPER-2967).
    #[error("{} is the dataLogDir but holds {name}; move snapshots to the dataDir or correct the configuration", .dir.display())]
    SnapshotInLogDir {
        /// The log directory.
        dir: PathBuf,
        /// A snapshot in it.
        name: String,
    },
    /// Logs where only snapshots belong.
    #[error("{} is the dataDir but holds {name}; move logs to the dataLogDir or correct the configuration", .dir.display())]
    LogInSnapshotDir {
        /// The snapshot directory.
        dir: PathBuf,
        /// A log in it.
        name: String,
    },
    /// Another server uses it.
    #[error(
        "{} is in use by another server: it is locked; stop that one, or give this one a directory \
         of its own",
        .0.display()
    )]
    InUse(PathBuf),
}

/// Why `myid` says nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MyidError {
    /// The disk refused, or it is not there.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not a number in 1..=255.
    #[error("{}: {text:?} is not a server id; write a number from 1 to 255, nothing else", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Its first line.
        text: String,
    },
}

/// Why an epoch file says nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EpochError {
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not a number.
    #[error("{}: {text:?} is not an epoch; restore the file, or remove it only if the member rejoins empty", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What it holds.
        text: String,
    },
}

/// The two epoch files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EpochFile {
    /// The epoch whose leader this member follows.
    Current,
    /// The newest epoch that it promised to accept.
    Accepted,
}

/// Keeps other servers off the directories as long as it lives.
#[derive(Debug)]
pub struct DirLock(#[allow(dead_code, reason = "held, not read")] Vec<Box<dyn DiskFile>>);

impl DataDirs {
    /// `dataDir`, and `dataLogDir` if it is set.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>, log: Option<PathBuf>) -> DataDirs {
        let data = data.into();
        DataDirs { log: log.unwrap_or_else(|| data.clone()), data }
    }

    /// Where `myid` is.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Where snapshots and epoch files are.
    #[must_use]
    pub fn snapshots(&self) -> PathBuf {
        self.data.join(VERSION_DIR)
    }

    /// Where logs are.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.log.join(VERSION_DIR)
    }

    /// Makes what is missing (unless `autocreate` is off), checks the layout, and takes the lock.
    pub fn open(&self, disk: &dyn Disk, autocreate: bool) -> Result<DirLock, LayoutError> {
        let (snapshots, logs) = (self.snapshots(), self.logs());
        for dir in [&snapshots, &logs] {
            match disk.list(dir) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound && autocreate => {
                    check_not_inside(disk, dir)?;
                    disk.create_dir_all(dir).doing("create", dir)?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(LayoutError::Missing(dir.clone()));
                }
                Err(error) => return Err(error).doing("list", dir)?,
            }
        }
        let mut locks = lock(disk, &self.data, &snapshots)?;
        if snapshots != logs {
            locks.extend(lock(disk, &self.log, &logs)?);
        }
        self.check_layout(disk)?;
        Ok(DirLock(locks))
    }

    /// Whether each directory holds nothing of the other's, where they are two.
    pub fn check_layout(&self, disk: &dyn Disk) -> Result<(), LayoutError> {
        let (snapshots, logs) = (self.snapshots(), self.logs());
        if snapshots == logs {
            return Ok(());
        }
        if let Some(name) = first_of(disk, &logs, "snapshot.")? {
            return Err(LayoutError::SnapshotInLogDir { dir: logs, name });
        }
        if let Some(name) = first_of(disk, &snapshots, "log.")? {
            return Err(LayoutError::LogInSnapshotDir { dir: snapshots, name });
        }
        Ok(())
    }

    /// This server's number. Only the newline behind it is allowed beside the digits, as in Apache.
    pub fn myid(&self, disk: &dyn Disk) -> Result<u8, MyidError> {
        let path = self.data.join("myid");
        let bytes = read_small(disk, &path, SMALL_FILE_BYTES).doing("read", &path)?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.lines().next().unwrap_or_default();
        match text.parse::<u8>() {
            Ok(id) if id >= 1 => Ok(id),
            _ => Err(MyidError::Invalid { path, text: text.to_owned() }),
        }
    }

    /// Reads an epoch file; `None` if it is missing. A `currentEpoch.tmp` that a crash of Apache
    /// left counts when the log is newer than `currentEpoch` (disk-formats 5.4).
    pub fn epoch(
        &self,
        disk: &dyn Disk,
        file: EpochFile,
        last: Zxid,
    ) -> Result<Option<Epoch>, EpochError> {
        let dir = self.snapshots();
        let epoch = read_epoch(disk, &dir.join(file.name()))?;
        if file == EpochFile::Current && epoch.is_some_and(|epoch| epoch < last.epoch()) {
            return Ok(read_epoch(disk, &dir.join("currentEpoch.tmp"))?.or(epoch));
        }
        Ok(epoch)
    }

    /// Writes an epoch file; after a crash it holds the old or the new value.
    pub fn set_epoch(
        &self,
        disk: &dyn Disk,
        file: EpochFile,
        epoch: Epoch,
    ) -> Result<(), FileError> {
        let (dir, name) = (self.snapshots(), file.name());
        let text = epoch.0.to_string();
        replace_file(disk, &dir, name, &format!("zkfleet.{name}.tmp"), text.as_bytes())
            .doing("replace", &dir.join(name))
    }
}

impl EpochFile {
    fn name(self) -> &'static str {
        match self {
            EpochFile::Current => "currentEpoch",
            EpochFile::Accepted => "acceptedEpoch",
        }
    }
}

fn read_epoch(disk: &dyn Disk, path: &Path) -> Result<Option<Epoch>, EpochError> {
    let bytes = match read_small(disk, path, SMALL_FILE_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.doing("read", path)?,
    };
    let text = String::from_utf8_lossy(&bytes);
    match text.trim_ascii().parse::<i32>() {
        Ok(epoch) if epoch >= 0 => Ok(Some(Epoch(epoch))),
        _ => Err(EpochError::Invalid { path: path.to_path_buf(), text: text.into_owned() }),
    }
}

/// Locks a file that says so, and the directory of the files, in case somebody removes that one.
/// The directory that operators name is left to them: scripts lock it for themselves.
fn lock(disk: &dyn Disk, dir: &Path, files: &Path) -> Result<Vec<Box<dyn DiskFile>>, LayoutError> {
    let path = dir.join(LOCK);
    let file = disk.lock(&path).map(Some);
    let locks = [(file, &*path), (disk.lock_dir(files), files)].map(|(lock, path)| match lock {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(LayoutError::InUse(dir.to_path_buf()))
        }
        result => Ok(result.doing("lock", path)?),
    });
    locks.into_iter().filter_map(Result::transpose).collect()
}

/// A directory is about to be made: nothing of what belongs into it stands beside it.
fn check_not_inside(disk: &dyn Disk, dir: &Path) -> Result<(), LayoutError> {
    let Some(above) = dir.parent() else { return Ok(()) };
    // It need not be there either.
    let Ok(entries) = disk.list(above) else { return Ok(()) };
    let is_ours = |name: &String| matches!(Name::parse(name), Name::Log(_) | Name::Snapshot(..));
    match entries.into_iter().map(|entry| entry.name).find(is_ours) {
        Some(name) => Err(LayoutError::Inside { dir: above.to_path_buf(), name }),
        None => Ok(()),
    }
}

fn first_of(disk: &dyn Disk, dir: &Path, prefix: &str) -> Result<Option<String>, FileError> {
    let entries = disk.list(dir).doing("list", dir)?;
    Ok(entries.into_iter().map(|entry| entry.name).find(|name| name.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimDisk;

    #[test]
    fn two_servers_cannot_share_a_directory() {
        let (disk, dirs) = (SimDisk::new(512), DataDirs::new("/data", None));
        let lock = dirs.open(&disk, true).unwrap();
        assert!(matches!(dirs.open(&disk, true), Err(LayoutError::InUse(_))));
        let shared_log = DataDirs::new("/other", Some("/data".into()));
        assert!(matches!(shared_log.open(&disk, true), Err(LayoutError::InUse(_))));
        drop(lock);
        dirs.open(&disk, true).unwrap();
    }

    #[test]
    fn whoever_removes_the_lock_does_not_let_another_server_in() {
        let (disk, dir) = (crate::disk::RealDisk, tempfile::tempdir().unwrap());
        let dirs = DataDirs::new(dir.path(), None);
        let lock = dirs.open(&disk, true).unwrap();
        disk.remove(&dir.path().join(LOCK)).unwrap();
        assert!(matches!(dirs.open(&disk, true), Err(LayoutError::InUse(_))));
        drop(lock);
        dirs.open(&disk, true).unwrap();
    }

    #[test]
    fn swapped_and_missing_directories_are_refused() {
        let disk = SimDisk::new(512);
        let dirs = DataDirs::new("/data", Some("/logs".into()));
        assert!(matches!(dirs.open(&disk, false), Err(LayoutError::Missing(_))));
        drop(dirs.open(&disk, true).unwrap());
        disk.plant(Path::new("/logs/version-2/snapshot.0"), b"");
        assert!(matches!(dirs.open(&disk, true), Err(LayoutError::SnapshotInLogDir { .. })));
        disk.remove(Path::new("/logs/version-2/snapshot.0")).unwrap();
        disk.plant(Path::new("/data/version-2/log.1"), b"");
        assert!(matches!(dirs.open(&disk, true), Err(LayoutError::LogInSnapshotDir { .. })));
    }

    #[test]
    fn a_directory_that_is_meant_for_the_files_is_refused() {
        let disk = SimDisk::new(512);
        drop(DataDirs::new("/data", None).open(&disk, true).unwrap());
        disk.plant(Path::new("/data/version-2/log.1"), b"");
        let inside = DataDirs::new("/data/version-2", None).open(&disk, true);
        assert!(matches!(inside, Err(LayoutError::Inside { name, .. }) if name == "log.1"));
        drop(DataDirs::new("/data", None).open(&disk, true).unwrap());
    }

    #[test]
    fn myid_is_a_number_and_a_newline_at_most() {
        let (disk, dirs) = (SimDisk::new(512), DataDirs::new("/data", None));
        disk.create_dir_all(Path::new("/data")).unwrap();
        assert!(matches!(dirs.myid(&disk), Err(MyidError::File(_))));
        for (text, want) in [
            ("1", Some(1)),
            ("255\n", Some(255)),
            ("3\nrest", Some(3)),
            ("0", None),
            ("256", None),
            ("1 ", None),
            ("", None),
            ("x", None),
        ] {
            disk.plant(Path::new("/data/myid"), text.as_bytes());
            assert_eq!(dirs.myid(&disk).ok(), want, "{text:?}");
        }
    }

    #[test]
    fn epochs_are_replaced_at_once_and_rubbish_is_refused() {
        let (disk, dirs) = (SimDisk::new(512), DataDirs::new("/data", None));
        drop(dirs.open(&disk, true).unwrap());
        let last = Zxid::new(Epoch(5), 1);
        assert_eq!(dirs.epoch(&disk, EpochFile::Current, last).unwrap(), None);
        dirs.set_epoch(&disk, EpochFile::Current, Epoch(4)).unwrap();
        assert_eq!(disk.read(&dirs.snapshots().join("currentEpoch")).unwrap(), b"4");
        disk.cut_power_at(4);
        assert!(dirs.set_epoch(&disk, EpochFile::Current, Epoch(5)).is_err());
        let (mut old, mut new) = (false, false);
        disk.crash_states(1000, 1, |after| {
            match dirs.epoch(&after, EpochFile::Current, Zxid(0)).unwrap() {
                Some(Epoch(4)) => old = true,
                Some(Epoch(5)) => new = true,
                other => panic!("{other:?}"),
            }
        });
        assert!(old && new);
        for text in ["", "x", "-1", "99999999999", "\u{fffd}"] {
            let disk = SimDisk::new(512);
            disk.plant(&dirs.snapshots().join("acceptedEpoch"), text.as_bytes());
            let epoch = dirs.epoch(&disk, EpochFile::Accepted, last);
            assert!(matches!(epoch, Err(EpochError::Invalid { .. })), "{text:?}");
        }
    }

    #[test]
    fn an_epoch_that_apache_could_not_rename_counts_when_the_log_is_newer() {
        let (disk, dirs) = (SimDisk::new(512), DataDirs::new("/data", None));
        disk.plant(&dirs.snapshots().join("currentEpoch"), b"4");
        disk.plant(&dirs.snapshots().join("currentEpoch.tmp"), b"5");
        let epoch = |last| dirs.epoch(&disk, EpochFile::Current, last).unwrap();
        assert_eq!(epoch(Zxid::new(Epoch(5), 1)), Some(Epoch(5)));
        assert_eq!(epoch(Zxid::new(Epoch(4), 9)), Some(Epoch(4)));
    }
}
