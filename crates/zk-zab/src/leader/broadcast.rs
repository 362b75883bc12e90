//! Broadcast: proposals in one order, committed when a quorum has them on disk.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use zk_proto::Zxid;
use zk_proto::quorum::FromLearner;

use super::{LAST_COUNTER, Leader, LinkId, Output, Refusal, Stage, StepDown};
use crate::Role;
use crate::planted::Planted;

impl Leader {
    /// A txn is proposed: the next one of the epoch. It goes to the followers, and to the own log
    /// by the driver, which reports it by [`Leader::logged`].
    pub fn propose(&mut self, now_ms: u64, zxid: Zxid, out: &mut Vec<Output<'_>>) {
        if !self.is_leading() {
            return;
        }
        self.outstanding.push_back((zxid, now_ms));
        for link in self.links.values_mut().filter(|link| link.role == Role::Participant) {
            link.owes_since_ms.get_or_insert(now_ms);
        }
        if !self.followers.is_empty() {
            out.push(Output::Propose { zxid, to: self.followers.clone() });
        }
        if zxid.counter() >= LAST_COUNTER {
            self.step_down(StepDown::CounterEnds, out);
        }
    }

    /// The own log is on disk up to this zxid.
    pub fn logged(&mut self, zxid: Zxid, out: &mut Vec<Output<'_>>) {
        self.logged = self.logged.max(zxid);
        self.commit(out);
    }

    /// A learner's ACK stands for everything before it: it logs in the order in which proposals
    /// came. The first zxid of an epoch is the ACK of UPTODATE.
    pub(super) fn acked(
        &mut self,
        now_ms: u64,
        link: LinkId,
        zxid: Zxid,
        out: &mut Vec<Output<'_>>,
    ) {
        let last = self.outstanding.back().map_or(self.committed, |(zxid, _)| *zxid);
        if let Some(learner) = self.links.get_mut(&link)
            && zxid.counter() != 0
            && zxid <= last
        {
            learner.acked = learner.acked.max(zxid);
            learner.owes_since_ms = (learner.acked < last).then_some(now_ms);
            self.commit(out);
        }
    }

    /// Commits, in order, what a quorum has on disk.
    pub(super) fn commit(&mut self, out: &mut Vec<Output<'_>>) {
        if !self.is_leading() {
            return;
        }
        let mut upto = self.on_quorum();
        while let Some((zxid, _)) = self.outstanding.pop_front_if(|(zxid, _)| *zxid <= upto) {
            self.committed = zxid;
            self.window.push_back(zxid);
            if self.window.len() > self.own.window {
                self.window.pop_front();
            }
            if self.commit_config(zxid, out) {
                if !self.is_leading() {
                    return;
                }
                self.answer_syncs(out);
                // What follows needs a quorum of the new configuration alone.
                upto = self.on_quorum();
                continue;
            }
            let (followers, observers) = (self.followers.clone(), self.observers.clone());
            out.push(Output::Commit { zxid, followers, observers });
            // Each between the commits where it was asked for: the learner's queue has it there.
            self.answer_syncs(out);
        }
        self.answer_syncs(out);
    }

    fn answer_syncs(&mut self, out: &mut Vec<Output<'_>>) {
        while let Some((_, link)) = self.syncs.pop_front_if(|(zxid, _)| *zxid <= self.committed) {
            out.push(Output::Synced(link));
        }
    }

    /// The last zxid that is on this member's disk and on those of a quorum: with each voter that
    /// is asked, from the one that has most on, more of them have less.
    fn on_quorum(&self) -> Zxid {
        let mut configs = Cow::Borrowed(&self.own.configs);
        if self.faults.has(Planted::OldQuorumOnly) {
            configs.to_mut().proposed = None;
        }
        if !configs.is_voter(self.own.sid) {
            return Zxid::ZERO;
        }
        let mut sids = BTreeSet::from([self.own.sid]);
        if configs.has_quorum(&sids) {
            return self.logged;
        }
        let mut acked: Vec<_> = self.followers().map(|link| (link.acked, link.sid)).collect();
        acked.sort_unstable_by(|a, b| b.cmp(a));
        let enough = acked.into_iter().find(|(_, sid)| {
            sids.insert(*sid);
            configs.has_quorum(&sids)
        });
        let own = if self.faults.has(Planted::CountsItself) { Zxid(i64::MAX) } else { self.logged };
        enough.map_or(Zxid::ZERO, |(acked, _)| acked.min(own))
    }

    /// A sync: of an own client, or of a learner's.
    pub fn sync(&mut self, link: Option<LinkId>, out: &mut Vec<Output<'_>>) {
        match self.outstanding.back() {
            Some((last, _)) => self.syncs.push_back((*last, link)),
            None => out.push(Output::Synced(link)),
        }
    }

    /// What a learner says that takes part.
    pub(super) fn serve<'a>(
        &mut self,
        link: LinkId,
        packet: FromLearner<'a>,
        out: &mut Vec<Output<'a>>,
    ) -> Result<(), Refusal> {
        let sid = self.links.get(&link).map(|learner| learner.sid);
        let stranger = sid.filter(|sid| !self.is_listed(*sid));
        match (packet, stranger) {
            // It has no clients: it may not keep others' sessions alive, nor take them.
            (FromLearner::Ping { .. }, Some(_)) => {}
            (FromLearner::Request(_) | FromLearner::Revalidate { .. }, Some(sid)) => {
                return Err(Refusal::Stranger(sid));
            }
            (packet, _) => return self.serve_member(link, packet, out),
        }
        Ok(())
    }

    fn serve_member<'a>(
        &mut self,
        link: LinkId,
        packet: FromLearner<'a>,
        out: &mut Vec<Output<'a>>,
    ) -> Result<(), Refusal> {
        match packet {
            FromLearner::Ping { touched, .. } => out.push(Output::Touched { link, touched }),
            FromLearner::Request(request) => out.push(Output::Request { link, request }),
            FromLearner::Revalidate { session, timeout_ms } => {
                out.push(Output::Revalidate { link, session, timeout_ms });
            }
            packet => return Err(Refusal::Unexpected(packet.name())),
        }
        Ok(())
    }

    /// Who gets proposals and who gets what is committed.
    pub(super) fn list_links(&mut self) {
        let those = |role: Role| -> Arc<[LinkId]> {
            let synchronizing =
                |stage| matches!(stage, Stage::Synchronizing | Stage::Ready | Stage::UpToDate);
            let links = self.links.iter();
            links
                .filter(|(_, learner)| learner.role == role && synchronizing(learner.stage))
                .map(|(link, _)| *link)
                .collect()
        };
        (self.followers, self.observers) = (those(Role::Participant), those(Role::Observer));
    }
}
