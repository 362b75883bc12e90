//! The simulated disk as recovery and the log see it.

use super::inode::Inode;
use super::{DirChange, ENOSPC, Op, SimDisk, State, split};
use crate::disk::{Access, DIRECT_ALIGN, DirEntry, Disk, DiskFile};
use std::io;
use std::path::{Path, PathBuf};

impl Disk for SimDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.call(Op::Open)?;
        let inode = match (state.lookup(path), access) {
            (Ok(inode), Access::Create | Access::CreateDirect) => {
                if let Some(inode) = state.inodes.get_mut(&inode) {
                    inode.set_len(0);
                }
                inode
            }
            (Ok(inode), _) => inode,
            (Err(_), Access::Create | Access::CreateDirect) => state.link_new(path)?,
            (Err(error), _) => return Err(error),
        };
        let is_direct = access == Access::CreateDirect;
        Ok(Box::new(SimFile { disk: self.clone(), inode, locks: None, is_direct }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut state = self.state();
        state.call(Op::List)?;
        let entries = state.dir(dir)?.now.clone();
        let len = |id| state.inodes.get(&id).map_or(0, Inode::len);
        Ok(entries.into_iter().map(|(name, id)| DirEntry { name, len: len(id) }).collect())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Op::CreateDir)?;
        for path in dir.ancestors() {
            state.dirs.entry(path.to_path_buf()).or_default();
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Op::Rename)?;
        let inode = state.lookup(from)?;
        let ((dir, from), (to_dir, to)) = (split(from), split(to));
        if dir != to_dir {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        let dir = state.dir(dir)?;
        let change = DirChange::Rename { from, to, inode };
        change.clone().apply(&mut dir.now);
        dir.pending.push(change);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Op::Remove)?;
        let inode = state.lookup(path)?;
        let freed = state.inodes.get(&inode).map_or(0, Inode::sectors);
        if let Some(free) = &mut state.free_sectors {
            *free += freed;
        }
        let (dir, name) = split(path);
        let dir = state.dir(dir)?;
        dir.now.remove(&name);
        dir.pending.push(DirChange::Unlink { name });
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Op::SyncDir)?;
        let dir = state.dir(dir)?;
        dir.durable = dir.now.clone();
        dir.pending.clear();
        Ok(())
    }

    fn free_bytes(&self, _dir: &Path) -> Option<u64> {
        let state = self.state();
        state.free_sectors.map(|free| free * state.sector_bytes as u64)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.call(Op::Lock)?;
        if !state.locked.insert(path.to_path_buf()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let inode = match state.lookup(path) {
            Ok(inode) => inode,
            Err(_) => state.link_new(path)?,
        };
        Ok(Box::new(SimFile {
            disk: self.clone(),
            inode,
            locks: Some(path.to_path_buf()),
            is_direct: false,
        }))
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: u64,
    locks: Option<PathBuf>,
    is_direct: bool,
}

impl SimFile {
    fn with<T>(
        &self,
        op: Op,
        act: impl FnOnce(&mut Inode, &mut Option<u64>) -> io::Result<T>,
        fail: impl FnOnce(&mut Inode),
    ) -> io::Result<T> {
        let mut state = self.disk.state();
        let called = state.call(op);
        let State { inodes, free_sectors, .. } = &mut *state;
        let inode = inodes.get_mut(&self.inode).ok_or(io::ErrorKind::NotFound)?;
        match called {
            Ok(()) => act(inode, free_sectors),
            Err(error) => {
                if error.raw_os_error().is_some() {
                    fail(inode);
                }
                Err(error)
            }
        }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if let Some(path) = &self.locks {
            self.disk.state().locked.remove(path);
        }
    }
}

impl DiskFile for SimFile {
    fn is_at(&self, path: &Path) -> bool {
        self.disk.state().lookup(path).is_ok_and(|inode| inode == self.inode)
    }

    fn len(&self) -> io::Result<u64> {
        self.with(Op::List, |inode, _| Ok(inode.len()), |_| {})
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(Op::Read, |inode, _| Ok(inode.read(buf, offset)), |_| {})
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let is_aligned = |n: u64| n.is_multiple_of(DIRECT_ALIGN as u64);
        if self.is_direct && !(is_aligned(offset) && is_aligned(bytes.len() as u64)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let half = &bytes[..bytes.len() / 2];
        self.with(
            Op::Write,
            |inode, free| {
                if let Some(free) = free {
                    let wanted = inode.new_sectors(bytes.len(), offset);
                    *free = free
                        .checked_sub(wanted)
                        .ok_or_else(|| io::Error::from_raw_os_error(ENOSPC))?;
                }
                inode.write(bytes, offset);
                Ok(())
            },
            |inode| inode.write(half, offset),
        )
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(
            Op::SetLen,
            |inode, _| {
                inode.set_len(len);
                Ok(())
            },
            |_| {},
        )
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(
            Op::Sync,
            |inode, _| {
                inode.sync();
                Ok(())
            },
            Inode::sync_failed,
        )
    }
}
