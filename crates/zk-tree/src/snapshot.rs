//! Snapshots of one instant, taken while the tree goes on.
//!
//! Apache's snapshots are fuzzy: they hold states between their beginning and their end. Here the
//! tree gives exactly the state at the beginning. Each znode remembers the last snapshot that has
//! it. Before a znode that the walk has not reached is changed or deleted, it is written out as it
//! was (its ancestors first: readers want parents before children); znodes that are created
//! meanwhile do not belong to it. The cost falls on what is changed, not on what is there.

use crate::node::NodeId;
use crate::tree::Tree;
use zk_proto::snapshot::{NodeRecord, ZxidDigest};
use zk_proto::txn::DIGEST_VERSION;
use zk_proto::{Jute, Text, Zxid};

/// Where a walk is: the next znode to enter, or to leave.
#[derive(Clone, Copy, Debug)]
enum At {
    Enter(NodeId),
    Leave(NodeId),
}

/// A snapshot in the making.
#[derive(Debug)]
pub(crate) struct Walk {
    at: At,
    /// Znodes written early, since they were about to change.
    early: Vec<u8>,
}

/// What a snapshot file has in front of its znodes, and behind them.
#[derive(Clone, Debug)]
pub struct SnapshotHead {
    /// The last transaction in it.
    pub zxid: Zxid,
    /// The digest of its tree.
    pub digest: ZxidDigest,
    /// Count and [`AclRecord`](zk_proto::snapshot::AclRecord)s, encoded.
    pub acls: Vec<u8>,
}

impl Tree {
    /// Begins a snapshot of the tree as it is now. `None` while another one is under way.
    pub fn begin_snapshot(&mut self) -> Option<SnapshotHead> {
        if self.walk.is_some() {
            return None;
        }
        if self.snapshot_generation == u16::MAX {
            self.arena.forget_snapshots();
            self.snapshot_generation = 0;
        }
        self.snapshot_generation += 1;
        self.walk = Some(Walk { at: At::Enter(NodeId::ROOT), early: Vec::new() });
        let mut acls = Vec::new();
        (self.acls.iter().count() as i32).write(&mut acls);
        for (id, list) in self.acls.iter() {
            acls.extend_from_slice(&id.persisted().to_be_bytes());
            acls.extend_from_slice(list);
        }
        let digest = ZxidDigest {
            zxid: self.last_zxid.0,
            version: DIGEST_VERSION,
            digest: self.digest as i64,
        };
        Some(SnapshotHead { zxid: self.last_zxid, digest, acls })
    }

    /// Appends the next [`NodeRecord`]s of the snapshot, in at most `steps` steps (one into a
    /// znode, one out of it) and until `out` has `bytes` bytes. Returns whether there is more. Call
    /// it in short turns, so that nobody waits for it.
    pub fn snapshot_some(&mut self, steps: usize, bytes: usize, out: &mut Vec<u8>) -> bool {
        let Some(mut walk) = self.walk.take() else { return false };
        out.append(&mut walk.early);
        let mut path = match walk.at {
            At::Enter(id) | At::Leave(id) => self.path_of(id),
        };
        for _ in 0..steps {
            if out.len() >= bytes {
                break;
            }
            match walk.at {
                At::Enter(id) => {
                    if self.mark(id) {
                        self.write_record(id, &path, out);
                    }
                    let first = self.arena[id].first_child();
                    walk.at = if first == NodeId::NONE { At::Leave(id) } else { At::Enter(first) };
                    if first != NodeId::NONE {
                        push_name(&mut path, self.arena[first].name());
                    }
                }
                At::Leave(NodeId::ROOT) => return false,
                At::Leave(id) => {
                    let node = &self.arena[id];
                    path.truncate(path.rfind('/').unwrap_or(0));
                    if node.next == NodeId::NONE {
                        walk.at = At::Leave(node.parent);
                    } else {
                        walk.at = At::Enter(node.next);
                        push_name(&mut path, self.arena[node.next].name());
                    }
                }
            }
        }
        self.walk = Some(walk);
        true
    }

    /// Gives a snapshot up.
    pub fn abandon_snapshot(&mut self) {
        self.walk = None;
    }

    /// Whether a snapshot is under way.
    #[must_use]
    pub fn is_snapshotting(&self) -> bool {
        self.walk.is_some()
    }

    /// Notes that the current snapshot has a znode; false if it was noted before.
    fn mark(&mut self, id: NodeId) -> bool {
        let generation = self.snapshot_generation;
        std::mem::replace(&mut self.arena[id].snapshot, generation) != generation
    }

    fn write_record(&self, id: NodeId, path: &str, out: &mut Vec<u8>) {
        let node = &self.arena[id];
        let path = if path == "/" { "" } else { path };
        let record = NodeRecord {
            path: Text::Borrowed(path),
            data: node.data(),
            acl_id: node.acl.persisted(),
            stat: node.stat(),
        };
        record.write(out);
    }

    /// To be called before a znode changes in any way.
    #[inline]
    pub(crate) fn before_change(&mut self, id: NodeId) {
        if self.walk.is_some() && self.arena[id].snapshot != self.snapshot_generation {
            self.write_early(id);
        }
    }

    fn write_early(&mut self, id: NodeId) {
        let Some(mut walk) = self.walk.take() else { return };
        let mut chain = vec![id];
        while let Some(&last) = chain.last() {
            let parent = self.arena[last].parent;
            if last == NodeId::ROOT || self.arena[parent].snapshot == self.snapshot_generation {
                break;
            }
            chain.push(parent);
        }
        for &id in chain.iter().rev() {
            if self.mark(id) {
                let path = self.path_of(id);
                self.write_record(id, &path, &mut walk.early);
            }
        }
        self.walk = Some(walk);
    }

    /// To be called before a childless znode goes, so that the walk does not stand on it.
    pub(crate) fn before_removal(&mut self, id: NodeId) {
        self.before_change(id);
        let node = &self.arena[id];
        let (next, parent) = (node.next, node.parent);
        if let Some(walk) = &mut self.walk
            && matches!(walk.at, At::Enter(at) | At::Leave(at) if at == id)
        {
            walk.at = if next == NodeId::NONE { At::Leave(parent) } else { At::Enter(next) };
        }
    }
}

fn push_name(path: &mut String, name: &[u8]) {
    if path.len() != 1 {
        path.push('/');
    }
    path.push_str(&String::from_utf8_lossy(name));
}
