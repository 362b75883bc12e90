//! The file of a snapshot, written from front to end past the page cache.
//!
//! Through the page cache a snapshot would go to the disk in floods, and the log's syncs queue
//! behind them. So it goes there in small pieces, each at once; how many a second is its driver's
//! choice.

use crate::disk::{Access, Aligned, DIRECT_ALIGN, Disk, DiskFile};
use std::io::{self, Write};
use std::path::Path;

/// What goes to the disk at a time: a log's sync may have to wait for one.
const PIECE_BYTES: usize = 64 << 10;

/// A file in the making.
pub(super) struct Sink {
    file: Box<dyn DiskFile>,
    buffer: Aligned,
    /// Bytes in the buffer.
    filled: usize,
    /// Bytes in the file.
    at: u64,
}

impl Sink {
    pub(super) fn create(disk: &dyn Disk, path: &Path) -> io::Result<Sink> {
        let file = disk.open(path, Access::CreateDirect)?;
        Ok(Sink { file, buffer: Aligned::new(PIECE_BYTES), filled: 0, at: 0 })
    }

    /// Makes all of it durable; the file's length.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        let len = self.at + self.filled as u64;
        let padded = self.filled.next_multiple_of(DIRECT_ALIGN);
        self.buffer[self.filled..padded].fill(0);
        self.put(padded)?;
        self.file.set_len(len)?;
        self.file.sync_data()?;
        Ok(len)
    }

    fn put(&mut self, len: usize) -> io::Result<()> {
        self.file.write_at(&self.buffer[..len], self.at)?;
        self.at += len as u64;
        self.filled = 0;
        Ok(())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE_BYTES - self.filled);
        self.buffer[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        if self.filled == PIECE_BYTES {
            self.put(PIECE_BYTES)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn what_is_written_is_there_whatever_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        for len in [0, 1, 4095, 4096, 4097, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES - 5] {
            let bytes: Vec<u8> = (0..len).map(|n| n as u8 ^ (n >> 8) as u8).collect();
            let mut sink = Sink::create(&RealDisk, &path).unwrap();
            for part in bytes.chunks(1000) {
                sink.write_all(part).unwrap();
            }
            assert_eq!(sink.finish().unwrap(), len as u64);
            assert!(std::fs::read(&path).unwrap() == bytes, "{len}");
        }
    }
}
