//! A snapshot's bytes, decompressed on the way, with a bound on what they may swell to.

use super::snappy::{self, SnappyReader};
use crate::disk::{Access, Disk, read_full};
use crate::error::{Doing, FileError};
use crate::log::FileSource;
use crate::names::Compression;
use flate2::read::GzDecoder;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use zk_proto::jute::Limits;
use zk_proto::snapshot::MAGIC;

/// What is taken for reasonable when reading.
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions {
    /// The longest path or data of a znode: `jute.maxbuffer` and its extra size.
    pub limits: Limits,
    /// How many bytes one byte of a compressed file may become, beyond the first 256 MiB; a bomb
    /// of gzip reaches 1,032.
    pub max_expansion: u64,
}

impl Default for ReadOptions {
    fn default() -> ReadOptions {
        ReadOptions { limits: Limits::default(), max_expansion: 200 }
    }
}

/// A file may always become this many bytes.
const FREE_EXPANSION: u64 = 256 << 20;

/// How gzip begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// As what a snapshot a file begins, whatever its name is; `None`: as none. What is compressed may
/// still be something else.
pub fn detect(disk: &dyn Disk, path: &Path) -> Result<Option<Compression>, FileError> {
    let mut head = [0; snappy::HEADER.len()];
    let file = disk.open(path, Access::Read).doing("read", path)?;
    let n = read_full(&*file, &mut head, 0).doing("read", path)?;
    Ok(match &head[..n] {
        head if head.starts_with(&MAGIC.to_be_bytes()) => Some(Compression::None),
        head if head.starts_with(&GZIP) => Some(Compression::Gzip),
        head if *head == snappy::HEADER => Some(Compression::Snappy),
        _ => None,
    })
}

/// The uncompressed bytes of a snapshot file.
pub(super) enum Source {
    Plain(FileSource),
    Gzip(Bounded<GzDecoder<FileSource>>),
    Snappy(Bounded<SnappyReader<FileSource>>),
}

impl Source {
    pub(super) fn open(
        disk: &dyn Disk,
        path: &Path,
        compression: Compression,
        options: &ReadOptions,
    ) -> io::Result<Source> {
        let file = Arc::from(disk.open(path, Access::Read)?);
        Source::new(file, compression, options)
    }

    fn new(
        file: Arc<dyn crate::disk::DiskFile>,
        compression: Compression,
        options: &ReadOptions,
    ) -> io::Result<Source> {
        let len = file.len()?;
        let source = FileSource::new(file, 0, len);
        let left = FREE_EXPANSION.saturating_add(len.saturating_mul(options.max_expansion));
        Ok(match compression {
            Compression::None => Source::Plain(source),
            Compression::Gzip => Source::Gzip(Bounded { source: GzDecoder::new(source), left }),
            Compression::Snappy => {
                Source::Snappy(Bounded { source: SnappyReader::new(source), left })
            }
        })
    }
}

impl Read for Source {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Plain(source) => source.read(buf),
            Source::Gzip(source) => source.read(buf),
            Source::Snappy(source) => source.read(buf),
        }
    }
}

/// Refuses to give more than so many bytes.
pub(super) struct Bounded<R> {
    source: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buf)?;
        match self.left.checked_sub(n as u64) {
            Some(left) => {
                self.left = left;
                Ok(n)
            }
            None => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the compressed file swells beyond the bound (max_expansion)",
            )),
        }
    }
}
