//! Requests that change nothing (client-protocol 9, 6.4, 10.5 to 10.7).
//!
//! They need the tree as it is, not the pipeline. A driver may answer them on any number of
//! threads while nothing else of the same connection is under way. The answer must be in the
//! connection's output before the tree changes again: a watch that a read leaves must not fire in
//! front of the read's own answer.

use crate::commit::put_notification;
use zk_proto::request::{
    AddWatchRequest, GetEphemeralsRequest, MultiHeader, MultiOp, MultiRequest, PathRequest, ReadOp,
    ReadRequest, Request, RequestHeader, SetWatches2, WatchPaths, WatchesRequest,
};
use zk_proto::response::{ClientInfo, MultiResult, ReplyHeader};
use zk_proto::watch::{AddWatchMode, EventType, WatcherType};
use zk_proto::{ErrorCode, Jute, Limits, OpCode, Perms, SessionId, Text, Xid};
use zk_tree::auth::{self, AuthOptions, Identity, Verdicts};
use zk_tree::{ConnId, NodeRef, Tree, Watches};

/// How to get at the watches: only requests that leave or look for one do.
pub trait WatchAccess {
    /// Runs `f` on the watches, alone.
    fn with<R>(&mut self, f: impl FnOnce(&mut Watches) -> R) -> R;
}

impl WatchAccess for Watches {
    fn with<R>(&mut self, f: impl FnOnce(&mut Watches) -> R) -> R {
        f(self)
    }
}

/// Answers the requests of one connection that change nothing.
pub struct Reader<'a, W> {
    /// The tree; it does not change while this lives.
    pub tree: &'a Tree,
    /// The watches.
    pub watches: &'a mut W,
    /// ACL schemes.
    pub auth: &'a AuthOptions,
    /// Who asks.
    pub conn: ConnId,
    /// Its session.
    pub session: SessionId,
    /// Its identities.
    pub identities: &'a [Identity],
    /// Bounds of what is in a request.
    pub limits: Limits,
    /// The most bytes that the answer to a multiRead may have.
    pub max_response_bytes: usize,
    /// The most bytes that any other answer may have.
    pub max_answer_bytes: usize,
}

/// How an answer ends: with its body in place, or with an error.
type Outcome = Result<(), Failure>;

/// The error of an answer.
struct Failure {
    code: ErrorCode,
    /// A multiRead that breaks off shows what it has (Apache's `FinalRequestProcessor` has made
    /// the response by then).
    keeps_body: bool,
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Failure {
        Failure { code, keeps_body: false }
    }
}

/// Whether a frame is a read that may look at any number of znodes, whatever its answer's size: a
/// turn ends with it, so that nobody waits for many of them.
#[must_use]
pub fn visits_many(frame: &[u8]) -> bool {
    let op = frame.get(4..8).and_then(|op| op.first_chunk::<4>());
    matches!(
        op.and_then(|op| OpCode::from_code(i32::from_be_bytes(*op))),
        Some(
            OpCode::GetAllChildrenNumber
                | OpCode::GetEphemerals
                | OpCode::MultiRead
                | OpCode::SetWatches
                | OpCode::SetWatches2
        )
    )
}

impl<W: WatchAccess> Reader<'_, W> {
    /// Appends the frames that answer a request, given without its length: catch-up events, then
    /// the reply. Returns the number of events.
    pub fn answer(&mut self, frame: &[u8], out: &mut Vec<u8>) -> usize {
        let mut r = zk_proto::Reader::with_limits(frame, self.limits);
        let Ok(header) = RequestHeader::read(&mut r) else { return 0 };
        let request = OpCode::from_code(header.op)
            .ok_or(ErrorCode::Unimplemented)
            .and_then(|op| Request::read(op, &mut r).map_err(|_| ErrorCode::MarshallingError));
        let (mut events, mut restored) = (0, Ok(()));
        if let Ok(Some(Request::SetWatches(body) | Request::SetWatches2(body))) = &request {
            restored = self.set_watches(body, out, &mut events);
        }
        let zxid = self.tree.last_zxid().0;
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        // Whatever xid a ping came with, its answer has the one of pings, as Apache's has.
        let is_ping = matches!(request, Ok(Some(Request::Ping)));
        let xid = if is_ping { Xid::PING.0 } else { header.xid };
        ReplyHeader::new(xid, zxid, ErrorCode::Ok).write(out);
        let body_at = out.len();
        let outcome = match request {
            Ok(Some(request)) => restored.and_then(|()| self.body(&request, out)),
            Ok(None) => Err(ErrorCode::Unimplemented.into()),
            Err(code) => Err(code.into()),
        };
        if let Err(Failure { code, keeps_body }) = outcome {
            if !keeps_body {
                out.truncate(body_at);
            }
            out[body_at - 4..body_at].copy_from_slice(&code.code().to_be_bytes());
        }
        let length = (out.len() - start - 4) as i32;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        events
    }

    fn body(&mut self, request: &Request<'_>, out: &mut Vec<u8>) -> Outcome {
        match request {
            Request::GetData(body) => self.get_data(body, out),
            Request::Exists(body) => self.exists(body, out),
            Request::GetChildren(body) => self.get_children(body, false, out),
            Request::GetChildren2(body) => self.get_children(body, true, out),
            Request::GetAcl(body) => self.get_acl(body, out),
            Request::GetAllChildrenNumber(body) => self.count_descendants(body, out),
            Request::GetEphemerals(body) => self.get_ephemerals(body, out),
            Request::Sync(body) => {
                body.path.write(out);
                Ok(())
            }
            Request::MultiRead(body) => self.multi_read(body, out),
            Request::CheckWatches(body) => self.find_watches(body, false),
            Request::RemoveWatches(body) => self.find_watches(body, true),
            Request::AddWatch(body) => self.add_watch(body, out),
            Request::WhoAmI => {
                self.who_am_i(out);
                Ok(())
            }
            Request::Ping | Request::SetWatches(_) | Request::SetWatches2(_) => Ok(()),
            _ => Err(ErrorCode::Unimplemented.into()),
        }
    }

    fn node(&self, path: &str) -> Result<NodeRef<'_>, ErrorCode> {
        self.tree.get(path).ok_or(ErrorCode::NoNode)
    }

    /// A znode that the connection may do one of `wanted` with.
    fn allowed(&self, path: &str, wanted: Perms) -> Result<NodeRef<'_>, ErrorCode> {
        let node = self.node(path)?;
        self.rights().may(node, wanted)?;
        Ok(node)
    }

    fn rights(&self) -> Rights<'_> {
        Rights { auth: self.auth, identities: self.identities, verdicts: Verdicts::default() }
    }

    fn get_data(&mut self, request: &ReadRequest<'_>, out: &mut Vec<u8>) -> Outcome {
        let node = self.allowed(&request.path, Perms::READ)?;
        zk_proto::jute::put_buffer(out, node.data());
        node.stat().write(out);
        if request.watch {
            self.watches.with(|watches| watches.add_data(&request.path, self.conn));
        }
        Ok(())
    }

    fn exists(&mut self, request: &ReadRequest<'_>, out: &mut Vec<u8>) -> Outcome {
        if request.path.contains('\0') {
            return Err(ErrorCode::BadArguments.into());
        }
        let outcome = match self.allowed(&request.path, Perms::READ) {
            Ok(node) => {
                node.stat().write(out);
                Ok(())
            }
            Err(ErrorCode::NoAuth) => return Err(ErrorCode::NoAuth.into()),
            Err(code) => Err(code.into()),
        };
        if request.watch {
            self.watches.with(|watches| watches.add_data(&request.path, self.conn));
        }
        outcome
    }

    fn get_children(
        &mut self,
        request: &ReadRequest<'_>,
        with_stat: bool,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let node = self.allowed(&request.path, Perms::READ)?;
        put_children(node, self.max_answer_bytes, out)?;
        if with_stat {
            node.stat().write(out);
        }
        if request.watch {
            self.watches.with(|watches| watches.add_child(&request.path, self.conn));
        }
        Ok(())
    }

    fn get_acl(&self, request: &PathRequest<'_>, out: &mut Vec<u8>) -> Outcome {
        let node = self.allowed(&request.path, Perms::READ.union(Perms::ADMIN))?;
        if self.auth.allows(node.acl(), Perms::ADMIN, self.identities).is_ok() {
            out.extend_from_slice(node.acl());
        } else {
            out.extend_from_slice(&auth::mask_digests(node.acl()));
        }
        node.stat().write(out);
        Ok(())
    }

    fn count_descendants(&self, request: &PathRequest<'_>, out: &mut Vec<u8>) -> Outcome {
        let node = self.allowed(&request.path, Perms::READ)?;
        // Under its other name, the root counts itself: Apache compares paths as text there.
        let count = match &*request.path {
            "/" => self.tree.node_count() as u64 - 1,
            "" => self.tree.node_count() as u64,
            _ => node.descendants(),
        };
        i32::try_from(count).unwrap_or(i32::MAX).write(out);
        Ok(())
    }

    fn get_ephemerals(&self, request: &GetEphemeralsRequest<'_>, out: &mut Vec<u8>) -> Outcome {
        let prefix = request.prefix.as_deref().unwrap_or_default();
        let all = prefix.trim().is_empty() || prefix == "/";
        let paths = self.tree.ephemerals_of(self.session);
        let paths = paths.filter(|path| all || path.starts_with(prefix));
        let (at, mut count) = (out.len(), 0i32);
        count.write(out);
        for path in paths {
            zk_proto::jute::put_text(out, &path);
            if out.len() - at > self.max_answer_bytes {
                return Err(ErrorCode::BadArguments.into());
            }
            count += 1;
        }
        out[at..at + 4].copy_from_slice(&count.to_be_bytes());
        Ok(())
    }

    /// The first write, or a null path, ends it behind the results so far. Writes behind a read
    /// cannot be read at all.
    fn multi_read(&self, request: &MultiRequest<'_>, out: &mut Vec<u8>) -> Outcome {
        let reads = request.ops.iter().filter(|op| op.is_read()).count();
        if reads > 0 && reads < request.ops.len() {
            return Err(ErrorCode::MarshallingError.into());
        }
        let start = out.len();
        let mut rights = self.rights();
        let mut allowed = |path: &str| -> Result<_, ErrorCode> {
            let node = self.node(path)?;
            rights.may(node, Perms::READ)?;
            Ok(node)
        };
        for op in &request.ops {
            let at = out.len();
            let result = match op {
                MultiOp::GetData(ReadOp { path: Some(path), .. }) => allowed(path).map(|node| {
                    MultiResult::GetData(node.data(), node.stat()).write(out);
                }),
                MultiOp::GetChildren(ReadOp { path: Some(path), .. }) => match allowed(path) {
                    Ok(node) => {
                        let op = OpCode::GetChildren.code();
                        MultiHeader { op, done: false, err: 0 }.write(out);
                        put_children(node, self.max_response_bytes, out)?;
                        Ok(())
                    }
                    Err(code) => Err(code),
                },
                _ => {
                    MultiHeader::END.write(out);
                    return Err(Failure { code: ErrorCode::MarshallingError, keeps_body: true });
                }
            };
            if let Err(code) = result {
                MultiResult::Error(code.code()).write(out);
            }
            // One small request must not cost any amount of memory (RELIABILITY T11).
            if out.len() - start > self.max_response_bytes {
                out.truncate(at);
                return Err(ErrorCode::BadArguments.into());
            }
        }
        MultiHeader::END.write(out);
        Ok(())
    }

    fn find_watches(&mut self, request: &WatchesRequest<'_>, remove: bool) -> Outcome {
        let which =
            WatcherType::from_code(request.watcher_type).ok_or(ErrorCode::MarshallingError)?;
        let conn = self.conn;
        // Nobody watches a null path.
        let found = request.path.as_deref().is_some_and(|path| {
            self.watches.with(|watches| match remove {
                true => watches.remove(path, conn, which),
                false => watches.contains(path, conn, which),
            })
        });
        if found { Ok(()) } else { Err(ErrorCode::NoWatcher.into()) }
    }

    fn add_watch(&mut self, request: &AddWatchRequest<'_>, out: &mut Vec<u8>) -> Outcome {
        let mode = AddWatchMode::from_code(request.mode).ok_or(ErrorCode::MarshallingError)?;
        // No znode has a null path: nobody will ever be told.
        if let Some(path) = &request.path {
            let conn = self.conn;
            self.watches.with(|watches| watches.add_persistent(path, conn, mode));
        }
        0i32.write(out);
        Ok(())
    }

    fn who_am_i(&self, out: &mut Vec<u8>) {
        let infos: Vec<ClientInfo<'_>> = self
            .identities
            .iter()
            .map(|identity| ClientInfo {
                auth_scheme: Text::Borrowed(&*identity.scheme),
                user: Text::Borrowed(identity.user()),
            })
            .collect();
        infos.write(out);
    }

    /// Restores watches after a reconnect; what changed since `relative_zxid` is told at once. A
    /// null list ends it, and so does a null path in one of the first three.
    fn set_watches(
        &mut self,
        request: &SetWatches2<'_>,
        out: &mut Vec<u8>,
        events: &mut usize,
    ) -> Outcome {
        let (tree, conn, since) = (self.tree, self.conn, request.relative_zxid);
        let (auth, identities) = (self.auth, self.identities);
        let mut rights = Rights { auth, identities, verdicts: Verdicts::default() };
        // As for events of the moment: nothing is told of what the client may not read. Apache
        // tells it here.
        let mut may_tell = |node: NodeRef<'_>| rights.may(node, Perms::READ).is_ok();
        let mut tell = |event: EventType, path: &str| {
            *events += 1;
            zk_proto::jute::put_frame(out, |out| put_notification(out, -1, event, path));
        };
        self.watches.with(|watches| {
            for path in whole(&request.data)? {
                let path = path.as_deref().ok_or(ErrorCode::MarshallingError)?;
                match tree.get(path) {
                    None => tell(EventType::NodeDeleted, path),
                    Some(node) if node.stat().mzxid > since && may_tell(node) => {
                        tell(EventType::NodeDataChanged, path)
                    }
                    Some(_) => watches.add_data(path, conn),
                }
            }
            for path in whole(&request.exist)? {
                let path = path.as_deref().ok_or(ErrorCode::MarshallingError)?;
                match tree.get(path) {
                    Some(node) if may_tell(node) => tell(EventType::NodeCreated, path),
                    _ => watches.add_data(path, conn),
                }
            }
            for path in whole(&request.child)? {
                let path = path.as_deref().ok_or(ErrorCode::MarshallingError)?;
                match tree.get(path) {
                    None => tell(EventType::NodeDeleted, path),
                    Some(node) if node.stat().pzxid > since && may_tell(node) => {
                        tell(EventType::NodeChildrenChanged, path)
                    }
                    Some(_) => watches.add_child(path, conn),
                }
            }
            for path in whole(&request.persistent)?.iter().flatten() {
                watches.add_persistent(path, conn, AddWatchMode::Persistent);
            }
            for path in whole(&request.persistent_recursive)?.iter().flatten() {
                watches.add_persistent(path, conn, AddWatchMode::PersistentRecursive);
            }
            Ok(())
        })
    }
}

/// What a client may do, for the time of one request.
struct Rights<'a> {
    auth: &'a AuthOptions,
    identities: &'a [Identity],
    verdicts: Verdicts,
}

impl Rights<'_> {
    /// Whether one of `wanted` may be done with a znode.
    fn may(&mut self, node: NodeRef<'_>, wanted: Perms) -> Result<(), ErrorCode> {
        match node.is_open() {
            true => Ok(()),
            false => self.verdicts.allows(self.auth, node.acl(), wanted, self.identities),
        }
    }
}

/// A list of setWatches that is there.
fn whole<'l, 'a>(list: &'l WatchPaths<'a>) -> Result<&'l [Option<Text<'a>>], ErrorCode> {
    list.as_deref().ok_or(ErrorCode::MarshallingError)
}

/// Count and names, without a list in between; an error when they have more than `most` bytes: one
/// small request must not cost any amount of memory (RELIABILITY T11).
fn put_children(node: NodeRef<'_>, most: usize, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
    let start = out.len();
    node.num_children().write(out);
    for child in node.children() {
        zk_proto::jute::put_buffer(out, Some(child.name()));
        if out.len() - start > most {
            return Err(ErrorCode::BadArguments);
        }
    }
    Ok(())
}
