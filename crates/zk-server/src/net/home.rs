//! What a thread that serves connections shares with the others.

use super::backlog::Backlog;
use super::outbox::Outbox;
use super::rounds::Rounds;
use super::solo::Solo;
use super::traffic::Traffic;
use super::turns::Turns;
use std::sync::Arc;

/// The thread of a connection, as others see it.
pub(crate) struct Home {
    /// What it has to write.
    pub(crate) outbox: Outbox,
    /// Whether it waits for the disk.
    pub(crate) solo: Solo,
    /// Whose turn it is.
    pub(super) turns: Turns,
    /// Whether it comes around.
    pub(crate) rounds: Rounds,
    /// What waits for the clients of all threads.
    pub(crate) backlog: Arc<Backlog>,
    /// What the clients of all threads have asked for.
    pub(crate) traffic: Arc<Traffic>,
}

impl Home {
    /// Without `others` a thread never waits.
    pub(crate) fn new(others: bool, backlog: Arc<Backlog>, traffic: Arc<Traffic>) -> Home {
        Home {
            outbox: Outbox::default(),
            solo: Solo::new(others),
            turns: Turns::default(),
            rounds: Rounds::default(),
            backlog,
            traffic,
        }
    }
}
