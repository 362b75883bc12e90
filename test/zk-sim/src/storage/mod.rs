//! Where a member's log and snapshots are: a plain list that forgets, or zk-store's own files on a
//! simulated disk.

mod files;
mod list;
mod loading;

pub(crate) use files::Files;
pub(crate) use list::{List, load_image};
pub(crate) use loading::{Loading, picture};

use crate::rng::Rng;
use std::collections::BTreeSet;
use std::fmt;
use zk_proto::SessionId;
use zk_session::password::Passwords;
use zk_tree::{SnapshotHead, Tree};

/// A tree and its sessions, as storage gives them back.
#[derive(Debug)]
pub(crate) struct Found {
    /// The tree.
    pub(crate) tree: Tree,
    /// Sessions by id, with their timeouts in ms.
    pub(crate) sessions: Vec<(SessionId, i32)>,
}

/// Storage refused. If nobody harmed it, that is a fault of its own.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A member's log and snapshots. What was committed must be found by `recover` whatever happens;
/// what was only appended may be.
pub(crate) trait Storage: fmt::Debug {
    /// Queues a transaction; nothing is on disk yet.
    fn append(&mut self, zxid: i64, txn: &[u8]);

    /// How many transactions are queued.
    fn waiting(&self) -> usize;

    /// Puts the oldest `most` queued transactions on disk; the last one's zxid.
    fn commit(&mut self, most: usize) -> Result<Option<i64>, Refused>;

    /// What a log does when it has time: completing marks, zeros ahead, a new file.
    fn tend(&mut self, rng: &mut Rng) -> Result<(), Refused>;

    /// Begins a snapshot.
    fn begin_snapshot(
        &mut self,
        head: &SnapshotHead,
        sessions: &[(SessionId, i32)],
    ) -> Result<(), Refused>;

    /// Adds znodes to it.
    fn add_nodes(&mut self, nodes: &[u8]) -> Result<(), Refused>;

    /// Ends it and puts it on disk; what loading it gives.
    fn finish_snapshot(&mut self) -> Result<Found, Refused>;

    /// Leaves the disk little room; how little.
    fn fill(&mut self, rng: &mut Rng) -> String;

    /// The disk has room again.
    fn make_space(&mut self);

    /// Whether the log takes nothing new, because its disk is full.
    fn is_full(&self) -> bool;

    /// Something will go wrong at one of the next calls; what it will be.
    fn harm(&mut self, rng: &mut Rng) -> String;

    /// Whether somebody harmed it since the last crash.
    fn is_harmed(&self) -> bool;

    /// The process is gone, and maybe the power with it: what was not on disk may be lost. Says
    /// which of both.
    fn crash(&mut self, rng: &mut Rng) -> &'static str;

    /// Finds the state again.
    fn recover(&mut self) -> Result<Found, Refused>;

    /// The rule of session passwords that holds from now on, kept for later starts.
    fn settle_passwords(
        &mut self,
        wanted: Passwords,
        live: &BTreeSet<SessionId>,
    ) -> Result<Passwords, Refused>;
}
