//! The tree digest (disk-formats 4.2; Apache `DigestCalculator`, version 2): the sum over all
//! znodes of CRC-32 over path, data and stat. It changes by what a transaction changes, so it is
//! kept, not computed.

use crc32fast::Hasher;
use zk_proto::{StatPersisted, path};

/// The part of a znode's CRC that its stat does not touch: many changes touch only the stat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ContentCrc(u32);

/// What the server keeps for itself below `/zookeeper` does not count.
fn counts(path: &str) -> bool {
    !matches!(path.strip_prefix(path::ZOOKEEPER), Some(rest) if rest.starts_with('/'))
}

impl ContentCrc {
    pub(crate) fn new(path: &str, data: Option<&[u8]>) -> ContentCrc {
        let mut hasher = Hasher::new();
        hasher.update(if path == "/" { b"" } else { path.as_bytes() });
        hasher.update(data.unwrap_or_default());
        ContentCrc(hasher.finalize())
    }

    /// The znode's summand.
    pub(crate) fn with_stat(self, path: &str, stat: &StatPersisted) -> u32 {
        if !counts(path) {
            return 0;
        }
        let mut hasher = Hasher::new_with_initial(self.0);
        hasher.update(&stat.digest_bytes());
        hasher.finalize()
    }
}

/// A znode's summand from the beginning.
pub(crate) fn node_crc(path: &str, data: Option<&[u8]>, stat: &StatPersisted) -> u32 {
    if counts(path) { ContentCrc::new(path, data).with_stat(path, stat) } else { 0 }
}

/// The sum after one summand changed.
pub(crate) fn replace(digest: u64, old: u32, new: u32) -> u64 {
    digest.wrapping_sub(u64::from(old)).wrapping_add(u64::from(new))
}
