//! Taking snapshots beside the work, and removing old files.

use crate::engine::Engine;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use zk_proto::snapshot::SessionRecord;
use zk_proto::{SessionId, Zxid};
use zk_store::FileError;
use zk_store::disk::Disk;
use zk_store::names::Name;
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
    /// The member stops: the pace does not matter any more.
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
            is_hurried: AtomicBool::new(false),
        }
    }

    /// The right to begin a snapshot of the engine's tree; `None` while somebody has it.
    pub(crate) fn turn(&self) -> Option<SnapshotTurn> {
        let was_busy = self.is_busy.swap(true, Ordering::Acquire);
        (!was_busy).then(|| SnapshotTurn(self.is_busy.clone()))
    }

    /// From now on snapshots go to the disk as fast as it takes them.
    pub(super) fn hurry(&self) {
        self.is_hurried.store(true, Ordering::Relaxed);
    }

    /// Writes a snapshot of the tree as it is now. `None` if one is being written already.
    pub(crate) fn take(&self) -> Option<Result<(Zxid, SnapshotFile), FileError>> {
        let _turn = self.turn()?;
        let started = Instant::now();
        let result = self.write();
        if result.is_err() {
            self.engine.tree.write().abandon_snapshot();
        }
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
    ) -> Result<SnapshotFile, FileError> {
        let _turn = loop {
            match self.turn() {
                Some(turn) => break turn,
                // Seldom, and nobody but who restores waits.
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let Some(head) = tree.begin_snapshot() else {
            unreachable!("nobody else has this tree");
        };
        // Nothing is logged meanwhile.
        self.write_out(&head, sessions, false, |piece| tree.snapshot_some(TURN, PIECE_BYTES, piece))
    }

    /// Removes a snapshot that may be there, durably.
    pub(super) fn remove(&self, zxid: Zxid) -> io::Result<()> {
        let name = Name::Snapshot(zxid, self.options.compression).to_string();
        match self.disk.remove(&self.dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.disk.sync_dir(&self.dir),
        }
    }

    fn write(&self) -> Result<(Zxid, SnapshotFile), FileError> {
        let Some((head, sessions)) = self.engine.begin_snapshot() else {
            unreachable!("snapshots are taken one at a time, under the lock of this type");
        };
        let some =
            |piece: &mut Vec<u8>| self.engine.tree.write().snapshot_some(TURN, PIECE_BYTES, piece);
        self.write_out(&head, &sessions, true, some).map(|file| (head.zxid, file))
    }

    /// Writes a snapshot; `some` adds some znodes and says whether there are more.
    fn write_out(
        &self,
        head: &SnapshotHead,
        sessions: &[(SessionId, i32)],
        is_paced: bool,
        mut some: impl FnMut(&mut Vec<u8>) -> bool,
    ) -> Result<SnapshotFile, FileError> {
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
                more = some(&mut piece);
            }
            writer.nodes(&piece)?;
            if is_paced && !self.is_hurried.load(Ordering::Relaxed) {
                pacer.wrote(piece.len());
            }
        }
        let digest = self.options.digest.then_some(head.digest);
        writer.finish(digest)
    }
}
