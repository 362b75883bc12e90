//! Builds a tree from what storage holds, and takes its picture.

use super::Found;
use crate::record::{Picture, Portrait};
use std::collections::BTreeMap;
use zk_proto::acl::AclBytes;
use zk_proto::snapshot::{AclRecord, NodeRecord, OPEN_ACL_ID, SessionRecord};
use zk_proto::txn::{Txn, TxnEntry};
use zk_proto::{SessionId, Zxid};
use zk_store::Restore;
use zk_tree::{Tree, TreeLoader, TreeOptions};

/// A tree in the making.
#[derive(Debug)]
pub(crate) struct Loading {
    options: TreeOptions,
    tree: Tree,
    loader: Option<TreeLoader>,
    sessions: BTreeMap<SessionId, i32>,
    acls: BTreeMap<i64, Vec<u8>>,
}

/// A record that does not fit.
#[derive(Debug, thiserror::Error)]
#[error("{0} does not fit into the tree")]
pub(crate) struct Misfit(String);

impl Loading {
    /// Begins with the tree of a new server.
    pub(crate) fn new(options: TreeOptions) -> Loading {
        Loading {
            options,
            tree: Tree::new(options),
            loader: None,
            sessions: BTreeMap::new(),
            acls: BTreeMap::new(),
        }
    }

    /// What has been built.
    pub(crate) fn found(self) -> Found {
        Found { tree: self.tree, sessions: self.sessions.into_iter().collect() }
    }
}

impl Restore for Loading {
    type Error = Misfit;

    fn reset(&mut self) {
        *self = Loading::new(self.options);
    }

    fn session(&mut self, session: SessionRecord) -> Result<(), Misfit> {
        self.sessions.insert(SessionId(session.id), session.timeout_ms);
        Ok(())
    }

    fn acl(&mut self, acl: AclRecord<'_>) -> Result<(), Misfit> {
        self.acls.insert(acl.id, acl.acl.as_bytes().to_vec());
        Ok(())
    }

    fn node(&mut self, node: NodeRecord<'_>) -> Result<(), Misfit> {
        let options = self.options;
        let loader = self.loader.get_or_insert_with(|| TreeLoader::new(options));
        let acl = match (node.acl_id, self.acls.get(&node.acl_id)) {
            (OPEN_ACL_ID, _) => AclBytes::OPEN.as_bytes(),
            (_, Some(acl)) => acl,
            (id, None) => return Err(Misfit(format!("ACL {id} of {}", node.path))),
        };
        match loader.add(&node.path, node.data, acl, node.stat) {
            Ok(true) => Ok(()),
            _ => Err(Misfit(node.path.into_owned())),
        }
    }

    fn snapshot_done(&mut self, zxid: Zxid) -> Result<(), Misfit> {
        let loader = self.loader.take().unwrap_or_else(|| TreeLoader::new(self.options));
        self.tree = loader.finish(zxid).map_err(|twice| Misfit(twice.to_string()))?;
        Ok(())
    }

    fn txn(&mut self, entry: &TxnEntry<'_>) -> Result<(), Misfit> {
        self.tree.apply(&entry.header, &entry.txn, &mut ());
        match &entry.txn {
            Txn::CreateSession(timeout_ms) => {
                self.sessions.insert(entry.session(), *timeout_ms);
            }
            Txn::CloseSession(_) => {
                self.sessions.remove(&entry.session());
            }
            _ => {}
        }
        Ok(())
    }

    fn replayed(&self) -> Result<(), Misfit> {
        Ok(())
    }

    fn digest(&self) -> Option<u64> {
        Some(self.tree.digest())
    }
}

/// Everything about a tree and its sessions.
pub(crate) fn picture(tree: &Tree, sessions: &[(SessionId, i32)]) -> Picture {
    let mut nodes = Vec::with_capacity(tree.node_count());
    let mut todo = vec![tree.root()];
    while let Some(node) = todo.pop() {
        let stat = node.stat_persisted();
        nodes.push(Portrait {
            path: node.path(),
            data: node.data().map(<[u8]>::to_vec),
            acl: node.acl().to_vec(),
            longs: [
                stat.czxid,
                stat.mzxid,
                stat.pzxid,
                stat.ctime,
                stat.mtime,
                stat.ephemeral_owner,
            ],
            versions: [stat.version, stat.cversion, stat.aversion],
        });
        todo.extend(node.children());
    }
    nodes.sort_unstable();
    Picture {
        zxid: tree.last_zxid().0,
        digest: tree.digest(),
        nodes,
        sessions: sessions.iter().map(|(id, timeout_ms)| (id.0, *timeout_ms)).collect(),
    }
}
