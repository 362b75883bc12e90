//! Where clients come in, and that they come in elsewhere when a reconfiguration says so.

use super::address::{listen, resolve};
use super::door::{Desk, Door};
use super::welcome::Speaks;
use crate::engine::Engine;
use parking_lot::Mutex;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::watch;
use zk_zab::HostPort;

/// The ports for clients: without TLS (or with either), and with TLS.
#[derive(Debug)]
pub(crate) struct ClientPorts(Mutex<[Option<u16>; 2]>);

impl ClientPorts {
    pub(crate) fn new(ports: [Option<u16>; 2]) -> Arc<ClientPorts> {
        Arc::new(ClientPorts(Mutex::new(ports)))
    }

    pub(crate) fn get(&self) -> [Option<u16>; 2] {
        *self.0.lock()
    }
}

/// See the module.
pub(crate) struct Entrance {
    pub(super) engine: Arc<Engine>,
    pub(super) desks: Vec<Desk>,
    pub(super) doors: Arc<Mutex<Vec<Door>>>,
    /// The thread that keeps the doors.
    pub(super) keeper: Handle,
    pub(super) stopped: watch::Receiver<bool>,
    pub(super) ports: Arc<ClientPorts>,
}

impl Entrance {
    /// Nobody comes in any more.
    pub(super) fn shut(&self) {
        self.doors.lock().iter().for_each(Door::shut);
    }

    /// Whoever came without TLS comes to this address from now on; who is in stays. Nothing
    /// changes where it is the present one, or where TLS alone is spoken.
    pub(crate) fn move_to(&self, address: &HostPort, backlog: u32) -> io::Result<()> {
        let mut doors = self.doors.lock();
        let Some(door) = doors.iter_mut().find(|door| door.speaks() != Speaks::Tls) else {
            return Ok(());
        };
        let present = door.address()?;
        if is_at(address, present)? {
            return Ok(());
        }
        let (listener, is_back) = if address.port == present.port() {
            door.shut();
            match listen(address, backlog) {
                Ok(listener) => (listener, None),
                Err(error) => (open_again(present, backlog)?, Some(error)),
            }
        } else {
            (listen(address, backlog)?, None)
        };
        self.ports.0.lock()[0] = Some(listener.local_addr()?.port());
        self.take(door, listener)?;
        is_back.map_or(Ok(()), Err)
    }

    /// Keeps another door in the place of one.
    fn take(&self, old: &mut Door, listener: TcpListener) -> io::Result<()> {
        let (engine, desks) = (self.engine.clone(), self.desks.clone());
        let door = Door::new(listener, old.speaks(), engine, desks)?;
        let kept = door.try_clone()?;
        std::mem::replace(old, kept).shut();
        self.keeper.spawn(door.keep(self.stopped.clone()));
        Ok(())
    }
}

/// Whether a listener is at an address.
fn is_at(address: &HostPort, present: SocketAddr) -> io::Result<bool> {
    if address.port != present.port() {
        return Ok(false);
    }
    match (address.is_wildcard(), present.ip().is_unspecified()) {
        (false, false) => Ok(resolve(address)?.ip() == present.ip()),
        (wanted, is) => Ok(wanted == is),
    }
}

fn open_again(present: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    listen(&HostPort { host: present.ip().to_string(), port: present.port() }, backlog)
}
