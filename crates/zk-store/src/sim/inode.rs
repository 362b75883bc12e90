//! One simulated file: its sectors as a process sees them, as they are durable, and in between.

use super::Choose;
use std::collections::BTreeMap;
use std::sync::Arc;

type Sector = Arc<[u8]>;

/// A file. Absent sectors are holes.
#[derive(Clone)]
pub(super) struct Inode {
    sector_bytes: usize,
    now: BTreeMap<u64, Sector>,
    durable: BTreeMap<u64, Sector>,
    /// Versions of each sector since it was last durable; any of them may reach the disk.
    pending: BTreeMap<u64, Vec<Sector>>,
    /// Versions that a failed sync gave up: they may be on the disk, but no sync brings them there.
    limbo: BTreeMap<u64, Vec<Sector>>,
    len: u64,
    durable_len: u64,
    pending_lens: Vec<u64>,
}

impl Inode {
    pub(super) fn new(sector_bytes: usize) -> Inode {
        Inode {
            sector_bytes,
            now: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: BTreeMap::new(),
            limbo: BTreeMap::new(),
            len: 0,
            durable_len: 0,
            pending_lens: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// How many sectors it takes.
    pub(super) fn sectors(&self) -> u64 {
        self.now.len() as u64
    }

    pub(super) fn is_dirty(&self) -> bool {
        !(self.pending.is_empty() && self.limbo.is_empty() && self.pending_lens.is_empty())
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len as usize];
        self.read(&mut bytes, 0);
        bytes
    }

    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> usize {
        let n = (buf.len() as u64).min(self.len.saturating_sub(offset)) as usize;
        for (sector, within, part) in self.parts(n, offset) {
            let target = &mut buf[part.clone()];
            match self.now.get(&sector) {
                Some(bytes) => target.copy_from_slice(&bytes[within..within + part.len()]),
                None => target.fill(0),
            }
        }
        n
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        for (sector, within, part) in self.parts(bytes.len(), offset) {
            let mut content = match self.now.get(&sector) {
                Some(old) => old.to_vec(),
                None => vec![0; self.sector_bytes],
            };
            content[within..within + part.len()].copy_from_slice(&bytes[part]);
            self.put(sector, content.into());
        }
        let end = offset + bytes.len() as u64;
        if end > self.len && !bytes.is_empty() {
            self.change_len(end);
        }
    }

    /// How many sectors such a write would be the first to touch.
    pub(super) fn new_sectors(&self, len: usize, offset: u64) -> u64 {
        let fresh = |sector: &u64| !self.now.contains_key(sector);
        self.parts(len, offset).map(|(sector, _, _)| sector).filter(fresh).count() as u64
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            let size = self.sector_bytes as u64;
            let cut: Vec<u64> = self.now.range(len / size..).map(|(sector, _)| *sector).collect();
            for sector in cut {
                let keep = len.saturating_sub(sector * size).min(size) as usize;
                let mut content = self.now[&sector].to_vec();
                content[keep..].fill(0);
                self.put(sector, content.into());
            }
        }
        if len != self.len {
            self.change_len(len);
        }
    }

    pub(super) fn sync(&mut self) {
        for (sector, versions) in std::mem::take(&mut self.pending) {
            self.limbo.remove(&sector);
            if let Some(last) = versions.into_iter().next_back() {
                self.durable.insert(sector, last);
            }
        }
        if let Some(len) = std::mem::take(&mut self.pending_lens).pop() {
            self.durable_len = len;
        }
    }

    /// The kernel marks the pages clean although they were not written (RELIABILITY, fsyncgate).
    pub(super) fn sync_failed(&mut self) {
        for (sector, versions) in std::mem::take(&mut self.pending) {
            self.limbo.entry(sector).or_default().extend(versions);
        }
    }

    /// Becomes what a loss of power leaves.
    pub(super) fn crash(&mut self, choose: &mut dyn Choose) {
        let mut versions = std::mem::take(&mut self.limbo);
        for (sector, pending) in std::mem::take(&mut self.pending) {
            versions.entry(sector).or_default().extend(pending);
        }
        let lens = std::mem::take(&mut self.pending_lens);
        match choose.pick(lens.len() + 1) {
            0 => {}
            n => self.durable_len = lens[n - 1],
        }
        for (sector, versions) in versions {
            if sector * self.sector_bytes as u64 >= self.durable_len {
                continue;
            }
            match choose.pick(versions.len() + 1) {
                0 => {}
                n => {
                    self.durable.insert(sector, versions[n - 1].clone());
                }
            }
        }
        self.len = self.durable_len;
        let size = self.sector_bytes as u64;
        self.durable.retain(|sector, _| sector * size < self.len);
        if let Some(last) = self.durable.get_mut(&(self.len / size)) {
            let mut content = last.to_vec();
            content[(self.len % size) as usize..].fill(0);
            *last = content.into();
        }
        self.now = self.durable.clone();
    }

    fn put(&mut self, sector: u64, content: Sector) {
        // The same bytes once more are nothing that a crash could take apart, since a sector is old
        // or new: the same assumption as for the block in which a log ends.
        let is_same = match self.pending.get(&sector).and_then(|versions| versions.last()) {
            Some(last) => *last == content,
            None if self.limbo.contains_key(&sector) => false,
            None => self.durable.get(&sector) == Some(&content),
        };
        if is_same {
            return;
        }
        self.pending.entry(sector).or_default().push(content.clone());
        self.now.insert(sector, content);
    }

    fn change_len(&mut self, len: u64) {
        self.len = len;
        self.pending_lens.push(len);
    }

    /// Cuts a range into sectors: the sector, where in it, and which part of the range.
    fn parts(
        &self,
        len: usize,
        offset: u64,
    ) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> + use<> {
        let size = self.sector_bytes;
        let mut done = 0;
        std::iter::from_fn(move || {
            if done == len {
                return None;
            }
            let at = offset + done as u64;
            let within = (at % size as u64) as usize;
            let n = (size - within).min(len - done);
            let part = done..done + n;
            done += n;
            Some((at / size as u64, within, part))
        })
    }
}
