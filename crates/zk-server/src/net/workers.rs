//! The threads that serve connections: each has an event loop of its own and keeps the connections
//! that it is given.

use super::outbox::Outbox;
use super::welcome::{Gatekeeper, Speaks};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

/// The worker threads, and their way to stop.
pub(crate) struct Workers {
    threads: Vec<std::thread::JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

type Arrival = (std::net::TcpStream, SocketAddr, Speaks);

/// A listener, and what is spoken there.
pub(crate) type Listening = (StdListener, Speaks);

impl Workers {
    /// Starts `count` workers; the first also accepts on `listeners`.
    pub(crate) fn start(
        gatekeeper: &Arc<Gatekeeper>,
        count: usize,
        listeners: Vec<Listening>,
    ) -> io::Result<Workers> {
        let (stop, stopped) = watch::channel(false);
        let mut senders = Vec::new();
        let mut threads = Vec::new();
        let mut inboxes = Vec::new();
        for _ in 0..count.max(1) {
            let (sender, inbox) = mpsc::unbounded_channel();
            senders.push(sender);
            inboxes.push(inbox);
        }
        let mut listeners = Some(listeners);
        for (number, inbox) in inboxes.into_iter().enumerate() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (gatekeeper, stopped) = (gatekeeper.clone(), stopped.clone());
            let listeners = listeners.take().unwrap_or_default();
            let senders = if listeners.is_empty() { Vec::new() } else { senders.clone() };
            let body =
                move || runtime.block_on(worker(gatekeeper, inbox, stopped, listeners, senders));
            threads.push(std::thread::Builder::new().name(format!("zk-io-{number}")).spawn(body)?);
        }
        Ok(Workers { threads, stop })
    }

    /// Stops accepting, ends all connections and waits for the threads.
    pub(crate) fn stop(self) {
        let _ = self.stop.send(true);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

async fn worker(
    gatekeeper: Arc<Gatekeeper>,
    mut inbox: mpsc::UnboundedReceiver<Arrival>,
    mut stopped: watch::Receiver<bool>,
    listeners: Vec<Listening>,
    senders: Vec<mpsc::UnboundedSender<Arrival>>,
) {
    for (listener, speaks) in listeners {
        tokio::spawn(accept(listener, speaks, senders.clone()));
    }
    drop(senders);
    let outbox = Arc::<Outbox>::default();
    tokio::spawn(outbox.clone().deliver());
    loop {
        tokio::select! {
            arrival = inbox.recv() => {
                let Some((stream, peer, speaks)) = arrival else { return };
                tokio::spawn(gatekeeper.clone().welcome(stream, peer, speaks, outbox.clone()));
            }
            _ = stopped.changed() => return,
        }
    }
}

/// Accepts for ever, handing connections out in turn.
async fn accept(
    listener: StdListener,
    speaks: Speaks,
    senders: Vec<mpsc::UnboundedSender<Arrival>>,
) {
    let listener =
        match listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener)) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "cannot listen");
                return;
            }
        };
    let mut next = 0;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Ok(stream) = stream.into_std() else { continue };
                next = (next + 1) % senders.len();
                if senders[next].send((stream, peer, speaks)).is_err() {
                    return;
                }
            }
            Err(error) => {
                // Out of file descriptors, as a rule: the others go on being served.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}
