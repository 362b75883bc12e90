//! A tree from the znodes of a snapshot, a million of them in half a second.
//!
//! Snapshots go through the tree depth first, so the parent of a znode is nearly always the last
//! one or one of its ancestors, and needs no look into the index. Znodes go into the index by the
//! batch, one shard after the other: a shard fits into the processor's cache, the whole does not.

use crate::digest;
use crate::index::{Index, SHARDS};
use crate::node::NodeId;
use crate::tree::{NewNode, Tree, TreeOptions};
use zk_proto::{StatPersisted, Zxid, path};

/// A tree in the making.
#[derive(Debug)]
pub struct TreeLoader {
    tree: Tree,
    /// The path of the last znode.
    path: String,
    /// It and its ancestors below the root: the length of each path, and the znode.
    open: Vec<(usize, NodeId)>,
    /// Znodes that are not in the index yet, by shard, with their hashes: a look at each would be a
    /// miss of the cache.
    waiting: Vec<Vec<(u32, NodeId)>>,
}

/// A znode that a snapshot has twice.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the znode {0} is there twice")]
pub struct Twice(pub String);

impl TreeLoader {
    /// Begins with a bare root.
    #[must_use]
    pub fn new(options: TreeOptions) -> TreeLoader {
        TreeLoader {
            tree: Tree::without_nodes(options),
            path: String::new(),
            open: Vec::new(),
            waiting: vec![Vec::new(); SHARDS],
        }
    }

    /// Adds a znode. Returns whether that was possible: its parent must be there, and where the
    /// order of a snapshot tells it must not be there itself (see [`finish`](TreeLoader::finish)
    /// for the rest). The root, whose path is `""`, is always there and is overwritten.
    pub fn add(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: &[u8],
        stat: StatPersisted,
    ) -> Result<bool, Twice> {
        if path.is_empty() || path == "/" {
            self.tree.load_root(data, acl, &stat);
            return Ok(true);
        }
        let Some((parent_path, name)) = path::split(path).filter(|(_, name)| !name.is_empty())
        else {
            return Ok(false);
        };
        let Some(parent) = self.parent(parent_path)? else { return Ok(false) };
        let hash = self.tree.child_hash(parent, name);
        let stat = &stat;
        let crc = digest::node_crc(path, data, stat);
        let new = NewNode { path, name, hash, data, acl, stat, crc };
        let id = self.tree.attach_unindexed(parent, &new);
        self.waiting[Index::shard(hash)].push((hash, id));
        self.path.clear();
        self.path.push_str(path);
        self.open.push((path.len(), id));
        Ok(true)
    }

    /// The znode at the path of a parent.
    fn parent(&mut self, path: &str) -> Result<Option<NodeId>, Twice> {
        if path == "/" || path.is_empty() {
            self.open.clear();
            return Ok(Some(NodeId::ROOT));
        }
        while let Some(&(len, id)) = self.open.last() {
            if len == path.len() && self.path[..len] == *path {
                return Ok(Some(id));
            }
            self.open.pop();
        }
        // Written ahead of its turn, since it was about to change.
        self.index_waiting()?;
        let found = self.tree.find(path);
        if let Some(id) = found {
            self.open.push((path.len(), id));
        }
        Ok(found)
    }

    fn index_waiting(&mut self) -> Result<(), Twice> {
        let Tree { index, arena, .. } = &mut self.tree;
        for (shard, nodes) in self.waiting.iter_mut().enumerate() {
            if let Some(id) = index.insert_many(arena, shard, nodes) {
                return Err(Twice(self.tree.path_of(id)));
            }
            nodes.clear();
        }
        Ok(())
    }

    /// The tree, with everything up to `zxid` in it.
    pub fn finish(mut self, zxid: Zxid) -> Result<Tree, Twice> {
        self.index_waiting()?;
        self.tree.last_zxid = zxid;
        self.tree.recompute_quotas();
        Ok(self.tree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_proto::acl::AclBytes;

    fn load(paths: &[&str]) -> Result<Result<Tree, String>, Twice> {
        let mut loader = TreeLoader::new(TreeOptions::default());
        for path in paths {
            let (open, stat) = (AclBytes::OPEN.as_bytes(), StatPersisted::default());
            if !loader.add(path, Some(path.as_bytes()), open, stat)? {
                return Ok(Err((*path).into()));
            }
        }
        loader.finish(Zxid(5)).map(Ok)
    }

    #[test]
    fn the_order_of_znodes_does_not_matter_as_long_as_parents_come_first() {
        for paths in [
            ["", "/a", "/a/b", "/a/b/c", "/a/d", "/e", "/e/f"],
            ["/e", "/a", "/e/f", "/a/d", "/a/b", "/a/b/c", ""],
            ["/a", "/e", "/a/b", "/e/f", "", "/a/b/c", "/a/d"],
        ] {
            let tree = load(&paths).unwrap().unwrap();
            assert_eq!((tree.node_count(), tree.last_zxid()), (7, Zxid(5)));
            for path in paths {
                assert_eq!(tree.get(path).unwrap().data(), Some(path.as_bytes()), "{path}");
            }
            assert!(tree.get("/a/b/d").is_none());
            assert_eq!(tree.root().num_children(), 2);
            assert_eq!(tree.root().descendants(), 6);
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let no_parent = |path: &str| Ok(Err(path.to_string()));
        let names = |paths: &[&str]| load(paths).map(|tree| tree.map(|tree| tree.node_count()));
        assert_eq!(names(&["/a/b"]), no_parent("/a/b"));
        assert_eq!(names(&["/a", "/b", "/a/"]), no_parent("/a/"));
        assert_eq!(names(&["a"]), no_parent("a"));
        let twice = |path: &str| Err(Twice(path.into()));
        assert_eq!(names(&["/a", "/a"]), twice("/a"));
        assert_eq!(names(&["/a", "/a/b", "/c", "/a/b"]), twice("/a/b"));
    }
}
