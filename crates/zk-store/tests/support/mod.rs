//! A plain tree that follows Apache's rules, and the small things that several tests need.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

pub mod tree;

use std::path::{Path, PathBuf};
use std::sync::Arc;
pub use tree::Tree;
use zk_proto::snapshot::ZxidDigest;
use zk_proto::txn::{CreateTxn, SetDataTxn, Txn, TxnDigest, TxnEntry, TxnHeader};
use zk_proto::{Jute, Zxid, acl::AclBytes};
use zk_store::FileError;
use zk_store::data_dir::DataDirs;
use zk_store::disk::{Disk, RealDisk};
use zk_store::log::{LogOptions, LogWriter, put_frame};
use zk_store::recover::{RecoverError, RecoverOptions, Recovered, recover};
use zk_store::sim::SimDisk;
use zk_store::snapshot::{SnapshotOptions, SnapshotWriter};

pub fn dirs() -> DataDirs {
    DataDirs::new("/zk", None)
}

pub fn path(name: &str) -> PathBuf {
    dirs().logs().join(name)
}

/// Where files that Apache wrote lie.
pub fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

/// A simulated disk with the files of a directory.
pub fn load(dir: &Path) -> SimDisk {
    let disk = SimDisk::new(512);
    disk.create_dir_all(&dirs().logs()).unwrap();
    for entry in RealDisk.list(dir).unwrap() {
        disk.plant(&path(&entry.name), &std::fs::read(dir.join(entry.name)).unwrap());
    }
    disk
}

/// Recovers into a new tree.
pub fn open(disk: &SimDisk) -> Result<(Recovered, Tree), RecoverError> {
    open_with(disk, &RecoverOptions::default())
}

pub fn open_with(
    disk: &SimDisk,
    options: &RecoverOptions,
) -> Result<(Recovered, Tree), RecoverError> {
    let mut tree = Tree::default();
    recover(disk, &dirs(), options, &mut tree).map(|recovered| (recovered, tree))
}

pub fn small_log() -> LogOptions {
    LogOptions { extent_bytes: 256 << 10, force_sync: true, reserve_bytes: 0 }
}

/// A server without network: a tree and its files.
pub struct Server {
    pub disk: Arc<dyn Disk>,
    pub dirs: DataDirs,
    pub tree: Tree,
    pub log: LogWriter,
}

impl Server {
    /// Recovers and takes the directory over.
    pub fn start(disk: Arc<dyn Disk>, dirs: DataDirs) -> Result<Server, StartError> {
        drop(dirs.open(&*disk, true)?);
        let mut tree = Tree::default();
        let recovered = recover(&*disk, &dirs, &RecoverOptions::default(), &mut tree)?;
        let manifest = recovered.settle(&*disk, &dirs)?;
        let log = LogWriter::new(disk.clone(), dirs.logs(), small_log(), recovered.last, manifest)?;
        Ok(Server { disk, dirs, tree, log })
    }

    pub fn simulated(disk: &SimDisk) -> Result<Server, StartError> {
        Server::start(Arc::new(disk.clone()), dirs())
    }

    /// Makes these transactions one durable batch; the zxid of the last.
    pub fn commit(&mut self, txns: &[Txn<'_>]) -> Result<Zxid, zk_store::log::LogError> {
        let mut frames = Vec::new();
        for txn in txns {
            put_frame(&mut frames, &self.tree.next(txn.clone()));
        }
        // As group commit does it; a fault of a test happens once.
        match self.log.commit(&frames) {
            Err(zk_store::log::LogError::NoDescriptor(_)) => self.log.commit(&frames)?,
            committed => committed?,
        };
        Ok(self.tree.last)
    }

    /// One more child of the root.
    pub fn create(&mut self) -> Result<Zxid, zk_store::log::LogError> {
        let (name, cversion) = (format!("/n{:06}", self.tree.last.0), self.tree.cversion(""));
        self.commit(&[create(&name, b"data", cversion + 1)])
    }

    pub fn snapshot(&mut self, options: SnapshotOptions) -> Result<PathBuf, FileError> {
        let (acls, nodes) = self.tree.encode();
        let sessions = self.tree.sessions();
        let digest = ZxidDigest {
            zxid: self.tree.last.0,
            version: 2,
            digest: self.tree.compute_digest() as i64,
        };
        let (disk, dir) = (self.disk.clone(), self.dirs.snapshots());
        let mut writer =
            SnapshotWriter::begin(disk, &dir, self.tree.last, options, &sessions, &acls)?;
        writer.nodes(&nodes)?;
        writer.finish(Some(digest)).map(|file| file.path)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Layout(#[from] zk_store::data_dir::LayoutError),
    #[error(transparent)]
    Recover(#[from] RecoverError),
    #[error(transparent)]
    File(#[from] FileError),
}

pub fn create<'a>(path: &'a str, data: &'a [u8], parent_cversion: i32) -> Txn<'a> {
    Txn::Create(CreateTxn {
        path: path.into(),
        data: Some(data),
        acl: AclBytes::OPEN,
        ephemeral: false,
        parent_cversion,
    })
}

pub fn set<'a>(path: &'a str, data: &'a [u8], version: i32) -> Txn<'a> {
    Txn::SetData(SetDataTxn { path: path.into(), data: Some(data), version })
}

/// An entry's bytes with the digest that it leaves behind.
pub fn entry(zxid: i64, txn: Txn<'_>, digest: Option<u64>) -> Vec<u8> {
    let header = TxnHeader {
        client_id: 7,
        cxid: 1,
        zxid,
        time_ms: 1_700_000_000_000,
        op: txn.opcode().code(),
    };
    let digest = digest.map(|digest| TxnDigest { version: 2, tree_digest: digest as i64 });
    TxnEntry { header, txn, digest }.to_bytes()
}

/// The frames of a log: offset and length each.
pub fn frames(bytes: &[u8]) -> Vec<(usize, usize)> {
    let (mut at, mut frames) = (16, Vec::new());
    while at + 13 <= bytes.len() {
        let len = u32::from_be_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
        if len == 0 {
            break;
        }
        frames.push((at, len + 13));
        at += len + 13;
    }
    frames
}

/// Computes the checksum of the frame at `at` again.
pub fn reseal(bytes: &mut [u8], at: usize) {
    let len = u32::from_be_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
    let sum = simd_adler32::adler32(&&bytes[at + 12..at + 12 + len]);
    bytes[at..at + 8].copy_from_slice(&u64::from(sum).to_be_bytes());
}
