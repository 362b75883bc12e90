//! Sockets: listeners, connections, and the threads that serve them.

mod address;
mod backlog;
pub(crate) mod conn;
pub(crate) mod descriptors;
mod door;
mod entrance;
mod home;
mod outbox;
mod rounds;
mod seats;
mod seldom;
mod serve;
mod solo;
mod traffic;
mod turns;
mod welcome;
mod wire;
mod workers;

pub(crate) use address::{canonical, listen};
pub(crate) use backlog::Backlog;
pub(crate) use entrance::{ClientPorts, Entrance};
pub(crate) use home::Home;
pub(crate) use seats::Seats;
pub(crate) use seldom::Seldom;
pub(crate) use solo::{Company, Solo};
pub(crate) use traffic::{Traffic, cost};
pub(crate) use welcome::{Gatekeeper, Speaks};
pub(crate) use workers::{Listening, Workers};
