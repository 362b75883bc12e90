//! The threads that serve connections: each has an event loop of its own and keeps the connections
//! that it is given.

use super::door::{Arrival, Desk, Door, stand_in};
use super::entrance::{ClientPorts, Entrance};
use super::home::Home;
use super::welcome::{Gatekeeper, Speaks};
use parking_lot::Mutex;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

/// The worker threads, and their way to stop.
pub(crate) struct Workers {
    threads: Vec<JoinHandle<()>>,
    entrance: Arc<Entrance>,
    stop: watch::Sender<bool>,
}

/// A listener, and what is spoken there.
pub(crate) type Listening = (TcpListener, Speaks);

/// What a worker begins with.
struct Start {
    gatekeeper: Arc<Gatekeeper>,
    arrivals: mpsc::UnboundedReceiver<Vec<Arrival>>,
    home: Arc<Home>,
    doors: Vec<Door>,
    stopped: watch::Receiver<bool>,
}

impl Workers {
    /// Starts `count` workers. The first one also accepts on `listeners`; while it waits for the
    /// disk, `house` does.
    pub(crate) fn start(
        gatekeeper: &Arc<Gatekeeper>,
        count: usize,
        listeners: Vec<Listening>,
        ports: Arc<ClientPorts>,
        house: &Runtime,
    ) -> io::Result<Workers> {
        let (stop, stopped) = watch::channel(false);
        let count = count.max(1);
        let start = |_| {
            let (sender, arrivals) = mpsc::unbounded_channel();
            // Without others there would be nobody for four-letter words meanwhile.
            let engine = &gatekeeper.engine;
            let home = Home::new(count > 1, engine.backlog.clone(), engine.traffic.clone());
            let home = Arc::new(home);
            engine.homes.lock().push(home.clone());
            let desk = Desk { arrivals: sender, home: home.clone() };
            let (gatekeeper, stopped) = (gatekeeper.clone(), stopped.clone());
            (desk, Start { gatekeeper, arrivals, home, doors: Vec::new(), stopped })
        };
        let (desks, mut starts): (Vec<Desk>, Vec<Start>) = (0..count).map(start).unzip();
        let keeper = desks[0].home.clone();
        let engine = gatekeeper.engine.clone();
        let mut doors = Vec::new();
        for (listener, speaks) in listeners {
            let door = Door::new(listener, speaks, engine.clone(), desks.clone())?;
            doors.push(door.try_clone()?);
            starts[0].doors.push(door);
        }
        let doors = Arc::new(Mutex::new(doors));
        if !doors.lock().is_empty() {
            house.spawn(stand_in(doors.clone(), engine.clone(), keeper, stopped.clone()));
        }
        let (mut threads, mut keepers) = (Vec::new(), Vec::new());
        for (number, start) in starts.into_iter().enumerate() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            keepers.push(runtime.handle().clone());
            let body = move || runtime.block_on(work(start));
            threads.push(Builder::new().name(format!("zk-io-{number}")).spawn(body)?);
        }
        let keeper = keepers.swap_remove(0);
        let entrance = Arc::new(Entrance { engine, desks, doors, keeper, stopped, ports });
        Ok(Workers { threads, entrance, stop })
    }

    /// Where clients come in.
    pub(crate) fn entrance(&self) -> Arc<Entrance> {
        self.entrance.clone()
    }

    /// Stops accepting, ends all connections and waits for the threads.
    pub(crate) fn stop(self) {
        let _ = self.stop.send(true);
        // Their thread may wait for the disk.
        self.entrance.shut();
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

async fn work(Start { gatekeeper, mut arrivals, home, doors, mut stopped }: Start) {
    for door in doors {
        tokio::spawn(door.keep(stopped.clone()));
    }
    let own = home.clone();
    tokio::spawn(async move { own.outbox.deliver().await });
    let own = home.clone();
    tokio::spawn(async move { own.turns.give().await });
    let own = home.clone();
    tokio::spawn(async move { own.rounds.make().await });
    loop {
        tokio::select! {
            some = arrivals.recv() => {
                let Some(some) = some else { return };
                for (stream, peer, speaks) in some {
                    tokio::spawn(gatekeeper.clone().welcome(stream, peer, speaks, home.clone()));
                }
            }
            _ = stopped.changed() => return,
        }
    }
}
