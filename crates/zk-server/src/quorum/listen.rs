//! Where a member listens for the others, and that it listens elsewhere when the ensemble says so.

use std::io;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zk_quorum::election::{ElectionEvent, ElectionPort, ElectionPortOptions};
use zk_quorum::{Guards, Guests, Wire, within};
use zk_zab::{HostPort, MemberAddress};

use super::driver::Driver;
use crate::config::DEFAULT_BACKLOG;
use crate::net;

/// Listeners that are bound.
#[derive(Debug)]
pub(crate) struct Bound {
    /// For learners.
    pub(crate) quorum: Vec<TcpListener>,
    /// For votes.
    pub(crate) election: Vec<TcpListener>,
}

/// Why a member cannot listen for the others.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {address} for other members: {source}")]
pub(crate) struct ListenError {
    pub(crate) address: HostPort,
    pub(crate) source: io::Error,
}

/// Listens at a member's addresses; with `on_all` at their ports alone.
pub(crate) fn bind(addresses: &[MemberAddress], on_all: bool) -> Result<Bound, ListenError> {
    Ok(Bound {
        quorum: bind_ports(addresses, on_all, |address| address.quorum_port)?,
        election: bind_ports(addresses, on_all, |address| address.election_port)?,
    })
}

fn bind_ports(
    addresses: &[MemberAddress],
    on_all: bool,
    port: fn(&MemberAddress) -> u16,
) -> Result<Vec<TcpListener>, ListenError> {
    let mut listeners = Vec::new();
    for address in addresses {
        let host = if on_all { "0.0.0.0" } else { &address.host };
        let address = HostPort { host: host.to_owned(), port: port(address) };
        let listener = net::listen(&address, DEFAULT_BACKLOG);
        listeners.push(listener.map_err(|source| ListenError { address, source })?);
    }
    Ok(listeners)
}

/// Listens for observers at a member's addresses.
fn bind_for_observers(
    addresses: &[MemberAddress],
    port: u16,
    on_all: bool,
) -> io::Result<Vec<TcpListener>> {
    let at = addresses.iter().map(|it| MemberAddress { quorum_port: port, ..it.clone() });
    bind_ports(&at.collect::<Vec<_>>(), on_all, |address| address.quorum_port)
        .map_err(io::Error::other)
}

/// Where a member is, as it tells those whom it dials.
pub(crate) fn advertised(addresses: &[MemberAddress]) -> Vec<HostPort> {
    let at = |it: &MemberAddress| HostPort { host: it.host.clone(), port: it.election_port };
    addresses.iter().map(at).collect()
}

/// Between two attempts to listen elsewhere.
const REBIND_PAUSE: Duration = Duration::from_millis(200);

/// A follower's port for observers: it is open while it has something for them.
pub(super) struct ObserverPort {
    port: u16,
    on_all: bool,
    options: ElectionPortOptions,
    acceptors: Vec<JoinHandle<()>>,
    /// Where they listen.
    open_at: Vec<MemberAddress>,
    /// After a failure, until when it is not tried again.
    pauses: Option<Instant>,
}

impl ObserverPort {
    pub(super) fn new(port: u16, on_all: bool, options: ElectionPortOptions) -> ObserverPort {
        let (acceptors, open_at) = (Vec::new(), Vec::new());
        ObserverPort { port, on_all, options, acceptors, open_at, pauses: None }
    }

    /// Opens or closes it. At other addresses than before it is closed first, and opened the next
    /// time.
    pub(super) fn set(&mut self, is_open: bool, at: &[MemberAddress], come: &mpsc::Sender<Wire>) {
        let moves = !self.acceptors.is_empty() && self.open_at != at;
        if !is_open || moves {
            return self.acceptors.drain(..).for_each(|acceptor| acceptor.abort());
        }
        if !self.acceptors.is_empty() || self.pauses.is_some_and(|until| until > Instant::now()) {
            return;
        }
        let bound = bind_for_observers(at, self.port, self.on_all).and_then(listeners);
        match bound {
            Ok(bound) => {
                let (guards, patience) = (&self.options.dial.guards, self.options.greeting_timeout);
                let accept_at = |listener| {
                    tokio::spawn(accept(listener, guards.clone(), patience, come.clone()))
                };
                self.acceptors = bound.into_iter().map(accept_at).collect();
                (self.open_at, self.pauses) = (at.to_vec(), None);
                tracing::info!("observers may come to port {}", self.port);
            }
            Err(error) => {
                tracing::warn!("{error} (observerMasterPort); it is tried again");
                self.pauses = Some(Instant::now() + OBSERVERS_PAUSE);
            }
        }
    }
}

/// Between two attempts to listen for observers.
const OBSERVERS_PAUSE: Duration = Duration::from_secs(5);

/// What listens now.
pub(super) struct Listening {
    acceptors: Vec<JoinHandle<()>>,
    pub(super) events: mpsc::Receiver<ElectionEvent>,
}

impl Driver {
    /// Listens there and nowhere else, from the next turn of the thread on.
    pub(super) fn listen_at(&self, addresses: &[MemberAddress]) {
        let mut listens_at = self.listens_at.lock();
        if **listens_at != *addresses {
            tracing::info!("this member listens at other addresses from now on");
            listens_at.clear();
            listens_at.extend_from_slice(addresses);
            *self.moves_at.lock() = Some(Instant::now());
        }
    }

    /// Takes bound listeners into use.
    pub(super) fn open(
        &self,
        bound: Bound,
        mut options: ElectionPortOptions,
        learners: &mpsc::Sender<Wire>,
    ) -> io::Result<Listening> {
        let (quorum, election) = (listeners(bound.quorum)?, listeners(bound.election)?);
        let (guards, patience) = (options.dial.guards.clone(), options.greeting_timeout);
        let accept_at =
            |listener| tokio::spawn(accept(listener, guards.clone(), patience, learners.clone()));
        let acceptors = quorum.into_iter().map(accept_at).collect();
        options.advertised = advertised(&self.listens_at.lock());
        let mut held = self.quorum.lock();
        let configs = held.state.peer.configs().clone();
        let (port, events) = ElectionPort::start(options, &configs, election);
        held.state.election = Some(port);
        Ok(Listening { acceptors, events })
    }

    /// Moves to other addresses, if that is wanted. What cannot be bound is tried again.
    pub(super) async fn move_if_wanted(
        &self,
        listening: &mut Listening,
        options: &ElectionPortOptions,
        on_all: bool,
        learners: &mpsc::Sender<Wire>,
    ) {
        if self.moves_at.lock().take_if(|at| *at <= Instant::now()).is_none() {
            return;
        }
        for acceptor in listening.acceptors.drain(..) {
            acceptor.abort();
            let _ = acceptor.await;
        }
        let old = self.quorum.lock().state.election.take();
        drop(old);
        let addresses = self.listens_at.lock().clone();
        let moved = bind(&addresses, on_all).map_err(io::Error::other);
        match moved.and_then(|bound| self.open(bound, options.clone(), learners)) {
            Ok(moved) => *listening = moved,
            Err(error) => {
                // The old ones may need a moment to be gone.
                tracing::warn!("{error}; it is tried again");
                *self.moves_at.lock() = Some(Instant::now() + REBIND_PAUSE);
            }
        }
    }
}

fn listeners(bound: Vec<TcpListener>) -> io::Result<Vec<tokio::net::TcpListener>> {
    let listener = |listener: TcpListener| {
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener)
    };
    bound.into_iter().map(listener).collect()
}

async fn accept(
    listener: tokio::net::TcpListener,
    guards: Guards,
    patience: Duration,
    learners: mpsc::Sender<Wire>,
) {
    let mut guests = Guests::default();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("cannot accept on the quorum port: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (guards, learners) = (guards.clone(), learners.clone());
        guests.admit(peer.ip(), |guest| {
            tokio::spawn(async move {
                match admit(stream, &guards, patience).await {
                    Ok(wire) => {
                        drop(guest);
                        // Else this member ends.
                        drop(learners.send(wire).await);
                    }
                    Err(error) if guest.may_be_told_of() => {
                        tracing::warn!("a learner at {peer} is refused: {error}");
                    }
                    Err(_) => {}
                }
            })
            .abort_handle()
        });
    }
}

/// Lets a learner in that shows what the guards want to see.
async fn admit(
    stream: tokio::net::TcpStream,
    guards: &Guards,
    patience: Duration,
) -> io::Result<Wire> {
    let mut wire = within(patience, guards.accepted(stream)).await?;
    guards.admit(&mut wire, patience).await?;
    Ok(wire)
}
