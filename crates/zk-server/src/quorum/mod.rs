//! A member among the others of its ensemble: what [`Peer`](zk_zab::peer::Peer) wants is carried
//! out here, on sockets, files and the engine.
//!
//! One lock holds the machine and what belongs to it ([`Quorum`]): it is taken by whoever has made
//! transactions (under the pipeline's lock), by the log's thread when something is durable, and by
//! the thread of the quorum's sockets. It is taken behind the pipeline's lock and in front of those
//! of links, pipe and log; nothing waits under it. What takes longer (epochs, cutting the log, a
//! new history) are chores, done one after the other by the thread of the sockets ([`Driver`]).

mod chores;
mod driver;
mod follow;
mod lead;
mod links;
mod listen;
mod membership;
mod ports;
mod promises;
mod snap;
mod state;
mod tally;

pub(crate) use driver::{Driver, DriverParts, QuorumThread};
pub(crate) use listen::{ListenError, advertised, bind};
pub(crate) use ports::{JoinOptions, Ports};
pub(crate) use state::{Quorum, QuorumOptions, put_request};
