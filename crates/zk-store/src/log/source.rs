//! A part of a file as a stream.

use crate::disk::{DiskFile, read_full};
use std::io::{self, Read};
use std::sync::Arc;

/// A part of a file as a stream.
#[derive(Debug)]
pub(crate) struct FileSource {
    file: Arc<dyn DiskFile>,
    at: u64,
    end: u64,
    /// Up to here the disk was told.
    told: u64,
}

/// What is in a file is worked on while the disk reads so much further: a snapshot that was written
/// past the page cache is not in memory.
const AHEAD_BYTES: u64 = 8 << 20;

impl FileSource {
    pub(crate) fn new(file: Arc<dyn DiskFile>, at: u64, end: u64) -> FileSource {
        FileSource { file, at, end, told: at }
    }
}

impl Read for FileSource {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let want = (buf.len() as u64).min(self.end.saturating_sub(self.at)) as usize;
        while self.told < self.end.min(self.at + AHEAD_BYTES) {
            self.file.will_read(self.told, AHEAD_BYTES);
            self.told += AHEAD_BYTES;
        }
        let n = read_full(&*self.file, &mut buf[..want], self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}
