//! Letting connections in and handing them out to the workers.

use super::canonical;
use super::home::Home;
use super::welcome::Speaks;
use crate::engine::Engine;
use parking_lot::Mutex;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// A new connection, and what is spoken on it.
pub(super) type Arrival = (TcpStream, SocketAddr, Speaks);

/// So many connections are accepted before workers get them.
const AT_ONCE: usize = 64;

/// How long accepting rests after an error.
const PAUSE: Duration = Duration::from_millis(50);

/// How often the stand-in looks whether it is needed.
const LOOK: Duration = Duration::from_millis(20);

/// The way to a worker.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) arrivals: mpsc::UnboundedSender<Vec<Arrival>>,
    pub(super) home: Arc<Home>,
}

/// A listener.
pub(super) struct Door {
    listener: TcpListener,
    speaks: Speaks,
    engine: Arc<Engine>,
    /// The first one's thread keeps the door.
    desks: Vec<Desk>,
    next: usize,
    /// Of this door and its like: nobody comes in here any more.
    is_shut: Arc<AtomicBool>,
}

impl Door {
    pub(super) fn new(
        listener: TcpListener,
        speaks: Speaks,
        engine: Arc<Engine>,
        desks: Vec<Desk>,
    ) -> io::Result<Door> {
        listener.set_nonblocking(true)?;
        let is_shut = Arc::default();
        Ok(Door { listener, speaks, engine, desks, next: 0, is_shut })
    }

    /// Where it is.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What is spoken there.
    pub(super) fn speaks(&self) -> Speaks {
        self.speaks
    }

    /// The same door, for another thread.
    pub(super) fn try_clone(&self) -> io::Result<Door> {
        let listener = self.listener.try_clone()?;
        let (engine, desks) = (self.engine.clone(), self.desks.clone());
        let is_shut = self.is_shut.clone();
        Ok(Door { listener, speaks: self.speaks, engine, desks, next: 0, is_shut })
    }

    /// Lets in who comes, until the member stops.
    pub(super) async fn keep(mut self, stopped: watch::Receiver<bool>) {
        let listener = self.listener.try_clone().and_then(tokio::net::TcpListener::from_std);
        let listener = match listener {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "cannot listen");
                return;
            }
        };
        loop {
            let first = match listener.accept().await {
                Ok((stream, peer)) => stream.into_std().map(|stream| (stream, canonical(peer))),
                Err(error) => Err(error),
            };
            match first.and_then(|first| self.let_in(Some(first))) {
                // There are more: but first those who are in already.
                Ok(()) => tokio::task::yield_now().await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) if *stopped.borrow() || self.is_shut.load(Ordering::Acquire) => return,
                Err(error) => {
                    // Out of file descriptors, as a rule: the others go on being served.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// From now on who knocks is refused.
    pub(super) fn shut(&self) {
        self.is_shut.store(true, Ordering::Release);
        // It fails when that has been done.
        let _ = socket2::SockRef::from(&self.listener).shutdown(std::net::Shutdown::Both);
    }

    /// Hands out `first` and who else is there, each to the next worker; an error when those were
    /// all.
    fn let_in(&mut self, first: Option<(TcpStream, SocketAddr)>) -> io::Result<()> {
        let mut shares: Vec<Vec<Arrival>> = self.desks.iter().map(|_| Vec::new()).collect();
        let now_ms = self.engine.now_ms();
        let (mut came, mut end) = (first, Ok(()));
        for _ in 0..AT_ONCE {
            let (stream, peer) = match came.take().map_or_else(|| self.accept(), Ok) {
                Ok(came) => came,
                Err(error) => {
                    end = Err(error);
                    break;
                }
            };
            // At most one of them waits for the disk.
            self.turn();
            if self.desks[self.next].home.solo.is_away(now_ms) {
                self.turn();
            }
            shares[self.next].push((stream, peer, self.speaks));
        }
        for (desk, share) in self.desks.iter().zip(shares) {
            if !share.is_empty() {
                // A worker that has ended: the member stops.
                let _ = desk.arrivals.send(share);
            }
        }
        end
    }

    fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.listener.accept()?;
        stream.set_nonblocking(true)?;
        Ok((stream, canonical(peer)))
    }

    fn turn(&mut self) {
        self.next = (self.next + 1) % self.desks.len();
    }
}

/// Lets in who comes to any of `doors` while the thread that keeps them waits for the disk.
pub(super) async fn stand_in(
    doors: Arc<Mutex<Vec<Door>>>,
    engine: Arc<Engine>,
    keeper: Arc<Home>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            () = keeper.solo.begun() => {}
            _ = stopped.changed() => return,
        }
        while keeper.solo.waits_often(engine.now_ms()) && !*stopped.borrow() {
            tokio::time::sleep(LOOK).await;
            if keeper.solo.is_away(engine.now_ms()) {
                for door in &mut *doors.lock() {
                    // Should it fail, the thread whose door it is will say so.
                    let _ = door.let_in(None);
                }
            }
        }
    }
}
