//! Disk space kept for what is already under way when the disk gets full.
//!
//! The reserve is a file of real blocks. When the log cannot grow, the file is removed, what was
//! queued is written into the space that this sets free, and from then on nothing new is taken: the
//! server stays readable and has lost nothing that it acknowledged (RELIABILITY 2.2, case H).

use crate::disk::{Access, Disk};
use crate::error::{Doing, FileError};
use std::path::Path;

/// The file's name in the log directory.
pub(crate) const RESERVE: &str = "zkfleet.reserve";

/// Makes sure that `bytes` bytes are set aside in a log directory.
pub(crate) fn keep(disk: &dyn Disk, dir: &Path, bytes: u64) -> Result<(), FileError> {
    let path = dir.join(RESERVE);
    if let Ok(file) = disk.open(&path, Access::Read)
        && file.len().is_ok_and(|len| len == bytes)
    {
        return Ok(());
    }
    let fill = || {
        let file = disk.open(&path, Access::Create)?;
        let zeros = vec![0; (bytes as usize).min(1 << 20)];
        let mut at = 0;
        while at < bytes {
            let n = (bytes - at).min(zeros.len() as u64);
            file.write_at(&zeros[..n as usize], at)?;
            at += n;
        }
        file.sync_data()
    };
    fill()
        .inspect_err(|_| {
            // A part of a reserve must not pass for a whole one, nor take the last blocks.
            let _ = disk.remove(&path);
        })
        .doing("set the reserve aside in", &path)
}

/// Gives the reserve back to the disk; whether there was one.
pub(crate) fn release(disk: &dyn Disk, dir: &Path) -> bool {
    disk.remove(&dir.join(RESERVE)).is_ok() && disk.sync_dir(dir).is_ok()
}
