//! What is voted for, and when two votes are the same.

use zk_proto::election::{Notification, ServerState};
use zk_proto::{Sid, Zxid};

/// How long a member's history is, as it is on its disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Its last logged zxid.
    pub zxid: Zxid,
    /// Its current epoch.
    pub epoch: i64,
}

/// Who is wanted as leader. The greater one is: by epoch, then history, then sid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Candidate {
    /// Its current epoch.
    pub peer_epoch: i64,
    /// Its last logged zxid.
    pub zxid: Zxid,
    /// Who it is.
    pub leader: Sid,
}

impl Candidate {
    /// What a member without a vote proposes: anybody else is better.
    pub const NOBODY: Candidate =
        Candidate { peer_epoch: i64::MIN, zxid: Zxid(i64::MIN), leader: Sid::NOBODY };

    pub(super) fn new(leader: Sid, standing: Standing) -> Candidate {
        Candidate { peer_epoch: standing.epoch, zxid: standing.zxid, leader }
    }

    /// Whether this stands for a member that does not know its own history.
    pub(super) fn is_unusable(self) -> bool {
        self.zxid == Zxid(-1)
    }
}

/// A vote as it was heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Heard {
    pub(super) candidate: Candidate,
    pub(super) election_epoch: i64,
    pub(super) state: ServerState,
    /// Whether it came in a form that has a version; see [`Heard::agrees_with`].
    pub(super) has_version: bool,
}

impl Heard {
    /// The vote of one that looks.
    pub(super) fn proposal(candidate: Candidate, election_epoch: i64) -> Heard {
        Heard { candidate, election_epoch, state: ServerState::Looking, has_version: false }
    }

    pub(super) fn of(notification: &Notification<'_>) -> Heard {
        let candidate = Candidate {
            peer_epoch: notification.peer_epoch,
            zxid: notification.zxid,
            leader: notification.leader,
        };
        Heard {
            candidate,
            election_epoch: notification.election_epoch,
            state: notification.state,
            has_version: notification.version > 0,
        }
    }

    /// `Vote.equals`. The votes of those that follow may differ in zxid and round, since they are
    /// of different times; those of the same round are kept without a version, so that the leader
    /// alone is compared.
    pub(super) fn agrees_with(&self, other: &Heard) -> bool {
        let (a, b) = (self.candidate, other.candidate);
        if self.state == ServerState::Looking || other.state == ServerState::Looking {
            return a == b && self.election_epoch == other.election_epoch;
        }
        a.leader == b.leader
            && (self.has_version != other.has_version || a.peer_epoch == b.peer_epoch)
    }
}
