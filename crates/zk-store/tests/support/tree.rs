//! Apache's `DataTree`, as plainly as possible (disk-formats 3.2, 4.1, 4.2).

use std::collections::BTreeMap;
use zk_proto::acl::AclBytes;
use zk_proto::snapshot::{AclRecord, NodeRecord, OPEN_ACL_ID, SessionRecord};
use zk_proto::txn::{Txn, TxnEntry, TxnHeader};
use zk_proto::{EphemeralOwner, Jute, StatPersisted, Text, Zxid};
use zk_store::Restore;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    pub data: Option<Vec<u8>>,
    pub acl: Vec<u8>,
    pub stat: StatPersisted,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tree {
    pub nodes: BTreeMap<String, Node>,
    pub sessions: BTreeMap<i64, i32>,
    pub last: Zxid,
    acls: BTreeMap<i64, Vec<u8>>,
    /// Whether nodes come from a snapshot and the system nodes with them.
    from_snapshot: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum BadNode {
    #[error("{0} has no parent")]
    NoParent(String),
    #[error("the ACL list {0} is not there")]
    NoAcl(i64),
    #[error("{0} is there twice")]
    Twice(String),
}

impl Default for Tree {
    fn default() -> Tree {
        let node = |acl: AclBytes<'_>| Node {
            data: Some(Vec::new()),
            acl: acl.as_bytes().to_vec(),
            stat: StatPersisted::default(),
        };
        let open = AclBytes::OPEN;
        let nodes = [
            ("", node(open)),
            ("/zookeeper", node(open)),
            ("/zookeeper/quota", node(open)),
            ("/zookeeper/config", node(AclBytes::READ_ONLY)),
        ];
        Tree {
            nodes: nodes.into_iter().map(|(path, node)| (path.to_owned(), node)).collect(),
            sessions: BTreeMap::new(),
            last: Zxid::ZERO,
            acls: BTreeMap::new(),
            from_snapshot: false,
        }
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Tree {
    pub fn cversion(&self, path: &str) -> i32 {
        self.nodes[path].stat.cversion
    }

    pub fn compute_digest(&self) -> u64 {
        let counts = |path: &str| !path.starts_with("/zookeeper/");
        let digest = |(path, node): (&String, &Node)| {
            let mut crc = flate2::Crc::new();
            crc.update(path.as_bytes());
            crc.update(node.data.as_deref().unwrap_or_default());
            crc.update(&node.stat.digest_bytes());
            u64::from(crc.sum())
        };
        self.nodes.iter().filter(|(path, _)| counts(path)).map(digest).fold(0, u64::wrapping_add)
    }

    /// Applies a transaction as the next one; its entry's bytes.
    pub fn next(&mut self, txn: Txn<'_>) -> Vec<u8> {
        let zxid = self.last.0 + 1;
        let bytes = super::entry(zxid, txn, None);
        let entry =
            TxnEntry::read(&mut zk_proto::Reader::with_limits(&bytes, zk_proto::Limits::NONE))
                .unwrap();
        self.apply(&entry);
        let failed = matches!(entry.txn, Txn::Error(_));
        super::entry(zxid, entry.txn, (!failed).then(|| self.compute_digest()))
    }

    pub fn sessions(&self) -> Vec<SessionRecord> {
        let record =
            |(id, timeout_ms): (&i64, &i32)| SessionRecord { id: *id, timeout_ms: *timeout_ms };
        self.sessions.iter().map(record).collect()
    }

    /// ACL lists and znodes as a snapshot has them.
    pub fn encode(&self) -> (Vec<u8>, Vec<u8>) {
        let (mut ids, mut records, mut nodes) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (path, node) in &self.nodes {
            let acl_id = if node.acl == AclBytes::OPEN.as_bytes() {
                OPEN_ACL_ID
            } else {
                let next = ids.len() as i64 + 1;
                *ids.entry(node.acl.clone()).or_insert_with(|| {
                    let acl = AclBytes::parse(&node.acl).unwrap();
                    AclRecord { id: next, acl }.write(&mut records);
                    next
                })
            };
            let (path, data, stat) =
                (Text::Borrowed(path.as_str()), node.data.as_deref(), node.stat);
            NodeRecord { path, data, acl_id, stat }.write(&mut nodes);
        }
        let mut acls = (ids.len() as i32).to_bytes();
        acls.extend(records);
        (acls, nodes)
    }

    pub fn apply(&mut self, entry: &TxnEntry<'_>) {
        if !entry.txn.is_failure() {
            self.change(&entry.header, &entry.txn);
        }
        self.last = self.last.max(entry.zxid());
    }

    fn change(&mut self, header: &TxnHeader, txn: &Txn<'_>) {
        let zxid = header.zxid;
        match txn {
            Txn::CreateSession(timeout_ms) => {
                self.sessions.insert(header.client_id, *timeout_ms);
            }
            Txn::CloseSession(paths) => {
                self.sessions.remove(&header.client_id);
                let owned =
                    |(_, node): &(&String, &Node)| node.stat.ephemeral_owner == header.client_id;
                let mut gone: Vec<String> =
                    paths.iter().flatten().map(|path| path.to_string()).collect();
                gone.extend(self.nodes.iter().filter(owned).map(|(path, _)| path.clone()));
                gone.iter().for_each(|path| self.delete(zxid, path));
            }
            Txn::Create(body) | Txn::Create2(body) => {
                let owner = if body.ephemeral { header.client_id } else { 0 };
                let again = matches!(txn, Txn::Create(_));
                self.create(
                    header,
                    &body.path,
                    body.data,
                    body.acl,
                    owner,
                    body.parent_cversion,
                    again,
                );
            }
            Txn::CreateContainer(body) => {
                let owner = EphemeralOwner::CONTAINER.0;
                self.create(
                    header,
                    &body.path,
                    body.data,
                    body.acl,
                    owner,
                    body.parent_cversion,
                    false,
                );
            }
            Txn::CreateTtl(body) => {
                let owner = EphemeralOwner::ttl(body.ttl_ms).unwrap().0;
                self.create(
                    header,
                    &body.path,
                    body.data,
                    body.acl,
                    owner,
                    body.parent_cversion,
                    false,
                );
            }
            Txn::Delete(body) | Txn::DeleteContainer(body) => self.delete(zxid, &body.path),
            Txn::SetData(body) | Txn::Reconfig(body) => {
                if let Some(node) = self.nodes.get_mut(&*body.path) {
                    node.data = body.data.map(<[u8]>::to_vec);
                    let stat = &mut node.stat;
                    (stat.version, stat.mzxid, stat.mtime) = (body.version, zxid, header.time_ms);
                }
            }
            Txn::SetAcl(body) => {
                if let Some(node) = self.nodes.get_mut(&*body.path) {
                    node.acl = body.acl.as_bytes().to_vec();
                    node.stat.aversion = body.version;
                }
            }
            Txn::Multi(parts) => parts.iter().for_each(|part| self.change(header, part)),
            Txn::Check(_) | Txn::Error(_) => {}
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of four records")]
    fn create(
        &mut self,
        header: &TxnHeader,
        path: &str,
        data: Option<&[u8]>,
        acl: AclBytes<'_>,
        ephemeral_owner: i64,
        parent_cversion: i32,
        moves_parent_again: bool,
    ) {
        let zxid = header.zxid;
        let there = self.nodes.contains_key(path);
        let Some(parent) = self.nodes.get_mut(parent(path)) else { return };
        if !there || moves_parent_again {
            let wanted = match parent_cversion {
                -1 => parent.stat.cversion + 1,
                wanted => wanted,
            };
            if wanted > parent.stat.cversion {
                (parent.stat.cversion, parent.stat.pzxid) = (wanted, zxid);
            }
        }
        let acl = acl.as_bytes().to_vec();
        if let Some(node) = self.nodes.get_mut(path) {
            node.acl = acl;
            return;
        }
        let (ctime, mtime) = (header.time_ms, header.time_ms);
        let stat = StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime,
            mtime,
            ephemeral_owner,
            ..StatPersisted::default()
        };
        self.nodes.insert(path.to_owned(), Node { data: data.map(<[u8]>::to_vec), acl, stat });
    }

    fn delete(&mut self, zxid: i64, path: &str) {
        if let Some(parent) = self.nodes.get_mut(parent(path)) {
            parent.stat.pzxid = parent.stat.pzxid.max(zxid);
        }
        self.nodes.remove(path);
    }
}

impl Restore for Tree {
    type Error = BadNode;

    fn reset(&mut self) {
        *self = Tree::default();
    }

    fn session(&mut self, session: SessionRecord) -> Result<(), BadNode> {
        self.sessions.insert(session.id, session.timeout_ms);
        Ok(())
    }

    fn acl(&mut self, acl: AclRecord<'_>) -> Result<(), BadNode> {
        self.acls.insert(acl.id, acl.acl.as_bytes().to_vec());
        Ok(())
    }

    fn node(&mut self, node: NodeRecord<'_>) -> Result<(), BadNode> {
        if !std::mem::replace(&mut self.from_snapshot, true) {
            self.nodes.clear();
        }
        let path = node.path.to_string();
        if !path.is_empty() && !self.nodes.contains_key(parent(&path)) {
            return Err(BadNode::NoParent(path));
        }
        let acl = match node.acl_id {
            OPEN_ACL_ID => AclBytes::OPEN.as_bytes().to_vec(),
            id => self.acls.get(&id).cloned().ok_or(BadNode::NoAcl(id))?,
        };
        let node = Node { data: node.data.map(<[u8]>::to_vec), acl, stat: node.stat };
        match self.nodes.insert(path.clone(), node) {
            None => Ok(()),
            Some(_) => Err(BadNode::Twice(path)),
        }
    }

    fn snapshot_done(&mut self, zxid: Zxid) -> Result<(), BadNode> {
        self.last = zxid;
        (self.from_snapshot, self.acls) = (false, BTreeMap::new());
        Ok(())
    }

    fn txn(&mut self, entry: &TxnEntry<'_>) -> Result<(), BadNode> {
        self.apply(entry);
        Ok(())
    }

    fn replayed(&self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn digest(&self) -> Option<u64> {
        Some(self.compute_digest())
    }
}
