//! An asynchronous ZooKeeper client: one session, pipelined requests, watches as streams.
//!
//! It knows sockets, TLS and tokio; all decisions are made by
//! [`zk_session::client::ClientSession`]. **Invariant:** no protocol state lives here, nothing
//! waits without a bound: requests are counted by weight before they are queued, events are
//! counted per watch.
//!
//! Read first: [`Client`] (what one can ask), [`Options`] (where and how), [`Watch`] (events).
//!
//! Tested by `cargo test -p zk-client`: against a small server of the tests, which can misbehave;
//! against Apache with `-- --ignored` after `test/foreign/setup.sh`.
//!
//! Mirrors `org.apache.zookeeper.ZooKeeper` of Apache ZooKeeper 3.9.

mod call;
mod chroot;
mod client;
mod driver;
mod error;
#[cfg(fuzzing)]
pub mod fuzz;
mod link;
mod multi;
mod ops;
mod options;
mod quota;
mod registry;
mod sasl;
mod shared;
mod subtree;
pub mod tls;
mod watch;

pub use call::{Pending, Reply};
pub use client::Client;
pub use driver::CLOSED_AT_ONCE;
pub use error::Error;
pub use multi::OpResult;
pub use ops::{ANY_VERSION, NewZnode, OwnedAcl};
pub use options::{Address, DEFAULT_PORT, Options, OptionsError};
pub use quota::{Quota, QuotaError};
pub use sasl::Sasl;
pub use subtree::Reached;
pub use watch::{Watch, WatchEvent};
pub use zk_session::client::{Backoff, Failure, SavedSession, SessionState, WatchKind};
