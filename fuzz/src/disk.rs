//! Files that somebody else made: on a simulated disk, with or without right checksums.

use std::path::PathBuf;
use std::sync::Arc;
use zk_proto::txn::{Txn, TxnEntry, TxnHeader};
use zk_proto::{Jute, OpCode};
use zk_server::Loading;
use zk_store::data_dir::DataDirs;
use zk_store::disk::Disk;
use zk_store::doctor;
use zk_store::log::{LogOptions, LogWriter, put_frame};
use zk_store::recover::{Overrides, RecoverOptions, Recovered, recover};
use zk_store::sim::SimDisk;
use zk_tree::TreeOptions;

/// What stands in front of a log.
pub const LOG_HEADER: &[u8; 16] = b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0";

const TREE: TreeOptions = TreeOptions { extended_types: true, hash_seed: 1 };

/// The server's directories.
pub fn dirs() -> DataDirs {
    DataDirs::new("/zk", None)
}

/// A file in them.
pub fn path(name: &str) -> PathBuf {
    dirs().logs().join(name)
}

/// An empty disk.
pub fn empty() -> SimDisk {
    let disk = SimDisk::new(512);
    disk.create_dir_all(&dirs().logs()).expect("nothing fails here");
    disk
}

/// A payload in its frame, with the checksum that it needs to be looked at.
pub fn frame(payload: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    put_frame(out, payload);
    let sum = u64::from(simd_adler32::adler32(&payload));
    out[start..start + 8].copy_from_slice(&sum.to_be_bytes());
}

fn options(force: bool) -> RecoverOptions {
    let overrides = Overrides {
        trust_empty: force,
        missing_log: force,
        cut_newest_log: force,
        gaps: force,
        digest: force,
    };
    RecoverOptions { overrides, ..RecoverOptions::default() }
}

fn load(disk: &SimDisk, dirs: &DataDirs, force: bool) -> Result<Recovered, String> {
    let found = recover(disk, dirs, &options(force), &mut Loading::new(TREE));
    // Refusals are for people: they must print.
    found.map_err(|error| error.to_string())
}

/// What is done with files that are found.
#[derive(Clone, Copy)]
pub struct Use {
    /// Everything is let pass that an operator may let pass.
    pub force: bool,
    /// A repaired copy is made, too.
    pub repair: bool,
}

impl Use {
    /// By the low bits of a byte.
    pub fn of(bits: u8) -> Use {
        Use { force: bits & 1 == 1, repair: bits & 2 == 2 }
    }
}

/// A look, a repair, a start. What was repaired starts; what starts goes on and starts again.
pub fn use_files(disk: &SimDisk, Use { force, repair }: Use) {
    let options = options(force);
    if let Ok(report) = doctor::examine(disk, &dirs(), &options, &mut Loading::new(TREE)) {
        let _ = (report.to_string(), report.to_json(), report.apache_would_lose());
    }
    if repair {
        let (fork, target) = (disk.fork(), DataDirs::new("/to", None));
        let mut tree = Loading::new(TREE);
        let shared: Arc<dyn Disk> = Arc::new(fork.clone());
        if let Ok(repaired) = doctor::repair_copy(&shared, &dirs(), &target, &options, &mut tree) {
            match load(&fork, &target, force) {
                Ok(found) => assert_eq!(found.last, repaired.last),
                Err(error) => panic!("{repaired}does not start: {error}"),
            }
        }
    }
    if let Ok(found) = load(disk, &dirs(), force) {
        go_on(disk, &found, force);
    }
}

fn go_on(disk: &SimDisk, found: &Recovered, force: bool) {
    let manifest = found.settle(disk, &dirs()).expect("nothing fails here");
    // The last zxid of an epoch ends it; no log goes on behind it.
    if found.last.0 < 0 || found.last.0 as u32 == u32::MAX {
        return;
    }
    let log_options = LogOptions { extent_bytes: 64 << 10, force_sync: true, reserve_bytes: 0 };
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let log = LogWriter::new(shared, dirs().logs(), log_options, found.last, manifest);
    let mut log = log.expect("nothing fails here");
    let zxid = found.last.0 + 1;
    let header = TxnHeader { client_id: 1, cxid: 0, zxid, time_ms: 0, op: OpCode::Error.code() };
    let entry = TxnEntry { header, txn: Txn::Error(-1), digest: None };
    let mut frames = Vec::new();
    put_frame(&mut frames, &entry.to_bytes());
    log.commit(&frames).expect("nothing fails here");
    log.close().expect("nothing fails here");
    // What is let pass is let pass once: a server takes a snapshot at once, behind which it is not
    // found again.
    match load(disk, &dirs(), force) {
        Err(_) if force => {}
        Ok(again) => assert_eq!(again.last.0, zxid),
        Err(error) => panic!("what was settled does not start: {error}"),
    }
}
