//! What a thread that serves connections shares with the others.

use super::outbox::Outbox;
use super::solo::Solo;

/// The thread of a connection, as others see it.
pub(crate) struct Home {
    /// What it has to write.
    pub(crate) outbox: Outbox,
    /// Whether it waits for the disk.
    pub(crate) solo: Solo,
}

impl Home {
    /// Without `others` a thread never waits.
    pub(crate) fn new(others: bool) -> Home {
        Home { outbox: Outbox::default(), solo: Solo::new(others) }
    }
}
