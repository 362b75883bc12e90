//! What transactions that are not applied yet will have changed (Apache `outstandingChanges`).
//!
//! A request is checked against the tree plus these changes, in the order in which requests get
//! their zxids.

use super::plan::{Plan, Planned, Step};
use super::quota::{Delta, Quotas};
use crate::acl_table::{AclId, AclList};
use crate::digest::{self, ContentCrc};
use crate::node::NodeId;
use crate::tree::Tree;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, Hasher};
use zk_proto::{SessionId, StatPersisted, Zxid, path};

/// A znode as it will be.
#[derive(Clone, Debug)]
pub(super) struct Prospect {
    /// Whether it will exist.
    pub(super) exists: bool,
    pub(super) stat: StatPersisted,
    pub(super) num_children: i32,
    /// `None` for the open list, which most have.
    pub(super) acl: Option<AclList>,
    pub(super) data_len: usize,
    pub(super) content: Content,
    /// Where the tree has it, if it is not one that is yet to be created.
    pub(super) id: Option<NodeId>,
    pub(super) place: Place,
}

impl Prospect {
    /// Whose ephemeral it will be. (What stands there of a container or a TTL znode is no session.)
    fn owner(&self) -> Option<SessionId> {
        let owner = self.stat.ephemeral_owner;
        (self.exists && owner != 0).then_some(SessionId(owner))
    }
}

/// Path and data, as far as the digest needs them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    /// Their part of the CRC.
    Known(ContentCrc),
    /// Those of the znode in the tree.
    Stored,
}

/// Where a znode stands in the table of changes, and what it adds to the digest up to now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    hash: u64,
    crc: u32,
}

#[derive(Debug)]
struct Change {
    path: String,
    hash: u64,
    zxid: Zxid,
    crc: u32,
    node: Prospect,
}

/// Where the changes are that leave an ephemeral, by its session, and how many: so that a
/// closeSession need not look at everybody's.
#[derive(Debug, Default)]
struct Owned(BTreeMap<(SessionId, u64), usize>);

impl Owned {
    /// A change at `hash` that left `before` leaves `after` now. Costs nothing where neither has
    /// an owner.
    fn replace(&mut self, hash: u64, before: Option<SessionId>, after: Option<SessionId>) {
        if before == after {
            return;
        }
        if let Some(owner) = before
            && let Some(count) = self.0.get_mut(&(owner, hash))
        {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&(owner, hash));
            }
        }
        if let Some(owner) = after {
            *self.0.entry((owner, hash)).or_default() += 1;
        }
    }

    fn of(&self, session: SessionId) -> impl Iterator<Item = u64> {
        self.0.range((session, 0)..=(session, u64::MAX)).map(|((_, hash), _)| *hash)
    }
}

/// All outstanding changes of a leader, or of a standalone server.
#[derive(Debug)]
pub struct Pending {
    changes: HashTable<Change>,
    owned: Owned,
    /// What changes, in the order in which it will; forgotten when its zxid is applied.
    order: VecDeque<Planned>,
    pub(super) quotas: Quotas,
    /// The digest after the last prepared transaction, while any is outstanding.
    digest: Option<u64>,
    hasher: foldhash::fast::FixedState,
    /// While a multi is prepared: how to take it back.
    undo: Option<Undo>,
    /// Allocations of paths, for the next ones.
    spare: Vec<String>,
}

/// So many are kept, and none that is longer.
const SPARE_PATHS: usize = 1024;
const SPARE_PATH_BYTES: usize = 256;

/// An entry's zxid, CRC and content before it was overwritten.
type Before = (Zxid, u32, Prospect);

#[derive(Debug)]
struct Undo {
    digest: Option<u64>,
    order_len: usize,
    /// Overwritten entries, newest last; `None` where there was none.
    entries: Vec<(Box<str>, Option<Before>)>,
}

impl Pending {
    /// Nothing outstanding; the seed is for the hashes.
    #[must_use]
    pub fn new(seed: u64) -> Pending {
        Pending {
            changes: HashTable::new(),
            owned: Owned::default(),
            order: VecDeque::new(),
            quotas: Quotas::default(),
            digest: None,
            hasher: foldhash::fast::FixedState::with_seed(seed),
            undo: None,
            spare: Vec::new(),
        }
    }

    /// The number of outstanding changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether nothing is outstanding.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn hash(&self, path: &str) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(path.as_bytes());
        hasher.finish()
    }

    /// A znode as it will be after all outstanding transactions; without one, the place for it.
    pub(super) fn look(&self, tree: &Tree, path: &str) -> Result<Prospect, Place> {
        let path = if path == "/" { "" } else { path };
        self.look_or(tree, path, || tree.find(path))
    }

    /// As [`Pending::look`], for the child `name` of a znode that was looked up.
    pub(super) fn look_below(
        &self,
        tree: &Tree,
        parent: &Prospect,
        path: &str,
        name: &str,
    ) -> Result<Prospect, Place> {
        self.look_or(tree, path, || match parent.id {
            Some(parent) => tree.child(parent, name, tree.child_hash(parent, name)),
            // It was yet to be when its oldest outstanding change was prepared, and may be there
            // now.
            None => tree.find(path),
        })
    }

    fn look_or(
        &self,
        tree: &Tree,
        path: &str,
        find: impl FnOnce() -> Option<NodeId>,
    ) -> Result<Prospect, Place> {
        let hash = self.hash(path);
        if let Some(change) = self.changes.find(hash, |change| change.path == path) {
            let place = Place { hash, crc: change.crc };
            return match change.node.exists {
                true => Ok(Prospect { place, ..change.node.clone() }),
                false => Err(place),
            };
        }
        let Some(id) = find() else { return Err(Place { hash, crc: 0 }) };
        let node = &tree.arena[id];
        let acl = (node.acl != AclId::OPEN).then(|| tree.acls.get(node.acl).clone());
        Ok(Prospect {
            exists: true,
            stat: node.stat(),
            num_children: node.num_children(),
            acl,
            data_len: node.data().map_or(0, <[u8]>::len),
            content: Content::Stored,
            id: Some(id),
            place: Place { hash, crc: node.crc },
        })
    }

    /// Notes what a transaction will have made of a znode, as it was looked up for it.
    pub(super) fn put(&mut self, tree: &Tree, path: &str, zxid: Zxid, mut node: Prospect) {
        let path = if path == "/" { "" } else { path };
        let Place { hash, crc: old } = node.place;
        let crc = if node.exists {
            let content = match node.content {
                Content::Known(content) => content,
                Content::Stored => {
                    ContentCrc::new(path, node.id.and_then(|id| tree.arena[id].data()))
                }
            };
            node.content = Content::Known(content);
            content.with_stat(path, &node.stat)
        } else {
            0
        };
        self.digest = Some(digest::replace(self.digest(tree), old, crc));
        self.order.push_back(Planned { zxid, hash, step: Step { id: node.id, crc } });
        let is_it = |change: &Change| change.path == path;
        let owner = node.owner();
        match self.changes.entry(hash, is_it, |change| change.hash) {
            Entry::Occupied(mut entry) => {
                let change = entry.get_mut();
                self.owned.replace(hash, change.node.owner(), owner);
                let before = (change.zxid, change.crc, std::mem::replace(&mut change.node, node));
                (change.zxid, change.crc) = (zxid, crc);
                if let Some(undo) = &mut self.undo {
                    undo.entries.push((path.into(), Some(before)));
                }
            }
            Entry::Vacant(entry) => {
                self.owned.replace(hash, None, owner);
                if let Some(undo) = &mut self.undo {
                    undo.entries.push((path.into(), None));
                }
                let mut own = self.spare.pop().unwrap_or_default();
                own.push_str(path);
                entry.insert(Change { path: own, hash, zxid, crc, node });
            }
        }
    }

    /// The digest of the tree after all outstanding transactions.
    pub(super) fn digest(&self, tree: &Tree) -> u64 {
        self.digest.unwrap_or(tree.digest)
    }

    /// Znodes and bytes at a path and below it, after all outstanding transactions.
    pub(super) fn count_below(&self, tree: &Tree, top: &str) -> Delta {
        let mut sum = tree.count_below(top);
        for Change { path, node, .. } in &self.changes {
            if !path::is_at_or_below(path, top) {
                continue;
            }
            if let Some(id) = tree.find(path) {
                sum.0 -= 1;
                sum.1 -= tree.arena[id].data().map_or(0, <[u8]>::len) as i64;
            }
            if node.exists {
                sum.0 += 1;
                sum.1 += node.data_len as i64;
            }
        }
        Delta { count: sum.0, bytes: sum.1 }
    }

    /// From here on, changes can be taken back.
    pub(super) fn begin(&mut self) {
        self.undo =
            Some(Undo { digest: self.digest, order_len: self.order.len(), entries: Vec::new() });
    }

    /// The changes since [`Pending::begin`] stay.
    pub(super) fn keep(&mut self) {
        self.undo = None;
    }

    /// The changes since [`Pending::begin`] never were.
    pub(super) fn take_back(&mut self) {
        let Some(undo) = self.undo.take() else { return };
        self.digest = undo.digest;
        self.order.truncate(undo.order_len);
        for (path, before) in undo.entries.into_iter().rev() {
            let hash = self.hash(&path);
            let Ok(mut entry) = self.changes.find_entry(hash, |change| *change.path == *path)
            else {
                continue;
            };
            let owner = before.as_ref().and_then(|(.., node)| node.owner());
            self.owned.replace(hash, entry.get().node.owner(), owner);
            match before {
                Some((zxid, crc, node)) => {
                    let change = entry.get_mut();
                    (change.zxid, change.crc, change.node) = (zxid, crc, node);
                }
                None => {
                    entry.remove();
                }
            }
        }
    }

    /// What preparing the next transaction to be applied found out.
    #[must_use]
    pub fn plan(&self, zxid: Zxid) -> Plan<'_> {
        Plan::new(zxid, &self.order)
    }

    /// Everything up to `zxid` has been applied.
    pub fn applied(&mut self, zxid: Zxid) {
        self.quotas.applied(zxid);
        while let Some(Planned { hash, .. }) = self.order.pop_front_if(|next| next.zxid <= zxid) {
            let is_it = |change: &Change| change.hash == hash && change.zxid <= zxid;
            if let Ok(entry) = self.changes.find_entry(hash, is_it) {
                let Change { mut path, node, .. } = entry.remove().0;
                self.owned.replace(hash, node.owner(), None);
                if self.spare.len() < SPARE_PATHS && path.capacity() <= SPARE_PATH_BYTES {
                    path.clear();
                    self.spare.push(path);
                }
            }
        }
        if self.order.is_empty() {
            self.digest = None;
        }
    }

    /// Paths of a session's ephemerals after all outstanding transactions, sorted.
    pub(super) fn ephemerals_of(&self, tree: &Tree, session: SessionId) -> Vec<String> {
        let is_changed = |path: &String| {
            self.changes.find(self.hash(path), |change| change.path == *path).is_some()
        };
        let mut paths: Vec<String> =
            tree.ephemerals_of(session).filter(|path| !is_changed(path)).collect();
        // A path may have belonged to somebody else, and been given up, since the last applied one.
        for hash in self.owned.of(session) {
            let changes = self.changes.iter_hash(hash);
            let is_its =
                |change: &&Change| change.hash == hash && change.node.owner() == Some(session);
            paths.extend(changes.filter(is_its).map(|change| change.path.clone()));
        }
        paths.sort_unstable();
        paths
    }

    /// The paths of outstanding ephemerals by session, from a look at all changes and from what is
    /// kept beside them.
    #[cfg(test)]
    pub(super) fn owned_both_ways(&self) -> [Vec<(SessionId, String)>; 2] {
        let owned = |change: &Change| Some((change.node.owner()?, change.path.clone()));
        let at = |&(session, hash): &(SessionId, u64)| {
            let found = self.changes.iter_hash(hash).filter(move |change| change.hash == hash);
            found.filter_map(owned).filter(move |(owner, _)| *owner == session)
        };
        let mut both = [
            self.changes.iter().filter_map(owned).collect(),
            self.owned.0.keys().flat_map(at).collect(),
        ];
        both.iter_mut().for_each(|list: &mut Vec<_>| list.sort_unstable());
        both
    }
}
