//! What the doctor sees, and what it can save.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::sync::Arc;
use support::{Server, Tree, dirs, frames, load, open, path, reseal, testdata};
use zk_proto::snapshot::{NodeRecord, ZxidDigest};
use zk_proto::{Jute, StatPersisted, Zxid};
use zk_store::data_dir::DataDirs;
use zk_store::disk::Disk;
use zk_store::doctor::{Apache, FixKind, RepairError, Repaired, Report, examine, repair_copy};
use zk_store::incomplete::{Word, note_incomplete, word};
use zk_store::recover::{RecoverError, RecoverOptions, recover};
use zk_store::sim::SimDisk;
use zk_store::snapshot::{SnapshotOptions, SnapshotWriter};

fn apaches() -> SimDisk {
    let disk = load(&testdata("apache-3.8.0"));
    for entry in disk.list(&dirs().logs()).unwrap() {
        if !["snapshot.0", "log.1"].contains(&&*entry.name) {
            disk.remove(&path(&entry.name)).unwrap();
        }
    }
    disk
}

fn damage(disk: &SimDisk, change: impl FnOnce(&mut Vec<u8>, &[(usize, usize)])) -> SimDisk {
    let disk = disk.fork();
    let mut bytes = disk.read(&path("log.1")).unwrap();
    let frames = frames(&bytes);
    change(&mut bytes, &frames);
    disk.plant(&path("log.1"), &bytes);
    disk
}

fn report(disk: &SimDisk) -> Report {
    examine(disk, &dirs(), &RecoverOptions::default(), &mut Tree::default()).unwrap()
}

/// Repairs, and checks that the original is untouched and that the copy recovers.
fn repair(disk: &SimDisk) -> (Repaired, Tree) {
    let files = |disk: &SimDisk| {
        let entries = disk.list(&dirs().logs()).unwrap();
        entries.into_iter().map(|e| (disk.read(&path(&e.name)).unwrap(), e)).collect::<Vec<_>>()
    };
    let before = files(disk);
    let to = DataDirs::new("/copy", None);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (options, mut tree) = (RecoverOptions::default(), Tree::default());
    let repaired = repair_copy(&shared, &dirs(), &to, &options, &mut tree).unwrap();
    assert_eq!(files(disk), before);
    let recovered = recover(disk, &to, &options, &mut tree).unwrap();
    assert!(recovered.notes.is_empty(), "{:?}", recovered.notes);
    assert_eq!(recovered.last, repaired.last);
    let again = repair_copy(&shared, &dirs(), &to, &options, &mut tree);
    assert!(matches!(again, Err(RepairError::NotEmpty(_))));
    (repaired, tree)
}

#[test]
fn a_whole_directory_is_told_whole() {
    for version in ["apache-3.8.0", "apache-3.9.4", "apache-3.9.4/quorum"] {
        let disk = load(&testdata(version));
        let report = report(&disk);
        let last = report.state.as_ref().unwrap().last;
        assert_eq!(report.apache, Apache::Starts { last });
        assert_eq!(report.apache_would_lose(), None);
        assert!(report.logs.iter().all(|log| log.problem.is_none()));
        let text = report.to_string();
        assert!(text.contains(&format!("state: whole up to {last}")), "{text}");
        let (repaired, tree) = repair(&disk);
        assert_eq!((&repaired.fixes[..], &repaired.cut), (&[][..], &None));
        assert_eq!(tree, open(&disk).unwrap().1);
    }
}

#[test]
fn what_apache_would_lose_silently_is_said() {
    let last = open(&apaches()).unwrap().0.last;
    for field in [8..12, 0..0] {
        let disk = damage(&apaches(), |bytes, frames| {
            let (at, len) = frames[9];
            bytes[at + field.start..at + field.end].fill(0);
            bytes[at + len - 1] = 0;
        });
        let report = report(&disk);
        assert_eq!(report.apache, Apache::Starts { last: Zxid(9) });
        assert_eq!(report.apache_would_lose(), Some((Zxid(10), last)));
        assert!(report.state.is_err());
        let text = report.to_string();
        assert!(text.contains("REFUSED") && text.contains("silently lose 0xa to"), "{text}");
        assert!(report.to_json().contains("\"loses\":[\"0xa\","), "{}", report.to_json());
    }
}

#[test]
fn a_damaged_frame_around_a_whole_record_is_repaired_without_loss() {
    let whole = open(&apaches()).unwrap();
    let count = frames(&apaches().read(&path("log.1")).unwrap()).len();
    for record in [0, 9, count - 1] {
        for what in 0..4 {
            let disk = damage(&apaches(), |bytes, frames| {
                let (at, len) = frames[record];
                match what {
                    0 => bytes[at + 8..at + 12].fill(0),
                    1 => bytes[at + 8] = 0x7f,
                    2 => bytes[at + 11] ^= 1,
                    _ => bytes[at + len - 1] = 0,
                }
            });
            let (repaired, tree) = repair(&disk);
            assert_eq!((repaired.last, &repaired.cut), (whole.0.last, &None), "{record} {what}");
            assert!(matches!(&repaired.fixes[..], [fix] if fix.kind == FixKind::Frame));
            assert_eq!(tree, whole.1);
        }
    }
}

#[test]
fn a_damaged_payload_ends_history_before_it() {
    let disk = damage(&apaches(), |bytes, frames| bytes[frames[9].0 + 30] ^= 1);
    let (repaired, tree) = repair(&disk);
    assert_eq!((repaired.last, tree.last), (Zxid(9), Zxid(9)));
    assert!(repaired.to_string().contains("LOST: everything from"), "{repaired}");
    assert!(matches!(report(&disk).apache, Apache::Refuses { .. }));
}

/// Nothing stands behind the damage; the list knows that something did.
/// The others must not follow a member that may lack what it has acknowledged.
#[test]
fn the_copy_of_a_member_that_lost_something_has_no_vote() {
    let lossy = damage(&apaches(), |bytes, frames| bytes[frames[20].0 + 30] ^= 1);
    let member = lossy.fork();
    assert_eq!(repair(&lossy).0.word, Word::Whole, "nobody follows a server that is alone");
    member.plant(&path("currentEpoch"), b"1");
    let (repaired, _) = repair(&member);
    assert_eq!(repaired.word, Word::Incomplete);
    assert!(repaired.to_string().contains("it has no vote until"), "{repaired}");
    let to = DataDirs::new("/copy", None);
    assert_eq!(word(&member, &to).unwrap(), Word::Incomplete);

    let whole = apaches();
    whole.plant(&path("currentEpoch"), b"1");
    assert_eq!(repair(&whole).0.word, Word::Whole);
    let incomplete = apaches();
    note_incomplete(&incomplete, &dirs()).unwrap();
    let text = report(&incomplete).to_string();
    assert!(text.contains("member: as a member of an ensemble it has no vote"), "{text}");
    assert!(report(&incomplete).to_json().contains(r#""member":"as a member"#));
    assert_eq!(repair(&incomplete).0.word, Word::Incomplete);
}

#[test]
fn a_loss_at_the_end_is_told() {
    let disk = SimDisk::new(512);
    let mut server = Server::simulated(&disk).unwrap();
    for i in 0..5 {
        server.create().unwrap();
        if i == 1 {
            server.snapshot(SnapshotOptions::default()).unwrap();
        }
    }
    server.log.close().unwrap();
    let torn = damage(&disk, |bytes, frames| bytes[frames[4].0 + 30] ^= 1);
    let (repaired, _) = repair(&torn);
    assert_eq!(repaired.last, Zxid(4));
    assert!(repaired.to_string().contains("LOST: everything from"), "{repaired}");
    let (whole, _) = repair(&disk.fork());
    assert_eq!((whole.last, whole.cut), (Zxid(5), None));
    disk.remove(&path("log.1")).unwrap();
    let (repaired, _) = repair(&disk);
    assert!(repaired.cut.unwrap().2.contains("the log is missing"));
}

#[test]
fn damage_that_a_snapshot_covers_loses_nothing() {
    let disk = SimDisk::new(512);
    let mut server = Server::simulated(&disk).unwrap();
    for i in 0..20 {
        server.create().unwrap();
        if i == 9 {
            server.snapshot(SnapshotOptions::default()).unwrap();
        }
    }
    let tree = server.tree.clone();
    server.log.close().unwrap();
    let disk = damage(&disk, |bytes, frames| bytes[frames[4].0 + 30] ^= 1);
    assert!(open(&disk).is_err());
    let (repaired, saved) = repair(&disk);
    assert_eq!((repaired.last, &repaired.cut), (Zxid(20), &None));
    assert_eq!(saved, tree);
}

#[test]
fn case_g_a_poisoned_log_is_repaired_for_apache() {
    let disk = load(&testdata("apache-3.8.0/poisoned"));
    let before = report(&disk);
    assert!(matches!(&before.apache, Apache::Refuses { why } if why.contains("type 13")));
    let (repaired, tree) = repair(&disk);
    assert!(matches!(&repaired.fixes[..], [fix] if fix.kind == FixKind::BareCheck));
    assert_eq!(tree, open(&disk).unwrap().1);
    let copy = DataDirs::new("/copy", None);
    let after = examine(&disk, &copy, &RecoverOptions::default(), &mut Tree::default()).unwrap();
    assert_eq!(after.apache, Apache::Starts { last: repaired.last });
}

/// What Apache left, and what we left after a stop and after a kill.
fn all_kinds() -> [SimDisk; 3] {
    let ours = |is_ended: bool| {
        let disk = SimDisk::new(512);
        let mut server = Server::simulated(&disk).unwrap();
        server.snapshot(SnapshotOptions::default()).unwrap();
        for _ in 0..30 {
            server.create().unwrap();
        }
        if is_ended {
            server.log.close().unwrap();
        }
        disk.fork()
    };
    [apaches(), ours(true), ours(false)]
}

#[test]
fn the_records_behind_a_damaged_header_are_all_saved() {
    for disk in all_kinds() {
        let (whole, tree) = open(&disk).unwrap();
        for at in 0..16 {
            let disk = damage(&disk, |bytes, _| bytes[at] ^= 1);
            let RecoverError::Log(fault) = open(&disk).unwrap_err() else { panic!("byte {at}") };
            // What the file itself says was there, to the transaction.
            assert_eq!((fault.loss.safe, fault.loss.lost_to), (Zxid(0), Some(whole.last)));
            let (repaired, saved) = repair(&disk);
            assert_eq!((repaired.last, &repaired.cut), (whole.last, &None), "byte {at}");
            assert!(matches!(
                &repaired.fixes[..],
                [fix] if matches!(fix.kind, FixKind::Header(_)) && fix.zxid == whole.last
            ));
            assert_eq!(saved, tree, "byte {at}");
        }
    }
}

#[test]
fn a_header_and_more_behind_it_damaged_is_told_lost() {
    for disk in all_kinds() {
        let disk = damage(&disk, |bytes, frames| {
            bytes[0] = b'[';
            bytes[frames[9].0 + 30] ^= 1;
        });
        let (repaired, _) = repair(&disk);
        assert_eq!(repaired.last, Zxid(9));
        assert!(repaired.cut.is_some_and(|cut| cut.2.contains("checksum")));
    }
}

#[test]
fn a_log_of_which_nothing_is_left_is_told_lost() {
    let [apaches, ours @ ..] = all_kinds();
    for content in [&b""[..], &[0; 4096], b"ZKLG\0\0", &[0x55; 4096]] {
        for disk in &ours {
            let disk = disk.fork();
            disk.plant(&path("log.1"), content);
            let (repaired, _) = repair(&disk);
            assert_eq!(repaired.last, Zxid(0));
            assert!(repaired.to_string().contains("LOST: everything from"), "{repaired}");
        }
        let disk = apaches.fork();
        disk.plant(&path("log.1"), content);
        let (repaired, _) = repair(&disk);
        // A crash of Apache leaves an empty log before anything was acknowledged.
        let is_fresh = content.iter().all(|byte| *byte == 0);
        assert_eq!(repaired.cut.is_none(), is_fresh, "{repaired}");
        assert_eq!(open(&disk).is_ok(), is_fresh);
    }
}

/// Only the first of several faults is what recovery refuses.
#[test]
fn a_loss_behind_a_fault_that_is_repaired_is_told() {
    let disk = SimDisk::new(512);
    let mut server = Server::simulated(&disk).unwrap();
    server.snapshot(SnapshotOptions::default()).unwrap();
    for i in 0..20 {
        server.create().unwrap();
        if i == 9 {
            server.log.roll().unwrap();
        }
    }
    server.log.close().unwrap();
    let disk = damage(&disk, |bytes, frames| bytes[frames[4].0 + 8..][..4].fill(0));
    assert_eq!(repair(&disk.fork()).0.cut, None);
    let mut second = disk.read(&path("log.b")).unwrap();
    let (at, len) = frames(&second)[9];
    second[at..at + len].fill(0);
    disk.plant(&path("log.b"), &second);
    let (repaired, _) = repair(&disk);
    assert_eq!(repaired.last, Zxid(19));
    assert!(repaired.cut.unwrap().2.contains("it was durable up to"));
}

/// A record with a right checksum that is not what the tree went on with.
#[test]
fn what_does_not_fit_the_tree_ends_history_before_it() {
    let disk = damage(&apaches(), |bytes, frames| {
        let (at, len) = frames[4];
        let slash = bytes[at..at + len].windows(2).position(|pair| pair == b"/a").unwrap();
        bytes[at + slash + 1] = b'z';
        reseal(bytes, at);
    });
    let (repaired, _) = repair(&disk);
    assert_eq!(repaired.last, Zxid(4));
    assert!(repaired.cut.unwrap().2.contains("the tree digest after 0x5"));
}

/// Nothing proves that what an Apache's log ends with was never acknowledged.
#[test]
fn a_torn_end_of_apaches_is_told_and_one_behind_the_mark_is_not_lost() {
    let cut = |bytes: &mut Vec<u8>, frames: &[(usize, usize)]| {
        let (at, len) = *frames.last().unwrap();
        bytes.truncate(at + len - 5);
    };
    let disk = damage(&apaches(), cut);
    assert!(open(&disk).is_ok() && report(&disk).is_damaged());
    assert!(repair(&disk).0.cut.unwrap().2.contains("ends 5 bytes before the record"));
    let [_, ours @ ..] = all_kinds();
    for disk in ours {
        let torn = damage(&disk, |bytes, frames| {
            let ((begin, _), (at, len)) = (frames[3], *frames.last().unwrap());
            bytes.copy_within(begin..begin + 40, at + len);
        });
        let report = report(&torn);
        assert!(report.state.is_ok() && !report.is_damaged(), "{report}");
        assert_eq!(repair(&torn).0.cut, None);
    }
}

/// The name of a damaged snapshot is all that is left of what it held.
#[test]
fn a_damaged_snapshot_that_no_log_reaches_is_told_lost() {
    let disk = apaches();
    disk.plant(&path("snapshot.1000"), b"rubbish");
    let (repaired, _) = repair(&disk);
    assert_eq!(repaired.last, open(&apaches()).unwrap().0.last);
    assert!(repaired.cut.unwrap().2.contains("and no log goes up to 0x1000"));
}

/// A snapshot that holds a part of what is lost behind it is no state of the server; one from
/// before is, with the logs up to the damage.
#[test]
fn a_snapshot_that_is_ahead_of_what_is_left_is_passed_over() {
    let disk = SimDisk::new(512);
    let mut server = Server::simulated(&disk).unwrap();
    server.snapshot(SnapshotOptions::default()).unwrap();
    for _ in 0..9 {
        server.create().unwrap();
    }
    // Begun at 5 and ended at 9, as Apache's are.
    let (acls, nodes) = server.tree.encode();
    let digest = server.tree.compute_digest() as i64;
    let (shared, dir) = (server.disk.clone(), dirs().snapshots());
    let options = SnapshotOptions::default();
    let mut writer = SnapshotWriter::begin(shared, &dir, Zxid(5), options, &[], &acls).unwrap();
    writer.nodes(&nodes).unwrap();
    writer.finish(Some(ZxidDigest { zxid: 9, version: 2, digest })).unwrap();
    server.log.close().unwrap();
    assert_eq!(repair(&disk.fork()).0.snapshot, Zxid(5));
    let torn = damage(&disk, |bytes, frames| bytes[frames[6].0 + 30] ^= 1);
    let (repaired, tree) = repair(&torn);
    assert_eq!((repaired.snapshot, repaired.last), (Zxid(0), Zxid(6)));
    assert_eq!(tree.nodes.len(), 4 + 6);
    assert!(repaired.cut.unwrap().2.contains("checksum"));
    // Nothing older is there, and then nothing is.
    torn.remove(&path("snapshot.0")).unwrap();
    torn.rename(&path("log.1"), &path("log.2")).unwrap();
    let (shared, to): (Arc<dyn Disk>, _) = (Arc::new(torn), DataDirs::new("/other", None));
    let none = repair_copy(&shared, &dirs(), &to, &RecoverOptions::default(), &mut Tree::default());
    assert!(matches!(none, Err(RepairError::NotSound(RecoverError::SnapshotAhead { .. }))));
}

#[test]
fn duplicates_go_and_a_gap_ends_history() {
    let repeat = |bytes: &mut Vec<u8>, frames: &[(usize, usize)]| {
        let copy = bytes[frames[5].0..frames[6].0].to_vec();
        bytes.splice(frames[6].0..frames[6].0, copy);
    };
    let (repaired, tree) = repair(&damage(&apaches(), repeat));
    assert!(matches!(&repaired.fixes[..], [fix] if fix.kind == FixKind::Duplicate));
    assert_eq!(tree, open(&apaches()).unwrap().1);
    let remove = |bytes: &mut Vec<u8>, frames: &[(usize, usize)]| {
        drop(bytes.drain(frames[5].0..frames[6].0))
    };
    let (repaired, _) = repair(&damage(&apaches(), remove));
    assert_eq!(repaired.last, Zxid(5));
    assert!(repaired.cut.unwrap().2.contains("0x6 must"));
}

#[test]
fn without_any_snapshot_an_empty_one_is_made_for_a_log_from_the_beginning() {
    let disk = apaches();
    disk.remove(&path("snapshot.0")).unwrap();
    let (repaired, _) = repair(&disk);
    assert_eq!(repaired.snapshot, Zxid(0));
    disk.rename(&path("log.1"), &path("log.2")).unwrap();
    let shared: Arc<dyn Disk> = Arc::new(disk);
    let to = DataDirs::new("/other", None);
    assert!(matches!(
        repair_copy(&shared, &dirs(), &to, &RecoverOptions::default(), &mut Tree::default()),
        Err(RepairError::NothingToBuildOn(_))
    ));
}

/// Found by the fuzz target `snapshots`: its checksums are right, and yet no server loads it.
#[test]
fn a_snapshot_that_no_tree_takes_is_passed_over() {
    let disk = SimDisk::new(4096);
    let mut server = Server::simulated(&disk).unwrap();
    for _ in 0..3 {
        server.create().unwrap();
    }
    server.log.close().unwrap();
    let (shared, dir): (Arc<dyn Disk>, _) = (Arc::new(disk.clone()), dirs().snapshots());
    let (options, acls) = (SnapshotOptions::default(), 0i32.to_bytes());
    let mut writer = SnapshotWriter::begin(shared, &dir, Zxid(3), options, &[], &acls).unwrap();
    let stat = StatPersisted::default();
    writer.node(&NodeRecord { path: "".into(), data: None, acl_id: 7, stat }).unwrap();
    writer.finish(None).unwrap();
    let (repaired, tree) = repair(&disk);
    assert_eq!((repaired.snapshot, repaired.last), (Zxid(0), Zxid(3)));
    assert_eq!(tree.nodes.len(), 4 + 3);
}
