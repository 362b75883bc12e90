//! Files of a running member: what is loaded at start, the log, and the snapshots it takes.

mod chores;
mod history;
mod loading;
mod restoring;
mod snapshots;

pub(crate) use history::{HistoryError, HistoryFiles};
pub use loading::{Loading, Misfit};
pub(crate) use restoring::Restorer;
pub(crate) use snapshots::{SnapshotTurn, Snapshots};

use crate::admin::Metrics;
use crate::config::{Compression, ServerConfig, StorageSettings};
use crate::engine::{Engine, TxnLog};
use chores::{Chores, Pace, Purging};
use parking_lot::Mutex;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use zk_core::TURN_BYTES;
use zk_proto::{SessionId, Zxid};
use zk_session::password::{PasswordRuleError, Passwords};
use zk_store::FileError;
use zk_store::data_dir::{DataDirs, DirLock, LayoutError};
use zk_store::disk::Disk;
use zk_store::group_commit::{AppendError, CommitOptions, Completion, GroupCommit, Loan};
use zk_store::incomplete;
use zk_store::log::{LogError, LogOptions, LogWriter};
use zk_store::manifest::Manifest;
use zk_store::recover::{Accept, Escape, Note, RecoverError, RecoverOptions, find_escape, recover};
use zk_store::replacement::end_replacement;
use zk_store::session_rule;
use zk_store::snapshot::SnapshotOptions;
use zk_tree::{Tree, TreeOptions};

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The directories are not as they should be.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// What is in them cannot be trusted.
    #[error("{0}{1}")]
    Recover(#[source] RecoverError, Escape),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is what is left of a history that was being replaced.
    #[error(
        "{} was left by a member of an ensemble while it took its history from a leader, and has none: \
         start it with its ensemble's configuration; to run alone, copy the directory of a member \
         that is whole",
        .0.display()
    )]
    Incomplete(PathBuf),
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The next transactions would have no zxids.
    #[error(
        "the history ends at {0}, and there are no zxids behind {last}: no server gets there by itself, so \
         a snapshot or log was made up; start on a backup",
        last = LAST_ZXID
    )]
    ZxidsEnd(Zxid),
    /// A loss was to be let pass, and there is none.
    #[error(
        "nothing is lost that --accept {0} would have to let pass: start without it; it is for one \
         start and must not stay in a unit or script, where it would hide the next loss"
    )]
    NothingToAccept(Accept),
    /// The rule of the session passwords cannot be changed now.
    #[error(transparent)]
    Password(#[from] PasswordRuleError),
    /// A thread cannot be started.
    #[error("cannot start the thread of the log: {0}")]
    Thread(#[source] io::Error),
}

impl StorageError {
    /// What the process should exit with: 3 when the directory is wrong, 10 when a snapshot cannot
    /// be written, as in Apache.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            StorageError::NothingToAccept(_) | StorageError::Password(_) => 2,
            StorageError::Layout(_) | StorageError::Incomplete(_) => 3,
            StorageError::File(_) | StorageError::Log(_) => 10,
            StorageError::Recover(..) | StorageError::ZxidsEnd(_) | StorageError::Thread(_) => 1,
        }
    }
}

/// What recovery found.
pub(crate) struct Recovered {
    pub(crate) tree: Tree,
    /// With their timeouts in ms.
    pub(crate) sessions: Vec<(SessionId, i32)>,
    pub(crate) log: RecoveredLog,
}

/// Where the log goes on.
pub(crate) struct RecoveredLog {
    writer: LogWriter,
    needs_snapshot: Need,
    txns: u64,
}

/// How much a snapshot is wanted before anything is logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Need {
    /// The newest one is whole, or a leader's is going to come.
    None,
    /// Apache does not start on a log without a snapshot, and behind one that nobody could read
    /// nobody should have to go back again. Without room for it the logs have everything.
    Wanted,
    /// Nothing else has what is there now: not that it began empty, nor that a loss was let pass,
    /// which is not found again behind a snapshot.
    Vital,
}

impl Need {
    fn behind(found: &zk_store::recover::Recovered, has_loss: bool) -> Need {
        let is_older = |note: &Note| matches!(note, Note::DamagedSnapshot(_));
        match found.snapshot.is_none() || found.notes.iter().any(is_older) {
            _ if found.is_new || has_loss => Need::Vital,
            true => Need::Wanted,
            false => Need::None,
        }
    }
}

/// The files of a member.
pub(crate) struct Storage {
    disk: Arc<dyn Disk>,
    dirs: DataDirs,
    _lock: DirLock,
    settings: StorageSettings,
    tree_options: TreeOptions,
    log: Arc<OnceLock<GroupCommit>>,
    is_damaged: bool,
    chores: Option<Chores>,
    engine: Option<Arc<Engine>>,
}

/// Nothing that ends behind this is taken: a zxid is positive, and names files.
pub(super) const LAST_ZXID: Zxid = Zxid(0x7fff_ff00_0000_0000);

/// How long a stop waits for a log that is behind to take what was posted.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The engine's way to the log.
struct Appender(Arc<OnceLock<GroupCommit>>);

/// From this on, no more requests are taken until the disk has caught up.
const QUEUE_PAUSE_BYTES: usize = 2 << 20;
/// A transaction may be this many times as long as `jute.maxbuffer`: what `auth` entries of its
/// ACLs stand for comes on top of the request.
pub(crate) const MAX_TXN_FACTOR: usize = 4;
/// The log's own needs while it writes out its queue on a full disk: the zeros, marks and lists of
/// two new files.
const LOG_OVERHEAD_BYTES: u64 = 512 << 10;
/// Requests may be configured to be larger than what is reasonable to set aside: such a one waits
/// for space on a full disk, and blocks nothing but writes.
const MAX_RESERVE_BYTES: u64 = 64 << 20;

/// Disk space that is kept for what waits when the disk becomes full: the queue, what comes
/// between two looks at it, and one transaction.
fn reserve_bytes(settings: &StorageSettings) -> u64 {
    let txn = u64::from(settings.max_request_bytes) * MAX_TXN_FACTOR as u64;
    let queue = QUEUE_PAUSE_BYTES as u64 + TURN_BYTES as u64 + txn;
    (queue + LOG_OVERHEAD_BYTES).next_multiple_of(1 << 20).min(MAX_RESERVE_BYTES)
}

/// Tells what was odd; whether a loss was let pass.
fn tell_notes(notes: &[Note]) -> bool {
    let mut has_loss = false;
    for note in notes {
        if matches!(note, Note::Overridden(_) | Note::OverriddenToo { .. }) {
            has_loss = true;
            tracing::error!("{note}");
        } else {
            tracing::warn!("{note}");
        }
    }
    has_loss
}

/// Whether something was let pass that needed this.
fn lets_pass(notes: &[Note], accept: Accept) -> bool {
    let needs = |note: &Note| matches!(note, Note::Overridden(it) if it.accept() == Some(accept));
    notes.iter().any(needs)
}

fn tell_recovered(
    found: &zk_store::recover::Recovered,
    loading: &Loading,
    took: Duration,
    metrics: &Metrics,
) {
    metrics.dbinittime.record_time(took);
    metrics.startup_txns_loaded.record(found.txns);
    metrics.startup_snap_load_time.record_time(found.snapshot_time);
    metrics.startup_txns_load_time.record_time(found.logs_time);
    tracing::info!(
        "recovered {} znodes up to zxid {} in {} ms, {} transactions of them from the log",
        loading.tree.node_count(),
        found.last,
        took.as_millis(),
        found.txns
    );
}

/// What recovery gives to a member of an ensemble whose history is damaged: nothing. The files stay
/// until a leader's snapshot is there to take their place: they may be the last ones.
struct Damaged;

/// Recovers what is in the directories; a member of an ensemble may go on without (rule R5).
fn recover_or_join(
    disk: &dyn Disk,
    dirs: &DataDirs,
    options: &RecoverOptions,
    is_ensemble: bool,
    loading: &mut Loading,
) -> Result<Result<zk_store::recover::Recovered, Damaged>, StorageError> {
    let is_incomplete = incomplete::is_incomplete(disk, dirs)?;
    if is_incomplete && !is_ensemble {
        return Err(StorageError::Incomplete(dirs.snapshots()));
    }
    if is_incomplete {
        return Ok(Err(Damaged));
    }
    match recover(disk, dirs, options, loading) {
        Ok(found) => Ok(Ok(found)),
        Err(RecoverError::File(error)) => Err(error.into()),
        Err(error) if is_ensemble => {
            tracing::error!("{error}");
            incomplete::note_incomplete(disk, dirs)?;
            Ok(Err(Damaged))
        }
        Err(error) => {
            let escape = find_escape(&error, disk, dirs, options, loading);
            Err(StorageError::Recover(error, escape))
        }
    }
}

/// Takes the snapshot that a start needs; whether there is one now.
fn take_first(snapshots: &Snapshots, need: Need) -> Result<bool, FileError> {
    snapshots.hurry(true);
    let taken = snapshots.take();
    snapshots.hurry(false);
    match taken {
        Some(Err(error)) if need != Need::Vital && error.is_disk_full() => Ok(false),
        Some(result) => result.map(|_| true),
        None => Ok(false),
    }
}

fn log_options(settings: &StorageSettings) -> LogOptions {
    LogOptions {
        extent_bytes: settings.prealloc_bytes,
        force_sync: settings.force_sync,
        reserve_bytes: reserve_bytes(settings),
    }
}

impl TxnLog for Appender {
    fn append(&self, txns: &mut dyn Iterator<Item = (Zxid, &[u8])>) -> Result<(), AppendError> {
        self.0.get().ok_or(AppendError::Closed)?.append_all(txns)
    }

    fn admits(&self) -> Result<(), AppendError> {
        self.0.get().ok_or(AppendError::Closed)?.admits()
    }

    fn lend(&self) -> Option<Loan<'_>> {
        self.0.get()?.lend()
    }
}

impl Storage {
    /// Locks the directories and recovers what is in them.
    pub(crate) fn open(
        config: &ServerConfig,
        disk: Arc<dyn Disk>,
        accept: &[Accept],
        tree: TreeOptions,
        metrics: &Metrics,
    ) -> Result<(Storage, Recovered), StorageError> {
        let settings = config.storage.clone();
        let dirs = DataDirs::new(&config.data_dir, Some(config.data_log_dir.clone()));
        let lock = dirs.open(&*disk, settings.autocreate_dirs)?;
        let started = Instant::now();
        end_replacement(&*disk, &dirs)?;
        let mut options = RecoverOptions::default();
        options.overrides.trust_empty = settings.trust_empty_snapshot;
        accept.iter().for_each(|accept| options.overrides.accept(*accept));
        let is_ensemble = config.quorum.is_ensemble();
        let mut loading = Loading::new(tree);
        let found = recover_or_join(&*disk, &dirs, &options, is_ensemble, &mut loading)?;
        let (last, manifest, needs_snapshot, txns, is_damaged) = match found {
            Ok(found) => {
                let has_loss = tell_notes(&found.notes);
                if let Some(idle) = accept.iter().find(|it| !lets_pass(&found.notes, **it)) {
                    return Err(StorageError::NothingToAccept(*idle));
                }
                if found.last >= LAST_ZXID {
                    return Err(StorageError::ZxidsEnd(found.last));
                }
                let manifest = found.settle(&*disk, &dirs)?;
                tell_recovered(&found, &loading, started.elapsed(), metrics);
                let needs_snapshot = Need::behind(&found, has_loss);
                if has_loss && is_ensemble {
                    incomplete::note_incomplete(&*disk, &dirs)?;
                }
                (found.last, manifest, needs_snapshot, found.txns, has_loss && is_ensemble)
            }
            Err(Damaged) => {
                loading = Loading::new(tree);
                (Zxid::ZERO, Manifest::default(), Need::None, 0, true)
            }
        };
        let log = log_options(&settings);
        let writer = LogWriter::new(disk.clone(), dirs.logs(), log, last, manifest)?;
        loading.adopt_orphans();
        let tree_options = tree;
        let Loading { tree, sessions, .. } = loading;
        let log = RecoveredLog { writer, needs_snapshot, txns };
        let recovered = Recovered { tree, sessions: sessions.into_iter().collect(), log };
        let storage = Storage {
            disk,
            dirs,
            _lock: lock,
            settings,
            tree_options,
            log: Arc::default(),
            is_damaged,
            chores: None,
            engine: None,
        };
        Ok((storage, recovered))
    }

    /// Lets `passwords` hold from now on, as far as the sessions that were found allow, and keeps
    /// what a later start must know (DESIGN R2). Before anybody is served.
    pub(crate) fn settle_passwords(
        &self,
        passwords: Passwords,
        sessions: &[(SessionId, i32)],
    ) -> Result<Passwords, StorageError> {
        let live = sessions.iter().map(|(id, _)| *id).collect();
        let before = session_rule::load(&*self.disk, &self.dirs)?;
        let passwords = passwords.after(before.as_ref(), &live)?;
        session_rule::store(&*self.disk, &self.dirs, passwords.legacy())?;
        if let Some(legacy) = passwords.legacy().filter(|legacy| !legacy.is_empty()) {
            tracing::warn!(
                "sessions from before sessionPassword=hmac keep passwords that anybody can compute, \
                 until they close: {}",
                legacy.len()
            );
        }
        Ok(passwords)
    }

    /// Where the engine appends; takes transactions after [`Storage::start`].
    pub(crate) fn appender(&self) -> Box<dyn TxnLog> {
        Box::new(Appender(self.log.clone()))
    }

    /// Starts the log, the taking of snapshots and the removal of old files.
    pub(crate) fn start(
        &mut self,
        engine: &Arc<Engine>,
        recovered: RecoveredLog,
    ) -> Result<Arc<Snapshots>, StorageError> {
        let RecoveredLog { writer, needs_snapshot, txns } = recovered;
        let metrics = engine.metrics.clone();
        let snapshots = Arc::new(Snapshots::new(
            engine.clone(),
            self.disk.clone(),
            self.dirs.snapshots(),
            self.snapshot_options(),
        ));
        let is_taken = needs_snapshot != Need::None && take_first(&snapshots, needs_snapshot)?;
        let pace = Arc::new(Pace::new(&self.settings, if is_taken { 0 } else { txns }));
        let chores =
            Chores::start(pace.clone(), snapshots.clone(), self.log.clone(), self.purging())
                .map_err(StorageError::Thread)?;
        let options = CommitOptions {
            pause_bytes: QUEUE_PAUSE_BYTES,
            slow_sync: Duration::from_millis(self.settings.fsync_warning_ms.into()),
        };
        engine.start_pipe().map_err(StorageError::Thread)?;
        self.engine = Some(engine.clone());
        let engine = engine.clone();
        let own_log = self.log.clone();
        let log = GroupCommit::start(writer, options, move |completion| match completion {
            Completion::Durable { batch, is_slow } => {
                metrics.fsynctime.record_time(batch.sync);
                metrics.sync_processor_batch_size.record(batch.records as u64);
                if is_slow {
                    metrics.stats.fsync_threshold_exceed_count.add(1);
                }
                pace.logged(batch.records as u64, batch.bytes as u64);
                if pace.fills_file(batch.bytes as u64)
                    && let Some(log) = own_log.get()
                {
                    log.roll();
                }
                let is_last = own_log.get().is_none_or(|log| !log.is_waiting());
                engine.logged(batch.zxid, is_last);
            }
            // The log has said why.
            Completion::Failed(_) => {
                metrics.unrecoverable_error_count.add(1);
                engine.poison();
            }
        })
        .map_err(StorageError::Thread)?;
        // Nobody else sets it: a storage is started once.
        let _ = self.log.set(log);
        if let Some(engine) = &self.engine {
            engine.look_at_disk();
        }
        self.chores = Some(chores);
        Ok(snapshots)
    }

    /// What puts an operator's snapshot in the place of everything.
    pub(crate) fn restorer(&self, engine: &Arc<Engine>, snapshots: &Arc<Snapshots>) -> Restorer {
        Restorer {
            engine: engine.clone(),
            snapshots: snapshots.clone(),
            disk: self.disk.clone(),
            dir: self.dirs.snapshots(),
            read: RecoverOptions::default().read,
            tree: self.tree_options,
            log: self.log.clone(),
            turn: Mutex::new(()),
        }
    }

    /// What an ensemble does with the files.
    pub(crate) fn history(&self, snapshots: &Arc<Snapshots>, engine: &Arc<Engine>) -> HistoryFiles {
        HistoryFiles {
            engine: engine.clone(),
            snapshots: snapshots.clone(),
            disk: self.disk.clone(),
            dirs: self.dirs.clone(),
            log_options: log_options(&self.settings),
            tree_options: self.tree_options,
            log: self.log.clone(),
        }
    }

    /// Whether something of the history is missing, or may be: it is what is left of one that was
    /// being replaced, or a loss was let pass.
    pub(crate) fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    fn purging(&self) -> Option<Purging> {
        let settings = self.settings.purge.clone()?;
        Some(Purging {
            disk: self.disk.clone(),
            dirs: self.dirs.clone(),
            settings,
            read: RecoverOptions::default().read,
        })
    }

    fn snapshot_options(&self) -> SnapshotOptions {
        SnapshotOptions {
            compression: match self.settings.compression {
                Compression::None => zk_store::Compression::None,
                Compression::Gzip => zk_store::Compression::Gzip,
                Compression::Snappy => zk_store::Compression::Snappy,
            },
            digest: self.settings.digest_enabled,
            last_zxid: self.settings.snapshot_has_zxid,
        }
    }

    /// Where snapshots are.
    pub(crate) fn snapshot_dir(&self) -> PathBuf {
        self.dirs.snapshots()
    }

    /// Where logs are.
    pub(crate) fn log_dir(&self) -> PathBuf {
        self.dirs.logs()
    }

    /// Completes the log. The engine's connections must have ended.
    pub(crate) fn stop(mut self) -> Result<(), StorageError> {
        if let Some(chores) = self.chores.take() {
            chores.stop();
        }
        if let Some(engine) = &self.engine {
            engine.settle_posted(LAST_WORDS);
            // What is still posted must not meet a log that takes nothing more. A log that is full
            // or has failed takes nothing as it is.
            let _ = engine.pause();
        }
        let result = match self.log.get() {
            Some(log) => log.shutdown(),
            None => Ok(()),
        };
        if let Some(engine) = self.engine.take() {
            engine.pipe.stop();
        }
        Ok(result?)
    }
}
