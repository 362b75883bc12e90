//! What clients ask for: every operation, on few enough names that they meet.

use crate::oracle::USERS;
use crate::rng::Rng;
use zk_proto::acl::{self, Acl, AclBytes};
use zk_proto::request::{
    AddWatchRequest, AuthPacket, Create, GetEphemeralsRequest, MultiOp, MultiRequest, PathRequest,
    ReadOp, ReadRequest, ReconfigRequest, Request, RequestHeader, SetAclRequest, SetDataRequest,
    SyncRequest, VersionedPath, WatchesRequest,
};
use zk_proto::{Jute, OpCode, Perms, Text};

const PATHS: [&str; 12] =
    ["/a", "/b", "/a/c", "/a/d", "/a/c/e", "/b/f", "/q", "/q/r", "/q/r/s", "/e", "/t", "/a/c/e/g"];
const NAMES: [&str; 7] = ["a", "b", "c", "d", "q", "e", "t"];
/// Some exist, some cannot, some are other names of the root.
const ODD_PATHS: [&str; 16] = [
    "/",
    "",
    "/a/",
    "//a",
    "a",
    "/a//c",
    "/.",
    "/a/..",
    "/a/c\0",
    "/\u{1f600}",
    "/zookeeper",
    "/zookeeper/config",
    "/zookeeper/quota",
    "/missing/x",
    "/\u{4e2d}",
    "/a/\u{7f}",
];
const QUOTA_PATHS: [&str; 5] = [
    "/zookeeper/quota/a",
    "/zookeeper/quota/a/zookeeper_limits",
    "/zookeeper/quota/a/zookeeper_stats",
    "/zookeeper/quota/a/c",
    "/zookeeper/quota/a/c/zookeeper_limits",
];
const LIMITS: [&[u8]; 4] = [
    b"count=2,bytes=-1",
    b"count=-1,bytes=-1=;byteHardLimit=8;countHardLimit=3",
    b"count=-1,bytes=-1=;countHardLimit=5",
    b"rubbish",
];
const DATA: [Option<&[u8]>; 6] =
    [None, Some(b""), Some(b"x"), Some(b"yy"), Some(b"zookeeper"), Some(&[0xff; 70])];

/// Makes requests.
#[derive(Debug)]
pub(super) struct Workload {
    acls: Vec<Vec<u8>>,
    loves_watches: bool,
}

/// A request with its header, as a frame without its length.
pub(super) fn frame(xid: i32, request: &Request<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    RequestHeader { xid, op: request.opcode().code() }.write(&mut out);
    request.write(&mut out);
    out
}

impl Workload {
    pub(super) fn new(loves_watches: bool) -> Workload {
        let list = |entries: &[Acl<'_>]| acl::encode(entries);
        let (ann, bob) = (USERS[0].1, USERS[1].1);
        let open = || Acl::new(Perms::ALL, "world", "anyone");
        let acls = vec![
            list(&[open()]),
            list(&[open()]),
            list(&[Acl::new(Perms::READ, "world", "anyone")]),
            list(&[Acl::new(Perms(31 - 1), "world", "anyone")]),
            list(&[Acl::new(Perms::ALL, "digest", ann), Acl::new(Perms::READ, "digest", bob)]),
            list(&[Acl::new(Perms::ALL, "auth", ""), Acl::new(Perms(5), "world", "anyone")]),
            list(&[Acl::new(Perms::ALL, "auth", ""), Acl::new(Perms::ALL, "auth", "")]),
            list(&[Acl::new(Perms::ALL, "ip", "10.0.0.0/30"), open(), open()]),
            list(&[Acl::new(Perms(0x1ff), "ip", "10.0.0.2")]),
            list(&[]),
            list(&[Acl::new(Perms::ALL, "world", "me")]),
            list(&[Acl::new(Perms::ALL, "digest", "nocolon")]),
            list(&[Acl::new(Perms::ALL, "nosuch", "x")]),
            list(&[Acl::new(Perms::ALL, "ip", "1.2.3")]),
            (-1i32).to_be_bytes().to_vec(),
        ];
        Workload { acls, loves_watches }
    }

    /// A path: mostly one that is there, or could be.
    fn path(&self, rng: &mut Rng, known: &[String]) -> Text<'static> {
        match rng.below(100) {
            0..4 => Text::Borrowed(*rng.pick(&ODD_PATHS)),
            4..8 => Text::Borrowed(*rng.pick(&QUOTA_PATHS)),
            8..30 => Text::Borrowed(*rng.pick(&PATHS)),
            _ if known.is_empty() => Text::Borrowed(*rng.pick(&PATHS)),
            30..40 => self.fresh_path(rng, known),
            _ => Text::Owned(rng.pick(known).clone()),
        }
    }

    /// A path for a new znode: mostly one whose parent is there.
    fn fresh_path(&self, rng: &mut Rng, known: &[String]) -> Text<'static> {
        let name = *rng.pick(&NAMES);
        match rng.below(10) {
            0..2 => self.path(rng, &[]),
            2..5 => Text::Owned(format!("/{name}")),
            _ if known.is_empty() => Text::Owned(format!("/{name}")),
            _ => Text::Owned(format!("{}/{name}", rng.pick(known))),
        }
    }

    fn acl(&self, rng: &mut Rng) -> AclBytes<'_> {
        // Most znodes are open, or soon nobody could do anything.
        let at = if rng.chance(800) { 0 } else { rng.below(self.acls.len()) };
        AclBytes::parse(&self.acls[at]).unwrap_or(AclBytes::OPEN)
    }

    fn version(rng: &mut Rng) -> i32 {
        *rng.pick(&[-1, -1, -1, 0, 0, 1, 2, -2])
    }

    fn create(&self, rng: &mut Rng, known: &[String]) -> Create<'_> {
        let op = *rng.pick(&[
            OpCode::Create,
            OpCode::Create,
            OpCode::Create2,
            OpCode::CreateContainer,
            OpCode::CreateTtl,
        ]);
        let flags = match (op, rng.below(12)) {
            (_, 0) => *rng.pick(&[-1, 0, 1, 2, 3, 4, 5, 6, 7, 999]),
            (OpCode::CreateTtl, _) => *rng.pick(&[5, 6]),
            (OpCode::CreateContainer, _) => *rng.pick(&[4, 4, 4, 0, 3]),
            (_, 1..4) => 1,
            (_, 4..6) => 2,
            (_, 6) => 3,
            _ => 0,
        };
        let mut path = self.fresh_path(rng, known);
        let mut data = *rng.pick(&DATA);
        if path.ends_with("zookeeper_limits") {
            data = Some(*rng.pick(&LIMITS));
        }
        if matches!(flags, 2 | 3 | 6) && rng.chance(700) {
            path = Text::Owned(format!("{path}/n-"));
        }
        let ttl_ms = match op {
            OpCode::CreateTtl => *rng.pick(&[1, 40, 500, 5000, 0, -1, 1 << 40]),
            _ => 0,
        };
        Create { op, path, data, acl: self.acl(rng), flags, ttl_ms }
    }

    fn part(&self, rng: &mut Rng, known: &[String]) -> MultiOp<'_> {
        let path = self.path(rng, known);
        let version = Workload::version(rng);
        match rng.below(8) {
            0..4 => MultiOp::Create(self.create(rng, known)),
            4 => MultiOp::Delete(VersionedPath { path, version }),
            5 => MultiOp::Check(VersionedPath { path, version }),
            6 if rng.chance(50) => MultiOp::GetData(ReadOp { path: Some(path), watch: true }),
            _ => MultiOp::SetData(SetDataRequest { path, data: *rng.pick(&DATA), version }),
        }
    }

    fn write(&self, rng: &mut Rng, known: &[String]) -> Request<'_> {
        let path = self.path(rng, known);
        let version = Workload::version(rng);
        if rng.chance(15) {
            return Workload::quota(rng);
        }
        match rng.below(20) {
            0..8 => Request::Create(self.create(rng, known)),
            8..11 => Request::Delete(VersionedPath { path, version }),
            11..15 => {
                let is_limit = path.ends_with("zookeeper_limits");
                let data = if is_limit { Some(*rng.pick(&LIMITS)) } else { *rng.pick(&DATA) };
                Request::SetData(SetDataRequest { path, data, version })
            }
            15 => Request::SetAcl(SetAclRequest { path, acl: self.acl(rng), version }),
            16 if rng.chance(100) => Request::Reconfig(ReconfigRequest {
                joining: None,
                leaving: None,
                new_members: None,
                config_id: -1,
            }),
            _ => {
                let ops = (0..rng.below(5)).map(|_| self.part(rng, known)).collect();
                Request::Multi(MultiRequest { ops })
            }
        }
    }

    /// A quota on a top-level path, with or without its usage.
    fn quota(rng: &mut Rng) -> Request<'static> {
        let top = format!("/zookeeper/quota/{}", rng.pick(&["a", "b", "q"]));
        let create = |path: String, data| {
            MultiOp::Create(Create {
                op: OpCode::Create,
                path: Text::Owned(path),
                data,
                acl: AclBytes::OPEN,
                flags: 0,
                ttl_ms: 0,
            })
        };
        let mut ops = vec![
            create(top.clone(), None),
            create(format!("{top}/zookeeper_limits"), Some(*rng.pick(&LIMITS))),
            create(format!("{top}/zookeeper_stats"), Some(b"")),
        ];
        ops.truncate(if rng.chance(800) { 3 } else { 2 });
        Request::Multi(MultiRequest { ops })
    }

    fn read(&self, rng: &mut Rng, known: &[String]) -> Request<'static> {
        let path = self.path(rng, known);
        let body = ReadRequest { path: path.clone(), watch: rng.chance(500) };
        match rng.below(14) {
            0..3 => Request::GetData(body),
            3..5 => Request::Exists(body),
            5 => Request::GetChildren(body),
            6 => Request::GetChildren2(body),
            7 => Request::GetAcl(PathRequest { path }),
            8 => Request::GetAllChildrenNumber(PathRequest { path }),
            9 => Request::Sync(SyncRequest { path: rng.chance(950).then_some(path) }),
            10 => {
                let prefix = rng.chance(700).then_some(path);
                Request::GetEphemerals(GetEphemeralsRequest { prefix })
            }
            11 => Request::WhoAmI,
            12 => {
                let op = |rng: &mut Rng| {
                    let path = self.path(rng, known);
                    if rng.chance(50) {
                        return MultiOp::Delete(VersionedPath { path, version: -1 });
                    }
                    let path = rng.chance(970).then_some(path);
                    let body = ReadOp { path, watch: rng.chance(300) };
                    match rng.below(20) {
                        0..11 => MultiOp::GetData(body),
                        _ => MultiOp::GetChildren(body),
                    }
                };
                let ops = (0..rng.below(4)).map(|_| op(rng)).collect();
                Request::MultiRead(MultiRequest { ops })
            }
            _ => Request::Ping,
        }
    }

    fn watch(&self, rng: &mut Rng, known: &[String]) -> Request<'static> {
        let path = self.path(rng, known);
        let kind = |rng: &mut Rng| *rng.pick(&[1, 2, 3, 4, 5, 77]);
        match rng.below(10) {
            0..4 => Request::AddWatch(AddWatchRequest {
                path: rng.chance(970).then_some(path),
                mode: *rng.pick(&[0, 0, 1, 1, 77]),
            }),
            4 | 5 if rng.chance(500) => {
                let path = rng.chance(970).then_some(path);
                Request::CheckWatches(WatchesRequest { path, watcher_type: kind(rng) })
            }
            4 | 5 => {
                let path = rng.chance(970).then_some(path);
                Request::RemoveWatches(WatchesRequest { path, watcher_type: kind(rng) })
            }
            6 => Request::GetChildren2(ReadRequest { path, watch: true }),
            7 => Request::Exists(ReadRequest { path, watch: true }),
            _ => Request::GetData(ReadRequest { path, watch: true }),
        }
    }

    /// The next request; `known` are paths that are, or were, there.
    pub(super) fn request(&self, rng: &mut Rng, known: &[String]) -> Request<'_> {
        let watching = if self.loves_watches { 40 } else { 10 };
        match rng.weighted(&[50, 35, watching]) {
            0 => self.write(rng, known),
            1 => self.read(rng, known),
            _ => self.watch(rng, known),
        }
    }

    /// An auth packet that gives an identity.
    pub(super) fn good_auth() -> Request<'static> {
        let auth = Some(USERS[0].0.as_bytes());
        Request::Auth(AuthPacket { auth_type: 0, scheme: Some("digest".into()), auth })
    }

    /// An auth packet, now and then one that fails.
    pub(super) fn auth(rng: &mut Rng) -> Request<'static> {
        let (scheme, auth) = match rng.below(20) {
            0 => ("nosuch", Some(&b"x"[..])),
            1 => ("digest", None),
            2 => ("ip", None),
            3 => ("digest", Some(USERS[2].0.as_bytes())),
            n => ("digest", Some(USERS[n % 2].0.as_bytes())),
        };
        Request::Auth(AuthPacket { auth_type: 0, scheme: Some(Text::Borrowed(scheme)), auth })
    }

    /// Bytes that are no proper request.
    pub(super) fn nonsense(&self, rng: &mut Rng, xid: i32, known: &[String]) -> Vec<u8> {
        let mut bytes = frame(xid, &self.request(rng, known));
        match rng.below(7) {
            // Shorter than a header: the connection ends.
            0 if rng.chance(300) => bytes.truncate(rng.below(8)),
            1 => {
                let op = *rng.pick(&[0i32, -1, -10, 13, 20, 9999, i32::MIN]);
                bytes[4..8].copy_from_slice(&op.to_be_bytes());
            }
            2 => bytes.extend_from_slice(&[0xab; 9]),
            // A null path, in most requests.
            3 if bytes.len() >= 12 => bytes[8..12].copy_from_slice(&[0xff; 4]),
            4 => {
                bytes = frame(xid, &Workload::auth(rng));
                bytes.truncate(8 + rng.below(6));
            }
            _ => bytes.truncate(8 + rng.below(bytes.len().saturating_sub(8))),
        }
        bytes
    }
}
