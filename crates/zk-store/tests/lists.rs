//! What the lists of files (`zkfleet.logs`, `zkfleet.snapshots`) say when files, or they
//! themselves, are gone or damaged.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::path::Path;
use std::sync::Arc;
use support::{Server, Tree};
use zk_proto::Zxid;
use zk_store::data_dir::DataDirs;
use zk_store::disk::Disk;
use zk_store::recover::{Note, Overrides, RecoverError, RecoverOptions, Recovered, recover};
use zk_store::sim::SimDisk;
use zk_store::snapshot::SnapshotOptions;

/// Snapshots and logs in two directories, as with a `dataLogDir`.
fn apart() -> DataDirs {
    DataDirs::new("/data", Some("/logs".into()))
}

fn start(disk: &SimDisk, dirs: &DataDirs) -> Server {
    Server::start(Arc::new(disk.clone()), dirs.clone()).unwrap()
}

fn open(
    disk: &SimDisk,
    dirs: &DataDirs,
    overrides: Overrides,
) -> Result<(Recovered, Tree), RecoverError> {
    let mut tree = Tree::default();
    let options = RecoverOptions { overrides, ..RecoverOptions::default() };
    recover(disk, dirs, &options, &mut tree).map(|recovered| (recovered, tree))
}

fn remove(disk: &SimDisk, dir: &Path, is_gone: impl Fn(&str) -> bool) {
    for entry in disk.list(dir).unwrap() {
        if is_gone(&entry.name) {
            disk.remove(&dir.join(entry.name)).unwrap();
        }
    }
}

#[test]
fn case_f_a_log_directory_that_lost_everything_is_missed() {
    for snapshots in [&[0][..], &[0, 5], &[5], &[]] {
        for is_list_damaged in [false, true] {
            let (disk, dirs) = (SimDisk::new(512), apart());
            let mut server = start(&disk, &dirs);
            for zxid in 0..=7 {
                if snapshots.contains(&zxid) {
                    server.snapshot(SnapshotOptions::default()).unwrap();
                }
                server.create().unwrap();
            }
            server.log.close().unwrap();
            assert_eq!(open(&disk, &dirs, Overrides::default()).unwrap().0.last, Zxid(8));

            // The device of the logs is not mounted: an empty directory stands in its place.
            let disk = disk.fork();
            remove(&disk, &dirs.logs(), |_| true);
            if is_list_damaged {
                disk.plant(&dirs.logs().join("zkfleet.logs"), b"zkfleet-manifest 1\ncrc 0\n");
            }
            let error = open(&disk, &dirs, Overrides::default()).unwrap_err();
            assert!(matches!(error, RecoverError::MissingLog { .. }), "{snapshots:?}: {error}");
            let missing = Overrides { missing_log: true, ..Overrides::default() };
            let (recovered, _) = open(&disk, &dirs, missing).unwrap();
            assert_eq!(recovered.last.0, snapshots.last().copied().unwrap_or(0));
            assert!(recovered.notes.iter().any(|note| matches!(note, Note::Overridden(_))));
        }
    }
}

#[test]
fn a_directory_in_which_nothing_was_ever_logged_is_whole() {
    let (disk, dirs) = (SimDisk::new(512), apart());
    start(&disk, &dirs).log.close().unwrap();
    assert!(open(&disk, &dirs, Overrides::default()).unwrap().0.is_new);
    // At no moment of the take-over does the list of snapshots stand there alone.
    let calls = disk.calls();
    for call in 0..calls {
        let (disk, dirs) = (SimDisk::new(512), apart());
        disk.cut_power_at(call);
        let _ = Server::start(Arc::new(disk.clone()), dirs.clone());
        disk.crash_states(50, call, |after| {
            for dir in [dirs.snapshots(), dirs.logs()] {
                after.create_dir_all(&dir).unwrap();
            }
            let recovered = open(&after, &dirs, Overrides::default());
            assert!(recovered.is_ok(), "call {call}: {}", recovered.unwrap_err());
        });
    }
}

#[test]
fn case_b_is_seen_although_a_list_is_damaged() {
    let (disk, dirs) = (SimDisk::new(512), apart());
    let mut server = start(&disk, &dirs);
    server.snapshot(SnapshotOptions::default()).unwrap();
    for _ in 0..5 {
        server.create().unwrap();
    }
    server.log.close().unwrap();
    let log = dirs.logs().join("log.1");
    let mut bytes = disk.read(&log).unwrap();
    let (at, len) = *support::frames(&bytes).last().unwrap();
    bytes[at..at + len].fill(0);
    let lists = [dirs.logs().join("zkfleet.logs"), dirs.snapshots().join("zkfleet.snapshots")];
    for list in lists {
        let text = disk.read(&list).unwrap();
        for byte in 0..text.len() {
            let disk = disk.fork();
            let mut bad = text.clone();
            bad[byte] ^= 1;
            disk.plant(&list, &bad);
            // Unknown is not foreign: what the marks say counts.
            let (recovered, _) = open(&disk, &dirs, Overrides::default()).unwrap();
            assert_eq!(recovered.last, Zxid(5));
            let damaged =
                |note: &Note| matches!(note, Note::DamagedManifest(path) if *path == list);
            assert!(recovered.notes.len() == 1 && damaged(&recovered.notes[0]), "{byte}");
            disk.plant(&log, &bytes);
            let error = open(&disk, &dirs, Overrides::default()).unwrap_err();
            assert!(error.to_string().contains("0x5 to 0x5"), "{byte}: {error}");
        }
    }
}

#[test]
fn case_b_is_seen_although_a_list_was_damaged_and_then_replaced() {
    let (disk, dirs) = (SimDisk::new(512), apart());
    let mut server = start(&disk, &dirs);
    for _ in 0..3 {
        server.snapshot(SnapshotOptions::default()).unwrap();
        server.create().unwrap();
    }
    let list = dirs.snapshots().join("zkfleet.snapshots");
    let mut text = disk.read(&list).unwrap();
    let middle = text.len() / 2;
    text[middle] ^= 1;
    disk.plant(&list, &text);
    // The server runs on, and its next snapshot has to be listed.
    server.snapshot(SnapshotOptions::default()).unwrap();
    for _ in 0..5 {
        server.create().unwrap();
    }
    server.log.close().unwrap();
    let (recovered, _) = open(&disk, &dirs, Overrides::default()).unwrap();
    assert_eq!(recovered.last, Zxid(8));
    assert!(recovered.notes.is_empty(), "{:?}", recovered.notes);
    let log = dirs.logs().join("log.1");
    let mut bytes = disk.read(&log).unwrap();
    let (at, len) = *support::frames(&bytes).last().unwrap();
    bytes[at..at + len].fill(0);
    disk.plant(&log, &bytes);
    let error = open(&disk, &dirs, Overrides::default()).unwrap_err();
    assert!(error.to_string().contains("0x8 to 0x8"), "{error}");
}

#[test]
fn snapshots_that_are_gone_are_told_once() {
    let (disk, dirs) = (SimDisk::new(512), apart());
    let mut server = start(&disk, &dirs);
    for _ in 0..3 {
        server.snapshot(SnapshotOptions::default()).unwrap();
        server.create().unwrap();
    }
    server.log.close().unwrap();
    let told = |gone: &dyn Fn(&str) -> bool| {
        let disk = disk.fork();
        remove(&disk, &dirs.snapshots(), gone);
        let (recovered, _) = open(&disk, &dirs, Overrides::default()).unwrap();
        assert_eq!(recovered.last, Zxid(3));
        recovered.settle(&disk, &dirs).unwrap();
        assert!(open(&disk, &dirs, Overrides::default()).unwrap().0.notes.is_empty());
        recovered.notes.iter().map(Note::to_string).collect::<Vec<_>>()
    };
    // Who removes old ones knows it.
    assert_eq!(told(&|name| name == "snapshot.0"), [""; 0]);
    let newest = told(&|name| name == "snapshot.2");
    assert!(
        newest[0].contains("/data/version-2/zkfleet.snapshots lists snapshot.2,"),
        "{newest:?}"
    );
    let all = told(&|name| name.starts_with("snapshot."));
    assert!(all[0].contains("lists snapshot.2, which is not there"), "{all:?}");
    // Another dataDir in front of the same dataLogDir.
    let other = told(&|_| true);
    assert!(other[0].contains("is it the dataDir that it was?"), "{other:?}");
    assert!([newest, all, other].iter().all(|notes| notes.len() == 1));
}
