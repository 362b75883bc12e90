//! From a path to a znode: one hash table over (parent, name), cut in shards.
//!
//! A path's hash is a chain over its components, so the hash of a child follows from its parent's
//! and no path is stored. The seed comes from outside and must not be known to clients.
//! Shards keep the growth of the table from stopping the server: each grows alone, and there are
//! many.

use crate::node::{Arena, NodeId};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::hash::{BuildHasher, Hasher};

const SHARD_BITS: u32 = 8;
pub(crate) const SHARDS: usize = 1 << SHARD_BITS;

#[derive(Debug)]
pub(crate) struct Index {
    shards: Vec<HashTable<NodeId>>,
    names: foldhash::fast::FixedState,
}

impl Index {
    pub(crate) fn new(seed: u64) -> Index {
        Index {
            shards: (0..SHARDS).map(|_| HashTable::new()).collect(),
            names: foldhash::fast::FixedState::with_seed(seed),
        }
    }

    /// Hash of the child `name` of a znode with hash `parent`.
    #[inline]
    pub(crate) fn hash(&self, parent: u32, name: &[u8]) -> u32 {
        let mut hasher = self.names.build_hasher();
        hasher.write_u32(parent);
        hasher.write(name);
        (hasher.finish() >> 16) as u32
    }

    #[inline]
    pub(crate) fn shard(hash: u32) -> usize {
        (hash >> (32 - SHARD_BITS)) as usize
    }

    /// The 32 bits of a hash over 64, as the table takes its tag from the top.
    #[inline]
    fn spread(hash: u32) -> u64 {
        u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    /// The child of `parent` with this name.
    #[inline]
    pub(crate) fn child(
        &self,
        arena: &Arena,
        parent: NodeId,
        name: &[u8],
        hash: u32,
    ) -> Option<NodeId> {
        self.shards[Index::shard(hash)]
            .find(Index::spread(hash), |&id| {
                let node = &arena[id];
                arena.hash(id) == hash && node.parent == parent && node.name() == name
            })
            .copied()
    }

    /// The znode at a path that is not the root's. Found by its last component first: its
    /// ancestors are compared only when that fits.
    #[inline]
    pub(crate) fn find(&self, arena: &Arena, path: &str) -> Option<NodeId> {
        let path = path.as_bytes();
        let rest = path.strip_prefix(b"/")?;
        let root = arena.hash(NodeId::ROOT);
        let hash = rest.split(|&b| b == b'/').fold(root, |hash, name| self.hash(hash, name));
        self.shards[Index::shard(hash)]
            .find(Index::spread(hash), |&id| {
                arena.hash(id) == hash && Index::has_path(arena, id, path)
            })
            .copied()
    }

    /// Whether `path`, with its leading slash, is that of a znode. No name is empty or has a slash.
    fn has_path(arena: &Arena, mut id: NodeId, mut path: &[u8]) -> bool {
        while id != NodeId::ROOT {
            let node = &arena[id];
            let above = path.strip_suffix(node.name()).and_then(|above| above.strip_suffix(b"/"));
            let Some(above) = above else { return false };
            (path, id) = (above, node.parent);
        }
        path.is_empty()
    }

    pub(crate) fn insert(&mut self, arena: &Arena, id: NodeId) {
        let hash = arena.hash(id);
        self.shards[Index::shard(hash)]
            .insert_unique(Index::spread(hash), id, |&other| Index::spread(arena.hash(other)));
    }

    /// Adds znodes of one shard, given with their hashes; the first that is there already is
    /// returned, and ends it.
    pub(crate) fn insert_many(
        &mut self,
        arena: &Arena,
        shard: usize,
        nodes: &[(u32, NodeId)],
    ) -> Option<NodeId> {
        let table = &mut self.shards[shard];
        let rehash = |&other: &NodeId| Index::spread(arena.hash(other));
        table.reserve(nodes.len(), rehash);
        for &(hash, id) in nodes {
            let is_same = |&other: &NodeId| {
                let (old, new) = (&arena[other], &arena[id]);
                arena.hash(other) == hash && old.parent == new.parent && old.name() == new.name()
            };
            match table.entry(Index::spread(hash), is_same, rehash) {
                Entry::Occupied(_) => return Some(id),
                Entry::Vacant(free) => free.insert(id),
            };
        }
        None
    }

    pub(crate) fn remove(&mut self, arena: &Arena, id: NodeId) {
        let hash = arena.hash(id);
        let shard = &mut self.shards[Index::shard(hash)];
        if let Ok(entry) = shard.find_entry(Index::spread(hash), |&other| other == id) {
            entry.remove();
        }
    }
}
