//! Quotas: the znodes below `/zookeeper/quota` that clients write and servers count in
//! (client-protocol 11).
//!
//! Mirrors `SetQuotaCommand`, `ListQuotaCommand` and `DelQuotaCommand`.

use std::fmt;

use zk_proto::path::{QUOTA, QUOTA_LIMITS, QUOTA_STATS};
use zk_proto::{ErrorCode, path};

use crate::{ANY_VERSION, Client, Error, NewZnode};

/// The four numbers of a quota or of its usage, -1 where nothing is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quota {
    /// Znodes: more are logged by the server.
    pub count: i64,
    /// Bytes of data: more are logged by the server.
    pub bytes: i64,
    /// Znodes: more are refused, if the server enforces quotas.
    pub count_hard_limit: i64,
    /// Bytes of data: more are refused, if the server enforces quotas.
    pub byte_hard_limit: i64,
}

/// Why a quota cannot be set.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuotaError {
    /// There is nothing to limit.
    #[error("{path} does not exist.")]
    NoZnode {
        /// The path.
        path: String,
    },
    /// Quotas are not nested.
    #[error("{path} has a {relation} {other} which has a quota")]
    Nested {
        /// The path.
        path: String,
        /// `child` or `parent`.
        relation: &'static str,
        /// The path that has one.
        other: String,
    },
    /// The path is the root or the server's own.
    #[error("cannot set a quota under the path: {path}")]
    Forbidden {
        /// The path.
        path: String,
    },
    /// A request failed.
    #[error(transparent)]
    Client(#[from] Error),
}

impl Quota {
    /// Nothing is said.
    pub const NONE: Quota =
        Quota { count: -1, bytes: -1, count_hard_limit: -1, byte_hard_limit: -1 };

    /// Reads the text of a quota znode; unreadable parts say nothing.
    #[must_use]
    pub fn parse(text: &[u8]) -> Quota {
        let mut quota = Quota::NONE;
        for pair in String::from_utf8_lossy(text).split([',', ';']) {
            // The odd `=` behind the first two pairs keeps old parsers working.
            let mut halves = pair.split('=');
            let (Some(key), Some(value)) = (halves.next(), halves.next()) else { continue };
            let Ok(value) = value.trim().parse() else { continue };
            match key.trim() {
                "count" => quota.count = value,
                "bytes" => quota.bytes = value,
                "countHardLimit" => quota.count_hard_limit = value,
                "byteHardLimit" => quota.byte_hard_limit = value,
                _ => {}
            }
        }
        quota
    }

    /// This quota, where it says something, over another one.
    #[must_use]
    pub fn over(self, other: Quota) -> Quota {
        let pick = |new: i64, old: i64| if new > -1 { new } else { old };
        Quota {
            count: pick(self.count, other.count),
            bytes: pick(self.bytes, other.bytes),
            count_hard_limit: pick(self.count_hard_limit, other.count_hard_limit),
            byte_hard_limit: pick(self.byte_hard_limit, other.byte_hard_limit),
        }
    }
}

impl fmt::Display for Quota {
    /// As zkCli writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Quota { count, bytes, count_hard_limit, byte_hard_limit } = self;
        write!(f, "count={count},bytes={bytes}=;byteHardLimit={byte_hard_limit};")?;
        write!(f, "countHardLimit={count_hard_limit}")
    }
}

fn limits_path(path: &str) -> String {
    format!("{QUOTA}{path}/{QUOTA_LIMITS}")
}

fn stats_path(path: &str) -> String {
    format!("{QUOTA}{path}/{QUOTA_STATS}")
}

impl Client {
    /// Sets those limits of `path` that `quota` says; the others stay. Answers limits and usage.
    pub async fn set_quota(&self, path: &str, quota: Quota) -> Result<(Quota, Quota), QuotaError> {
        if path == "/" || path::is_at_or_below(path, QUOTA) {
            return Err(QuotaError::Forbidden { path: path.to_owned() });
        }
        if self.exists(path).await?.is_none() {
            return Err(QuotaError::NoZnode { path: path.to_owned() });
        }
        self.check_nesting(path).await?;
        for at in ancestors_and_self(&format!("{QUOTA}{path}")) {
            self.create_if_missing(at, None).await?;
        }
        let (limits, stats) = (limits_path(path), stats_path(path));
        let is_new = self.create_if_missing(&limits, Some(&quota.to_string())).await?;
        // The server counts when the usage znode appears; Apache's client creates it second too.
        self.create_if_missing(&stats, Some("count=0,bytes=0")).await?;
        let usage = self.quota_at(&stats).await?;
        let old = self.quota_at(&limits).await?;
        let all = quota.over(old);
        if !is_new {
            self.set_data(&limits, Some(all.to_string().as_bytes()), ANY_VERSION).await?;
        }
        Ok((all, usage))
    }

    /// Limits and usage of a path; `None` if it has no quota.
    pub async fn quota(&self, path: &str) -> Result<Option<(Quota, Quota)>, Error> {
        let limits = match self.quota_at(&limits_path(path)).await {
            Err(Error::Refused { code: ErrorCode::NoNode, .. }) => return Ok(None),
            limits => limits?,
        };
        Ok(Some((limits, self.quota_at(&stats_path(path)).await?)))
    }

    /// Removes the quota of a path; `false` if it has none.
    pub async fn delete_quota(&self, path: &str) -> Result<bool, Error> {
        if self.exists(&limits_path(path)).await?.is_none() {
            return Ok(false);
        }
        let parent = format!("{QUOTA}{path}");
        for name in self.get_children(&parent).await?.0 {
            self.delete(&format!("{parent}/{name}"), ANY_VERSION).await?;
        }
        // What only led to this quota goes too.
        for at in ancestors_and_self(&parent).rev().take_while(|at| *at != QUOTA) {
            match self.delete(at, ANY_VERSION).await {
                Err(Error::Refused { code: ErrorCode::NotEmpty, .. }) => break,
                deleted => deleted?,
            }
        }
        Ok(true)
    }

    /// Takes single limits away: those that `which` says. `false` if the path has no quota.
    pub async fn clear_quota(&self, path: &str, which: Quota) -> Result<bool, Error> {
        let limits = limits_path(path);
        let Some((old, _)) = self.quota(path).await? else { return Ok(false) };
        let keep = |which: i64, old: i64| if which > -1 { -1 } else { old };
        let left = Quota {
            count: keep(which.count, old.count),
            bytes: keep(which.bytes, old.bytes),
            count_hard_limit: keep(which.count_hard_limit, old.count_hard_limit),
            byte_hard_limit: keep(which.byte_hard_limit, old.byte_hard_limit),
        };
        self.set_data(&limits, Some(left.to_string().as_bytes()), ANY_VERSION).await?;
        Ok(true)
    }

    async fn quota_at(&self, path: &str) -> Result<Quota, Error> {
        let (data, _) = self.get_data(path).await?;
        Ok(Quota::parse(&data.unwrap_or_default()))
    }

    /// `true` if it was missing.
    async fn create_if_missing(&self, path: &str, data: Option<&str>) -> Result<bool, Error> {
        let znode = NewZnode { data: data.map(str::as_bytes), ..NewZnode::persistent(b"") };
        match self.create(path, znode).await {
            Err(Error::Refused { code: ErrorCode::NodeExists, .. }) => Ok(false),
            created => created.map(|_| true),
        }
    }

    async fn check_nesting(&self, path: &str) -> Result<(), QuotaError> {
        let nested = |relation, other: &str| QuotaError::Nested {
            path: path.to_owned(),
            relation,
            other: other.to_owned(),
        };
        for parent in ancestors_and_self(path).filter(|at| *at != path) {
            if self.exists(&limits_path(parent)).await?.is_some() {
                return Err(nested("parent", parent));
            }
        }
        let below = self.subtree(&format!("{QUOTA}{path}")).await?;
        let own = limits_path(path);
        let limits = |at: &&String| at.ends_with(&format!("/{QUOTA_LIMITS}")) && **at != own;
        if let Some(other) = below.iter().find(limits) {
            let end = other.len() - QUOTA_LIMITS.len() - 1;
            return Err(nested("child", &other[QUOTA.len()..end]));
        }
        Ok(())
    }
}

/// `/a`, `/a/b` and so on down to the path itself.
fn ancestors_and_self(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
    ends.chain([path.len()]).map(|end| &path[..end]).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_zkclis() {
        let text = "count=5,bytes=-1=;byteHardLimit=-1;countHardLimit=7";
        let quota = Quota { count: 5, count_hard_limit: 7, ..Quota::NONE };
        assert_eq!(Quota::parse(text.as_bytes()), quota);
        assert_eq!(quota.to_string(), text);
        let usage = Quota { count: 1, bytes: 9, ..Quota::NONE };
        assert_eq!(Quota::parse(b"count=1,bytes=9"), usage);
        assert_eq!(Quota::parse(b"nonsense,,=;=5"), Quota::NONE);
        assert_eq!(quota.over(usage), Quota { count: 5, bytes: 9, ..quota });
    }

    #[test]
    fn ancestors() {
        assert!(ancestors_and_self("/a/b/c").eq(["/a", "/a/b", "/a/b/c"]));
        assert!(ancestors_and_self("/a").eq(["/a"]));
    }
}
