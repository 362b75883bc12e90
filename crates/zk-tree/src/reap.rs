//! Which containers and TTL znodes are due to go (client-protocol 7.6; Apache `ContainerManager`).

use crate::node::NodeId;
use crate::tree::Tree;
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

impl Tree {
    /// Paths of childless containers and TTL znodes that are due, at most `most` of them. `now_ms`
    /// is wall-clock time, as `mtime` is; a container that nobody ever used is due after
    /// `max_never_used_ms` (0: never).
    #[must_use]
    pub fn due_for_reaping(&self, now_ms: i64, max_never_used_ms: i64, most: usize) -> Vec<String> {
        let is_due = |id: &&NodeId| {
            let node = &self.arena[**id];
            let extended_types = self.options.extended_types;
            node.num_children() == 0
                && is_due(&node.stat(), extended_types, now_ms, max_never_used_ms)
        };
        let all = self.containers.iter().chain(&self.ttls);
        all.filter(is_due).take(most).map(|&id| self.path_of(id)).collect()
    }
}
