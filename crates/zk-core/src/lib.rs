//! The request pipeline of a member: tree, sessions and log wired together.
//!
//! It knows in which order things happen: a write gets its zxid, is checked, goes to the log, is
//! applied when it is committed, fires its watches and is answered; a session's reads wait behind
//! its own writes. **Invariant:** no I/O, no clock, no threads, no randomness. Inputs are method
//! calls with the time in them, outputs are [`Effects`], which the driver carries out in order.
//! The server drives it with sockets and disks, the simulator with neither.
//!
//! **The durability rule:** nothing that depends on a transaction (its answer, its events, a read
//! that shows it) comes out as an effect before the driver reported the transaction as committed
//! and on the own disk.
//!
//! Read first: [`Core`] (the pipeline), [`Effects`] (what it wants done), [`Reader`] (reads,
//! which do not need the pipeline when their session has no write under way).
//!
//! Tested by `cargo test -p zk-core`, and by the simulator, which crashes it at every effect.
//!
//! Mirrors `PrepRequestProcessor`, `SyncRequestProcessor` and `FinalRequestProcessor` of Apache
//! ZooKeeper 3.9, and what stands in their place on a follower.

mod audit;
mod commit;
mod connect;
mod effects;
mod holders;
mod leader;
mod learner;
mod local;
mod options;
mod pipeline;
mod read;
mod submit;
mod throttle;
mod txns;

pub use audit::{Asker, AuditRecord};
pub use commit::LONG_TXN_BYTES;
pub use effects::{Effect, Effects, News, Refusal, Span};
pub use learner::LearnError;
pub use options::{Admission, CoreOptions, LocalSessions, Membership, Times};
pub use pipeline::{Core, CoreCounters, LearnerId, Owner, TURN_BYTES};
pub use read::{Reader, WatchAccess, visits_many};
pub use throttle::ThrottleOptions;
