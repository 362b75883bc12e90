//! The log in other hands than its thread's.

use super::*;
use crate::sim::ENOSPC;
use std::thread::{self, ThreadId};

/// A log whose news say on which thread they were told.
fn start_traced(disk: &SimDisk, reserve_bytes: u64) -> (GroupCommit, Receiver<(ThreadId, i64)>) {
    let (sender, told) = channel();
    let complete = move |completion| {
        let zxid = match completion {
            Completion::Durable { batch, .. } => batch.zxid.0,
            Completion::Failed(_) => -1,
        };
        let _ = sender.send((thread::current().id(), zxid));
    };
    let writer = writer(disk, reserve_bytes);
    (GroupCommit::start(writer, CommitOptions::default(), complete).unwrap(), told)
}

/// Borrows the log as soon as its thread has nothing to do, however slow this machine is.
fn lend(commit: &GroupCommit) -> Loan<'_> {
    let mut loan = None;
    until(|| {
        commit.shared.lock().took = Duration::ZERO;
        loan = commit.lend();
        loan.is_some()
    });
    loan.expect("until says so")
}

/// The log has a file with room.
fn begin(disk: &SimDisk) -> (GroupCommit, Receiver<(ThreadId, i64)>) {
    begin_with_reserve(disk, 0)
}

fn begin_with_reserve(
    disk: &SimDisk,
    reserve_bytes: u64,
) -> (GroupCommit, Receiver<(ThreadId, i64)>) {
    let (commit, told) = start_traced(disk, reserve_bytes);
    append(&commit, 1).unwrap();
    let (by, zxid) = next(&told);
    assert!(by != thread::current().id() && zxid == 1);
    (commit, told)
}

#[test]
fn who_borrows_the_log_commits_on_its_own_thread() {
    let disk = disk();
    let (commit, told) = begin(&disk);
    for zxid in 2..100 {
        let loan = lend(&commit);
        append(&commit, zxid).unwrap();
        assert!(told.try_recv().is_err(), "nobody else may commit");
        loan.commit();
        assert_eq!(told.try_recv(), Ok((thread::current().id(), zxid)));
        assert_eq!(all_zxids(&disk), (1..=zxid).collect::<Vec<_>>(), "durable when it is told");
    }
    commit.shutdown().unwrap();
    assert_eq!(zxids(&disk, 1), ((1..100).collect(), Zxid(99)));
}

#[test]
fn what_is_not_committed_is_the_thread_s() {
    let disk = disk();
    let (commit, told) = begin(&disk);
    let loan = lend(&commit);
    append(&commit, 2).unwrap();
    drop(loan);
    assert_eq!(next(&told).1, 2);
    // Nothing was appended at all: the next one wakes the thread as ever.
    lend(&commit).commit();
    append(&commit, 3).unwrap();
    assert_eq!(next(&told).1, 3);
    commit.shutdown().unwrap();
}

#[test]
fn what_is_not_committed_wakes_a_thread_that_sleeps_without_end() {
    let disk = disk();
    let (commit, told) = begin(&disk);
    until_marked(&disk, 1);
    let loan = lend(&commit);
    append(&commit, 2).unwrap();
    drop(loan);
    assert_eq!(next(&told).1, 2);
    commit.shutdown().unwrap();
}

#[test]
fn what_others_append_meanwhile_is_committed_afterwards() {
    let disk = disk();
    let (told, tell) = channel();
    let others = Arc::new(std::sync::OnceLock::<Arc<GroupCommit>>::new());
    let own = others.clone();
    let complete = move |completion| {
        let Completion::Durable { batch, .. } = completion else { panic!("failed") };
        if batch.zxid == Zxid(2) {
            // The log is lent still.
            let log = own.get().unwrap();
            assert!(log.lend().is_none());
            append(log, 3).unwrap();
            log.roll();
            append(log, 4).unwrap();
            assert!(log.is_waiting());
        }
        told.send(batch.zxid.0).unwrap();
    };
    let commit = GroupCommit::start(writer(&disk, 0), CommitOptions::default(), complete).unwrap();
    let commit = Arc::new(commit);
    others.set(commit.clone()).unwrap();
    append(&commit, 1).unwrap();
    assert_eq!(next(&tell), 1);
    let loan = lend(&commit);
    append(&commit, 2).unwrap();
    loan.commit();
    assert_eq!([next(&tell), next(&tell), next(&tell)], [2, 3, 4]);
    commit.shutdown().unwrap();
    assert_eq!((zxids(&disk, 1).0, zxids(&disk, 4).0), (vec![1, 2, 3], vec![4]));
}

#[test]
fn the_mark_is_completed_after_the_last_loan() {
    let disk = disk();
    let (commit, _told) = begin(&disk);
    until_marked(&disk, 1);
    for zxid in 2..20 {
        let loan = lend(&commit);
        append(&commit, zxid).unwrap();
        loan.commit();
    }
    until_marked(&disk, 19);
    commit.shutdown().unwrap();
}

#[test]
fn the_log_is_not_lent_while_there_is_work() {
    let disk = disk();
    let (commit, told) = begin(&disk);
    let loan = lend(&commit);
    assert!(commit.lend().is_none(), "once at a time");
    append(&commit, 2).unwrap();
    drop(loan);
    assert_eq!(next(&told).1, 2);
    commit.shutdown().unwrap();
    assert!(commit.lend().is_none(), "it has ended");
}

#[test]
fn a_slow_disk_is_the_thread_s() {
    let disk = disk();
    let (sender, told) = channel();
    let complete = move |completion| drop(sender.send(completion));
    let commit = GroupCommit::start(writer(&disk, 0), CommitOptions::default(), complete).unwrap();
    append(&commit, 1).unwrap();
    next(&told);
    drop(lend(&commit));
    commit.shared.lock().took = Duration::from_millis(2);
    assert!(commit.lend().is_none());
    // A batch of the thread's that is quick again changes that.
    let mut zxid = 1;
    until(|| {
        zxid += 1;
        append(&commit, zxid).unwrap();
        next(&told);
        std::thread::sleep(Duration::from_millis(1));
        commit.lend().is_some()
    });
    commit.shutdown().unwrap();
}

#[test]
fn a_failure_is_told_once_by_who_borrowed_the_log() {
    for call in 0..3 {
        let disk = disk();
        let (commit, told) = begin(&disk);
        until_marked(&disk, 1);
        let loan = lend(&commit);
        // The last mark was a while ago, so another one comes first.
        std::thread::sleep(Duration::from_millis(2));
        append(&commit, 2).unwrap();
        disk.fail(call, EIO);
        loan.commit();
        assert_eq!(told.try_recv(), Ok((thread::current().id(), -1)), "call {call}");
        assert_eq!(append(&commit, 3), Err(AppendError::Closed));
        assert_eq!(commit.flush(), Err(AppendError::Closed));
        assert!(matches!(commit.shutdown(), Err(LogError::Poisoned)));
        assert!(told.try_recv().is_err(), "once");
    }
}

#[test]
fn a_panic_of_who_borrowed_the_log_is_told_as_a_failure() {
    let (told, tell) = channel();
    let complete = move |completion| match completion {
        Completion::Durable { batch, .. } if batch.zxid == Zxid(2) => {
            panic!("a panic that this test makes")
        }
        Completion::Durable { .. } => {}
        Completion::Failed(error) => told.send(error).unwrap(),
    };
    let disk = disk();
    let commit = GroupCommit::start(writer(&disk, 0), CommitOptions::default(), complete).unwrap();
    append(&commit, 1).unwrap();
    let loan = lend(&commit);
    append(&commit, 2).unwrap();
    loan.commit();
    let calls = disk.calls();
    assert!(matches!(*tell.try_recv().expect("told at once"), LogError::Poisoned));
    assert_eq!(append(&commit, 3), Err(AppendError::Closed));
    assert!(matches!(commit.shutdown(), Err(LogError::Poisoned)));
    assert!(matches!(tell.try_recv(), Err(TryRecvError::Disconnected)), "once, and then let go");
    assert_eq!(disk.calls(), calls, "the files are not touched any more");
}

#[test]
fn what_takes_more_than_a_write_and_a_sync_is_left_to_the_thread() {
    let disk = disk();
    let (commit, told) = start_traced(&disk, 0);
    let me = thread::current().id();
    // The first record begins a file.
    let loan = lend(&commit);
    append(&commit, 1).unwrap();
    loan.commit();
    assert!(next(&told).0 != me);
    // One that is longer than what is zeroed.
    let loan = lend(&commit);
    commit.append(Zxid(2), &testing::set_data(2, &[2; 300_000])).unwrap();
    loan.commit();
    assert!(next(&told).0 != me);
    // Files are long enough for both ways to be gone often.
    let (mut here, mut there) = (0, 0);
    for zxid in 3..3000 {
        let loan = lend(&commit);
        append(&commit, zxid).unwrap();
        if zxid % 500 == 0 {
            commit.roll();
        }
        loan.commit();
        let (by, told) = next(&told);
        assert_eq!(told, zxid);
        *(if by == me { &mut here } else { &mut there }) += 1;
    }
    assert!(here > 2900 && there > 5, "{here} {there}");
    commit.shutdown().unwrap();
    assert_eq!(all_zxids(&disk), (1..3000).collect::<Vec<_>>());
}

/// The next write of records finds no room, whether a mark comes before it or the attempt to
/// release a reserve behind it: what a full disk refuses of those is passed over.
fn refuse_write(disk: &SimDisk) {
    (0..2).for_each(|call| disk.fail(call, ENOSPC));
}

#[test]
fn what_finds_no_room_is_left_to_the_thread() {
    for is_mark_due in [true, false] {
        let disk = disk();
        let (commit, told) = begin(&disk);
        if is_mark_due {
            until_marked(&disk, 1);
        }
        for zxid in [2, 4] {
            until(|| commit.admits().is_ok());
            let loan = lend(&commit);
            append(&commit, zxid).unwrap();
            append(&commit, zxid + 1).unwrap();
            refuse_write(&disk);
            loan.commit();
            let (by, zxid_told) = next(&told);
            assert!(by != thread::current().id() && zxid_told == zxid + 1);
        }
        commit.shutdown().unwrap();
        assert_eq!(all_zxids(&disk), [1, 2, 3, 4, 5]);
    }
}

#[test]
fn what_comes_while_there_is_no_room_is_committed_behind_it() {
    let disk = disk();
    let (commit, told) = begin(&disk);
    let loan = lend(&commit);
    append(&commit, 2).unwrap();
    // What `Loan::commit` does, and what others do while it waits for the disk.
    let mut seat = commit.desk.seat();
    let batch = commit.shared.lock().take();
    append(&commit, 3).unwrap();
    commit.roll();
    append(&commit, 4).unwrap();
    refuse_write(&disk);
    seat.as_mut().unwrap().commit_at_once(batch.frames);
    drop(seat);
    assert!(told.try_recv().is_err(), "who borrowed the log has nothing to tell");
    assert_eq!((commit.admits(), commit.is_waiting()), (Err(AppendError::DiskFull), true));
    assert_eq!(all_zxids(&disk), [1]);
    drop(loan);
    for wanted in [3, 4] {
        let (by, zxid) = next(&told);
        assert!(by != thread::current().id() && zxid == wanted);
    }
    until(|| commit.admits().is_ok());
    commit.shutdown().unwrap();
    assert_eq!((zxids(&disk, 1).0, zxids(&disk, 4).0), (vec![1, 2, 3], vec![4]));
}

#[test]
fn who_borrowed_the_log_releases_the_reserve() {
    let disk = disk();
    let (commit, told) = begin_with_reserve(&disk, 100_000);
    until_marked(&disk, 1);
    let loan = lend(&commit);
    append(&commit, 2).unwrap();
    let removals = disk.calls_of(Op::Remove);
    // The last mark was a while ago, so another one comes before the write.
    disk.fail(1, ENOSPC);
    loan.commit();
    assert_eq!(told.try_recv(), Ok((thread::current().id(), 2)));
    assert_eq!((disk.calls_of(Op::Remove), all_zxids(&disk)), (removals + 1, vec![1, 2]));
    until(|| commit.admits().is_ok());
    commit.shutdown().unwrap();
}

#[test]
fn wherever_the_disk_becomes_full_the_thread_takes_over() {
    let mut here = 0;
    for free in 0..400 {
        let disk = disk();
        let (commit, told) = start_traced(&disk, 125_000);
        disk.set_free_sectors(Some(free));
        let mut zxid = 0;
        loop {
            let mut loan = None;
            until(|| {
                commit.shared.lock().took = Duration::ZERO;
                loan = commit.lend();
                loan.is_some() || commit.admits() == Err(AppendError::DiskFull)
            });
            let Some(loan) = loan else { break };
            zxid += 1;
            assert!(zxid < 1000, "{free}: the disk must become full");
            commit.append(Zxid(zxid), &testing::set_data(zxid, &[1; 900])).unwrap();
            loan.commit();
            let (by, zxid_told) = next(&told);
            assert_eq!(zxid_told, zxid, "{free}");
            here += u64::from(by == thread::current().id());
        }
        assert_eq!(all_zxids(&disk), (1..=zxid).collect::<Vec<_>>(), "{free}");
        commit.shutdown().unwrap();
    }
    assert!(here > 10_000, "only {here} were committed by who borrowed the log");
}

#[test]
fn what_the_disk_had_no_room_for_goes_back_in_front() {
    let shared = queue::Shared::new(false);
    let mut state = shared.lock();
    state.frames = b"newer".to_vec();
    state.rolls = vec![0, 5];
    state.in_flight = 5;
    state.put_back(b"older".to_vec());
    assert_eq!(state.frames, b"oldernewer");
    assert_eq!((&state.rolls[..], state.in_flight), (&[5, 10][..], 0));
}
