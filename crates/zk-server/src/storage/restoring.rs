//! Putting a snapshot that an operator sent in the place of all data, while the member runs (Apache
//! `ZooKeeperServer.restoreFromSnapshot`).
//!
//! Apache changes only what is in memory, so the next start brings the old data back, mixed with
//! what was written since. Here the snapshot becomes a file of the member's own under a zxid above
//! every transaction there was. **The commit point** is that file's name on the disk: a start
//! before it finds the old data, a start after it the restored ones. No transaction has the
//! snapshot's own zxid, and this gap is wanted: should the file be damaged later, recovery refuses
//! to go on from an older snapshot over it.
//!
//! Until then writes wait and reads see the old data. Then every connection is closed: clients come
//! back to the sessions that the snapshot has, and are told of the others that they are gone, as in
//! Apache.

use super::{LAST_ZXID, Loading, Misfit, Snapshots};
use crate::engine::Engine;
use parking_lot::Mutex;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use zk_proto::Zxid;
use zk_proto::txn::{DIGEST_VERSION, Txn, TxnHeader};
use zk_store::disk::{Access, Disk};
use zk_store::group_commit::{AppendError, GroupCommit};
use zk_store::snapshot::{ReadOptions, SnapshotDamage, SnapshotError, SnapshotInfo, read_snapshot};
use zk_store::{FileError, Restore};
use zk_tree::{Tree, TreeOptions};

/// Where the sent bytes are kept until they have been read; a start removes what is left.
const RECEIVED: &str = "zkfleet.restore.tmp";
const PIECE_BYTES: usize = 256 << 10;

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RestoreError {
    /// One at a time.
    #[error("a restore is under way already; try again when it is done")]
    UnderWay,
    /// The sender stopped, or the disk takes no more.
    #[error("cannot receive the snapshot: {0}")]
    Receive(#[source] io::Error),
    /// What was sent is no whole snapshot. Where it is kept meanwhile is nobody's business.
    #[error("what was sent cannot be restored: it is damaged at byte {at}: {damage}")]
    Damaged {
        /// Where in the uncompressed content.
        at: u64,
        /// How.
        damage: SnapshotDamage,
    },
    /// What was sent cannot be read back from the disk.
    #[error("what was sent cannot be read: {0}")]
    Read(#[source] io::Error),
    /// It was taken while its server took writes, and needs its log.
    #[error(
        "{0}: the snapshot was taken while its server took writes; start on its log as well, in an \
         empty directory"
    )]
    Unfinished(#[source] Misfit),
    /// The next transactions would have no zxids.
    #[error("the snapshot holds transactions up to {0}, and there are no zxids behind it")]
    ZxidsEnd(Zxid),
    /// The tree was changed while it was written.
    #[error(
        "the snapshot says digest {recorded:#x} and has {computed:#x}: it is damaged, or was taken while \
         its server took writes; start on its log as well, in an empty directory"
    )]
    Digest {
        /// By its end.
        recorded: u64,
        /// By its znodes.
        computed: u64,
    },
    /// The log takes nothing now.
    #[error("{0}")]
    Log(#[from] AppendError),
    /// The new file cannot be written; the old data stay.
    #[error("{0}; the data are as they were")]
    Write(#[source] FileError),
    /// The new file may be there or not.
    #[error("{0}; the server stops, since only a start can tell which data are on the disk")]
    Undecided(#[source] FileError),
}

impl From<SnapshotError> for RestoreError {
    fn from(error: SnapshotError) -> RestoreError {
        match error {
            SnapshotError::Damaged { at, damage, .. } => RestoreError::Damaged { at, damage },
            SnapshotError::File(FileError { source, .. }) => RestoreError::Read(source),
        }
    }
}

/// Restores snapshots.
pub(crate) struct Restorer {
    pub(super) engine: Arc<Engine>,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) read: ReadOptions,
    pub(super) tree: TreeOptions,
    pub(super) log: Arc<OnceLock<GroupCommit>>,
    pub(super) turn: Mutex<()>,
}

impl Restorer {
    /// Replaces all data by a snapshot; the zxid at which they are there.
    pub(crate) fn restore(&self, sent: &mut dyn Read) -> Result<Zxid, RestoreError> {
        let _turn = self.turn.try_lock().ok_or(RestoreError::UnderWay)?;
        let started = Instant::now();
        let received = Received { disk: &*self.disk, path: self.dir.join(RECEIVED) };
        let compression = self.receive(sent, &received.path).map_err(RestoreError::Receive)?;
        let mut loading = Loading::new(self.tree);
        let form = (Zxid::ZERO, compression);
        let info = read_snapshot(&*self.disk, &received.path, form, &self.read, &mut loading)?;
        drop(received);
        check_digest(&info, &loading)?;
        let above = info.fuzzy_to().max(info.last_zxid.unwrap_or(Zxid::ZERO));
        if above >= LAST_ZXID {
            return Err(RestoreError::ZxidsEnd(above));
        }
        loading.replayed().map_err(RestoreError::Unfinished)?;
        loading.adopt_orphans();

        let paused = Paused::begin(&self.engine)?;
        let turn = self.snapshots.turn_at_last();
        let log = self.log.get().ok_or(AppendError::Closed)?;
        log.flush()?;
        self.engine.drain()?;
        let zxid = self.engine.last_proposed().next().max(above);
        move_to(&mut loading.tree, zxid);
        let sessions: Vec<_> = loading.sessions.into_iter().collect();
        if let Err(error) = self.snapshots.put(&mut loading.tree, &sessions, &turn) {
            return Err(self.undo(zxid, error));
        }
        log.roll();
        self.engine.replace(loading.tree, sessions);
        drop(turn);
        drop(paused);
        tracing::warn!(
            "all data were replaced by a snapshot of an operator with {} znodes and {} sessions, at \
             zxid {zxid}, in {} ms",
            info.nodes,
            info.sessions,
            started.elapsed().as_millis()
        );
        Ok(zxid)
    }

    /// Puts what is sent into a file; how it is compressed, by its first bytes.
    fn receive(&self, sent: &mut dyn Read, path: &Path) -> io::Result<zk_store::Compression> {
        let file = self.disk.open(path, Access::Create)?;
        let mut piece = vec![0; PIECE_BYTES];
        let (mut at, mut have) = (0, 0);
        let mut compression = zk_store::Compression::None;
        loop {
            let got = sent.read(&mut piece[have..])?;
            have += got;
            if got > 0 && have < piece.len() {
                continue;
            }
            if at == 0 {
                compression = match piece[..have] {
                    [0x1f, 0x8b, ..] => zk_store::Compression::Gzip,
                    [0x82, b'S', ..] => zk_store::Compression::Snappy,
                    _ => zk_store::Compression::None,
                };
            }
            file.write_at(&piece[..have], at)?;
            at += have as u64;
            have = 0;
            if got == 0 {
                return Ok(compression);
            }
        }
    }

    /// The new file may have got its name before it failed: gone for certain, or nobody may go on.
    fn undo(&self, zxid: Zxid, error: FileError) -> RestoreError {
        match self.snapshots.remove(zxid) {
            Ok(()) => RestoreError::Write(error),
            Err(why) => {
                tracing::error!("cannot take the restored snapshot back: {why}");
                self.engine.poison();
                RestoreError::Undecided(error)
            }
        }
    }
}

/// Nothing but the last zxid changes by a txn of an error.
fn move_to(tree: &mut Tree, zxid: Zxid) {
    let header = TxnHeader { client_id: 0, cxid: 0, zxid: zxid.0, time_ms: 0, op: -1 };
    tree.apply(&header, &Txn::Error(0), &mut ());
}

fn check_digest(info: &SnapshotInfo, loading: &Loading) -> Result<(), RestoreError> {
    let Some(digest) = info.digest.filter(|it| it.version == DIGEST_VERSION && it.zxid > 0) else {
        return Ok(());
    };
    let (recorded, computed) = (digest.digest as u64, loading.tree.digest());
    if recorded == computed { Ok(()) } else { Err(RestoreError::Digest { recorded, computed }) }
}

/// The file of what was sent, while it is needed.
struct Received<'a> {
    disk: &'a dyn Disk,
    path: PathBuf,
}

impl Drop for Received<'_> {
    fn drop(&mut self) {
        // Otherwise the next start does it.
        let _ = self.disk.remove(&self.path);
    }
}

/// The engine makes no transactions meanwhile.
struct Paused<'a>(&'a Engine);

impl<'a> Paused<'a> {
    fn begin(engine: &'a Engine) -> Result<Paused<'a>, AppendError> {
        engine.pause()?;
        Ok(Paused(engine))
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.resume();
    }
}
