//! Planted faults that need more than a line: what clients are sent, and what a tree learns.

use super::Driver;
use crate::ensemble::mutant::Mutant;
use crate::ensemble::store::Entry;
use std::rc::Rc;
use zk_core::{Effect, Times};
use zk_proto::txn::{Txn, TxnEntry};
use zk_proto::{Jute, Limits, Reader};

impl Driver<'_> {
    /// Clients are sent something else than the pipeline wants.
    pub(super) fn spoil_effects(&mut self, list: &mut Vec<Effect>) {
        let Some(mutant) = self.hub.mutant else { return };
        match mutant {
            Mutant::SwappedReplies => self.swap(mutant, list, true, true),
            Mutant::EventAfterReply => self.swap(mutant, list, false, true),
            Mutant::EventTwice => {
                let event = list.iter().position(is_event);
                if let Some(at) = event.filter(|_| self.hub.mutates(mutant, 50)) {
                    list.insert(at, list[at].clone());
                }
            }
            Mutant::EventForOthers => self.mislead(list),
            _ => {}
        }
    }

    /// Two neighbours for one client change places, where the kinds are these.
    fn swap(&mut self, mutant: Mutant, list: &mut [Effect], first: bool, second: bool) {
        let fits = |pair: &[Effect]| match pair {
            [
                Effect::Send { conn, is_reply, .. },
                Effect::Send { conn: other, is_reply: next, .. },
            ] => conn == other && (*is_reply, *next) == (first, second),
            _ => false,
        };
        let at = list.windows(2).position(fits);
        if let Some(at) = at.filter(|_| self.hub.mutates(mutant, 50)) {
            list.swap(at, at + 1);
        }
    }

    /// [`Mutant::EventForOthers`]: an event goes to whom it does not concern.
    fn mislead(&mut self, list: &mut [Effect]) {
        let Some(at) = list.iter().position(is_event) else { return };
        let Effect::Send { conn, .. } = &mut list[at] else { return };
        let other = self.p.conns.keys().copied().find(|other| *other != conn.0);
        if let Some(other) = other.filter(|_| self.hub.mutates(Mutant::EventForOthers, 50)) {
            conn.0 = other;
        }
    }

    /// [`Mutant::ExpiresEarly`]: the time as of who looks for sessions to expire.
    pub(super) fn expiry_times(&self) -> Times {
        let mut now = self.times();
        if self.hub.has(Mutant::ExpiresEarly) {
            now.monotonic_ms += i64::from(self.p.core_options.min_session_timeout_ms);
        }
        now
    }

    /// [`Mutant::DoubleApply`]: the last txn is applied once more.
    pub(super) fn double_apply(&mut self) {
        if !self.hub.mutates(Mutant::DoubleApply, 10) {
            return;
        }
        let last = self.p.window.back().cloned();
        if let Some((_, txn)) = last
            && let Some(entry) = entry_of(&txn)
        {
            self.p.tree.apply(&entry.header, &entry.txn, &mut ());
        }
    }

    /// [`Mutant::KeepsEphemerals`]: whether the end of a session is passed over, since it came
    /// while the member synchronised.
    pub(super) fn passes_over(&self, (_, txn): &Entry) -> bool {
        self.hub.has(Mutant::KeepsEphemerals)
            && !self.p.peer.is_serving()
            && entry_of(txn).is_some_and(|entry| matches!(entry.txn, Txn::CloseSession(_)))
    }
}

fn is_event(effect: &Effect) -> bool {
    matches!(effect, Effect::Send { is_reply: false, .. })
}

fn entry_of(txn: &Rc<[u8]>) -> Option<TxnEntry<'_>> {
    TxnEntry::read(&mut Reader::with_limits(txn, Limits::NONE)).ok()
}
