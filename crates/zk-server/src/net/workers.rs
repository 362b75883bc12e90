//! The threads that serve connections: each has an event loop of its own and keeps the connections
//! that it is given.

use super::outbox::Outbox;
use super::solo::Solo;
use super::welcome::{Gatekeeper, Speaks};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

/// The worker threads, and their way to stop.
pub(crate) struct Workers {
    threads: Vec<std::thread::JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

type Arrival = (std::net::TcpStream, SocketAddr, Speaks);

/// A listener, and what is spoken there.
pub(crate) type Listening = (StdListener, Speaks);

/// A worker, for who has a connection for it.
#[derive(Clone)]
struct Worker {
    arrivals: mpsc::UnboundedSender<Arrival>,
    solo: Arc<Solo>,
}

impl Workers {
    /// Starts `count` workers, and accepts on `listeners` for them: on `house`, since a worker may
    /// wait for the disk.
    pub(crate) fn start(
        gatekeeper: &Arc<Gatekeeper>,
        count: usize,
        listeners: Vec<Listening>,
        house: &Runtime,
    ) -> io::Result<Workers> {
        let (stop, stopped) = watch::channel(false);
        let mut workers = Vec::new();
        let mut threads = Vec::new();
        let count = count.max(1);
        for number in 0..count {
            let (sender, arrivals) = mpsc::unbounded_channel();
            // Without others there would be nobody for four-letter words meanwhile.
            let solo = Arc::new(Solo::new(count > 1));
            workers.push(Worker { arrivals: sender, solo: solo.clone() });
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (gatekeeper, stopped) = (gatekeeper.clone(), stopped.clone());
            let body = move || runtime.block_on(worker(gatekeeper, arrivals, solo, stopped));
            threads.push(std::thread::Builder::new().name(format!("zk-io-{number}")).spawn(body)?);
        }
        for (listener, speaks) in listeners {
            let (gatekeeper, workers) = (gatekeeper.clone(), workers.clone());
            house.spawn(accept(gatekeeper, listener, speaks, workers, stopped.clone()));
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
    mut arrivals: mpsc::UnboundedReceiver<Arrival>,
    solo: Arc<Solo>,
    mut stopped: watch::Receiver<bool>,
) {
    let outbox = Arc::<Outbox>::default();
    tokio::spawn(outbox.clone().deliver());
    loop {
        tokio::select! {
            arrival = arrivals.recv() => {
                let Some((stream, peer, speaks)) = arrival else { return };
                let thread = (outbox.clone(), solo.clone());
                tokio::spawn(gatekeeper.clone().welcome(stream, peer, speaks, thread));
            }
            _ = stopped.changed() => return,
        }
    }
}

/// Accepts until the end, handing connections out in turn.
async fn accept(
    gatekeeper: Arc<Gatekeeper>,
    listener: StdListener,
    speaks: Speaks,
    workers: Vec<Worker>,
    mut stopped: watch::Receiver<bool>,
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
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Ok(stream) = stream.into_std() else { continue };
                next = (next + 1) % workers.len();
                // At most one of them waits for the disk.
                if workers[next].solo.is_away(gatekeeper.engine.now_ms()) {
                    next = (next + 1) % workers.len();
                }
                if workers[next].arrivals.send((stream, peer, speaks)).is_err() {
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
