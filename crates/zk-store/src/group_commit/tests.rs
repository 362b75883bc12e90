//! Group commit under load, failures and a full disk.

use super::*;
use crate::disk::Disk;
use crate::log::{LogOptions, LogReader, OpenLog, Step};
use crate::manifest::Manifest;
use crate::sim::{EIO, Op, SimDisk};
use crate::testing;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

fn dir() -> &'static Path {
    Path::new("/log")
}

fn disk() -> SimDisk {
    let disk = SimDisk::new(512);
    disk.create_dir_all(dir()).unwrap();
    disk
}

fn writer(disk: &SimDisk, reserve_bytes: u64) -> LogWriter {
    let options = LogOptions { extent_bytes: 1 << 20, force_sync: true, reserve_bytes };
    let shared = Arc::new(disk.clone());
    LogWriter::new(shared, dir().into(), options, Zxid(0), Manifest::default()).unwrap()
}

fn start(disk: &SimDisk) -> (GroupCommit, Receiver<Completion>) {
    let (sender, receiver) = channel();
    let complete = move |completion| drop(sender.send(completion));
    let options = CommitOptions::default();
    (GroupCommit::start(writer(disk, 0), options, complete).unwrap(), receiver)
}

fn append(commit: &GroupCommit, zxid: i64) -> Result<(), AppendError> {
    commit.append(Zxid(zxid), &testing::set_data(zxid, b"data"))
}

fn next(completions: &Receiver<Completion>) -> Completion {
    completions.recv_timeout(Duration::from_secs(10)).expect("a completion")
}

/// Waits until something is true.
fn until(mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_true() {
        assert!(Instant::now() < deadline, "it never became true");
        std::thread::yield_now();
    }
}

fn zxids(disk: &SimDisk, name: i64) -> (Vec<i64>, Zxid) {
    let path = dir().join(format!("log.{name:x}"));
    let opened = LogReader::open(disk, &path, Zxid(name), 1 << 20).unwrap();
    let OpenLog::Log(mut reader) = opened else { panic!("no log") };
    let mut zxids = Vec::new();
    while let Step::Record(record) = reader.step().unwrap() {
        zxids.push(record.zxid.0);
    }
    (zxids, reader.mark().unwrap().zxid)
}

#[test]
fn what_gathers_while_the_thread_is_busy_is_one_batch() {
    let disk = disk();
    let ((told, tell), (release, held)) = (channel(), channel());
    let complete = move |completion| {
        told.send(completion).unwrap();
        let _: Result<(), _> = held.recv();
    };
    let commit = GroupCommit::start(writer(&disk, 0), CommitOptions::default(), complete).unwrap();
    append(&commit, 1).unwrap();
    let Completion::Durable { batch, .. } = next(&tell) else { panic!("failed") };
    assert_eq!((batch.zxid, batch.records), (Zxid(1), 1));
    for zxid in 2..=100 {
        append(&commit, zxid).unwrap();
    }
    let syncs = disk.calls_of(Op::Sync);
    release.send(()).unwrap();
    let Completion::Durable { batch, is_slow } = next(&tell) else { panic!("failed") };
    assert_eq!((batch.zxid, batch.records, is_slow), (Zxid(100), 99, false));
    assert_eq!(disk.calls_of(Op::Sync), syncs + 1);
    drop(release);
    commit.flush().unwrap();
    commit.shutdown().unwrap();
    assert_eq!(zxids(&disk, 1), ((1..=100).collect(), Zxid(100)));
}

#[test]
fn nothing_is_told_durable_before_it_is() {
    let disk = disk();
    let seen = disk.clone();
    let complete = move |completion| {
        let Completion::Durable { batch, .. } = completion else { panic!("failed") };
        // Whatever a crash leaves now, the record is in it.
        let after = seen.crash(&mut |_: usize| 0);
        assert!(zxids(&after, 1).0.contains(&batch.zxid.0));
    };
    let commit = GroupCommit::start(writer(&disk, 0), CommitOptions::default(), complete).unwrap();
    for zxid in 1..=50 {
        append(&commit, zxid).unwrap();
        if zxid % 7 == 0 {
            commit.flush().unwrap();
        }
    }
    commit.shutdown().unwrap();
}

#[test]
fn a_roll_is_in_its_place_among_the_records() {
    let disk = disk();
    let (commit, completions) = start(&disk);
    append(&commit, 1).unwrap();
    append(&commit, 2).unwrap();
    commit.roll();
    append(&commit, 3).unwrap();
    commit.roll();
    commit.roll();
    commit.shutdown().unwrap();
    assert_eq!((zxids(&disk, 1).0, zxids(&disk, 3).0), (vec![1, 2], vec![3]));
    assert!(completions.iter().all(|it| matches!(it, Completion::Durable { .. })));
}

#[test]
fn the_mark_is_completed_when_nothing_comes() {
    let disk = disk();
    let (commit, completions) = start(&disk);
    append(&commit, 1).unwrap();
    next(&completions);
    until(|| zxids(&disk.fork(), 1).1 == Zxid(1) && !disk.has_unsynced());
    let calls = disk.calls();
    append(&commit, 2).unwrap();
    next(&completions);
    until(|| zxids(&disk.fork(), 1).1 == Zxid(2));
    assert!(disk.calls() > calls);
    commit.shutdown().unwrap();
}

#[test]
fn a_failure_is_told_once_and_nothing_is_acknowledged_after_it() {
    for call in 0..3 {
        let disk = disk();
        let (commit, completions) = start(&disk);
        append(&commit, 1).unwrap();
        next(&completions);
        until(|| zxids(&disk.fork(), 1).1 == Zxid(1) && !disk.has_unsynced());
        disk.fail(call, EIO);
        append(&commit, 2).unwrap();
        let mut told = vec![next(&completions)];
        if matches!(told[0], Completion::Durable { .. }) {
            panic!("call {call} did not fail the batch");
        }
        until(|| append(&commit, 3) == Err(AppendError::Closed));
        assert_eq!(commit.flush(), Err(AppendError::Closed));
        assert!(commit.shutdown().is_err());
        told.extend(completions.iter());
        assert_eq!(told.len(), 1, "{told:?}");
    }
}

#[test]
fn the_queue_is_bounded_and_one_record_always_fits() {
    let disk = disk();
    let ((told, tell), (release, held)) = (channel(), channel::<()>());
    let complete = move |completion| {
        told.send(completion).unwrap();
        let _ = held.recv();
    };
    let options = CommitOptions { max_queued_bytes: 1000, ..CommitOptions::default() };
    let commit = GroupCommit::start(writer(&disk, 0), options, complete).unwrap();
    commit.append(Zxid(1), &testing::set_data(1, &[1; 5000])).unwrap();
    next(&tell);
    let mut zxid = 2;
    while append(&commit, zxid).is_ok() {
        zxid += 1;
    }
    assert!((10..20).contains(&zxid), "1000 bytes are a few records");
    assert_eq!(append(&commit, zxid), Err(AppendError::Busy));
    assert_eq!(commit.admits(50), Err(AppendError::Busy));
    release.send(()).unwrap();
    // Told that the batch is durable, there is room again at once.
    next(&tell);
    append(&commit, zxid).unwrap();
    drop(release);
    commit.flush().unwrap();
    commit.shutdown().unwrap();
    assert_eq!(zxids(&disk, 1).0, (1..=zxid).collect::<Vec<_>>());
}

#[test]
fn a_full_disk_stops_writes_before_anything_is_lost_and_lets_them_go_on() {
    let disk = disk();
    let (sender, completions) = channel();
    let options = CommitOptions { max_queued_bytes: 100_000, ..CommitOptions::default() };
    let complete = move |completion| drop(sender.send(completion));
    let commit = GroupCommit::start(writer(&disk, 300_000), options, complete).unwrap();
    disk.set_free_sectors(Some(400));
    let mut zxid = 0;
    let mut taken = |limit: i64| {
        loop {
            match commit.append(Zxid(zxid + 1), &testing::set_data(zxid + 1, &[1; 1000])) {
                Ok(()) => zxid += 1,
                Err(AppendError::Busy) => commit.flush().unwrap(),
                Err(error) => return (zxid, error),
            }
            if zxid == limit {
                return (zxid, AppendError::Busy);
            }
        }
    };
    let (full_at, error) = taken(100_000);
    assert_eq!(error, AppendError::DiskFull);
    commit.flush().unwrap();
    let last = completions.try_iter().last();
    assert!(matches!(last, Some(Completion::Durable { batch, .. }) if batch.zxid.0 == full_at));
    disk.set_free_sectors(None);
    until(|| commit.admits(10).is_ok());
    taken(full_at + 10);
    commit.flush().unwrap();
    commit.shutdown().unwrap();
}

#[test]
fn dropping_it_loses_nothing() {
    let disk = disk();
    let (commit, _completions) = start(&disk);
    append(&commit, 1).unwrap();
    drop(commit);
    assert_eq!(zxids(&disk, 1), (vec![1], Zxid(1)));
}
