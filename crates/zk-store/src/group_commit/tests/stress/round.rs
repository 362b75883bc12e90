//! One round: a log, some threads, perhaps trouble, an end.

use super::ledger::Ledger;
use super::*;
use crate::sim::{Choose, ENOSPC, Seed};
use std::panic::resume_unwind;
use std::sync::{MutexGuard, Weak};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trouble {
    None,
    /// The disk refuses a call.
    BrokenDisk,
    /// There are few sectors left.
    FullDisk,
    /// Who has borrowed the log finds no room, now and then.
    NoRoom,
    /// Who is told panics.
    Panic,
}

/// What the round came to.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Outcome {
    /// Rounds that ended with everything told.
    pub(super) whole: u64,
    /// Rounds in which the log failed.
    pub(super) failed: u64,
    pub(super) by_borrowers: u64,
    pub(super) put_back: u64,
}

impl Outcome {
    pub(super) fn and(self, other: Outcome) -> Outcome {
        Outcome {
            whole: self.whole + other.whole,
            failed: self.failed + other.failed,
            by_borrowers: self.by_borrowers + other.by_borrowers,
            put_back: self.put_back + other.put_back,
        }
    }
}

pub(super) struct Round {
    chance: Seed,
    trouble: Trouble,
    lend_percent: usize,
    disk: SimDisk,
    commit: Arc<GroupCommit>,
    ledger: Arc<Mutex<Ledger>>,
}

/// Hears what the log tells.
struct Witness {
    chance: Seed,
    /// Panics when it hears of this one.
    panic_at: i64,
    is_rolling: bool,
    disk: SimDisk,
    commit: Weak<GroupCommit>,
    ledger: Arc<Mutex<Ledger>>,
}

fn open(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The next record begins a file.
fn roll(commit: &GroupCommit, ledger: &mut Ledger) {
    ledger.rolls.insert(ledger.appended + 1);
    commit.roll();
}

fn part(chance: &mut Seed) -> Seed {
    Seed::new(chance.next_u64())
}

/// Lets others go on for a while.
fn pause(chance: &mut Seed, micros: usize) {
    thread::sleep(Duration::from_micros(chance.pick(micros) as u64));
}

impl Witness {
    fn hear(&mut self, completion: Completion) {
        let Completion::Durable { batch, .. } = completion else {
            open(&self.ledger).failures += 1;
            return;
        };
        if batch.zxid.0 >= self.panic_at {
            // A panic without a message.
            resume_unwind(Box::new(()));
        }
        open(&self.ledger).durable(batch);
        if self.chance.pick(20) == 0 && all_zxids(&self.disk).last() < Some(&batch.zxid.0) {
            open(&self.ledger).blame(format!("{} is not durable", batch.zxid));
        }
        let Some(commit) = self.commit.upgrade() else { return };
        commit.shared.lock().took = Duration::ZERO;
        if commit.lend().is_some() {
            open(&self.ledger).blame("lent while it is in use".into());
        }
        if self.is_rolling && self.chance.pick(30) == 0 {
            roll(&commit, &mut open(&self.ledger));
        }
    }
}

impl Round {
    pub(super) fn new(seed: u64) -> Round {
        let mut chance = Seed::new(seed);
        let trouble = match chance.pick(7) {
            0 => Trouble::BrokenDisk,
            1 => Trouble::FullDisk,
            2 => Trouble::NoRoom,
            3 => Trouble::Panic,
            _ => Trouble::None,
        };
        let (disk, ledger) = (disk(), Arc::<Mutex<Ledger>>::default());
        // In no round so much is appended that a file has no room for it.
        let is_full = trouble == Trouble::FullDisk;
        let (pause_bytes, reserve_bytes) = if is_full { (64_000, 264_000) } else { (2 << 20, 0) };
        let writer = writer_of(&disk, 64 << 20, reserve_bytes);
        if is_full {
            disk.set_free_sectors(Some(chance.pick(600) as u64));
        }
        let panic_at = 2 + chance.pick(60) as i64;
        let commit = Arc::new_cyclic(|commit| {
            let mut witness = Witness {
                chance: part(&mut chance),
                panic_at: if trouble == Trouble::Panic { panic_at } else { i64::MAX },
                is_rolling: chance.pick(3) == 0,
                disk: disk.clone(),
                commit: commit.clone(),
                ledger: ledger.clone(),
            };
            let options = CommitOptions { pause_bytes, ..CommitOptions::default() };
            GroupCommit::start(writer, options, move |completion| witness.hear(completion)).unwrap()
        });
        let lend_percent = [100, 80, 30][chance.pick(3)];
        Round { chance, trouble, lend_percent, disk, commit, ledger }
    }

    pub(super) fn run(mut self) -> Outcome {
        let mut chance = part(&mut self.chance);
        let is_cut_short = self.trouble != Trouble::FullDisk && chance.pick(3) == 0;
        let ended = thread::scope(|scope| {
            for _ in 0..=chance.pick(4) {
                let (turns, mut own) = (20 + chance.pick(150), part(&mut chance));
                let this = &self;
                scope.spawn(move || this.work(turns, &mut own));
            }
            if self.trouble == Trouble::BrokenDisk {
                pause(&mut chance, 6000);
                self.disk.fail(chance.pick(6) as u64, EIO);
            }
            is_cut_short.then(|| {
                pause(&mut chance, 5000);
                self.commit.shutdown()
            })
        });
        let ended = ended.unwrap_or_else(|| self.end(&mut chance));
        let ledger = open(&self.ledger);
        let is_whole = ledger.failures == 0 && ended.is_ok();
        assert!(is_whole || self.trouble != Trouble::None, "{ended:?}: {ledger:?}");
        ledger.verify(&self.disk, is_whole);
        let Ledger { by_borrowers, put_back, .. } = *ledger;
        Outcome { whole: is_whole.into(), failed: (!is_whole).into(), by_borrowers, put_back }
    }

    /// Nobody appends any more.
    fn end(&self, chance: &mut Seed) -> Result<(), LogError> {
        self.disk.set_free_sectors(None);
        match chance.pick(3) {
            0 => assert!(self.flush() || self.may_fail(), "it failed without a cause"),
            1 => {
                // It comes without another word from anybody.
                until(|| self.is_told());
                if self.trouble == Trouble::None {
                    self.lull();
                }
            }
            _ => {}
        }
        self.commit.shutdown()
    }

    fn may_fail(&self) -> bool {
        !matches!(self.trouble, Trouble::None | Trouble::FullDisk)
    }

    fn is_told(&self) -> bool {
        let ledger = open(&self.ledger);
        ledger.told == ledger.appended || ledger.failures > 0
    }

    /// The mark is completed while nothing happens, and after a loan in such a while.
    fn lull(&self) {
        for _ in 0..2 {
            let last = open(&self.ledger).appended;
            until(|| {
                let disk = self.disk.fork();
                names(&disk).last().is_none_or(|name| zxids(&disk, *name).1 == Zxid(last))
            });
            let mut loan = None;
            until(|| {
                loan = self.try_lend();
                loan.is_some()
            });
            self.append(&mut open(&self.ledger), 50);
            loan.expect("until says so").commit();
        }
        until(|| self.is_told());
    }

    fn try_lend(&self) -> Option<Loan<'_>> {
        // However slow this machine is.
        self.commit.shared.lock().took = Duration::ZERO;
        self.commit.lend()
    }

    fn work(&self, turns: usize, chance: &mut Seed) {
        for _ in 0..turns {
            match self.commit.admits() {
                Err(AppendError::Closed) => return,
                Err(_) => pause(chance, 400),
                Ok(()) => self.turn(chance),
            }
            match chance.pick(200) {
                // The mark is completed meanwhile, or nearly.
                0 => pause(chance, 30_000),
                1..=20 => pause(chance, 400),
                21..=25 if self.trouble != Trouble::FullDisk => drop(self.flush()),
                26 => self.disk.set_free_sectors(None),
                _ => {}
            }
        }
    }

    fn turn(&self, chance: &mut Seed) {
        let mut ledger = open(&self.ledger);
        let loan = (chance.pick(100) < self.lend_percent).then(|| self.try_lend()).flatten();
        let (calls, is_told) = (self.disk.calls(), ledger.told == ledger.appended);
        assert!(loan.is_none() || is_told, "lent with work left: {ledger:?}");
        let records = [0, 3].get(chance.pick(20)).copied().unwrap_or(1);
        for _ in 0..records {
            let bytes = match chance.pick(40) {
                0 if self.trouble != Trouble::FullDisk => 70_000,
                0..=4 => 5_000,
                _ => 50,
            };
            self.append(&mut ledger, bytes);
        }
        if chance.pick(60) == 0 {
            roll(&self.commit, &mut ledger);
        }
        drop(ledger);
        match loan {
            Some(_) if chance.pick(10) == 0 => {}
            Some(loan) => {
                // At times for longer than the thread sleeps before it completes the mark.
                match chance.pick(40) {
                    0 => thread::sleep(Duration::from_millis(25)),
                    1..=4 => pause(chance, 300),
                    _ => {}
                }
                assert_eq!(self.disk.calls(), calls, "somebody else was at the disk");
                self.repay(loan, chance);
            }
            None => {}
        }
    }

    fn repay(&self, loan: Loan<'_>, chance: &mut Seed) {
        let is_refused = self.trouble == Trouble::NoRoom && chance.pick(4) == 0;
        if is_refused {
            (0..2).for_each(|call| self.disk.fail(call, ENOSPC));
        }
        loan.commit();
        if is_refused && self.commit.admits() == Err(AppendError::DiskFull) {
            open(&self.ledger).put_back += 1;
        }
    }

    fn append(&self, ledger: &mut Ledger, bytes: usize) {
        let zxid = ledger.appended + 1;
        let payload = testing::set_data(zxid, &vec![1; bytes]);
        if self.commit.append(Zxid(zxid), &payload).is_ok() {
            ledger.appended = zxid;
        }
    }

    /// What was appended before a flush is told after it. Whether the log is still there.
    fn flush(&self) -> bool {
        let appended = open(&self.ledger).appended;
        let is_done = self.commit.flush().is_ok();
        let ledger = open(&self.ledger);
        assert!(!is_done || ledger.told >= appended, "flushed up to {appended}: {ledger:?}");
        is_done
    }
}
