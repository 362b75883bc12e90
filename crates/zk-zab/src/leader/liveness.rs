//! Who is still there: pings, silent learners, and the quorum without which nobody leads.

use zk_proto::quorum::FromLeader;
use zk_proto::{Sid, Zxid};

use crate::planted::Planted;

use super::{Leader, Link, LinkId, Output, Phase, Refusal, Stage, StepDown};

impl Leader {
    /// Time has passed.
    pub fn tick(&mut self, now_ms: u64, out: &mut Vec<Output<'_>>) {
        let waits_for = match self.phase {
            Phase::Discovering | Phase::Promising => "has come",
            Phase::Collecting | Phase::Entering => "has promised the epoch",
            Phase::Synchronizing => "has the history",
            Phase::Leading => return self.tick_leading(now_ms, out),
            Phase::Feeding => {
                self.close_silent(now_ms, out);
                return self.ping(now_ms, out);
            }
            Phase::Left => return,
        };
        if now_ms > self.deadline_ms {
            return self.step_down(StepDown::NoQuorum(waits_for), out);
        }
        self.close_silent(now_ms, out);
        self.ping(now_ms, out);
    }

    fn tick_leading(&mut self, now_ms: u64, out: &mut Vec<Output<'_>>) {
        self.close_silent(now_ms, out);
        if now_ms >= self.check_at_ms {
            self.check_at_ms = now_ms + self.times.tick_ms;
            if !self.has_quorum(|learner| learner.stage >= Stage::Ready)
                && !self.faults.has(Planted::LeadsAlone)
            {
                return self.step_down(StepDown::LostQuorum, out);
            }
            // Nothing can be committed without it, and others may have a better disk.
            let oldest = self.outstanding.front().filter(|(zxid, _)| *zxid > self.logged);
            let waits_ms = oldest.map_or(0, |(_, at_ms)| now_ms.saturating_sub(*at_ms));
            if waits_ms > self.times.sync_ms {
                return self.step_down(StepDown::OwnLog(waits_ms), out);
            }
        }
        self.ping(now_ms, out);
    }

    /// Twice a tick, so that learners know that their leader lives and tell what sessions they
    /// heard.
    fn ping(&mut self, now_ms: u64, out: &mut Vec<Output<'_>>) {
        if now_ms < self.ping_at_ms {
            return;
        }
        self.ping_at_ms = now_ms + self.times.tick_ms / 2;
        let last = self.last_proposed();
        let learners = self.followers.iter().chain(self.observers.iter());
        out.extend(learners.map(|to| Output::Send { to: *to, packet: FromLeader::Ping(last) }));
        self.show_quorum(out);
    }

    /// Members without a vote have just heard what is proposed: behind that something more comes.
    fn show_quorum(&mut self, out: &mut Vec<Output<'_>>) {
        if self.phase != Phase::Leading {
            return;
        }
        let is_mending =
            |link: &&mut Link| link.sid == Sid::NOBODY && link.stage == Stage::UpToDate;
        let mut must = false;
        for link in self.links.values_mut().filter(is_mending) {
            must |= !std::mem::replace(&mut link.is_shown, true);
        }
        if must {
            out.push(Output::Prove);
        }
    }

    fn last_proposed(&self) -> Zxid {
        self.outstanding.back().map_or(self.committed, |(zxid, _)| *zxid)
    }

    /// A learner that says nothing is not there; one that has not logged its oldest proposal for
    /// so long holds up what it is needed for.
    fn close_silent(&mut self, now_ms: u64, out: &mut Vec<Output<'_>>) {
        let late = |(link, learner): (&LinkId, &super::Link)| {
            let limit_ms = match learner.stage {
                Stage::Ready | Stage::UpToDate => self.times.sync_ms,
                _ => self.times.init_ms,
            };
            let silent_ms = now_ms.saturating_sub(learner.heard_ms);
            let owed_ms = match learner.stage {
                // Whether a quorum has committed it without this one or not.
                Stage::Ready | Stage::UpToDate => {
                    learner.owes_since_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms))
                }
                _ => 0,
            };
            let late_ms = silent_ms.max(owed_ms);
            (late_ms > limit_ms).then_some((*link, late_ms))
        };
        let all: Vec<_> = self.links.iter().filter_map(late).collect();
        for (link, late_ms) in all {
            self.close(link, Refusal::Silent(late_ms), out);
        }
    }
}
