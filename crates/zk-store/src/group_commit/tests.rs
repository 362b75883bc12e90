//! Group commit under load, failures and a full disk.

mod loan;
mod stress;

use super::*;
use crate::disk::Disk;
use crate::log::{LogOptions, LogReader, OpenLog, Step};
use crate::manifest::Manifest;
use crate::sim::{EIO, EMFILE, Op, SimDisk};
use crate::testing;
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
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
    writer_of(disk, 1 << 20, reserve_bytes)
}

fn writer_of(disk: &SimDisk, extent_bytes: u64, reserve_bytes: u64) -> LogWriter {
    let options = LogOptions { extent_bytes, force_sync: true, reserve_bytes };
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

fn next<T>(told: &Receiver<T>) -> T {
    told.recv_timeout(Duration::from_secs(10)).expect("something is told")
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
    let opened = LogReader::open(disk, &path, Zxid(name)).unwrap();
    let OpenLog::Log(mut reader) = opened else { panic!("no log") };
    let mut zxids = Vec::new();
    while let Step::Record(record) = reader.step().unwrap() {
        zxids.push(record.zxid.0);
    }
    (zxids, reader.mark().unwrap().zxid)
}

/// Waits until the mark of the first file says `zxid`. The thread sleeps without end then.
fn until_marked(disk: &SimDisk, zxid: i64) {
    until(|| zxids(&disk.fork(), 1).1 == Zxid(zxid) && !disk.has_unsynced());
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
    until_marked(&disk, 1);
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
        until_marked(&disk, 1);
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
fn the_queue_is_bounded_for_who_asks_and_takes_what_nobody_asked_for() {
    let disk = disk();
    let ((told, tell), (release, held)) = (channel(), channel::<()>());
    let complete = move |completion| {
        told.send(completion).unwrap();
        let _ = held.recv();
    };
    let options = CommitOptions { pause_bytes: 1000, ..CommitOptions::default() };
    let commit = GroupCommit::start(writer(&disk, 0), options, complete).unwrap();
    commit.append(Zxid(1), &testing::set_data(1, &[1; 5000])).unwrap();
    next(&tell);
    let mut zxid = 2;
    while commit.admits().is_ok() {
        append(&commit, zxid).unwrap();
        zxid += 1;
    }
    assert!((10..20).contains(&zxid), "1000 bytes are a few records");
    assert_eq!(commit.admits(), Err(AppendError::Busy));
    append(&commit, zxid).unwrap();
    release.send(()).unwrap();
    // Told that the batch is durable, there is room again at once.
    next(&tell);
    assert_eq!(commit.admits(), Ok(()));
    drop(release);
    commit.flush().unwrap();
    commit.shutdown().unwrap();
    assert_eq!(zxids(&disk, 1).0, (1..=zxid).collect::<Vec<_>>());
}

/// A log with one record, whose next one begins a file.
fn start_between_files(disk: &SimDisk) -> (GroupCommit, Receiver<Completion>) {
    let (commit, completions) = start(disk);
    append(&commit, 1).unwrap();
    next(&completions);
    commit.roll();
    until_marked(disk, 1);
    (commit, completions)
}

#[test]
fn writes_wait_until_the_next_file_can_be_opened() {
    let disk = disk();
    let (commit, completions) = start_between_files(&disk);
    // The roll is done, so the next calls are those that begin the file; three attempts fail.
    (0..3).for_each(|call| disk.fail(call, EMFILE));
    append(&commit, 2).unwrap();
    append(&commit, 3).unwrap();
    until(|| told(&completions) == 3);
    assert_eq!(disk.fork().read(&dir().join("log.3")).ok(), None);
    assert_eq!((zxids(&disk, 1).0, zxids(&disk, 2).0), (vec![1], vec![2, 3]));
    commit.shutdown().unwrap();
}

#[test]
fn a_stop_without_descriptors_acknowledges_nothing_and_ends() {
    let disk = disk();
    let (commit, completions) = start_between_files(&disk);
    (0..1000).for_each(|call| disk.fail(call, EMFILE));
    append(&commit, 2).unwrap();
    let opens = disk.calls_of(Op::Open);
    until(|| disk.calls_of(Op::Open) > opens);
    assert!(commit.shutdown().is_err());
    let all: Vec<_> = completions.iter().collect();
    assert!(matches!(&all[..], [Completion::Failed(_)]), "{all:?}");
    assert_eq!(all_zxids(&disk.fork()), [1]);
}

const PAUSE_BYTES: usize = 20_000;
/// What is appended between two askings.
const TURN_BYTES: usize = 5_000;

/// A log that keeps a reserve for its queue, on a disk of which `free` sectors are left.
fn start_full(disk: &SimDisk, free: u64) -> (GroupCommit, Receiver<Completion>) {
    let (sender, completions) = channel();
    let options = CommitOptions { pause_bytes: PAUSE_BYTES, ..CommitOptions::default() };
    let complete = move |completion| drop(sender.send(completion));
    // Of it 100 kB are for the beginning of a file, which may come in between.
    let writer = writer(disk, (PAUSE_BYTES + TURN_BYTES + 100_000) as u64);
    disk.set_free_sectors(Some(free));
    (GroupCommit::start(writer, options, complete).unwrap(), completions)
}

/// The last zxid that was told durable; it must not have failed.
fn told(completions: &Receiver<Completion>) -> i64 {
    let zxid = |it| match it {
        Completion::Durable { batch, .. } => batch.zxid.0,
        Completion::Failed(error) => panic!("{error}"),
    };
    completions.try_iter().map(zxid).last().unwrap_or(0)
}

/// The files of a log, in order.
fn names(disk: &SimDisk) -> Vec<i64> {
    let mut names: Vec<i64> = disk
        .list(dir())
        .unwrap()
        .iter()
        .filter_map(|entry| i64::from_str_radix(entry.name.strip_prefix("log.")?, 16).ok())
        .collect();
    names.sort_unstable();
    names
}

/// The zxids of all files, as a crash would leave them that loses what is not durable.
fn all_zxids(disk: &SimDisk) -> Vec<i64> {
    let after = disk.crash(&mut |_: usize| 0);
    names(&after).into_iter().flat_map(|name| zxids(&after, name).0).collect()
}

#[test]
fn wherever_the_disk_becomes_full_what_was_taken_is_kept() {
    // 512 bytes a step, and records of all sizes: the end of the disk falls everywhere in them.
    for free in 0..700 {
        let disk = disk();
        let (commit, completions) = start_full(&disk, free);
        let (mut zxid, mut turn) = (0, 0);
        while zxid < 1000 {
            match commit.admits() {
                Ok(()) => {}
                Err(AppendError::Busy) => {
                    std::thread::yield_now();
                    continue;
                }
                Err(AppendError::DiskFull) => break,
                Err(error) => panic!("{free}: {error}"),
            }
            while turn < TURN_BYTES - 1000 {
                zxid += 1;
                let payload = testing::set_data(zxid, &vec![1; (zxid as usize * 67) % 900]);
                turn += payload.len() + crate::log::FRAME_LEN;
                commit.append(Zxid(zxid), &payload).unwrap();
            }
            turn = 0;
        }
        assert!(zxid < 1000, "{free}: the disk must become full");
        // The reserve is enough: nobody has to free space first.
        let mut durable = 0;
        until(|| {
            durable = durable.max(told(&completions));
            durable == zxid
        });
        assert_eq!(all_zxids(&disk), (1..=zxid).collect::<Vec<_>>(), "{free}");
        commit.shutdown().unwrap();
    }
}

#[test]
fn writes_go_on_when_there_is_space_again() {
    let disk = disk();
    let (commit, completions) = start_full(&disk, 0);
    append(&commit, 1).unwrap();
    until(|| commit.admits() == Err(AppendError::DiskFull));
    commit.flush().unwrap();
    disk.set_free_sectors(None);
    until(|| commit.admits().is_ok());
    append(&commit, 2).unwrap();
    commit.shutdown().unwrap();
    assert_eq!((told(&completions), all_zxids(&disk)), (2, vec![1, 2]));
}

#[test]
fn what_has_no_room_even_in_the_reserve_waits_for_space() {
    let disk = disk();
    let (commit, completions) = start_full(&disk, 300);
    append(&commit, 1).unwrap();
    commit.flush().unwrap();
    commit.append(Zxid(2), &testing::set_data(2, &[2; 400_000])).unwrap();
    // Taken behind it in the moment in which the disk becomes full.
    append(&commit, 3).unwrap();
    until(|| commit.admits() == Err(AppendError::DiskFull));
    assert_eq!((told(&completions), all_zxids(&disk)), (1, vec![1]));
    disk.set_free_sectors(Some(1000));
    commit.flush().unwrap();
    assert_eq!((told(&completions), all_zxids(&disk)), (3, vec![1, 2, 3]));
    commit.shutdown().unwrap();
}

#[test]
fn a_stop_on_a_full_disk_acknowledges_nothing_and_ends() {
    let disk = disk();
    let (commit, completions) = start_full(&disk, 300);
    append(&commit, 1).unwrap();
    commit.append(Zxid(2), &testing::set_data(2, &[2; 400_000])).unwrap();
    until(|| commit.admits() == Err(AppendError::DiskFull));
    assert!(commit.shutdown().is_err());
    assert_eq!(commit.flush(), Err(AppendError::Closed));
    let all: Vec<_> = completions.iter().collect();
    assert!(matches!(all.last(), Some(Completion::Failed(_))), "{all:?}");
    let durable =
        |it: &Completion| matches!(it, Completion::Durable { batch, .. } if batch.zxid != Zxid(1));
    assert!(!all.iter().any(durable), "{all:?}");
    assert!(all_zxids(&disk).len() <= 1);
}

#[test]
fn dropping_it_loses_nothing() {
    let disk = disk();
    let (commit, _completions) = start(&disk);
    append(&commit, 1).unwrap();
    drop(commit);
    assert_eq!(zxids(&disk, 1), (vec![1], Zxid(1)));
}

#[test]
fn a_panic_on_the_thread_is_told_as_a_failure() {
    let (told, tell) = channel();
    let complete = move |completion| match completion {
        Completion::Durable { .. } => panic!("a panic that this test makes"),
        Completion::Failed(error) => told.send(error).unwrap(),
    };
    let commit =
        GroupCommit::start(writer(&disk(), 0), CommitOptions::default(), complete).unwrap();
    append(&commit, 1).unwrap();
    assert!(matches!(*next(&tell), LogError::Poisoned));
    assert_eq!(append(&commit, 2), Err(AppendError::Closed));
    assert_eq!(commit.flush(), Err(AppendError::Closed));
    assert!(matches!(commit.shutdown(), Err(LogError::Poisoned)));
    assert!(matches!(tell.try_recv(), Err(TryRecvError::Disconnected)), "once, and then let go");
}
