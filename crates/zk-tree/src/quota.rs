//! Quotas (client-protocol 11; Apache `StatsTrack`, `Quotas`, `PathTrie`).
//!
//! A quota on `/p` is a pair of znodes, `/zookeeper/quota/p/zookeeper_limits` and
//! `.../zookeeper_stats`. The deepest quota at or above a path governs it. The usage is the data
//! of the stats znode, changed in place without a trace in its stat.

use crate::tree::Tree;
use std::collections::BTreeSet;
use zk_proto::path;

/// Counts and bytes, -1 where nothing is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StatsTrack {
    /// Znodes.
    pub count: i64,
    /// Bytes of data.
    pub bytes: i64,
    /// Hard limit of bytes.
    pub byte_hard_limit: i64,
    /// Hard limit of znodes.
    pub count_hard_limit: i64,
}

impl StatsTrack {
    /// Nothing is said.
    pub const NONE: StatsTrack =
        StatsTrack { count: -1, bytes: -1, byte_hard_limit: -1, count_hard_limit: -1 };

    /// Reads `count=1,bytes=2=;byteHardLimit=3;countHardLimit=4` and its older forms. The odd `=`
    /// keeps old parsers working. Unreadable parts say nothing.
    #[must_use]
    pub fn parse(text: &[u8]) -> StatsTrack {
        let mut track = StatsTrack::NONE;
        for pair in String::from_utf8_lossy(text).split([',', ';']) {
            let mut halves = pair.split('=');
            let (Some(key), Some(value)) = (halves.next(), halves.next()) else { continue };
            let Ok(value) = value.trim().parse() else { continue };
            match key.trim() {
                "count" => track.count = value,
                "bytes" => track.bytes = value,
                "byteHardLimit" => track.byte_hard_limit = value,
                "countHardLimit" => track.count_hard_limit = value,
                _ => {}
            }
        }
        track
    }
}

impl std::fmt::Display for StatsTrack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "count={},bytes={}", self.count, self.bytes)?;
        if self.byte_hard_limit > -1 || self.count_hard_limit > -1 {
            write!(f, "=")?;
        }
        if self.byte_hard_limit > -1 {
            write!(f, ";byteHardLimit={}", self.byte_hard_limit)?;
        }
        if self.count_hard_limit > -1 {
            write!(f, ";countHardLimit={}", self.count_hard_limit)?;
        }
        Ok(())
    }
}

/// Which paths have a quota. Empty on most servers, and then nothing here costs anything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quotas {
    governed: BTreeSet<Box<str>>,
}

/// `/p` for `/zookeeper/quota/p/<leaf>`.
pub(crate) fn governed_path<'a>(path: &'a str, leaf: &str) -> Option<&'a str> {
    let below = path.strip_prefix(path::QUOTA).filter(|below| below.starts_with('/'))?;
    let (governed, last) = path::split(below)?;
    (last == leaf && !governed.is_empty()).then_some(governed)
}

/// The deepest path at or above `path` that has a quota; what is below `/zookeeper` has none.
pub(crate) fn deepest(path: &str, has_quota: impl Fn(&str) -> bool) -> Option<&str> {
    if path::is_at_or_below(path, path::ZOOKEEPER) {
        return None;
    }
    let mut at = path;
    while !at.is_empty() {
        if has_quota(at) {
            return Some(at);
        }
        at = path::split(at)?.0;
    }
    None
}

impl Quotas {
    pub(crate) fn attached(&mut self, path: &str) {
        if let Some(governed) = governed_path(path, path::QUOTA_LIMITS) {
            self.governed.insert(governed.into());
        }
    }

    pub(crate) fn detached(&mut self, path: &str) {
        if let Some(governed) = governed_path(path, path::QUOTA_LIMITS) {
            self.governed.remove(governed);
        }
    }

    pub(crate) fn is_stats_path(&self, path: &str) -> bool {
        governed_path(path, path::QUOTA_STATS).is_some()
    }

    /// The deepest path with a quota at or above `path`; what is below `/zookeeper` has none.
    fn governing<'a>(&self, path: &'a str) -> Option<&'a str> {
        if self.is_empty() { None } else { deepest(path, |at| self.is_on(at)) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.governed.is_empty()
    }

    /// Whether a quota is on this path itself.
    pub(crate) fn is_on(&self, path: &str) -> bool {
        self.governed.contains(path)
    }

    /// Every path with a quota.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.governed.iter().map(|path| &**path)
    }
}

fn quota_node(governed: &str, leaf: &str) -> String {
    format!("{}{governed}/{leaf}", path::QUOTA)
}

impl Tree {
    /// Counts a change into the governing quota's usage.
    pub(crate) fn quota_delta(&mut self, path: &str, count: i64, bytes: i64) {
        let Some(governed) = self.quotas.governing(path) else { return };
        let stats_path = quota_node(governed, path::QUOTA_STATS);
        let Some(id) = self.find(&stats_path) else { return };
        let mut usage = StatsTrack::parse(self.arena[id].data().unwrap_or_default());
        // As in Java: clients may write anything into the usage.
        usage.count = usage.count.wrapping_add(count);
        usage.bytes = usage.bytes.wrapping_add(bytes);
        self.write_quota_stats(&stats_path, usage);
    }

    fn write_quota_stats(&mut self, stats_path: &str, usage: StatsTrack) {
        let Some(id) = self.find(stats_path) else { return };
        self.before_change(id);
        self.replace_data(id, Some(usage.to_string().as_bytes()));
        self.refresh_crc(id, stats_path);
    }

    /// Counts the governed subtree afresh: when its stats znode is created, and after a load.
    pub(crate) fn recompute_quota_stats(&mut self, stats_path: &str) {
        let Some(governed) = governed_path(stats_path, path::QUOTA_STATS) else { return };
        let (count, bytes) = self.count_below(governed);
        let usage = StatsTrack { count, bytes, ..StatsTrack::NONE };
        self.write_quota_stats(stats_path, usage);
    }

    /// Znodes and bytes of data at a path and below it.
    pub(crate) fn count_below(&self, top: &str) -> (i64, i64) {
        let (mut count, mut bytes) = (0, 0);
        let mut todo: Vec<_> = self.get(top).into_iter().collect();
        while let Some(node) = todo.pop() {
            count += 1;
            bytes += node.data().map_or(0, <[u8]>::len) as i64;
            todo.extend(node.children());
        }
        (count, bytes)
    }

    /// Counts every quota afresh, as Apache does after it loaded a snapshot.
    pub(crate) fn recompute_quotas(&mut self) {
        let paths: Vec<String> =
            self.quotas.paths().map(|path| quota_node(path, path::QUOTA_STATS)).collect();
        for path in paths {
            self.recompute_quota_stats(&path);
        }
    }

    /// Limits and usage of the quota that governs `path`, with the path it is on.
    #[must_use]
    pub fn quota_of(&self, path: &str) -> Option<(String, StatsTrack, StatsTrack)> {
        let governed = self.quotas.governing(path)?;
        let [limits, usage] = self.tracks_on(governed);
        Some((governed.to_string(), limits, usage))
    }

    /// Every path with a quota, with its limits and its usage.
    pub fn quotas(&self) -> impl Iterator<Item = (&str, [StatsTrack; 2])> {
        self.quotas.paths().map(|governed| (governed, self.tracks_on(governed)))
    }

    fn tracks_on(&self, governed: &str) -> [StatsTrack; 2] {
        [path::QUOTA_LIMITS, path::QUOTA_STATS]
            .map(|leaf| self.track(governed, leaf).unwrap_or(StatsTrack::NONE))
    }

    /// What one of a quota's two znodes says, if it is there.
    pub(crate) fn track(&self, governed: &str, leaf: &str) -> Option<StatsTrack> {
        let node = self.get(&quota_node(governed, leaf))?;
        Some(StatsTrack::parse(node.data().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_apaches() {
        for text in ["count=3,bytes=-1", "count=-1,bytes=5=;byteHardLimit=9;countHardLimit=4"] {
            assert_eq!(StatsTrack::parse(text.as_bytes()).to_string(), text);
        }
        assert_eq!(StatsTrack::parse(b"junk"), StatsTrack::NONE);
    }

    #[test]
    fn the_deepest_quota_governs() {
        let mut quotas = Quotas::default();
        quotas.attached("/zookeeper/quota/a/zookeeper_limits");
        quotas.attached("/zookeeper/quota/a/b/zookeeper_limits");
        quotas.attached("/zookeeper/quota/zookeeper_limits");
        assert_eq!(quotas.governing("/a/b/c"), Some("/a/b"));
        assert_eq!(quotas.governing("/a/bc"), Some("/a"));
        assert_eq!(quotas.governing("/x"), None, "a quota on the root is ignored");
        quotas.detached("/zookeeper/quota/a/b/zookeeper_limits");
        assert_eq!(quotas.governing("/a/b/c"), Some("/a"));
    }
}
