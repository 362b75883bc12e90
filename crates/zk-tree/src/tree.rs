//! The tree itself: looking up, and the few ways in which it can change.

use crate::acl_table::{AclId, AclList, AclTable};
use crate::digest;
use crate::index::Index;
use crate::node::{Arena, Node, NodeId};
use crate::quota::Quotas;
use crate::snapshot::Walk;
use hashbrown::HashMap;
use std::collections::{BTreeSet, VecDeque};
use zk_proto::{
    EphemeralOwner, OwnerKind, SessionId, Stat, StatPersisted, Zxid, acl::AclBytes, path,
    txn::TxnDigest,
};

/// What the tree must know of its server's configuration.
#[derive(Clone, Copy, Debug)]
pub struct TreeOptions {
    /// `extendedTypesEnabled`: whether an owner of 0xff... is a TTL znode.
    pub extended_types: bool,
    /// Seed of the hashes; random on a server, so that clients cannot build collisions.
    pub hash_seed: u64,
}

impl Default for TreeOptions {
    fn default() -> TreeOptions {
        TreeOptions { extended_types: false, hash_seed: 0x5a4b }
    }
}

/// A digest is remembered each so many transactions (Apache `DIGEST_LOG_INTERVAL`).
const DIGEST_INTERVAL: i64 = 128;
/// So many are remembered (`DIGEST_LOG_LIMIT`).
const DIGEST_HISTORY: usize = 1024;

/// All znodes of an ensemble as one member has applied them.
#[derive(Debug)]
pub struct Tree {
    pub(crate) arena: Arena,
    pub(crate) index: Index,
    pub(crate) acls: AclTable,
    pub(crate) ephemerals: HashMap<SessionId, BTreeSet<NodeId>, foldhash::fast::FixedState>,
    pub(crate) containers: BTreeSet<NodeId>,
    pub(crate) ttls: BTreeSet<NodeId>,
    pub(crate) quotas: Quotas,
    pub(crate) digest: u64,
    pub(crate) last_zxid: Zxid,
    pub(crate) data_bytes: u64,
    pub(crate) options: TreeOptions,
    /// Digests of the past, one each [`DIGEST_INTERVAL`] transactions.
    pub(crate) digest_history: VecDeque<(Zxid, u64)>,
    pub(crate) walk: Option<Walk>,
    pub(crate) snapshot_generation: u16,
}

/// A znode that is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewNode<'a> {
    pub(crate) path: &'a str,
    /// The last component of the path.
    pub(crate) name: &'a str,
    /// See [`Tree::child_hash`].
    pub(crate) hash: u32,
    pub(crate) data: Option<&'a [u8]>,
    pub(crate) acl: &'a [u8],
    pub(crate) stat: &'a StatPersisted,
    /// Its summand of the digest.
    pub(crate) crc: u32,
}

impl Tree {
    /// The tree of a new server: the root and what is below `/zookeeper` (client-protocol 7.2).
    #[must_use]
    pub fn new(options: TreeOptions) -> Tree {
        let mut tree = Tree::without_nodes(options);
        let (open, stat) = (AclBytes::OPEN.as_bytes(), StatPersisted::default());
        tree.load_root(Some(b""), open, &stat);
        let config = StatPersisted { aversion: -1, ..stat };
        for (path, acl, stat) in [
            (path::ZOOKEEPER, open, stat),
            (path::QUOTA, open, stat),
            (path::CONFIG, AclBytes::READ_ONLY.as_bytes(), config),
        ] {
            if let Some((parent, name)) = path::split(path)
                && let Some(parent) = tree.find(parent)
            {
                let (hash, data) = (tree.child_hash(parent, name), Some(&b""[..]));
                let crc = digest::node_crc(path, data, &stat);
                let stat = &stat;
                tree.attach(parent, &NewNode { path, name, hash, data, acl, stat, crc });
            }
        }
        tree
    }

    /// A tree with nothing but a bare root.
    #[must_use]
    pub(crate) fn without_nodes(options: TreeOptions) -> Tree {
        let mut arena = Arena::default();
        let root = arena.insert(Node::new("", Some(b""), &StatPersisted::default()), 0);
        debug_assert_eq!(root, NodeId::ROOT);
        arena[root].crc = digest::node_crc("/", Some(b""), &StatPersisted::default());
        let digest = u64::from(arena[root].crc);
        Tree {
            arena,
            index: Index::new(options.hash_seed),
            acls: AclTable::new(options.hash_seed),
            ephemerals: HashMap::with_hasher(foldhash::fast::FixedState::with_seed(
                options.hash_seed,
            )),
            containers: BTreeSet::new(),
            ttls: BTreeSet::new(),
            quotas: Quotas::default(),
            digest,
            last_zxid: Zxid::ZERO,
            data_bytes: 0,
            options,
            digest_history: VecDeque::new(),
            walk: None,
            snapshot_generation: 0,
        }
    }

    /// Overwrites the root.
    pub(crate) fn load_root(&mut self, data: Option<&[u8]>, acl: &[u8], stat: &StatPersisted) {
        self.set_acl_list(NodeId::ROOT, acl);
        let root = &mut self.arena[NodeId::ROOT];
        root.set_data(data);
        (root.czxid, root.mzxid, root.ctime, root.mtime) =
            (stat.czxid, stat.mzxid, stat.ctime, stat.mtime);
        root.version = stat.version;
        let extra = root.extra_mut();
        (extra.pzxid, extra.cversion, extra.aversion) = (stat.pzxid, stat.cversion, stat.aversion);
        self.refresh_crc(NodeId::ROOT, "/");
    }

    /// The znode at a path; `""` is the root too.
    #[inline]
    pub(crate) fn find(&self, path: &str) -> Option<NodeId> {
        if path.is_empty() || path == "/" {
            return Some(NodeId::ROOT);
        }
        self.index.find(&self.arena, path)
    }

    /// The hash of a child that is there or not.
    pub(crate) fn child_hash(&self, parent: NodeId, name: &str) -> u32 {
        self.index.hash(self.arena.hash(parent), name.as_bytes())
    }

    /// A child, by its name and hash.
    pub(crate) fn child(&self, parent: NodeId, name: &str, hash: u32) -> Option<NodeId> {
        self.index.child(&self.arena, parent, name.as_bytes(), hash)
    }

    /// The znode at a path, for reading; `""` is an alias of `/`.
    #[must_use]
    #[inline]
    pub fn get(&self, path: &str) -> Option<NodeRef<'_>> {
        self.find(path).map(|id| NodeRef { tree: self, id })
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> NodeRef<'_> {
        NodeRef { tree: self, id: NodeId::ROOT }
    }

    pub(crate) fn path_of(&self, id: NodeId) -> String {
        let mut names = Vec::new();
        let mut at = id;
        while at != NodeId::ROOT {
            names.push(self.arena[at].name());
            at = self.arena[at].parent;
        }
        if names.is_empty() {
            return "/".into();
        }
        let mut path = Vec::with_capacity(names.iter().map(|name| name.len() + 1).sum());
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        String::from_utf8_lossy(&path).into_owned()
    }

    /// Puts a new znode under a parent; neither the parent's stat nor the digest of others changes.
    pub(crate) fn attach(&mut self, parent: NodeId, new: &NewNode<'_>) -> NodeId {
        let id = self.attach_unindexed(parent, new);
        self.index.insert(&self.arena, id);
        id
    }

    /// As [`Tree::attach`]; the index does not know of it.
    pub(crate) fn attach_unindexed(&mut self, parent: NodeId, new: &NewNode<'_>) -> NodeId {
        let &NewNode { path, name, hash, data, acl, stat, crc } = new;
        debug_assert_eq!(crc, digest::node_crc(path, data, stat), "{path}");
        let mut node = Node::new(name, data, stat);
        node.parent = parent;
        node.acl = self.acls.intern(acl);
        node.crc = crc;
        node.snapshot = self.snapshot_generation;
        let first = self.arena[parent].first_child();
        node.next = first;
        self.digest = digest::replace(self.digest, 0, node.crc);
        self.data_bytes += (path.len() + data.map_or(0, <[u8]>::len)) as u64;
        let id = self.arena.insert(node, hash);
        if first != NodeId::NONE {
            self.arena[first].prev = id;
        }
        let above = self.arena[parent].extra_mut();
        above.first_child = id;
        above.num_children += 1;
        self.remember_owner(id, stat.ephemeral_owner);
        self.quotas.attached(path);
        id
    }

    /// Takes a childless znode out; its parent's stat does not change.
    pub(crate) fn detach(&mut self, id: NodeId, path: &str) {
        self.forget_owner(id);
        self.index.remove(&self.arena, id);
        let node = &self.arena[id];
        let (parent, prev, next) = (node.parent, node.prev, node.next);
        self.digest = digest::replace(self.digest, node.crc, 0);
        let bytes = path.len() + node.data().map_or(0, <[u8]>::len);
        self.data_bytes = self.data_bytes.saturating_sub(bytes as u64);
        self.acls.release(node.acl);
        if next != NodeId::NONE {
            self.arena[next].prev = prev;
        }
        if prev != NodeId::NONE {
            self.arena[prev].next = next;
        }
        let above = self.arena[parent].extra_mut();
        if above.first_child == id {
            above.first_child = next;
        }
        above.num_children -= 1;
        self.arena.remove(id);
        self.quotas.detached(path);
    }

    fn remember_owner(&mut self, id: NodeId, owner: i64) {
        match EphemeralOwner(owner).kind(self.options.extended_types) {
            OwnerKind::Persistent => {}
            OwnerKind::Ephemeral(session) => {
                self.ephemerals.entry(session).or_default().insert(id);
            }
            OwnerKind::Container => {
                self.containers.insert(id);
            }
            OwnerKind::Ttl(_) => {
                self.ttls.insert(id);
            }
        }
    }

    fn forget_owner(&mut self, id: NodeId) {
        match EphemeralOwner(self.arena[id].owner()).kind(self.options.extended_types) {
            OwnerKind::Persistent => {}
            OwnerKind::Ephemeral(session) => {
                if let Some(nodes) = self.ephemerals.get_mut(&session) {
                    nodes.remove(&id);
                    if nodes.is_empty() {
                        self.ephemerals.remove(&session);
                    }
                }
            }
            OwnerKind::Container => {
                self.containers.remove(&id);
            }
            OwnerKind::Ttl(_) => {
                self.ttls.remove(&id);
            }
        }
    }

    /// Replaces data; the stat is the caller's, and so is [`Tree::refresh_crc`].
    pub(crate) fn replace_data(&mut self, id: NodeId, data: Option<&[u8]>) {
        let old = self.arena[id].data().map_or(0, <[u8]>::len);
        let new = data.map_or(0, <[u8]>::len);
        self.data_bytes = (self.data_bytes + new as u64).saturating_sub(old as u64);
        self.arena[id].set_data(data);
    }

    /// Replaces the ACL list, not its version.
    pub(crate) fn set_acl_list(&mut self, id: NodeId, acl: &[u8]) {
        let new = self.acls.intern(acl);
        let old = std::mem::replace(&mut self.arena[id].acl, new);
        self.acls.release(old);
    }

    /// Brings a znode's summand of the digest up to date after its data or stat changed.
    pub(crate) fn refresh_crc(&mut self, id: NodeId, path: &str) {
        let node = &self.arena[id];
        let crc = digest::node_crc(path, node.data(), &node.stat());
        self.set_crc(id, path, crc);
    }

    /// As [`Tree::refresh_crc`], with the summand that the znode will have.
    pub(crate) fn set_crc(&mut self, id: NodeId, path: &str, crc: u32) {
        let node = &mut self.arena[id];
        debug_assert_eq!(crc, digest::node_crc(path, node.data(), &node.stat()), "{path}");
        let old = std::mem::replace(&mut node.crc, crc);
        self.digest = digest::replace(self.digest, old, crc);
    }

    /// The zxid of the last transaction that was applied.
    #[must_use]
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// Apache's digest of the tree.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Digests of the past, oldest first.
    pub fn digest_history(&self) -> impl Iterator<Item = (Zxid, u64)> {
        self.digest_history.iter().copied()
    }

    /// Called after each transaction.
    pub(crate) fn remember_digest(&mut self) {
        if self.last_zxid.0 % DIGEST_INTERVAL == 0 {
            if self.digest_history.len() == DIGEST_HISTORY {
                self.digest_history.pop_front();
            }
            self.digest_history.push_back((self.last_zxid, self.digest));
        }
    }

    /// The digest as the log records it.
    #[must_use]
    pub fn txn_digest(&self) -> TxnDigest {
        TxnDigest { version: zk_proto::txn::DIGEST_VERSION, tree_digest: self.digest as i64 }
    }

    /// The number of znodes, the root and `/zookeeper` included.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.arena.len()
    }

    /// Bytes of paths and data, Apache's `approximate_data_size`.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// The number of ephemerals.
    #[must_use]
    pub fn ephemeral_count(&self) -> usize {
        self.ephemerals.values().map(BTreeSet::len).sum()
    }

    /// The sessions that own ephemerals, in order.
    #[must_use]
    pub fn sessions_with_ephemerals(&self) -> Vec<SessionId> {
        let mut sessions: Vec<_> = self.ephemerals.keys().copied().collect();
        sessions.sort_unstable();
        sessions
    }

    /// Paths of a session's ephemerals.
    pub fn ephemerals_of(&self, session: SessionId) -> impl Iterator<Item = String> {
        let nodes = self.ephemerals.get(&session);
        nodes.into_iter().flatten().map(|&id| self.path_of(id))
    }

    /// The ACL lists in use.
    #[must_use]
    pub fn acls(&self) -> &AclTable {
        &self.acls
    }

    /// The options that it was made with.
    #[must_use]
    pub fn options(&self) -> TreeOptions {
        self.options
    }
}

/// A znode, for reading.
#[derive(Clone, Copy, Debug)]
pub struct NodeRef<'t> {
    pub(crate) tree: &'t Tree,
    pub(crate) id: NodeId,
}

impl<'t> NodeRef<'t> {
    fn node(self) -> &'t Node {
        &self.tree.arena[self.id]
    }

    /// Its data, or null.
    #[must_use]
    #[inline]
    pub fn data(self) -> Option<&'t [u8]> {
        self.node().data()
    }

    /// Its stat as clients see it.
    #[must_use]
    #[inline]
    pub fn stat(self) -> Stat {
        let node = self.node();
        let length = node.data().map_or(0, <[u8]>::len) as i32;
        node.stat().to_stat(length, node.num_children(), self.tree.options.extended_types)
    }

    /// Its stat as snapshots have it.
    #[must_use]
    pub fn stat_persisted(self) -> StatPersisted {
        self.node().stat()
    }

    /// Its ACL list.
    #[must_use]
    #[inline]
    pub fn acl(self) -> &'t AclList {
        self.tree.acls.get(self.node().acl)
    }

    /// Whether its ACL is `world:anyone:cdrwa`.
    #[must_use]
    #[inline]
    pub fn is_open(self) -> bool {
        self.node().acl == AclId::OPEN
    }

    /// How many children it has.
    #[must_use]
    pub fn num_children(self) -> i32 {
        self.node().num_children()
    }

    /// Its last path component.
    #[must_use]
    pub fn name(self) -> &'t [u8] {
        self.node().name()
    }

    /// Its path.
    #[must_use]
    pub fn path(self) -> String {
        self.tree.path_of(self.id)
    }

    /// Its children, in no promised order.
    pub fn children(self) -> impl Iterator<Item = NodeRef<'t>> {
        let mut next = self.node().first_child();
        std::iter::from_fn(move || {
            let id = next;
            if id == NodeId::NONE {
                return None;
            }
            next = self.tree.arena[id].next;
            Some(NodeRef { tree: self.tree, id })
        })
    }

    /// How many znodes are below it.
    #[must_use]
    pub fn descendants(self) -> u64 {
        let mut count = 0;
        let mut todo = vec![self.id];
        while let Some(id) = todo.pop() {
            for child in (NodeRef { tree: self.tree, id }).children() {
                count += 1;
                if child.num_children() > 0 {
                    todo.push(child.id);
                }
            }
        }
        count
    }
}
