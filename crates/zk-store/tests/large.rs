//! Records far longer than any request: what was acknowledged loads, whatever its length.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::sync::Arc;
use support::{Server, Tree, create, dirs, frames, load, open, path, set, testdata};
use zk_proto::Zxid;
use zk_proto::txn::Txn;
use zk_store::data_dir::DataDirs;
use zk_store::disk::Disk;
use zk_store::doctor::{Apache, examine, repair_copy};
use zk_store::log::Damage;
use zk_store::recover::{RecoverError, RecoverOptions, Why};
use zk_store::sim::SimDisk;
use zk_store::snapshot::SnapshotOptions;

/// A log with a closeSession of 100,000 paths, a multi of three parts of 3 MiB, and one small
/// transaction behind them.
fn large() -> SimDisk {
    let disk = SimDisk::new(4096);
    let mut server = Server::simulated(&disk).unwrap();
    server.snapshot(SnapshotOptions::default()).unwrap();
    let paths =
        (0..100_000).map(|n| format!("/{n:0100}").into()).collect::<Vec<zk_proto::Text<'_>>>();
    server.commit(&[Txn::CloseSession(Some(paths))]).unwrap();
    let data = vec![7; 3 << 20];
    let parts = ["/a", "/b"].map(|path| create(path, &data, 1)).to_vec();
    server.commit(&[Txn::Multi([parts, vec![set("", &data, 1)]].concat())]).unwrap();
    server.create().unwrap();
    server.log.close().unwrap();
    disk.fork()
}

#[test]
fn records_longer_than_any_limit_load() {
    let disk = large();
    // Each has a file of its own.
    let lens = ["log.1", "log.2"].map(|name| frames(&disk.read(&path(name)).unwrap())[0].1);
    assert!(lens[0] > 10_000_000 && lens[1] > 9_000_000, "{lens:?}");
    let (recovered, tree) = open(&disk).unwrap();
    assert_eq!(recovered.last, Zxid(3));
    assert!(recovered.notes.is_empty(), "{:?}", recovered.notes);
    assert_eq!(tree.nodes["/b"].data.as_ref().unwrap().len(), 3 << 20);
}

#[test]
fn a_large_record_behind_an_apparent_end_is_found() {
    let whole = large();
    // As Apache would have written it: one file, no list, no mark.
    let mut log = Vec::new();
    for (name, begin) in [("log.1", 0), ("log.2", 16)] {
        let bytes = whole.read(&path(name)).unwrap();
        let (at, len) = frames(&bytes)[0];
        log.extend_from_slice(&bytes[begin..at + len]);
    }
    log[16 + 8..16 + 12].fill(0);
    let disk = SimDisk::new(4096);
    disk.plant(&path("snapshot.0"), &whole.read(&path("snapshot.0")).unwrap());
    disk.plant(&path("log.1"), &log);
    let Err(RecoverError::Log(fault)) = open(&disk) else { panic!("accepted") };
    assert!(matches!(fault.why, Why::Behind(beyond) if beyond.last == Some(Zxid(2))), "{fault}");
}

#[test]
fn an_absurd_length_at_the_end_is_no_torn_write() {
    let disk = load(&testdata("apache-3.8.0"));
    for entry in disk.list(&dirs().logs()).unwrap() {
        if !["snapshot.0", "log.1"].contains(&&*entry.name) {
            disk.remove(&path(&entry.name)).unwrap();
        }
    }
    let mut bytes = disk.read(&path("log.1")).unwrap();
    let (last, _) = *frames(&bytes).last().unwrap();
    bytes[last + 8..last + 12].copy_from_slice(&i32::MAX.to_be_bytes());
    disk.plant(&path("log.1"), &bytes);
    let Err(RecoverError::Log(fault)) = open(&disk) else { panic!("accepted") };
    assert!(matches!(fault.why, Why::Damage(Damage::Length(i32::MAX))), "{fault}");
}

#[test]
fn the_doctor_takes_a_directory_of_a_larger_jute_maxbuffer_for_whole() {
    let disk = SimDisk::new(4096);
    let mut server = Server::simulated(&disk).unwrap();
    server.commit(&[set("", &vec![7; 5 << 20], 1)]).unwrap();
    server.snapshot(SnapshotOptions::default()).unwrap();
    server.commit(&[set("", &vec![8; 5 << 20], 2)]).unwrap();
    server.log.close().unwrap();
    let (disk, options) = (disk.fork(), RecoverOptions::default());
    let report = examine(&disk, &dirs(), &options, &mut Tree::default()).unwrap();
    assert!(report.snapshots[0].content.is_ok(), "{report}");
    assert_eq!(report.state.unwrap().last, Zxid(2));
    let Apache::Refuses { why } = report.apache else { panic!("Apache's own limit holds") };
    assert!(why.contains("Unreasonable length") && why.contains("jute.maxbuffer"), "{why}");
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let copy = DataDirs::new("/copy", None);
    let repaired = repair_copy(&shared, &dirs(), &copy, &options, &mut Tree::default()).unwrap();
    assert_eq!((repaired.last, repaired.cut), (Zxid(2), None));
}
