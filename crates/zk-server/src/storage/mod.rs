//! Files of a running member: what is loaded at start, the log, and the snapshots it takes.

mod loading;
mod log;
mod snapshots;

pub(crate) use loading::Loading;
pub(crate) use snapshots::Snapshots;

use crate::admin::Metrics;
use crate::config::{Compression, ServerConfig};
use crate::engine::{Engine, TxnLog};
use parking_lot::Mutex;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use zk_proto::{SessionId, Zxid};
use zk_store::FileError;
use zk_store::data_dir::{DataDirs, DirLock, LayoutError};
use zk_store::disk::{Disk, RealDisk};
use zk_store::log::{LogError, LogOptions, LogWriter};
use zk_store::manifest::Manifest;
use zk_store::snapshot::SnapshotOptions;
use zk_tree::{Tree, TreeOptions};

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The directories are not as they should be.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A thread cannot be started.
    #[error("cannot start the thread of the log: {0}")]
    Thread(#[source] io::Error),
}

impl StorageError {
    /// What the process should exit with: 3 when the directory is wrong, as in Apache.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            StorageError::Layout(_) => 3,
            _ => 1,
        }
    }
}

/// What recovery found.
pub(crate) struct Recovered {
    pub(crate) tree: Tree,
    /// With their timeouts in ms.
    pub(crate) sessions: Vec<(SessionId, i32)>,
}

/// The files of a member.
pub(crate) struct Storage {
    disk: Arc<dyn Disk>,
    dirs: DataDirs,
    _lock: DirLock,
    shared: Arc<log::Shared>,
    writer: Mutex<Option<LogWriter>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    snapshot_options: SnapshotOptions,
}

impl Storage {
    pub(crate) fn open(
        config: &ServerConfig,
        options: TreeOptions,
        _metrics: &Arc<Metrics>,
    ) -> Result<(Storage, Recovered), StorageError> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let dirs = DataDirs::new(&config.data_dir, Some(config.data_log_dir.clone()));
        let lock = dirs.open(&*disk, config.storage.autocreate_dirs)?;
        let loading = Loading::new(options);
        let writer = LogWriter::new(
            disk.clone(),
            dirs.logs(),
            LogOptions::default(),
            Zxid(0),
            Manifest::default(),
        )?;
        let storage = Storage {
            disk,
            dirs,
            _lock: lock,
            shared: log::Shared::new(),
            writer: Mutex::new(Some(writer)),
            thread: Mutex::new(None),
            snapshot_options: SnapshotOptions {
                compression: match config.storage.compression {
                    Compression::None => zk_store::Compression::None,
                    Compression::Gzip => zk_store::Compression::Gzip,
                    Compression::Snappy => zk_store::Compression::Snappy,
                },
                digest: config.storage.digest_enabled,
                last_zxid: config.storage.snapshot_has_zxid,
                ..SnapshotOptions::default()
            },
        };
        Ok((storage, Recovered { tree: loading.tree, sessions: loading.sessions.into_iter().collect() }))
    }

    pub(crate) fn log(&self) -> Box<dyn TxnLog> {
        Box::new(log::Handle(self.shared.clone()))
    }

    pub(crate) fn start(&self, engine: &Arc<Engine>, metrics: Arc<Metrics>) -> Result<Arc<Snapshots>, StorageError> {
        let shared = self.shared.clone();
        if let Some(writer) = self.writer.lock().take() {
            let engine = engine.clone();
            let body = move || {
                shared.run(writer, |r| match r {
                    Ok(zxid) => engine.logged(zxid),
                    Err(e) => {
                        tracing::error!("log failed: {e}");
                        engine.poison();
                    }
                });
            };
            let thread = std::thread::Builder::new().name("zk-log".into()).spawn(body).map_err(StorageError::Thread)?;
            *self.thread.lock() = Some(thread);
        }
        Ok(Arc::new(Snapshots::new(engine.clone(), self.disk.clone(), self.snapshot_dir(), self.snapshot_options, metrics)))
    }

    pub(crate) fn snapshot_dir(&self) -> PathBuf {
        self.dirs.snapshots()
    }

    pub(crate) fn log_dir(&self) -> PathBuf {
        self.dirs.logs()
    }

    pub(crate) fn stop(&self) -> Result<(), StorageError> {
        self.shared.stop();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
        Ok(())
    }
}
