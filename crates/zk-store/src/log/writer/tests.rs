//! Writing logs: room, marks, rolling, failures.

use super::super::current::ZERO_STEP_MAX;
use super::super::frame::{FRAME_HEAD, put_frame};
use super::super::mark::Mark;
use super::super::reader::{LogReader, OpenLog, Step};
use super::*;
use crate::disk::Access;
use crate::manifest::Loaded;
use crate::sim::{EIO, EMFILE, ENOSPC, Op, SimDisk};
use crate::testing;
use std::path::Path;

fn dir() -> &'static Path {
    Path::new("/log")
}

fn disk() -> SimDisk {
    let disk = SimDisk::new(512);
    disk.create_dir_all(dir()).unwrap();
    disk
}

fn small() -> LogOptions {
    LogOptions { extent_bytes: 128 << 10, force_sync: true, reserve_bytes: 0 }
}

fn writer(disk: &SimDisk, options: LogOptions) -> LogWriter {
    let disk = Arc::new(disk.clone());
    LogWriter::new(disk, dir().into(), options, Zxid(0), Manifest::default()).unwrap()
}

fn frames(zxids: std::ops::RangeInclusive<i64>, data: usize) -> Vec<u8> {
    let mut frames = Vec::new();
    for zxid in zxids {
        put_frame(&mut frames, &testing::set_data(zxid, &vec![7; data]));
    }
    frames
}

/// The zxids of a log, its mark, and how reading ends.
fn read(disk: &SimDisk, name: i64) -> (Vec<i64>, Mark) {
    let path = dir().join(Name::Log(Zxid(name)).to_string());
    let OpenLog::Log(mut reader) = LogReader::open(disk, &path, Zxid(name)).unwrap() else {
        panic!("not a log");
    };
    let mut zxids = Vec::new();
    while let Step::Record(record) = reader.step().unwrap() {
        zxids.push(record.zxid.0);
    }
    assert_eq!(reader.step().unwrap(), Step::End);
    (zxids, reader.mark().expect("a log of ours has a mark"))
}

#[test]
fn a_batch_is_durable_and_the_mark_follows_one_batch_behind() {
    let disk = disk();
    let mut log = writer(&disk, small());
    assert_eq!(log.commit(&[]).unwrap(), None);
    let first = log.commit(&frames(1..=3, 10)).unwrap().unwrap();
    assert_eq!((first.zxid, first.records), (Zxid(3), 3));
    assert_eq!(read(&disk, 1).1.zxid, Zxid(0));
    log.commit(&frames(4..=4, 10)).unwrap();
    let (zxids, mark) = read(&disk, 1);
    assert_eq!((zxids, mark.zxid), (vec![1, 2, 3, 4], Zxid(3)));
    assert!(!disk.has_unsynced());
    assert!(log.complete_mark().unwrap());
    assert!(!log.complete_mark().unwrap(), "it is complete");
    assert_eq!(read(&disk, 1).1.zxid, Zxid(4));
}

#[test]
fn unmarked_commits_leave_the_mark_and_what_zeros_it_tells_of() {
    let disk = disk();
    let mut log = writer(&disk, LogOptions { extent_bytes: 4 << 20, ..small() });
    log.commit(&frames(1..=1, 10)).unwrap();
    for zxid in 2..=3000 {
        log.commit_unmarked(&frames(zxid..=zxid, 200)).unwrap();
        log.zero_ahead().unwrap();
        let mark = read_mark(&disk);
        let current = log.current.as_ref().unwrap();
        assert!(current.written.end + FRAME_HEAD as u64 <= mark.zeroed_to, "{zxid}");
        assert_eq!(current.zeroed_to, mark.zeroed_to);
    }
    assert!(log.complete_mark().unwrap());
    assert_eq!(read(&disk, 1).1.zxid, Zxid(3000));
}

#[test]
fn a_commit_is_two_writes_and_one_sync() {
    let disk = disk();
    let mut log = writer(&disk, small());
    log.commit(&frames(1..=1, 10)).unwrap();
    let before = (disk.calls(), disk.calls_of(Op::Write), disk.calls_of(Op::Sync));
    log.commit(&frames(2..=5, 10)).unwrap();
    let after = (disk.calls(), disk.calls_of(Op::Write), disk.calls_of(Op::Sync));
    assert_eq!(after, (before.0 + 3, before.1 + 2, before.2 + 1));
}

#[test]
fn records_are_written_over_zeros_that_a_mark_has_told_of() {
    let disk = disk();
    let mut log = writer(&disk, LogOptions { extent_bytes: 4 << 20, ..small() });
    let mut zeroed = 0;
    for zxid in 1..=3000 {
        log.commit(&frames(zxid..=zxid, 200)).unwrap();
        log.zero_ahead().unwrap();
        let current = log.current.as_ref().unwrap();
        assert!(current.zeros_to - current.written.end < 2 * ZERO_STEP_MAX, "in steps");
        zeroed = zeroed.max(read_mark(&disk).zeroed_to);
        assert!(current.written.end + FRAME_HEAD as u64 <= zeroed);
    }
    assert!(zeroed >= 3000 * 200);
    // A batch larger than what was zeroed makes its own room first.
    log.commit(&frames(3001..=3001, 900_000)).unwrap();
    assert_eq!(read(&disk, 1).0.len(), 3001);
}

fn read_mark(disk: &SimDisk) -> Mark {
    let file = disk.open(&dir().join("log.1"), Access::Read).unwrap();
    Mark::read(&*file, Zxid(1)).unwrap().unwrap()
}

#[test]
fn a_file_that_ends_leaves_nothing_for_a_later_sync() {
    let disk = disk();
    let mut log = writer(&disk, small());
    log.commit(&frames(1..=1, 100_000)).unwrap();
    // Its mark goes to the file that has no room for it.
    log.commit(&frames(2..=2, 100_000)).unwrap();
    assert!(!disk.has_unsynced());
    assert_eq!(read(&disk, 1).1.zxid, Zxid(1));
}

#[test]
fn a_full_extent_or_a_roll_begins_the_next_file() {
    let disk = disk();
    let mut log = writer(&disk, small());
    for zxid in 1..=40 {
        log.commit(&frames(zxid..=zxid, 10_000)).unwrap();
    }
    log.roll().unwrap();
    log.roll().unwrap();
    log.commit(&frames(41..=41, 10)).unwrap();
    log.close().unwrap();
    let Loaded::Manifest(manifest) = Manifest::load(&disk, dir(), manifest::LOGS).unwrap() else {
        panic!("no manifest");
    };
    let mut all = Vec::new();
    let mut names: Vec<_> = manifest.iter().map(|(name, seal)| (name.to_owned(), seal)).collect();
    names.sort_by_key(|(name, _)| i64::from_str_radix(&name[4..], 16).unwrap());
    for (name, seal) in &names {
        let first = i64::from_str_radix(&name[4..], 16).unwrap();
        let (zxids, mark) = read(&disk, first);
        assert_eq!(zxids[0], first);
        assert_eq!(mark.zxid.0, *zxids.last().unwrap(), "the mark of an ended file is complete");
        assert!(matches!(seal, Seal::Closed { zxid, .. } if *zxid == mark.zxid));
        all.extend(zxids);
    }
    assert_eq!(all, (1..=41).collect::<Vec<_>>());
    assert!(names.len() >= 4);
}

#[test]
fn a_record_larger_than_the_extent_gets_a_file_of_its_size() {
    let disk = disk();
    let mut log = writer(&disk, small());
    log.commit(&frames(1..=1, 900_000)).unwrap();
    log.commit(&frames(2..=2, 10)).unwrap();
    assert_eq!(read(&disk, 1).0, [1, 2]);
}

#[test]
fn after_a_failed_call_nothing_is_logged_any_more() {
    // A write, a mark, a sync; a sync that fails for want of space is no better.
    for (call, errno) in [(0, EIO), (1, EIO), (2, EIO), (2, ENOSPC)] {
        let disk = disk();
        let mut log = writer(&disk, small());
        log.commit(&frames(1..=1, 10)).unwrap();
        disk.fail(call, errno);
        assert!(matches!(log.commit(&frames(2..=2, 10)), Err(LogError::File(_))));
        let calls = disk.calls();
        assert!(matches!(log.commit(&frames(3..=3, 10)), Err(LogError::Poisoned)));
        assert!(matches!(log.complete_mark(), Err(LogError::Poisoned)));
        assert!(matches!(log.close(), Err(LogError::Poisoned)));
        assert_eq!(disk.calls(), calls, "the disk was not asked again");
    }
}

#[test]
fn nothing_is_acknowledged_that_is_written_to_a_file_that_is_gone() {
    let path = dir().join(Name::Log(Zxid(1)).to_string());
    for is_rolled in [false, true] {
        let disk = disk();
        let mut log = writer(&disk, small());
        log.commit(&frames(1..=1, 10)).unwrap();
        disk.remove(&path).unwrap();
        let result = match is_rolled {
            false => log.commit(&frames(2..=2, 10)).map(drop),
            true => log.roll(),
        };
        let text = result.unwrap_err().to_string();
        assert!(text.starts_with("cannot find /log/log.1: "), "{text}");
        assert!(text.contains("removed or moved"), "{text}");
        assert!(matches!(log.commit(&frames(2..=2, 10)), Err(LogError::Poisoned)));
    }
}

#[test]
fn a_next_file_that_cannot_be_opened_may_be_tried_again() {
    let begin = || {
        let disk = disk();
        let mut log = writer(&disk, small());
        log.commit(&frames(1..=1, 100_000)).unwrap();
        (disk, log)
    };
    let calls = {
        let (disk, mut log) = begin();
        let before = disk.calls();
        log.commit(&frames(2..=3, 40_000)).unwrap();
        disk.calls() - before
    };
    let mut again = 0;
    for call in 0..calls {
        let (disk, mut log) = begin();
        let opens = |disk: &SimDisk| disk.calls_of(Op::Open) + disk.calls_of(Op::SyncDir);
        let before = opens(&disk);
        disk.fail(call, EMFILE);
        let outcome = log.commit(&frames(2..=3, 40_000));
        let was_open = opens(&disk) > before;
        match outcome {
            // The list of a directory, which can wait.
            Ok(_) => {}
            Err(LogError::NoDescriptor(_)) => {
                assert!(was_open, "call {call}: nothing was opened yet");
                assert!(!log.is_poisoned() && !log.is_disk_full());
                // The file before is whole and says so, and nothing of the batch is anywhere.
                assert_eq!(read(&disk, 1), (vec![1], read_mark(&disk)), "call {call}");
                assert_eq!(read_mark(&disk).zxid, Zxid(1));
                let next = disk.fork();
                if next.read(&dir().join("log.2")).is_ok() {
                    assert_eq!(read(&next, 2).0, [], "call {call}");
                }
                log.commit(&frames(2..=3, 40_000)).unwrap();
                again += 1;
            }
            // Into the file before, or a sync: no want of descriptors can come there.
            Err(error) => {
                assert!(matches!(error, LogError::File(_)), "call {call}: {error}");
                assert!(matches!(log.commit(&frames(2..=3, 9)), Err(LogError::Poisoned)));
                continue;
            }
        }
        log.commit(&frames(4..=4, 10)).unwrap();
        log.close().unwrap();
        assert_eq!((read(&disk, 1).0, read(&disk, 2).0), (vec![1], vec![2, 3, 4]), "call {call}");
    }
    // The file, its directory, the manifest and its directory; what else begins a file.
    assert!(again >= 4, "{again} of {calls} calls");
}

#[test]
fn with_a_file_under_way_a_want_of_descriptors_is_a_failure_like_any_other() {
    let disk = disk();
    let mut log = writer(&disk, small());
    log.commit(&frames(1..=1, 10)).unwrap();
    disk.fail(0, EMFILE);
    assert!(matches!(log.commit(&frames(2..=2, 10)), Err(LogError::File(_))));
    assert!(matches!(log.commit(&frames(2..=2, 10)), Err(LogError::Poisoned)));
}

#[test]
fn a_write_without_space_may_be_tried_again() {
    // Calls of a commit into the current file, of one that grows it, of one that begins the next.
    for bytes in [10, 40_000, 100_000, 900_000] {
        let begin = || {
            let disk = disk();
            let mut log = writer(&disk, small());
            log.commit(&frames(1..=1, 10)).unwrap();
            (disk, log)
        };
        let calls = {
            let (disk, mut log) = begin();
            let before = disk.calls();
            log.commit(&frames(2..=3, bytes)).unwrap();
            disk.calls() - before
        };
        for call in 0..calls {
            let (disk, mut log) = begin();
            disk.fail(call, ENOSPC);
            match log.commit(&frames(2..=3, bytes)) {
                Ok(_) => {}
                Err(LogError::DiskFull(_)) => {
                    assert!(log.is_disk_full());
                    log.commit(&frames(2..=3, bytes)).unwrap();
                }
                // It was the sync.
                Err(_) => continue,
            }
            log.commit(&frames(4..=4, 10)).unwrap();
            log.close().unwrap();
            let is_there = |name: &i64| disk.read(&dir().join(format!("log.{name:x}"))).is_ok();
            let all = (1..=4).filter(is_there).flat_map(|name| read(&disk, name).0);
            assert_eq!(all.collect::<Vec<_>>(), [1, 2, 3, 4], "{bytes} {call}");
        }
    }
}

#[test]
fn without_force_sync_the_mark_claims_nothing_until_the_end() {
    let disk = disk();
    let mut log = writer(&disk, LogOptions { force_sync: false, ..small() });
    log.commit(&frames(1..=1, 10)).unwrap();
    let syncs = disk.calls_of(Op::Sync);
    log.commit(&frames(2..=2, 10)).unwrap();
    assert_eq!((disk.calls_of(Op::Sync), read(&disk, 1).1.zxid), (syncs, Zxid(0)));
    log.close().unwrap();
    assert_eq!(read(&disk, 1).1.zxid, Zxid(2));
    assert!(!disk.has_unsynced());
}

#[test]
fn a_full_disk_leaves_room_for_what_was_queued() {
    let disk = disk();
    let options = LogOptions { extent_bytes: 1 << 20, force_sync: true, reserve_bytes: 300 << 10 };
    let mut log = writer(&disk, options);
    assert!(!log.is_disk_full());
    log.commit(&frames(1..=1, 10)).unwrap();
    disk.set_free_sectors(Some(0));
    let mut zxid = 2;
    while log.current.as_ref().unwrap().zeros_to - log.current.as_ref().unwrap().written.end > 2000
    {
        log.commit(&frames(zxid..=zxid, 1000)).unwrap();
        log.zero_ahead().unwrap();
        zxid += 1;
    }
    // The zeros that are there are used up first.
    assert!(disk.open(&dir().join(reserve::RESERVE), Access::Read).is_ok() && !log.is_disk_full());
    log.commit(&frames(zxid..=zxid, 200_000)).unwrap();
    assert!(log.is_disk_full());
    assert!(disk.open(&dir().join(reserve::RESERVE), Access::Read).is_err());
    assert_eq!(read(&disk, 1).0.len() as i64, zxid);
    assert!(log.refill().unwrap_err().is_disk_full());
    disk.set_free_sectors(Some(10_000));
    log.refill().unwrap();
    assert!(!log.is_disk_full());
}

#[test]
fn purged_logs_are_forgotten_and_other_losses_are_not() {
    let disk = disk();
    let mut log = writer(&disk, small());
    for zxid in 1..=5 {
        log.commit(&frames(zxid..=zxid, 10)).unwrap();
        log.roll().unwrap();
        if zxid == 4 {
            // The two oldest are purged; later one of the others is lost.
            for name in ["log.1", "log.2"] {
                disk.remove(&dir().join(name)).unwrap();
            }
        }
    }
    disk.remove(&dir().join("log.4")).unwrap();
    log.commit(&frames(6..=6, 10)).unwrap();
    log.close().unwrap();
    let Loaded::Manifest(manifest) = Manifest::load(&disk, dir(), manifest::LOGS).unwrap() else {
        panic!("no manifest");
    };
    let names: Vec<&str> = manifest.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["log.3", "log.4", "log.5", "log.6"]);
}
