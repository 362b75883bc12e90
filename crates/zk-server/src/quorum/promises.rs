//! Learners that have promised the epoch, and wait for the history. One snapshot at a time is on
//! its way to learners; who promises meanwhile waits for it to end.
//!
//! As in Apache a stranger may learn, too, where nothing guards the port. It may take its time over
//! a snapshot, as long as no member waits for one; and nobody may stop reading while others wait.

use std::sync::Arc;

use zk_proto::quorum::FromLearner;
use zk_proto::{Epoch, Zxid};
use zk_zab::leader::LinkId;

use super::driver::Driver;
use super::state::Held;

/// An ACKEPOCH that has to wait: its learner may need a snapshot, and one is on its way to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Promise {
    pub(super) link: LinkId,
    pub(super) last_zxid: Zxid,
    pub(super) current_epoch: Option<Epoch>,
}

impl Driver {
    /// Each learner that has promised is told how it gets the history, when the tree can be sent.
    pub(super) fn hear_promises(self: &Arc<Driver>) {
        while !self.is_sending() {
            let Some(promise) = self.quorum.lock().next_promise() else { return };
            let Promise { link, last_zxid, current_epoch } = promise;
            let packet = FromLearner::AckEpoch { last_zxid, current_epoch };
            self.at_rest(|peer, now_ms, wants| peer.heard_learner(now_ms, link, packet, wants));
        }
        self.quorum.lock().make_way();
    }
}

impl Held<'_> {
    /// Members come first.
    fn next_promise(&mut self) -> Option<Promise> {
        let promises = &self.state.promises;
        let member = promises.iter().position(|promise| self.is_member(promise.link));
        self.state.promises.remove(member.unwrap_or(0))
    }

    /// Ends a snapshot that goes to strangers alone, if a member waits.
    fn make_way(&mut self) {
        let waits = self.state.promises.iter().any(|promise| self.is_member(promise.link));
        if !waits || self.state.receiving.iter().any(|link| self.is_member(*link)) {
            return;
        }
        for link in std::mem::take(&mut self.state.receiving) {
            tracing::warn!("the snapshot for a stranger is given up: a member waits for one");
            self.hang_up(link);
        }
    }

    /// Lets a learner go that does not read its snapshot, if anybody waits for one; whether
    /// somebody does. Who has lost its history comes without a number: it may be a member.
    pub(super) fn ends_for_others(&mut self, link: LinkId) -> bool {
        let waits = !self.state.promises.is_empty();
        if waits {
            tracing::warn!("a learner that does not read its snapshot is let go: others wait");
            self.hang_up(link);
        }
        waits
    }

    /// Whether a configuration has whom this connection belongs to.
    fn is_member(&self, link: LinkId) -> bool {
        let peer = &self.state.peer;
        let sid = peer.learner_sid(link);
        sid.is_some_and(|sid| peer.configs().all().any(|config| config.members.contains_key(&sid)))
    }
}
