//! What is on whose disk, and how far each member is.

use super::Annals;
use crate::ensemble::record::Record;
use std::collections::VecDeque;
use zk_proto::{Epoch, Sid, Zxid};

/// What is known of a member.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemberView {
    /// What its log builds upon: the last txn of a snapshot.
    pub(crate) base: i64,
    /// Its log, on disk: zxids and hashes.
    pub(crate) log: VecDeque<(i64, u64)>,
    /// `acceptedEpoch`, on disk.
    pub(crate) accepted: Epoch,
    /// `currentEpoch`, on disk.
    pub(crate) current: Epoch,
    /// Its history is being changed.
    pub(crate) is_changing: bool,
    /// Its process is there.
    pub(crate) is_up: bool,
    /// It lets clients in.
    pub(crate) serves: bool,
    /// It has lost its history, and was not seen to vote since.
    pub(crate) is_lost: bool,
    /// How far it has applied what is committed, since it serves.
    pub(crate) applied: i64,
    /// When it served last began, in µs.
    pub(crate) served_us: u64,
}

impl MemberView {
    /// The last txn on its disk.
    #[must_use]
    pub(crate) fn last(&self) -> i64 {
        self.log.back().map_or(self.base, |(zxid, _)| *zxid)
    }

    /// Whether a txn is on its disk.
    #[must_use]
    pub(crate) fn holds(&self, zxid: i64, hash: u64) -> bool {
        if zxid <= self.base {
            return true;
        }
        // The newest are asked for most.
        if self.log.back() == Some(&(zxid, hash)) {
            return true;
        }
        match self.log.binary_search_by_key(&zxid, |(zxid, _)| *zxid) {
            Ok(at) => self.log[at].1 == hash,
            Err(_) => false,
        }
    }

    fn cut(&mut self, zxid: i64) {
        while self.log.back().is_some_and(|(last, _)| *last > zxid) {
            self.log.pop_back();
        }
    }
}

impl Annals {
    fn view(&mut self, sid: Sid) -> &mut MemberView {
        self.members.entry(sid).or_default()
    }

    /// What happened to a member.
    pub(super) fn on_disk(&mut self, record: &Record) {
        let now_us = self.now_us;
        match record {
            Record::Logged { sid, zxid, hash } => self.view(*sid).log.push_back((zxid.0, *hash)),
            Record::Changing { sid } => self.view(*sid).is_changing = true,
            Record::Cut { sid, zxid } => {
                let view = self.view(*sid);
                view.cut(zxid.0);
                view.is_changing = false;
            }
            Record::Replaced { sid, zxid } => {
                let (base, log) = self.like(zxid.0);
                let view = self.view(*sid);
                (view.base, view.log, view.is_changing) = (base, log, false);
            }
            Record::Wrote { sid, is_accepted, epoch } => {
                let view = self.view(*sid);
                let which = if *is_accepted { &mut view.accepted } else { &mut view.current };
                *which = *epoch;
            }
            Record::Started { sid, zxid, accepted, current, is_damaged, .. } => {
                let view = self.view(*sid);
                view.is_up = true;
                if *is_damaged {
                    view.log.clear();
                    (view.base, view.is_lost, view.is_changing) = (0, true, false);
                }
                (view.accepted, view.current) = (*accepted, *current);
                if std::mem::take(&mut view.is_changing) && !view.found(*zxid) {
                    let (base, log) = self.like(zxid.0);
                    let view = self.view(*sid);
                    (view.base, view.log) = (base, log);
                }
            }
            Record::Looks { sid, has_vote, .. } => self.view(*sid).is_lost = !has_vote,
            Record::Crashed { sid } => {
                let view = self.view(*sid);
                (view.is_up, view.serves) = (false, false);
            }
            Record::Wiped { sid } => {
                *self.view(*sid) = MemberView { is_lost: true, ..MemberView::default() };
            }
            Record::Serves { sid } => {
                let last = self.view(*sid).last();
                let view = self.view(*sid);
                (view.serves, view.served_us) = (true, now_us);
                view.applied = view.applied.min(last);
            }
            Record::Rests { sid } => self.view(*sid).serves = false,
            _ => {}
        }
    }

    /// A history that ends with a txn, as a snapshot of somebody has it: like that of anybody, for
    /// what is in front of one txn is the same everywhere.
    fn like(&self, zxid: i64) -> (i64, VecDeque<(i64, u64)>) {
        let has = |view: &&MemberView| view.log.binary_search_by_key(&zxid, |it| it.0).is_ok();
        match self.members.values().find(has) {
            Some(view) => {
                (view.base, view.log.iter().take_while(|it| it.0 <= zxid).copied().collect())
            }
            None => (zxid, VecDeque::new()),
        }
    }

    pub(super) fn applied(&mut self, sid: Sid, zxid: i64) {
        self.view(sid).applied = zxid;
    }
}

impl MemberView {
    /// A start shows what became of a change that was under way: whether the old history, or a
    /// part of it, is still there.
    fn found(&mut self, zxid: Zxid) -> bool {
        let is_there = zxid.0 <= self.last() && self.holds_zxid(zxid.0);
        if is_there {
            self.cut(zxid.0);
        }
        is_there
    }

    fn holds_zxid(&self, zxid: i64) -> bool {
        zxid == self.base || self.log.binary_search_by_key(&zxid, |(zxid, _)| *zxid).is_ok()
    }
}
