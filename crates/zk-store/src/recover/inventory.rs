//! What files there are, whose they are, and whether the durable marks count.

use super::error::Note;
use crate::data_dir::DataDirs;
use crate::disk::Disk;
use crate::error::{Doing, FileError};
use crate::manifest::{LOGS, Loaded, Manifest, SNAPSHOTS, Seal, marked};
use crate::names::{Compression, Name};
use std::fmt;
use std::path::{Path, PathBuf};
use zk_proto::Zxid;

/// Why durable marks are void (rule R3): another engine used the directory since, and may have
/// cut, replaced and removed what the marks speak of.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Void {
    /// A log that we did not write.
    ForeignLog(String),
    /// A snapshot that we did not write.
    ForeignSnapshot(String),
}

impl fmt::Display for Void {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Void::ForeignLog(name) | Void::ForeignSnapshot(name)) = self;
        write!(f, "{name} was written by another engine")
    }
}

/// A snapshot file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SnapshotEntry {
    pub(crate) path: PathBuf,
    pub(crate) zxid: Zxid,
    pub(crate) compression: Compression,
}

/// A log file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LogEntry {
    pub(crate) path: PathBuf,
    pub(crate) name: Zxid,
    /// What is known of it when the marks are not void.
    pub(crate) seal: Option<Seal>,
}

/// The files of a directory.
#[derive(Debug)]
pub(crate) struct Inventory {
    /// Newest first.
    pub(crate) snapshots: Vec<SnapshotEntry>,
    /// Oldest first.
    pub(crate) logs: Vec<LogEntry>,
    /// Logs that the manifest lists, oldest first; empty when the marks are void.
    pub(crate) listed: Vec<(Zxid, Seal)>,
    pub(crate) void: Option<Void>,
    /// Whether any file is marked or listed as ours.
    pub(crate) has_ours: bool,
    /// The snapshots have a list of ours and the logs have none, although theirs is made first: the
    /// log directory is not the one it was.
    pub(crate) lost_log_list: bool,
    pub(crate) notes: Vec<Note>,
}

impl Inventory {
    pub(crate) fn take(disk: &dyn Disk, dirs: &DataDirs) -> Result<Inventory, FileError> {
        let (log_dir, snapshot_dir) = (dirs.logs(), dirs.snapshots());
        let mut notes = Vec::new();
        let log_list = load(disk, &log_dir, LOGS, &mut notes)?;
        let snapshot_list = load(disk, &snapshot_dir, SNAPSHOTS, &mut notes)?;
        let mut inventory = Inventory {
            snapshots: Vec::new(),
            logs: Vec::new(),
            listed: Vec::new(),
            void: None,
            has_ours: [&log_list, &snapshot_list].iter().any(|list| **list != Loaded::Absent),
            lost_log_list: !matches!(log_list, Loaded::Manifest(_))
                && snapshot_list != Loaded::Absent,
            notes,
        };
        inventory.note_strays(disk, &snapshot_dir)?;
        if log_dir != snapshot_dir {
            inventory.note_strays(disk, &log_dir)?;
        }
        inventory.list_snapshots(disk, &snapshot_dir, &snapshot_list)?;
        inventory.list_logs(disk, &log_dir, &log_list)?;
        if inventory.void.is_some() {
            inventory.logs.iter_mut().for_each(|log| log.seal = None);
        } else if let Loaded::Manifest(manifest) = &log_list {
            inventory.listed = listed(manifest);
            inventory.note_missing_snapshot(snapshot_dir, &snapshot_list);
        }
        Ok(inventory)
    }

    /// Snapshots that were taken last and are not there. Old ones are of no interest: operators
    /// remove them, with Apache's scripts too.
    fn note_missing_snapshot(&mut self, dir: PathBuf, list: &Loaded) {
        let newest = self.snapshots.first().map(|there| there.zxid);
        let named = |name: &str| match Name::parse(name) {
            Name::Snapshot(zxid, _) => Some(zxid),
            _ => None,
        };
        let name = match list {
            Loaded::Manifest(list) => {
                let names = list.iter().filter_map(|(name, _)| Some((named(name)?, name)));
                match names.max().filter(|(zxid, _)| Some(*zxid) > newest) {
                    Some((_, name)) => Some(name.to_owned()),
                    None => return,
                }
            }
            // The list of logs is made first: without a log a crash may have come between.
            Loaded::Absent if newest.is_none() && !self.logs.is_empty() => None,
            Loaded::Absent | Loaded::Damaged => return,
        };
        self.notes.push(Note::MissingSnapshot { dir, name });
    }

    /// Whether the directory was used by us and by nobody since.
    pub(crate) fn marks_count(&self) -> bool {
        self.has_ours && self.void.is_none()
    }

    fn note_strays(&mut self, disk: &dyn Disk, dir: &Path) -> Result<(), FileError> {
        let strays = disk.list(dir).doing("list", dir)?.into_iter();
        let strays = strays.filter(|entry| Name::parse(&entry.name) == Name::Stray);
        self.notes.extend(strays.map(|entry| Note::Stray(dir.join(entry.name))));
        Ok(())
    }

    fn list_snapshots(
        &mut self,
        disk: &dyn Disk,
        dir: &Path,
        list: &Loaded,
    ) -> Result<(), FileError> {
        for entry in disk.list(dir).doing("list", dir)? {
            match Name::parse(&entry.name) {
                Name::Snapshot(zxid, compression) => {
                    if list.is_foreign(&entry.name) {
                        self.void = Some(Void::ForeignSnapshot(entry.name.clone()));
                    }
                    let path = dir.join(entry.name);
                    self.snapshots.push(SnapshotEntry { path, zxid, compression });
                }
                Name::Stray | Name::Log(_) | Name::Other => {}
            }
        }
        self.snapshots.sort_by(|a, b| b.zxid.cmp(&a.zxid).then(a.path.cmp(&b.path)));
        Ok(())
    }

    fn list_logs(&mut self, disk: &dyn Disk, dir: &Path, list: &Loaded) -> Result<(), FileError> {
        for entry in disk.list(dir).doing("list", dir)? {
            let Name::Log(name) = Name::parse(&entry.name) else { continue };
            let path = dir.join(&entry.name);
            let mut seal = match list {
                Loaded::Manifest(manifest) => manifest.get(&entry.name),
                Loaded::Absent | Loaded::Damaged => None,
            };
            if seal.is_none() {
                // A crash between a new log's name and the manifest: its mark says whose it is.
                seal = marked(disk, &path, name).doing("read", &path)?;
            }
            match seal {
                Some(Seal::Open | Seal::Closed { .. }) => self.has_ours = true,
                Some(Seal::Kept) => {}
                None if list.is_foreign(&entry.name) => {
                    self.void = Some(Void::ForeignLog(entry.name));
                }
                None => {}
            }
            self.logs.push(LogEntry { path, name, seal });
        }
        self.logs.sort_by_key(|log| log.name);
        Ok(())
    }
}

fn listed(manifest: &Manifest) -> Vec<(Zxid, Seal)> {
    let parse = |(name, seal): (&str, Seal)| match Name::parse(name) {
        Name::Log(zxid) => Some((zxid, seal)),
        _ => None,
    };
    let mut logs: Vec<(Zxid, Seal)> = manifest.iter().filter_map(parse).collect();
    logs.sort_by_key(|(name, _)| *name);
    logs
}

/// A list of files; a damaged one is told.
fn load(
    disk: &dyn Disk,
    dir: &Path,
    name: &str,
    notes: &mut Vec<Note>,
) -> Result<Loaded, FileError> {
    let path = dir.join(name);
    let list = Manifest::load(disk, dir, name).doing("read", &path)?;
    if list == Loaded::Damaged {
        notes.push(Note::DamagedManifest(path));
    }
    Ok(list)
}
