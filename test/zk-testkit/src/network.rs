//! A network between members that breaks where a test wants: every member reaches each other one
//! through a forwarder of its own, and needs no root for it.
//!
//! ```text
//!   server 1 --> 127.0.2.1:p --[1 to 2]--> 127.0.1.2:q  server 2
//!   server 2 --> 127.0.2.2:r --[2 to 1]--> 127.0.1.1:s  server 1
//! ```
//!
//! Each member's `zoo.cfg` has its own address in its own line and forwarders in the others'
//! ([`Network::lines`]); with `reconfigEnabled=false` members do not exchange these lines. A member
//! tells its election address to whom it dials, though, and the larger sid dials back there: the
//! forwarders put their own address in its place.
//!
//! What a fault means is what TCP makes of it. A *cut* is a host that refuses: connections are
//! reset, and nobody listens. *Silence* from one member to another loses every packet of that
//! direction: connections stay, what was sent arrives when the silence ends, as retransmissions do,
//! and so does the end of a connection. New connections come about only when both directions work;
//! whoever dials meanwhile hears nothing until then.

mod forward;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use rustix::net::{Shutdown, listen, shutdown};

use crate::{Error, free_port};

/// From one member to another, by their sids.
pub type Way = (i64, i64);

/// What becomes of bytes on a way; what is worse is greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Flow {
    /// They arrive, at once or after so long; under load after up to twice as long.
    Passes(Duration),
    /// They do not arrive until that is over.
    Silent,
    /// There are no connections, of this way and of the one back: those that there are are reset,
    /// new ones are refused.
    Cut,
}

const AT_ONCE: Flow = Flow::Passes(Duration::ZERO);

/// A member's ports, or those where forwarders stand for it.
#[derive(Clone, Copy, Debug)]
struct Ports {
    quorum: SocketAddr,
    election: SocketAddr,
}

/// One connection through a forwarder.
#[derive(Debug)]
struct Conn {
    /// Who dialled, and whom.
    way: Way,
    source: TcpStream,
    /// As soon as the other end was dialled.
    sink: OnceLock<TcpStream>,
    is_reset: AtomicBool,
}

impl Conn {
    /// Ends it with an RST, and wakes whoever reads or writes.
    fn reset(&self) {
        self.is_reset.store(true, Ordering::SeqCst);
        for stream in [Some(&self.source), self.sink.get()].into_iter().flatten() {
            // An end that is closed already needs neither.
            let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    fn is_reset(&self) -> bool {
        self.is_reset.load(Ordering::SeqCst)
    }
}

#[derive(Debug)]
struct Listener {
    way: Way,
    socket: Arc<TcpListener>,
    is_open: bool,
}

#[derive(Default, Debug)]
struct State {
    /// Of ways that are not as they should be.
    flows: BTreeMap<Way, Flow>,
    listeners: Vec<Listener>,
    conns: Vec<Weak<Conn>>,
    is_over: bool,
}

impl State {
    fn flow(&self, way: Way) -> Flow {
        self.flows.get(&way).copied().unwrap_or(AT_ONCE)
    }

    /// Sockets follow the flows. A listener that is shut down keeps its port, and listens again
    /// when told to: Linux does both.
    fn settle(&mut self) {
        let State { flows, listeners, conns, is_over } = self;
        let is_cut = |way: Way| *is_over || flows.get(&way) == Some(&Flow::Cut);
        for it in listeners {
            let wanted = !is_cut(it.way);
            if wanted != it.is_open {
                let done = if wanted {
                    listen(&*it.socket, 128)
                } else {
                    shutdown(&*it.socket, Shutdown::Both)
                };
                it.is_open = done.map_or(it.is_open, |()| wanted);
            }
        }
        conns.retain(|conn| {
            let conn = conn.upgrade();
            conn.iter().filter(|conn| is_cut(conn.way)).for_each(|conn| conn.reset());
            conn.is_some()
        });
    }
}

#[derive(Default, Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Where each member really is.
    members: BTreeMap<i64, Ports>,
    /// Where one member finds another.
    forwarders: BTreeMap<Way, Ports>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change.
    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

/// The network of an ensemble. Whoever drops it ends all connections.
#[derive(Debug)]
pub struct Network {
    shared: Arc<Shared>,
}

/// A free port of a host of our own. Bound by its number: only such a socket keeps its port while
/// it does not listen.
fn bind(host: Ipv4Addr) -> Result<TcpListener, Error> {
    let mut tries = 10;
    loop {
        tries -= 1;
        match TcpListener::bind((host, free_port()?)) {
            Err(_) if tries > 0 => {}
            result => return Ok(result?),
        }
    }
}

impl Network {
    /// Between members with these sids.
    pub fn new(sids: &[i64]) -> Result<Network, Error> {
        let mut shared = Shared::default();
        let mut listeners = Vec::new();
        let host = |net: u8, sid: i64| Ipv4Addr::new(127, 0, net, u8::try_from(sid).unwrap_or(0));
        for sid in sids {
            // Addresses that nobody dials from, so that no outgoing connection has their ports.
            let at = |port| SocketAddr::from((host(1, *sid), port));
            let ports = Ports { quorum: at(free_port()?), election: at(free_port()?) };
            shared.members.insert(*sid, ports);
        }
        for from in sids {
            for to in sids.iter().filter(|to| *to != from) {
                let (quorum, election) = (bind(host(2, *from))?, bind(host(2, *from))?);
                let ports =
                    Ports { quorum: quorum.local_addr()?, election: election.local_addr()? };
                shared.forwarders.insert((*from, *to), ports);
                listeners.extend([((*from, *to), quorum, false), ((*from, *to), election, true)]);
            }
        }
        let shared = Arc::new(shared);
        for (way, socket, is_election) in listeners {
            let socket = Arc::new(socket);
            let listener = Listener { way, socket: socket.clone(), is_open: true };
            shared.state().listeners.push(listener);
            let shared = shared.clone();
            thread::spawn(move || forward::accept(&shared, &socket, way, is_election));
        }
        Ok(Network { shared })
    }

    /// The `server.N` lines of a member's `zoo.cfg`.
    #[must_use]
    pub fn lines(&self, sid: i64) -> Vec<String> {
        let seen = self.shared.members.iter().map(|(other, real)| {
            let at = self.shared.forwarders.get(&(sid, *other)).unwrap_or(real);
            format!("server.{other}={}:{}", at.quorum, at.election.port())
        });
        seen.collect()
    }

    /// From now on these ways are so, and all others as they should be.
    pub fn set(&self, flows: &BTreeMap<Way, Flow>) {
        let mut state = self.shared.state();
        state.flows.clone_from(flows);
        let cuts = flows.iter().filter(|(_, flow)| **flow == Flow::Cut);
        state.flows.extend(cuts.map(|((from, to), cut)| ((*to, *from), *cut)));
        state.settle();
        self.shared.changed.notify_all();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.is_over = true;
        state.settle();
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests;
