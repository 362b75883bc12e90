//! Discovery: an epoch that is later than all that a quorum has promised, and its promise.

use zk_proto::quorum::{FromLeader, LearnerInfo};
use zk_proto::{Epoch, Sid, Zxid};

use super::{Leader, LinkId, Output, Phase, Refusal, Stage, StepDown};
use crate::Role;

impl Leader {
    pub(super) fn informed(
        &mut self,
        now_ms: u64,
        link: LinkId,
        role: Role,
        accepted_epoch: Epoch,
        info: Option<LearnerInfo>,
        out: &mut Vec<Output<'_>>,
    ) -> Result<(), Refusal> {
        let (sid, theirs) =
            info.map_or((Sid::NOBODY, 0), |info| (Sid(info.sid), info.config_version));
        let ours = self.own.configs.committed.version;
        if theirs > ours {
            return Err(Refusal::LaterConfig { theirs, ours });
        }
        if self.phase == Phase::Feeding && role == Role::Participant {
            return Err(Refusal::Unexpected("FOLLOWERINFO"));
        }
        if !self.is_listed(sid) && !self.own.admits_strangers {
            return Err(Refusal::Stranger(sid));
        }
        let is_voter = self.own.configs.is_voter(sid);
        if is_voter && (sid == self.own.sid || self.links.values().any(|it| it.sid == sid)) {
            return Err(Refusal::Twice(sid));
        }
        if let Some(learner) = self.links.get_mut(&link) {
            (learner.sid, learner.role) = (sid, role);
            learner.stage = Stage::Informed(accepted_epoch);
        }
        let is_lost = is_voter && role == Role::Participant && accepted_epoch > self.epoch;
        match self.phase {
            Phase::Discovering => self.propose_epoch(now_ms, out),
            _ if is_lost => {
                self.step_down(StepDown::LaterPromise { sid, epoch: accepted_epoch.0 }, out);
            }
            Phase::Promising => {}
            _ => self.tell_epoch(link, out),
        }
        Ok(())
    }

    pub(super) fn is_listed(&self, sid: Sid) -> bool {
        self.own.configs.all().any(|ensemble| ensemble.members.contains_key(&sid))
    }

    /// Once a quorum has come, the epoch is one more than the greatest that any of them has
    /// promised. Strangers have no say: they could make it as great as they like.
    pub(super) fn propose_epoch(&mut self, now_ms: u64, out: &mut Vec<Output<'_>>) {
        if !self.has_quorum(|learner| matches!(learner.stage, Stage::Informed(_))) {
            return;
        }
        let promised = self.links.values().filter_map(|learner| match learner.stage {
            Stage::Informed(epoch) if self.is_listed(learner.sid) => Some(epoch),
            _ => None,
        });
        let greatest = promised.fold(self.own.accepted_epoch, Epoch::max);
        let Some(next) = greatest.0.checked_add(1) else {
            return self.step_down(StepDown::EpochsEnd(greatest.0), out);
        };
        self.epoch = Epoch(next).max(self.own.epoch_floor);
        self.enter(Phase::Promising, now_ms);
        out.push(Output::WriteAccepted(self.epoch));
    }

    /// The own promise is on disk: the learners may hear of the epoch.
    pub fn accepted_written(&mut self, now_ms: u64, out: &mut Vec<Output<'_>>) {
        if self.phase != Phase::Promising {
            return;
        }
        self.enter(Phase::Collecting, now_ms);
        for link in self.links_at(|stage| matches!(stage, Stage::Informed(_))) {
            self.tell_epoch(link, out);
        }
        self.enter_epoch(now_ms, out);
    }

    fn tell_epoch(&mut self, link: LinkId, out: &mut Vec<Output<'_>>) {
        if let Some(learner) = self.links.get_mut(&link) {
            learner.stage = Stage::Told;
            out.push(Output::Send { to: link, packet: FromLeader::LeaderInfo(self.epoch) });
        }
    }

    pub(super) fn promised(
        &mut self,
        now_ms: u64,
        link: LinkId,
        last_zxid: Zxid,
        current_epoch: Option<Epoch>,
        out: &mut Vec<Output<'_>>,
    ) -> Result<(), Refusal> {
        // Before a quorum has promised, one with a longer history may be part of the quorum that
        // committed it. Afterwards its tail is known to be committed nowhere.
        if let (Phase::Collecting, Some(epoch)) = (self.phase, current_epoch)
            && (epoch, last_zxid) > (self.own.current_epoch, self.own.last_zxid)
        {
            return Err(Refusal::Ahead { epoch: epoch.0, zxid: last_zxid });
        }
        if let Some(learner) = self.links.get_mut(&link) {
            learner.stage = Stage::Promised { zxid: last_zxid, is_new: current_epoch.is_some() };
        }
        match self.phase {
            Phase::Collecting => self.enter_epoch(now_ms, out),
            Phase::Synchronizing | Phase::Leading | Phase::Feeding => self.choose(link, out),
            _ => {}
        }
        Ok(())
    }

    /// Once a quorum has promised the epoch, this member enters it.
    fn enter_epoch(&mut self, now_ms: u64, out: &mut Vec<Output<'_>>) {
        let has = |stage| matches!(stage, Stage::Promised { is_new: true, .. });
        if self.phase == Phase::Collecting && self.has_quorum(|learner| has(learner.stage)) {
            self.enter(Phase::Entering, now_ms);
            out.push(Output::WriteCurrent(self.epoch));
        }
    }

    /// The epoch is on disk: this member's own vote for NEWLEADER counts.
    pub fn current_written(&mut self, now_ms: u64, out: &mut Vec<Output<'_>>) {
        if self.phase != Phase::Entering {
            return;
        }
        self.enter(Phase::Synchronizing, now_ms);
        self.name_config(out);
        for link in self.links_at(|stage| matches!(stage, Stage::Promised { .. })) {
            self.choose(link, out);
        }
        self.establish(out);
    }
}
