//! All that clients can see of a tree, and the digest that it must have.

use std::collections::BTreeMap;

use zk_proto::request::{PathRequest, Request};
use zk_proto::response::GetAclResponse;
use zk_proto::{EphemeralOwner, Jute, Reader, Stat, StatPersisted};
use zk_testkit::{Client, Error};

/// Znodes of which a client cannot see that they are containers have names that begin so.
pub(crate) const CONTAINER: &str = "container";
/// The same for TTL znodes; all of them have the TTL [`TTL_MS`].
pub(crate) const TTL: &str = "ttl";
/// Longer than any test.
pub(crate) const TTL_MS: i64 = 3_600_000;

/// A znode, with all eleven fields of its Stat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Node {
    data: Option<Vec<u8>>,
    stat: Stat,
    acl: Vec<u8>,
}

/// Every znode by its path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Picture(BTreeMap<String, Node>);

impl Picture {
    /// Reads everything; the client must be allowed to, and nobody may write meanwhile.
    pub(crate) fn take(client: &mut Client) -> Result<Picture, Error> {
        let mut nodes = BTreeMap::new();
        let mut todo = vec!["/".to_owned()];
        while let Some(path) = todo.pop() {
            let (data, stat) = client.get_data(&path)?;
            let reply =
                client.call(&Request::GetAcl(PathRequest { path: path.as_str().into() }))?;
            let acl = GetAclResponse::read(&mut Reader::new(&reply.body))?.acl.as_bytes().to_vec();
            let children = client.children(&path)?;
            todo.extend(
                children.iter().map(|name| format!("{}/{name}", path.trim_end_matches('/'))),
            );
            nodes.insert(path, Node { data, stat, acl });
        }
        Ok(Picture(nodes))
    }

    /// Paths of znodes that belong to a session.
    pub(crate) fn owned_by(&self, session: i64) -> Vec<&str> {
        let mine = self.0.iter().filter(|(_, node)| node.stat.ephemeral_owner == session);
        mine.map(|(path, _)| path.as_str()).collect()
    }

    /// How many znodes there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Where two pictures differ, a line for each znode.
    pub(crate) fn differences(&self, other: &Picture) -> Vec<String> {
        let mut paths = self.0.keys().chain(other.0.keys()).collect::<Vec<_>>();
        paths.sort();
        paths.dedup();
        let differing = paths.into_iter().filter(|path| self.0.get(*path) != other.0.get(*path));
        differing
            .map(|path| {
                let [before, after] = [&self.0, &other.0].map(|nodes| nodes.get(path).map(short));
                format!("{path}: {before:?} became {after:?}")
            })
            .collect()
    }

    /// The tree's digest (disk-formats 4.2): the sum of a checksum over path, data and Stat of
    /// every znode outside of /zookeeper.
    pub(crate) fn digest(&self) -> u64 {
        let counted = self.0.iter().filter(|(path, _)| !path.starts_with("/zookeeper/"));
        counted.fold(0, |sum, (path, node)| {
            let mut crc = crc32fast::Hasher::new();
            crc.update(if path == "/" { b"" } else { path.as_bytes() });
            crc.update(node.data.as_deref().unwrap_or_default());
            crc.update(&stored(path, &node.stat).digest_bytes());
            sum.wrapping_add(u64::from(crc.finalize()))
        })
    }
}

fn short(node: &Node) -> String {
    let Node { data, stat, acl } = node;
    let data =
        data.as_ref().map(|data| format!("{} bytes, begins {:x?}", data.len(), data.first()));
    format!("{data:?} {stat:?} acl {acl:x?}")
}

/// What is stored of a Stat: creates only in cversion, and an owner that says what a znode is.
fn stored(path: &str, stat: &Stat) -> StatPersisted {
    let name = path.rsplit('/').next().unwrap_or_default();
    let owner = if name.starts_with(CONTAINER) {
        EphemeralOwner::CONTAINER.0
    } else if name.starts_with(TTL) {
        EphemeralOwner::ttl(TTL_MS).expect("an hour is short enough").0
    } else {
        stat.ephemeral_owner
    };
    StatPersisted {
        czxid: stat.czxid,
        mzxid: stat.mzxid,
        ctime: stat.ctime,
        mtime: stat.mtime,
        version: stat.version,
        cversion: (stat.cversion + stat.num_children) / 2,
        aversion: stat.aversion,
        ephemeral_owner: owner,
        pzxid: stat.pzxid,
    }
}
