//! From files to a tree: what recovery finds goes in here.

use std::collections::{BTreeMap, HashMap};
use zk_proto::acl::AclBytes;
use zk_proto::snapshot::{AclRecord, NodeRecord, OPEN_ACL_ID, SessionRecord};
use zk_proto::txn::{Txn, TxnEntry};
use zk_proto::{SessionId, Zxid};
use zk_store::Restore;
use zk_tree::{Tree, TreeLoader, TreeOptions, Twice};

/// A tree and its sessions while they are being restored from files.
pub struct Loading {
    options: TreeOptions,
    pub(crate) tree: Tree,
    /// With their timeouts in ms.
    pub(crate) sessions: BTreeMap<SessionId, i32>,
    acls: HashMap<i64, Box<[u8]>>,
    /// The snapshot's tree, while it is read.
    loader: Option<TreeLoader>,
    pub(crate) txns: u64,
}

/// The top byte of a TTL znode's owner (Apache `EphemeralType.TTL`).
const TTL_BYTE: u64 = 0xff;

/// Why a snapshot's record does not fit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Misfit {
    /// Its parent is not there.
    #[error("znode {path} has no parent in the snapshot before it")]
    Parent {
        /// Which znode.
        path: String,
    },
    /// It is there twice.
    #[error(transparent)]
    Twice(#[from] Twice),
    /// The snapshot does not list its ACL.
    #[error("znode {path} refers to ACL {id}, which the snapshot does not have")]
    Acl {
        /// Which znode.
        path: String,
        /// The ACL's number.
        id: i64,
    },
}

impl Loading {
    /// An empty one.
    #[must_use]
    pub fn new(options: TreeOptions) -> Loading {
        Loading {
            options,
            tree: Tree::new(options),
            sessions: BTreeMap::new(),
            acls: HashMap::new(),
            loader: None,
            txns: 0,
        }
    }

    /// Takes owners of ephemerals that are no sessions for ones that are over: they expire at the
    /// first tick, by transactions that take their ephemerals along. Apache's `loadData` deletes
    /// these in memory. Without `extendedTypesEnabled` it takes TTL znodes for such, too, and
    /// deletes them; here they stay, and it is told.
    pub(crate) fn adopt_orphans(&mut self) {
        let mut has_ttls = false;
        for owner in self.tree.sessions_with_ephemerals() {
            if self.sessions.contains_key(&owner) {
                continue;
            }
            if (owner.0 as u64) >> 56 == TTL_BYTE {
                has_ttls = true;
                continue;
            }
            tracing::warn!("session {owner} is gone but left ephemerals: they are deleted");
            self.sessions.insert(owner, 0);
        }
        if has_ttls {
            tracing::error!(
                "what look like TTL znodes are taken for ephemerals of unknown sessions, and kept: \
                 set extendedTypesEnabled=true (without it Apache would delete them)"
            );
        }
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
        self.acls.insert(acl.id, acl.acl.as_bytes().into());
        Ok(())
    }

    fn node(&mut self, node: NodeRecord<'_>) -> Result<(), Misfit> {
        // Its znodes include the system's.
        let options = self.options;
        let loader = self.loader.get_or_insert_with(|| TreeLoader::new(options));
        let acl = match node.acl_id {
            OPEN_ACL_ID => AclBytes::OPEN.as_bytes(),
            id => self
                .acls
                .get(&id)
                .ok_or_else(|| Misfit::Acl { path: node.path.clone().into_owned(), id })?,
        };
        match loader.add(&node.path, node.data, acl, node.stat)? {
            true => Ok(()),
            false => Err(Misfit::Parent { path: node.path.into_owned() }),
        }
    }

    fn snapshot_done(&mut self, zxid: Zxid) -> Result<(), Misfit> {
        self.acls = HashMap::new();
        let loader = self.loader.take().unwrap_or_else(|| TreeLoader::new(self.options));
        self.tree = loader.finish(zxid)?;
        Ok(())
    }

    fn txn(&mut self, entry: &TxnEntry<'_>) -> Result<(), Misfit> {
        self.txns += 1;
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

    fn digest(&self) -> Option<u64> {
        Some(self.tree.digest())
    }
}
