//! All that an invariant may look at, at one moment: what every member has and does, and what was
//! done so far.

use std::collections::{BTreeMap, BTreeSet};

use zk_proto::election::ServerState;
use zk_proto::{Epoch, Sid, Zxid};
use zk_zab::leader::Refusal;
use zk_zab::learner::Leave;
use zk_zab::peer::ZabState;

use super::disk::Txn;

/// A txn, by its zxid and by who made it: two txns of one zxid are told apart.
pub type Mark = (Zxid, u64);

pub fn marks(txns: &[Txn]) -> Vec<Mark> {
    txns.iter().map(|txn| (txn.zxid, txn.tag)).collect()
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub members: BTreeMap<Sid, MemberView>,
    /// `epochLeader`: who ever led in an epoch with a quorum's promise.
    pub epoch_leaders: BTreeMap<i32, BTreeSet<Sid>>,
    /// `proposalMsgsLog`: what leaders have proposed, in order.
    pub broadcasts: Vec<Broadcast>,
    /// What the leader of an epoch had delivered when it proposed for the first time.
    pub primaries: BTreeMap<(Sid, i32), Vec<Mark>>,
    /// `committedLog`: what anybody has delivered, in the order in which it was first delivered.
    pub committed: Vec<Mark>,
    /// What was cut off a log, or left out of a snapshot that took its place.
    pub cuts: Vec<Cut>,
    /// `violatedInvariants`.
    pub odd: Vec<Odd>,
}

/// One member.
#[derive(Clone, Debug)]
pub struct MemberView {
    /// Looking, too, where it is down, rests or mends: then it is no part of the ensemble.
    pub state: ServerState,
    pub zab_state: ZabState,
    /// `connectInfo`.
    pub leader: Option<Sid>,
    /// Who is connected to it.
    pub learners: BTreeSet<Sid>,
    pub accepted: Epoch,
    pub current: Epoch,
    /// What is on its disk; of a leader, all that it has proposed.
    pub history: Vec<Mark>,
    /// What is on its disk.
    pub logged: Vec<Mark>,
    /// What it has delivered since it started: as a learner only after UPTODATE, since what comes
    /// in a synchronisation may never be committed.
    pub delivered: Vec<Mark>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broadcast {
    pub sid: Sid,
    pub epoch: i32,
    pub txn: Mark,
}

/// It was cut off while its member synchronised with the leader of this epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    pub sid: Sid,
    pub epoch: Epoch,
    pub txn: Mark,
}

/// Something that should not happen.
#[derive(Clone, Debug)]
pub struct Odd {
    pub branch: Branch,
    pub sid: Sid,
    pub what: String,
}

/// The members of `violatedInvariants`, and what they are here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Branch {
    /// `stateInconsistent`: a leader's packet in the wrong phase.
    State,
    /// `proposalInconsistent`: a txn that does not follow the last one, or a TRUNC to something
    /// that is not there.
    Proposal,
    /// `commitInconsistent`: a COMMIT of something else than the oldest proposal.
    Commit,
    /// `ackInconsistent`: an ACK of nothing that was proposed, of another epoch, or out of order.
    Ack,
    /// `messageIllegal`: a learner's packet in the wrong phase. That a leader hears a leader's
    /// packet cannot be: the types do not allow it.
    Message,
}

impl Branch {
    /// What a learner's reason to leave is. Those that end a part by design are none: a later
    /// promise, a silent leader, a disk that is behind.
    pub fn of_leave(leave: &Leave) -> Option<Branch> {
        match leave {
            Leave::Unexpected { .. } | Leave::BadConfig(_) => Some(Branch::State),
            Leave::Gap { .. } | Leave::BadTxn(_) | Leave::CannotTruncate(_) => {
                Some(Branch::Proposal)
            }
            Leave::WrongCommit { .. } => Some(Branch::Commit),
            _ => None,
        }
    }

    /// What a leader's reason to close a connection is.
    pub fn of_refusal(why: &Refusal) -> Option<Branch> {
        matches!(why, Refusal::Unexpected(_)).then_some(Branch::Message)
    }
}

impl View {
    /// Those that lead with a quorum's promise, in SYNCHRONIZATION or BROADCAST.
    pub fn leaders(&self) -> impl Iterator<Item = (Sid, &MemberView)> {
        let leads = |member: &&MemberView| member.state == ServerState::Leading;
        let is_established = |member: &&MemberView| {
            matches!(member.zab_state, ZabState::Synchronization | ZabState::Broadcast)
        };
        let all = self.members.iter().map(|(sid, member)| (*sid, member));
        all.filter(move |(_, member)| leads(member) && is_established(member))
    }

    /// Followers and observers of this leader, in both their eyes.
    pub fn learners_of(&self, leader: Sid) -> impl Iterator<Item = (Sid, &MemberView)> {
        let known = self.members.get(&leader).map(|leader| &leader.learners);
        let all = self.members.iter().map(|(sid, member)| (*sid, member));
        all.filter(move |(sid, member)| {
            let learns = matches!(member.state, ServerState::Following | ServerState::Observing);
            learns && member.leader == Some(leader) && known.is_some_and(|them| them.contains(sid))
        })
    }

    /// All pairs of members, in both orders.
    pub fn pairs(&self) -> impl Iterator<Item = ((Sid, &MemberView), (Sid, &MemberView))> {
        let all = || self.members.iter().map(|(sid, member)| (*sid, member));
        all().flat_map(move |one| {
            all().filter(move |(sid, _)| *sid != one.0).map(move |other| (one, other))
        })
    }
}

impl MemberView {
    pub fn follows(&self) -> bool {
        self.state == ServerState::Following
    }

    pub fn broadcasts(&self) -> bool {
        self.zab_state == ZabState::Broadcast
    }
}

/// Where each of these stands.
pub fn places(txns: &[Mark]) -> BTreeMap<Mark, usize> {
    txns.iter().enumerate().map(|(at, txn)| (*txn, at)).collect()
}
