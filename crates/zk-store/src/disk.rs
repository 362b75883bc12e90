//! The seam to the disk: the few file operations that persistence needs.
//!
//! Everything in this crate reads and writes through [`Disk`], so that tests can lose, tear,
//! reorder and refuse what a real disk would (see [`crate::sim`]).

mod aligned;
mod real;

use std::fmt::Debug;
use std::io;
use std::path::Path;

pub(crate) use aligned::Aligned;
pub use real::RealDisk;

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// It exists and is only read.
    Read,
    /// It exists and is read and written in place.
    Write,
    /// It is made, or emptied if it exists; read and written.
    Create,
    /// As [`Access::Create`], and what is written passes the page cache where the file system can
    /// do that: addresses, lengths and offsets must be multiples of [`DIRECT_ALIGN`].
    CreateDirect,
}

/// See [`Access::CreateDirect`].
pub const DIRECT_ALIGN: usize = 4096;

/// So much of a file is copied at a time.
const COPY_BYTES: usize = 64 << 10;

/// A file in a directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DirEntry {
    /// Its name; names that are not UTF-8 are left out, nobody here writes such.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
}

/// A file system.
pub trait Disk: Send + Sync + Debug {
    /// Opens a file.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>>;

    /// The plain files of a directory, by name.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Makes a directory and its parents, durably.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Renames a file within its directory, replacing what has the name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the entries of a directory durable: what was created, renamed and removed in it.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the exclusive lock of a file, which is made if needed; held until the file is
    /// dropped. [`io::ErrorKind::WouldBlock`] if somebody else has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Takes the exclusive lock of a directory, which nobody can remove as he can a file in it;
    /// `None` where directories cannot be locked. Else as [`Disk::lock`].
    fn lock_dir(&self, _dir: &Path) -> io::Result<Option<Box<dyn DiskFile>>> {
        Ok(None)
    }

    /// How many bytes a process like this one can still write where a directory is; `None` if the
    /// system does not tell.
    fn free_bytes(&self, _dir: &Path) -> Option<u64> {
        None
    }
}

/// An open file. Positions are explicit: threads may share it.
#[allow(clippy::len_without_is_empty, reason = "a file's length can fail, emptiness is not asked")]
pub trait DiskFile: Send + Sync + Debug {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Reads at most `buf.len()` bytes at `offset`; 0 at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`. After an error any part of them may be written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file, or extends it with a hole that reads as zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes the contents and the length durable. After an error nothing is known about what was
    /// written since the last success, and asking again proves nothing: the caller must give the
    /// file up.
    fn sync_data(&self) -> io::Result<()>;

    /// Whether this is the file of that name; if the system does not tell, it is.
    fn is_at(&self, _path: &Path) -> bool {
        true
    }

    /// Says that these bytes will be read soon. Nothing is waited for.
    fn will_read(&self, _offset: u64, _len: u64) {}

    /// Lets the disk begin with what was written there, before somebody asks for its durability.
    /// Nothing is waited for.
    fn begin_write(&self, _offset: u64, _len: u64) {}
}

/// Reads a small file whole; refuses one longer than `max_len` bytes.
pub fn read_small(disk: &dyn Disk, path: &Path, max_len: u64) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Access::Read)?;
    let len = file.len()?;
    if len > max_len {
        let what = format!("{len} bytes where at most {max_len} are expected");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let mut bytes = vec![0; len as usize];
    let n = read_full(&*file, &mut bytes, 0)?;
    bytes.truncate(n);
    Ok(bytes)
}

/// Reads until `buf` is full or the file ends; how many bytes it were.
pub(crate) fn read_full(file: &dyn DiskFile, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut n = 0;
    while n < buf.len() {
        match file.read_at(&mut buf[n..], offset + n as u64)? {
            0 => break,
            more => n += more,
        }
    }
    Ok(n)
}

/// Copies a file, durably but for its name. Where there is nothing but zeros nothing is written.
pub(crate) fn copy_file(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    let source = disk.open(from, Access::Read)?;
    let target = disk.open(to, Access::Create)?;
    let (mut at, mut buf) = (0, vec![0; COPY_BYTES]);
    loop {
        let n = read_full(&*source, &mut buf, at)?;
        if n == 0 {
            break;
        }
        if buf[..n].iter().any(|byte| *byte != 0) {
            target.write_at(&buf[..n], at)?;
        }
        at += n as u64;
    }
    target.set_len(at)?;
    target.sync_data()
}

/// Puts `bytes` in place of the file `name` at once: after a crash there is the old or the new
/// content, never a mixture (`AtomicFileWritingIdiom`). The temporary name is `<temp>`.
pub(crate) fn replace_file(
    disk: &dyn Disk,
    dir: &Path,
    name: &str,
    temp: &str,
    bytes: &[u8],
) -> io::Result<()> {
    let temp = dir.join(temp);
    let file = disk.open(&temp, Access::Create)?;
    file.write_at(bytes, 0)?;
    file.sync_data()?;
    drop(file);
    disk.rename(&temp, &dir.join(name))?;
    disk.sync_dir(dir)
}
