//! Synchronisation: what each learner needs to have this leader's history, and NEWLEADER behind it.

use zk_proto::Zxid;
use zk_proto::quorum::FromLeader;

use super::{Leader, LinkId, Output, Phase, Plan, Stage};
use crate::Configs;
use crate::planted::Planted;

impl Leader {
    /// Chooses how a learner that has promised gets the history (`LearnerHandler.syncFollower`).
    /// What is not certain is answered with a snapshot.
    pub(super) fn choose(&mut self, link: LinkId, out: &mut Vec<Output<'_>>) {
        let Some(theirs) = self.promised_by(link) else { return };
        let begins_epoch = theirs.counter() == 0;
        let oldest = self.window.front().copied().unwrap_or(self.committed);
        let plan = if theirs == self.committed {
            Plan::Window(theirs)
        } else if theirs > self.committed {
            let truncates = !self.faults.has(Planted::NeverTruncates);
            match (begins_epoch, theirs.epoch() == self.committed.epoch()) {
                // It followed a leader of whose epoch no txn is left: it misses nothing, if that
                // epoch is the one that we enter.
                (true, _) if theirs.epoch() == self.epoch => Plan::Window(self.committed),
                // It has a tail of the epoch of our last txn, and so that txn too.
                (false, true) if truncates => Plan::Trunc(self.committed),
                (false, true) => Plan::Window(self.committed),
                _ => Plan::Snap,
            }
        } else if self.holds(theirs) || begins_epoch && self.holds(theirs.next()) {
            // Who has begun an epoch of our history has what that epoch began with.
            Plan::Window(theirs)
        } else if theirs < oldest && theirs > Zxid::ZERO {
            out.push(Output::LookUp { link, zxid: theirs });
            return;
        } else {
            Plan::Snap
        };
        self.synchronize(link, plan, out);
    }

    /// The history of a learner that waits for ours.
    fn promised_by(&self, link: LinkId) -> Option<Zxid> {
        match self.links.get(&link)?.stage {
            Stage::Promised { zxid, .. } => Some(zxid),
            _ => None,
        }
    }

    fn holds(&self, zxid: Zxid) -> bool {
        self.window.binary_search(&zxid).is_ok()
    }

    /// Whether a learner's last zxid is in the log, and everything behind it.
    pub fn looked_up(&mut self, link: LinkId, is_there: bool, out: &mut Vec<Output<'_>>) {
        if let Some(theirs) = self.promised_by(link)
            && (self.phase == Phase::Synchronizing || self.is_established())
        {
            let plan = if is_there { Plan::Log(theirs) } else { Plan::Snap };
            self.synchronize(link, plan, out);
        }
    }

    /// From here on the learner gets what is proposed. Proposals that are under way stand behind
    /// NEWLEADER: a follower of 3.8 forgets those in front of it (ZOOKEEPER-4394).
    fn synchronize(&mut self, link: LinkId, plan: Plan, out: &mut Vec<Output<'_>>) {
        let Some(learner) = self.links.get_mut(&link) else { return };
        learner.stage = Stage::Synchronizing;
        let is_follower = learner.role == crate::Role::Participant;
        out.push(Output::Synchronize { link, plan });
        // Until a quorum has acknowledged it, it is one that was proposed; afterwards such a one
        // follows as what it is, and must not count before it is committed.
        let Configs { committed, proposed } = &self.own.configs;
        let proposed = proposed.as_ref().filter(|_| !self.is_established());
        let config = proposed.unwrap_or(committed).to_string();
        let packet =
            FromLeader::NewLeader { zxid: Zxid::new(self.epoch, 0), config: Some(config.into()) };
        out.push(Output::Send { to: link, packet });
        if is_follower {
            let to: std::sync::Arc<[LinkId]> = [link].into();
            let under_way = self.outstanding.iter();
            out.extend(under_way.map(|(zxid, _)| Output::Propose { zxid: *zxid, to: to.clone() }));
        }
        self.list_links();
    }

    /// An ACK of one that synchronises. Others than that of NEWLEADER mean nothing yet: followers
    /// of 3.8 acknowledge txns of the history one by one (ZOOKEEPER-4685).
    pub(super) fn acknowledged(&mut self, link: LinkId, zxid: Zxid, out: &mut Vec<Output<'_>>) {
        if zxid != Zxid::new(self.epoch, 0) {
            return;
        }
        if let Some(learner) = self.links.get_mut(&link) {
            learner.stage = Stage::Ready;
            // What was proposed meanwhile was not to be acknowledged before.
            learner.owes_since_ms = learner.owes_since_ms.map(|_| learner.heard_ms);
        }
        match self.is_established() {
            true => self.tell_up_to_date(link, out),
            false => self.establish(out),
        }
        self.commit(out);
    }

    /// Once a quorum has the history and the epoch, it is committed, and this member leads.
    pub(super) fn establish(&mut self, out: &mut Vec<Output<'_>>) {
        if self.phase != Phase::Synchronizing || !self.has_quorum(|it| it.stage >= Stage::Ready) {
            return;
        }
        self.phase = Phase::Leading;
        out.push(Output::Lead(self.epoch));
        self.activate_newleader(out);
        if !self.is_leading() {
            return;
        }
        for link in self.links_at(|stage| stage == Stage::Ready) {
            self.tell_up_to_date(link, out);
        }
    }

    fn tell_up_to_date(&mut self, link: LinkId, out: &mut Vec<Output<'_>>) {
        if let Some(learner) = self.links.get_mut(&link) {
            learner.stage = Stage::UpToDate;
            out.push(Output::Send { to: link, packet: FromLeader::UpToDate });
        }
    }
}
