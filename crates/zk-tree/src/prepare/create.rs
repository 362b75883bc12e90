//! Creates of all kinds (client-protocol 5.1 and 5.2).

use super::pending::{Content, Place, Prospect};
use super::quota::Delta;
use super::{After, Preparer};
use crate::digest::ContentCrc;
use zk_proto::acl::AclBytes;
use zk_proto::request::{Create, CreateMode};
use zk_proto::txn::{CreateContainerTxn, CreateTtlTxn, CreateTxn};
use zk_proto::{
    EphemeralOwner, ErrorCode, Jute, OpCode, OwnerKind, Perms, StatPersisted, Text, path,
};

impl Preparer<'_> {
    pub(super) fn create(
        &mut self,
        request: &Create<'_>,
        out: &mut Vec<u8>,
    ) -> Result<OpCode, ErrorCode> {
        let mode = check_create_mode(request, self.tree.options.extended_types)?;
        if let Some(code) = self.no_ephemerals.filter(|_| mode.is_ephemeral()) {
            return Err(code);
        }
        let (parent_path, _) = path::split(&request.path).ok_or(ErrorCode::BadArguments)?;
        if request.path.contains('\0') {
            return Err(ErrorCode::BadArguments);
        }
        let fixed = self.options.auth.fix_up(request.acl, self.identities)?;
        let mut parent = self.look(parent_path)?;
        self.allows(&parent, Perms::CREATE)?;
        let path = if mode.is_sequential() {
            Text::Owned(sequence_path(&request.path, parent.stat.cversion))
        } else {
            Text::Borrowed(&*request.path)
        };
        // The rest of the path leads to a znode, so it is valid; but `/` is none in `//a`.
        let (_, name) = path::split(&path).ok_or(ErrorCode::BadArguments)?;
        if &*path == "/" {
            return Err(ErrorCode::NodeExists);
        }
        if parent_path == "/" || !path::is_valid_name(name) {
            return Err(ErrorCode::BadArguments);
        }
        let Err(place) = self.pending.look_below(self.tree, &parent, &path, name) else {
            return Err(ErrorCode::NodeExists);
        };
        if matches!(self.kind(&parent), OwnerKind::Ephemeral(_)) {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        let length = request.data.map_or(0, <[u8]>::len);
        self.fits(path.len() + length + fixed.len())?;
        let change = Delta { count: 1, bytes: length as i64 };
        self.check_quota(&path, change)?;
        let owner = match request.op {
            OpCode::CreateContainer => EphemeralOwner::CONTAINER,
            OpCode::CreateTtl => {
                EphemeralOwner::ttl(request.ttl_ms).ok_or(ErrorCode::BadArguments)?
            }
            _ if mode.is_ephemeral() => EphemeralOwner(self.header.client_id),
            _ => EphemeralOwner::PERSISTENT,
        };
        // What can fail comes before the first change.
        let acl = AclBytes::parse(&fixed).map_err(|_| ErrorCode::InvalidAcl)?;
        let parent_cversion = parent.stat.cversion.wrapping_add(1);
        parent.num_children += 1;
        parent.stat.cversion = parent_cversion;
        parent.stat.pzxid = parent.stat.pzxid.max(self.header.zxid);
        self.put(parent_path, parent);
        let node = self.new_node(place, &path, request.data, &fixed, owner);
        self.put(&path, node);
        self.count_quota(&path, change, After::New(request.data));
        write_txn(request, path, mode, acl, parent_cversion, out);
        Ok(request.op)
    }

    fn new_node(
        &self,
        place: Place,
        path: &str,
        data: Option<&[u8]>,
        acl: &[u8],
        owner: EphemeralOwner,
    ) -> Prospect {
        let (zxid, time) = (self.header.zxid, self.header.time_ms);
        let acl = (acl != AclBytes::OPEN.as_bytes()).then(|| acl.into());
        Prospect {
            exists: true,
            stat: StatPersisted {
                czxid: zxid,
                mzxid: zxid,
                ctime: time,
                mtime: time,
                ephemeral_owner: owner.0,
                pzxid: zxid,
                ..StatPersisted::default()
            },
            num_children: 0,
            acl,
            data_len: data.map_or(0, <[u8]>::len),
            content: Content::Known(ContentCrc::new(path, data)),
            id: None,
            place,
        }
    }
}

/// Flags and TTL of a create, which Apache checks before anything else.
pub fn check_create_mode(
    request: &Create<'_>,
    extended_types: bool,
) -> Result<CreateMode, ErrorCode> {
    let mode = CreateMode::from_flags(request.flags).ok_or(ErrorCode::BadArguments)?;
    if mode.is_ttl() && !extended_types {
        return Err(ErrorCode::Unimplemented);
    }
    let is_ttl_op = request.op == OpCode::CreateTtl;
    if mode.is_ttl() != is_ttl_op && (mode.is_ttl() || request.ttl_ms >= 0) {
        return Err(ErrorCode::BadArguments);
    }
    if is_ttl_op && EphemeralOwner::ttl(request.ttl_ms).is_none() {
        return Err(ErrorCode::BadArguments);
    }
    Ok(mode)
}

/// A name with its number, of ten digits at least.
fn sequence_path(prefix: &str, number: i32) -> String {
    // A signed counter; after 2^31-1 names get a minus sign and sort differently.
    let Ok(mut rest) = u32::try_from(number) else { return format!("{prefix}{number:010}") };
    let mut digits = [b'0'; 10];
    for digit in digits.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    let mut path = String::with_capacity(prefix.len() + digits.len());
    path.push_str(prefix);
    path.extend(digits.map(char::from));
    path
}

fn write_txn(
    request: &Create<'_>,
    path: Text<'_>,
    mode: CreateMode,
    acl: AclBytes<'_>,
    parent_cversion: i32,
    out: &mut Vec<u8>,
) {
    let data = request.data;
    match request.op {
        OpCode::CreateContainer => {
            CreateContainerTxn { path, data, acl, parent_cversion }.write(out)
        }
        OpCode::CreateTtl if mode.is_ttl() => {
            CreateTtlTxn { path, data, acl, parent_cversion, ttl_ms: request.ttl_ms }.write(out);
        }
        _ => CreateTxn { path, data, acl, ephemeral: mode.is_ephemeral(), parent_cversion }
            .write(out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_as_javas_format_makes_them() {
        for number in [0, 7, 10, 1_234_567_890, i32::MAX, -1, -42, i32::MIN] {
            assert_eq!(sequence_path("/a/n-", number), format!("/a/n-{number:010}"));
        }
    }
}
