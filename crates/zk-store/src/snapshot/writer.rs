//! Writes a snapshot under a temporary name; it gets its own when it is whole and on the disk.
//!
//! Mirrors `FileSnap.serialize`; differs in: fsync of file and directory, the temporary name
//! (Apache would read `snapshot.1a.tmp` as a snapshot), all seals always correct.

use super::sink::Sink;
use super::snappy::SnappyWriter;
use crate::disk::Disk;
use crate::error::{Doing, FileError};
use crate::manifest::{self, Manifest, Seal};
use crate::names::{Compression, Name};
use flate2::write::GzEncoder;
use simd_adler32::Adler32;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zk_proto::snapshot::{DBID, FileHeader, MAGIC, NodeRecord, SessionRecord, VERSION, ZxidDigest};
use zk_proto::{Jute, Zxid};

/// `/` as a string: ends the znodes and stands behind every checksum.
const TERMINATOR: &[u8; 5] = b"\0\0\0\x01/";
/// Content is summed, compressed and written in pieces of this many bytes.
const PIECE_BYTES: usize = 64 << 10;

/// How a snapshot is written.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotOptions {
    /// `snapshot.compression.method`.
    pub compression: Compression,
    /// Whether the tree digest is written (`digest.enabled`).
    pub digest: bool,
    /// Whether the zxid is repeated at the end (`serializeLastProcessedZxid.enabled`, since 3.9).
    pub last_zxid: bool,
}

impl Default for SnapshotOptions {
    fn default() -> SnapshotOptions {
        SnapshotOptions { compression: Compression::None, digest: true, last_zxid: true }
    }
}

/// A snapshot that is on the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotFile {
    /// Where.
    pub path: PathBuf,
    /// Its length on the disk in bytes.
    pub bytes: u64,
}

/// A snapshot in the making. Dropped before [`finish`](SnapshotWriter::finish) it leaves nothing.
pub struct SnapshotWriter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    temp: PathBuf,
    name: Name,
    zxid: Zxid,
    options: SnapshotOptions,
    out: Option<Encoder>,
    adler: Adler32,
    piece: Vec<u8>,
}

impl SnapshotWriter {
    /// Begins the snapshot of everything up to `zxid`, with its sessions and its ACL lists: a count
    /// and [`AclRecord`](zk_proto::snapshot::AclRecord)s, encoded.
    pub fn begin(
        disk: Arc<dyn Disk>,
        dir: &Path,
        zxid: Zxid,
        options: SnapshotOptions,
        sessions: &[SessionRecord],
        acls: &[u8],
    ) -> Result<SnapshotWriter, FileError> {
        let temp = dir.join(format!("zkfleet.snapshot.{:x}.tmp", zxid.0));
        let sink = Sink::create(&*disk, &temp).doing("create", &temp)?;
        let out = Encoder::new(sink, options.compression).doing("write", &temp)?;
        let mut writer = SnapshotWriter {
            disk,
            dir: dir.to_path_buf(),
            temp,
            name: Name::Snapshot(zxid, options.compression),
            zxid,
            options,
            out: Some(out),
            adler: Adler32::new(),
            piece: Vec::with_capacity(PIECE_BYTES + (PIECE_BYTES >> 3)),
        };
        FileHeader { magic: MAGIC, version: VERSION, dbid: DBID }.write(&mut writer.piece);
        (sessions.len() as i32).write(&mut writer.piece);
        for session in sessions {
            session.write(&mut writer.piece);
        }
        writer.nodes(acls)?;
        Ok(writer)
    }

    /// Adds a znode; its parent must be there.
    pub fn node(&mut self, node: &NodeRecord<'_>) -> Result<(), FileError> {
        node.write(&mut self.piece);
        self.spill(PIECE_BYTES)
    }

    /// Adds any number of encoded [`NodeRecord`]s.
    pub fn nodes(&mut self, encoded: &[u8]) -> Result<(), FileError> {
        self.piece.extend_from_slice(encoded);
        self.spill(PIECE_BYTES)
    }

    /// Ends the snapshot with the digest that belongs to it, makes it durable and names it.
    pub fn finish(mut self, digest: Option<ZxidDigest>) -> Result<SnapshotFile, FileError> {
        let bytes = self.end(digest)?;
        self.list_ours().doing("list the snapshot in", &self.dir.join(manifest::SNAPSHOTS))?;
        let path = self.dir.join(self.name.to_string());
        self.disk.rename(&self.temp, &path).doing("name", &path)?;
        self.disk.sync_dir(&self.dir).doing("sync", &self.dir)?;
        Ok(SnapshotFile { path, bytes })
    }

    /// The same, but it lies beside the history under the name of a file that nobody takes for a
    /// snapshot; the name that it is to get.
    pub fn set_aside(
        mut self,
        digest: Option<ZxidDigest>,
        beside: &str,
    ) -> Result<Name, FileError> {
        self.end(digest)?;
        let path = self.dir.join(beside);
        self.disk.rename(&self.temp, &path).doing("name", &path)?;
        self.disk.sync_dir(&self.dir).doing("sync", &self.dir)?;
        Ok(self.name)
    }

    /// Writes what stands behind the znodes, and makes all of it durable; the file's length.
    fn end(&mut self, digest: Option<ZxidDigest>) -> Result<u64, FileError> {
        self.piece.extend_from_slice(TERMINATOR);
        self.seal()?;
        if let Some(digest) = digest.filter(|_| self.options.digest) {
            digest.write(&mut self.piece);
            self.seal()?;
            // Without a digest no zxid: Apache reads the two by its settings (disk-formats 2.1),
            // and takes one for the other where these differ.
            if self.options.last_zxid {
                self.zxid.0.write(&mut self.piece);
                self.seal()?;
            }
        }
        self.spill(0)?;
        match self.out.take() {
            Some(out) => out.finish().doing("write", &self.temp),
            None => Ok(0),
        }
    }

    /// Writes everything so far, and its checksum.
    fn seal(&mut self) -> Result<(), FileError> {
        self.spill(0)?;
        let checksum = i64::from(self.adler.finish());
        checksum.write(&mut self.piece);
        self.piece.extend_from_slice(TERMINATOR);
        Ok(())
    }

    /// Passes the content on when there are at least `least` bytes.
    fn spill(&mut self, least: usize) -> Result<(), FileError> {
        if self.piece.len() < least {
            return Ok(());
        }
        self.adler.write(&self.piece);
        if let Some(out) = &mut self.out {
            out.write_all(&self.piece).doing("write", &self.temp)?;
        }
        self.piece.clear();
        Ok(())
    }

    /// Notes the snapshot as ours before it has its name, so that it never looks foreign.
    fn list_ours(&self) -> io::Result<()> {
        let mut ours = Manifest::load_to_change(&*self.disk, &self.dir, manifest::SNAPSHOTS)?;
        let there = self.disk.list(&self.dir)?;
        ours.retain(|name| there.iter().any(|entry| entry.name == name));
        ours.insert(self.name.to_string(), Seal::Open);
        ours.store(&*self.disk, &self.dir, manifest::SNAPSHOTS)
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        // After finish() the name is gone; else this is the last that can be done.
        let _ = self.disk.remove(&self.temp);
    }
}

impl std::fmt::Debug for SnapshotWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotWriter").field("temp", &self.temp).finish_non_exhaustive()
    }
}

/// The way from content to file; there is one at a time, so its size does not matter.
#[allow(clippy::large_enum_variant, reason = "one value per snapshot")]
enum Encoder {
    Plain(Sink),
    Gzip(GzEncoder<io::BufWriter<Sink>>),
    Snappy(SnappyWriter<io::BufWriter<Sink>>),
}

impl Encoder {
    fn new(sink: Sink, compression: Compression) -> io::Result<Encoder> {
        let buffered = |sink| io::BufWriter::with_capacity(PIECE_BYTES, sink);
        Ok(match compression {
            Compression::None => Encoder::Plain(sink),
            // Level 1: a snapshot should be done soon; the tree's data decides the ratio.
            Compression::Gzip => {
                Encoder::Gzip(GzEncoder::new(buffered(sink), flate2::Compression::fast()))
            }
            Compression::Snappy => Encoder::Snappy(SnappyWriter::new(buffered(sink))?),
        })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Encoder::Plain(out) => out.write_all(bytes),
            Encoder::Gzip(out) => out.write_all(bytes),
            Encoder::Snappy(out) => out.write_all(bytes),
        }
    }

    /// Makes all of it durable; the file's length.
    fn finish(self) -> io::Result<u64> {
        let buffered = match self {
            Encoder::Plain(sink) => return sink.finish(),
            Encoder::Gzip(out) => out.finish()?,
            Encoder::Snappy(out) => out.finish()?,
        };
        buffered.into_inner().map_err(io::IntoInnerError::into_error)?.finish()
    }
}
