//! All there is at one zxid: znodes by path, sessions by id (client-protocol 7).

use super::acl::Entry;
use super::wire::WireStat;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What a znode lives by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Nothing: persistent.
    Nobody,
    /// A session.
    Session(i64),
    /// Its children.
    Container,
    /// Its children, and so many ms since its last change.
    Ttl(i64),
}

impl Owner {
    /// As it is stored (client-protocol 7.4).
    #[must_use]
    pub fn stored(self) -> i64 {
        match self {
            Owner::Nobody => 0,
            Owner::Session(id) => id,
            Owner::Container => i64::MIN,
            Owner::Ttl(ms) => (0xff << 56) | ms,
        }
    }
}

/// A znode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Znode {
    /// Data, or null.
    pub data: Option<Vec<u8>>,
    /// Who may do what.
    pub acl: Vec<Entry>,
    /// zxid of the creation.
    pub czxid: i64,
    /// zxid of the last setData.
    pub mzxid: i64,
    /// zxid of the last change of the children.
    pub pzxid: i64,
    /// Time of the creation.
    pub ctime: i64,
    /// Time of the last setData.
    pub mtime: i64,
    /// How many setDatas.
    pub version: i32,
    /// How many children were ever created.
    pub children_created: i32,
    /// How many setACLs.
    pub aversion: i32,
    /// What it lives by.
    pub owner: Owner,
}

impl Znode {
    /// A znode that is there from the beginning.
    fn first(acl: Vec<Entry>, aversion: i32) -> Znode {
        Znode {
            data: Some(Vec::new()),
            acl,
            czxid: 0,
            mzxid: 0,
            pzxid: 0,
            ctime: 0,
            mtime: 0,
            version: 0,
            children_created: 0,
            aversion,
            owner: Owner::Nobody,
        }
    }

    /// Length of the data, 0 for null.
    #[must_use]
    pub fn data_len(&self) -> usize {
        self.data.as_ref().map_or(0, Vec::len)
    }
}

/// Everything that is replicated, at one zxid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// By path; the root is `/`.
    pub nodes: BTreeMap<Rc<str>, Rc<Znode>>,
    /// Timeout in ms of every session, by id.
    pub sessions: BTreeMap<i64, i32>,
}

/// `""` is another name of the root.
#[must_use]
pub fn alias(path: &str) -> &str {
    if path.is_empty() { "/" } else { path }
}

/// The path before the last slash; `None` without a slash.
#[must_use]
pub fn parent(path: &str) -> Option<&str> {
    path.rfind('/').map(|at| alias(&path[..at]))
}

/// Whether `path` lies below `top`, by components.
#[must_use]
pub fn is_below(path: &str, top: &str) -> bool {
    path != "/" && (top == "/" || path.strip_prefix(top).is_some_and(|rest| rest.starts_with('/')))
}

/// Whether a znode may be called so (client-protocol 7.1): Java looks at UTF-16 units.
#[must_use]
pub fn is_valid_path(path: &str) -> bool {
    let refused =
        |unit: u16| matches!(unit, 0..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..=0xffff);
    let bad_name = |name: &str| name.is_empty() || name == "." || name == "..";
    path == "/"
        || path.starts_with('/')
            && !path[1..].split('/').any(bad_name)
            && !path.encode_utf16().any(refused)
}

impl State {
    /// What a new server holds (client-protocol 7.2).
    #[must_use]
    pub fn first() -> State {
        let open = || Znode::first(vec![Entry::new(31, "world", "anyone")], 0);
        let config = Znode::first(vec![Entry::new(1, "world", "anyone")], -1);
        let nodes = [
            ("/", open()),
            ("/zookeeper", open()),
            ("/zookeeper/quota", open()),
            ("/zookeeper/config", config),
        ];
        State {
            nodes: nodes.into_iter().map(|(path, node)| (path.into(), Rc::new(node))).collect(),
            sessions: BTreeMap::new(),
        }
    }

    /// The znode at a path.
    #[must_use]
    pub fn node(&self, path: &str) -> Option<&Znode> {
        self.nodes.get(alias(path)).map(|node| &**node)
    }

    /// The znode at a path, to be changed.
    pub fn node_mut(&mut self, path: &str) -> Option<&mut Znode> {
        self.nodes.get_mut(alias(path)).map(Rc::make_mut)
    }

    /// Names of the children.
    #[must_use]
    pub fn children(&self, path: &str) -> Vec<String> {
        let path = alias(path);
        let child_of = |child: &str| (child != "/" && parent(child) == Some(path)).then_some(());
        let name = |child: &str| child[child.rfind('/').map_or(0, |at| at + 1)..].to_string();
        self.nodes.keys().filter(|child| child_of(child).is_some()).map(|c| name(c)).collect()
    }

    /// Paths of everything below.
    #[must_use]
    pub fn descendants(&self, path: &str) -> Vec<String> {
        let path = alias(path);
        self.nodes.keys().filter(|other| is_below(other, path)).map(|p| p.to_string()).collect()
    }

    /// Paths of a session's ephemerals.
    #[must_use]
    pub fn ephemerals(&self, session: i64) -> Vec<String> {
        let owned = self.nodes.iter().filter(|(_, node)| node.owner == Owner::Session(session));
        owned.map(|(path, _)| path.to_string()).collect()
    }

    /// A Stat as clients see it (client-protocol 7.3).
    #[must_use]
    pub fn stat(&self, path: &str) -> Option<WireStat> {
        let node = self.node(path)?;
        let children = self.children(path).len() as i32;
        Some(WireStat {
            longs: [node.czxid, node.mzxid, node.ctime, node.mtime],
            versions: [
                node.version,
                node.children_created.wrapping_mul(2).wrapping_sub(children),
                node.aversion,
            ],
            owner: if let Owner::Session(id) = node.owner { id } else { 0 },
            sizes: [node.data_len() as i32, children],
            pzxid: node.pzxid,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_by_the_table() {
        for good in ["/", "/a", "/a/b", "/...", "/a/..b", "/\u{4e2d}", "/ "] {
            assert!(is_valid_path(good), "{good}");
        }
        for bad in ["", "a", "//a", "/a/", "/a//b", "/.", "/a/..", "/\0", "/\u{7f}", "/\u{1f600}"] {
            assert!(!is_valid_path(bad), "{bad}");
        }
        assert_eq!((parent("/a"), parent("/a/b"), parent("x")), (Some("/"), Some("/a"), None));
        assert!(is_below("/r/x", "/r") && is_below("/r", "/") && !is_below("/rx", "/r"));
    }

    #[test]
    fn the_first_tree_has_the_stats_that_were_seen_on_the_wire() {
        let first = State::first();
        let cversion = |path| first.stat(path).expect(path).versions[1];
        assert_eq!((cversion("/"), cversion("/zookeeper")), (-1, -2));
        assert_eq!(first.children("/zookeeper"), ["config", "quota"]);
        assert_eq!(first.descendants("/").len(), 3);
    }
}
