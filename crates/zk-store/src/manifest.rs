//! Which files of a directory are ours: so that a missing one is missed, and a foreign one seen.
//!
//! Logs and snapshots have a manifest each (`zkfleet.logs`, `zkfleet.snapshots`), a few lines of
//! text that Apache does not look at. It is replaced as a whole when a file is made or removed,
//! never for a record. Format: docs/formats/durable-mark.md.
//!
//! **A damaged manifest makes no file foreign**: not when it is read (`Loaded::is_foreign`), and
//! not when it is replaced (`Manifest::load_to_change`).

use crate::disk::{Access, Disk, read_small, replace_file};
use crate::log::Mark;
use crate::names::Name;
use crate::sealed_text;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::Path;
use zk_proto::Zxid;

/// The manifest of the logs.
pub const LOGS: &str = "zkfleet.logs";
/// The manifest of the snapshots.
pub const SNAPSHOTS: &str = "zkfleet.snapshots";
const FIRST_LINE: &str = "zkfleet-manifest 1";
/// Far above any real directory; a file's lines are read into memory.
const MAX_BYTES: u64 = 16 << 20;

/// What is known of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seal {
    /// A log that is being written, or a snapshot.
    Open,
    /// A log of another engine that was there when we came and was not read.
    Kept,
    /// A log whose last record is known and durable. Nothing behind it counts.
    Closed {
        /// Where the last record ends, in bytes.
        end: u64,
        /// Its zxid; 0 for a log without records.
        zxid: Zxid,
        /// Its checksum.
        checksum: u32,
    },
}

/// The files of one kind in a directory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Manifest {
    files: BTreeMap<String, Seal>,
}

/// What reading a manifest gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Loaded {
    /// It is there.
    Manifest(Manifest),
    /// None: the directory is Apache's.
    Absent,
    /// It cannot be understood; nothing it says counts.
    Damaged,
}

impl Manifest {
    /// Reads the manifest `name` of a directory.
    pub fn load(disk: &dyn Disk, dir: &Path, name: &str) -> io::Result<Loaded> {
        match read_small(disk, &dir.join(name), MAX_BYTES) {
            Ok(bytes) => Ok(Manifest::parse(&bytes).map_or(Loaded::Damaged, Loaded::Manifest)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Loaded::Absent),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Loaded::Damaged),
            Err(error) => Err(error),
        }
    }

    /// Reads the manifest `name` of a directory, for who changes it and stores it again.
    ///
    /// What stands in the place of a damaged one must not be less than it: of the files that are
    /// there nobody knows that they are not ours, so they are listed. Where there is none nobody
    /// says that they are: they stay foreign, as they would be for a start.
    pub(crate) fn load_to_change(disk: &dyn Disk, dir: &Path, name: &str) -> io::Result<Manifest> {
        match Manifest::load(disk, dir, name)? {
            Loaded::Manifest(manifest) => Ok(manifest),
            Loaded::Absent => Ok(Manifest::default()),
            Loaded::Damaged => {
                tracing::warn!(
                    "{} is damaged: all files that are there are listed in its place, and one that is \
                     missing will not be missed",
                    dir.join(name).display()
                );
                Manifest::of_all(disk, dir, name)
            }
        }
    }

    /// All files of a directory that manifest `name` is for, as far as they themselves say what
    /// they are.
    fn of_all(disk: &dyn Disk, dir: &Path, name: &str) -> io::Result<Manifest> {
        let mut all = Manifest::default();
        for entry in disk.list(dir)? {
            match (Name::parse(&entry.name), name) {
                (Name::Snapshot(..), SNAPSHOTS) => all.insert(entry.name, Seal::Open),
                (Name::Log(first), LOGS) => {
                    let seal = marked(disk, &dir.join(&entry.name), first)?;
                    all.insert(entry.name, seal.unwrap_or(Seal::Kept));
                }
                _ => {}
            }
        }
        Ok(all)
    }

    /// Puts the manifest in place, durably.
    pub fn store(&self, disk: &dyn Disk, dir: &Path, name: &str) -> io::Result<()> {
        replace_file(disk, dir, name, &format!("{name}.tmp"), self.to_text().as_bytes())
    }

    /// Notes a file.
    pub fn insert(&mut self, name: impl Into<String>, seal: Seal) {
        self.files.insert(name.into(), seal);
    }

    /// Forgets a file.
    pub fn remove(&mut self, name: &str) {
        self.files.remove(name);
    }

    /// What is known of a file; `None` if it is not ours.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Seal> {
        self.files.get(name).copied()
    }

    /// The files by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Seal)> {
        self.files.iter().map(|(name, seal)| (name.as_str(), *seal))
    }

    /// Keeps the files for which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.files.retain(|name, _| keep(name));
    }

    fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n");
        for (name, seal) in &self.files {
            let _ = match seal {
                Seal::Open => writeln!(text, "{name} open"),
                Seal::Kept => writeln!(text, "{name} kept"),
                Seal::Closed { end, zxid, checksum } => {
                    writeln!(text, "{name} closed {end} {:x} {checksum:08x}", zxid.0)
                }
            };
        }
        sealed_text::seal(text)
    }

    fn parse(bytes: &[u8]) -> Option<Manifest> {
        let mut files = BTreeMap::new();
        for line in sealed_text::open(bytes, FIRST_LINE)? {
            let mut words = line.split(' ');
            let name = words.next()?.to_owned();
            let seal = match words.next()? {
                "open" => Seal::Open,
                "kept" => Seal::Kept,
                "closed" => Seal::Closed {
                    end: words.next()?.parse().ok()?,
                    zxid: Zxid(i64::from_str_radix(words.next()?, 16).ok()?),
                    checksum: u32::from_str_radix(words.next()?, 16).ok()?,
                },
                _ => return None,
            };
            files.insert(name, seal);
        }
        Some(Manifest { files })
    }
}

impl Loaded {
    /// Whether a file is another engine's. A damaged list does not make it so: nobody knows, and a
    /// single flipped bit must not void what the marks in the logs say.
    pub(crate) fn is_foreign(&self, name: &str) -> bool {
        match self {
            Loaded::Manifest(manifest) => manifest.get(name).is_none(),
            Loaded::Absent => true,
            Loaded::Damaged => false,
        }
    }
}

/// What a log is by its own mark, where no manifest says it: we mark whatever we write.
pub(crate) fn marked(disk: &dyn Disk, path: &Path, first: Zxid) -> io::Result<Option<Seal>> {
    let file = disk.open(path, Access::Read)?;
    Ok(Mark::read(&*file, first)?.map(|_| Seal::Open))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimDisk;

    fn manifest() -> Manifest {
        let mut manifest = Manifest::default();
        let closed = Seal::Closed { end: 1328, zxid: Zxid(0xd), checksum: 0x9f12_0c4d };
        manifest.insert("log.1", closed);
        manifest.insert("log.22", Seal::Open);
        manifest
    }

    #[test]
    fn it_is_readable_text() {
        let text = manifest().to_text();
        let body = "zkfleet-manifest 1\nlog.1 closed 1328 d 9f120c4d\nlog.22 open\n";
        assert_eq!(
            text.strip_prefix(body),
            Some(&*format!("crc {:08x}\n", crate::log::crc32(body.as_bytes())))
        );
        assert_eq!(Manifest::parse(text.as_bytes()), Some(manifest()));
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_seen() {
        let bytes = manifest().to_text().into_bytes();
        for at in 0..bytes.len() {
            assert_eq!(Manifest::parse(&bytes[..at]), None, "cut at {at}");
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                assert_eq!(Manifest::parse(&bad), None, "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn after_any_crash_there_is_the_old_or_the_new_one() {
        let (disk, dir) = (SimDisk::new(512), Path::new("/d"));
        disk.create_dir_all(dir).unwrap();
        assert_eq!(Manifest::load(&disk, dir, LOGS).unwrap(), Loaded::Absent);
        let (old, new) = (Manifest::default(), manifest());
        old.store(&disk, dir, LOGS).unwrap();
        for calls in 0..6 {
            let disk = disk.fork();
            disk.cut_power_at(calls);
            let stored = new.store(&disk, dir, LOGS).is_ok();
            disk.crash_states(1000, 1, |after| {
                let Loaded::Manifest(found) = Manifest::load(&after, dir, LOGS).unwrap() else {
                    panic!("no manifest after a crash at call {calls}");
                };
                assert!(found == new || (found == old && !stored));
            });
        }
    }
    #[test]
    fn in_the_place_of_a_damaged_one_stands_all_that_is_there() {
        let disk = SimDisk::new(512);
        let dir = Path::new("/d");
        disk.create_dir_all(dir).unwrap();
        for name in ["log.1", "log.2.old", "snapshot.0", "snapshot.5.gz", "zkfleet.mine"] {
            disk.plant(&dir.join(name), b"another engine's, for all that it says");
        }
        let open = |name: &str| (name.to_owned(), Seal::Open);
        for (list, all) in [
            (LOGS, vec![("log.1".to_owned(), Seal::Kept)]),
            (SNAPSHOTS, vec![open("snapshot.0"), open("snapshot.5.gz")]),
        ] {
            let load = || Manifest::load_to_change(&disk, dir, list).unwrap();
            assert_eq!(load(), Manifest::default(), "without one they are not ours");
            disk.plant(&dir.join(list), b"zkfleet-manifest 1\ncrc 0\n");
            assert_eq!(load(), Manifest { files: all.into_iter().collect() });
            manifest().store(&disk, dir, list).unwrap();
            assert_eq!(load(), manifest(), "who is not in it is not ours");
        }
    }
}
