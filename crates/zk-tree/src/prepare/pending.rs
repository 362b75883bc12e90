//! What transactions that are not applied yet will have changed (Apache `outstandingChanges`).
//!
//! A request is checked against the tree plus these changes, in the order in which requests get
//! their zxids.

use crate::acl_table::AclList;
use crate::digest::{self, ContentCrc};
use crate::tree::Tree;
use hashbrown::HashTable;
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};
use zk_proto::{StatPersisted, Zxid};

/// A znode as it will be.
#[derive(Clone, Debug)]
pub(super) struct Prospect {
    /// Whether it will exist.
    pub(super) exists: bool,
    pub(super) stat: StatPersisted,
    pub(super) num_children: i32,
    pub(super) acl: AclList,
    pub(super) data_len: usize,
    pub(super) content: ContentCrc,
}

#[derive(Debug)]
struct Change {
    path: Box<str>,
    hash: u64,
    zxid: Zxid,
    crc: u32,
    node: Prospect,
}

/// All outstanding changes of a leader, or of a standalone server.
#[derive(Debug)]
pub struct Pending {
    changes: HashTable<Change>,
    /// What to forget when a zxid is applied.
    order: VecDeque<(Zxid, u64)>,
    /// The digest after the last prepared transaction, while any is outstanding.
    digest: Option<u64>,
    hasher: foldhash::fast::FixedState,
    /// While a multi is prepared: how to take it back.
    undo: Option<Undo>,
}

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
            order: VecDeque::new(),
            digest: None,
            hasher: foldhash::fast::FixedState::with_seed(seed),
            undo: None,
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

    /// A znode as it will be after all outstanding transactions; `None` if it will not exist.
    pub(super) fn look(&self, tree: &Tree, path: &str) -> Option<Prospect> {
        let path = if path == "/" { "" } else { path };
        if !self.changes.is_empty()
            && let Some(change) = self.changes.find(self.hash(path), |change| *change.path == *path)
        {
            return change.node.exists.then(|| change.node.clone());
        }
        let id = tree.find(path)?;
        let node = &tree.arena[id];
        Some(Prospect {
            exists: true,
            stat: node.stat(),
            num_children: node.num_children(),
            acl: tree.acls.get(node.acl).clone(),
            data_len: node.data().map_or(0, <[u8]>::len),
            content: tree.content_crc(id, path),
        })
    }

    /// The znode's present summand of the digest.
    fn crc_of(&self, tree: &Tree, path: &str, hash: u64) -> u32 {
        match self.changes.find(hash, |change| *change.path == *path) {
            Some(change) => change.crc,
            None => tree.find(path).map_or(0, |id| tree.arena[id].crc),
        }
    }

    /// Notes what a transaction will have made of a znode.
    pub(super) fn put(&mut self, tree: &Tree, path: &str, zxid: Zxid, node: Prospect) {
        let path = if path == "/" { "" } else { path };
        let hash = self.hash(path);
        let old = self.crc_of(tree, path, hash);
        let crc = if node.exists { node.content.with_stat(path, &node.stat) } else { 0 };
        self.digest = Some(digest::replace(self.digest(tree), old, crc));
        self.order.push_back((zxid, hash));
        match self.changes.find_mut(hash, |change| *change.path == *path) {
            Some(change) => {
                let before = (change.zxid, change.crc, std::mem::replace(&mut change.node, node));
                (change.zxid, change.crc) = (zxid, crc);
                if let Some(undo) = &mut self.undo {
                    undo.entries.push((path.into(), Some(before)));
                }
            }
            None => {
                if let Some(undo) = &mut self.undo {
                    undo.entries.push((path.into(), None));
                }
                let change = Change { path: path.into(), hash, zxid, crc, node };
                self.changes.insert_unique(hash, change, |change| change.hash);
            }
        }
    }

    /// The digest of the tree after all outstanding transactions.
    pub(super) fn digest(&self, tree: &Tree) -> u64 {
        self.digest.unwrap_or(tree.digest)
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
            let Ok(mut entry) = self.changes.find_entry(hash, |change| change.path == path) else {
                continue;
            };
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

    /// Everything up to `zxid` has been applied.
    pub fn applied(&mut self, zxid: Zxid) {
        while let Some(&(at, hash)) = self.order.front() {
            if at > zxid {
                break;
            }
            self.order.pop_front();
            let is_it = |change: &Change| change.hash == hash && change.zxid <= zxid;
            if let Ok(entry) = self.changes.find_entry(hash, is_it) {
                entry.remove();
            }
        }
        if self.order.is_empty() {
            self.digest = None;
        }
    }

    /// Forgets everything: what was outstanding will never be applied.
    pub fn clear(&mut self) {
        self.changes.clear();
        self.order.clear();
        self.digest = None;
    }

    /// Paths of a session's ephemerals after all outstanding transactions, sorted.
    pub(super) fn ephemerals_of(&self, tree: &Tree, session: zk_proto::SessionId) -> Vec<String> {
        let is_changed = |path: &String| {
            self.changes.find(self.hash(path), |change| *change.path == **path).is_some()
        };
        let mut paths: Vec<String> =
            tree.ephemerals_of(session).filter(|path| !is_changed(path)).collect();
        // A path may have belonged to somebody else, and been given up, since the last applied one.
        for Change { path, node, .. } in &self.changes {
            if node.exists && node.stat.ephemeral_owner == session.0 {
                paths.push(path.to_string());
            }
        }
        paths.sort_unstable();
        paths
    }
}
