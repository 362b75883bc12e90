//! The log in other hands than its thread's.

use super::*;
use std::thread::{self, ThreadId};

/// A log whose news say on which thread they were told.
fn start_traced(disk: &SimDisk) -> (GroupCommit, Receiver<(ThreadId, i64)>) {
    let (sender, told) = channel();
    let complete = move |completion| {
        let zxid = match completion {
            Completion::Durable { batch, .. } => batch.zxid.0,
            Completion::Failed(_) => -1,
        };
        let _ = sender.send((thread::current().id(), zxid));
    };
    (GroupCommit::start(writer(disk, 0), CommitOptions::default(), complete).unwrap(), told)
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

/// The log has a file with room, and its thread is asleep.
fn begin(disk: &SimDisk) -> (GroupCommit, Receiver<(ThreadId, i64)>) {
    let (commit, told) = start_traced(disk);
    append(&commit, 1).unwrap();
    let (by, zxid) = told.recv().unwrap();
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
    assert_eq!(told.recv().unwrap().1, 2);
    // Nothing was appended at all: the next one wakes the thread as ever.
    lend(&commit).commit();
    append(&commit, 3).unwrap();
    assert_eq!(told.recv().unwrap().1, 3);
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
    assert_eq!(tell.recv(), Ok(1));
    let loan = lend(&commit);
    append(&commit, 2).unwrap();
    loan.commit();
    assert_eq!(tell.iter().take(3).collect::<Vec<_>>(), [2, 3, 4]);
    commit.shutdown().unwrap();
    assert_eq!((zxids(&disk, 1).0, zxids(&disk, 4).0), (vec![1, 2, 3], vec![4]));
}

#[test]
fn the_mark_is_completed_after_the_last_loan() {
    let disk = disk();
    let (commit, _told) = begin(&disk);
    until(|| zxids(&disk.fork(), 1).1 == Zxid(1) && !disk.has_unsynced());
    // The thread sleeps without end now.
    for zxid in 2..20 {
        let loan = lend(&commit);
        append(&commit, zxid).unwrap();
        loan.commit();
    }
    until(|| zxids(&disk.fork(), 1).1 == Zxid(19));
    commit.shutdown().unwrap();
}

#[test]
fn the_log_is_not_lent_while_there_is_work() {
    let disk = disk();
    let (commit, _told) = begin(&disk);
    let loan = lend(&commit);
    assert!(commit.lend().is_none(), "once at a time");
    append(&commit, 2).unwrap();
    drop(loan);
    commit.flush().unwrap();
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
        until(|| zxids(&disk.fork(), 1).1 == Zxid(1) && !disk.has_unsynced());
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
    let commit =
        GroupCommit::start(writer(&disk(), 0), CommitOptions::default(), complete).unwrap();
    append(&commit, 1).unwrap();
    let loan = lend(&commit);
    append(&commit, 2).unwrap();
    loan.commit();
    assert!(matches!(*tell.try_recv().expect("told at once"), LogError::Poisoned));
    assert_eq!(append(&commit, 3), Err(AppendError::Closed));
    assert!(matches!(commit.shutdown(), Err(LogError::Poisoned)));
    assert!(tell.try_recv().is_err(), "once");
}

#[test]
fn what_takes_more_than_a_write_and_a_sync_is_left_to_the_thread() {
    let disk = disk();
    let (commit, told) = start_traced(&disk);
    let me = thread::current().id();
    // The first record begins a file.
    let loan = lend(&commit);
    append(&commit, 1).unwrap();
    loan.commit();
    assert!(told.recv().unwrap().0 != me);
    // One that is longer than what is zeroed.
    let loan = lend(&commit);
    commit.append(Zxid(2), &testing::set_data(2, &[2; 300_000])).unwrap();
    loan.commit();
    assert!(told.recv().unwrap().0 != me);
    // Files are long enough for both ways to be gone often.
    let (mut here, mut there) = (0, 0);
    for zxid in 3..3000 {
        let loan = lend(&commit);
        append(&commit, zxid).unwrap();
        if zxid % 500 == 0 {
            commit.roll();
        }
        loan.commit();
        let (by, told) = told.recv().unwrap();
        assert_eq!(told, zxid);
        *(if by == me { &mut here } else { &mut there }) += 1;
    }
    assert!(here > 2900 && there > 5, "{here} {there}");
    commit.shutdown().unwrap();
    assert_eq!(all_zxids(&disk), (1..3000).collect::<Vec<_>>());
}

#[test]
fn wherever_the_disk_becomes_full_the_thread_takes_over() {
    for free in 0..400 {
        let disk = disk();
        let (commit, completions) = start_full(&disk, free);
        let mut zxid = 0;
        while zxid < 500 {
            match commit.admits() {
                Ok(()) => {}
                Err(AppendError::Busy) => continue,
                Err(AppendError::DiskFull) => break,
                Err(error) => panic!("{free}: {error}"),
            }
            zxid += 1;
            let loan = commit.lend();
            commit.append(Zxid(zxid), &testing::set_data(zxid, &[1; 900])).unwrap();
            if let Some(loan) = loan {
                loan.commit();
            }
        }
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
