//! From files to a tree: what recovery finds goes in here.

use std::collections::{BTreeMap, HashMap};
use zk_proto::acl::{Acl, AclBytes, Perms, encode};
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
    /// Znodes with ACLs that the snapshot does not list, and these ACLs' numbers. Apache lists them
    /// before it writes the znodes, and goes on changing both: transactions that follow tell them.
    open: Vec<(Box<str>, i64)>,
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
    /// Neither the snapshot nor a transaction tells its ACL.
    #[error("znode {path} refers to ACL {id}, which the snapshot does not have")]
    Acl {
        /// Which znode.
        path: String,
        /// The ACL's number.
        id: i64,
    },
}

/// The scheme of an ACL that is not known yet.
const UNKNOWN: &str = "unknown";

/// What a znode has until its ACL is known: nobody but a superuser may do anything with it.
fn placeholder(id: i64) -> Vec<u8> {
    encode(&[Acl::new(Perms(0), UNKNOWN, &id.to_string())])
}

fn is_placeholder(acl: AclBytes<'_>) -> bool {
    let mut entries = acl.iter();
    let is_unknown = |it: Acl<'_>| it.perms == Perms(0) && it.scheme.as_deref() == Some(UNKNOWN);
    entries.next().is_some_and(is_unknown) && entries.next().is_none()
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
            open: Vec::new(),
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
        // A snapshot of ours may hold what a leader's left open.
        if !is_placeholder(acl.acl) {
            self.acls.insert(acl.id, acl.acl.as_bytes().into());
        }
        Ok(())
    }

    fn node(&mut self, node: NodeRecord<'_>) -> Result<(), Misfit> {
        // Its znodes include the system's.
        let options = self.options;
        let loader = self.loader.get_or_insert_with(|| TreeLoader::new(options));
        let unknown;
        let acl = match (node.acl_id, self.acls.get(&node.acl_id)) {
            (OPEN_ACL_ID, _) => AclBytes::OPEN.as_bytes(),
            (_, Some(acl)) => acl,
            (id, None) => {
                self.open.push((node.path.clone().into(), id));
                unknown = placeholder(id);
                &unknown
            }
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

    fn replayed(&self) -> Result<(), Misfit> {
        let is_left = |(path, id): &&(Box<str>, i64)| {
            self.tree.get(path).is_some_and(|node| **node.acl() == *placeholder(*id))
        };
        match self.open.iter().find(is_left) {
            Some((path, id)) => Err(Misfit::Acl { path: path.to_string(), id: *id }),
            None => Ok(()),
        }
    }

    fn digest(&self) -> Option<u64> {
        Some(self.tree.digest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_proto::StatPersisted;
    use zk_proto::txn::{CreateTxn, DeleteTxn, TxnHeader};

    /// As Apache writes one while it makes znodes: the last ones have ACLs that it had not then.
    fn fuzzy() -> Loading {
        let mut loading = Loading::new(TreeOptions::default());
        loading.reset();
        let open = AclBytes::OPEN;
        loading.acl(AclRecord { id: 1, acl: open }).unwrap();
        for (path, acl_id) in [("", OPEN_ACL_ID), ("/old", 1), ("/new", 2), ("/gone", 3)] {
            let stat = StatPersisted::default();
            loading.node(NodeRecord { path: path.into(), data: None, acl_id, stat }).unwrap();
        }
        loading.snapshot_done(Zxid(5)).unwrap();
        loading
    }

    fn replay(loading: &mut Loading, zxid: i64, txn: Txn<'_>) {
        let header = TxnHeader { client_id: 1, cxid: 1, zxid, time_ms: 0, op: 0 };
        loading.txn(&TxnEntry { header, txn, digest: None }).unwrap();
    }

    fn create(acl: &[u8]) -> Txn<'_> {
        let (path, acl) = ("/new".into(), AclBytes::parse(acl).unwrap());
        Txn::Create(CreateTxn { path, data: None, acl, ephemeral: false, parent_cversion: 2 })
    }

    #[test]
    fn an_acl_that_a_snapshot_lacks_comes_with_a_transaction_behind_it() {
        let mut loading = fuzzy();
        let acl = encode(&[Acl::new(Perms(1), "digest", "u:h")]);
        replay(&mut loading, 6, create(&acl));
        let lacks = |loading: &Loading, wanted: &str| match loading.replayed() {
            Err(Misfit::Acl { path, .. }) => assert_eq!(path, wanted),
            other => panic!("{other:?}"),
        };
        lacks(&loading, "/gone");
        replay(&mut loading, 7, Txn::Delete(DeleteTxn { path: "/gone".into() }));
        loading.replayed().unwrap();
        assert_eq!(**loading.tree.get("/new").unwrap().acl(), *acl);
        // Without them nobody can do anything there, and a start is refused.
        let loading = fuzzy();
        lacks(&loading, "/new");
        assert!(is_placeholder(AclBytes::parse(loading.tree.get("/new").unwrap().acl()).unwrap()));
    }

    #[test]
    fn what_a_snapshot_of_ours_has_from_one_that_lacked_an_acl_is_still_missing() {
        let mut loading = Loading::new(TreeOptions::default());
        loading.reset();
        let acl = placeholder(7);
        let acl = AclBytes::parse(&acl).unwrap();
        loading.acl(AclRecord { id: 1, acl }).unwrap();
        let node = |path: &'static str, acl_id| {
            let stat = StatPersisted::default();
            NodeRecord { path: path.into(), data: None, acl_id, stat }
        };
        loading.node(node("", OPEN_ACL_ID)).unwrap();
        loading.node(node("/a", 1)).unwrap();
        loading.snapshot_done(Zxid(5)).unwrap();
        assert!(matches!(loading.replayed(), Err(Misfit::Acl { id: 1, .. })));
    }
}
