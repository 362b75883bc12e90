//! Reconfiguration: a txn that changes who votes (quorum-protocol 13). Mirrors
//! `Leader.getDesignatedLeader` and `Leader.tryToCommit`; differs in: addresses are compared as
//! they are written (ZOOKEEPER-4708), and a leader that is not the designated one steps down at
//! once.

use std::collections::BTreeSet;

use zk_proto::{Sid, Zxid};

use super::{Leader, Output, Stage, StepDown};
use crate::{Configs, Ensemble};

impl Leader {
    /// Whether a quorum of a configuration follows already: as followers, and with the history.
    #[must_use]
    pub fn is_synced(&self, config: &Ensemble) -> bool {
        config.has_quorum(&self.with_followers(|learner| learner.stage >= Stage::Ready))
    }

    /// A configuration is proposed by the txn `zxid`: from here on everything needs a quorum of it
    /// too.
    pub fn reconfigure(
        &mut self,
        now_ms: u64,
        zxid: Zxid,
        mut config: Ensemble,
        out: &mut Vec<Output<'_>>,
    ) {
        if self.is_leading() {
            config.version = zxid.0;
            self.own.configs.propose(config.clone());
            out.push(Output::Proposed(config));
            self.propose(now_ms, zxid, out);
        }
    }

    /// A configuration from a file has no version; the first leader gives it one, so that it counts
    /// for more than those of servers that want to join (ZOOKEEPER-1783).
    pub(super) fn name_config(&mut self, out: &mut Vec<Output<'_>>) {
        let Configs { committed, proposed } = &self.own.configs;
        if self.own.reconfig_enabled && committed.version == 0 && proposed.is_none() {
            let version = Zxid::new(self.epoch, 0).0;
            let config = Ensemble { version, ..committed.clone() };
            self.own.configs.propose(config.clone());
            out.push(Output::Proposed(config));
        }
    }

    /// The configuration that NEWLEADER carried counts: a quorum has acknowledged it.
    pub(super) fn activate_newleader(&mut self, out: &mut Vec<Output<'_>>) {
        let Some(config) = self.own.configs.proposed.take() else { return };
        let leader = self.designated(&config);
        self.own.configs.activate(config.clone());
        out.push(Output::Activate(config));
        self.leave_to(leader, out);
    }

    /// The oldest proposal is committed, if it is a reconfiguration.
    pub(super) fn commit_config(&mut self, zxid: Zxid, out: &mut Vec<Output<'_>>) -> bool {
        let Some(config) = self.own.configs.proposed.take_if(|it| it.version == zxid.0) else {
            return false;
        };
        let leader = self.designated(&config);
        self.own.configs.activate(config.clone());
        let (followers, observers) = (self.followers.clone(), self.observers.clone());
        out.push(Output::CommitAndActivate { zxid, config, leader, followers, observers });
        self.leave_to(leader, out);
        true
    }

    fn leave_to(&mut self, leader: Sid, out: &mut Vec<Output<'_>>) {
        if leader != self.own.sid {
            self.step_down(StepDown::NotDesignated(leader), out);
        }
    }

    /// Who leads under a new configuration: this member, if it votes there and is where it was;
    /// else the voter that has most of what is proposed.
    fn designated(&self, config: &Ensemble) -> Sid {
        let me = self.own.sid;
        let quorum_addresses = |config: &Ensemble| {
            let member = config.members.get(&me)?;
            let at = member.addresses.iter();
            Some(at.map(|at| (at.host.clone(), at.quorum_port)).collect::<BTreeSet<_>>())
        };
        let stays = quorum_addresses(config) == quorum_addresses(&self.own.configs.committed);
        if config.is_voter(me) && stays {
            return me;
        }
        let voters =
            self.followers().filter(|it| it.stage >= Stage::Ready && config.is_voter(it.sid));
        voters.map(|learner| (learner.acked, learner.sid)).max().map_or(me, |(_, sid)| sid)
    }
}
