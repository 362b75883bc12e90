//! How fast the store is on this machine: `cargo run --release -p zk-store --example speed [DIR]`.
//!
//! DIR (default: the system's temporary directory) gets about 500 MB for a moment.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use zk_proto::acl::AclBytes;
use zk_proto::snapshot::{NodeRecord, OPEN_ACL_ID};
use zk_proto::txn::{CreateTxn, Txn, TxnEntry, TxnHeader};
use zk_proto::{Jute, StatPersisted, Zxid};
use zk_store::Compression;
use zk_store::data_dir::DataDirs;
use zk_store::disk::{Disk, RealDisk};
use zk_store::group_commit::{AppendError, CommitOptions, Completion, GroupCommit};
use zk_store::log::{LogOptions, LogWriter};
use zk_store::recover::{RecoverOptions, recover};
use zk_store::restore::Discard;
use zk_store::snapshot::{ReadOptions, SnapshotOptions, SnapshotWriter, read_snapshot};

const COUNT: usize = 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let dir = parent.join(format!("zkfleet-speed-{}", std::process::id()));
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let dirs = DataDirs::new(&dir, None);
    let result = (|| {
        let _lock = dirs.open(&*disk, true)?;
        snapshots(&disk, &dirs.snapshots())?;
        log(&disk, &dirs)
    })();
    std::fs::remove_dir_all(&dir)?;
    result
}

fn report(what: &str, time: Duration, bytes: u64) {
    let (seconds, megabytes) = (time.as_secs_f64(), bytes as f64 / 1e6);
    println!("{what:44} {:8.1} ms  {:8.0} MB/s", seconds * 1e3, megabytes / seconds);
}

/// One million znodes of 100 bytes in every form.
fn snapshots(disk: &Arc<dyn Disk>, dir: &Path) -> Result<(), Box<dyn Error>> {
    for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
        let options = SnapshotOptions { compression, ..SnapshotOptions::default() };
        let begin = Instant::now();
        let zxid = Zxid(1);
        let mut writer = SnapshotWriter::begin(disk.clone(), dir, zxid, options, &[], &[0; 4])?;
        let mut data = *b"partition state, more or less: {\"leader\":1,\"isr\":[1,2,3],\"epoch\":00}................................";
        for i in 0..COUNT {
            let path = if i == 0 { String::new() } else { format!("/app/topics/t-{i:08}") };
            data[90..98].copy_from_slice(format!("{i:08}").as_bytes());
            let stat = StatPersisted { czxid: i as i64, mzxid: 1, ..StatPersisted::default() };
            let data = Some(&data[..100]);
            writer.node(&NodeRecord { path: path.into(), data, acl_id: OPEN_ACL_ID, stat })?;
        }
        let file = writer.finish(None)?;
        report(&format!("snapshot written {compression:?}"), begin.elapsed(), file.bytes);
        for _ in 0..3 {
            let begin = Instant::now();
            let (form, options) = ((zxid, compression), ReadOptions::default());
            let info = read_snapshot(&**disk, &file.path, form, &options, &mut Discard)?;
            report("         read", begin.elapsed(), info.bytes);
        }
        std::fs::remove_file(file.path)?;
    }
    Ok(())
}

fn payload(zxid: i64) -> Vec<u8> {
    let header = TxnHeader { client_id: 1, cxid: 1, zxid, time_ms: 1, op: 1 };
    let txn = Txn::Create(CreateTxn {
        path: format!("/app/topics/t-{zxid:08}").into(),
        data: Some(&[7; 100]),
        acl: AclBytes::OPEN,
        ephemeral: false,
        parent_cversion: zxid as i32,
    });
    TxnEntry { header, txn, digest: None }.to_bytes()
}

/// Commits one by one, then a million in groups, then reads them back.
fn log(disk: &Arc<dyn Disk>, dirs: &DataDirs) -> Result<(), Box<dyn Error>> {
    let recovered = recover(&**disk, dirs, &RecoverOptions::default(), &mut Discard)?;
    let manifest = recovered.settle(&**disk, dirs)?;
    let options = LogOptions::default();
    let writer = LogWriter::new(disk.clone(), dirs.logs(), options, recovered.last, manifest)?;
    let (told, completions) = channel();
    let complete = move |completion| drop(told.send((Instant::now(), completion)));
    let commit = GroupCommit::start(writer, CommitOptions::default(), complete)?;
    let mut times = Vec::new();
    for zxid in 1..=4000 {
        let bytes = payload(zxid);
        let begin = Instant::now();
        commit.append(Zxid(zxid), &bytes)?;
        let (end, Completion::Durable { batch, .. }) = completions.recv()? else {
            return Err("the log failed".into());
        };
        times.push((end - begin, batch.sync));
    }
    times.sort();
    let at = |part: usize| (times[times.len() * part / 100].0, times[times.len() * part / 100].1);
    println!(
        "commit of one: p50 {:?}, p90 {:?}, p99 {:?} (with its sync {:?})",
        at(50).0,
        at(90).0,
        at(99).0,
        at(50).1
    );

    let payloads: Vec<Vec<u8>> = (4001..=COUNT as i64).map(payload).collect();
    let begin = Instant::now();
    for (bytes, zxid) in payloads.iter().zip(4001..) {
        while let Err(AppendError::Busy) = commit.admits() {
            completions.recv()?;
        }
        commit.append(Zxid(zxid), bytes)?;
    }
    commit.flush()?;
    let bytes: usize = payloads.iter().map(Vec::len).sum();
    report("log written in groups", begin.elapsed(), bytes as u64);
    commit.shutdown()?;
    for _ in 0..3 {
        let begin = Instant::now();
        let recovered = recover(&**disk, dirs, &RecoverOptions::default(), &mut Discard)?;
        report(&format!("log read, {} txns", recovered.txns), begin.elapsed(), bytes as u64);
    }
    Ok(())
}
