//! From requests to transactions (Apache `PrepRequestProcessor`; client-protocol 5 and 6).
//!
//! A write gets its zxid first and is checked then: a write that fails is a transaction too. All
//! checks are made here, in Apache's order; applying does not check again.

mod create;
mod multi;
mod pending;
mod plan;
mod quota;

pub use create::check_create_mode;
pub use multi::is_well_formed;
pub use pending::Pending;
pub use plan::Plan;
pub(crate) use plan::Step;

use crate::auth::{AuthOptions, Identity, Verdicts};
use crate::digest::ContentCrc;
use crate::quota::{StatsTrack, governed_path};
use crate::reap::is_due;
use crate::tree::Tree;
use pending::{Content, Prospect};
use quota::{Delta, Quota};
use zk_proto::acl::AclBytes;
use zk_proto::request::{Request, SetAclRequest, SetDataRequest, VersionedPath};
use zk_proto::txn::{
    CheckVersionTxn, DIGEST_VERSION, DeleteTxn, SetAclTxn, SetDataTxn, TxnDigest, TxnHeader,
};
use zk_proto::{
    EphemeralOwner, ErrorCode, Jute, Limits, OpCode, OwnerKind, Perms, SessionId, Zxid, path,
};

/// What preparing needs of the server's configuration.
#[derive(Clone, Debug)]
pub struct PrepareOptions {
    /// ACL schemes.
    pub auth: AuthOptions,
    /// `enforceQuota`.
    pub enforce_quota: bool,
    /// `closeSessionTxn.enabled`: closeSession lists the ephemerals that go.
    pub close_session_txn: bool,
    /// The most bytes of such a list. Without it a closeSession is whole, and any member and any
    /// later start can read it; a longer transaction nobody might.
    pub max_list_bytes: usize,
    /// `digest.enabled`: transactions carry the digest of the tree.
    pub digest: bool,
    /// The most bytes that the body of a transaction may have: what `auth` entries stand for could
    /// make a small request any size, and a longer record no member of Apache reads.
    pub max_txn_bytes: usize,
}

impl Default for PrepareOptions {
    fn default() -> PrepareOptions {
        PrepareOptions {
            auth: AuthOptions::default(),
            enforce_quota: false,
            close_session_txn: true,
            max_list_bytes: Limits::DEFAULT_MAX_BUFFER,
            digest: true,
            max_txn_bytes: 4 * Limits::DEFAULT_MAX_BUFFER,
        }
    }
}

/// What becomes a transaction.
#[derive(Clone, Debug)]
pub enum Proposal<'r, 'a> {
    /// A client's write.
    Request(&'r Request<'a>),
    /// The ensemble changes: the text of its new configuration.
    Reconfig(String),
    /// A write that is refused without a look at the tree; it becomes an error transaction.
    Refused(ErrorCode),
    /// A session opens, with this timeout in ms.
    CreateSession(i32),
    /// A session ends, by its client's wish or by expiry.
    CloseSession,
    /// The reaper found a container or TTL znode; see [`Tree::due_for_reaping`].
    Reap {
        /// Where.
        path: &'r str,
        /// After how many ms a container that nobody used is due; 0 for never.
        max_never_used_ms: i64,
    },
}

/// Checks requests and turns them into transactions.
#[derive(Debug)]
pub struct Preparer<'t> {
    /// The tree as far as it has been applied.
    pub tree: &'t Tree,
    /// What is outstanding.
    pub pending: &'t mut Pending,
    /// The configuration.
    pub options: &'t PrepareOptions,
    /// Who asks.
    pub identities: &'t [Identity],
    /// Session, xid, zxid and time; its operation is filled in.
    pub header: TxnHeader,
    /// What was found out about ACLs.
    pub verdicts: Verdicts,
    /// What an ephemeral is refused with, if the session may own none.
    pub no_ephemerals: Option<ErrorCode>,
    /// The first part of the path at which a hard quota refused a write, for the metrics. One at
    /// most: a multi ends with its first refusal.
    pub over_quota: Option<Box<str>>,
}

/// A znode after a write.
#[derive(Clone, Copy)]
enum After<'a> {
    New(Option<&'a [u8]>),
    Set(Option<&'a [u8]>),
    Gone,
}

impl Preparer<'_> {
    /// Appends the transaction to `out`: header, body and digest, as the log stores them. An error
    /// becomes an error transaction; it is returned for information.
    pub fn prepare(
        &mut self,
        proposal: &Proposal<'_, '_>,
        out: &mut Vec<u8>,
    ) -> Result<(), ErrorCode> {
        let start = out.len();
        self.header.write(out);
        let mut has_digest = self.options.digest;
        let result = match proposal {
            Proposal::Request(request) => self.request(request, out),
            Proposal::Reconfig(config) => self.reconfig(config, out),
            Proposal::Refused(code) => Err(*code),
            Proposal::CreateSession(timeout_ms) => {
                timeout_ms.write(out);
                Ok(OpCode::CreateSession)
            }
            Proposal::CloseSession => {
                // A digest in the place of the list would be read as one.
                has_digest &= self.close_session(out);
                Ok(OpCode::CloseSession)
            }
            Proposal::Reap { path, max_never_used_ms } => self.reap(path, *max_never_used_ms, out),
        };
        let (op, outcome) = match result {
            Ok(op) => (op, Ok(())),
            Err(code) => {
                out.truncate(start + TxnHeader::MIN_LEN);
                code.code().write(out);
                (OpCode::Error, Err(code))
            }
        };
        out[start + TxnHeader::OP_AT..start + TxnHeader::MIN_LEN]
            .copy_from_slice(&op.code().to_be_bytes());
        self.pending.quotas.settle();
        if has_digest && outcome.is_ok() {
            let tree_digest = self.pending.digest(self.tree) as i64;
            TxnDigest { version: DIGEST_VERSION, tree_digest }.write(out);
        }
        outcome
    }

    fn request(&mut self, request: &Request<'_>, out: &mut Vec<u8>) -> Result<OpCode, ErrorCode> {
        match request {
            Request::Create(create) => self.create(create, out),
            Request::Delete(delete) => self.delete(delete, out),
            Request::SetData(set) => self.set_data(set, out),
            Request::SetAcl(set) => self.set_acl(set, out),
            Request::Multi(multi) => self.multi(multi, out),
            _ => Err(ErrorCode::Unimplemented),
        }
    }

    /// The digest does not count that znode, and its data version stays what it is.
    fn reconfig(&mut self, config: &str, out: &mut Vec<u8>) -> Result<OpCode, ErrorCode> {
        let mut node = self.look(path::CONFIG)?;
        self.allows(&node, Perms::WRITE)?;
        node.stat.version = -1;
        (node.stat.mzxid, node.stat.mtime) = (self.header.zxid, self.header.time_ms);
        node.data_len = config.len();
        node.content = Content::Known(ContentCrc::new(path::CONFIG, Some(config.as_bytes())));
        self.put(path::CONFIG, node);
        let path = path::CONFIG.into();
        SetDataTxn { path, data: Some(config.as_bytes()), version: -1 }.write(out);
        Ok(OpCode::Reconfig)
    }

    fn zxid(&self) -> Zxid {
        Zxid(self.header.zxid)
    }

    fn session(&self) -> SessionId {
        SessionId(self.header.client_id)
    }

    fn look(&self, path: &str) -> Result<Prospect, ErrorCode> {
        self.pending.look(self.tree, path).map_err(|_| ErrorCode::NoNode)
    }

    /// As [`Preparer::look`], and the error of a path that no znode can have. One that leads to a
    /// znode is valid, but for the alias of the root.
    fn look_valid(&self, path: &str) -> Result<Prospect, ErrorCode> {
        match self.look(path) {
            Ok(node) if !path.is_empty() => Ok(node),
            _ if !path::is_valid(path) => Err(ErrorCode::BadArguments),
            found => found,
        }
    }

    fn put(&mut self, path: &str, node: Prospect) {
        self.pending.put(self.tree, path, self.zxid(), node);
    }

    fn allows(&mut self, node: &Prospect, wanted: Perms) -> Result<(), ErrorCode> {
        match &node.acl {
            Some(acl) => self.verdicts.allows(&self.options.auth, acl, wanted, self.identities),
            // Open to all.
            None => Ok(()),
        }
    }

    fn kind(&self, node: &Prospect) -> OwnerKind {
        EphemeralOwner(node.stat.ephemeral_owner).kind(self.tree.options.extended_types)
    }

    fn delete(
        &mut self,
        request: &VersionedPath<'_>,
        out: &mut Vec<u8>,
    ) -> Result<OpCode, ErrorCode> {
        let path = &*request.path;
        let (parent_path, _) = path::split(path).ok_or(ErrorCode::BadArguments)?;
        if path.contains('\0') || path::is_special(path) {
            return Err(ErrorCode::BadArguments);
        }
        let parent = self.look(parent_path)?;
        self.allows(&parent, Perms::DELETE)?;
        let node = self.look(path)?;
        check_version(node.stat.version, request.version)?;
        if node.num_children > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        self.put_deleted(path, parent_path, parent, node);
        DeleteTxn { path: request.path.clone() }.write(out);
        Ok(OpCode::Delete)
    }

    fn put_deleted(
        &mut self,
        path: &str,
        parent_path: &str,
        mut parent: Prospect,
        mut node: Prospect,
    ) {
        let change = Delta { count: -1, bytes: -(node.data_len as i64) };
        parent.num_children -= 1;
        parent.stat.pzxid = parent.stat.pzxid.max(self.header.zxid);
        self.put(parent_path, parent);
        node.exists = false;
        self.put(path, node);
        self.count_quota(path, change, After::Gone);
    }

    fn check_quota(&mut self, path: &str, change: Delta) -> Result<(), ErrorCode> {
        if !self.options.enforce_quota {
            return Ok(());
        }
        self.pending.quotas.check(self.tree, path, change).inspect_err(|_| {
            // Apache's `PathUtils.getTopNamespace`.
            self.over_quota = path.split('/').nth(1).map(Box::from);
        })
    }

    /// A write changes so much; the znode is there afterwards with `data`, or is gone. To be called
    /// when the change is noted.
    fn count_quota(&mut self, path: &str, change: Delta, after: After<'_>) {
        if !self.options.enforce_quota {
            return;
        }
        let (tree, zxid) = (self.tree, self.zxid());
        self.pending.quotas.count(tree, zxid, path, change);
        let read = |data: Option<&[u8]>| Some(StatsTrack::parse(data.unwrap_or_default()));
        if let Some(governed) = governed_path(path, path::QUOTA_LIMITS) {
            let limits = match after {
                After::New(data) | After::Set(data) => read(data),
                After::Gone => None,
            };
            let quota = self.pending.quotas.on(tree, governed);
            self.pending.quotas.put(zxid, governed, Quota { limits, ..quota });
        } else if let Some(governed) = governed_path(path, path::QUOTA_STATS) {
            let usage = match after {
                // Counted afresh, whatever was written.
                After::New(_) => {
                    let Delta { count, bytes } = self.pending.count_below(tree, governed);
                    Some(StatsTrack { count, bytes, ..StatsTrack::NONE })
                }
                After::Set(data) => read(data),
                After::Gone => None,
            };
            let quota = self.pending.quotas.on(tree, governed);
            self.pending.quotas.put(zxid, governed, Quota { usage, ..quota });
        }
    }

    fn set_data(
        &mut self,
        request: &SetDataRequest<'_>,
        out: &mut Vec<u8>,
    ) -> Result<OpCode, ErrorCode> {
        let path = &*request.path;
        let mut node = self.look_valid(path)?;
        self.allows(&node, Perms::WRITE)?;
        let length = request.data.map_or(0, <[u8]>::len);
        self.fits(path.len() + length)?;
        let change = Delta { count: 0, bytes: length as i64 - node.data_len as i64 };
        self.check_quota(path, change)?;
        let version = check_version(node.stat.version, request.version)?;
        node.stat.version = version;
        (node.stat.mzxid, node.stat.mtime) = (self.header.zxid, self.header.time_ms);
        node.data_len = length;
        node.content = Content::Known(ContentCrc::new(path, request.data));
        self.put(path, node);
        self.count_quota(path, change, After::Set(request.data));
        SetDataTxn { path: request.path.clone(), data: request.data, version }.write(out);
        Ok(OpCode::SetData)
    }

    /// Whether a transaction of about so many bytes can be made.
    fn fits(&self, bytes: usize) -> Result<(), ErrorCode> {
        let fits = bytes <= self.options.max_txn_bytes;
        fits.then_some(()).ok_or(ErrorCode::BadArguments)
    }

    fn set_acl(
        &mut self,
        request: &SetAclRequest<'_>,
        out: &mut Vec<u8>,
    ) -> Result<OpCode, ErrorCode> {
        let path = &*request.path;
        if !path::is_valid(path) {
            return Err(ErrorCode::BadArguments);
        }
        let fixed = self.options.auth.fix_up(request.acl, self.identities)?;
        self.fits(path.len() + fixed.len())?;
        let mut node = self.look(path)?;
        self.allows(&node, Perms::ADMIN)?;
        let version = check_version(node.stat.aversion, request.version)?;
        node.stat.aversion = version;
        node.acl = Some(fixed.as_ref().into());
        let acl = AclBytes::parse(&fixed).map_err(|_| ErrorCode::InvalidAcl)?;
        self.put(path, node);
        SetAclTxn { path: request.path.clone(), acl, version }.write(out);
        Ok(OpCode::SetAcl)
    }

    fn check(
        &mut self,
        request: &VersionedPath<'_>,
        out: &mut Vec<u8>,
    ) -> Result<OpCode, ErrorCode> {
        let path = &*request.path;
        let node = self.look_valid(path)?;
        self.allows(&node, Perms::READ)?;
        let version = check_version(node.stat.version, request.version)?;
        CheckVersionTxn { path: request.path.clone(), version }.write(out);
        Ok(OpCode::Check)
    }

    /// False if the list of what goes is too long to be written.
    fn close_session(&mut self, out: &mut Vec<u8>) -> bool {
        let paths = self.pending.ephemerals_of(self.tree, self.session());
        for path in &paths {
            let Some((parent_path, _)) = path::split(path) else { continue };
            if let (Ok(parent), Ok(node)) = (self.look(parent_path), self.look(path)) {
                self.put_deleted(path, parent_path, parent, node);
            }
        }
        if !self.options.close_session_txn {
            return true;
        }
        let list_bytes = 4 + paths.iter().map(|path| 4 + path.len()).sum::<usize>();
        if list_bytes > self.options.max_list_bytes {
            return false;
        }
        (paths.len() as i32).write(out);
        for path in &paths {
            zk_proto::jute::put_text(out, path);
        }
        true
    }

    /// No session and no ACL stand behind the reaper; whatever changed since it looked is checked:
    /// a setData gives a TTL znode its time anew.
    fn reap(
        &mut self,
        path: &str,
        max_never_used_ms: i64,
        out: &mut Vec<u8>,
    ) -> Result<OpCode, ErrorCode> {
        let (parent_path, _) = path::split(path).ok_or(ErrorCode::BadArguments)?;
        if path::is_special(path) {
            return Err(ErrorCode::BadArguments);
        }
        let node = self.look(path)?;
        if node.num_children > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        let extended_types = self.tree.options.extended_types;
        if !is_due(&node.stat, extended_types, self.header.time_ms, max_never_used_ms) {
            return Err(ErrorCode::BadVersion);
        }
        let parent = self.look(parent_path)?;
        self.put_deleted(path, parent_path, parent, node);
        DeleteTxn { path: path.into() }.write(out);
        Ok(OpCode::DeleteContainer)
    }
}

/// The next version, if the expected one is the actual one or -1.
fn check_version(actual: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected != -1 && expected != actual {
        return Err(ErrorCode::BadVersion);
    }
    Ok(actual.wrapping_add(1))
}

#[cfg(test)]
mod tests;
