//! What clients of an ensemble ask for: few names, so that they meet, and never so many znodes that
//! the model has much to copy.

use crate::rng::Rng;
use zk_proto::acl::{self, Acl, AclBytes};
use zk_proto::request::{
    AddWatchRequest, Create, GetEphemeralsRequest, MultiOp, MultiRequest, PathRequest, ReadRequest,
    Request, RequestHeader, SetAclRequest, SetDataRequest, SyncRequest, VersionedPath,
    WatchesRequest,
};
use zk_proto::{Jute, OpCode, Perms, Text};

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// Above so many znodes, clients delete.
const MANY: usize = 40;
const DATA: [Option<&[u8]>; 5] = [None, Some(b""), Some(b"x"), Some(b"yy"), Some(&[0xff; 40])];

/// A request as a frame without its length.
pub(crate) fn frame(xid: i32, request: &Request<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    RequestHeader { xid, op: request.opcode().code() }.write(&mut out);
    request.write(&mut out);
    out
}

/// Makes requests.
#[derive(Debug)]
pub(crate) struct Workload {
    /// ACLs that are not open.
    acls: Vec<Vec<u8>>,
    /// Paths that are, or were, there.
    pub(crate) known: Vec<String>,
}

impl Workload {
    pub(crate) fn new() -> Workload {
        let list = |entries: &[Acl<'_>]| acl::encode(entries);
        let ann = crate::oracle::USERS[0].1;
        let acls = vec![
            list(&[Acl::new(Perms::READ, "world", "anyone")]),
            list(&[Acl::new(Perms::ALL, "digest", ann)]),
            list(&[Acl::new(Perms(30), "world", "anyone")]),
            list(&[]),
        ];
        Workload { acls, known: Vec::new() }
    }

    fn path(&self, rng: &mut Rng) -> Text<'static> {
        if self.known.is_empty() || rng.chance(100) {
            return Text::Owned(format!("/{}", rng.pick(&NAMES)));
        }
        Text::Owned(rng.pick(&self.known).clone())
    }

    fn fresh_path(&self, rng: &mut Rng) -> Text<'static> {
        let name = *rng.pick(&NAMES);
        if self.known.is_empty() || rng.chance(500) {
            return Text::Owned(format!("/{name}"));
        }
        Text::Owned(format!("{}/{name}", rng.pick(&self.known)))
    }

    fn acl(&self, rng: &mut Rng) -> AclBytes<'_> {
        // Most znodes are open, or soon nobody could do anything.
        if rng.chance(970) {
            return AclBytes::OPEN;
        }
        let at = rng.below(self.acls.len());
        AclBytes::parse(&self.acls[at]).unwrap_or(AclBytes::OPEN)
    }

    fn version(rng: &mut Rng) -> i32 {
        *rng.pick(&[-1, -1, -1, -1, 0, 1, 2])
    }

    fn create(&self, rng: &mut Rng) -> Create<'_> {
        let (op, flags) = *rng.pick(&[
            (OpCode::Create, 0),
            (OpCode::Create, 1),
            (OpCode::Create, 1),
            (OpCode::Create2, 2),
            (OpCode::Create2, 3),
            (OpCode::Create2, 0),
            (OpCode::CreateContainer, 4),
            (OpCode::CreateTtl, 5),
        ]);
        let mut path = self.fresh_path(rng);
        if matches!(flags, 2 | 3) {
            path = Text::Owned(format!("{path}/n-"));
        }
        let ttl_ms = if op == OpCode::CreateTtl { *rng.pick(&[1, 500, 5000]) } else { 0 };
        Create { op, path, data: *rng.pick(&DATA), acl: self.acl(rng), flags, ttl_ms }
    }

    fn part(&self, rng: &mut Rng) -> MultiOp<'_> {
        let (path, version) = (self.path(rng), Workload::version(rng));
        match rng.below(4) {
            0 => MultiOp::Create(self.create(rng)),
            1 => MultiOp::Delete(VersionedPath { path, version }),
            2 => MultiOp::Check(VersionedPath { path, version }),
            _ => MultiOp::SetData(SetDataRequest { path, data: *rng.pick(&DATA), version }),
        }
    }

    fn write(&self, rng: &mut Rng) -> Request<'_> {
        let (path, version) = (self.path(rng), Workload::version(rng));
        let is_full = self.known.len() > MANY;
        match rng.below(20) {
            0..8 if !is_full => Request::Create(self.create(rng)),
            8..10 if !is_full => {
                let ops = (0..1 + rng.below(4)).map(|_| self.part(rng)).collect();
                Request::Multi(MultiRequest { ops })
            }
            10..16 => Request::SetData(SetDataRequest { path, data: *rng.pick(&DATA), version }),
            16 if rng.chance(300) => {
                Request::SetAcl(SetAclRequest { path, acl: self.acl(rng), version })
            }
            _ => Request::Delete(VersionedPath { path, version: -1 }),
        }
    }

    fn read(&self, rng: &mut Rng) -> Request<'static> {
        let path = self.path(rng);
        let body = ReadRequest { path: path.clone(), watch: rng.chance(300) };
        match rng.below(14) {
            0..4 => Request::GetData(body),
            4..6 => Request::Exists(body),
            6..8 => Request::GetChildren2(body),
            8 => Request::GetAcl(PathRequest { path }),
            9 | 10 => Request::Sync(SyncRequest { path: Some(path) }),
            11 => Request::GetEphemerals(GetEphemeralsRequest { prefix: None }),
            12 if rng.chance(200) => {
                Request::RemoveWatches(WatchesRequest { path: Some(path), watcher_type: 3 })
            }
            12 if rng.chance(300) => {
                let mode = *rng.pick(&[0, 1]);
                Request::AddWatch(AddWatchRequest { path: Some(path), mode })
            }
            _ => Request::GetData(body),
        }
    }

    /// The next request.
    pub(crate) fn request(&self, rng: &mut Rng) -> Request<'_> {
        if rng.chance(550) { self.write(rng) } else { self.read(rng) }
    }
}
