//! Who the learners are, for operators.

use zk_proto::Sid;

use super::{Leader, LinkId, Phase, Stage};
use crate::Role;
use crate::peer::ZabState;

/// A leader's learners at a moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Census {
    /// All connections, also of those that have said nothing.
    pub learners: usize,
    /// Followers that get proposals.
    pub synced_followers: usize,
    /// Those of them that no configuration has as a voter.
    pub synced_non_voting_followers: usize,
    /// Observers that get what is committed.
    pub synced_observers: Vec<(LinkId, Sid)>,
    /// Proposals that syncs wait for. Those of the leader's own clients wait in its pipeline.
    pub pending_syncs: usize,
}

impl Leader {
    /// Its learners.
    #[must_use]
    pub fn census(&self) -> Census {
        let mut census = Census { learners: self.links.len(), ..Census::default() };
        for (link, learner) in &self.links {
            match (learner.stage, learner.role) {
                (Stage::Synchronizing | Stage::Ready | Stage::UpToDate, Role::Participant) => {
                    census.synced_followers += 1;
                    let is_voter = self.own.configs.committed.is_voter(learner.sid);
                    census.synced_non_voting_followers += usize::from(!is_voter);
                }
                (Stage::Synchronizing | Stage::Ready | Stage::UpToDate, Role::Observer) => {
                    census.synced_observers.push((*link, learner.sid));
                }
                _ => {}
            }
        }
        let mut last = None;
        for (zxid, _) in &self.syncs {
            census.pending_syncs += usize::from(last.replace(*zxid) != Some(*zxid));
        }
        census
    }

    /// Whose connection this is, once it has said so.
    #[must_use]
    pub fn sid_of(&self, link: LinkId) -> Option<Sid> {
        self.links.get(&link).map(|learner| learner.sid)
    }

    /// How far it has come.
    #[must_use]
    pub fn zab_state(&self) -> ZabState {
        match self.phase {
            Phase::Discovering | Phase::Promising | Phase::Collecting | Phase::Entering => {
                ZabState::Discovery
            }
            Phase::Synchronizing => ZabState::Synchronization,
            Phase::Leading | Phase::Feeding => ZabState::Broadcast,
            Phase::Left => ZabState::Election,
        }
    }
}
