//! Applying transactions (Apache `DataTree.processTxn`, client-protocol 7.3 and 7.5).
//!
//! A transaction was checked when it was prepared; what can still fail here is the replay over a
//! fuzzy snapshot of Apache's, whose rules (disk-formats 4.1) make it converge.

use crate::acl_table::AclTable;
use crate::node::NodeId;
use crate::tree::Tree;
use zk_proto::txn::{CreateTxn, Txn, TxnHeader};
use zk_proto::{EphemeralOwner, ErrorCode, SessionId, Stat, StatPersisted, Zxid, path};

/// What happened to a znode, for watches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangeKind {
    /// Created.
    Created,
    /// Deleted.
    Deleted,
    /// Its data was set.
    DataChanged,
}

/// A change that watches may have waited for.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// What happened.
    pub kind: ChangeKind,
    /// The znode.
    pub path: &'a str,
    /// Its ACL at that moment.
    pub acl: &'a [u8],
    /// Its parent's ACL.
    pub parent_acl: &'a [u8],
    /// The transaction.
    pub zxid: Zxid,
}

/// Who hears of changes while a transaction is applied.
pub trait Observe {
    /// Called once for each change, in order.
    fn changed(&mut self, change: Change<'_>);
}

/// For replaying a log.
impl Observe for () {
    fn changed(&mut self, _: Change<'_>) {}
}

/// What a transaction gave, for the answer to whoever asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Applied {
    /// Nothing to tell.
    Done,
    /// The znode's stat afterwards (creates, setData, setACL).
    Stat(Stat),
    /// It had failed when it was prepared, or (in a replay) finds another tree.
    Error(ErrorCode),
    /// The parts of a multi.
    Multi(Vec<Applied>),
}

impl Tree {
    /// Applies the next transaction.
    pub fn apply(
        &mut self,
        header: &TxnHeader,
        txn: &Txn<'_>,
        observer: &mut impl Observe,
    ) -> Applied {
        let applied = match txn {
            Txn::Multi(parts) if txn.is_failure() => {
                let codes = parts.iter().map(|part| match part {
                    Txn::Error(code) => Applied::Error(error(*code)),
                    _ => Applied::Error(ErrorCode::Ok),
                });
                Applied::Multi(codes.collect())
            }
            Txn::Multi(parts) => {
                let parts = parts.iter().map(|part| self.apply_one(header, part, observer));
                Applied::Multi(parts.collect())
            }
            one => self.apply_one(header, one, observer),
        };
        // Only now: a snapshot's name must never speak of half a multi (ZOOKEEPER-3127).
        self.last_zxid = self.last_zxid.max(Zxid(header.zxid));
        self.remember_digest();
        applied
    }

    fn apply_one(
        &mut self,
        header: &TxnHeader,
        txn: &Txn<'_>,
        observer: &mut impl Observe,
    ) -> Applied {
        let done =
            |result: Result<Stat, ErrorCode>| result.map_or_else(Applied::Error, Applied::Stat);
        match txn {
            Txn::Create(body) | Txn::Create2(body) => {
                let owner = if body.ephemeral { header.client_id } else { 0 };
                let raise = matches!(txn, Txn::Create(_));
                done(self.create(header, body, owner, raise, observer))
            }
            Txn::CreateContainer(body) => {
                let create = CreateTxn {
                    path: body.path.clone(),
                    data: body.data,
                    acl: body.acl,
                    ephemeral: false,
                    parent_cversion: body.parent_cversion,
                };
                done(self.create(header, &create, EphemeralOwner::CONTAINER.0, false, observer))
            }
            Txn::CreateTtl(body) => {
                let create = CreateTxn {
                    path: body.path.clone(),
                    data: body.data,
                    acl: body.acl,
                    ephemeral: false,
                    parent_cversion: body.parent_cversion,
                };
                let owner = EphemeralOwner::ttl(body.ttl_ms).unwrap_or_default();
                done(self.create(header, &create, owner.0, false, observer))
            }
            Txn::Delete(body) | Txn::DeleteContainer(body) => {
                match self.delete(&body.path, Zxid(header.zxid), observer) {
                    Ok(()) => Applied::Done,
                    Err(code) => Applied::Error(code),
                }
            }
            Txn::SetData(body) | Txn::Reconfig(body) => {
                done(self.set_data(header, &body.path, body.data, body.version, observer))
            }
            Txn::SetAcl(body) => done(self.set_acl(&body.path, body.acl.as_bytes(), body.version)),
            Txn::CloseSession(paths) => {
                self.close_session(header, paths.as_deref().unwrap_or_default(), observer);
                Applied::Done
            }
            Txn::CreateSession(_) | Txn::Check(_) => Applied::Done,
            Txn::Error(code) => Applied::Error(error(*code)),
            // The log's reader refuses a multi inside a multi.
            Txn::Multi(_) => Applied::Error(ErrorCode::MarshallingError),
        }
    }

    fn create(
        &mut self,
        header: &TxnHeader,
        body: &CreateTxn<'_>,
        owner: i64,
        raise_on_replay: bool,
        observer: &mut impl Observe,
    ) -> Result<Stat, ErrorCode> {
        let (parent_path, name) = path::split(&body.path).ok_or(ErrorCode::BadArguments)?;
        let parent = self.find(parent_path).ok_or(ErrorCode::NoNode)?;
        let zxid = header.zxid;
        let above = self.arena[parent].stat();
        let cversion = match body.parent_cversion {
            -1 => above.cversion.wrapping_add(1),
            given => given,
        };
        let hash = self.child_hash(parent, name);
        if let Some(existing) = self.child(parent, name, hash) {
            self.before_change(existing);
            self.set_acl_list(existing, body.acl.as_bytes());
            if raise_on_replay {
                self.raise_parent(parent, parent_path, Some(cversion), zxid);
            }
            return Err(ErrorCode::NodeExists);
        }
        self.raise_parent(parent, parent_path, Some(cversion), zxid);
        let stat = StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            ctime: header.time_ms,
            mtime: header.time_ms,
            ephemeral_owner: owner,
            pzxid: zxid,
            ..StatPersisted::default()
        };
        self.attach(parent, &body.path, (name, hash), body.data, body.acl.as_bytes(), &stat);
        self.quota_delta(&body.path, 1, body.data.map_or(0, <[u8]>::len) as i64);
        if self.quotas.is_stats_path(&body.path) {
            self.recompute_quota_stats(&body.path);
        }
        observer.changed(Change {
            kind: ChangeKind::Created,
            path: &body.path,
            acl: body.acl.as_bytes(),
            parent_acl: self.acls.get(self.arena[parent].acl),
            zxid: Zxid(zxid),
        });
        let length = body.data.map_or(0, <[u8]>::len) as i32;
        Ok(stat.to_stat(length, 0, self.options.extended_types))
    }

    /// cversion and pzxid of a parent only go forward: in a replay they may be ahead already.
    fn raise_parent(&mut self, parent: NodeId, path: &str, cversion: Option<i32>, zxid: i64) {
        self.before_change(parent);
        let extra = self.arena[parent].extra_mut();
        match cversion {
            // Beyond 2^31 the counter wraps; then "greater" must be judged by distance.
            Some(cversion) if cversion.wrapping_sub(extra.cversion) > 0 => {
                extra.cversion = cversion;
                extra.pzxid = zxid.max(extra.pzxid);
            }
            Some(_) => {}
            None => extra.pzxid = zxid.max(extra.pzxid),
        }
        let path = if path.is_empty() { "/" } else { path };
        self.refresh_crc(parent, path);
    }

    fn delete(
        &mut self,
        path: &str,
        zxid: Zxid,
        observer: &mut impl Observe,
    ) -> Result<(), ErrorCode> {
        let (parent_path, name) = path::split(path).ok_or(ErrorCode::BadArguments)?;
        let parent = self.find(parent_path).ok_or(ErrorCode::NoNode)?;
        self.raise_parent(parent, parent_path, None, zxid.0);
        let hash = self.child_hash(parent, name);
        let id = self.child(parent, name, hash).ok_or(ErrorCode::NoNode)?;
        // Only a damaged log can say so: prepare refuses to delete a znode with children.
        if self.arena[id].num_children() > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        let acl = self.acls.get(self.arena[id].acl).clone();
        let bytes = self.arena[id].data().map_or(0, <[u8]>::len) as i64;
        self.before_removal(id);
        self.quota_delta(path, -1, -bytes);
        self.detach(id, path);
        observer.changed(Change {
            kind: ChangeKind::Deleted,
            path,
            acl: &acl,
            parent_acl: self.acls.get(self.arena[parent].acl),
            zxid,
        });
        Ok(())
    }

    fn set_data(
        &mut self,
        header: &TxnHeader,
        path: &str,
        data: Option<&[u8]>,
        version: i32,
        observer: &mut impl Observe,
    ) -> Result<Stat, ErrorCode> {
        let id = self.find(path).ok_or(ErrorCode::NoNode)?;
        self.before_change(id);
        let old = self.arena[id].data().map_or(0, <[u8]>::len);
        self.replace_data(id, data);
        let node = &mut self.arena[id];
        (node.version, node.mzxid, node.mtime) = (version, header.zxid, header.time_ms);
        self.refresh_crc(id, path);
        self.quota_delta(path, 0, data.map_or(0, <[u8]>::len) as i64 - old as i64);
        let acl = self.acls.get(self.arena[id].acl);
        observer.changed(Change {
            kind: ChangeKind::DataChanged,
            path,
            acl,
            parent_acl: acl,
            zxid: Zxid(header.zxid),
        });
        Ok(self.stat_of(id))
    }

    fn set_acl(&mut self, path: &str, acl: &[u8], version: i32) -> Result<Stat, ErrorCode> {
        let id = self.find(path).ok_or(ErrorCode::NoNode)?;
        self.before_change(id);
        self.set_acl_list(id, acl);
        self.arena[id].extra_mut().aversion = version;
        self.refresh_crc(id, path);
        Ok(self.stat_of(id))
    }

    fn close_session(
        &mut self,
        header: &TxnHeader,
        listed: &[zk_proto::Text<'_>],
        observer: &mut impl Observe,
    ) {
        let zxid = Zxid(header.zxid);
        for path in listed {
            // Missing ones were deleted in the fuzzy window of a snapshot.
            let _ = self.delete(path, zxid, observer);
        }
        let rest: Vec<String> = self.ephemerals_of(SessionId(header.client_id)).collect();
        for path in rest {
            let _ = self.delete(&path, zxid, observer);
        }
    }

    pub(crate) fn stat_of(&self, id: NodeId) -> Stat {
        crate::tree::NodeRef { tree: self, id }.stat()
    }

    /// The ACL of a znode, for reading beside a change.
    #[must_use]
    pub fn acl_table(&self) -> &AclTable {
        &self.acls
    }
}

fn error(code: i32) -> ErrorCode {
    ErrorCode::from_code(code).unwrap_or(ErrorCode::SystemError)
}
