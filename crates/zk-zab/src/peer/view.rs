//! What a member is seen to do, for operators. Nothing is decided by it.

use zk_proto::{Sid, Zxid};

use super::{Part, Peer};
use crate::leader::{Census, LinkId};

/// How far a member has come under its leader (Apache `QuorumPeer.ZabState`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ZabState {
    /// It looks for a leader.
    Election,
    /// It learns, or says, which epoch begins.
    Discovery,
    /// Histories become the leader's.
    Synchronization,
    /// Txns are proposed and committed.
    Broadcast,
}

impl ZabState {
    /// Apache's word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ZabState::Election => "election",
            ZabState::Discovery => "discovery",
            ZabState::Synchronization => "synchronization",
            ZabState::Broadcast => "broadcast",
        }
    }
}

impl Peer {
    /// How far it has come.
    #[must_use]
    pub fn zab_state(&self) -> ZabState {
        match &self.part {
            Part::Resting | Part::Looking => ZabState::Election,
            Part::Joining(_) => ZabState::Discovery,
            Part::Learning { learner, .. } => learner.zab_state(),
            Part::Leading(leader) => leader.zab_state(),
        }
    }

    /// The learners, if it leads.
    #[must_use]
    pub fn census(&self) -> Option<Census> {
        match &self.part {
            Part::Leading(leader) if leader.is_leading() => Some(leader.census()),
            _ => None,
        }
    }

    /// The observers of a follower that takes some.
    #[must_use]
    pub fn observers(&self) -> Option<Census> {
        match &self.part {
            Part::Learning { feeder: Some(feeder), .. } => Some(feeder.census()),
            _ => None,
        }
    }

    /// Whether it is a follower that takes observers, and what they have by now.
    #[must_use]
    pub fn fed_upto(&self) -> Option<Zxid> {
        match &self.part {
            Part::Learning { feeder: Some(feeder), .. } => Some(feeder.applied()),
            _ => None,
        }
    }

    /// Whose connection this is, if it leads.
    #[must_use]
    pub fn learner_sid(&self, link: LinkId) -> Option<Sid> {
        match &self.part {
            Part::Leading(leader) => leader.sid_of(link),
            _ => None,
        }
    }
}
