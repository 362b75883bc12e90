//! The word that a history is not whole, or on its way out: a member must not vote with what is
//! there (DESIGN R5), and must know that after any crash. A member that finds it takes its history
//! from a leader, or ends what it had begun with the one that it got ([`crate::replacement`]).
//!
//! Apache does not look at that file: a directory that has it must not be given to an Apache
//! member.

use crate::data_dir::DataDirs;
use crate::disk::{Disk, read_small, replace_file};
use crate::error::{Doing, FileError};
use crate::replacement::Replacement;
use std::fmt;
use std::io;

/// The file that says it.
pub const INCOMPLETE: &str = "zkfleet.incomplete";
const TEXT: &[u8] =
    b"This member takes its history from a leader and has no vote until it is whole.\n";
const MAX_BYTES: u64 = 4096;

/// What is said of a history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    /// Nothing: it counts.
    Whole,
    /// Something is missing.
    Incomplete,
    /// A snapshot lies there that takes its place.
    Replaced(Replacement),
}

/// What is said of the history in these directories.
pub fn word(disk: &dyn Disk, dirs: &DataDirs) -> Result<Word, FileError> {
    let path = dirs.snapshots().join(INCOMPLETE);
    match read_small(disk, &path, MAX_BYTES) {
        // Whatever else it says: nobody else makes it.
        Ok(bytes) => Ok(Replacement::parse(&bytes).map_or(Word::Incomplete, Word::Replaced)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Word::Whole),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Word::Incomplete),
        Err(error) => Err(error).doing("read", &path),
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Word::Whole => f.write_str("as a member of an ensemble it has a vote"),
            Word::Incomplete => write!(
                f,
                "as a member of an ensemble it has no vote until it has taken a leader's history; \
                 if no member has more, remove {INCOMPLETE}. Apache does not know that file"
            ),
            Word::Replaced(Replacement { name, .. }) => write!(
                f,
                "at the next start a leader's snapshot, {name}, takes the place of all this; start \
                 our server on it, and not Apache's, which does not know {INCOMPLETE}"
            ),
        }
    }
}

/// Whether the directories hold what is left of a history, at most.
pub fn is_incomplete(disk: &dyn Disk, dirs: &DataDirs) -> Result<bool, FileError> {
    Ok(word(disk, dirs)? != Word::Whole)
}

/// Notes, durably, that the history must not be built upon.
pub fn note_incomplete(disk: &dyn Disk, dirs: &DataDirs) -> Result<(), FileError> {
    write_word(disk, dirs, TEXT)
}

pub(crate) fn write_word(disk: &dyn Disk, dirs: &DataDirs, text: &[u8]) -> Result<(), FileError> {
    let dir = dirs.snapshots();
    let temporary = format!("{INCOMPLETE}.tmp");
    replace_file(disk, &dir, INCOMPLETE, &temporary, text).doing("write", &dir.join(INCOMPLETE))
}

/// This member has a history again.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Access;
    use crate::sim::SimDisk;

    #[test]
    fn it_is_said_until_the_history_is_whole() {
        let disk = SimDisk::new(512);
        let dirs = DataDirs::new("/d", None);
        disk.create_dir_all(&dirs.snapshots()).unwrap();
        assert!(!is_incomplete(&disk, &dirs).unwrap());
        note_incomplete(&disk, &dirs).unwrap();
        assert!(is_incomplete(&disk, &dirs).unwrap());
        history_is_whole(&disk, &dirs).unwrap();
        assert!(!is_incomplete(&disk, &dirs).unwrap());
        history_is_whole(&disk, &dirs).expect("again");
    }

    #[test]
    fn a_file_that_cannot_be_understood_says_it_too() {
        let disk = SimDisk::new(512);
        let dirs = DataDirs::new("/d", None);
        disk.create_dir_all(&dirs.snapshots()).unwrap();
        let path = dirs.snapshots().join(INCOMPLETE);
        let file = disk.open(&path, Access::Create).unwrap();
        assert_eq!(word(&disk, &dirs).unwrap(), Word::Incomplete, "empty");
        file.write_at(&vec![7; 5000], 0).unwrap();
        assert_eq!(word(&disk, &dirs).unwrap(), Word::Incomplete, "too long");
    }
}
