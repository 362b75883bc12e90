//! One round of an election: who has voted for whom.

use std::collections::{BTreeMap, BTreeSet};

use zk_proto::Sid;
use zk_proto::election::ServerState;

use super::ballot::{Candidate, Heard};
use crate::Configs;

#[derive(Clone, Debug)]
pub(super) struct Round {
    /// What this member stands for itself.
    pub(super) own: Candidate,
    /// Whom it wants; nobody worse than `own`.
    pub(super) proposal: Candidate,
    /// The votes of this round (`recvset`).
    pub(super) votes: BTreeMap<Sid, Heard>,
    /// What those say that have a leader, of whatever round (`outofelection`).
    pub(super) elsewhere: BTreeMap<Sid, Heard>,
    /// Whose host said that there is no such process.
    gone: BTreeSet<Sid>,
    /// Whose connection has ended in this round.
    lost: BTreeSet<Sid>,
    resend_ms: u64,
    resend_at_ms: u64,
    /// When the last wait ends, while a quorum agrees.
    decide_at_ms: Option<u64>,
    /// When those that there is no connection to are dialled again.
    redial_at_ms: u64,
}

/// So often, whatever the pauses between votes are: what is lost with a connection is told again on
/// the next one.
const DIAL_MS: u64 = 1_000;
/// So often during the last wait. A process that ends may take a connection before its host refuses
/// them, and nobody says afterwards that it is gone.
const REDIAL_MS: u64 = 10;

impl Round {
    pub(super) fn new(own: Candidate, now_ms: u64, resend_ms: u64) -> Round {
        Round {
            own,
            proposal: own,
            votes: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            gone: BTreeSet::new(),
            lost: BTreeSet::new(),
            resend_ms,
            resend_at_ms: now_ms + resend_ms,
            decide_at_ms: None,
            redial_at_ms: now_ms + DIAL_MS,
        }
    }

    /// Wants somebody else; a quorum that agreed no longer does.
    pub(super) fn propose(&mut self, proposal: Candidate) {
        self.proposal = proposal;
        self.decide_at_ms = None;
    }

    /// Enters a later round, in which nobody has voted yet.
    pub(super) fn restart(&mut self, proposal: Candidate) {
        self.votes.clear();
        self.propose(proposal);
    }

    pub(super) fn is_there(&mut self, sid: Sid) {
        self.gone.remove(&sid);
    }

    /// Whether it is for the first time.
    pub(super) fn is_lost(&mut self, sid: Sid) -> bool {
        self.lost.insert(sid)
    }

    pub(super) fn is_gone(&mut self, sid: Sid) {
        self.gone.insert(sid);
    }

    /// Whether it is time to tell the vote again; the next time is twice as far away.
    pub(super) fn resends(&mut self, now_ms: u64, max_ms: u64) -> bool {
        if now_ms < self.resend_at_ms {
            return false;
        }
        self.resend_ms = (self.resend_ms * 2).min(max_ms);
        self.resend_at_ms = now_ms + self.resend_ms;
        true
    }

    /// Whether those that this member has no connection to are to be dialled again.
    pub(super) fn redials(&mut self, now_ms: u64) -> bool {
        let is_due = now_ms >= self.redial_at_ms;
        if is_due {
            let waits = self.decide_at_ms.is_some();
            self.redial_at_ms = now_ms + if waits { REDIAL_MS } else { DIAL_MS };
        }
        is_due
    }

    pub(super) fn next_tick_ms(&self) -> u64 {
        let next = self.resend_at_ms.min(self.redial_at_ms);
        self.decide_at_ms.map_or(next, |at| at.min(next))
    }

    /// Who wants this one in this round.
    pub(super) fn backers(&self, candidate: Candidate, clock: i64) -> BTreeSet<Sid> {
        let wants = |vote: &Heard| vote.candidate == candidate && vote.election_epoch == clock;
        self.votes.iter().filter(|(_, vote)| wants(vote)).map(|(sid, _)| *sid).collect()
    }

    /// Whether the proposal has won: a quorum wants it, and nobody is left who could change that,
    /// or was waited for long enough.
    pub(super) fn is_won(
        &mut self,
        now_ms: u64,
        mine: &Heard,
        configs: &Configs,
        wait_ms: u64,
    ) -> bool {
        let agreeing = agreeing(&self.votes, mine);
        if !configs.has_quorum(&agreeing) {
            self.decide_at_ms = None;
            return false;
        }
        let at_ms = *self.decide_at_ms.get_or_insert_with(|| {
            self.redial_at_ms = now_ms + REDIAL_MS;
            now_ms + wait_ms
        });
        let is_alone = |sid: &Sid| !agreeing.contains(sid) && !self.gone.contains(sid);
        now_ms >= at_ms || !configs.voters().iter().any(is_alone)
    }
}

/// Whether a quorum says the same as `vote`, and the one that it names says that it leads
/// (`checkLeader`): a leader that is gone must not be joined because of old votes. Where it names
/// `me`, the vote must be of this round.
pub(super) fn is_established(
    votes: &BTreeMap<Sid, Heard>,
    vote: &Heard,
    configs: &Configs,
    me: Sid,
    clock: i64,
) -> bool {
    let leader = vote.candidate.leader;
    let leads = || votes.get(&leader).is_some_and(|vote| vote.state == ServerState::Leading);
    let agreeing = agreeing(votes, vote);
    if leader == me {
        return vote.election_epoch == clock && configs.has_quorum(&agreeing);
    }
    // A configuration that was proposed to this member, and to the others not, would keep it away
    // for ever. Whom it joins has a quorum, or will not become a leader.
    leads() && configs.all().any(|config| config.has_quorum(&agreeing))
}

fn agreeing(votes: &BTreeMap<Sid, Heard>, vote: &Heard) -> BTreeSet<Sid> {
    votes.iter().filter(|(_, other)| other.agrees_with(vote)).map(|(sid, _)| *sid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ensemble;
    use crate::election::Standing;
    use zk_proto::Zxid;

    #[test]
    fn whom_it_waits_for_is_dialled_again_and_again() {
        let text = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2";
        let configs = Configs::new(Ensemble::parse(text).unwrap());
        let own = Candidate::new(Sid(2), Standing { zxid: Zxid(7), epoch: 0 });
        let mut round = Round::new(own, 0, 200);
        let mine = Heard::proposal(own, 1);
        round.votes.insert(Sid(2), mine);
        assert!(!round.is_won(5, &mine, &configs, 200) && !round.redials(5), "no quorum agrees");
        round.votes.insert(Sid(1), mine);
        assert!(!round.is_won(5, &mine, &configs, 200));
        assert_eq!(round.next_tick_ms(), 15);
        assert!(!round.redials(14) && round.redials(15) && !round.redials(24) && round.redials(25));
        round.is_gone(Sid(3));
        assert!(round.is_won(26, &mine, &configs, 200));
        round.propose(own);
        assert!(round.redials(100) && !round.redials(1_099) && round.redials(1_100));
    }
}
