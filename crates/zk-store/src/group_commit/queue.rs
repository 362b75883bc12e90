//! What waits to be logged, and who sees to it: the log's thread, or whoever has borrowed the log.

use super::AppendError;
use crate::log::payload_at;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The mark is completed when nothing came for so long (rule R3).
const IDLE: Duration = Duration::from_millis(20);
/// How often a full disk is tried again.
const FULL_RETRY: Duration = Duration::from_millis(500);
/// A buffer that one large batch made larger than this is not kept.
const KEPT_BYTES: usize = 4 << 20;
/// A batch up to this size is taken as a whole, of a larger queue half: else all that clients have
/// under way gathers in one batch, and disk and processor wait for each other in turn.
pub(super) const WHOLE_BATCH_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// There is something to do; the thread waits here.
    work: Condvar,
    /// Something was completed; [`Shared::flush`] waits here.
    progress: Condvar,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) frames: Vec<u8>,
    /// Offsets in `frames` where a new file begins.
    pub(super) rolls: Vec<usize>,
    /// An emptied buffer for the next ones.
    spare: Vec<u8>,
    /// Bytes that were taken and that are not durable yet.
    pub(super) in_flight: usize,
    /// Bytes ever appended and ever completed.
    pub(super) appended: u64,
    completed: u64,
    /// How many wait for progress.
    flushing: usize,
    /// The thread waits and must be woken when there is something to do.
    asleep: bool,
    /// It comes back by itself after a while.
    is_timed: bool,
    /// Somebody else does the thread's work. The thread waits until that has ended.
    is_lent: bool,
    /// The mark says all that is durable.
    pub(super) is_marked: bool,
    /// How long the last batch took.
    pub(super) took: Duration,
    pub(super) stop: bool,
    pub(super) disk_full: bool,
    pub(super) closed: bool,
}

/// What the thread found to do.
pub(super) enum Work {
    Batch(Batch),
    Idle,
    Stop,
    /// Who had borrowed the log saw it fail.
    Closed,
}

/// Records, and where among them new files begin.
pub(super) struct Batch {
    pub(super) frames: Vec<u8>,
    pub(super) rolls: Vec<usize>,
}

/// Where the batch at the beginning of `frames` ends.
fn batch_end(frames: &[u8]) -> usize {
    let is_whole = frames.len() <= WHOLE_BATCH_BYTES;
    let wanted = if is_whole { frames.len() } else { frames.len() / 2 };
    let mut end = 0;
    while end < wanted {
        let Some(payload) = payload_at(frames, end) else { return frames.len() };
        end = payload.end + 1;
    }
    end
}

impl State {
    pub(super) fn has_work(&self) -> bool {
        !self.frames.is_empty() || !self.rolls.is_empty() || self.stop || self.closed
    }

    /// When the thread should look again though nothing comes.
    fn patience(&self) -> Option<Duration> {
        match (self.is_marked, self.disk_full) {
            (false, _) => Some(IDLE),
            (true, true) => Some(FULL_RETRY),
            (true, false) => None,
        }
    }

    fn work(&mut self) -> Option<Work> {
        match () {
            () if self.closed => Some(Work::Closed),
            () if !self.frames.is_empty() || !self.rolls.is_empty() => {
                Some(Work::Batch(self.take()))
            }
            () if self.stop => Some(Work::Stop),
            () => None,
        }
    }

    /// The next batch.
    pub(super) fn take(&mut self) -> Batch {
        let spare = std::mem::take(&mut self.spare);
        let mut frames = std::mem::replace(&mut self.frames, spare);
        let rolls = std::mem::take(&mut self.rolls);
        if rolls.is_empty() {
            let end = batch_end(&frames);
            self.frames.extend_from_slice(&frames[end..]);
            frames.truncate(end);
        }
        self.in_flight = frames.len();
        Batch { frames, rolls }
    }

    /// Records that were taken, and not written, go in front of what came meanwhile.
    pub(super) fn put_back(&mut self, frames: Vec<u8>) {
        let newer = std::mem::replace(&mut self.frames, frames);
        let shift = self.frames.len();
        self.frames.extend_from_slice(&newer);
        self.rolls.iter_mut().for_each(|roll| *roll += shift);
        self.in_flight = 0;
    }

    /// A batch was dealt with.
    pub(super) fn done(&mut self, mut frames: Vec<u8>, is_durable: bool) {
        self.is_marked = false;
        // After a failure the bytes are gone, not completed: `closed` follows.
        if is_durable {
            self.completed += frames.len() as u64;
        }
        frames.clear();
        if frames.capacity() <= KEPT_BYTES {
            self.spare = frames;
        }
    }

    /// Takes the thread's work away from it, if it waits and there is none.
    pub(super) fn lend(&mut self) -> bool {
        let is_free = self.asleep && !self.has_work() && !self.disk_full;
        if is_free {
            (self.asleep, self.is_lent) = (false, true);
        }
        is_free
    }
}

impl Shared {
    pub(super) fn new(disk_full: bool) -> Shared {
        let state = State {
            frames: Vec::new(),
            rolls: Vec::new(),
            spare: Vec::new(),
            in_flight: 0,
            appended: 0,
            completed: 0,
            flushing: 0,
            asleep: false,
            is_timed: false,
            is_lent: false,
            is_marked: true,
            took: Duration::ZERO,
            stop: false,
            disk_full,
            closed: false,
        };
        Shared { state: Mutex::new(state), work: Condvar::new(), progress: Condvar::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of the other side leaves numbers, no half-made structure.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something came.
    pub(super) fn wake(&self, mut state: MutexGuard<'_, State>) {
        if std::mem::take(&mut state.asleep) {
            drop(state);
            self.work.notify_one();
        }
    }

    /// Waits for something to do. On the log's thread.
    pub(super) fn next(&self) -> Work {
        let mut state = self.lock();
        loop {
            if !state.is_lent
                && let Some(work) = state.work()
            {
                state.asleep = false;
                return work;
            }
            state.asleep = !state.is_lent;
            let patience = state.patience();
            state.is_timed = patience.is_some();
            let Some(patience) = patience else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let seen = state.completed;
            let waited = self.work.wait_timeout(state, patience);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            let is_quiet = !state.is_lent && !state.has_work() && state.completed == seen;
            if timeout.timed_out() && is_quiet {
                state.asleep = false;
                return Work::Idle;
            }
        }
    }

    /// Waits until a full disk should be tried again; false if the thread is to stop. On the log's
    /// thread, with a batch under way: what comes meanwhile does not wake it.
    pub(super) fn wait_for_space(&self) -> bool {
        let again_at = Instant::now() + FULL_RETRY;
        let mut state = self.lock();
        while !state.stop {
            let patience = again_at.saturating_duration_since(Instant::now());
            if patience.is_zero() {
                break;
            }
            let waited = self.work.wait_timeout(state, patience);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        !state.stop
    }

    /// The thread goes on, from where it was left by who borrowed the log.
    pub(super) fn give_back(&self) {
        let mut state = self.lock();
        state.is_lent = false;
        let must_time = !state.is_timed && state.patience().is_some();
        if state.has_work() || must_time {
            drop(state);
            self.work.notify_one();
        } else {
            state.asleep = true;
        }
    }

    /// Waits until everything appended so far is completed, for `patience` at most; whether it is.
    pub(super) fn flush_within(&self, patience: Duration) -> Result<bool, AppendError> {
        let mut state = self.lock();
        let wanted = state.appended;
        let (begun, mut left) = (Instant::now(), patience);
        state.flushing += 1;
        while state.completed < wanted && !state.closed && !left.is_zero() {
            let waited = self.progress.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            left = patience.saturating_sub(begun.elapsed());
        }
        state.flushing -= 1;
        match state.completed >= wanted {
            true => Ok(true),
            false if state.closed => Err(AppendError::Closed),
            false => Ok(false),
        }
    }

    /// Tells who flushes what `state` says now.
    pub(super) fn tell(&self, state: MutexGuard<'_, State>) {
        if state.flushing > 0 {
            drop(state);
            self.progress.notify_all();
        }
    }

    /// Nothing more is taken; the thread ends when it has done what there is.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        (state.stop, state.asleep) = (true, false);
        drop(state);
        // It may wait for space, too.
        self.work.notify_one();
    }

    /// Nobody may wait for the log any more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.frames = Vec::new();
        state.rolls.clear();
        self.tell(state);
    }
}
