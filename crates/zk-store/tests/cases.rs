//! The table of RELIABILITY 2.2: what must become of damaged directories, Apache's and ours.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use support::{
    Server, Tree, create, dirs, entry, frames, load, open, open_with, path, reseal, set, testdata,
};
use zk_proto::snapshot::ZxidDigest;
use zk_proto::txn::TxnEntry;
use zk_proto::{Jute, Reader, Zxid};
use zk_store::disk::Disk;
use zk_store::log::{Damage, put_frame};
use zk_store::recover::{
    LogFault, Note, Overrides, RecoverError, RecoverOptions, Recovered, Void, Why,
};
use zk_store::sim::SimDisk;
use zk_store::snapshot::{SnapshotOptions, SnapshotWriter};

/// An empty snapshot and one log, as Apache wrote them.
fn apaches() -> SimDisk {
    let disk = load(&testdata("apache-3.8.0"));
    for entry in disk.list(&dirs().logs()).unwrap() {
        if !["snapshot.0", "log.1"].contains(&&*entry.name) {
            disk.remove(&path(&entry.name)).unwrap();
        }
    }
    disk
}

/// A snapshot and a log of 30 transactions of ours; with `end` it was shut down, else killed
/// before the last batch was in a mark.
fn ours(end: bool) -> SimDisk {
    let disk = SimDisk::new(512);
    let mut server = Server::simulated(&disk).unwrap();
    server.snapshot(SnapshotOptions::default()).unwrap();
    for _ in 0..30 {
        server.create().unwrap();
    }
    if end {
        server.log.close().unwrap();
    }
    disk.fork()
}

const LOG: &str = "log.1";

/// Changes the log's bytes; gives it where its frames are.
fn damage(disk: &SimDisk, change: impl FnOnce(&mut Vec<u8>, &[(usize, usize)])) -> SimDisk {
    let disk = disk.fork();
    let mut bytes = disk.read(&path(LOG)).unwrap();
    let frames = frames(&bytes);
    change(&mut bytes, &frames);
    disk.plant(&path(LOG), &bytes);
    disk
}

fn fault(disk: &SimDisk) -> Box<LogFault> {
    match open(disk) {
        Err(RecoverError::Log(fault)) => {
            let text = fault.to_string();
            for part in [LOG, "at byte", "safe: up to 0x", "lost: ", "zkfleet doctor"] {
                assert!(text.contains(part), "{part:?} is missing in: {text}");
            }
            fault
        }
        Err(other) => panic!("{other}"),
        Ok((recovered, _)) => panic!("accepted up to {}: {:?}", recovered.last, recovered.notes),
    }
}

fn accepted(disk: &SimDisk) -> (Recovered, Tree) {
    open(disk).unwrap_or_else(|error| panic!("{error}"))
}

fn overridden(disk: &SimDisk, overrides: Overrides) -> Recovered {
    let options = RecoverOptions { overrides, ..RecoverOptions::default() };
    let (recovered, _) = open_with(disk, &options).unwrap_or_else(|error| panic!("{error}"));
    assert!(recovered.notes.iter().any(|note| matches!(note, Note::Overridden(_))));
    recovered
}

#[test]
fn both_directories_are_whole_to_begin_with() {
    let (recovered, _) = accepted(&apaches());
    assert!(recovered.notes.is_empty());
    for end in [true, false] {
        let (recovered, tree) = accepted(&ours(end));
        assert_eq!((recovered.last, tree.nodes.len()), (Zxid(30), 34));
        assert!(recovered.notes.is_empty(), "{:?}", recovered.notes);
    }
}

#[test]
fn case_a_a_flipped_byte_in_the_middle_is_refused_with_its_range() {
    for disk in [apaches(), ours(true), ours(false)] {
        let last = accepted(&disk).0.last;
        let fault = fault(&damage(&disk, |bytes, frames| bytes[frames[9].0 + 30] ^= 1));
        assert!(matches!(fault.why, Why::Damage(Damage::Checksum { .. })));
        assert_eq!((fault.loss.safe, fault.loss.lost_to), (Zxid(9), Some(last)));
    }
}

#[test]
fn case_a2_in_the_last_record_the_mark_decides() {
    let flip =
        |bytes: &mut Vec<u8>, frames: &[(usize, usize)]| bytes[frames.last().unwrap().0 + 30] ^= 1;
    // Known to have been durable: refused.
    let known = fault(&damage(&ours(true), flip));
    assert_eq!((known.loss.safe, known.loss.lost_to), (Zxid(29), Some(Zxid(30))));
    // Behind the mark: a torn write.
    let (recovered, _) = accepted(&damage(&ours(false), flip));
    assert_eq!(recovered.last, Zxid(29));
    assert!(matches!(recovered.notes[..], [Note::TornTail { proven: true, .. }]));
    assert!(recovered.notes[0].to_string().contains("acknowledged since the last mark"));
    // Apache's log has no mark: refused, as Apache does, unless ordered otherwise.
    let disk = damage(&apaches(), flip);
    let last = fault(&disk).loss.safe;
    let cut = Overrides { cut_newest_log: true, ..Overrides::default() };
    assert_eq!(overridden(&disk, cut).last, last);
}

/// What is cut on an operator's order is kept, whole and beside it, and nothing is written over.
#[test]
fn a_log_that_is_cut_on_order_is_kept_as_it_was() {
    let cut = Overrides { cut_newest_log: true, ..Overrides::default() };
    let header = |bytes: &mut Vec<u8>, _: &[(usize, usize)]| bytes[0] = b'[';
    let zero = |bytes: &mut Vec<u8>, frames: &[(usize, usize)]| {
        bytes[frames[9].0 + 8..frames[9].0 + 12].fill(0);
    };
    for disk in [apaches(), ours(true), ours(false)] {
        for damaged in [damage(&disk, header), damage(&disk, zero)] {
            let text = fault(&damaged).to_string();
            assert!(text.contains("are whole: `zkfleet doctor DIR --repair-to NEW`"), "{text}");
            let (was, again) = (damaged.read(&path(LOG)).unwrap(), damaged.fork());
            let recovered = overridden(&damaged, cut);
            let is_told = |note: &Note| matches!(note, Note::Kept { kept, .. } if *kept == path("zkfleet.cut.log.1"));
            assert!(recovered.notes.iter().any(is_told), "{:?}", recovered.notes);
            recovered.settle(&damaged, &dirs()).unwrap();
            assert_eq!(damaged.read(&path("zkfleet.cut.log.1")).unwrap(), was);
            assert_eq!(accepted(&damaged).0.last, recovered.last, "nobody takes it for a log");
            again.plant(&path("zkfleet.cut.log.1"), b"earlier");
            overridden(&again, cut).settle(&again, &dirs()).unwrap();
            assert_eq!(again.read(&path("zkfleet.cut.log.1")).unwrap(), b"earlier");
            assert_eq!(again.read(&path("zkfleet.cut.log.1.2")).unwrap(), was);
        }
    }
    // What a crash leaves is cut at any start, and not kept.
    let torn = damage(&ours(false), |bytes, frames| bytes[frames.last().unwrap().0 + 30] ^= 1);
    accepted(&torn).0.settle(&torn, &dirs()).unwrap();
    assert!(torn.read(&path("zkfleet.cut.log.1")).is_err());
}

/// Wherever a crash comes, the log is there as it was, or its copy is.
#[test]
fn a_crash_while_a_log_is_cut_on_order_loses_none_of_it() {
    let cut = Overrides { cut_newest_log: true, ..Overrides::default() };
    let mut is_done = false;
    for calls in 0.. {
        let disk = damage(&ours(true), |bytes, frames| bytes[frames[9].0 + 30] ^= 1);
        let was = disk.read(&path(LOG)).unwrap();
        let recovered = overridden(&disk, cut);
        disk.cut_power_at(calls);
        is_done |= recovered.settle(&disk, &dirs()).is_ok();
        disk.crash_states(50, calls, |after| {
            let kept = after.read(&path("zkfleet.cut.log.1"));
            assert!(kept.is_ok() || after.read(&path(LOG)).unwrap() == was, "call {calls}");
            assert!(kept.is_err() || kept.unwrap() == was, "call {calls}");
        });
        if is_done {
            break;
        }
    }
}

#[test]
fn case_b_a_cut_or_zeroed_last_record_is_missed_when_it_was_durable() {
    let zero = |bytes: &mut Vec<u8>, frames: &[(usize, usize)]| {
        let (at, len) = *frames.last().unwrap();
        bytes[at..at + len].fill(0);
    };
    let cut = |bytes: &mut Vec<u8>, frames: &[(usize, usize)]| {
        let (at, len) = *frames.last().unwrap();
        bytes.truncate(at + len - 5);
    };
    let known = fault(&damage(&ours(true), zero));
    assert!(matches!(known.why, Why::BeforeMark { zxid: Zxid(30), .. }), "{known}");
    assert_eq!((known.loss.safe, known.loss.lost_to), (Zxid(29), Some(Zxid(30))));
    let cut_off = fault(&damage(&ours(true), cut)).why;
    assert!(matches!(cut_off, Why::Damage(Damage::Cut { missing: 5 })), "{cut_off}");
    let unmarked = fault(&damage(&ours(false), cut));
    assert!(matches!(unmarked.why, Why::NoMark), "{unmarked}");
    assert_eq!(unmarked.loss.safe, Zxid(29), "what can be read is safe without its mark too");
    assert_eq!(accepted(&damage(&ours(false), zero)).0.last, Zxid(29), "it was never in a mark");
    // Apache accepts both silently. A cut record is told; a zeroed one leaves no trace at all.
    let whole = accepted(&apaches()).0.last;
    let (recovered, _) = accepted(&damage(&apaches(), cut));
    assert_eq!(recovered.last.0, whole.0 - 1);
    assert!(matches!(recovered.notes[..], [Note::TornTail { proven: false, .. }]));
    assert!(recovered.notes[0].to_string().contains("nothing proves"));
}

#[test]
fn case_c_a_zeroed_length_is_found_by_what_stands_behind() {
    let zero = |bytes: &mut Vec<u8>, frames: &[(usize, usize)]| {
        bytes[frames[9].0 + 8..frames[9].0 + 12].fill(0);
    };
    for (disk, marked) in [(apaches(), false), (ours(true), true), (ours(false), true)] {
        let last = accepted(&disk).0.last;
        let fault = fault(&damage(&disk, zero));
        match fault.why {
            Why::Behind(beyond) => assert!(!marked && beyond.first.unwrap().1 == Zxid(11)),
            Why::BeforeMark { .. } => assert!(marked),
            ref other => panic!("{other}"),
        }
        assert_eq!((fault.loss.safe, fault.loss.lost_to), (Zxid(9), Some(last)));
    }
    // Nothing but the torn record behind: still not silent.
    let fault = fault(&damage(&apaches(), |bytes, frames| {
        let at = frames.last().unwrap().0;
        bytes[at + 8..at + 12].fill(0);
    }));
    assert!(matches!(fault.why, Why::Behind(beyond) if beyond.records == 0));
}

#[test]
fn case_c_a_wrong_end_of_record_in_the_middle_is_refused() {
    for disk in [apaches(), ours(true)] {
        let fault = fault(&damage(&disk, |bytes, frames| bytes[frames[9].0 + frames[9].1 - 1] = 0));
        assert!(matches!(fault.why, Why::Damage(Damage::EndOfRecord(0))));
        assert_eq!(fault.loss.safe, Zxid(9));
    }
}

#[test]
fn case_c2_an_absurd_length_is_refused_without_allocating_it() {
    for length in [i32::MAX, -1, i32::MIN, 0x0100_0000] {
        for disk in [apaches(), ours(true)] {
            let fault = fault(&damage(&disk, |bytes, frames| {
                bytes[frames[9].0 + 8..frames[9].0 + 12].copy_from_slice(&length.to_be_bytes());
            }));
            assert!(matches!(fault.why, Why::Damage(Damage::Length(found)) if found == length));
        }
    }
}

#[test]
fn case_d_a_damaged_snapshot_falls_back_to_an_older_one_and_is_told() {
    let disk = load(&testdata("apache-3.8.0"));
    let whole = accepted(&disk).1;
    let mut names: Vec<String> =
        disk.list(&dirs().snapshots()).unwrap().into_iter().map(|entry| entry.name).collect();
    names.retain(|name| name.starts_with("snapshot.") && name != "snapshot.0");
    for name in &names {
        let mut bytes = disk.read(&path(name)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        disk.plant(&path(name), &bytes);
    }
    let (recovered, tree) = accepted(&disk);
    assert_eq!(tree, whole);
    assert_eq!(recovered.notes.len(), names.len());
    assert!(recovered.notes.iter().all(|note| matches!(note, Note::DamagedSnapshot(_))));
    // Without the logs behind it the older snapshot is not enough: history went further.
    for name in disk.list(&dirs().logs()).unwrap().iter().filter(|e| e.name.starts_with("log.")) {
        disk.remove(&path(&name.name)).unwrap();
    }
    assert!(matches!(open(&disk), Err(RecoverError::SnapshotAhead { reached: Zxid(0), .. })));
}

#[test]
fn case_d_without_any_whole_snapshot_only_a_log_from_the_beginning_helps() {
    let disk = apaches();
    disk.plant(&path("snapshot.0"), b"rubbish");
    let (recovered, _) = accepted(&disk);
    assert!(matches!(recovered.notes[..], [Note::DamagedSnapshot(_)]));
    disk.rename(&path(LOG), &path("log.2")).unwrap();
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, RecoverError::NoValidSnapshot { tried: 1, .. }));
    assert!(error.to_string().contains("snapshot.0"));
}

#[test]
fn case_e_a_missing_snapshot_is_rebuilt_only_from_the_first_transaction() {
    let disk = apaches();
    disk.remove(&path("snapshot.0")).unwrap();
    assert_eq!(accepted(&disk).1.last, accepted(&apaches()).1.last);
    let without_beginning = damage(&disk, |bytes, frames| {
        bytes.drain(frames[0].0..frames[1].0);
    });
    // The name alone does not make it the beginning.
    assert!(matches!(fault(&without_beginning).why, Why::Gap { expected: Zxid(1), .. }));
    without_beginning.rename(&path(LOG), &path("log.2")).unwrap();
    let error = open(&without_beginning).unwrap_err();
    assert!(matches!(error, RecoverError::NoSnapshot { first: Zxid(2), .. }));
    let overrides = Overrides { trust_empty: true, ..Overrides::default() };
    let trust = RecoverOptions { overrides, ..RecoverOptions::default() };
    let (recovered, _) = open_with(&without_beginning, &trust).unwrap();
    assert!(matches!(recovered.notes[0], Note::NoBeginning { first: Zxid(2), .. }));
}

#[test]
fn case_f_a_missing_log_is_refused_unless_ordered() {
    let missing = Overrides { missing_log: true, ..Overrides::default() };
    // Apache's: a snapshot of something, and no log at all.
    let disk = load(&testdata("apache-3.8.0"));
    for entry in disk.list(&dirs().logs()).unwrap() {
        if entry.name.starts_with("log.") {
            disk.remove(&path(&entry.name)).unwrap();
        }
    }
    assert!(matches!(open(&disk), Err(RecoverError::MissingLog { .. })));
    assert!(overridden(&disk, missing).last > Zxid(0x1c));
    // Ours: the list of logs misses it, even behind a snapshot of zxid 0.
    for end in [true, false] {
        let disk = ours(end);
        disk.remove(&path(LOG)).unwrap();
        let error = open(&disk).unwrap_err();
        assert!(matches!(error, RecoverError::MissingLog { .. }), "{error}");
        assert_eq!(error.to_string().contains("0x1 to 0x1e"), end, "{error}");
        assert_eq!(overridden(&disk, missing).last, Zxid(0));
    }
}

/// Logs 1, 6, b and 10, and snapshots 5, a and f; the last txn is 0x10.
fn with_several_logs() -> (SimDisk, Server) {
    let disk = SimDisk::new(512);
    let mut server = Server::simulated(&disk).unwrap();
    for _ in 0..3 {
        for _ in 0..5 {
            server.create().unwrap();
        }
        server.log.roll().unwrap();
        server.snapshot(SnapshotOptions::default()).unwrap();
    }
    server.create().unwrap();
    (disk, server)
}

#[test]
fn case_f_the_newest_of_several_logs_is_missed_and_purged_ones_are_not() {
    let (disk, server) = with_several_logs();
    drop(server);
    let newest = disk.fork();
    newest.remove(&path("log.10")).unwrap();
    assert!(matches!(open(&newest), Err(RecoverError::MissingLog { .. })));
    let purged = disk.fork();
    for name in ["log.1", "log.6", "snapshot.5", "snapshot.a"] {
        purged.remove(&path(name)).unwrap();
    }
    assert_eq!(accepted(&purged).0.last, Zxid(16));
    assert!(accepted(&purged).0.notes.is_empty());
}

/// Without a list of ours the snapshot says how far logs must go: Apache logs a txn before it can
/// be in a snapshot.
#[test]
fn case_f_logs_that_end_before_the_snapshot_are_refused_unless_ordered() {
    let (disk, server) = with_several_logs();
    server.log.close().unwrap();
    for entry in disk.list(&dirs().logs()).unwrap() {
        if entry.name.starts_with("zkfleet") {
            disk.remove(&path(&entry.name)).unwrap();
        }
    }
    assert_eq!(accepted(&disk).0.last, Zxid(16));
    let without = |names: &[&str]| {
        let disk = disk.fork();
        names.iter().for_each(|name| disk.remove(&path(name)).unwrap());
        disk
    };
    // The log behind the snapshot proves that nothing is missing in front of it.
    assert_eq!(accepted(&without(&["log.1", "log.6", "log.b"])).0.last, Zxid(16));
    let behind = without(&["log.b", "log.10"]);
    let error = open(&behind).unwrap_err();
    let want = (Some(Zxid(10)), Zxid(15));
    assert!(
        matches!(error, RecoverError::LogsBehind { reached, snapshot, .. } if (reached, snapshot) == want),
        "{error}"
    );
    assert!(error.to_string().contains("safe: up to 0xf; lost: what came after"), "{error}");
    let missing = Overrides { missing_log: true, ..Overrides::default() };
    assert_eq!(overridden(&behind, missing).last, Zxid(15));
}

#[test]
fn case_i_a_missing_record_is_refused_although_all_checksums_hold() {
    for disk in [apaches(), ours(true), ours(false)] {
        let disk = damage(&disk, |bytes, frames| {
            let ((at, len), (last, last_len)) = (frames[9], *frames.last().unwrap());
            bytes.copy_within(at + len..last + last_len, at);
            bytes[last + last_len - len..last + last_len].fill(0);
        });
        let fault = fault(&disk);
        let (expected, found) = (Zxid(10), Zxid(11));
        assert!(
            matches!(fault.why, Why::Gap { after: Zxid(9), expected: e, found: f } if (e, f) == (expected, found))
        );
        assert_eq!((fault.loss.safe, fault.loss.lost_to), (Zxid(9), Some(Zxid(10))));
    }
}

#[test]
fn case_i_a_gap_between_files_and_at_an_epochs_beginning_is_seen_too() {
    let log = |names: &[(&str, &[i64])]| {
        let disk = SimDisk::new(512);
        disk.plant(
            &path("snapshot.0"),
            &load(&testdata("apache-3.8.0")).read(&path("snapshot.0")).unwrap(),
        );
        for (name, zxids) in names {
            let mut bytes = b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0".to_vec();
            for zxid in *zxids {
                let mut frame = Vec::new();
                put_frame(&mut frame, &entry(*zxid, create(&format!("/{zxid}"), b"", 1), None));
                bytes.extend(frame);
            }
            disk.plant(&path(name), &bytes);
        }
        disk
    };
    let (e1, e2) = (1 << 32, 2i64 << 32);
    assert_eq!(accepted(&log(&[("log.1", &[1, 2]), ("log.3", &[3])])).0.last, Zxid(3));
    let first = [e1 + 1, e1 + 2];
    assert_eq!(
        accepted(&log(&[("log.100000001", &first), ("log.200000001", &[e2 + 1])])).0.last,
        Zxid(e2 + 1)
    );
    for (name, zxids) in [("log.4", vec![4]), ("log.100000002", vec![e1 + 2])] {
        let disk = log(&[("log.1", &[1, 2]), (name, &zxids)]);
        let Err(RecoverError::Log(fault)) = open(&disk) else { panic!("{name}") };
        assert!(matches!(fault.why, Why::Gap { after: Zxid(2), .. }), "{fault}");
        assert!(fault.file.ends_with(name));
        let gaps = Overrides { gaps: true, ..Overrides::default() };
        assert_eq!(overridden(&disk, gaps).last, Zxid(*zxids.last().unwrap()));
    }
}

#[test]
fn case_i_a_record_with_other_content_is_found_by_the_digest() {
    for disk in [apaches(), ours(false)] {
        let disk = damage(&disk, |bytes, frames| {
            // Another byte of a created znode's name, with a right checksum.
            let (at, len) = frames[4];
            let slash =
                bytes[at..at + len].windows(2).position(|w| w == b"/a" || w == b"/n").unwrap();
            bytes[at + slash + 1] = b'z';
            reseal(bytes, at);
        });
        let fault = fault(&disk);
        assert!(matches!(fault.why, Why::Digest(_)), "{fault}");
        let digest = Overrides { digest: true, ..Overrides::default() };
        overridden(&disk, digest);
    }
}

#[test]
fn case_j_a_repeated_record_is_accepted_only_if_it_is_the_same() {
    let repeat = |bytes: &mut Vec<u8>, frames: &[(usize, usize)], first: usize, count: usize| {
        let (from, to) = (frames[first].0, frames[first + count].0);
        let copy = bytes[from..to].to_vec();
        bytes.splice(to..to, copy);
    };
    for count in [1, 5] {
        let whole = accepted(&apaches());
        let (recovered, tree) =
            accepted(&damage(&apaches(), |bytes, frames| repeat(bytes, frames, 5, count)));
        assert_eq!(tree, whole.1);
        assert_eq!(recovered.notes.len(), count);
        assert!(recovered.notes.iter().all(|note| matches!(note, Note::Duplicate { .. })));
        let other = damage(&apaches(), |bytes, frames| {
            repeat(bytes, frames, 5, count);
            let at = frames[5 + count].0;
            // Its time.
            bytes[at + 37] ^= 1;
            reseal(bytes, at);
        });
        assert!(matches!(fault(&other).why, Why::Conflict { .. }));
    }
}

#[test]
fn case_k_a_log_of_another_ensemble_is_refused() {
    for disk in [apaches(), ours(true)] {
        let error = open(&damage(&disk, |bytes, _| bytes[15] = 7)).unwrap_err();
        assert!(error.to_string().contains("database 0x7"), "{error}");
    }
}

/// The records behind a header and the mark behind them say what there was.
#[test]
fn a_damaged_header_is_refused_with_the_range_of_its_log() {
    for (disk, last) in [(apaches(), accepted(&apaches()).0.last), (ours(true), Zxid(30))] {
        for at in 0..16 {
            let fault = fault(&damage(&disk, |bytes, _| bytes[at] ^= 1));
            assert!(matches!(fault.why, Why::Header(_)), "byte {at}: {fault}");
            assert_eq!((fault.loss.safe, fault.loss.lost_to), (Zxid(0), Some(last)), "byte {at}");
        }
    }
    // Nothing but the list of logs, or nothing but the mark.
    let blank = |bytes: &mut Vec<u8>, _: &[(usize, usize)]| bytes.fill(0);
    assert_eq!(fault(&damage(&ours(true), blank)).loss.lost_to, Some(Zxid(30)));
    let records = |bytes: &mut Vec<u8>, _: &[(usize, usize)]| {
        let slots = bytes.len() - 8192;
        bytes[..slots].fill(0);
        bytes[0] = 1;
    };
    assert_eq!(fault(&damage(&ours(false), records)).loss.lost_to, Some(Zxid(29)));
}

#[test]
fn an_empty_or_blank_newest_log_of_apaches_is_what_a_crash_leaves() {
    for content in [&b""[..], &[0; 65552]] {
        let disk = apaches();
        let last = accepted(&disk).0.last;
        let name = format!("log.{:x}", last.0 + 1);
        disk.plant(&path(&name), content);
        let (recovered, _) = accepted(&disk);
        assert_eq!(recovered.last, last);
        assert!(matches!(recovered.notes[..], [Note::EmptyLog(_)]));
        recovered.settle(&disk, &dirs()).unwrap();
        assert!(disk.read(&path(&name)).is_err(), "Apache 3.8 would not start on it");
    }
    let disk = ours(false);
    disk.plant(&path(LOG), b"");
    assert!(matches!(fault(&disk).why, Why::Header(_)), "ours never looks so");
}

#[test]
fn a_snapshot_that_is_ahead_of_the_log_is_refused() {
    // Fuzzy: it holds the digest of a later transaction, which no log has.
    let disk = apaches();
    let mut server = Server::simulated(&SimDisk::new(512)).unwrap();
    server.create().unwrap();
    let ahead = server.snapshot(SnapshotOptions::default()).unwrap();
    let bytes = server.disk.open(&ahead, zk_store::disk::Access::Read).unwrap();
    let mut content = vec![0; bytes.len().unwrap() as usize];
    bytes.read_at(&mut content, 0).unwrap();
    disk.remove(&path(LOG)).unwrap();
    disk.plant(&path("snapshot.0"), &content);
    assert!(matches!(
        open(&disk),
        Err(RecoverError::SnapshotAhead { needs: Zxid(1), reached: Zxid(0), .. })
    ));
}

#[test]
fn strays_are_told_and_not_read() {
    let disk = apaches();
    disk.plant(&path("log.1.fixed"), b"rubbish");
    disk.plant(&path("snapshot.ffff.bak"), b"rubbish");
    let (recovered, _) = accepted(&disk);
    assert_eq!(recovered.notes.len(), 2);
    assert!(recovered.notes.iter().all(|note| matches!(note, Note::Stray(_))));
}

#[test]
fn a_new_directory_is_new_and_damaged_manifests_are_told() {
    let disk = SimDisk::new(512);
    disk.create_dir_all(&dirs().logs()).unwrap();
    let (recovered, tree) = accepted(&disk);
    assert!(recovered.is_new && recovered.notes.is_empty());
    assert_eq!(tree, Tree::default());
    let disk = ours(true);
    disk.plant(&path("zkfleet.logs"), b"rubbish");
    let (recovered, _) = accepted(&disk);
    assert!(matches!(recovered.notes[..], [Note::DamagedManifest(_)]));
    assert_eq!(recovered.last, Zxid(30));
    // The mark in the log itself still counts.
    let zero = |bytes: &mut Vec<u8>, frames: &[(usize, usize)]| {
        bytes[frames[9].0 + 8..frames[9].0 + 12].fill(0);
    };
    assert!(matches!(fault(&damage(&disk, zero)).why, Why::BeforeMark { .. }));
}

#[test]
fn r3_a_foreign_file_makes_the_marks_void() {
    let disk = ours(true);
    let snapshot = apaches().read(&path("snapshot.0")).unwrap();
    disk.plant(&path("snapshot.0.gz"), &snapshot);
    let (recovered, _) = accepted(&disk);
    assert!(
        recovered.notes.iter().any(|note| matches!(note, Note::Void(Void::ForeignSnapshot(_)))),
        "{:?}",
        recovered.notes
    );
    // Apache's rules apply then: the zeroed last record is not missed any more.
    let cut = damage(&disk, |bytes, frames| {
        let (at, len) = *frames.last().unwrap();
        bytes[at..at + len].fill(0);
    });
    assert_eq!(accepted(&cut).0.last, Zxid(29));
    // Taken over, the directory is ours again.
    accepted(&disk).0.settle(&disk, &dirs()).unwrap();
    assert!(!accepted(&disk).0.notes.iter().any(|note| matches!(note, Note::Void(_))));
}

#[test]
fn a_fuzzy_snapshot_is_exact_from_where_it_says_and_is_checked_there() {
    // Begun at 5, ended at 9, as Apache writes them: what came between is in it and comes again.
    let fuzzy = |content: usize, is_whole: bool, digest_of: usize| {
        let disk = SimDisk::new(512);
        let mut server = Server::simulated(&disk).unwrap();
        let mut trees = vec![server.tree.clone()];
        for _ in 0..12 {
            server.create().unwrap();
            trees.push(server.tree.clone());
        }
        let mut image = trees[content].clone();
        if !is_whole {
            // What came before the snapshot does not come again.
            let lost = entry(4, set("/n000001", b"else", 1), None);
            image.apply(&TxnEntry::read(&mut Reader::new(&lost)).unwrap());
        }
        let (acls, nodes) = image.encode();
        let digest = trees[digest_of].compute_digest() as i64;
        let digest = ZxidDigest { zxid: 9, version: 2, digest };
        let shared = server.disk.clone();
        let options = SnapshotOptions::default();
        let begun =
            SnapshotWriter::begin(shared, &dirs().snapshots(), Zxid(5), options, &[], &acls);
        let mut writer = begun.unwrap();
        writer.nodes(&nodes).unwrap();
        writer.finish(Some(digest)).unwrap();
        (disk.fork(), trees)
    };
    // Apache may note the digest a txn too early: the log's own digests prove the tree.
    for (content, digest_of) in [(9, 9), (9, 8), (10, 9)] {
        let (disk, trees) = fuzzy(content, true, digest_of);
        let (recovered, tree) = accepted(&disk);
        assert_eq!((recovered.last, recovered.txns, &tree), (Zxid(12), 7, &trees[12]));
        let is_early = |note: &Note| matches!(note, Note::EarlyDigest { .. });
        assert_eq!(recovered.notes.len(), usize::from(content != digest_of));
        assert!(recovered.notes.iter().all(is_early));
    }
    for content in [9, 10] {
        let wrong = open(&fuzzy(content, false, 9).0).map(|(recovered, _)| recovered.last);
        let Err(RecoverError::SnapshotDigest { mismatch, .. }) = wrong else { panic!("{wrong:?}") };
        assert_eq!(mismatch.zxid, Zxid(9));
    }
}
