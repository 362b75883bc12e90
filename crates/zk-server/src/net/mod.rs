//! Sockets: listeners, connections, and the threads that serve them.

pub(crate) mod conn;
mod plain;
mod workers;

pub(crate) use workers::Workers;
