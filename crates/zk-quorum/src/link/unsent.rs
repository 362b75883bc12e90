//! What waits to be sent on a connection.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};

pub(super) struct Unsent {
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
    error: Option<io::Error>,
    has_failed: bool,
}

/// The next thing to send.
pub(super) enum Next {
    Bytes(Vec<u8>),
    Stream(mpsc::Receiver<Vec<u8>>),
}

/// An allocation of more than this is not kept for the next packets.
const KEPT_BYTES: usize = 1 << 20;

impl Unsent {
    pub(super) fn new(max_bytes: usize) -> Unsent {
        let state = Mutex::default();
        Unsent { state, max_bytes, news: Notify::new(), failure: Notify::new() }
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
        let Some(Next::Bytes(bytes)) = state.queue.back_mut() else { return };
        let before = bytes.len();
        put(bytes);
        let more = bytes.len() - before;
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
                match state.queue.pop_front() {
                    // Room for what comes, put there below.
                    Some(Next::Bytes(bytes)) if bytes.is_empty() => {
                        if !state.queue.is_empty() {
                            continue;
                        }
                        state.queue.push_back(Next::Bytes(bytes));
                    }
                    Some(Next::Bytes(bytes)) => {
                        state.bytes -= bytes.len();
                        if state.queue.is_empty() && spare.capacity() <= KEPT_BYTES {
                            state.queue.push_back(Next::Bytes(std::mem::take(&mut spare)));
                        }
                        return Next::Bytes(bytes);
                    }
                    Some(stream) => return stream,
                    None => {}
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
