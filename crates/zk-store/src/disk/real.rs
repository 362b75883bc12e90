//! The operating system's files.

use super::{Access, Aligned, DIRECT_ALIGN, DirEntry, Disk, DiskFile};
use rustix::fs::Advice;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The real file system.
#[derive(Clone, Copy, Default, Debug)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match access {
            Access::Read => {}
            Access::Write => {
                options.write(true);
            }
            Access::Create => {
                options.write(true).create(true).truncate(true);
            }
            Access::CreateDirect => {
                options.write(true).create(true).truncate(true);
                let direct = rustix::fs::OFlags::DIRECT.bits() as i32;
                match options.clone().custom_flags(direct).open(path) {
                    Ok(file) if takes_direct_writes(&file) => return Ok(Box::new(file)),
                    Ok(_) => {}
                    // A file system that has no such thing.
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Box::new(options.open(path)?))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let metadata = match entry.path().metadata() {
                Ok(metadata) => metadata,
                // Removed since the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if metadata.is_file() {
                entries.push(DirEntry { name, len: metadata.len() });
            }
        }
        entries.sort();
        Ok(entries)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = dir.ancestors().take_while(|path| !path.exists()).collect();
        fs::create_dir_all(dir)?;
        for made in missing {
            match made.parent() {
                Some(parent) if parent.as_os_str().is_empty() => self.sync_dir(Path::new("."))?,
                Some(parent) => self.sync_dir(parent)?,
                None => {}
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Option<Box<dyn DiskFile>>> {
        let dir = File::open(dir)?;
        match dir.try_lock() {
            Ok(()) => Ok(Some(Box::new(dir))),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            // Some network file systems lock only what is open for writing.
            Err(TryLockError::Error(_)) => Ok(None),
        }
    }

    fn free_bytes(&self, dir: &Path) -> Option<u64> {
        let about = rustix::fs::statvfs(dir).ok()?;
        about.f_bavail.checked_mul(about.f_frsize)
    }
}

/// Whether an empty file takes direct writes in multiples of [`DIRECT_ALIGN`]. Some file systems
/// open it and refuse the writes; others have larger blocks.
fn takes_direct_writes(file: &File) -> bool {
    match FileExt::write_at(file, &Aligned::new(DIRECT_ALIGN), 0) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => false,
        // A full disk, for one: whoever writes will hear of it.
        Err(_) => true,
        Ok(_) => File::set_len(file, 0).is_ok(),
    }
}

impl DiskFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, buf, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn is_at(&self, path: &Path) -> bool {
        let Ok(own) = self.metadata() else { return true };
        let looks = |it: &fs::Metadata| (it.len(), it.mtime(), it.mtime_nsec());
        match fs::metadata(path) {
            // A file system of the user's may number its files anew while they are open.
            Ok(named) => {
                let is_same = (named.dev(), named.ino()) == (own.dev(), own.ino());
                is_same || own.nlink() > 0 && looks(&named) == looks(&own)
            }
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    fn will_read(&self, offset: u64, len: u64) {
        // Advice: without it a read takes its time.
        let _ = rustix::fs::fadvise(self, offset, NonZeroU64::new(len), Advice::WillNeed);
    }

    fn begin_write(&self, offset: u64, len: u64) {
        // Linux begins to write out what is not needed any more. Without its last byte the range
        // has no whole page at its end that would then be thrown out of memory, for which it might
        // wait (mm/fadvise.c).
        if let Some(len) = NonZeroU64::new(len.saturating_sub(1)) {
            let _ = rustix::fs::fadvise(self, offset, Some(len), Advice::DontNeed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_made_read_listed_and_locked() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, path) = (RealDisk, dir.path().join("sub/deep"));
        disk.create_dir_all(&path).unwrap();
        let name = path.join("f");
        let file = disk.open(&name, Access::Create).unwrap();
        file.write_at(b"abc", 2).unwrap();
        file.sync_data().unwrap();
        assert_eq!(disk.list(&path).unwrap(), [DirEntry { name: "f".into(), len: 5 }]);
        let mut buf = [9; 8];
        assert_eq!(file.read_at(&mut buf, 0).unwrap(), 5);
        assert_eq!(&buf[..5], b"\0\0abc");

        let held = disk.lock(&path.join("lock")).unwrap();
        let error = disk.lock(&path.join("lock")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(held);
        disk.lock(&path.join("lock")).unwrap();

        let held = disk.lock_dir(&path).unwrap();
        let error = disk.lock_dir(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(held);
        disk.lock_dir(&path).unwrap();
    }

    #[test]
    fn a_file_is_where_its_name_is() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, name, other) = (RealDisk, dir.path().join("f"), dir.path().join("g"));
        let file = disk.open(&name, Access::Create).unwrap();
        assert!(file.is_at(&name) && !file.is_at(&other));
        disk.rename(&name, &other).unwrap();
        assert!(!file.is_at(&name) && file.is_at(&other));
        let another = disk.open(&name, Access::Create).unwrap();
        another.write_at(b"x", 0).unwrap();
        assert!(!file.is_at(&name), "another file of that name");
        disk.remove(&other).unwrap();
        assert!(!file.is_at(&other));
    }
}
