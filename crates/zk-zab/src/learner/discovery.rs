//! Discovery: the leader learns what has been promised to whom, and gets a promise for its epoch.

use zk_proto::quorum::{FromLeader, FromLearner, LearnerInfo};

use super::{Learner, Leave, Output, Phase};
use crate::Role;

impl Learner {
    pub(super) fn greet(&self, out: &mut Vec<Output<'_>>) {
        out.push(Output::Send(FromLearner::Info {
            is_observer: self.arrival.role == Role::Observer,
            accepted_epoch: self.arrival.accepted_epoch,
            info: Some(LearnerInfo::new(self.arrival.sid, self.arrival.config_version)),
        }));
    }

    pub(super) fn discover<'a>(
        &mut self,
        packet: FromLeader<'a>,
        out: &mut Vec<Output<'a>>,
    ) -> Result<(), Leave> {
        let FromLeader::LeaderInfo(epoch) = packet else { return Err(self.unexpected(&packet)) };
        let promised = self.arrival.accepted_epoch;
        let is_voter = self.arrival.role == Role::Participant;
        if epoch < promised && is_voter {
            return Err(Leave::OldEpoch { leaders: epoch.0, promised: promised.0 });
        }
        self.epoch = epoch;
        if epoch > promised {
            self.phase = Phase::Promising;
            out.push(Output::WriteAccepted(epoch));
        } else {
            // The same promise twice counts for one: it may have been given to another leader. That
            // of an observer counts nothing, and must not keep it away from a leader with a quorum.
            self.promise(false, out);
        }
        Ok(())
    }

    /// `acceptedEpoch` is on disk.
    pub fn accepted_written(&mut self, out: &mut Vec<Output<'_>>) {
        if self.phase == Phase::Promising {
            self.promise(true, out);
        }
    }

    fn promise(&mut self, is_new: bool, out: &mut Vec<Output<'_>>) {
        self.phase = Phase::Promised;
        out.push(Output::Send(FromLearner::AckEpoch {
            last_zxid: self.arrival.last_zxid,
            current_epoch: is_new.then_some(self.arrival.current_epoch),
        }));
    }
}
