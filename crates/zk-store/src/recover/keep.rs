//! Keeps a log as it was before it is cut on an operator's order: what is wrong with it may be
//! less than it seems, and a repair may find more in it than a start can.

use crate::disk::{Disk, copy_file};
use crate::error::{Doing, FileError};
use crate::log::LogEnd;
use std::path::{Path, PathBuf};

/// How names of such logs begin. No engine takes them for logs, and nobody removes them but the
/// operator.
const KEPT: &str = "zkfleet.cut.";

/// Where a log is going to be kept, beside it: no file has that name.
pub(super) fn free_name(disk: &dyn Disk, log: &Path) -> Result<PathBuf, FileError> {
    let dir = log.parent().unwrap_or(Path::new(""));
    let taken = disk.list(dir).doing("list", dir)?;
    let name = log.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let mut free = format!("{KEPT}{name}");
    for count in 2.. {
        if taken.iter().all(|entry| entry.name != free) {
            break;
        }
        free = format!("{KEPT}{name}.{count}");
    }
    Ok(dir.join(free))
}

/// Keeps a log under the name that was found for it, durably. After a crash the whole of it is
/// there, or nothing under that name.
pub(super) fn keep(disk: &dyn Disk, log: &LogEnd) -> Result<(), FileError> {
    let Some(kept) = &log.keep_as else { return Ok(()) };
    let dir = kept.parent().unwrap_or(Path::new(""));
    let mut temporary = kept.clone().into_os_string();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    copy_file(disk, &log.path, &temporary).doing("copy", &log.path)?;
    disk.rename(&temporary, kept).doing("rename", &temporary)?;
    disk.sync_dir(dir).doing("sync", dir)
}
