//! The part of the tree that a client sees as the whole (client-protocol 17).

use std::borrow::Cow;

/// A prefix of all paths; empty for none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Chroot(String);

impl Chroot {
    /// `/` means no chroot.
    pub(crate) fn new(path: &str) -> Chroot {
        Chroot(if path == "/" { String::new() } else { path.to_owned() })
    }

    /// The server's path of a client's path.
    pub(crate) fn to_server<'a>(&self, path: &'a str) -> Cow<'a, str> {
        match (self.0.as_str(), path) {
            ("", path) => Cow::Borrowed(path),
            (root, "/") => Cow::Owned(root.to_owned()),
            (root, path) => Cow::Owned(format!("{root}{path}")),
        }
    }

    /// The client's path of a server's path. A path outside of the chroot stays what it is, as in
    /// Apache's client: `/zookeeper/config` can be watched from everywhere.
    pub(crate) fn to_client(&self, path: String) -> String {
        match path.strip_prefix(self.0.as_str()) {
            Some("") if !self.0.is_empty() => "/".to_owned(),
            Some(rest) if rest.starts_with('/') && rest.len() < path.len() => rest.to_owned(),
            _ => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_in_and_come_out() {
        for (root, client, server) in [
            ("/", "/a", "/a"),
            ("/", "/", "/"),
            ("/app", "/", "/app"),
            ("/app", "/a/b", "/app/a/b"),
        ] {
            let chroot = Chroot::new(root);
            assert_eq!(chroot.to_server(client), server);
            assert_eq!(chroot.to_client(server.to_owned()), client);
        }
    }

    #[test]
    fn paths_outside_stay() {
        let chroot = Chroot::new("/app");
        for path in ["/zookeeper/config", "/apple", "/"] {
            assert_eq!(chroot.to_client(path.to_owned()), path);
        }
    }
}
