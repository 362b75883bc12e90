//! Group commit: many appends, few writes and one fdatasync, on a thread of its own.
//!
//! **The durability rule:** [`Completion::Durable`] is the only statement that a record is on the
//! disk, and it is made after the fdatasync returned. After the first failure there is exactly one
//! [`Completion::Failed`] and nothing else ever: the file is given up, never asked again.
//!
//! Appending copies the record under a short lock and never waits for the disk. While the thread
//! is busy records gather; when it comes back it takes all of them. An append to a sleeping thread
//! wakes it once. Who would wait for the result in any case borrows the log instead
//! ([`GroupCommit::lend`]) and does the thread's work itself.
//!
//! **The queue rule:** what is appended is kept until it is durable, however full the disk is. Who
//! appends asks [`GroupCommit::admits`] before; between two askings it appends little, so that the
//! queue holds at most [`CommitOptions::pause_bytes`] and that little, for which the log's reserve
//! has room. Should there still be no space (one huge record, somebody else took what the reserve
//! set free), the thread waits for it: nothing is acknowledged meanwhile, and nothing is lost. So
//! it does when the next file cannot be opened for want of a file descriptor.

mod committer;
mod loan;
mod queue;

pub use loan::Loan;

use crate::log::{Committed, LogError, LogWriter, put_frame};
use committer::{Committer, Desk};
use queue::Shared;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use zk_proto::Zxid;

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

/// Why the log does not go on behind other files.
#[derive(Debug, thiserror::Error)]
pub enum ReopenError<E> {
    /// It failed, or was shut down.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The files could not be made; the log is closed now.
    #[error(transparent)]
    Files(E),
}

/// The appending side.
pub struct GroupCommit {
    shared: Arc<Shared>,
    desk: Arc<Desk>,
    thread: Mutex<Option<JoinHandle<Result<(), LogError>>>>,
    pause_bytes: usize,
}

impl GroupCommit {
    /// Starts the thread. `complete` runs on it, or on that of a [`Loan`]: it should only pass the
    /// news on.
    pub fn start(
        writer: LogWriter,
        options: CommitOptions,
        complete: impl FnMut(Completion) + Send + 'static,
    ) -> io::Result<GroupCommit> {
        let shared = Arc::new(Shared::new(writer.is_disk_full()));
        if writer.is_disk_full() {
            committer::tell_full(&writer);
        }
        let committer =
            Committer::new(shared.clone(), writer, options.slow_sync, Box::new(complete));
        let desk = Arc::new(Desk::new(committer));
        let (own_shared, own_desk) = (shared.clone(), desk.clone());
        let body = move || committer::run(&own_shared, &own_desk);
        let thread = Builder::new().name("zk-log".into()).spawn(body)?;
        let pause_bytes = options.pause_bytes;
        Ok(GroupCommit { shared, desk, thread: Mutex::new(Some(thread)), pause_bytes })
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
        self.shared.wake(state);
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
        self.shared.wake(state);
    }

    /// Waits until everything appended so far is durable and told.
    pub fn flush(&self) -> Result<(), AppendError> {
        while !self.flush_within(Duration::from_secs(1))? {}
        Ok(())
    }

    /// The same for `patience` at most: a full disk may take as long as it likes. Whether all of it
    /// is durable.
    pub fn flush_within(&self, patience: Duration) -> Result<bool, AppendError> {
        self.shared.flush_within(patience)
    }

    /// Closes the files, lets `make` change them, and goes on with the writer that it makes. Nobody
    /// may append meanwhile, and everything that was appended must be
    /// [flushed](GroupCommit::flush). After an error nothing is logged any more.
    pub fn reopen<E>(
        &self,
        make: impl FnOnce() -> Result<LogWriter, E>,
    ) -> Result<(), ReopenError<E>> {
        let _loan = loop {
            let mut state = self.shared.lock();
            if state.closed || state.stop {
                return Err(LogError::Poisoned.into());
            }
            if state.lend() {
                drop(state);
                break Loan(self);
            }
            drop(state);
            // The thread is about to sleep, or sees to a full disk: seldom, and never for long.
            std::thread::sleep(Duration::from_millis(1));
        };
        let mut seat = self.desk.seat();
        let reopened = match seat.take() {
            Some(committer) => committer.reopen(make),
            None => Err(LogError::Poisoned.into()),
        };
        match reopened {
            Ok(committer) => *seat = Some(committer),
            Err(error) => {
                self.shared.close();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Makes what was appended durable, completes the mark, and ends the thread. Nothing is taken
    /// afterwards.
    pub fn shutdown(&self) -> Result<(), LogError> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return Ok(()) };
        self.shared.stop();
        // A panic in the callback: the log is as it was after the last completion.
        thread.join().unwrap_or(Err(LogError::Poisoned))
    }
}

impl Drop for GroupCommit {
    fn drop(&mut self) {
        if let Err(error) = self.shutdown() {
            tracing::error!("{error}");
        }
    }
}

impl std::fmt::Debug for GroupCommit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupCommit").field("shared", &self.shared).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
