//! Reads: the reply at one state (client-protocol 9, 6.4, 10.5 to 10.7).

use super::acl::{self, Id};
use super::code;
use super::state::{State, Znode};
use super::watch::{Event, Registry, Table};
use super::wire::Bytes;
use zk_proto::request::{MultiOp, ReadOp, ReadRequest, Request};
use zk_proto::response::{ClientInfo, MultiResponse, MultiResult, WhoAmIResponse};
use zk_proto::{Jute, OpCode};

/// A reply: error and body.
pub type Reply = (i32, Vec<u8>);

/// Who reads what.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// The state that is read.
    pub state: &'a State,
    /// The session.
    pub session: i64,
    /// The identities that the connection had when the request was read.
    pub ids: &'a [Id],
    /// The longest answer to a multiRead in bytes.
    pub max_response_bytes: usize,
}

/// The reply to a request that changes nothing, and the catch-up events in front of it.
pub fn answer(
    look: Look<'_>,
    watches: &mut Registry,
    request: &Request<'_>,
) -> (Vec<Event>, Reply) {
    let mut missed = Vec::new();
    let body = match request {
        Request::SetWatches(body) | Request::SetWatches2(body) => {
            let restored = watches.restore(look.state, look.ids, body, &mut missed);
            restored.map(|()| Bytes::default())
        }
        Request::Ping => Ok(Bytes::default()),
        Request::Sync(body) => Ok(Bytes::default().buffer(body.path.as_deref().map(str::as_bytes))),
        Request::Exists(body) => look.exists(body, watches),
        Request::GetData(body) => look.get_data(&body.path, body.watch, watches),
        Request::GetChildren(body) => look.get_children(&body.path, body.watch, false, watches),
        Request::GetChildren2(body) => look.get_children(&body.path, body.watch, true, watches),
        Request::GetAcl(body) => look.get_acl(&body.path),
        Request::GetAllChildrenNumber(body) => look.count_descendants(&body.path),
        Request::GetEphemerals(body) => Ok(look.get_ephemerals(body.prefix.as_deref())),
        Request::WhoAmI => Ok(look.who_am_i()),
        Request::MultiRead(body) => return (missed, look.multi_read(&body.ops)),
        Request::CheckWatches(body) => {
            found(watches.find(body.path.as_deref(), body.watcher_type, false))
        }
        Request::RemoveWatches(body) => {
            found(watches.find(body.path.as_deref(), body.watcher_type, true))
        }
        Request::AddWatch(body) if matches!(body.mode, 0 | 1) => {
            if let Some(path) = &body.path {
                watches.add_persistent(path, body.mode == 1);
            }
            Ok(Bytes::default().int(0))
        }
        Request::AddWatch(_) => Err(code::MARSHALLING),
        _ => Err(code::UNIMPLEMENTED),
    };
    match body {
        Ok(body) => (missed, (0, body.0)),
        Err(error) => (missed, (error, Vec::new())),
    }
}

fn found(found: Option<bool>) -> Result<Bytes, i32> {
    match found {
        None => Err(code::MARSHALLING),
        Some(false) => Err(code::NO_WATCHER),
        Some(true) => Ok(Bytes::default()),
    }
}

impl<'a> Look<'a> {
    /// The znode, if it may be used so.
    fn may(self, path: &str, wanted: i32) -> Result<&'a Znode, i32> {
        let node = self.state.node(path).ok_or(code::NO_NODE)?;
        acl::check(&node.acl, wanted, self.ids).map(|()| node)
    }

    fn with_stat(self, bytes: Bytes, path: &str) -> Bytes {
        self.state.stat(path).map_or(Bytes::default(), |stat| bytes.stat(&stat))
    }

    fn exists(self, request: &ReadRequest<'_>, watches: &mut Registry) -> Result<Bytes, i32> {
        if request.path.contains('\0') {
            return Err(code::BAD_ARGUMENTS);
        }
        let node = self.may(&request.path, acl::READ);
        if request.watch && node != Err(code::NO_AUTH) {
            watches.add(&request.path, Table::Data);
        }
        node.map(|_| self.with_stat(Bytes::default(), &request.path))
    }

    fn get_data(self, path: &str, watch: bool, watches: &mut Registry) -> Result<Bytes, i32> {
        let node = self.may(path, acl::READ)?;
        if watch {
            watches.add(path, Table::Data);
        }
        Ok(self.with_stat(Bytes::default().buffer(node.data.as_deref()), path))
    }

    fn get_children(
        self,
        path: &str,
        watch: bool,
        with_stat: bool,
        watches: &mut Registry,
    ) -> Result<Bytes, i32> {
        self.may(path, acl::READ)?;
        if watch {
            watches.add(path, Table::Child);
        }
        let names = Bytes::default().strings(self.state.children(path));
        Ok(if with_stat { self.with_stat(names, path) } else { names })
    }

    fn get_acl(self, path: &str) -> Result<Bytes, i32> {
        let node = self.may(path, acl::READ | acl::ADMIN)?;
        let list = match acl::check(&node.acl, acl::ADMIN, self.ids) {
            Ok(()) => acl::encode(&node.acl),
            Err(_) => acl::encode(&acl::masked(&node.acl)),
        };
        Ok(self.with_stat(Bytes::default().raw(&list), path))
    }

    fn get_ephemerals(self, prefix: Option<&str>) -> Bytes {
        let mut paths = self.state.ephemerals(self.session);
        let prefix = prefix.unwrap_or_default();
        if !prefix.trim().is_empty() && prefix != "/" {
            paths.retain(|path| path.starts_with(prefix));
        }
        Bytes::default().strings(paths)
    }

    fn who_am_i(self) -> Bytes {
        let user = |(scheme, id): &Id| match scheme.as_str() {
            "digest" => id.split(':').next().unwrap_or_default().to_string(),
            "super" => String::new(),
            _ => id.clone(),
        };
        let mut infos: Vec<_> = self.ids.iter().map(|id| (id.0.clone(), user(id))).collect();
        infos.sort_unstable();
        let bytes = Bytes::default().int(infos.len() as i32);
        infos.iter().fold(bytes, |bytes, (scheme, user)| bytes.string(scheme).string(user))
    }

    /// Under its other name the root counts itself.
    fn count_descendants(self, path: &str) -> Result<Bytes, i32> {
        self.may(path, acl::READ)?;
        let count = self.state.descendants(path).len() + usize::from(path.is_empty());
        Ok(Bytes::default().int(count as i32))
    }

    /// Each read stands alone. The first write, or a null path, ends them with an error behind the
    /// results so far; reads and writes together cannot be read at all.
    fn multi_read(self, ops: &[MultiOp<'_>]) -> Reply {
        let is_read =
            |op: &MultiOp<'_>| matches!(op, MultiOp::GetData(_) | MultiOp::GetChildren(_));
        if ops.iter().any(is_read) && !ops.iter().all(is_read) {
            return (code::MARSHALLING, Vec::new());
        }
        let mut results = Bytes::default();
        let mut nowhere = Registry::default();
        for op in ops {
            let kind = op.opcode();
            let result = match op {
                MultiOp::GetData(ReadOp { path: Some(path), .. }) => {
                    self.get_data(path, false, &mut nowhere)
                }
                MultiOp::GetChildren(ReadOp { path: Some(path), .. }) => {
                    self.get_children(path, false, false, &mut nowhere)
                }
                _ => return (code::MARSHALLING, results.results_end().0),
            };
            results = match result {
                Ok(body) => results.result(kind.code(), 0).raw(&body.0),
                Err(error) => results.result(-1, error).int(error),
            };
            if results.0.len() > self.max_response_bytes {
                return (code::BAD_ARGUMENTS, Vec::new());
            }
        }
        (0, results.results_end().0)
    }
}

/// A reply's body with the lists whose order means nothing sorted; bodies that cannot be read stay
/// as they are, and will be found to differ.
#[must_use]
pub fn sorted(op: OpCode, body: &[u8]) -> Vec<u8> {
    fn names(r: &mut zk_proto::Reader<'_>) -> Option<Vec<String>> {
        let list: Vec<zk_proto::Text<'_>> = zk_proto::Jute::read(r).ok()?;
        Some(list.into_iter().map(|text| text.into_owned()).collect())
    }
    let mut r = zk_proto::Reader::new(body);
    let sorted = match op {
        OpCode::GetChildren | OpCode::GetChildren2 | OpCode::GetEphemerals => {
            names(&mut r).map(|list| Bytes::default().strings(list).raw(r.rest()).0)
        }
        OpCode::WhoAmI => sorted_infos(&mut r),
        OpCode::MultiRead => sorted_results(&mut r),
        _ => None,
    };
    sorted.unwrap_or_else(|| body.to_vec())
}

fn sorted_infos(r: &mut zk_proto::Reader<'_>) -> Option<Vec<u8>> {
    let infos = WhoAmIResponse::read(r).ok()?;
    let mut infos = infos.client_info;
    infos.sort_by(|a, b| (&a.auth_scheme, &a.user).cmp(&(&b.auth_scheme, &b.user)));
    let bytes = Bytes::default().int(infos.len() as i32);
    let put = |b: Bytes, info: &ClientInfo<'_>| b.string(&info.auth_scheme).string(&info.user);
    Some(infos.iter().fold(bytes, put).raw(r.rest()).0)
}

fn sorted_results(r: &mut zk_proto::Reader<'_>) -> Option<Vec<u8>> {
    let body = r.rest();
    let mut response = MultiResponse::read(r).ok()?;
    // What reading forgave must not be mended by writing.
    if response.to_bytes() != body {
        return None;
    }
    for result in &mut response.results {
        if let MultiResult::GetChildren(names) = result {
            names.sort_unstable();
        }
    }
    Some(response.to_bytes())
}
