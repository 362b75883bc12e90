//! Which containers and TTL znodes are due to go (client-protocol 7.6; Apache `ContainerManager`).

use crate::node::NodeId;
use crate::tree::Tree;
use zk_proto::{EphemeralOwner, OwnerKind};

impl Tree {
    /// Paths of childless containers that had children, or that nobody ever used for
    /// `max_never_used_ms` (0: they stay), and of childless TTL znodes past their time; at most
    /// `most` of them. `now_ms` is wall-clock time, as `mtime` is.
    #[must_use]
    pub fn due_for_reaping(&self, now_ms: i64, max_never_used_ms: i64, most: usize) -> Vec<String> {
        let idle = |id: NodeId| now_ms.saturating_sub(self.arena[id].mtime);
        let container = self.containers.iter().filter(|&&id| {
            let node = &self.arena[id];
            node.num_children() == 0
                && (node.stat().cversion > 0
                    || (max_never_used_ms != 0 && idle(id) > max_never_used_ms))
        });
        let ttl = self.ttls.iter().filter(|&&id| {
            let node = &self.arena[id];
            let owner = EphemeralOwner(node.owner());
            node.num_children() == 0
                && matches!(owner.kind(self.options.extended_types), OwnerKind::Ttl(ttl) if idle(id) > ttl)
        });
        container.chain(ttl).take(most).map(|&id| self.path_of(id)).collect()
    }
}
