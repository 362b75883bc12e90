//! Synchronisation: the leader's history becomes this member's, and only then its epoch.
//!
//! What comes here may never be committed: a new leader sends what it has (rule R8). It goes to the
//! log all the same, since that is how a history wins; but nobody is served from it before
//! UPTODATE, and a later leader may cut it off again.

use zk_proto::quorum::{FromLeader, FromLearner};
use zk_proto::{Text, Zxid};

use super::{Held, Learner, Leave, Output, Phase};
use crate::Ensemble;

impl Learner {
    pub(super) fn begin_synchronization<'a>(
        &mut self,
        packet: FromLeader<'a>,
        out: &mut Vec<Output<'a>>,
    ) -> Result<(), Leave> {
        match packet {
            FromLeader::Diff(_) => {
                // Who has come with nothing gets nothing, whatever is on its disk.
                let is_installed = self.arrival.forgets;
                self.phase = Phase::Synchronizing { is_installed };
            }
            FromLeader::Trunc(zxid) => {
                self.phase = Phase::Truncating;
                out.push(Output::Truncate(zxid));
            }
            FromLeader::Snap(zxid) => {
                self.phase = Phase::Installing;
                self.begin_at(zxid);
                out.push(Output::Install(zxid));
            }
            other => return Err(self.unexpected(&other)),
        }
        Ok(())
    }

    /// The log was cut, and `last` is what it ends with now; `None` if that could not be done.
    pub fn truncated(&mut self, last: Option<Zxid>, out: &mut Vec<Output<'_>>) {
        if self.phase != Phase::Truncating {
            return;
        }
        match last {
            Some(last) => {
                self.begin_at(last);
                self.phase = Phase::Synchronizing { is_installed: false };
            }
            None => self.leave(Leave::CannotTruncate(self.last), out),
        }
    }

    /// The snapshot was taken, whole.
    pub fn installed(&mut self) {
        if self.phase == Phase::Installing {
            self.phase = Phase::Synchronizing { is_installed: true };
        }
    }

    fn begin_at(&mut self, zxid: Zxid) {
        (self.last, self.logged, self.committed, self.applied) = (zxid, zxid, zxid, zxid);
    }

    pub(super) fn synchronize<'a>(
        &mut self,
        packet: FromLeader<'a>,
        is_installed: bool,
        out: &mut Vec<Output<'a>>,
    ) -> Result<(), Leave> {
        let FromLeader::NewLeader { zxid, config } = packet else { return self.hold(packet, out) };
        if zxid != Zxid::new(self.epoch, 0) {
            return Err(Leave::Gap { last: Zxid::new(self.epoch, 0), next: zxid });
        }
        self.propose_config(config, out)?;
        if is_installed {
            self.phase = Phase::Settling;
            out.push(Output::Settle);
        } else {
            self.log_history(out);
        }
        Ok(())
    }

    /// Keeps what comes before this member may serve.
    pub(super) fn hold<'a>(
        &mut self,
        packet: FromLeader<'a>,
        out: &mut Vec<Output<'a>>,
    ) -> Result<(), Leave> {
        match packet {
            FromLeader::Proposal { zxid, txn } => self.hold_txn(zxid, txn, out),
            FromLeader::Commit(zxid) => self.commit_held(zxid),
            FromLeader::Inform { zxid, txn } => {
                self.hold_txn(zxid, txn, out)?;
                self.commit_held(zxid)
            }
            FromLeader::CommitAndActivate { zxid, leader } => {
                self.commit_held(zxid)?;
                self.activate_proposed(leader, out);
                Ok(())
            }
            FromLeader::InformAndActivate { zxid, leader, txn } => {
                self.hold_txn(zxid, txn, out)?;
                self.commit_held(zxid)?;
                self.activate_proposed(leader, out);
                Ok(())
            }
            FromLeader::Ping(zxid) => {
                out.push(Output::AnswerPing(zxid));
                Ok(())
            }
            FromLeader::UpToDate if self.phase == Phase::Ready => {
                self.begin_broadcast(out);
                Ok(())
            }
            other => Err(self.unexpected(&other)),
        }
    }

    fn hold_txn(&mut self, zxid: Zxid, txn: &[u8], out: &mut Vec<Output<'_>>) -> Result<(), Leave> {
        self.extend(zxid)?;
        self.note_reconfiguration(zxid, txn, out)?;
        self.held.push_back(Held { zxid, txn: txn.to_vec() });
        Ok(())
    }

    fn commit_held(&mut self, zxid: Zxid) -> Result<(), Leave> {
        let oldest = self.held.get(self.held_committed).map(|held| held.zxid);
        if oldest != Some(zxid) {
            return Err(Leave::WrongCommit { committed: zxid, oldest });
        }
        self.held_committed += 1;
        Ok(())
    }

    /// The snapshot is the history now, durably.
    pub fn settled(&mut self, out: &mut Vec<Output<'_>>) {
        if self.phase == Phase::Settling {
            self.log_history(out);
        }
    }

    /// What is committed goes to the log; what is not is kept until UPTODATE, so that its ACKs
    /// cannot overtake that of NEWLEADER.
    fn log_history(&mut self, out: &mut Vec<Output<'_>>) {
        for Held { zxid, txn } in self.held.drain(..self.held_committed) {
            self.committed = zxid;
            out.push(Output::Append { zxid, txn: txn.into() });
        }
        self.held_committed = 0;
        self.phase = Phase::Logging(self.committed);
        self.enter_if_logged(out);
    }

    /// The history is on disk: the epoch may be entered.
    pub(super) fn enter_if_logged(&mut self, out: &mut Vec<Output<'_>>) {
        if let Phase::Logging(last) = self.phase
            && self.logged >= last
        {
            self.phase = Phase::Entering;
            out.push(Output::WriteCurrent(self.epoch));
        }
    }

    /// `currentEpoch` is on disk, behind the history.
    pub fn current_written(&mut self, out: &mut Vec<Output<'_>>) {
        if self.phase == Phase::Entering {
            self.phase = Phase::Ready;
            out.push(Output::Send(FromLearner::Ack(Zxid::new(self.epoch, 0))));
            self.apply(out);
        }
    }

    /// What came meanwhile is of the broadcast already: it is acknowledged like all that follows.
    fn begin_broadcast(&mut self, out: &mut Vec<Output<'_>>) {
        if let Some(config) = self.newleader.take()
            && config.version >= self.active_version
        {
            self.activate(config, None, out);
        }
        self.phase = Phase::Broadcasting;
        out.push(Output::Send(FromLearner::Ack(Zxid::new(self.epoch, 0))));
        let committed = std::mem::take(&mut self.held_committed);
        for (at, Held { zxid, txn }) in std::mem::take(&mut self.held).into_iter().enumerate() {
            self.expect_commit(zxid);
            out.push(Output::Append { zxid, txn: txn.into() });
            if at < committed {
                self.uncommitted.pop_front();
                self.committed = zxid;
            }
        }
        out.push(Output::Serve);
    }

    fn propose_config<'a>(
        &mut self,
        config: Option<Text<'a>>,
        out: &mut Vec<Output<'a>>,
    ) -> Result<(), Leave> {
        if let Some(text) = config {
            let config = Ensemble::parse(&text)?;
            // Those of the history are older.
            self.proposed.take_if(|proposed| proposed.version < config.version);
            self.newleader = Some(config.clone());
            out.push(Output::Proposed(config));
        }
        Ok(())
    }
}
