//! Sockets: listeners, connections, and the threads that serve them.

pub(crate) mod conn;
mod plain;
mod workers;

pub use workers::Workers;
