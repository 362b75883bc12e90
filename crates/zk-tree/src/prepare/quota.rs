//! Quotas as they will be when all outstanding transactions are applied.
//!
//! Apache checks hard limits against what is applied, so a client that sends many creates at a time
//! gets past them. Here a write is checked against everything before it, whether that is applied or
//! not: who sends many at a time hears what one hears that waits for each answer. Parts of a multi
//! are all checked against the state before it, as in Apache.

use crate::quota::{StatsTrack, deepest};
use crate::tree::Tree;
use std::collections::{BTreeMap, VecDeque};
use zk_proto::{ErrorCode, Zxid, path};

/// What a write changes: znodes and bytes of data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Delta {
    pub(super) count: i64,
    pub(super) bytes: i64,
}

/// A quota: the contents of its two znodes, as far as they are there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Quota {
    pub(super) limits: Option<StatsTrack>,
    pub(super) usage: Option<StatsTrack>,
}

/// The quotas that outstanding transactions change.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    /// By the path that each is on, with the last transaction that changes it.
    changed: BTreeMap<Box<str>, (Zxid, Quota)>,
    /// What to forget when a zxid is applied.
    order: VecDeque<(Zxid, Box<str>)>,
    /// What the transaction that is being made has changed, as it was before.
    before: BTreeMap<Box<str>, Option<(Zxid, Quota)>>,
}

impl Quotas {
    /// The quota on a path, now.
    pub(super) fn on(&self, tree: &Tree, governed: &str) -> Quota {
        quota_on(tree, governed, self.changed.get(governed))
    }

    /// What outstanding transactions have made of the quota on a path, without the one that is
    /// being made; `None` for what the tree has.
    fn before(&self, governed: &str) -> Option<&(Zxid, Quota)> {
        match self.before.get(governed) {
            Some(before) => before.as_ref(),
            None => self.changed.get(governed),
        }
    }

    /// Whether there is no quota, and none under way, as on most servers.
    fn is_idle(&self, tree: &Tree) -> bool {
        tree.quotas.is_empty() && self.changed.is_empty()
    }

    /// Whether hard limits allow a change. What does not change passes even above its limit, and so
    /// does everything while nobody counts.
    pub(super) fn check(&self, tree: &Tree, path: &str, change: Delta) -> Result<(), ErrorCode> {
        if self.is_idle(tree) {
            return Ok(());
        }
        let Some(governed) = governing(tree, path, |at| self.before(at)) else { return Ok(()) };
        let Quota { limits: Some(limits), usage: Some(usage) } =
            quota_on(tree, governed, self.before(governed))
        else {
            return Ok(());
        };
        // As in Java: clients may write anything into the usage.
        let over = |limit: i64, used: i64, change: i64| {
            change != 0 && limit > -1 && used.wrapping_add(change) > limit
        };
        if over(limits.count_hard_limit, usage.count, change.count)
            || over(limits.byte_hard_limit, usage.bytes, change.bytes)
        {
            return Err(ErrorCode::QuotaExceeded);
        }
        Ok(())
    }

    /// Counts a change into the usage under the governing quota.
    pub(super) fn count(&mut self, tree: &Tree, zxid: Zxid, path: &str, change: Delta) {
        if self.is_idle(tree) {
            return;
        }
        let Some(governed) = governing(tree, path, |at| self.changed.get(at)) else { return };
        let mut quota = self.on(tree, governed);
        if let Some(usage) = &mut quota.usage {
            usage.count = usage.count.wrapping_add(change.count);
            usage.bytes = usage.bytes.wrapping_add(change.bytes);
            self.put(zxid, governed, quota);
        }
    }

    /// The transaction that is being made changes the quota on a path.
    pub(super) fn put(&mut self, zxid: Zxid, governed: &str, quota: Quota) {
        let old = self.changed.insert(governed.into(), (zxid, quota));
        self.before.entry(governed.into()).or_insert(old);
        self.order.push_back((zxid, governed.into()));
    }

    /// The transaction is made.
    pub(super) fn settle(&mut self) {
        self.before.clear();
    }

    /// Nothing of the transaction will be.
    pub(super) fn take_back(&mut self) {
        for (governed, before) in std::mem::take(&mut self.before) {
            match before {
                Some(before) => drop(self.changed.insert(governed, before)),
                None => drop(self.changed.remove(&governed)),
            }
        }
    }

    /// Everything up to `zxid` is in the tree.
    pub(super) fn applied(&mut self, zxid: Zxid) {
        while let Some((_, governed)) = self.order.pop_front_if(|(at, _)| *at <= zxid) {
            if self.changed.get(&governed).is_some_and(|(last, _)| *last <= zxid) {
                self.changed.remove(&governed);
            }
        }
    }

    /// Whether nothing outstanding changes a quota.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.order.is_empty() && self.before.is_empty()
    }
}

/// The quota on a path, as it was `changed` or as the tree has it.
fn quota_on(tree: &Tree, governed: &str, changed: Option<&(Zxid, Quota)>) -> Quota {
    match changed {
        Some((_, quota)) => *quota,
        None => Quota {
            limits: tree.track(governed, path::QUOTA_LIMITS),
            usage: tree.track(governed, path::QUOTA_STATS),
        },
    }
}

/// The deepest path at or above `path` with limits; what is below `/zookeeper` has none.
fn governing<'a, 'c>(
    tree: &Tree,
    path: &'a str,
    changed: impl Fn(&str) -> Option<&'c (Zxid, Quota)>,
) -> Option<&'a str> {
    deepest(path, |at| match changed(at) {
        Some((_, quota)) => quota.limits.is_some(),
        None => tree.quotas.is_on(at),
    })
}
