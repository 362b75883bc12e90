//! Broadcast: proposals are logged and acknowledged, commits applied, in one order.

use zk_proto::quorum::{FromLeader, FromLearner};
use zk_proto::txn::{Txn, TxnEntry};
use zk_proto::{Jute, Limits, Reader, Sid, Zxid};

use super::{LeadersAnswer, Learner, Leave, Output, Phase};
use crate::planted::Planted;
use crate::{Ensemble, Role};

impl Learner {
    pub(super) fn follow<'a>(
        &mut self,
        packet: FromLeader<'a>,
        out: &mut Vec<Output<'a>>,
    ) -> Result<(), Leave> {
        match packet {
            FromLeader::Proposal { zxid, txn } => self.append(zxid, txn, out)?,
            FromLeader::Commit(zxid) => self.commit(zxid, out)?,
            FromLeader::CommitAndActivate { zxid, leader } => {
                self.commit(zxid, out)?;
                self.activate_proposed(leader, out);
            }
            FromLeader::Inform { zxid, txn } => {
                self.append(zxid, txn, out)?;
                self.commit(zxid, out)?;
            }
            FromLeader::InformAndActivate { zxid, leader, txn } => {
                self.append(zxid, txn, out)?;
                self.commit(zxid, out)?;
                self.activate_proposed(leader, out);
            }
            FromLeader::Ping(zxid) => out.push(Output::AnswerPing(zxid)),
            FromLeader::Sync => self.answered(LeadersAnswer::Sync, out),
            FromLeader::Revalidate { session, is_valid } => {
                self.answered(LeadersAnswer::Revalidate { session, is_valid }, out);
            }
            FromLeader::Moved(session) => out.push(Output::Moved(session)),
            other => return Err(self.unexpected(&other)),
        }
        Ok(())
    }

    fn answered(&mut self, answer: LeadersAnswer, out: &mut Vec<Output<'_>>) {
        self.answers.push_back((self.committed, answer));
        self.apply(out);
    }

    fn append<'a>(
        &mut self,
        zxid: Zxid,
        txn: &'a [u8],
        out: &mut Vec<Output<'a>>,
    ) -> Result<(), Leave> {
        // A leader proposes in its own epoch alone.
        if zxid.epoch() != self.epoch {
            return Err(Leave::Gap { last: self.last, next: zxid });
        }
        self.extend(zxid)?;
        self.note_reconfiguration(zxid, txn, out)?;
        self.expect_commit(zxid);
        out.push(Output::Append { zxid, txn: txn.into() });
        Ok(())
    }

    /// What is appended now is acknowledged when it is on disk, and applied when it is committed.
    pub(super) fn expect_commit(&mut self, zxid: Zxid) {
        self.uncommitted.push_back(zxid);
        if self.arrival.role == Role::Participant {
            self.unlogged.push_back(zxid);
        }
    }

    pub(super) fn commit(&mut self, zxid: Zxid, out: &mut Vec<Output<'_>>) -> Result<(), Leave> {
        let oldest = self.uncommitted.front().copied();
        let zxid = match oldest {
            Some(oldest) if self.faults.has(Planted::TakesAnyCommit) => oldest,
            _ if oldest != Some(zxid) => {
                return Err(Leave::WrongCommit { committed: zxid, oldest });
            }
            _ => zxid,
        };
        self.uncommitted.pop_front();
        self.committed = zxid;
        self.apply(out);
        Ok(())
    }

    /// The log is on disk up to this zxid.
    pub fn logged(&mut self, zxid: Zxid, out: &mut Vec<Output<'_>>) {
        if self.phase == Phase::Left || zxid <= self.logged {
            return;
        }
        self.logged = zxid;
        while let Some(zxid) = self.unlogged.pop_front_if(|oldest| *oldest <= zxid) {
            out.push(Output::Send(FromLearner::Ack(zxid)));
        }
        self.enter_if_logged(out);
        self.apply(out);
    }

    /// Applies what is committed and on the own disk, and passes on the answers that waited for it.
    pub(super) fn apply(&mut self, out: &mut Vec<Output<'_>>) {
        if !matches!(self.phase, Phase::Ready | Phase::Broadcasting) {
            return;
        }
        let upto = self.committed.min(self.logged);
        // Each between the txns where its answer came: the pipeline's queue has it there.
        while let Some((zxid, answer)) = self.answers.pop_front_if(|(zxid, _)| *zxid <= upto) {
            self.apply_to(zxid, out);
            out.push(match answer {
                LeadersAnswer::Sync => Output::Synced,
                LeadersAnswer::Revalidate { session, is_valid } => {
                    Output::Revalidated { session, is_valid }
                }
            });
        }
        self.apply_to(upto, out);
    }

    fn apply_to(&mut self, zxid: Zxid, out: &mut Vec<Output<'_>>) {
        if zxid > self.applied {
            self.applied = zxid;
            out.push(Output::Apply(zxid));
        }
    }

    /// Looks at a txn before it goes to the log, where it would have to be understood at the next
    /// start. A reconfiguration is the proposed configuration from the moment on in which it is
    /// proposed.
    pub(super) fn note_reconfiguration(
        &mut self,
        zxid: Zxid,
        txn: &[u8],
        out: &mut Vec<Output<'_>>,
    ) -> Result<(), Leave> {
        let entry = TxnEntry::read(&mut Reader::with_limits(txn, Limits::NONE));
        let entry = entry.map_err(|_| Leave::BadTxn(zxid))?;
        if entry.header.zxid != zxid.0 {
            return Err(Leave::BadTxn(zxid));
        }
        let Txn::Reconfig(set) = entry.txn else { return Ok(()) };
        let config = Ensemble::parse(&String::from_utf8_lossy(set.data.unwrap_or_default()))?;
        self.proposed = Some(config.clone());
        out.push(Output::Proposed(config));
        Ok(())
    }

    /// The proposed configuration counts from here on.
    pub(super) fn activate_proposed(&mut self, leader: Sid, out: &mut Vec<Output<'_>>) {
        if let Some(config) = self.proposed.take() {
            self.activate(config, Some(leader), out);
        }
    }

    pub(super) fn activate(
        &mut self,
        config: Ensemble,
        leader: Option<Sid>,
        out: &mut Vec<Output<'_>>,
    ) {
        self.active_version = config.version;
        out.push(Output::Activate { config, leader });
    }
}
