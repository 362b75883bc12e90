//! The calm after the storm: everything works again, so all members must become one ensemble, and
//! every client must get in.

use super::{World, at_of};
use crate::ensemble::coverage::Point;
use crate::ensemble::record::Record;
use zk_proto::Sid;

/// How often it is looked whether everything has come to rest.
const LOOK_US: u64 = 100_000;

impl World {
    pub(super) fn heal(&mut self) {
        if self.hub.violation.is_some() {
            return;
        }
        self.is_calm = true;
        self.hub.net.is_calm = true;
        self.hub.fuse = None;
        self.hub.tell(Record::Healed);
        self.mend_all();
        self.hand_out_configs();
        self.wake_all();
        let began_us = self.hub.now_us;
        // What cannot be noticed before a timeout is noticed after it.
        let init_us = self.terms.init_ticks * self.terms.tick_ms * 1000;
        let sync_us = self.terms.sync_ticks * self.terms.tick_ms * 1000;
        let until_us = began_us + 4 * init_us + 4 * sync_us + 120_000_000;
        let mut leader_us = None;
        while self.hub.now_us < until_us && self.hub.violation.is_none() {
            self.run_until(self.hub.now_us + LOOK_US);
            if leader_us.is_none() && self.members.iter().any(|member| member.leads()) {
                leader_us = Some(self.hub.now_us - began_us);
            }
            if self.listed().into_iter().all(|at| self.members[at].is_serving())
                && self.clients_are_in(began_us)
            {
                break;
            }
        }
        if leader_us.is_none() && self.is_helpless() {
            // docs/operators/ensembles.md, "Too few members are whole".
            self.hub.mark(Point::Helpless);
            return;
        }
        self.end(began_us, leader_us);
    }

    /// Whether a configuration that is to come has no quorum of members that are whole: its leader
    /// proposed it before it could know that one of them had lost its disk, and who has it in the
    /// log asks for its votes. [`World::can_spare`] keeps a quorum of all configurations that are
    /// known when a disk is lost.
    fn is_helpless(&self) -> bool {
        let is_whole = |sid: &Sid| {
            let store = &self.members[at_of(*sid)].store;
            !store.is_damaged() && store.has_history()
        };
        // The first one counts already.
        let mut to_come = self.members.iter().flat_map(|member| member.configs.all().skip(1));
        to_come.any(|config| {
            let whole = config.voters().filter(|sid| is_whole(sid)).count();
            whole <= config.voters().count() / 2
        })
    }

    /// Whoever has no vote asks those that its own configuration names: where the ensemble has
    /// changed since, the operator gives it the newest (docs/operators/ensembles.md).
    fn hand_out_configs(&mut self) {
        let known = self.members.iter().map(|member| &member.configs.committed);
        let Some(newest) = known.max_by_key(|config| config.version).cloned() else { return };
        for at in 0..self.members.len() {
            let member = &self.members[at];
            let has_vote = member.store.has_history() && !member.store.is_damaged();
            if !has_vote && member.configs.committed.version < newest.version {
                self.crash(at, false);
                self.members[at].configs.activate(newest.clone());
            }
        }
    }

    fn is_quiet(&self) -> bool {
        let mut listed = self.listed().into_iter().map(|at| &self.members[at]).peekable();
        let zxid = listed.peek().and_then(|member| member.zxid());
        listed.all(|member| member.is_quiet() && member.zxid() == zxid)
    }

    fn clients_are_in(&self, since_us: u64) -> bool {
        self.clients.iter().all(|client| client.is_served_since(since_us))
    }

    /// Clients stop to ask; what is under way ends.
    fn end(&mut self, began_us: u64, leader_us: Option<u64>) {
        if self.hub.violation.is_some() {
            return;
        }
        let served = self.clients.iter().filter(|it| it.is_served_since(began_us)).count();
        let clients = std::mem::take(&mut self.clients);
        let count = clients.len();
        self.is_over = true;
        self.run_until(self.hub.now_us + 2_000_000 + self.terms.tick_ms * 1000);
        // Sessions expire now and then.
        for _ in 0..600 {
            if self.is_quiet() {
                break;
            }
            self.run_until(self.hub.now_us + LOOK_US);
        }
        for at in self.listed() {
            let Some(rested) = self.members[at].describe() else { continue };
            self.hub.tell(rested);
            let inspected = self.members[at].inspect();
            inspected.into_iter().for_each(|record| self.hub.tell(record));
        }
        let leader_after_ms = leader_us.map(|us| us / 1000);
        self.hub.tell(Record::Ended { served, clients: count, leader_after_ms });
        self.clients = clients;
    }
}
