//! The data tree: znodes, ACLs, quotas, ephemerals, containers, TTLs, watches, digest.
//!
//! It knows what a write means and what it changes. **Invariant:** no I/O, no clock, no
//! randomness: time, zxids and hash seeds come with the calls, and the same calls give the same
//! tree and digest on every member. Whoever calls orders the calls; there is no lock inside.
//!
//! Read first: [`Tree`] (what is), [`Preparer`] (request to transaction, against what is
//! outstanding), [`Watches`] (who is told).
//!
//! Tested by `cargo test -p zk-tree`: tables of Apache's rules, and random programs against a
//! naive model.
//!
//! Mirrors `DataTree`, `PrepRequestProcessor`, `WatchManager` of Apache ZooKeeper 3.9.

mod acl_table;
mod apply;
pub mod auth;
mod digest;
mod index;
mod loader;
mod node;
mod prepare;
mod quota;
mod reap;
mod snapshot;
mod tree;
mod watch;

pub use acl_table::{AclId, AclList, AclTable};
pub use apply::{Applied, Change, ChangeKind, Observe};
pub use loader::{TreeLoader, Twice};
pub use prepare::{
    Pending, Plan, PrepareOptions, Preparer, Proposal, check_create_mode, is_well_formed,
};
pub use quota::StatsTrack;
pub use reap::ReapWalk;
pub use snapshot::SnapshotHead;
pub use tree::{NodeRef, Tree, TreeOptions};
pub use watch::{ConnId, WatchCounts, Watches};
