//! Reads a log file record by record and says exactly what stops it.
//!
//! Stricter than Apache's `FileTxnIterator`, which takes a wrong end-of-record byte or a zero
//! length for the end of the file wherever they stand: here the caller learns which of them it was
//! and decides with what it knows beside the file.

use super::frame::{EOR, FRAME_HEAD, FRAME_LEN, HEADER_LEN, MIN_PAYLOAD, zxid_of};
use super::mark::Mark;
use super::scan::is_blank;
use super::source::FileSource;
use crate::disk::{Access, Disk, DiskFile};
use crate::window::Window;
use std::io;
use std::path::Path;
use std::sync::Arc;
use zk_proto::Limits;
use zk_proto::snapshot::FileHeader;
use zk_proto::txn::{self, TxnEntry};
use zk_proto::{DecodeError, Jute, Reader, Zxid};

/// A record that its file cuts off may have been torn by a crash only up to this length, four times
/// what Apache reads unless it is told otherwise; beyond it the length itself is damaged.
const MAX_TORN: usize = 8 * Limits::DEFAULT_MAX_BUFFER;

/// Why a file cannot be a transaction log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderDamage {
    /// Length 0: a crash just after the file was made.
    #[error("the file is empty")]
    Empty,
    /// Nothing but zeros.
    #[error("the file holds nothing but zeros")]
    Blank,
    /// Fewer bytes than a header has.
    #[error("the header is cut: {len} of 16 bytes")]
    Short {
        /// The file's length.
        len: u64,
    },
    /// Not `ZKLG`.
    #[error("the magic number is {0:#010x}, not ZKLG")]
    Magic(i32),
    /// Not version 2, the only one there is.
    #[error("the format version is {0}, not 2")]
    Version(i32),
    /// Apache writes 0 and never looks.
    #[error("it belongs to database {0:#x}, not to this one (0)")]
    WrongDatabase(i64),
}

/// What is wrong where a record should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Damage {
    /// The file ends within the record.
    #[error("the file ends {missing} bytes before the record does")]
    Cut {
        /// How many bytes are missing.
        missing: u64,
    },
    /// A length that no record has.
    #[error("unreasonable record length {0}")]
    Length(i32),
    /// The payload is not what was written, or the checksum is not.
    #[error("checksum {computed:#010x} where {stored:#x} is stored")]
    Checksum {
        /// As stored.
        stored: u64,
        /// Of the payload.
        computed: u32,
    },
    /// The payload has its checksum, but the byte behind it is not 0x42.
    #[error("end-of-record byte {0:#04x} where 0x42 belongs; the record itself is whole")]
    EndOfRecord(u8),
}

/// What stands at the reader's position.
#[derive(PartialEq, Eq, Debug)]
pub enum Step<'a> {
    /// A whole record with a right checksum.
    Record(Record<'a>),
    /// The end for every reader: a length of 0, or the end of the file. What comes behind is to be
    /// looked at with [`scan_beyond`](super::scan_beyond).
    End,
    /// Something else; the reader stays where it is.
    Damage(Damage),
}

/// A record as it lies in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Where its frame begins in the file.
    pub offset: u64,
    /// Where its frame ends.
    pub end: u64,
    /// Its zxid.
    pub zxid: Zxid,
    /// Adler-32 of the payload.
    pub checksum: u32,
    /// The encoded [`TxnEntry`].
    pub payload: &'a [u8],
}

impl<'a> Record<'a> {
    /// The transaction in it. Only its own length bounds what is in it: the writer's limits are not
    /// the reader's, and what was acknowledged must load.
    pub fn entry(&self) -> Result<TxnEntry<'a>, DecodeError> {
        TxnEntry::read(&mut Reader::with_limits(self.payload, Limits::NONE))
    }
}

/// What opening a log gave.
#[derive(Debug)]
pub enum OpenLog {
    /// A log, ready to be read.
    Log(LogReader),
    /// Not a log.
    Damaged(HeaderDamage),
}

/// Reads one log file from its beginning.
#[derive(Debug)]
pub struct LogReader {
    window: Window<FileSource>,
    /// Where in the file the window begins.
    start: u64,
    file: Arc<dyn DiskFile>,
    len: u64,
    mark: Option<Mark>,
    /// Bytes of the record that was given last.
    given: usize,
}

impl LogReader {
    /// Opens the log of this name and reads its header and its mark.
    pub fn open(disk: &dyn Disk, path: &Path, name: Zxid) -> io::Result<OpenLog> {
        let mut reader = LogReader::open_unchecked(disk, path, name)?;
        Ok(match reader.check_header()? {
            None => OpenLog::Log(reader),
            Some(damage) => OpenLog::Damaged(damage),
        })
    }

    /// Opens a log behind a header that may say anything.
    pub(crate) fn open_body(disk: &dyn Disk, path: &Path, name: Zxid) -> io::Result<LogReader> {
        let mut reader = LogReader::open_unchecked(disk, path, name)?;
        reader.seek(HEADER_LEN);
        Ok(reader)
    }

    fn open_unchecked(disk: &dyn Disk, path: &Path, name: Zxid) -> io::Result<LogReader> {
        let file: Arc<dyn DiskFile> = Arc::from(disk.open(path, Access::Read)?);
        let len = file.len()?;
        let mark = Mark::read(&*file, name)?;
        let window = Window::new(FileSource::new(file.clone(), 0, len));
        Ok(LogReader { window, start: 0, file, len, mark, given: 0 })
    }

    fn check_header(&mut self) -> io::Result<Option<HeaderDamage>> {
        let head = self.window.peek(HEADER_LEN as usize)?;
        if head.is_empty() {
            return Ok(Some(HeaderDamage::Empty));
        }
        let Ok(header) = FileHeader::read(&mut Reader::new(head)) else {
            return Ok(Some(HeaderDamage::Short { len: self.len }));
        };
        Ok(match header {
            FileHeader { magic: 0, version: 0, dbid: 0 }
                if is_blank(self.file.clone(), self.len)? =>
            {
                Some(HeaderDamage::Blank)
            }
            FileHeader { magic, .. } if magic != txn::MAGIC => Some(HeaderDamage::Magic(magic)),
            FileHeader { version, .. } if version != txn::VERSION => {
                Some(HeaderDamage::Version(version))
            }
            FileHeader { dbid, .. } if dbid != 0 => Some(HeaderDamage::WrongDatabase(dbid)),
            _ => {
                self.window.consume(HEADER_LEN as usize);
                None
            }
        })
    }

    /// The file, to look at other parts of it.
    #[must_use]
    pub fn file(&self) -> &Arc<dyn DiskFile> {
        &self.file
    }

    /// The file's length in bytes, padding included.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "an empty file is no log")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The durable mark in the file, if it has one.
    #[must_use]
    pub fn mark(&self) -> Option<Mark> {
        self.mark
    }

    /// Goes on reading at `offset`, where a record must begin.
    pub fn seek(&mut self, offset: u64) {
        self.window = Window::new(FileSource::new(self.file.clone(), offset, self.len));
        (self.start, self.given) = (offset, 0);
    }

    /// Where the next record begins, or where reading stopped.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.start + self.window.position() + self.given as u64
    }

    /// How far there can be records at all: up to the slots of the mark, or to the file's end.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.mark.map_or(self.len, |mark| mark.zeroed_to)
    }

    /// The next record, or what stands in its place.
    #[inline]
    pub fn step(&mut self) -> io::Result<Step<'_>> {
        self.window.consume(std::mem::take(&mut self.given));
        let offset = self.start + self.window.position();
        let head = self.window.peek(FRAME_HEAD)?;
        if head.len() < FRAME_HEAD {
            let missing = (FRAME_HEAD - head.len()) as u64;
            let zeros = head.iter().all(|byte| *byte == 0);
            return Ok(if zeros { Step::End } else { Step::Damage(Damage::Cut { missing }) });
        }
        let (stored, length) = (be64(head), be32(&head[8..]) as i32);
        if length == 0 {
            return Ok(Step::End);
        }
        let bad_length = Ok(Step::Damage(Damage::Length(length)));
        let Some(length) = usize::try_from(length).ok().filter(|length| *length >= MIN_PAYLOAD)
        else {
            return bad_length;
        };
        let frame_len = length + FRAME_LEN;
        // Nothing is read, let alone allocated, for a length that the file cannot hold.
        let missing = (offset + frame_len as u64).saturating_sub(self.len);
        if missing > 0 {
            return if length > MAX_TORN {
                bad_length
            } else {
                Ok(Step::Damage(Damage::Cut { missing }))
            };
        }
        if self.window.peek(frame_len)?.len() < frame_len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let frame = &self.window.ready()[..frame_len];
        let payload = &frame[FRAME_HEAD..frame_len - 1];
        let checksum = simd_adler32::adler32(&payload);
        if u64::from(checksum) != stored {
            return Ok(Step::Damage(Damage::Checksum { stored, computed: checksum }));
        }
        if frame[frame_len - 1] != EOR {
            return Ok(Step::Damage(Damage::EndOfRecord(frame[frame_len - 1])));
        }
        let Some(zxid) = zxid_of(payload) else {
            return Ok(Step::Damage(Damage::Length(length as i32)));
        };
        self.given = frame_len;
        Ok(Step::Record(Record { offset, end: offset + frame_len as u64, zxid, checksum, payload }))
    }
}

fn be64(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn be32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests;
