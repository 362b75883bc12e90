//! Batches on their way into the files: the work of the log's thread.

use super::queue::{Batch, Shared, State, Work};
use super::{Completion, ReopenError};
use crate::log::{Committed, LogError, LogWriter};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A batch carries a mark when the last one is so old: it is another block to write, a tenth to a
/// fifth of the time of a commit.
const MARK_EVERY: Duration = Duration::from_millis(1);

/// Who writes the files; nobody is there when the log has ended.
///
/// This is the one lock that is held over system calls that wait, and still nobody ever waits for
/// it: the thread takes it when [`Shared::next`] found something to do, which it never does while
/// the log is lent; who borrowed the log takes it, and the log is lent only while the thread waits
/// in there; [`give_up`] takes it after a panic, on the thread that let go of it by that panic.
pub(super) struct Desk(Mutex<Option<Committer>>);

impl Desk {
    pub(super) fn new(committer: Committer) -> Desk {
        Desk(Mutex::new(Some(committer)))
    }

    pub(super) fn seat(&self) -> MutexGuard<'_, Option<Committer>> {
        // After a panic nothing of the writer is used: it is told, and dropped.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the files.
pub(super) struct Committer {
    shared: Arc<Shared>,
    writer: LogWriter,
    slow_sync: Duration,
    complete: Box<dyn FnMut(Completion) + Send>,
    marked_at: Instant,
    /// No file could be opened the last time.
    is_starved: bool,
}

/// The log's thread.
pub(super) fn run(shared: &Arc<Shared>, desk: &Desk) -> Result<(), LogError> {
    // However this ends, nobody may wait for it any more.
    let _close = CloseOnDrop(shared.clone());
    catch_unwind(AssertUnwindSafe(|| work(shared, desk))).unwrap_or_else(|_| {
        give_up(shared, desk);
        Err(LogError::Poisoned)
    })
}

/// After a panic: who waits for an answer must hear that none will come. Nothing of the writer is
/// used any more.
pub(super) fn give_up(shared: &Shared, desk: &Desk) {
    tracing::error!("a defect stopped the log; nothing more is logged");
    shared.close();
    if let Some(mut committer) = desk.seat().take() {
        let failed = Completion::Failed(Arc::new(LogError::Poisoned));
        let _ = catch_unwind(AssertUnwindSafe(|| (committer.complete)(failed)));
    }
}

fn work(shared: &Shared, desk: &Desk) -> Result<(), LogError> {
    loop {
        let work = shared.next();
        let mut seat = desk.seat();
        let Some(committer) = &mut *seat else { return Err(LogError::Poisoned) };
        let result = match work {
            Work::Batch(batch) => committer.batch(batch),
            Work::Idle => committer.idle(),
            Work::Closed => Err(LogError::Poisoned),
            Work::Stop => {
                let Some(committer) = seat.take() else { return Ok(()) };
                return committer.writer.close();
            }
        };
        if result.is_err() {
            // What is durable is whole: a full disk leaves no damage.
            if let Some(committer) = seat.take()
                && !committer.writer.is_poisoned()
            {
                committer.writer.close()?;
            }
            return Err(LogError::Poisoned);
        }
    }
}

impl Committer {
    pub(super) fn new(
        shared: Arc<Shared>,
        writer: LogWriter,
        slow_sync: Duration,
        complete: Box<dyn FnMut(Completion) + Send>,
    ) -> Committer {
        let marked_at = Instant::now();
        Committer { shared, writer, slow_sync, complete, marked_at, is_starved: false }
    }

    /// Ends this writer's files and goes on with those of another one.
    pub(super) fn reopen<E>(
        self,
        make: impl FnOnce() -> Result<LogWriter, E>,
    ) -> Result<Committer, ReopenError<E>> {
        self.writer.close()?;
        let writer = make().map_err(ReopenError::Files)?;
        Ok(Committer { writer, ..self })
    }

    /// Commits a batch, in parts where new files begin. An error has been told.
    fn batch(&mut self, Batch { frames, rolls }: Batch) -> Result<(), LogError> {
        let result = self.parts(&frames, &rolls);
        self.done(frames, result)
    }

    fn parts(&mut self, frames: &[u8], rolls: &[usize]) -> Result<(), LogError> {
        let mut begin = 0;
        for &roll in rolls {
            self.part(&frames[begin..roll])?;
            self.with_space(LogWriter::roll)?;
            begin = roll;
        }
        self.part(&frames[begin..])?;
        self.writer.zero_ahead()
    }

    /// Whether so many bytes need a write and a sync, and nothing else.
    pub(super) fn is_ready_for(&self, bytes: usize) -> bool {
        self.writer.is_ready_for(bytes)
    }

    /// Commits records without waiting for anything but the disk; what the disk has no room for is
    /// put back.
    pub(super) fn commit_at_once(&mut self, frames: Vec<u8>) {
        let began = Instant::now();
        let is_marked = self.is_mark_due(began);
        let result = match commit(&mut self.writer, &frames, is_marked) {
            Err(error) if error.may_pass() => {
                self.note_full().put_back(frames);
                return;
            }
            Err(error) => Err(error),
            Ok(committed) => {
                self.tell(committed, began, frames.len());
                Ok(())
            }
        };
        // The thread finds the log closed.
        let _ = self.done(frames, result);
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
            if !must_wait {
                return result;
            }
            drop(self.note_full());
            if !self.shared.wait_for_space() {
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

    fn part(&mut self, frames: &[u8]) -> Result<(), LogError> {
        let began = Instant::now();
        let is_marked = self.is_mark_due(began);
        let committed = self.with_space(|writer| commit(writer, frames, is_marked))?;
        self.tell(committed, began, frames.len());
        Ok(())
    }

    fn is_mark_due(&mut self, now: Instant) -> bool {
        let is_due = now - self.marked_at >= MARK_EVERY;
        if is_due {
            self.marked_at = now;
        }
        is_due
    }

    fn tell(&mut self, committed: Option<Committed>, began: Instant, bytes: usize) {
        let Some(batch) = committed else { return };
        let is_slow = batch.sync > self.slow_sync;
        if is_slow {
            // Apache's words: operators search for them.
            tracing::warn!(
                "fsync-ing the write ahead log in zk-log took {}ms which will adversely effect \
                 operation latency. See the ZooKeeper troubleshooting guide",
                batch.sync.as_millis()
            );
        }
        let took = began.elapsed();
        // Before it is told: who was refused as busy tries again when it hears of this.
        let mut state = self.shared.lock();
        state.in_flight -= bytes;
        state.took = took;
        drop(state);
        (self.complete)(Completion::Durable { batch, is_slow });
    }

    fn idle(&mut self) -> Result<(), LogError> {
        match self.writer.complete_mark() {
            // The mark can wait.
            Err(LogError::DiskFull(_)) => {}
            Err(error) => return Err(self.fail(error)),
            Ok(_) => {}
        }
        if self.writer.is_disk_full() && self.writer.refill().is_ok() {
            tracing::info!("there is disk space again: writes are taken");
        }
        self.note_full().is_marked = true;
        Ok(())
    }

    /// Says whether the disk is full; what else there is to say goes under the same lock.
    fn note_full(&self) -> MutexGuard<'_, State> {
        let disk_full = self.writer.is_disk_full();
        let mut state = self.shared.lock();
        if disk_full && !state.disk_full {
            tell_full(&self.writer);
        }
        state.disk_full = disk_full;
        state
    }

    /// Says what became of a batch.
    fn done(&mut self, frames: Vec<u8>, result: Result<(), LogError>) -> Result<(), LogError> {
        let mut state = self.note_full();
        state.done(frames, result.is_ok());
        self.shared.tell(state);
        result.map_err(|error| self.fail(error))
    }

    fn fail(&mut self, error: LogError) -> LogError {
        tracing::error!("{error}");
        self.shared.close();
        (self.complete)(Completion::Failed(Arc::new(error)));
        LogError::Poisoned
    }
}

/// Once: a start finds a disk that is full already.
pub(super) fn tell_full(writer: &LogWriter) {
    let room = writer.room();
    tracing::error!("the disk of the transaction log is full: no writes are taken; {room}");
}

fn commit(
    writer: &mut LogWriter,
    frames: &[u8],
    is_marked: bool,
) -> Result<Option<Committed>, LogError> {
    if is_marked { writer.commit(frames) } else { writer.commit_unmarked(frames) }
}

/// Closes the queue when the thread ends, by a panic too.
struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}
