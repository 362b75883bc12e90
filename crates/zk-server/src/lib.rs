//! The ZooKeeper server: sockets, threads, files and commands around the pure cores.
//!
//! It knows how bytes come and go. **Invariant:** it decides nothing about znodes, sessions or
//! order: that is zk-core's; here is only how its effects are carried out.
//!
//! Read first: [`Engine`] (the pipeline, the tree and the connections under their locks).
//!
//! Tested by `cargo test -p zk-server`, and against Apache ZooKeeper by `test/compat`.

pub mod engine;
mod net;

pub use engine::{Engine, EngineOptions, TxnLog};
pub use net::Workers;
