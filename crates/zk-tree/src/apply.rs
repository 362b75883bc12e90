//! Applying transactions (Apache `DataTree.processTxn`, client-protocol 7.3 and 7.5).
//!
//! A transaction was checked when it was prepared; what can still fail here is the replay over a
//! fuzzy snapshot of Apache's, whose rules (disk-formats 4.1) make it converge.

use crate::acl_table::AclTable;
use crate::digest;
use crate::node::NodeId;
use crate::prepare::{Plan, Step};
use crate::tree::{NewNode, Tree};
use zk_proto::txn::{CreateTxn, SetAclTxn, SetDataTxn, Txn, TxnHeader};
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
    /// Applies the next transaction, which somebody else prepared, or long ago.
    pub fn apply(
        &mut self,
        header: &TxnHeader,
        txn: &Txn<'_>,
        observer: &mut impl Observe,
    ) -> Applied {
        self.apply_planned(header, txn, Plan::none(), observer)
    }

    /// Applies the next transaction, which was prepared for this tree.
    pub fn apply_planned(
        &mut self,
        header: &TxnHeader,
        txn: &Txn<'_>,
        mut plan: Plan<'_>,
        observer: &mut impl Observe,
    ) -> Applied {
        let plan = &mut plan;
        let applied = match txn {
            Txn::Multi(parts) if txn.is_failure() => {
                let codes = parts.iter().map(|part| match part {
                    Txn::Error(code) => Applied::Error(error(*code)),
                    _ => Applied::Error(ErrorCode::Ok),
                });
                Applied::Multi(codes.collect())
            }
            Txn::Multi(parts) => {
                let parts = parts.iter().map(|part| self.apply_one(header, part, plan, observer));
                Applied::Multi(parts.collect())
            }
            one => self.apply_one(header, one, plan, observer),
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
        plan: &mut Plan<'_>,
        observer: &mut impl Observe,
    ) -> Applied {
        let done =
            |result: Result<Stat, ErrorCode>| result.map_or_else(Applied::Error, Applied::Stat);
        match txn {
            Txn::Create(body) | Txn::Create2(body) => {
                let owner = if body.ephemeral { header.client_id } else { 0 };
                let raise = matches!(txn, Txn::Create(_));
                done(self.create(header, body, owner, raise, plan, observer))
            }
            Txn::CreateContainer(body) => {
                let create = CreateTxn {
                    path: body.path.clone(),
                    data: body.data,
                    acl: body.acl,
                    ephemeral: false,
                    parent_cversion: body.parent_cversion,
                };
                let owner = EphemeralOwner::CONTAINER;
                done(self.create(header, &create, owner.0, false, plan, observer))
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
                done(self.create(header, &create, owner.0, false, plan, observer))
            }
            Txn::Delete(body) | Txn::DeleteContainer(body) => {
                match self.delete(&body.path, Zxid(header.zxid), plan, observer) {
                    Ok(()) => Applied::Done,
                    Err(code) => Applied::Error(code),
                }
            }
            Txn::SetData(body) | Txn::Reconfig(body) => {
                done(self.set_data(header, body, plan, observer))
            }
            Txn::SetAcl(body) => done(self.set_acl(body, plan)),
            Txn::CloseSession(paths) => {
                self.close_session(header, paths.as_deref(), plan, observer);
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
        plan: &mut Plan<'_>,
        observer: &mut impl Observe,
    ) -> Result<Stat, ErrorCode> {
        let (parent_path, name) = path::split(&body.path).ok_or(ErrorCode::BadArguments)?;
        let above_step = plan.next();
        let parent = self.find_planned(parent_path, above_step).ok_or(ErrorCode::NoNode)?;
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
                self.raise_parent(parent, parent_path, Some(cversion), zxid, None);
            }
            return Err(ErrorCode::NodeExists);
        }
        self.raise_parent(parent, parent_path, Some(cversion), zxid, above_step);
        let stat = StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            ctime: header.time_ms,
            mtime: header.time_ms,
            ephemeral_owner: owner,
            pzxid: zxid,
            ..StatPersisted::default()
        };
        let crc = match plan.next() {
            Some(step) => step.crc,
            None => digest::node_crc(&body.path, body.data, &stat),
        };
        let (path, data, acl) = (&*body.path, body.data, body.acl.as_bytes());
        self.attach(parent, &NewNode { path, name, hash, data, acl, stat: &stat, crc });
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
    fn raise_parent(
        &mut self,
        parent: NodeId,
        path: &str,
        cversion: Option<i32>,
        zxid: i64,
        step: Option<Step>,
    ) {
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
        self.refresh_planned(parent, path, step);
    }

    /// The znode at a path, which may be known.
    fn find_planned(&self, path: &str, step: Option<Step>) -> Option<NodeId> {
        match step {
            Some(Step { id: Some(id), .. }) => {
                debug_assert_eq!(self.find(path), Some(id), "{path}");
                Some(id)
            }
            _ => self.find(path),
        }
    }

    /// Brings a znode's summand of the digest up to date, which may be known.
    fn refresh_planned(&mut self, id: NodeId, path: &str, step: Option<Step>) {
        match step {
            Some(step) => self.set_crc(id, path, step.crc),
            None => self.refresh_crc(id, path),
        }
    }

    fn delete(
        &mut self,
        path: &str,
        zxid: Zxid,
        plan: &mut Plan<'_>,
        observer: &mut impl Observe,
    ) -> Result<(), ErrorCode> {
        let (parent_path, name) = path::split(path).ok_or(ErrorCode::BadArguments)?;
        let above_step = plan.next();
        let parent = self.find_planned(parent_path, above_step).ok_or(ErrorCode::NoNode)?;
        self.raise_parent(parent, parent_path, None, zxid.0, above_step);
        let id = match plan.next() {
            Some(step) => self.find_planned(path, Some(step)),
            None => self.child(parent, name, self.child_hash(parent, name)),
        };
        let id = id.ok_or(ErrorCode::NoNode)?;
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

    /// Puts the configuration of the ensemble into its znode, without a transaction: each member
    /// does so by itself, at its start and after a snapshot of its leader (Apache
    /// `initConfigInZKDatabase`). The digest does not count it.
    pub fn set_config(&mut self, text: &str, version: i64, now_ms: i64) {
        let Some(id) = self.find(path::CONFIG) else { return };
        self.before_change(id);
        self.replace_data(id, Some(text.as_bytes()));
        let node = &mut self.arena[id];
        (node.version, node.mzxid, node.mtime) = (-1, version, now_ms);
    }

    /// The text in that znode.
    #[must_use]
    pub fn config(&self) -> Option<&[u8]> {
        self.arena[self.find(path::CONFIG)?].data()
    }

    fn set_data(
        &mut self,
        header: &TxnHeader,
        body: &SetDataTxn<'_>,
        plan: &mut Plan<'_>,
        observer: &mut impl Observe,
    ) -> Result<Stat, ErrorCode> {
        let (path, step) = (&*body.path, plan.next());
        let id = self.find_planned(path, step).ok_or(ErrorCode::NoNode)?;
        self.before_change(id);
        let old = self.arena[id].data().map_or(0, <[u8]>::len);
        self.replace_data(id, body.data);
        let node = &mut self.arena[id];
        (node.version, node.mzxid, node.mtime) = (body.version, header.zxid, header.time_ms);
        self.refresh_planned(id, path, step);
        self.quota_delta(path, 0, body.data.map_or(0, <[u8]>::len) as i64 - old as i64);
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

    fn set_acl(&mut self, body: &SetAclTxn<'_>, plan: &mut Plan<'_>) -> Result<Stat, ErrorCode> {
        let (path, step) = (&*body.path, plan.next());
        let id = self.find_planned(path, step).ok_or(ErrorCode::NoNode)?;
        self.before_change(id);
        self.set_acl_list(id, body.acl.as_bytes());
        self.arena[id].extra_mut().aversion = body.version;
        self.refresh_planned(id, path, step);
        Ok(self.stat_of(id))
    }

    /// Without a list the order is not that of preparing, and the plan is of no use.
    fn close_session(
        &mut self,
        header: &TxnHeader,
        listed: Option<&[zk_proto::Text<'_>]>,
        plan: &mut Plan<'_>,
        observer: &mut impl Observe,
    ) {
        let zxid = Zxid(header.zxid);
        for path in listed.unwrap_or_default() {
            // Missing ones were deleted in the fuzzy window of a snapshot.
            let _ = self.delete(path, zxid, plan, observer);
        }
        let rest: Vec<String> = self.ephemerals_of(SessionId(header.client_id)).collect();
        for path in rest {
            let _ = self.delete(&path, zxid, &mut Plan::none(), observer);
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
