//! What went wrong with which file.

use std::io;
use std::path::{Path, PathBuf};

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}{}", .path.display(), advice(source))]
pub struct FileError {
    /// What was tried, as a verb.
    pub action: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// What to do, where the system's own words do not say it.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::FileTooLarge => {
            "; files may be no larger here: raise the limit (ulimit -f, LimitFSIZE= of systemd)"
        }
        _ => "",
    }
}

impl FileError {
    /// Whether the disk or the quota is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// Whether there was no file descriptor to open something with: of the process, or at all.
    /// Only an open says so, and before it touches anything.
    #[must_use]
    pub fn is_out_of_descriptors(&self) -> bool {
        matches!(self.source.raw_os_error(), Some(EMFILE | ENFILE))
    }
}

/// Too many open files: of the process, of the system. The numbers are those of every Unix.
pub(crate) const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// Adds what was tried to a system's error.
pub(crate) trait Doing<T> {
    /// `action` is a verb: "cannot `action` `path`".
    fn doing(self, action: &'static str, path: &Path) -> Result<T, FileError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, action: &'static str, path: &Path) -> Result<T, FileError> {
        self.map_err(|source| FileError { action, path: path.to_path_buf(), source })
    }
}
