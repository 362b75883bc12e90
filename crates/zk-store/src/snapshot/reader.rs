//! Reads a snapshot in one pass, in bounded memory, and believes nothing that no seal covers.
//!
//! Mirrors `FileSnap.deserialize`; differs in: bytes behind the last seal are refused.

use super::source::{ReadOptions, Source};
use crate::disk::Disk;
use crate::error::FileError;
use crate::names::Compression;
use crate::restore::Restore;
use crate::window::Window;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use zk_proto::snapshot::{
    AclRecord, FileHeader, MAGIC, NodeRecord, SessionRecord, VERSION, ZxidDigest,
};
use zk_proto::{DecodeError, Jute, Reader, Zxid};

/// What a whole snapshot told about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotInfo {
    /// The zxid of its name: everything up to it is in it.
    pub zxid: Zxid,
    /// The tree digest and the zxid it belongs to, which is where the fuzzy part ends.
    pub digest: Option<ZxidDigest>,
    /// The zxid as the file itself repeats it (since 3.9); Apache's is that of the end of its fuzzy
    /// part.
    pub last_zxid: Option<Zxid>,
    /// The greatest zxid in any znode's stat, system znodes left out: it is in there for certain.
    pub content_zxid: Zxid,
    /// Number of sessions.
    pub sessions: u64,
    /// Number of ACL lists.
    pub acls: u64,
    /// Number of znodes.
    pub nodes: u64,
    /// Uncompressed length in bytes.
    pub bytes: u64,
}

impl SnapshotInfo {
    /// The last transaction that may be in it in part. A log that ends before lost something.
    #[must_use]
    pub fn fuzzy_to(&self) -> Zxid {
        let end = self.digest.map(|digest| Zxid(digest.zxid)).or(self.last_zxid);
        self.zxid.max(end.unwrap_or(Zxid::ZERO)).max(self.content_zxid)
    }
}

/// Why a file is not a whole snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotDamage {
    /// It does not begin as a snapshot.
    #[error("the header says magic {magic:#010x} version {version}, not ZKSN version 2")]
    Header {
        /// As read.
        magic: i32,
        /// As read.
        version: i32,
    },
    /// It ends too early.
    #[error("the file ends within it")]
    Cut,
    /// A record that cannot be understood.
    #[error("{0}")]
    Record(DecodeError),
    /// The content is not what was sealed.
    #[error("seal {seal} says {stored:#x}, the content sums up to {computed:#010x}")]
    Seal {
        /// 1, 2 or 3.
        seal: u8,
        /// As stored.
        stored: u64,
        /// Of the content.
        computed: u32,
    },
    /// A checksum without the `/` behind it.
    #[error("seal {0} is not closed")]
    OpenSeal(u8),
    /// Bytes behind the last seal.
    #[error("there are bytes behind the last seal")]
    Trailing,
    /// The compression does not hold.
    #[error("it cannot be decompressed: {0}")]
    Compression(io::Error),
    /// The tree did not take it.
    #[error("{0}")]
    Refused(Box<dyn Error + Send + Sync>),
}

/// Why a snapshot was not read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is damaged.
    #[error("{} is damaged at byte {at}: {damage}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the uncompressed content.
        at: u64,
        /// How.
        damage: SnapshotDamage,
    },
}

/// Reads the snapshot of this name into `restore`. After an error `restore` holds rubbish.
pub fn read_snapshot<R: Restore>(
    disk: &dyn Disk,
    path: &Path,
    (zxid, compression): (Zxid, Compression),
    options: &ReadOptions,
    restore: &mut R,
) -> Result<SnapshotInfo, SnapshotError> {
    let failed = |source: io::Error| FileError { action: "read", path: path.into(), source };
    let source = Source::open(disk, path, compression, options).map_err(failed)?;
    let mut parser = Parser { window: Window::new(source), options, restore };
    restore_from(&mut parser, zxid).map_err(|stop| match stop {
        Stop::Io(source) if source.raw_os_error().is_some() || compression == Compression::None => {
            SnapshotError::File(failed(source))
        }
        Stop::Io(source) => parser.damaged(path, SnapshotDamage::Compression(source)),
        Stop::Damage(damage) => parser.damaged(path, damage),
    })
}

/// What stands behind the znodes of a snapshot on its way to a learner (`LearnerHandler`).
const SIGNATURE: &[u8] = b"\0\0\0\x0aBenWasHere";

/// Why a stream is no whole snapshot.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// It cannot be read, or ends too early.
    #[error("the snapshot does not come: {0}")]
    Read(io::Error),
    /// What came is none.
    #[error("the snapshot is damaged at byte {at}: {damage}")]
    Damaged {
        /// Where in the stream.
        at: u64,
        /// How.
        damage: SnapshotDamage,
    },
}

/// Reads the snapshot of `zxid` as a leader sends it, without header and seals (quorum-protocol
/// 6.1), into `restore`; what was read of `stream` behind it comes back. After an error `restore`
/// holds rubbish.
pub fn read_stream<R: Restore>(
    stream: impl io::Read,
    zxid: Zxid,
    options: &ReadOptions,
    restore: &mut R,
) -> Result<Vec<u8>, StreamError> {
    let mut parser = Parser { window: Window::new(stream), options, restore };
    let done = parser.all_but_header(zxid);
    done.map(|()| parser.window.ready().to_vec()).map_err(|stop| match stop {
        Stop::Io(error) => StreamError::Read(error),
        Stop::Damage(damage) => StreamError::Damaged { at: parser.window.position(), damage },
    })
}

/// A zxid and its seal: a checksum and a `/`.
const LAST_ZXID_BYTES: usize = 8 + 8 + 5;

/// What ends the reading early.
enum Stop {
    Io(io::Error),
    Damage(SnapshotDamage),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Io(error)
    }
}

impl From<SnapshotDamage> for Stop {
    fn from(damage: SnapshotDamage) -> Stop {
        Stop::Damage(damage)
    }
}

struct Parser<'a, S, R> {
    window: Window<S>,
    options: &'a ReadOptions,
    restore: &'a mut R,
}

fn restore_from<R: Restore>(
    parser: &mut Parser<'_, Source, R>,
    zxid: Zxid,
) -> Result<SnapshotInfo, Stop> {
    let header: FileHeader = parser.fixed()?;
    if (header.magic, header.version) != (MAGIC, VERSION) {
        let FileHeader { magic, version, .. } = header;
        return Err(SnapshotDamage::Header { magic, version }.into());
    }
    parser.restore.reset();
    let sessions = parser.sessions()?;
    let acls = parser.acls()?;
    let (nodes, content_zxid) = parser.nodes()?;
    parser.seal(1)?;
    let (mut digest, mut last_zxid) = (None, None);
    // Nothing announces either, and 3.9 without digests (`digest.enabled=false`) leaves out the
    // first.
    let has_digest = parser.window.peek(LAST_ZXID_BYTES + 1)?.len() != LAST_ZXID_BYTES;
    if has_digest && !parser.is_at_end()? {
        digest = Some(parser.fixed()?);
        parser.seal(2)?;
    }
    if !parser.is_at_end()? {
        last_zxid = Some(Zxid(parser.fixed()?));
        parser.seal(3)?;
    }
    if !parser.is_at_end()? {
        return Err(SnapshotDamage::Trailing.into());
    }
    let bytes = parser.window.position();
    parser.restore.snapshot_done(zxid).map_err(refused)?;
    Ok(SnapshotInfo { zxid, digest, last_zxid, content_zxid, sessions, acls, nodes, bytes })
}

fn refused(error: impl Error + Send + Sync + 'static) -> SnapshotDamage {
    SnapshotDamage::Refused(Box::new(error))
}

impl<S: io::Read, R: Restore> Parser<'_, S, R> {
    fn all_but_header(&mut self, zxid: Zxid) -> Result<(), Stop> {
        self.restore.reset();
        self.sessions()?;
        self.acls()?;
        self.nodes()?;
        let signature = self.window.peek(SIGNATURE.len())?;
        if signature.len() < SIGNATURE.len() {
            return Err(SnapshotDamage::Cut.into());
        }
        if !signature.starts_with(SIGNATURE) {
            return Err(SnapshotDamage::Trailing.into());
        }
        self.window.consume(SIGNATURE.len());
        self.restore.snapshot_done(zxid).map_err(refused)?;
        Ok(())
    }

    fn damaged(&self, path: &Path, damage: SnapshotDamage) -> SnapshotError {
        SnapshotError::Damaged { path: path.into(), at: self.window.position(), damage }
    }

    fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(self.window.peek(1)?.is_empty())
    }

    /// Reads one record of whatever length and gives it to `take`.
    #[inline]
    fn record<T>(
        &mut self,
        mut take: impl FnMut(&mut R, &mut Reader<'_>) -> Result<Result<T, R::Error>, DecodeError>,
    ) -> Result<T, Stop> {
        let mut wanted = 1;
        loop {
            let bytes = self.window.peek(wanted)?;
            let mut r = Reader::with_limits(bytes, self.options.limits);
            match take(self.restore, &mut r) {
                Ok(taken) => {
                    let n = r.position();
                    self.window.consume(n);
                    return Ok(taken.map_err(refused)?);
                }
                Err(DecodeError::Truncated { missing, .. }) => {
                    if bytes.len() < wanted {
                        return Err(SnapshotDamage::Cut.into());
                    }
                    wanted = bytes.len() + missing;
                }
                Err(error) => return Err(SnapshotDamage::Record(error).into()),
            }
        }
    }

    fn fixed<T: for<'r> Jute<'r>>(&mut self) -> Result<T, Stop> {
        self.record(|_, r| T::read(r).map(Ok))
    }

    fn sessions(&mut self) -> Result<u64, Stop> {
        let count = self.count()?;
        for _ in 0..count {
            self.record(|restore, r| Ok(restore.session(SessionRecord::read(r)?)))?;
        }
        Ok(count)
    }

    fn acls(&mut self) -> Result<u64, Stop> {
        let count = self.count()?;
        for _ in 0..count {
            self.record(|restore, r| Ok(restore.acl(AclRecord::read(r)?)))?;
        }
        Ok(count)
    }

    fn count(&mut self) -> Result<u64, Stop> {
        let at = self.window.position() as usize;
        let length: i32 = self.fixed()?;
        u64::try_from(length)
            .map_err(|_| SnapshotDamage::Record(DecodeError::BadLength { at, length }).into())
    }

    /// The znodes and the terminator behind them.
    fn nodes(&mut self) -> Result<(u64, Zxid), Stop> {
        let (mut nodes, mut content_zxid) = (0, Zxid::ZERO);
        loop {
            if self.window.peek(5)?.starts_with(b"\0\0\0\x01/") {
                self.window.consume(5);
                return Ok((nodes, content_zxid));
            }
            let newest = self.record(|restore, r| {
                let node = NodeRecord::read(r)?;
                let newest = node.stat.czxid.max(node.stat.mzxid).max(node.stat.pzxid);
                // The configuration's mzxid is a version, not a place in history.
                let newest = if node.path.starts_with("/zookeeper") { 0 } else { newest };
                Ok(restore.node(node).map(|()| newest))
            })?;
            content_zxid = content_zxid.max(Zxid(newest));
            nodes += 1;
        }
    }

    /// A checksum of everything before it, and a `/`.
    fn seal(&mut self, seal: u8) -> Result<(), Stop> {
        let computed = self.window.checksum();
        let stored: i64 = self.fixed()?;
        if stored as u64 != u64::from(computed) {
            return Err(SnapshotDamage::Seal { seal, stored: stored as u64, computed }.into());
        }
        if !self.window.peek(5)?.starts_with(b"\0\0\0\x01/") {
            return Err(SnapshotDamage::OpenSeal(seal).into());
        }
        self.window.consume(5);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
