//! What the audit log tells: who changed what, and whether it succeeded (Apache `AuditHelper`).
//!
//! A request is noted when it is prepared, while its words are there, and told when its transaction
//! is applied, with what came of it. Without `audit.enable` nothing is noted.

use crate::effects::Effects;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use zk_proto::acl::AclBytes;
use zk_proto::request::{Create, CreateMode, MultiOp, Request};
use zk_proto::txn::Txn;
use zk_proto::{OpCode, SessionId, Zxid};
use zk_tree::auth::{Identity, mask_digests};

/// A line of the audit log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditRecord {
    /// The session that did it, or that ended.
    pub session: SessionId,
    /// Who did it; `None` for the server itself.
    pub asker: Option<Arc<Asker>>,
    /// Apache's word for it.
    pub operation: &'static str,
    /// The znode, or what was sent in its place.
    pub path: Option<String>,
    /// The mode of a create.
    pub mode: Option<CreateMode>,
    /// The ACL of a setACL.
    pub acl: Option<String>,
    /// Whether it was done.
    pub is_success: bool,
}

impl AuditRecord {
    /// About how long its line is.
    pub(crate) fn line_bytes(&self) -> usize {
        let users = self.asker.as_ref().map_or(0, |asker| asker.users.len());
        let [path, acl] = [&self.path, &self.acl].map(|text| text.as_ref().map_or(0, String::len));
        LINE_BYTES + users + path + acl
    }
}

/// What a line has beside texts of a client's own: names of the pairs, session, address.
const LINE_BYTES: usize = 128;

/// Who sent a request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Asker {
    /// The names that its connection had proved, separated by commas.
    pub users: String,
    /// Its address.
    pub ip: Option<IpAddr>,
}

/// More of the names than this is not told.
const MAX_USERS_BYTES: usize = 1024;
/// The same for all parts of a multi but the first: they are many, and repeat them.
const MAX_USERS_BYTES_AGAIN: usize = 128;
/// More of a path than this is not told.
const MAX_PATH_BYTES: usize = 4096;

/// A request whose transaction is under way.
#[derive(Debug)]
struct Note {
    zxid: Zxid,
    /// Shared with the connection.
    identities: Arc<[Identity]>,
    ip: Option<IpAddr>,
    asked: Asked,
}

#[derive(Debug)]
pub(crate) enum Asked {
    One {
        operation: &'static str,
        path: Option<String>,
        mode: Option<CreateMode>,
        acl: Option<String>,
    },
    /// Of each operation in it: the path that was sent and the mode, if it is a create.
    Multi(Vec<Option<(String, CreateMode)>>),
}

/// The requests under way, in the order of their transactions.
#[derive(Debug, Default)]
pub(crate) struct Audit(VecDeque<Note>);

impl Asked {
    /// What is told of a request; `None` if Apache tells nothing.
    pub(crate) fn of(request: &Request<'_>) -> Option<Asked> {
        let one = |operation, path: &str| (operation, Some(path.to_owned()), None, None);
        let (operation, path, mode, acl) = match request {
            Request::Create(create) => {
                let (operation, path, ..) = one("create", &create.path);
                (operation, path, CreateMode::from_flags(create.flags), None)
            }
            Request::Delete(delete) => one("delete", &delete.path),
            Request::SetData(set) => one("setData", &set.path),
            Request::SetAcl(set) => {
                let (operation, path, ..) = one("setAcl", &set.path);
                (operation, path, None, Some(acl_text(set.acl)))
            }
            Request::Reconfig(_) => ("reconfig", None, None, None),
            Request::Multi(multi) => {
                let modes = multi.ops.iter().map(|op| match op {
                    MultiOp::Create(create) => mode_in_multi(create),
                    _ => None,
                });
                return Some(Asked::Multi(modes.collect()));
            }
            _ => return None,
        };
        Some(Asked::One { operation, path, mode, acl })
    }

    /// The same of a request whose path is null.
    pub(crate) fn nowhere(request: &Request<'_>) -> Option<Asked> {
        Some(match Asked::of(request)? {
            Asked::One { operation, mode, acl, .. } => {
                Asked::One { operation, path: None, mode, acl }
            }
            multi @ Asked::Multi(_) => multi,
        })
    }
}

/// As in Apache, createTTL has no mode in a multi.
fn mode_in_multi(create: &Create<'_>) -> Option<(String, CreateMode)> {
    let mode = CreateMode::from_flags(create.flags)?;
    (create.op != OpCode::CreateTtl).then(|| (create.path.to_string(), mode))
}

/// Apache's text: entries without anything between them. Hashes of passwords are for nobody.
fn acl_text(acl: AclBytes<'_>) -> String {
    let masked = mask_digests(acl.as_bytes());
    let entries = AclBytes::parse(&masked).map(|acl| {
        acl.iter()
            .map(|entry| {
                let [scheme, id] =
                    [&entry.scheme, &entry.id].map(|text| text.as_deref().unwrap_or("null"));
                format!("{scheme}:{id}:{}", entry.perms)
            })
            .collect()
    });
    entries.unwrap_or_default()
}

impl Audit {
    /// Notes what the transaction `zxid` was asked for.
    pub(crate) fn note(
        &mut self,
        zxid: Zxid,
        identities: Arc<[Identity]>,
        ip: Option<IpAddr>,
        asked: Asked,
    ) {
        self.0.push_back(Note { zxid, identities, ip, asked });
    }

    /// Tells what came of a transaction, if it was asked for.
    pub(crate) fn tell(&mut self, zxid: Zxid, session: SessionId, txn: &Txn<'_>, fx: &mut Effects) {
        let Some(note) = self.0.pop_front_if(|note| note.zxid == zxid) else { return };
        let failed = txn.is_failure();
        let users = users(&note.identities);
        let asked_by = |most| Arc::new(Asker { users: cut(users.clone(), most), ip: note.ip });
        let mut asker = asked_by(MAX_USERS_BYTES);
        let mut tell = |asker: &Arc<Asker>, operation, path: Option<String>, mode, acl| {
            let path = path.map(|path| cut(path, MAX_PATH_BYTES));
            let (asker, is_success) = (Some(asker.clone()), !failed);
            fx.audit(AuditRecord { session, asker, operation, path, mode, acl, is_success });
        };
        match (note.asked, txn) {
            (Asked::One { operation, path, mode, acl }, txn) => {
                // A sequential znode has another path than was asked for.
                let path = created_path(txn).map(str::to_owned).or(path);
                tell(&asker, operation, path, mode, acl);
            }
            (Asked::Multi(_), _) if failed => tell(&asker, "multiOperation", None, None, None),
            (Asked::Multi(modes), Txn::Multi(parts)) => {
                let mut is_first = true;
                for (part, asked) in parts.iter().zip(modes) {
                    let (operation, path) = match part {
                        Txn::Delete(body) => ("delete", &*body.path),
                        Txn::SetData(body) => ("setData", &*body.path),
                        create => match created_path(create) {
                            Some(path) => ("create", path),
                            // A check.
                            None => continue,
                        },
                    };
                    // As in Apache, a sequential znode in a multi has no mode.
                    let mode = asked.filter(|(asked, _)| asked == path).map(|(_, mode)| mode);
                    tell(&asker, operation, Some(path.to_owned()), mode, None);
                    if std::mem::take(&mut is_first) {
                        asker = asked_by(MAX_USERS_BYTES_AGAIN);
                    }
                }
            }
            (Asked::Multi(_), _) => {}
        }
    }
}

/// The names of a connection's identities.
fn users(identities: &[Identity]) -> String {
    let names = identities.iter().map(Identity::user).filter(|user| !user.trim().is_empty());
    names.collect::<Vec<_>>().join(",")
}

/// A small request must not become a large text, and what lacks its end shows it.
fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push_str("...");
    }
    text
}

/// Tells that a session's ephemerals went with it.
pub(crate) fn tell_ephemerals(session: SessionId, paths: Vec<String>, fx: &mut Effects) {
    for path in paths {
        fx.audit(AuditRecord {
            session,
            asker: None,
            operation: "ephemeralZNodeDeletionOnSessionCloseOrExpire",
            path: Some(cut(path, MAX_PATH_BYTES)),
            mode: None,
            acl: None,
            is_success: true,
        });
    }
}

/// The path of what a transaction creates.
pub(crate) fn created_path<'t>(txn: &'t Txn<'_>) -> Option<&'t str> {
    match txn {
        Txn::Create(body) | Txn::Create2(body) => Some(&body.path),
        Txn::CreateContainer(body) => Some(&body.path),
        Txn::CreateTtl(body) => Some(&body.path),
        _ => None,
    }
}
