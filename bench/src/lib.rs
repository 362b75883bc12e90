//! How fast is a ZooKeeper server, ours or Apache's, on this machine?
//!
//! A load generator that costs little (one thread, one epoll, whole batches encoded and decoded at
//! once), a server that keeps nothing as the physical floor, and a runner that measures several
//! servers in turn and writes down the ratios. **Invariant:** a figure of a server that answered
//! anything wrong is never printed: every answer is checked while it is timed.
//!
//! Read first: [`spec::Spec`] (a load by its name), [`drive::Load`] (what a kind of work must
//! say), [`compare`] (the rounds, the goals, the report).
//!
//! Tested by `cargo test -p zkfleet-bench`: every load against the floor server, and answers that
//! lie.

pub mod client;
pub mod compare;
pub mod drive;
pub mod error;
pub mod floor;
pub mod loads;
pub mod metric;
pub mod net;
pub mod pipeline;
pub mod proc;
pub mod run;
pub mod session;
pub mod spec;
pub mod wire;
