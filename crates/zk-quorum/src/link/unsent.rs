//! What waits to be sent on a connection. Whoever has something to send once in a while does it
//! itself: to wake the task that sends would take longer than to send. Under load the task gathers
//! more.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{Notify, mpsc};

pub(super) struct Unsent {
    /// What anybody may write to; of a guarded connection, nothing.
    out: Option<OwnedWriteHalf>,
    state: Mutex<State>,
    max_bytes: usize,
    /// There is something to send.
    news: Notify,
    /// The connection has failed.
    failure: Notify,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Next>,
    bytes: usize,
    /// The task that sends has nothing in its hands.
    is_idle: bool,
    put_at: Option<Instant>,
    error: Option<io::Error>,
    has_failed: bool,
}

/// The next thing to send.
pub(super) enum Next {
    Bytes(Vec<u8>),
    Stream(mpsc::Receiver<Vec<u8>>),
}

/// What comes sooner than this behind something else waits for what follows.
const RARE: Duration = Duration::from_micros(50);

/// An allocation of more than this is not kept for the next packets.
const KEPT_BYTES: usize = 1 << 20;

impl Unsent {
    pub(super) fn new(out: Option<OwnedWriteHalf>, max_bytes: usize) -> Unsent {
        let state = Mutex::default();
        Unsent { out, state, max_bytes, news: Notify::new(), failure: Notify::new() }
    }

    /// Sends all of `bytes`.
    pub(super) async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        let Some(out) = &self.out else { return Err(io::ErrorKind::NotConnected.into()) };
        while !bytes.is_empty() {
            out.writable().await?;
            match out.try_write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is made at once, but for what a caller puts; that one may end in a panic,
        // with half of a packet, and then nothing more is sent.
        self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = PoisonError::into_inner(poisoned);
            state.fail(io::Error::other("a packet was not finished"));
            state
        })
    }

    pub(super) fn put(&self, put: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        if state.has_failed {
            return;
        }
        if !matches!(state.queue.back(), Some(Next::Bytes(_))) {
            state.queue.push_back(Next::Bytes(Vec::new()));
        }
        let now = Instant::now();
        let is_rare = state.put_at.replace(now).is_none_or(|last| now - last > RARE);
        let may_send = is_rare && state.is_idle && state.queue.len() == 1 && state.bytes == 0;
        let Some(Next::Bytes(bytes)) = state.queue.back_mut() else { return };
        let before = bytes.len();
        put(bytes);
        let mut more = bytes.len() - before;
        // What fails here fails again for the task, which tells it.
        if may_send
            && let Some(out) = &self.out
            && let Ok(sent) = out.try_write(bytes)
        {
            bytes.drain(..sent);
            more -= sent;
            if more == 0 {
                return;
            }
        }
        state.bytes += more;
        let waiting = state.bytes;
        if waiting > self.max_bytes {
            let why = format!("{waiting} bytes wait for the other side, which does not read");
            state.fail(io::Error::new(io::ErrorKind::TimedOut, why));
            self.failure.notify_one();
        }
        drop(state);
        self.news.notify_one();
    }

    pub(super) fn put_stream(&self, pieces: mpsc::Receiver<Vec<u8>>) {
        let mut state = self.lock();
        if !state.has_failed {
            state.queue.push_back(Next::Stream(pieces));
            drop(state);
            self.news.notify_one();
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Waits for something to send; `spare` is an allocation that may be used again.
    pub(super) async fn next(&self, mut spare: Vec<u8>) -> Next {
        loop {
            {
                let mut state = self.lock();
                state.is_idle = false;
                match state.queue.pop_front() {
                    // Room for what comes, put there below.
                    Some(Next::Bytes(bytes)) if bytes.is_empty() => {
                        if !state.queue.is_empty() {
                            continue;
                        }
                        state.queue.push_back(Next::Bytes(bytes));
                        state.is_idle = true;
                    }
                    Some(Next::Bytes(bytes)) => {
                        state.bytes -= bytes.len();
                        if state.queue.is_empty() && spare.capacity() <= KEPT_BYTES {
                            state.queue.push_back(Next::Bytes(std::mem::take(&mut spare)));
                        }
                        return Next::Bytes(bytes);
                    }
                    Some(stream) => return stream,
                    None => state.is_idle = true,
                }
            }
            self.news.notified().await;
        }
    }

    /// The other side does not take what is sent.
    pub(super) fn fail(&self, error: io::Error) {
        self.lock().fail(error);
        self.failure.notify_one();
    }

    /// Waits until sending has failed.
    pub(super) async fn failed(&self) -> io::Error {
        loop {
            if let Some(error) = self.lock().error.take() {
                return error;
            }
            self.failure.notified().await;
        }
    }
}

impl State {
    fn fail(&mut self, error: io::Error) {
        if !std::mem::replace(&mut self.has_failed, true) {
            self.error = Some(error);
        }
        self.queue.clear();
        self.bytes = 0;
    }
}
