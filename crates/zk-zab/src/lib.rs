//! Zab without I/O: who the members are, and how they elect one of them.
//!
//! It knows messages, ticks and what its driver tells it of the disk. **Invariant:** no sockets, no
//! files, no clock and no randomness; what it wants done are values, and nothing is said to another
//! member before the driver reported that what it rests on is on disk.
//!
//! Read first: [`Ensemble`] (who votes, what a quorum is), [`election::Election`] (who leads),
//! [`learner::Learner`] (how its history becomes that of the others).
//!
//! Tested by `cargo test -p zk-zab`: transcripts that read like stories (`tests/election/`), and
//! elections under random loss and delay.
//!
//! Mirrors `FastLeaderElection`, `QuorumMaj` and `QuorumHierarchical` of Apache ZooKeeper 3.9.

mod address;
pub mod election;

mod ensemble;
pub mod leader;
pub mod learner;
mod member;
pub mod peer;
mod planted;
mod reconfig;

pub use address::HostPort;
pub use ensemble::{Configs, Ensemble, EnsembleError};
pub use member::{Member, MemberAddress, MemberError, Role};
#[cfg(feature = "planted")]
pub use planted::Planted;
pub use reconfig::ReconfigError;
