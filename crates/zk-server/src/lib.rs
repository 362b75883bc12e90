//! The ZooKeeper server: sockets, threads, files and commands around the pure cores.
//!
//! It knows how bytes come and go. **Invariant:** it decides nothing about znodes, sessions or
//! order: that is zk-core's; here is only how its effects are carried out.
//!
//! Read first: [`Server`] (how a member starts and stops), `engine` (the pipeline, the tree and
//! the connections under their locks), `net` (sockets and threads).
//!
//! Tested by `cargo test -p zk-server`, and against Apache ZooKeeper by `test/compat`.

pub mod admin;
pub mod config;
mod engine;
mod inspect;
mod net;
mod quorum;
mod server;
mod storage;
pub mod tls;

pub use engine::{AUDIT_TARGET, AuditSink, log_audit};
pub use server::{Server, StartError, StopError};
pub use storage::{Loading, Misfit, StorageError};
