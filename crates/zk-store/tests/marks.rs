//! Rule R3: the durable mark through everything that can happen to a directory, without Apache
//! (with it: apache.rs).

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use support::{Server, Tree, dirs, frames, load, open, path, testdata};
use zk_proto::Zxid;
use zk_store::disk::Disk;
use zk_store::recover::{Note, RecoverError, RecoverOptions, Void};
use zk_store::sim::SimDisk;
use zk_store::snapshot::SnapshotOptions;
use zk_store::truncate::{TruncateError, truncate};

/// Two logs (1 to 6, 7 to 12) and snapshots of 0, 6 and 9; the trees of all zxids.
fn history() -> (SimDisk, Vec<Tree>) {
    let disk = SimDisk::new(512);
    let mut server = Server::simulated(&disk).unwrap();
    server.snapshot(SnapshotOptions::default()).unwrap();
    let mut trees = vec![server.tree.clone()];
    for zxid in 1..=12 {
        server.create().unwrap();
        trees.push(server.tree.clone());
        if zxid == 6 {
            server.log.roll().unwrap();
        }
        if zxid % 3 == 0 && zxid % 12 != 0 && zxid != 3 {
            server.snapshot(SnapshotOptions::default()).unwrap();
        }
    }
    server.log.close().unwrap();
    (disk.fork(), trees)
}

fn cut(disk: &SimDisk, zxid: i64) -> Result<(), TruncateError> {
    truncate(disk, &dirs(), Zxid(zxid), &RecoverOptions::default())
}

#[test]
fn r3_our_own_trunc_lowers_the_mark_and_is_no_loss() {
    let (whole, trees) = history();
    for zxid in 1..=12 {
        let disk = whole.fork();
        cut(&disk, zxid).unwrap();
        let (recovered, tree) = open(&disk).unwrap();
        assert_eq!((recovered.last, &tree), (Zxid(zxid), &trees[zxid as usize]));
        assert!(recovered.notes.is_empty(), "{zxid}: {:?}", recovered.notes);
        // Other transactions follow, with zxids that were there before.
        let mut server = Server::simulated(&disk).unwrap();
        for _ in 0..3 {
            server.commit(&[support::set("", b"other", 1)]).unwrap();
        }
        drop(server);
        let (recovered, tree) = open(&disk).unwrap();
        assert_eq!(recovered.last, Zxid(zxid + 3));
        assert_eq!(tree.nodes[""].data.as_deref(), Some(&b"other"[..]));
        assert!(recovered.notes.is_empty(), "{zxid}: {:?}", recovered.notes);
    }
}

#[test]
fn a_trunc_that_cannot_be_done_changes_nothing() {
    let (disk, trees) = history();
    assert!(matches!(cut(&disk, 13), Err(TruncateError::NotThere { .. })));
    assert!(matches!(cut(&disk, 0), Err(TruncateError::NotThere { .. })));
    for name in ["snapshot.0", "snapshot.6"] {
        disk.remove(&path(name)).unwrap();
    }
    disk.remove(&path("log.1")).unwrap();
    assert!(matches!(cut(&disk, 8), Err(TruncateError::NoSnapshot { .. })));
    assert_eq!(open(&disk).unwrap().1, trees[12]);
}

#[test]
fn a_trunc_over_a_damaged_list_makes_nothing_foreign() {
    // Logs of Apache's that were read and closed have no marks: the list alone says whose they are.
    let taken_over = load(&testdata("apache-3.8.0"));
    let mut server = Server::simulated(&taken_over).unwrap();
    let before = server.tree.last.0;
    for _ in 0..3 {
        server.create().unwrap();
    }
    server.log.close().unwrap();
    for (whole, zxid) in [(history().0, 8), (taken_over.fork(), before + 2)] {
        for list in ["zkfleet.logs", "zkfleet.snapshots"] {
            let disk = whole.fork();
            disk.plant(&path(list), b"zkfleet-manifest 1\ncrc 0\n");
            cut(&disk, zxid).unwrap();
            let (recovered, _) = open(&disk).unwrap();
            assert_eq!(recovered.last, Zxid(zxid));
            assert!(recovered.notes.is_empty(), "{list}: {:?}", recovered.notes);
        }
    }
}

#[test]
fn a_crash_within_a_trunc_leaves_a_prefix_not_shorter_than_asked() {
    let (whole, trees) = history();
    for zxid in [2, 6, 8, 11] {
        let calls = {
            let disk = whole.fork();
            cut(&disk, zxid).unwrap();
            disk.calls()
        };
        for call in 0..calls {
            let disk = whole.fork();
            disk.cut_power_at(call);
            let finished = cut(&disk, zxid).is_ok();
            disk.crash_states(40, call, |after| {
                let (recovered, tree) =
                    open(&after).unwrap_or_else(|error| panic!("{zxid}, call {call}: {error}"));
                assert!(recovered.last >= Zxid(zxid) && !(finished && recovered.last > Zxid(zxid)));
                assert_eq!(tree, trees[recovered.last.0 as usize]);
                cut(&after, zxid).unwrap();
                assert_eq!(open(&after).unwrap().0.last, Zxid(zxid), "asked again, it is done");
            });
        }
    }
}

#[test]
fn a_trunc_of_apaches_own_log_is_done_as_apache_does_it() {
    let disk = load(&testdata("apache-3.8.0"));
    open(&disk).unwrap().0.settle(&disk, &dirs()).unwrap();
    cut(&disk, 0x10).unwrap();
    let (recovered, _) = open(&disk).unwrap();
    assert_eq!((recovered.last, recovered.notes.len()), (Zxid(0x10), 0));
    let bytes = disk.read(&path("log.1")).unwrap();
    let (at, len) = *frames(&bytes).last().unwrap();
    assert_eq!(at + len, bytes.len(), "cut behind the record");
}

#[test]
fn r3_a_copied_directory_keeps_its_marks() {
    let (disk, _) = history();
    let copy = SimDisk::new(4096);
    for entry in disk.list(&dirs().logs()).unwrap() {
        copy.plant(&path(&entry.name), &disk.read(&path(&entry.name)).unwrap());
    }
    let (recovered, _) = open(&copy).unwrap();
    assert!(recovered.last == Zxid(12) && recovered.notes.is_empty(), "{:?}", recovered.notes);
    let mut bytes = copy.read(&path("log.7")).unwrap();
    let (at, len) = *frames(&bytes).last().unwrap();
    bytes[at..at + len].fill(0);
    copy.plant(&path("log.7"), &bytes);
    assert!(matches!(open(&copy), Err(RecoverError::Log(_))), "and is protected by them");
}

#[test]
fn r3_a_directory_copied_while_it_was_written_is_refused() {
    // The log's records are copied first, its end with the marks later.
    let disk = SimDisk::new(512);
    let mut server = Server::simulated(&disk).unwrap();
    for _ in 0..5 {
        server.create().unwrap();
    }
    let early = disk.read(&path("log.1")).unwrap();
    for _ in 0..5 {
        server.create().unwrap();
    }
    let late = disk.read(&path("log.1")).unwrap();
    let middle = early.len() / 2;
    let copy = disk.fork();
    copy.plant(&path("log.1"), &[&early[..middle], &late[middle..]].concat());
    let error = open(&copy).unwrap_err().to_string();
    assert!(
        error.contains("it was durable up to") && error.contains("lost: 0x6 to 0x9"),
        "{error}"
    );
}

#[test]
fn r3_an_older_directory_restored_as_a_whole_is_that_older_state() {
    let disk = SimDisk::new(512);
    let mut server = Server::simulated(&disk).unwrap();
    for _ in 0..5 {
        server.create().unwrap();
    }
    server.log.complete_mark().unwrap();
    let older = disk.fork();
    for _ in 0..5 {
        server.create().unwrap();
    }
    let (recovered, _) = open(&older).unwrap();
    assert!(recovered.last == Zxid(5) && recovered.notes.is_empty());
    // Only the log restored, beside a newer snapshot: the snapshot tells.
    server.snapshot(SnapshotOptions::default()).unwrap();
    let mixed = disk.fork();
    mixed.plant(&path("log.1"), &older.read(&path("log.1")).unwrap());
    mixed.plant(&path("snapshot.a"), b"damaged, so that the log is needed");
    assert!(matches!(open(&mixed), Err(RecoverError::SnapshotAhead { needs: Zxid(10), .. })));
}

#[test]
fn r3_what_the_mark_cannot_protect_is_the_last_batch_before_it_is_completed() {
    let disk = SimDisk::new(512);
    let mut server = Server::simulated(&disk).unwrap();
    for _ in 0..5 {
        server.create().unwrap();
    }
    let lose = |disk: &SimDisk, last: usize| {
        let mut bytes = disk.read(&path("log.1")).unwrap();
        for (at, len) in frames(&bytes).into_iter().rev().take(last) {
            bytes[at..at + len].fill(0);
        }
        disk.plant(&path("log.1"), &bytes);
        open(disk).map(|(recovered, _)| recovered.last)
    };
    assert_eq!(lose(&disk.fork(), 1).unwrap(), Zxid(4));
    assert!(lose(&disk.fork(), 2).is_err());
    server.log.complete_mark().unwrap();
    assert!(lose(&disk.fork(), 1).is_err());
}

#[test]
fn r3_apaches_trunc_snap_and_purge_leave_traces_that_void_the_marks() {
    let (whole, trees) = history();
    let is_void = |disk: &SimDisk| {
        let (recovered, tree) = open(disk).unwrap();
        let void = |note: &Note| {
            matches!(note, Note::Void(Void::ForeignSnapshot(_) | Void::ForeignLog(_)))
        };
        assert!(recovered.notes.iter().any(void), "{:?}", recovered.notes);
        (recovered.last, tree)
    };
    // TRUNC to 8: Apache cuts the file behind the record and takes a snapshot.
    let disk = whole.fork();
    let mut bytes = disk.read(&path("log.7")).unwrap();
    bytes.truncate(frames(&bytes)[2].0);
    disk.plant(&path("log.7"), &bytes);
    disk.remove(&path("snapshot.9")).unwrap();
    let mut server = Server::simulated(&SimDisk::new(512)).unwrap();
    server.tree = trees[8].clone();
    server.snapshot(SnapshotOptions::default()).unwrap();
    let eight = zk_store::disk::read_small(&*server.disk, &path("snapshot.8"), 1 << 20).unwrap();
    disk.plant(&path("snapshot.8"), &eight);
    assert_eq!(is_void(&disk), (Zxid(8), trees[8].clone()));
    // Purge, then a new log.
    let disk = whole.fork();
    disk.remove(&path("log.1")).unwrap();
    disk.remove(&path("snapshot.0")).unwrap();
    disk.plant(&path("log.d"), b"");
    assert_eq!(is_void(&disk).0, Zxid(12));
}
