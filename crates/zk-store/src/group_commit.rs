//! Group commit: many appends, few writes and one fdatasync, on a thread of its own.
//!
//! **The durability rule:** [`Completion::Durable`] is the only statement that a record is on the
//! disk, and it is made after the fdatasync returned. After the first failure there is exactly one
//! [`Completion::Failed`] and nothing else ever: the file is given up, never asked again.
//!
//! Appending copies the record under a short lock and never waits for the disk. While the thread
//! is busy records gather; when it comes back it takes all of them. An append to a sleeping thread
//! wakes it once.
//!
//! **The queue rule:** what is appended is kept until it is durable, however full the disk is. Who
//! appends asks [`GroupCommit::admits`] before; between two askings it appends little, so that the
//! queue holds at most [`CommitOptions::pause_bytes`] and that little, for which the log's reserve
//! has room. Should there still be no space (one huge record, somebody else took what the reserve
//! set free), the thread waits for it: nothing is acknowledged meanwhile, and nothing is lost. So it
//! does when the next file cannot be opened for want of a file descriptor.

use crate::log::{Committed, LogError, LogWriter, payload_at, put_frame};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use zk_proto::Zxid;

/// The mark is completed when nothing came for so long (rule R3).
const IDLE: Duration = Duration::from_millis(20);
/// A batch carries a mark when the last one is so old: it is another block to write, a tenth to a
/// fifth of the time of a commit.
const MARK_EVERY: Duration = Duration::from_millis(1);
/// How often a full disk is tried again.
const FULL_RETRY: Duration = Duration::from_millis(500);
/// A buffer that one large batch made larger than this is not kept.
const KEPT_BYTES: usize = 4 << 20;

/// A batch up to this size is taken as a whole, of a larger queue half: else all that clients have
/// under way gathers in one batch, and disk and processor wait for each other in turn.
const WHOLE_BATCH_BYTES: usize = 64 << 10;

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

/// How batches are gathered.
#[derive(Clone, Copy, Debug)]
pub struct CommitOptions {
    /// When so many bytes wait, the batch under way included, [`GroupCommit::admits`] says that it
    /// is enough. The log's reserve must hold them, and what is appended between two askings.
    pub pause_bytes: usize,
    /// A longer fdatasync is warned about (`fsync.warningthresholdms`).
    pub slow_sync: Duration,
}

impl Default for CommitOptions {
    fn default() -> CommitOptions {
        CommitOptions { pause_bytes: 2 << 20, slow_sync: Duration::from_secs(1) }
    }
}

/// What became of records.
#[derive(Clone, Debug)]
pub enum Completion {
    /// All records up to this one are durable (with `forceSync=no`: written).
    Durable {
        /// The batch, with its zxid, size and the time of its fdatasync.
        batch: Committed,
        /// The fdatasync took longer than the threshold.
        is_slow: bool,
    },
    /// The log failed; nothing after the last `Durable` is known to be on the disk.
    Failed(Arc<LogError>),
}

/// Why no record should be appended, or was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AppendError {
    /// Too much is waiting: try again after the next completion.
    #[error("too many bytes wait for the disk")]
    Busy,
    /// The disk is full: no writes until there is space again; it is tried twice a second.
    #[error("the disk of the transaction log is full: free space, writes go on by themselves")]
    DiskFull,
    /// The log failed or was shut down.
    #[error("the transaction log is closed")]
    Closed,
}

/// The appending side.
#[derive(Debug)]
pub struct GroupCommit {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<Result<(), LogError>>>>,
    pause_bytes: usize,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to do; the thread waits here.
    work: Condvar,
    /// Something was completed; [`GroupCommit::flush`] waits here.
    progress: Condvar,
}

#[derive(Debug, Default)]
struct State {
    frames: Vec<u8>,
    /// Offsets in `frames` where a new file begins.
    rolls: Vec<usize>,
    /// Bytes that the thread took and that are not durable yet.
    in_flight: usize,
    /// Bytes ever appended and ever completed.
    appended: u64,
    completed: u64,
    asleep: bool,
    stop: bool,
    disk_full: bool,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of the other side leaves numbers, no half-made structure.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GroupCommit {
    /// Starts the thread. `complete` runs on it: it should only pass the news on.
    pub fn start(
        writer: LogWriter,
        options: CommitOptions,
        mut complete: impl FnMut(Completion) + Send + 'static,
    ) -> io::Result<GroupCommit> {
        let shared = Arc::new(Shared::default());
        shared.lock().disk_full = writer.is_disk_full();
        let (shared_too, marked_at) = (shared.clone(), Instant::now());
        let body = move || {
            let complete = &mut complete;
            let run = || {
                let shared = shared_too;
                let is_starved = false;
                Committer {
                    shared,
                    writer,
                    options,
                    complete: &mut *complete,
                    marked_at,
                    is_starved,
                }
                .run()
            };
            // Who waits for an answer must hear that none will come. Nothing of the writer is used
            // after a panic.
            catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
                tracing::error!("a defect stopped the log's thread; nothing more is logged");
                let tell = || complete(Completion::Failed(Arc::new(LogError::Poisoned)));
                let _ = catch_unwind(AssertUnwindSafe(tell));
                Err(LogError::Poisoned)
            })
        };
        let thread = Builder::new().name("zk-log".into()).spawn(body)?;
        let pause_bytes = options.pause_bytes;
        Ok(GroupCommit { shared, thread: Mutex::new(Some(thread)), pause_bytes })
    }

    /// Queues an encoded [`TxnEntry`](zk_proto::txn::TxnEntry), whose zxid is `zxid`. Never waits
    /// for the disk, and refuses only when the log is closed: see the queue rule above.
    pub fn append(&self, zxid: Zxid, payload: &[u8]) -> Result<(), AppendError> {
        self.append_all([(zxid, payload)])
    }

    /// The same for several, in order, under one lock.
    pub fn append_all<'t>(
        &self,
        txns: impl IntoIterator<Item = (Zxid, &'t [u8])>,
    ) -> Result<(), AppendError> {
        let mut state = self.shared.lock();
        if state.closed || state.stop {
            return Err(AppendError::Closed);
        }
        let before = state.frames.len();
        for (zxid, payload) in txns {
            debug_assert_eq!(payload.get(12..20), Some(&zxid.0.to_be_bytes()[..]));
            put_frame(&mut state.frames, payload);
        }
        state.appended += (state.frames.len() - before) as u64;
        self.wake(state);
        Ok(())
    }

    /// Whether something should be appended now.
    pub fn admits(&self) -> Result<(), AppendError> {
        let state = self.shared.lock();
        match () {
            () if state.closed || state.stop => Err(AppendError::Closed),
            () if state.disk_full => Err(AppendError::DiskFull),
            () if state.frames.len() + state.in_flight >= self.pause_bytes => {
                Err(AppendError::Busy)
            }
            () => Ok(()),
        }
    }

    /// Whether records wait for the batch under way.
    pub fn is_waiting(&self) -> bool {
        !self.shared.lock().frames.is_empty()
    }

    /// The next record begins a new file, as before a snapshot.
    pub fn roll(&self) {
        let mut state = self.shared.lock();
        let at = state.frames.len();
        state.rolls.push(at);
        self.wake(state);
    }

    /// Waits until everything appended so far is durable and told.
    pub fn flush(&self) -> Result<(), AppendError> {
        let mut state = self.shared.lock();
        let wanted = state.appended;
        while state.completed < wanted && !state.closed {
            state = self.shared.progress.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.completed < wanted { Err(AppendError::Closed) } else { Ok(()) }
    }

    /// Makes what was appended durable, completes the mark, and ends the thread. Nothing is taken
    /// afterwards.
    pub fn shutdown(&self) -> Result<(), LogError> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return Ok(()) };
        let mut state = self.shared.lock();
        state.stop = true;
        self.wake(state);
        // A panic in the callback: the log is as it was after the last completion.
        thread.join().unwrap_or(Err(LogError::Poisoned))
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let asleep = std::mem::take(&mut state.asleep);
        drop(state);
        if asleep {
            self.shared.work.notify_one();
        }
    }
}

impl Drop for GroupCommit {
    fn drop(&mut self) {
        if let Err(error) = self.shutdown() {
            tracing::error!("{error}");
        }
    }
}

/// The thread's side.
struct Committer<F> {
    shared: Arc<Shared>,
    writer: LogWriter,
    options: CommitOptions,
    complete: F,
    marked_at: Instant,
    /// No file could be opened the last time.
    is_starved: bool,
}

/// What the thread found to do.
enum Work {
    Batch { frames: Vec<u8>, rolls: Vec<usize> },
    Idle,
    Stop,
}

impl<F: FnMut(Completion)> Committer<F> {
    fn run(mut self) -> Result<(), LogError> {
        // However this ends, nobody may wait for it any more.
        let _close = CloseOnDrop(self.shared.clone());
        let mut spare = Vec::new();
        let mut is_marked = true;
        loop {
            let result = match self.wait(std::mem::take(&mut spare), is_marked) {
                Work::Stop => return self.writer.close(),
                Work::Idle => self.idle().map(|()| is_marked = true),
                Work::Batch { mut frames, rolls } => {
                    is_marked = false;
                    let result = self.batch(&frames, &rolls);
                    self.done(frames.len(), result.is_ok());
                    frames.clear();
                    if frames.capacity() <= KEPT_BYTES {
                        spare = frames;
                    }
                    result
                }
            };
            if let Err(error) = result {
                let error = self.fail(error);
                // What is durable is whole: a full disk leaves no damage.
                if !self.writer.is_poisoned() {
                    self.writer.close()?;
                }
                return Err(error);
            }
        }
    }

    /// Waits for something to do. `spare` takes what is appended from now on.
    fn wait(&self, spare: Vec<u8>, is_marked: bool) -> Work {
        let mut state = self.shared.lock();
        loop {
            if !state.frames.is_empty() || !state.rolls.is_empty() {
                let mut frames = std::mem::replace(&mut state.frames, spare);
                let rolls = std::mem::take(&mut state.rolls);
                if rolls.is_empty() {
                    let end = batch_end(&frames);
                    state.frames.extend_from_slice(&frames[end..]);
                    frames.truncate(end);
                }
                state.in_flight = frames.len();
                return Work::Batch { frames, rolls };
            }
            if state.stop {
                return Work::Stop;
            }
            state.asleep = true;
            let patience = match (is_marked, state.disk_full) {
                (false, _) => Some(IDLE),
                (true, true) => Some(FULL_RETRY),
                (true, false) => None,
            };
            let Some(patience) = patience else {
                state = self.shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let waited = self.shared.work.wait_timeout(state, patience);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            let has_work = !state.frames.is_empty() || !state.rolls.is_empty() || state.stop;
            if timeout.timed_out() && !has_work {
                state.asleep = false;
                return Work::Idle;
            }
        }
    }

    /// Commits a batch, in parts where new files begin.
    fn batch(&mut self, frames: &[u8], rolls: &[usize]) -> Result<(), LogError> {
        let mut begin = 0;
        for &roll in rolls {
            self.part(&frames[begin..roll])?;
            self.with_space(LogWriter::roll)?;
            begin = roll;
        }
        self.part(&frames[begin..])?;
        self.writer.zero_ahead()?;
        self.note_full();
        Ok(())
    }

    /// Does something, as often as it takes until the disk has room for it and files can be opened;
    /// gives up only when the thread is to stop.
    fn with_space<T>(
        &mut self,
        mut act: impl FnMut(&mut LogWriter) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        loop {
            let result = act(&mut self.writer);
            let must_wait = result.as_ref().is_err_and(LogError::may_pass);
            self.note_starved(&result);
            if !must_wait || !self.wait_for_space() {
                return result;
            }
        }
    }

    /// Tells once that no file can be opened, and once that one can.
    fn note_starved<T>(&mut self, result: &Result<T, LogError>) {
        let is_starved = matches!(result, Err(LogError::NoDescriptor(_)));
        match (result, std::mem::replace(&mut self.is_starved, is_starved)) {
            (Err(error), false) if is_starved => tracing::error!("{error}; writes wait"),
            (Ok(_), true) => tracing::info!("files can be opened again: writes go on"),
            _ => {}
        }
    }

    /// Waits until the full disk should be tried again; false if the thread is to stop.
    fn wait_for_space(&mut self) -> bool {
        self.note_full();
        let again_at = Instant::now() + FULL_RETRY;
        let mut state = self.shared.lock();
        while !state.stop {
            let patience = again_at.saturating_duration_since(Instant::now());
            if patience.is_zero() {
                break;
            }
            state.asleep = true;
            let waited = self.shared.work.wait_timeout(state, patience);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.asleep = false;
        !state.stop
    }

    fn part(&mut self, frames: &[u8]) -> Result<(), LogError> {
        let now = Instant::now();
        let is_marked = now - self.marked_at >= MARK_EVERY;
        if is_marked {
            self.marked_at = now;
        }
        let committed = self.with_space(|writer| {
            if is_marked { writer.commit(frames) } else { writer.commit_unmarked(frames) }
        })?;
        let Some(batch) = committed else { return Ok(()) };
        let is_slow = batch.sync > self.options.slow_sync;
        if is_slow {
            // Apache's words: operators search for them.
            tracing::warn!(
                "fsync-ing the write ahead log in zk-log took {}ms which will adversely effect \
                 operation latency. See the ZooKeeper troubleshooting guide",
                batch.sync.as_millis()
            );
        }
        // Before it is told: who was refused as busy tries again when it hears of this.
        self.shared.lock().in_flight -= frames.len();
        (self.complete)(Completion::Durable { batch, is_slow });
        Ok(())
    }

    fn idle(&mut self) -> Result<(), LogError> {
        match self.writer.complete_mark() {
            // The mark can wait.
            Err(LogError::DiskFull(_)) => {}
            result => drop(result?),
        }
        if self.writer.is_disk_full() && self.writer.refill().is_ok() {
            tracing::info!("there is disk space again: writes are taken");
        }
        self.note_full();
        Ok(())
    }

    fn note_full(&mut self) {
        let disk_full = self.writer.is_disk_full();
        let mut state = self.shared.lock();
        if disk_full && !state.disk_full {
            tracing::error!("the disk of the transaction log is full: no writes are taken");
        }
        state.disk_full = disk_full;
    }

    fn done(&self, bytes: usize, is_durable: bool) {
        let mut state = self.shared.lock();
        // After a failure the bytes are gone, not completed: `closed` follows.
        if is_durable {
            state.completed += bytes as u64;
        }
        drop(state);
        self.shared.progress.notify_all();
    }

    fn fail(&mut self, error: LogError) -> LogError {
        tracing::error!("{error}");
        let mut state = self.shared.lock();
        state.closed = true;
        state.frames = Vec::new();
        drop(state);
        (self.complete)(Completion::Failed(Arc::new(error)));
        LogError::Poisoned
    }
}

/// Closes the queue when the thread ends, by a panic too.
struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.progress.notify_all();
    }
}

#[cfg(test)]
mod tests;
