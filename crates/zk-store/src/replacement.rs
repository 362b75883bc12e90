//! A leader's snapshot takes the place of a history (SNAP, quorum-protocol 7).
//!
//! The old history counts until the new one is on the disk, whole, beside it: only then a file says
//! that it is replaced, and from there on every start ends what was begun. So there is no moment in
//! which a crash leaves a member with neither.

use crate::data_dir::DataDirs;
use crate::disk::Disk;
use crate::error::{Doing, FileError};
use crate::incomplete::{Word, history_is_whole, note_incomplete, word, write_word};
use crate::manifest::{LOGS, Manifest, SNAPSHOTS, Seal};
use crate::names::Name;
use std::io;
use std::path::Path;
use zk_proto::Zxid;

/// The file in which the new history waits, in the directory of the snapshots.
pub const TAKEN: &str = "zkfleet.taken";

/// What takes the place of a history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replacement {
    /// The name that [`TAKEN`] is to get: a snapshot's.
    pub name: Name,
    /// Whether the member votes with it; else it has no vote before a leader is known to lead.
    pub has_vote: bool,
}

impl Replacement {
    const HEAD: &str = "A leader's snapshot takes the place of this history.\n";

    fn text(self) -> String {
        let then = if self.has_vote { "whole" } else { "incomplete" };
        format!("{}{} {then}\n", Replacement::HEAD, self.name)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Replacement> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (name, then) =
            text.strip_prefix(Replacement::HEAD)?.strip_suffix('\n')?.split_once(' ')?;
        let has_vote = match then {
            "whole" => true,
            "incomplete" => false,
            _ => return None,
        };
        let name = Name::parse(name);
        matches!(name, Name::Snapshot(..)).then_some(Replacement { name, has_vote })
    }
}

/// Puts the snapshot in [`TAKEN`] in the place of the whole history, durably. No writer may be
/// open. After an error or a crash [`end_replacement`] goes on with it.
pub fn replace_history(
    disk: &dyn Disk,
    dirs: &DataDirs,
    replacement: Replacement,
) -> Result<(), FileError> {
    write_word(disk, dirs, replacement.text().as_bytes())?;
    end(disk, dirs, replacement)
}

/// Ends what a member had begun when it ended. A snapshot that no word belongs to goes. Before
/// anything else is done with the directories.
pub fn end_replacement(disk: &dyn Disk, dirs: &DataDirs) -> Result<(), FileError> {
    if let Word::Replaced(replacement) = word(disk, dirs)? {
        return end(disk, dirs, replacement);
    }
    let taken = dirs.snapshots().join(TAKEN);
    match disk.remove(&taken) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).doing("remove", &taken),
        _ => Ok(()),
    }
}

fn end(disk: &dyn Disk, dirs: &DataDirs, replacement: Replacement) -> Result<(), FileError> {
    let (logs, snapshots) = (dirs.logs(), dirs.snapshots());
    let (taken, name) = (snapshots.join(TAKEN), replacement.name.to_string());
    let there = disk.list(&snapshots).doing("list", &snapshots)?;
    let has = |name: &str| there.iter().any(|entry| entry.name == name);
    if has(TAKEN) {
        // Nothing is missed any more, and nothing marked, but what comes.
        let nothing = Manifest::default();
        nothing.store(disk, &logs, LOGS).doing("replace", &logs.join(LOGS))?;
        let mut ours = Manifest::default();
        ours.insert(name.clone(), Seal::Open);
        ours.store(disk, &snapshots, SNAPSHOTS).doing("replace", &snapshots.join(SNAPSHOTS))?;
        // The newest first: what a careless reader finds is never a history with a hole.
        remove_all(disk, &logs, |name| match name {
            Name::Log(first) => Some(first),
            _ => None,
        })?;
        remove_all(disk, &snapshots, |name| match name {
            Name::Snapshot(zxid, _) => Some(zxid),
            _ => None,
        })?;
        disk.rename(&taken, &snapshots.join(&name)).doing("name", &taken)?;
        disk.sync_dir(&snapshots).doing("sync", &snapshots)?;
    } else if !has(&name) {
        // Somebody took it away: there is nothing to build upon.
        return note_incomplete(disk, dirs);
    }
    if replacement.has_vote { history_is_whole(disk, dirs) } else { note_incomplete(disk, dirs) }
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
    use crate::incomplete::is_incomplete;
    use crate::manifest::Loaded;
    use crate::names::Compression;
    use crate::sim::SimDisk;
    use std::path::PathBuf;

    const OLD: [&str; 4] = ["log.1", "log.20", "snapshot.0", "snapshot.1f.gz"];

    fn replacement(has_vote: bool) -> Replacement {
        Replacement { name: Name::Snapshot(Zxid(0x30), Compression::None), has_vote }
    }

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
                write(&disk, &dir, name).unwrap();
                manifest.insert(*name, Seal::Open);
            }
            manifest.store(&disk, &dir, list).unwrap();
        }
        write(&disk, &dirs.snapshots(), "currentEpoch").unwrap();
        write(&disk, &dirs.snapshots(), "snapshot.5.mine").unwrap();
        (disk, dirs)
    }

    fn write(disk: &SimDisk, dir: &Path, name: &str) -> io::Result<()> {
        let file = disk.open(&dir.join(name), Access::Create)?;
        file.write_at(b"content", 0)?;
        file.sync_data()?;
        disk.sync_dir(dir)
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

    #[test]
    fn nothing_of_the_history_stays_and_nothing_else_goes() {
        for (is_split, has_vote) in [(false, true), (true, true), (true, false)] {
            let (disk, dirs) = old_history(is_split);
            write(&disk, &dirs.snapshots(), TAKEN).unwrap();
            replace_history(&disk, &dirs, replacement(has_vote)).unwrap();
            assert_eq!(is_incomplete(&disk, &dirs).unwrap(), !has_vote);
            assert_eq!(names(&disk, &dirs), ["snapshot.30"]);
            let loaded = Manifest::load(&disk, &dirs.logs(), LOGS).unwrap();
            assert_eq!(loaded, Loaded::Manifest(Manifest::default()));
            let mut ours = Manifest::default();
            ours.insert("snapshot.30".to_owned(), Seal::Open);
            let loaded = Manifest::load(&disk, &dirs.snapshots(), SNAPSHOTS).unwrap();
            assert_eq!(loaded, Loaded::Manifest(ours));
            let left = disk.list(&dirs.snapshots()).unwrap();
            for kept in ["currentEpoch", "snapshot.5.mine"] {
                assert!(left.iter().any(|entry| entry.name == kept), "{kept}");
            }
            end_replacement(&disk, &dirs).expect("nothing to do");
            assert_eq!(names(&disk, &dirs), ["snapshot.30"]);
        }
    }

    #[test]
    fn without_the_snapshot_there_is_no_history() {
        let (disk, dirs) = old_history(false);
        write_word(&disk, &dirs, replacement(true).text().as_bytes()).unwrap();
        end_replacement(&disk, &dirs).unwrap();
        assert!(is_incomplete(&disk, &dirs).unwrap());
        assert_eq!(names(&disk, &dirs), OLD, "these may be the last ones");
    }

    #[test]
    fn a_word_is_read_as_it_was_written_and_others_are_none() {
        for has_vote in [false, true] {
            let text = replacement(has_vote).text();
            assert_eq!(Replacement::parse(text.as_bytes()), Some(replacement(has_vote)));
            for cut in 0..text.len() {
                assert_eq!(Replacement::parse(&text.as_bytes()[..cut]), None, "{cut}");
            }
        }
        for wrong in ["log.30 whole\n", "snapshot.30 often\n", "../x whole\n"] {
            let text = format!("{}{wrong}", Replacement::HEAD);
            assert_eq!(Replacement::parse(text.as_bytes()), None, "{wrong}");
        }
    }

    /// After any crash, and after a crash of the start behind it: all of the old history, or the
    /// new snapshot alone; and with a vote in both.
    #[test]
    fn a_crash_leaves_one_history_or_the_other() {
        let (mut old, mut new) = (0, 0);
        for calls in 0.. {
            let (disk, dirs) = old_history(true);
            disk.cut_power_at(calls);
            let done = write(&disk, &dirs.snapshots(), TAKEN).is_ok()
                && replace_history(&disk, &dirs, replacement(true)).is_ok();
            disk.crash_states(300, calls, |after| {
                for again in [0, 3, 6, u64::MAX] {
                    let after = after.fork();
                    if again < u64::MAX {
                        after.cut_power_at(again);
                        let _ = end_replacement(&after, &dirs);
                        after.crash_states(5, again, |after| {
                            check(&after, &dirs, &mut old, &mut new)
                        });
                    } else {
                        check(&after, &dirs, &mut old, &mut new);
                    }
                }
            });
            if done {
                break;
            }
        }
        assert!(old > 0 && new > 0, "{old} {new}");
    }

    fn check(disk: &SimDisk, dirs: &DataDirs, old: &mut u64, new: &mut u64) {
        end_replacement(disk, dirs).unwrap();
        assert!(!is_incomplete(disk, dirs).unwrap());
        let left = disk.list(&dirs.snapshots()).unwrap();
        assert!(left.iter().all(|entry| entry.name != TAKEN));
        let found = names(disk, dirs);
        if found == ["snapshot.30"] {
            *new += 1;
        } else {
            *old += 1;
            assert_eq!(found, OLD);
        }
    }
}
