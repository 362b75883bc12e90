//! Which containers and TTL znodes are due to go (client-protocol 7.6; Apache `ContainerManager`).

use crate::node::NodeId;
use crate::tree::Tree;
use std::collections::BTreeSet;
use std::ops::Bound;
use zk_proto::{EphemeralOwner, OwnerKind, StatPersisted};

/// Whether a childless znode may be reaped at `now_ms` of the wall clock: a container that had
/// children, or that nobody ever used for `max_never_used_ms` (0: it stays), and a TTL znode past
/// its time.
pub(crate) fn is_due(
    stat: &StatPersisted,
    extended_types: bool,
    now_ms: i64,
    max_never_used_ms: i64,
) -> bool {
    let idle_ms = now_ms.saturating_sub(stat.mtime);
    match EphemeralOwner(stat.ephemeral_owner).kind(extended_types) {
        OwnerKind::Container => {
            stat.cversion > 0 || (max_never_used_ms != 0 && idle_ms > max_never_used_ms)
        }
        OwnerKind::Ttl(ttl_ms) => idle_ms > ttl_ms,
        OwnerKind::Persistent | OwnerKind::Ephemeral(_) => false,
    }
}

/// So many are looked at in one go.
const LOOKS: usize = 4096;

/// A walk over all containers and TTL znodes, in parts: each one keeps writers from the tree.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReapWalk {
    /// The last one that was looked at, and whether that was a TTL znode.
    last: Option<(bool, NodeId)>,
    is_over: bool,
}

impl ReapWalk {
    /// Whether all have been looked at.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over
    }
}

impl Tree {
    /// Paths of childless containers and TTL znodes that are due, at most `most` of them, from the
    /// next part of a walk. `now_ms` is wall-clock time, as `mtime` is; a container that nobody
    /// ever used is due after `max_never_used_ms` (0: never). A walk may miss what comes meanwhile.
    #[must_use]
    pub fn due_for_reaping(
        &self,
        walk: &mut ReapWalk,
        now_ms: i64,
        max_never_used_ms: i64,
        most: usize,
    ) -> Vec<String> {
        let mut due = Vec::new();
        for _ in 0..LOOKS {
            if due.len() == most {
                return due;
            }
            let Some((is_ttl, id)) = self.reapable_after(walk.last) else {
                walk.is_over = true;
                return due;
            };
            walk.last = Some((is_ttl, id));
            let node = &self.arena[id];
            let extended_types = self.options.extended_types;
            if node.num_children() == 0
                && is_due(&node.stat(), extended_types, now_ms, max_never_used_ms)
            {
                due.push(self.path_of(id));
            }
        }
        due
    }

    /// The next container, or TTL znode behind all containers.
    fn reapable_after(&self, last: Option<(bool, NodeId)>) -> Option<(bool, NodeId)> {
        let next = |of: &BTreeSet<NodeId>, is_ttl, after: Option<NodeId>| {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            of.range((from, Bound::Unbounded)).next().map(|id| (is_ttl, *id))
        };
        match last {
            Some((true, id)) => next(&self.ttls, true, Some(id)),
            last => next(&self.containers, false, last.map(|(_, id)| id))
                .or_else(|| next(&self.ttls, true, None)),
        }
    }
}
