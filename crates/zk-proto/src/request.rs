//! What clients ask (client-protocol 3). Requests borrow from the frame.

use crate::acl::AclBytes;
use crate::record::record;
use crate::{DecodeError, Jute, OpCode, Reader, Text};

/// A list of setWatches as it came: it may be null, and so may its paths.
pub type WatchPaths<'a> = Option<Vec<Option<Text<'a>>>>;

record! {
    /// In front of every request.
    #[derive(Copy)]
    pub struct RequestHeader {
        /// Echoed in the reply.
        pub xid: i32,
        /// The operation.
        pub op: i32,
    }

    /// create, create2, createContainer.
    pub struct CreateRequest<'a> {
        /// Path, or the prefix of a sequential name.
        pub path: Text<'a>,
        /// Data, or null.
        pub data: Option<&'a [u8]>,
        /// ACL as sent.
        pub acl: AclBytes<'a>,
        /// See [`CreateMode`].
        pub flags: i32,
    }

    /// createTTL.
    pub struct CreateTtlRequest<'a> {
        /// Path, or the prefix of a sequential name.
        pub path: Text<'a>,
        /// Data, or null.
        pub data: Option<&'a [u8]>,
        /// ACL as sent.
        pub acl: AclBytes<'a>,
        /// See [`CreateMode`].
        pub flags: i32,
        /// Time to live in ms.
        pub ttl_ms: i64,
    }

    /// delete and check.
    pub struct VersionedPath<'a> {
        /// The znode.
        pub path: Text<'a>,
        /// Expected version, -1 for any.
        pub version: i32,
    }

    /// exists, getData, getChildren, getChildren2.
    pub struct ReadRequest<'a> {
        /// The znode.
        pub path: Text<'a>,
        /// Whether to leave a one-shot watch.
        pub watch: bool,
    }

    /// getData and getChildren in a multiRead; Apache takes any path, null too.
    pub struct ReadOp<'a> {
        /// The znode.
        pub path: Option<Text<'a>>,
        /// Without effect.
        pub watch: bool,
    }

    /// setData.
    pub struct SetDataRequest<'a> {
        /// The znode.
        pub path: Text<'a>,
        /// New data, or null.
        pub data: Option<&'a [u8]>,
        /// Expected version, -1 for any.
        pub version: i32,
    }

    /// setACL.
    pub struct SetAclRequest<'a> {
        /// The znode.
        pub path: Text<'a>,
        /// ACL as sent.
        pub acl: AclBytes<'a>,
        /// Expected ACL version, -1 for any.
        pub version: i32,
    }

    /// getACL, getAllChildrenNumber.
    pub struct PathRequest<'a> {
        /// The znode.
        pub path: Text<'a>,
    }

    /// sync; Apache takes any path, null too.
    pub struct SyncRequest<'a> {
        /// Echoed in the response.
        pub path: Option<Text<'a>>,
    }

    /// getEphemerals.
    pub struct GetEphemeralsRequest<'a> {
        /// Plain text prefix; null or blank means all.
        pub prefix: Option<Text<'a>>,
    }

    /// checkWatches, removeWatches; Apache takes any path, null too.
    pub struct WatchesRequest<'a> {
        /// The znode.
        pub path: Option<Text<'a>>,
        /// [`WatcherType`](crate::watch::WatcherType) as a number.
        pub watcher_type: i32,
    }

    /// addWatch; Apache takes any path, null too.
    pub struct AddWatchRequest<'a> {
        /// The znode, existing or not.
        pub path: Option<Text<'a>>,
        /// [`AddWatchMode`](crate::watch::AddWatchMode) as a number.
        pub mode: i32,
    }

    /// setWatches; a null list, or a null in a list, ends the work on it with an error.
    pub struct SetWatches<'a> {
        /// The newest zxid the client has seen.
        pub relative_zxid: i64,
        /// One-shot data watches on znodes that existed.
        pub data: WatchPaths<'a>,
        /// One-shot watches on znodes that did not exist.
        pub exist: WatchPaths<'a>,
        /// One-shot child watches.
        pub child: WatchPaths<'a>,
    }

    /// setWatches2; as [`SetWatches`].
    pub struct SetWatches2<'a> {
        /// The newest zxid the client has seen.
        pub relative_zxid: i64,
        /// One-shot data watches on znodes that existed.
        pub data: WatchPaths<'a>,
        /// One-shot watches on znodes that did not exist.
        pub exist: WatchPaths<'a>,
        /// One-shot child watches.
        pub child: WatchPaths<'a>,
        /// Persistent watches.
        pub persistent: WatchPaths<'a>,
        /// Persistent recursive watches.
        pub persistent_recursive: WatchPaths<'a>,
    }

    /// auth.
    pub struct AuthPacket<'a> {
        /// Ignored.
        pub auth_type: i32,
        /// Scheme.
        pub scheme: Option<Text<'a>>,
        /// Credentials.
        pub auth: Option<&'a [u8]>,
    }

    /// sasl, both directions.
    pub struct SaslToken<'a> {
        /// The mechanism's bytes.
        pub token: Option<&'a [u8]>,
    }

    /// reconfig.
    pub struct ReconfigRequest<'a> {
        /// Members to add or change.
        pub joining: Option<Text<'a>>,
        /// Ids of members to remove.
        pub leaving: Option<Text<'a>>,
        /// The whole new membership, instead of the two above.
        pub new_members: Option<Text<'a>>,
        /// Expected config version, -1 for any.
        pub config_id: i64,
    }

    /// In front of every operation and result of a multi, and at its end.
    #[derive(Copy)]
    pub struct MultiHeader {
        /// The operation, -1 for an error or the end.
        pub op: i32,
        /// Whether this is the end.
        pub done: bool,
        /// Error of the operation, -1 in requests.
        pub err: i32,
    }
}

impl MultiHeader {
    /// The end of a multi, in requests and responses.
    pub const END: MultiHeader = MultiHeader { op: -1, done: true, err: -1 };
}

/// Create flags (client-protocol 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum CreateMode {
    /// 0
    Persistent,
    /// 1
    Ephemeral,
    /// 2
    PersistentSequential,
    /// 3
    EphemeralSequential,
    /// 4
    Container,
    /// 5
    PersistentWithTtl,
    /// 6
    PersistentSequentialWithTtl,
}

impl CreateMode {
    /// Every mode.
    pub const ALL: [CreateMode; 7] = [
        CreateMode::Persistent,
        CreateMode::Ephemeral,
        CreateMode::PersistentSequential,
        CreateMode::EphemeralSequential,
        CreateMode::Container,
        CreateMode::PersistentWithTtl,
        CreateMode::PersistentSequentialWithTtl,
    ];

    /// The mode of a flag; `None` for others.
    #[must_use]
    pub fn from_flags(flags: i32) -> Option<CreateMode> {
        CreateMode::ALL.get(usize::try_from(flags).ok()?).copied()
    }

    /// The flag on the wire.
    #[must_use]
    pub const fn flags(self) -> i32 {
        self as i32
    }

    /// Whether a counter is appended to the path.
    #[must_use]
    pub const fn is_sequential(self) -> bool {
        matches!(
            self,
            CreateMode::PersistentSequential
                | CreateMode::EphemeralSequential
                | CreateMode::PersistentSequentialWithTtl
        )
    }

    /// Whether the znode belongs to the session.
    #[must_use]
    pub const fn is_ephemeral(self) -> bool {
        matches!(self, CreateMode::Ephemeral | CreateMode::EphemeralSequential)
    }

    /// Whether a TTL goes with it.
    #[must_use]
    pub const fn is_ttl(self) -> bool {
        matches!(self, CreateMode::PersistentWithTtl | CreateMode::PersistentSequentialWithTtl)
    }
}

/// A create of any kind, with the opcode that asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create<'a> {
    /// create, create2, createContainer or createTTL.
    pub op: OpCode,
    /// Path, or the prefix of a sequential name.
    pub path: Text<'a>,
    /// Data, or null.
    pub data: Option<&'a [u8]>,
    /// ACL as sent.
    pub acl: AclBytes<'a>,
    /// See [`CreateMode`]; not checked yet.
    pub flags: i32,
    /// Time to live in ms; 0 with the other opcodes.
    pub ttl_ms: i64,
}

impl<'a> Create<'a> {
    fn read(op: OpCode, r: &mut Reader<'a>) -> Result<Create<'a>, DecodeError> {
        let CreateRequest { path, data, acl, flags } = CreateRequest::read(r)?;
        let ttl_ms = if op == OpCode::CreateTtl { r.i64()? } else { 0 };
        Ok(Create { op, path, data, acl, flags, ttl_ms })
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.path.write(out);
        self.data.write(out);
        self.acl.write(out);
        self.flags.write(out);
        if self.op == OpCode::CreateTtl {
            self.ttl_ms.write(out);
        }
    }
}

/// An operation inside a multi.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultiOp<'a> {
    /// A create of any kind.
    Create(Create<'a>),
    /// A delete.
    Delete(VersionedPath<'a>),
    /// A setData.
    SetData(SetDataRequest<'a>),
    /// A version check.
    Check(VersionedPath<'a>),
    /// A getData (multiRead).
    GetData(ReadOp<'a>),
    /// A getChildren (multiRead).
    GetChildren(ReadOp<'a>),
}

impl<'a> MultiOp<'a> {
    /// Its operation number.
    #[must_use]
    pub fn opcode(&self) -> OpCode {
        match self {
            MultiOp::Create(create) => create.op,
            MultiOp::Delete(_) => OpCode::Delete,
            MultiOp::SetData(_) => OpCode::SetData,
            MultiOp::Check(_) => OpCode::Check,
            MultiOp::GetData(_) => OpCode::GetData,
            MultiOp::GetChildren(_) => OpCode::GetChildren,
        }
    }

    /// Whether it belongs into a multiRead.
    #[must_use]
    pub fn is_read(&self) -> bool {
        matches!(self, MultiOp::GetData(_) | MultiOp::GetChildren(_))
    }

    fn read(op: i32, r: &mut Reader<'a>) -> Result<MultiOp<'a>, DecodeError> {
        Ok(match OpCode::from_code(op) {
            Some(
                op @ (OpCode::Create
                | OpCode::Create2
                | OpCode::CreateContainer
                | OpCode::CreateTtl),
            ) => MultiOp::Create(Create::read(op, r)?),
            Some(OpCode::Delete) => MultiOp::Delete(Jute::read(r)?),
            Some(OpCode::SetData) => MultiOp::SetData(Jute::read(r)?),
            Some(OpCode::Check) => MultiOp::Check(Jute::read(r)?),
            Some(OpCode::GetData) => MultiOp::GetData(Jute::read(r)?),
            Some(OpCode::GetChildren) => MultiOp::GetChildren(Jute::read(r)?),
            _ => {
                return Err(DecodeError::Unknown {
                    what: "operation in a multi",
                    value: op.into(),
                });
            }
        })
    }
}

/// The operations of a multi or multiRead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiRequest<'a> {
    /// In order.
    pub ops: Vec<MultiOp<'a>>,
}

impl<'a> Jute<'a> for MultiRequest<'a> {
    const MIN_LEN: usize = MultiHeader::MIN_LEN;
    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut ops = Vec::new();
        loop {
            let header = MultiHeader::read(r)?;
            if header.done {
                return Ok(MultiRequest { ops });
            }
            ops.push(MultiOp::read(header.op, r)?);
        }
    }
    fn write(&self, out: &mut Vec<u8>) {
        for op in &self.ops {
            MultiHeader { op: op.opcode().code(), done: false, err: -1 }.write(out);
            match op {
                MultiOp::Create(create) => create.write(out),
                MultiOp::Delete(body) | MultiOp::Check(body) => body.write(out),
                MultiOp::SetData(body) => body.write(out),
                MultiOp::GetData(body) | MultiOp::GetChildren(body) => body.write(out),
            }
        }
        MultiHeader::END.write(out);
    }
}

/// A client's request after its header.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is named after its operation")]
pub enum Request<'a> {
    Create(Create<'a>),
    Delete(VersionedPath<'a>),
    Exists(ReadRequest<'a>),
    GetData(ReadRequest<'a>),
    SetData(SetDataRequest<'a>),
    GetAcl(PathRequest<'a>),
    SetAcl(SetAclRequest<'a>),
    GetChildren(ReadRequest<'a>),
    GetChildren2(ReadRequest<'a>),
    Sync(SyncRequest<'a>),
    Ping,
    Multi(MultiRequest<'a>),
    MultiRead(MultiRequest<'a>),
    Reconfig(ReconfigRequest<'a>),
    CheckWatches(WatchesRequest<'a>),
    RemoveWatches(WatchesRequest<'a>),
    SetWatches(SetWatches2<'a>),
    SetWatches2(SetWatches2<'a>),
    AddWatch(AddWatchRequest<'a>),
    GetEphemerals(GetEphemeralsRequest<'a>),
    GetAllChildrenNumber(PathRequest<'a>),
    WhoAmI,
    CloseSession,
    Auth(AuthPacket<'a>),
    Sasl(SaslToken<'a>),
}

impl<'a> Request<'a> {
    /// Reads the body of a request. `Ok(None)`: clients may not send this operation.
    pub fn read(op: OpCode, r: &mut Reader<'a>) -> Result<Option<Request<'a>>, DecodeError> {
        Ok(Some(match op {
            OpCode::Create | OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                Request::Create(Create::read(op, r)?)
            }
            OpCode::Delete => Request::Delete(Jute::read(r)?),
            OpCode::Exists => Request::Exists(Jute::read(r)?),
            OpCode::GetData => Request::GetData(Jute::read(r)?),
            OpCode::SetData => Request::SetData(Jute::read(r)?),
            OpCode::GetAcl => Request::GetAcl(Jute::read(r)?),
            OpCode::SetAcl => Request::SetAcl(Jute::read(r)?),
            OpCode::GetChildren => Request::GetChildren(Jute::read(r)?),
            OpCode::GetChildren2 => Request::GetChildren2(Jute::read(r)?),
            OpCode::Sync => Request::Sync(Jute::read(r)?),
            OpCode::Ping => Request::Ping,
            OpCode::Multi => Request::Multi(Jute::read(r)?),
            OpCode::MultiRead => Request::MultiRead(Jute::read(r)?),
            OpCode::Reconfig => Request::Reconfig(Jute::read(r)?),
            OpCode::CheckWatches => Request::CheckWatches(Jute::read(r)?),
            OpCode::RemoveWatches => Request::RemoveWatches(Jute::read(r)?),
            OpCode::SetWatches => {
                let SetWatches { relative_zxid, data, exist, child } = Jute::read(r)?;
                Request::SetWatches(SetWatches2 {
                    relative_zxid,
                    data,
                    exist,
                    child,
                    persistent: Some(Vec::new()),
                    persistent_recursive: Some(Vec::new()),
                })
            }
            OpCode::SetWatches2 => Request::SetWatches2(Jute::read(r)?),
            OpCode::AddWatch => Request::AddWatch(Jute::read(r)?),
            OpCode::GetEphemerals => Request::GetEphemerals(Jute::read(r)?),
            OpCode::GetAllChildrenNumber => Request::GetAllChildrenNumber(Jute::read(r)?),
            OpCode::WhoAmI => Request::WhoAmI,
            OpCode::CloseSession => Request::CloseSession,
            OpCode::Auth => Request::Auth(Jute::read(r)?),
            OpCode::Sasl => Request::Sasl(Jute::read(r)?),
            OpCode::Check | OpCode::DeleteContainer | OpCode::CreateSession | OpCode::Error => {
                return Ok(None);
            }
        }))
    }

    /// Its operation number.
    #[must_use]
    pub fn opcode(&self) -> OpCode {
        match self {
            Request::Create(create) => create.op,
            Request::Delete(_) => OpCode::Delete,
            Request::Exists(_) => OpCode::Exists,
            Request::GetData(_) => OpCode::GetData,
            Request::SetData(_) => OpCode::SetData,
            Request::GetAcl(_) => OpCode::GetAcl,
            Request::SetAcl(_) => OpCode::SetAcl,
            Request::GetChildren(_) => OpCode::GetChildren,
            Request::GetChildren2(_) => OpCode::GetChildren2,
            Request::Sync(_) => OpCode::Sync,
            Request::Ping => OpCode::Ping,
            Request::Multi(_) => OpCode::Multi,
            Request::MultiRead(_) => OpCode::MultiRead,
            Request::Reconfig(_) => OpCode::Reconfig,
            Request::CheckWatches(_) => OpCode::CheckWatches,
            Request::RemoveWatches(_) => OpCode::RemoveWatches,
            Request::SetWatches(_) => OpCode::SetWatches,
            Request::SetWatches2(_) => OpCode::SetWatches2,
            Request::AddWatch(_) => OpCode::AddWatch,
            Request::GetEphemerals(_) => OpCode::GetEphemerals,
            Request::GetAllChildrenNumber(_) => OpCode::GetAllChildrenNumber,
            Request::WhoAmI => OpCode::WhoAmI,
            Request::CloseSession => OpCode::CloseSession,
            Request::Auth(_) => OpCode::Auth,
            Request::Sasl(_) => OpCode::Sasl,
        }
    }

    /// Appends the body (what stands behind the header).
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Request::Create(body) => body.write(out),
            Request::Delete(body) => body.write(out),
            Request::Exists(body)
            | Request::GetData(body)
            | Request::GetChildren(body)
            | Request::GetChildren2(body) => body.write(out),
            Request::SetData(body) => body.write(out),
            Request::SetAcl(body) => body.write(out),
            Request::GetAcl(body) | Request::GetAllChildrenNumber(body) => body.write(out),
            Request::Sync(body) => body.write(out),
            Request::Ping | Request::WhoAmI | Request::CloseSession => {}
            Request::Multi(body) | Request::MultiRead(body) => body.write(out),
            Request::Reconfig(body) => body.write(out),
            Request::CheckWatches(body) | Request::RemoveWatches(body) => body.write(out),
            Request::SetWatches(body) => {
                body.relative_zxid.write(out);
                body.data.write(out);
                body.exist.write(out);
                body.child.write(out);
            }
            Request::SetWatches2(body) => body.write(out),
            Request::AddWatch(body) => body.write(out),
            Request::GetEphemerals(body) => body.write(out),
            Request::Auth(body) => body.write(out),
            Request::Sasl(body) => body.write(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: Request<'_>) {
        let mut bytes = Vec::new();
        request.write(&mut bytes);
        let mut r = Reader::new(&bytes);
        assert_eq!(Request::read(request.opcode(), &mut r), Ok(Some(request.clone())));
        assert!(r.is_empty(), "{request:?}");
        for cut in 0..bytes.len() {
            let _ = Request::read(request.opcode(), &mut Reader::new(&bytes[..cut]));
        }
    }

    fn create(op: OpCode, ttl_ms: i64) -> Create<'static> {
        let path = Text::Borrowed("/a/b");
        Create { op, path, data: Some(b"x"), acl: AclBytes::OPEN, flags: 0, ttl_ms }
    }

    #[test]
    fn every_request_round_trips() {
        let path = Text::Borrowed("/a/b");
        let read = ReadRequest { path: path.clone(), watch: true };
        let read_op = ReadOp { path: None, watch: true };
        let versioned = VersionedPath { path: path.clone(), version: 3 };
        let at = PathRequest { path: path.clone() };
        let watches = WatchesRequest { path: Some(path.clone()), watcher_type: 3 };
        let set = SetDataRequest { path: path.clone(), data: None, version: -1 };
        let set_watches = SetWatches2 {
            relative_zxid: 9,
            data: Some(vec![Some(path.clone()), None]),
            exist: Some(vec![]),
            child: Some(vec![Some(path.clone())]),
            persistent: Some(vec![]),
            persistent_recursive: Some(vec![]),
        };
        for request in [
            Request::Create(create(OpCode::Create, 0)),
            Request::Create(create(OpCode::Create2, 0)),
            Request::Create(create(OpCode::CreateContainer, 0)),
            Request::Create(create(OpCode::CreateTtl, 60_000)),
            Request::Delete(versioned.clone()),
            Request::Exists(read.clone()),
            Request::GetData(read.clone()),
            Request::SetData(set.clone()),
            Request::GetAcl(at.clone()),
            Request::SetAcl(SetAclRequest { path: path.clone(), acl: AclBytes::OPEN, version: 1 }),
            Request::GetChildren(read.clone()),
            Request::GetChildren2(read.clone()),
            Request::Sync(SyncRequest { path: Some(path.clone()) }),
            Request::Ping,
            Request::Multi(MultiRequest {
                ops: vec![
                    MultiOp::Create(create(OpCode::CreateTtl, 5)),
                    MultiOp::Delete(versioned.clone()),
                    MultiOp::SetData(set),
                    MultiOp::Check(versioned),
                ],
            }),
            Request::MultiRead(MultiRequest {
                ops: vec![MultiOp::GetData(read_op.clone()), MultiOp::GetChildren(read_op)],
            }),
            Request::CheckWatches(watches.clone()),
            Request::RemoveWatches(watches),
            Request::SetWatches(set_watches.clone()),
            Request::SetWatches2(SetWatches2 {
                persistent: Some(vec![Some(path.clone())]),
                persistent_recursive: None,
                ..set_watches
            }),
            Request::AddWatch(AddWatchRequest { path: None, mode: 1 }),
            Request::GetEphemerals(GetEphemeralsRequest { prefix: None }),
            Request::GetAllChildrenNumber(at),
            Request::WhoAmI,
            Request::CloseSession,
            Request::Auth(AuthPacket { auth_type: 0, scheme: None, auth: Some(b"a:b") }),
            Request::Sasl(SaslToken { token: Some(b"") }),
            Request::Reconfig(ReconfigRequest {
                joining: None,
                leaving: Some("3".into()),
                new_members: None,
                config_id: -1,
            }),
        ] {
            check(request);
        }
    }

    #[test]
    fn a_null_path_is_read_where_apache_reads_one() {
        let null = (-1i32).to_be_bytes();
        let read = |op, tail: &[u8]| {
            let bytes = [&null[..], tail].concat();
            Request::read(op, &mut Reader::new(&bytes)).map(|request| request.is_some())
        };
        assert_eq!(read(OpCode::Sync, &[]), Ok(true));
        assert_eq!(read(OpCode::RemoveWatches, &[0, 0, 0, 3]), Ok(true));
        assert_eq!(read(OpCode::AddWatch, &[0, 0, 0, 1]), Ok(true));
        assert_eq!(read(OpCode::GetData, &[0]), Err(DecodeError::Null { at: 0 }));
    }

    #[test]
    fn internal_operations_are_not_requests() {
        for &op in OpCode::ALL {
            let refused = matches!(Request::read(op, &mut Reader::new(&[])), Ok(None));
            assert_eq!(refused, !op.is_client_request(), "{op}");
        }
    }

    #[test]
    fn a_multi_without_an_end_is_refused() {
        let bytes = MultiHeader { op: 2, done: false, err: -1 }.to_bytes();
        assert!(MultiRequest::read(&mut Reader::new(&bytes)).is_err());
        let nested = MultiHeader { op: 14, done: false, err: -1 }.to_bytes();
        assert!(MultiRequest::read(&mut Reader::new(&nested)).is_err());
    }
}
