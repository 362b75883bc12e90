//! Taking snapshots beside the work, and removing old files.

use crate::engine::Engine;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use zk_proto::snapshot::{SessionRecord, ZxidDigest};
use zk_proto::{SessionId, Zxid};
use zk_store::FileError;
use zk_store::disk::Disk;
use zk_store::names::Name;
use zk_store::replacement::TAKEN;
use zk_store::snapshot::{SnapshotFile, SnapshotOptions, SnapshotWriter};
use zk_tree::{SnapshotHead, Tree};

/// Steps through the tree before others get it: enough for a piece of small znodes, since who waits
/// for the tree is delayed more by being put to sleep twice than by a turn of this length.
const TURN: usize = 512;

/// Bytes that are collected before they are handed to the file.
const PIECE_BYTES: usize = 32 << 10;

/// How fast a snapshot goes to the disk. What it has written since the log's last sync is what the
/// next one may have to wait for, and each piece makes the pipeline wait for the tree.
const BYTES_PER_SECOND: u64 = 32 << 20;

/// A pause that fell due while a piece took long is not made up for.
struct Pacer {
    next: Instant,
}

impl Pacer {
    fn new() -> Pacer {
        Pacer { next: Instant::now() }
    }

    /// Waits as long as `bytes` take at the set pace.
    fn wrote(&mut self, bytes: usize) {
        let took = Duration::from_nanos(bytes as u64 * 1_000_000_000 / BYTES_PER_SECOND);
        let now = Instant::now();
        self.next = (self.next + took).max(now);
        std::thread::sleep(self.next - now);
    }
}

/// Whose turn it is to take a snapshot; over when it is dropped.
#[derive(Debug)]
pub(crate) struct SnapshotTurn(Arc<AtomicBool>);

impl Drop for SnapshotTurn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Takes snapshots of an engine's tree, one at a time.
pub(crate) struct Snapshots {
    engine: Arc<Engine>,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: SnapshotOptions,
    is_busy: Arc<AtomicBool>,
    /// Somebody has a better use for the tree than a snapshot of our own, which is given up.
    is_unwanted: AtomicBool,
    /// Nobody is served yet, or no more: the pace does not matter.
    is_hurried: AtomicBool,
}

impl Snapshots {
    pub(crate) fn new(
        engine: Arc<Engine>,
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        options: SnapshotOptions,
    ) -> Snapshots {
        Snapshots {
            engine,
            disk,
            dir,
            options,
            is_busy: Arc::default(),
            is_unwanted: AtomicBool::new(false),
            is_hurried: AtomicBool::new(false),
        }
    }

    /// The right to begin a snapshot of the engine's tree; `None` while somebody has it.
    pub(crate) fn turn(&self) -> Option<SnapshotTurn> {
        let was_busy = self.is_busy.swap(true, Ordering::Acquire);
        (!was_busy).then(|| SnapshotTurn(self.is_busy.clone()))
    }

    /// The same for somebody who cannot come again: a snapshot of our own that is under way is
    /// given up. `None` if the turn is not free within `patience`.
    pub(crate) fn turn_within(&self, patience: Duration) -> Option<SnapshotTurn> {
        let deadline = Instant::now() + patience;
        self.is_unwanted.store(true, Ordering::Relaxed);
        let turn = loop {
            let turn = self.turn();
            if turn.is_some() || Instant::now() >= deadline {
                break turn;
            }
            std::thread::sleep(Duration::from_micros(100));
        };
        self.is_unwanted.store(false, Ordering::Relaxed);
        turn
    }

    /// The same, however long it takes: for who puts another tree in the place of the engine's.
    /// Nothing that was begun before may be given a name afterwards.
    pub(crate) fn turn_at_last(&self) -> SnapshotTurn {
        loop {
            if let Some(turn) = self.turn_within(Duration::from_secs(1)) {
                return turn;
            }
        }
    }

    /// From now on snapshots go to the disk as fast as it takes them, or at a set pace.
    pub(super) fn hurry(&self, is_hurried: bool) {
        self.is_hurried.store(is_hurried, Ordering::Relaxed);
    }

    /// Writes a snapshot of the tree as it is now. `None` if one is being written already, or if
    /// this one was given up for another.
    pub(crate) fn take(&self) -> Option<Result<(Zxid, SnapshotFile), FileError>> {
        let _turn = self.turn()?;
        let started = Instant::now();
        let result = self.write().transpose();
        if !matches!(result, Some(Ok(_))) {
            self.engine.tree.write().abandon_snapshot();
        }
        let result = result?;
        let took = started.elapsed();
        self.engine.metrics.snapshottime.record_time(took);
        match &result {
            Ok((zxid, file)) => {
                tracing::info!(
                    "Snapshot taken in {} ms: {zxid} to {}",
                    took.as_millis(),
                    file.path.display()
                );
            }
            Err(error) => {
                tracing::error!(%error, "cannot write a snapshot; the log still has everything")
            }
        }
        Some(result)
    }

    /// Writes another tree's snapshot, which is from then on the newest of the directory.
    pub(crate) fn put(
        &self,
        tree: &mut Tree,
        sessions: &[(SessionId, i32)],
        _turn: &SnapshotTurn,
    ) -> Result<SnapshotFile, FileError> {
        let (writer, digest) = self.write_whole(tree, sessions)?;
        writer.finish(digest)
    }

    /// Writes another tree's snapshot beside the history whose place it is to take; the name that
    /// it gets then.
    pub(crate) fn put_aside(
        &self,
        tree: &mut Tree,
        sessions: &[(SessionId, i32)],
        _turn: &SnapshotTurn,
    ) -> Result<Name, FileError> {
        let (writer, digest) = self.write_whole(tree, sessions)?;
        writer.set_aside(digest, TAKEN)
    }

    fn write_whole(
        &self,
        tree: &mut Tree,
        sessions: &[(SessionId, i32)],
    ) -> Result<(SnapshotWriter, Option<ZxidDigest>), FileError> {
        let Some(head) = tree.begin_snapshot() else {
            unreachable!("nobody else has this tree");
        };
        // Nothing is logged meanwhile.
        let some = |piece: &mut Vec<u8>| Some(tree.snapshot_some(TURN, PIECE_BYTES, piece));
        match self.write_out(&head, sessions, false, some)? {
            Some(written) => Ok(written),
            None => unreachable!("only paced snapshots are given up"),
        }
    }

    /// Removes a snapshot that may be there, durably.
    pub(super) fn remove(&self, zxid: Zxid) -> io::Result<()> {
        let name = Name::Snapshot(zxid, self.options.compression).to_string();
        match self.disk.remove(&self.dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.disk.sync_dir(&self.dir),
        }
    }

    fn write(&self) -> Result<Option<(Zxid, SnapshotFile)>, FileError> {
        let Some((head, sessions)) = self.engine.begin_snapshot() else {
            unreachable!("snapshots are taken one at a time, under the lock of this type");
        };
        let some = |piece: &mut Vec<u8>| {
            let mut tree = self.engine.tree.write();
            // Another tree would be at its end at once, and the file would look whole.
            tree.is_snapshotting().then(|| tree.snapshot_some(TURN, PIECE_BYTES, piece))
        };
        let Some((writer, digest)) = self.write_out(&head, &sessions, true, some)? else {
            return Ok(None);
        };
        Ok(Some((head.zxid, writer.finish(digest)?)))
    }

    /// Writes a snapshot but for its end; `some` adds some znodes and says whether there are more.
    /// `None` if it was given up.
    fn write_out(
        &self,
        head: &SnapshotHead,
        sessions: &[(SessionId, i32)],
        is_paced: bool,
        mut some: impl FnMut(&mut Vec<u8>) -> Option<bool>,
    ) -> Result<Option<(SnapshotWriter, Option<ZxidDigest>)>, FileError> {
        let sessions: Vec<SessionRecord> = sessions
            .iter()
            .map(|&(id, timeout_ms)| SessionRecord { id: id.0, timeout_ms })
            .collect();
        let mut writer = SnapshotWriter::begin(
            self.disk.clone(),
            &self.dir,
            head.zxid,
            self.options,
            &sessions,
            &head.acls,
        )?;
        let mut piece = Vec::with_capacity(PIECE_BYTES + (PIECE_BYTES >> 2));
        let mut more = true;
        let mut pacer = Pacer::new();
        while more {
            piece.clear();
            while more && piece.len() < PIECE_BYTES {
                let Some(is_more) = some(&mut piece) else { return Ok(None) };
                more = is_more;
            }
            writer.nodes(&piece)?;
            if is_paced && self.is_unwanted.load(Ordering::Relaxed) {
                return Ok(None);
            }
            if is_paced && !self.is_hurried.load(Ordering::Relaxed) {
                pacer.wrote(piece.len());
            }
        }
        let digest = self.options.digest.then_some(head.digest);
        Ok(Some((writer, digest)))
    }
}
