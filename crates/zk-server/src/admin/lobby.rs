//! Who is connected to the admin server. Places and memory are few, and a client that lets the
//! server wait, for the rest of a request or until it reads an answer, must not keep others away:
//! when room is wanted, the one that has let it wait longest goes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// Connections at once: operators and collectors are few.
pub(super) const MAX_CONNECTIONS: usize = 64;
/// Bytes of answers that may wait for their clients: some that list a whole tree.
const MAX_HELD: usize = 64 << 20;

/// All that are connected.
#[derive(Debug)]
pub(super) struct Lobby {
    guests: Mutex<Vec<Arc<Guest>>>,
    start: Instant,
    /// Somebody waits for a place.
    is_full: AtomicBool,
    /// The server has done its work for one of them.
    is_done: Notify,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Guest {
    /// When it last sent or took something, ms since the lobby's start.
    moved_ms: AtomicU64,
    /// The server is at work for it.
    is_served: AtomicBool,
    /// Bytes of its answers that are in memory.
    held: AtomicUsize,
    is_asked_to_leave: AtomicBool,
    leave: Notify,
}

impl Lobby {
    pub(super) fn new() -> Lobby {
        Lobby {
            guests: Mutex::default(),
            start: Instant::now(),
            is_full: AtomicBool::new(false),
            is_done: Notify::new(),
        }
    }

    fn now_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// Takes a guest in.
    pub(super) fn enter(self: &Arc<Self>) -> Stay {
        let guest = Arc::new(Guest {
            moved_ms: AtomicU64::new(self.now_ms()),
            is_served: AtomicBool::new(false),
            held: AtomicUsize::new(0),
            is_asked_to_leave: AtomicBool::new(false),
            leave: Notify::new(),
        });
        self.guests.lock().push(guest.clone());
        Stay { guest, lobby: self.clone() }
    }

    /// Whether somebody waits for a place.
    pub(super) fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    /// Asks the guest to leave that has let the server wait longest, unless one is leaving. If the
    /// server works for all of them, there may be one when this has waited for the first to be
    /// done; it waits in any case.
    pub(super) async fn make_place(&self) {
        self.ask_slowest();
        self.is_done.notified().await;
    }

    fn ask_slowest(&self) {
        let guests = self.guests.lock();
        if !guests.iter().any(|guest| guest.is_leaving())
            && let Some(guest) = slowest(&guests, |_| true)
        {
            guest.ask_to_leave();
        }
    }

    /// Asks guests with answers to leave, until the others hold no more than they may.
    fn make_memory(&self) {
        let guests = self.guests.lock();
        loop {
            let staying = guests.iter().filter(|guest| !guest.is_leaving());
            let held = staying.map(|guest| guest.held.load(Ordering::Relaxed)).sum::<usize>();
            let holds = |guest: &Guest| guest.held.load(Ordering::Relaxed) > 0;
            match slowest(&guests, holds).filter(|_| held > MAX_HELD) {
                Some(guest) => guest.ask_to_leave(),
                None => return,
            }
        }
    }
}

/// Who has let the server wait longest; nobody that it works for or that is on its way out.
fn slowest(guests: &[Arc<Guest>], holds: impl Fn(&Guest) -> bool) -> Option<&Arc<Guest>> {
    let lets_wait = |guest: &&Arc<Guest>| {
        !guest.is_served.load(Ordering::Relaxed) && !guest.is_leaving() && holds(guest)
    };
    guests.iter().filter(lets_wait).min_by_key(|guest| guest.moved_ms.load(Ordering::Relaxed))
}

impl Guest {
    fn is_leaving(&self) -> bool {
        self.is_asked_to_leave.load(Ordering::Relaxed)
    }

    fn ask_to_leave(&self) {
        self.is_asked_to_leave.store(true, Ordering::Relaxed);
        self.leave.notify_one();
    }
}

/// A guest's time in the lobby; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Stay {
    guest: Arc<Guest>,
    lobby: Arc<Lobby>,
}

impl Stay {
    /// The guest's socket, watched.
    pub(super) fn watch<S>(self: &Arc<Self>, inner: S) -> Watched<S> {
        Watched { inner, stay: self.clone() }
    }

    /// Until the guest must leave: it is asked to, or has let the server wait for `most`.
    pub(super) async fn is_over(&self, most: Duration) {
        loop {
            let moved = Duration::from_millis(self.guest.moved_ms.load(Ordering::Relaxed));
            let waited = self.lobby.start.elapsed().saturating_sub(moved);
            let is_served = self.guest.is_served.load(Ordering::Relaxed);
            let rest = if is_served { most } else { most.saturating_sub(waited) };
            if rest.is_zero() {
                return;
            }
            tokio::select! {
                () = self.guest.leave.notified() => return,
                () = tokio::time::sleep(rest) => {}
            }
        }
    }

    /// Whether an answer must be the guest's last: somebody waits, and a guest that asks on and on
    /// never lets the server wait.
    pub(super) fn is_last(&self) -> bool {
        self.lobby.is_full.load(Ordering::Relaxed)
    }

    /// The server is at work for the guest until this is dropped.
    pub(super) fn serve(self: &Arc<Self>) -> Serving {
        self.guest.is_served.store(true, Ordering::Relaxed);
        Serving(self.clone())
    }

    /// The server waits for the guest again until this is dropped, although it is served.
    pub(super) fn wait(self: &Arc<Self>) -> Waiting {
        self.guest.is_served.store(false, Ordering::Relaxed);
        Waiting(self.clone())
    }

    /// An answer, which counts until it is sent.
    pub(super) fn hold(self: &Arc<Self>, text: Vec<u8>) -> Bytes {
        self.guest.held.fetch_add(text.len(), Ordering::Relaxed);
        let held = Bytes::from_owner(Held { text, guest: self.guest.clone() });
        self.lobby.make_memory();
        held
    }

    fn moved(&self) {
        self.guest.moved_ms.store(self.lobby.now_ms(), Ordering::Relaxed);
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.lobby.guests.lock().retain(|guest| !Arc::ptr_eq(guest, &self.guest));
    }
}

/// See [`Stay::serve`].
#[derive(Debug)]
pub(super) struct Serving(Arc<Stay>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.moved();
        self.0.guest.is_served.store(false, Ordering::Relaxed);
        self.0.lobby.is_done.notify_one();
    }
}

/// See [`Stay::wait`].
#[derive(Debug)]
pub(super) struct Waiting(Arc<Stay>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.guest.is_served.store(true, Ordering::Relaxed);
    }
}

struct Held {
    text: Vec<u8>,
    guest: Arc<Guest>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.guest.held.fetch_sub(self.text.len(), Ordering::Relaxed);
    }
}

/// A socket that tells when its other side sends or takes something.
#[derive(Debug)]
pub(super) struct Watched<S> {
    inner: S,
    stay: Arc<Stay>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.stay.moved();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if matches!(polled, Poll::Ready(Ok(_))) {
            self.stay.moved();
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        if matches!(polled, Poll::Ready(Ok(_))) {
            self.stay.moved();
        }
        polled
    }

    /// Else answers would be copied before they are sent, and would not count.
    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lobby: &Arc<Lobby>, moved_ms: u64) -> Arc<Stay> {
        let stay = Arc::new(lobby.enter());
        stay.guest.moved_ms.store(moved_ms, Ordering::Relaxed);
        stay
    }

    #[test]
    fn who_lets_the_server_wait_longest_makes_place() {
        let start = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        let lobby = Arc::new(Lobby { start, ..Lobby::new() });
        let guests = [7, 3, 1, 5].map(|moved_ms| at(&lobby, moved_ms));
        let serving = guests[2].serve();
        let leaving = || guests.each_ref().map(|stay| stay.guest.is_leaving());
        lobby.ask_slowest();
        assert_eq!(leaving(), [false, true, false, false], "not who is served");
        lobby.ask_slowest();
        assert_eq!(leaving(), [false, true, false, false], "one at a time");
        let mut guests = Vec::from(guests);
        drop(guests.remove(1));
        let leaving = || guests.iter().map(|it| it.guest.is_leaving()).collect::<Vec<_>>();
        lobby.ask_slowest();
        assert_eq!(leaving(), [false, false, true]);
        drop(guests.remove(2));
        drop(serving);
        let leaving = || guests.iter().map(|it| it.guest.is_leaving()).collect::<Vec<_>>();
        lobby.ask_slowest();
        assert_eq!(leaving(), [true, false], "who was served has just been at work");
        drop(guests);
        assert!(lobby.guests.lock().is_empty());
        lobby.ask_slowest();
    }

    #[test]
    fn answers_that_nobody_reads_make_room() {
        let lobby = Arc::new(Lobby::new());
        let guests = [1, 2, 3, 4].map(|moved_ms| at(&lobby, moved_ms));
        let answers = [1, 2, 3].map(|at| guests[at].hold(vec![0; MAX_HELD / 2 - 1]));
        let leaving = || guests.each_ref().map(|stay| stay.guest.is_leaving());
        assert_eq!(leaving(), [false, true, false, false], "the slowest of those with answers");
        drop(answers);
        assert!(guests.iter().all(|stay| stay.guest.held.load(Ordering::Relaxed) == 0));
    }
}
