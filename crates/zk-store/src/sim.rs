//! A disk in memory that can do to files what real disks do at the worst moment.
//!
//! It keeps apart what a process sees and what would survive a loss of power. Between two syncs
//! every sector of a file may survive in any of the versions that were written, a file's length in
//! any of its values, and each change of a directory may or may not have happened; nothing
//! promises an order. [`SimDisk::crash`] picks one such state, [`SimDisk::crash_states`] goes
//! through them. Calls can be made to fail ([`SimDisk::fail`]) or to be the last before the power
//! goes ([`SimDisk::cut_power_at`]).
//!
//! Simplification: directories themselves are durable once made.

mod choose;
mod disk;
mod inode;

use choose::Odometer;
pub use choose::{Choose, Seed};
use inode::Inode;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Input/output error, as the kernel numbers it.
pub const EIO: i32 = 5;
/// Too many open files of the process.
pub const EMFILE: i32 = crate::error::EMFILE;
/// No space left on the device.
pub const ENOSPC: i32 = 28;

/// What a call asks the disk to do; for counting and for faults.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Op {
    /// Open or create.
    Open,
    /// List a directory or ask a length.
    List,
    /// Read.
    Read,
    /// Write.
    Write,
    /// Set a length.
    SetLen,
    /// fdatasync of a file.
    Sync,
    /// fsync of a directory.
    SyncDir,
    /// Rename.
    Rename,
    /// Remove.
    Remove,
    /// Make a directory.
    CreateDir,
    /// Lock.
    Lock,
}

/// A simulated disk. Clones are handles of the same disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Clone)]
struct State {
    sector_bytes: usize,
    inodes: BTreeMap<u64, Inode>,
    dirs: BTreeMap<PathBuf, Dir>,
    locked: BTreeSet<PathBuf>,
    next_inode: u64,
    calls: BTreeMap<Op, u64>,
    total_calls: u64,
    faults: BTreeMap<u64, i32>,
    power_cut_at: Option<u64>,
    free_sectors: Option<u64>,
}

#[derive(Clone, Default)]
struct Dir {
    now: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    pending: Vec<DirChange>,
}

#[derive(Clone)]
enum DirChange {
    Link { name: String, inode: u64 },
    Unlink { name: String },
    Rename { from: String, to: String, inode: u64 },
}

impl SimDisk {
    /// An empty disk whose sectors of so many bytes (512 or 4096) are written whole or not at all.
    #[must_use]
    pub fn new(sector_bytes: usize) -> SimDisk {
        SimDisk::from_state(State {
            sector_bytes,
            inodes: BTreeMap::new(),
            dirs: BTreeMap::new(),
            locked: BTreeSet::new(),
            next_inode: 1,
            calls: BTreeMap::new(),
            total_calls: 0,
            faults: BTreeMap::new(),
            power_cut_at: None,
            free_sectors: None,
        })
    }

    fn from_state(state: State) -> SimDisk {
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many calls there were.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state().total_calls
    }

    /// How many calls of one kind there were.
    #[must_use]
    pub fn calls_of(&self, op: Op) -> u64 {
        self.state().calls.get(&op).copied().unwrap_or(0)
    }

    /// Makes the `call`-th call from now (0 is the next) fail with this error number. A failing
    /// write may have written its first half; what a failing sync should have made durable never
    /// becomes so by a later sync, as on Linux.
    pub fn fail(&self, call: u64, errno: i32) {
        let mut state = self.state();
        let at = state.total_calls + call;
        state.faults.insert(at, errno);
    }

    /// Cuts the power before the `call`-th call from now: it and all later ones fail.
    pub fn cut_power_at(&self, call: u64) {
        let mut state = self.state();
        state.power_cut_at = Some(state.total_calls + call);
    }

    /// How many more sectors can be written for the first time; `None` is no limit.
    pub fn set_free_sectors(&self, free: Option<u64>) {
        self.state().free_sectors = free;
    }

    /// Whether anything would be lost if the power went now.
    #[must_use]
    pub fn has_unsynced(&self) -> bool {
        let state = self.state();
        state.inodes.values().any(Inode::is_dirty)
            || state.dirs.values().any(|dir| !dir.pending.is_empty())
    }

    /// A disk of its own with what a process sees now; nothing is lost, as after kill -9.
    #[must_use]
    pub fn fork(&self) -> SimDisk {
        let mut state = self.state().clone();
        state.revive();
        SimDisk::from_state(state)
    }

    /// A disk with one state that a loss of power may leave behind.
    #[must_use]
    pub fn crash(&self, choose: &mut dyn Choose) -> SimDisk {
        let mut state = self.state().clone();
        for dir in state.dirs.values_mut() {
            for change in std::mem::take(&mut dir.pending) {
                if choose.pick(2) == 1 {
                    change.apply(&mut dir.durable);
                }
            }
            dir.now = dir.durable.clone();
        }
        let linked: BTreeSet<u64> =
            state.dirs.values().flat_map(|dir| dir.now.values().copied()).collect();
        state.inodes.retain(|id, _| linked.contains(id));
        for inode in state.inodes.values_mut() {
            inode.crash(choose);
        }
        state.revive();
        SimDisk::from_state(state)
    }

    /// Visits the states that a loss of power may leave: all of them if they are at most `limit`,
    /// else nothing kept, everything kept, and `limit` others drawn by `seed`. Returns how many
    /// were visited, and whether those are all.
    pub fn crash_states(
        &self,
        limit: u64,
        seed: u64,
        mut visit: impl FnMut(SimDisk),
    ) -> (u64, bool) {
        let mut odometer = Odometer::default();
        let mut visited = 0;
        while visited < limit {
            visit(self.crash(&mut odometer));
            visited += 1;
            if !odometer.advance() {
                return (visited, true);
            }
        }
        visit(self.crash(&mut |options: usize| options - 1));
        let mut seed = Seed::new(seed);
        for _ in 0..limit {
            visit(self.crash(&mut seed));
        }
        (visited + 1 + limit, false)
    }

    /// The content of a file as a process sees it.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.state();
        let inode = state.lookup(path)?;
        Ok(state.inodes[&inode].bytes())
    }

    /// Puts a file in place, durably and without counting as a call.
    pub fn plant(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let id = state.next_inode;
        state.next_inode += 1;
        let mut inode = Inode::new(state.sector_bytes);
        inode.write(bytes, 0);
        inode.sync();
        state.inodes.insert(id, inode);
        let (dir, name) = split(path);
        let dir = state.dirs.entry(dir.to_path_buf()).or_default();
        dir.now.insert(name.clone(), id);
        dir.durable.insert(name, id);
    }
}

impl DirChange {
    fn apply(self, entries: &mut BTreeMap<String, u64>) {
        match self {
            DirChange::Link { name, inode } => {
                entries.insert(name, inode);
            }
            DirChange::Unlink { name } => {
                entries.remove(&name);
            }
            DirChange::Rename { from, to, inode } => {
                if entries.get(&from) == Some(&inode) {
                    entries.remove(&from);
                }
                entries.insert(to, inode);
            }
        }
    }
}

impl State {
    /// The machine is up again: no locks, no faults.
    fn revive(&mut self) {
        self.locked.clear();
        self.faults.clear();
        self.power_cut_at = None;
        self.calls.clear();
        self.total_calls = 0;
    }

    /// Counts a call; the error number it must fail with, if any.
    fn call(&mut self, op: Op) -> io::Result<()> {
        let number = self.total_calls;
        self.total_calls += 1;
        *self.calls.entry(op).or_default() += 1;
        if self.power_cut_at.is_some_and(|at| number >= at) {
            return Err(io::Error::other("the power is off"));
        }
        match self.faults.remove(&number) {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Ok(()),
        }
    }

    fn dir(&mut self, path: &Path) -> io::Result<&mut Dir> {
        self.dirs.get_mut(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn lookup(&self, path: &Path) -> io::Result<u64> {
        let (dir, name) = split(path);
        let dir = self.dirs.get(dir).ok_or(io::ErrorKind::NotFound)?;
        dir.now.get(&name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn link_new(&mut self, path: &Path) -> io::Result<u64> {
        let id = self.next_inode;
        let (dir, name) = split(path);
        let dir = self.dir(dir)?;
        dir.now.insert(name.clone(), id);
        dir.pending.push(DirChange::Link { name, inode: id });
        self.next_inode += 1;
        self.inodes.insert(id, Inode::new(self.sector_bytes));
        Ok(id)
    }
}

fn split(path: &Path) -> (&Path, String) {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    (path.parent().unwrap_or(Path::new("")), name.unwrap_or_default())
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state();
        let mut list = f.debug_list();
        for (path, dir) in &state.dirs {
            for (name, id) in &dir.now {
                let len = state.inodes.get(id).map_or(0, Inode::len);
                list.entry(&format_args!("{} {len}", path.join(name).display()));
            }
        }
        list.finish()
    }
}

#[cfg(test)]
mod tests;
