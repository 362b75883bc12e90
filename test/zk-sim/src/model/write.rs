//! Writes: what each does to the state, and what its reply says (client-protocol 5 and 6).

use super::acl::{self, Id};
use super::state::{Owner, State, Znode, is_valid_path, parent};
use super::wire::Bytes;
use super::{code, quota};
use std::rc::Rc;
use zk_proto::request::{
    Create, MultiOp, MultiRequest, Request, SetAclRequest, SetDataRequest, VersionedPath,
};
use zk_proto::{OpCode, Reader};

/// What the rules depend on besides the state.
#[derive(Clone, Copy, Debug, Hash)]
pub struct Rules {
    /// `extendedTypesEnabled`.
    pub extended_types: bool,
    /// `enforceQuota`.
    pub enforce_quota: bool,
}

/// A change that watches may wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// 1 created, 2 deleted, 3 data changed: the event's number.
    pub kind: i32,
    /// Which znode.
    pub path: String,
    /// Its ACL when it changed.
    pub acl: Vec<acl::Entry>,
    /// Its parent's ACL then.
    pub parent_acl: Vec<acl::Entry>,
}

/// What wants to become a transaction.
#[derive(Clone, Copy, Debug)]
pub enum Wish<'a> {
    /// A client's request.
    Request(&'a Request<'a>),
    /// A client's request that fails with this error whatever the state.
    Refused(i32),
    /// A new session with this timeout in ms.
    OpenSession(i32),
    /// The end of a session.
    CloseSession,
    /// A container or TTL znode that seemed due.
    Reap(&'a str),
    /// The ensemble is to have this configuration: what that is the model does not know.
    Configure(&'a str),
}

/// Who wants it, and when.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The session.
    pub session: i64,
    /// The connection's identities.
    pub ids: &'a [Id],
    /// The zxid it gets.
    pub zxid: i64,
    /// Wall clock in ms.
    pub time: i64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Step {
    /// Everything afterwards.
    pub after: Rc<State>,
    /// The reply's body, or its error.
    pub reply: Result<Vec<u8>, i32>,
    /// For watches, in order; the order inside a closeSession means nothing.
    pub changes: Vec<Change>,
}

/// Carries a wish out on the state before it, by which its quotas are judged too.
#[must_use]
pub fn perform(before: &Rc<State>, rules: Rules, asker: Asker<'_>, wish: Wish<'_>) -> Step {
    let mut draft = Draft { state: (**before).clone(), changes: Vec::new(), before, rules, asker };
    match draft.wish(wish) {
        Ok(body) => Step { after: Rc::new(draft.state), reply: Ok(body), changes: draft.changes },
        Err(error) => Step { after: before.clone(), reply: Err(error), changes: Vec::new() },
    }
}

/// What a write with a null path fails with, given what stands behind its header; `None` if it
/// counts as one that cannot be read. Flags come before the path, the end of the record before the
/// flags (5.1).
#[must_use]
pub fn without_path(rules: Rules, op: OpCode, body: &[u8]) -> Option<i32> {
    let with_empty_path = [&[0; 4], body.strip_prefix(&[0xff; 4])?].concat();
    match Request::read(op, &mut Reader::new(&with_empty_path)).ok()?? {
        Request::Create(body) => owner(rules, 0, &body, op).err(),
        Request::SetData(_) | Request::SetAcl(_) => Some(code::BAD_ARGUMENTS),
        _ => None,
    }
}

/// What a new znode lives by, by flags and operation (3.1 and 5.1).
fn owner(rules: Rules, session: i64, request: &Create<'_>, op: OpCode) -> Result<Owner, i32> {
    let is_ttl = match request.flags {
        0..=4 => false,
        5 | 6 if !rules.extended_types => return Err(code::UNIMPLEMENTED),
        5 | 6 => true,
        _ => return Err(code::BAD_ARGUMENTS),
    };
    match op {
        OpCode::CreateTtl if is_ttl && (1..=0xff_ffff_ffff).contains(&request.ttl_ms) => {
            Ok(Owner::Ttl(request.ttl_ms))
        }
        OpCode::CreateTtl => Err(code::BAD_ARGUMENTS),
        _ if is_ttl => Err(code::BAD_ARGUMENTS),
        OpCode::CreateContainer => Ok(Owner::Container),
        _ if matches!(request.flags, 1 | 3) => Ok(Owner::Session(session)),
        _ => Ok(Owner::Nobody),
    }
}

struct Draft<'a> {
    state: State,
    changes: Vec<Change>,
    before: &'a State,
    rules: Rules,
    asker: Asker<'a>,
}

/// The result of one operation: its type inside a multi, and its body.
type Done = (OpCode, Vec<u8>);

impl Draft<'_> {
    fn wish(&mut self, wish: Wish<'_>) -> Result<Vec<u8>, i32> {
        let session = self.asker.session;
        match wish {
            Wish::OpenSession(timeout_ms) => {
                self.state.sessions.insert(session, timeout_ms);
                Ok(Vec::new())
            }
            Wish::CloseSession => {
                self.state.sessions.remove(&session);
                for path in self.state.ephemerals(session) {
                    self.remove(&path);
                }
                Ok(Vec::new())
            }
            Wish::Reap(path) => self.reap(path).map(|()| Vec::new()),
            Wish::Request(_) | Wish::Refused(_) | Wish::Configure(_)
                if !self.state.sessions.contains_key(&session) =>
            {
                Err(code::SESSION_EXPIRED)
            }
            Wish::Refused(error) => Err(error),
            Wish::Configure(text) => self.configure(text),
            Wish::Request(Request::Multi(multi)) => Ok(self.multi(multi)),
            Wish::Request(request) => {
                let (_, body) = match request {
                    Request::Create(body) => self.create(body, body.op)?,
                    Request::Delete(body) => self.delete(body)?,
                    Request::SetData(body) => self.set_data(body)?,
                    Request::SetAcl(body) => self.set_acl(body)?,
                    Request::Reconfig(_) => return Err(code::RECONFIG_DISABLED),
                    _ => return Err(code::UNIMPLEMENTED),
                };
                Ok(body)
            }
        }
    }

    /// Apache sets the version of the data to that which the txn asks for, which is any.
    fn configure(&mut self, text: &str) -> Result<Vec<u8>, i32> {
        const PATH: &str = "/zookeeper/config";
        let Asker { zxid, time, ids, .. } = self.asker;
        let node = self.state.node_mut(PATH).ok_or(code::NO_NODE)?;
        acl::check(&node.acl, acl::WRITE, ids)?;
        (node.data, node.version) = (Some(text.as_bytes().to_vec()), -1);
        (node.mzxid, node.mtime) = (zxid, time);
        let acl = node.acl.clone();
        self.changes.push(Change { kind: 3, path: PATH.into(), acl, parent_acl: Vec::new() });
        let stat = self.state.stat(PATH).ok_or(code::NO_NODE)?;
        Ok(Bytes::default().buffer(Some(text.as_bytes())).stat(&stat).0)
    }

    /// All or nothing; a failure is told inside of a reply without an error.
    fn multi(&mut self, request: &MultiRequest<'_>) -> Vec<u8> {
        let before = self.state.clone();
        let mut results = Bytes::default();
        for (at, op) in request.ops.iter().enumerate() {
            let done = match op {
                MultiOp::Create(c) if c.op == OpCode::Create && c.flags == 4 => {
                    self.create(c, OpCode::CreateContainer)
                }
                MultiOp::Create(body) => self.create(body, body.op),
                MultiOp::Delete(body) => self.delete(body),
                MultiOp::SetData(body) => self.set_data(body),
                MultiOp::Check(body) => self.check(body),
                MultiOp::GetData(_) | MultiOp::GetChildren(_) => Err(code::MARSHALLING),
            };
            match done {
                Ok((op, body)) => results = results.result(op.code(), 0).raw(&body),
                Err(error) => {
                    self.state = before;
                    self.changes.clear();
                    return failed_multi(at, error, request.ops.len());
                }
            }
        }
        results.results_end().0
    }

    fn create(&mut self, request: &Create<'_>, op: OpCode) -> Result<Done, i32> {
        let owner = owner(self.rules, self.asker.session, request, op)?;
        let sequential = matches!(request.flags, 2 | 3 | 6);
        let above = parent(&request.path).ok_or(code::BAD_ARGUMENTS)?.to_string();
        if request.path.contains('\0') {
            return Err(code::BAD_ARGUMENTS);
        }
        let acl = acl::fix_up(&acl::decode(request.acl), self.asker.ids)?;
        let above_node = self.state.node(&above).ok_or(code::NO_NODE)?;
        acl::check(&above_node.acl, acl::CREATE, self.asker.ids)?;
        let mut path = request.path.to_string();
        if sequential {
            path += &format!("{:010}", above_node.children_created);
        }
        if !is_valid_path(&path) {
            return Err(code::BAD_ARGUMENTS);
        }
        if self.state.node(&path).is_some() {
            return Err(code::NODE_EXISTS);
        }
        if matches!(above_node.owner, Owner::Session(_)) {
            return Err(code::NO_CHILDREN_FOR_EPHEMERALS);
        }
        let data = request.data.map(<[u8]>::to_vec);
        let length = data.as_ref().map_or(0, Vec::len) as i64;
        if self.rules.enforce_quota {
            quota::check(self.before, &path, 1, length)?;
        }
        self.add(&path, &above, data, acl, owner);
        let stat = self.state.stat(&path).ok_or(code::NO_NODE)?;
        quota::count(&mut self.state, &path, 1, length);
        quota::created(&mut self.state, &path);
        let body = Bytes::default().string(&path);
        Ok(match op {
            OpCode::Create => (OpCode::Create, body.0),
            _ => (OpCode::Create2, body.stat(&stat).0),
        })
    }

    fn add(
        &mut self,
        path: &str,
        above: &str,
        data: Option<Vec<u8>>,
        acl: Vec<acl::Entry>,
        owner: Owner,
    ) {
        let Asker { zxid, time, .. } = self.asker;
        let mut parent_acl = Vec::new();
        if let Some(above) = self.state.node_mut(above) {
            above.children_created = above.children_created.wrapping_add(1);
            above.pzxid = zxid;
            parent_acl = above.acl.clone();
        }
        self.changes.push(Change { kind: 1, path: path.into(), acl: acl.clone(), parent_acl });
        let node = Znode {
            data,
            acl,
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: time,
            mtime: time,
            version: 0,
            children_created: 0,
            aversion: 0,
            owner,
        };
        self.state.nodes.insert(path.into(), Rc::new(node));
    }

    fn delete(&mut self, request: &VersionedPath<'_>) -> Result<Done, i32> {
        let path = &*request.path;
        let special = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];
        let above = parent(path).ok_or(code::BAD_ARGUMENTS)?;
        if path.contains('\0') || special.contains(&path) {
            return Err(code::BAD_ARGUMENTS);
        }
        let above = self.state.node(above).ok_or(code::NO_NODE)?;
        acl::check(&above.acl, acl::DELETE, self.asker.ids)?;
        let node = self.state.node(path).ok_or(code::NO_NODE)?;
        check_version(node.version, request.version)?;
        if !self.state.children(path).is_empty() {
            return Err(code::NOT_EMPTY);
        }
        self.remove(path);
        Ok((OpCode::Delete, Vec::new()))
    }

    fn remove(&mut self, path: &str) {
        let Some(node) = self.state.nodes.remove(path) else { return };
        let mut parent_acl = Vec::new();
        if let Some(above) = parent(path).and_then(|above| self.state.node_mut(above)) {
            above.pzxid = self.asker.zxid;
            parent_acl = above.acl.clone();
        }
        quota::count(&mut self.state, path, -1, -(node.data_len() as i64));
        let acl = node.acl.clone();
        self.changes.push(Change { kind: 2, path: path.into(), acl, parent_acl });
    }

    fn set_data(&mut self, request: &SetDataRequest<'_>) -> Result<Done, i32> {
        let path = &*request.path;
        if !is_valid_path(path) {
            return Err(code::BAD_ARGUMENTS);
        }
        let node = self.state.node(path).ok_or(code::NO_NODE)?;
        acl::check(&node.acl, acl::WRITE, self.asker.ids)?;
        let more = request.data.map_or(0, <[u8]>::len) as i64 - node.data_len() as i64;
        if self.rules.enforce_quota {
            quota::check(self.before, path, 0, more)?;
        }
        check_version(node.version, request.version)?;
        let Asker { zxid, time, .. } = self.asker;
        if let Some(node) = self.state.node_mut(path) {
            node.data = request.data.map(<[u8]>::to_vec);
            node.version = node.version.wrapping_add(1);
            (node.mzxid, node.mtime) = (zxid, time);
            let acl = node.acl.clone();
            self.changes.push(Change { kind: 3, path: path.into(), acl, parent_acl: Vec::new() });
        }
        quota::count(&mut self.state, path, 0, more);
        let stat = self.state.stat(path).ok_or(code::NO_NODE)?;
        Ok((OpCode::SetData, Bytes::default().stat(&stat).0))
    }

    fn set_acl(&mut self, request: &SetAclRequest<'_>) -> Result<Done, i32> {
        let path = &*request.path;
        if !is_valid_path(path) {
            return Err(code::BAD_ARGUMENTS);
        }
        let fixed = acl::fix_up(&acl::decode(request.acl), self.asker.ids)?;
        let node = self.state.node_mut(path).ok_or(code::NO_NODE)?;
        acl::check(&node.acl, acl::ADMIN, self.asker.ids)?;
        check_version(node.aversion, request.version)?;
        node.aversion = node.aversion.wrapping_add(1);
        node.acl = fixed;
        let stat = self.state.stat(path).ok_or(code::NO_NODE)?;
        Ok((OpCode::SetAcl, Bytes::default().stat(&stat).0))
    }

    fn check(&mut self, request: &VersionedPath<'_>) -> Result<Done, i32> {
        if !is_valid_path(&request.path) {
            return Err(code::BAD_ARGUMENTS);
        }
        let node = self.state.node(&request.path).ok_or(code::NO_NODE)?;
        acl::check(&node.acl, acl::READ, self.asker.ids)?;
        check_version(node.version, request.version)?;
        Ok((OpCode::Check, Vec::new()))
    }

    /// Only what is childless and really due goes (7.6); a container must have been used.
    fn reap(&mut self, path: &str) -> Result<(), i32> {
        let node = self.state.node(path).ok_or(code::NO_NODE)?;
        if !self.state.children(path).is_empty() {
            return Err(code::NOT_EMPTY);
        }
        let due = match node.owner {
            Owner::Container => node.children_created > 0,
            Owner::Ttl(ttl) => self.asker.time - node.mtime > ttl,
            Owner::Nobody | Owner::Session(_) => false,
        };
        if !due {
            return Err(code::BAD_VERSION);
        }
        self.remove(path);
        Ok(())
    }
}

fn check_version(actual: i32, expected: i32) -> Result<(), i32> {
    if expected == -1 || expected == actual { Ok(()) } else { Err(code::BAD_VERSION) }
}

fn failed_multi(at: usize, error: i32, ops: usize) -> Vec<u8> {
    let told = |op: usize| match op.cmp(&at) {
        std::cmp::Ordering::Less => 0,
        std::cmp::Ordering::Equal => error,
        std::cmp::Ordering::Greater => code::RUNTIME_INCONSISTENCY,
    };
    let put = |bytes: Bytes, op: usize| bytes.result(-1, told(op)).int(told(op));
    (0..ops).fold(Bytes::default(), put).results_end().0
}
