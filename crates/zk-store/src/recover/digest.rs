//! Compares the tree with the digests that its writer recorded, from where they are comparable.
//!
//! A fuzzy snapshot holds parts of later transactions; until those were all replayed the tree is
//! none that ever was (disk-formats 4.1, 4.2; `DataTree.compareDigest`).

use super::error::Mismatch;
use crate::snapshot::SnapshotInfo;
use zk_proto::Zxid;
use zk_proto::txn::{DIGEST_VERSION, TxnDigest};

/// From when on digests are compared.
#[derive(Debug)]
enum Window {
    /// The tree is exact: each must match.
    Exact,
    /// It is exact after this transaction, and then has this digest.
    Until(Zxid, u64),
    /// Nothing says. From the first match on the tree counts as exact.
    Unknown,
}

/// The comparison.
#[derive(Debug)]
pub(super) struct DigestCheck {
    window: Window,
    /// Mismatches before the first match.
    pub(super) mismatches: u64,
    /// The digest of the snapshot is not that of the tree, and none of a later transaction has
    /// matched. One that does proves the tree: digests are sums, and replaying mends only what was
    /// fuzzy. Apache notes the digest of a txn when its znodes are changed, and a snapshot may end
    /// between the two: then it has the digest of the txn before.
    pub(super) doubt: Option<Mismatch>,
    /// A doubt that was removed so.
    pub(super) removed: Option<Mismatch>,
}

impl DigestCheck {
    /// The check behind a snapshot, or behind the empty tree.
    pub(super) fn new(snapshot: Option<&SnapshotInfo>) -> DigestCheck {
        let window = match snapshot {
            None => Window::Exact,
            Some(info) => match info.digest {
                // A digest from before the snapshot began says nothing about it, and one of zxid 0
                // is a blank: Apache had applied nothing yet.
                Some(digest)
                    if digest.version == DIGEST_VERSION
                        && digest.zxid >= info.zxid.0
                        && digest.zxid > 0 =>
                {
                    Window::Until(Zxid(digest.zxid), digest.digest as u64)
                }
                _ => Window::Unknown,
            },
        };
        DigestCheck { window, mismatches: 0, doubt: None, removed: None }
    }

    /// The check of a tree whose beginning is not known.
    pub(super) fn unknown() -> DigestCheck {
        DigestCheck { window: Window::Unknown, mismatches: 0, doubt: None, removed: None }
    }

    /// To be called when the state after `zxid` is reached, with what was recorded for it.
    pub(super) fn reached(
        &mut self,
        zxid: Zxid,
        recorded: Option<TxnDigest>,
        computed: Option<u64>,
    ) -> Result<(), Mismatch> {
        let Some(computed) = computed else { return Ok(()) };
        let compare = |recorded: u64| match recorded == computed {
            true => Ok(()),
            false => Err(Mismatch { zxid, recorded, computed }),
        };
        if let Window::Until(until, recorded) = self.window {
            if zxid < until {
                return Ok(());
            }
            self.window = Window::Exact;
            if zxid == until
                && let Err(mismatch) = compare(recorded)
            {
                (self.window, self.doubt) = (Window::Unknown, Some(mismatch));
            }
        }
        let Some(recorded) = recorded.filter(|recorded| recorded.version == DIGEST_VERSION) else {
            return Ok(());
        };
        let result = compare(recorded.tree_digest as u64);
        if matches!(self.window, Window::Unknown) {
            match result {
                Ok(()) => {
                    (self.window, self.mismatches) = (Window::Exact, 0);
                    self.removed = self.doubt.take();
                }
                Err(_) => self.mismatches += 1,
            }
            return Ok(());
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_proto::snapshot::ZxidDigest;

    fn check(digest: Option<(i64, i64)>) -> DigestCheck {
        DigestCheck::new(Some(&SnapshotInfo {
            zxid: Zxid(10),
            digest: digest.map(|(zxid, digest)| ZxidDigest { zxid, version: 2, digest }),
            last_zxid: None,
            content_zxid: Zxid(0),
            sessions: 0,
            acls: 0,
            nodes: 1,
            bytes: 0,
        }))
    }

    fn at(check: &mut DigestCheck, zxid: i64, recorded: i64, computed: u64) -> bool {
        let recorded = TxnDigest { version: 2, tree_digest: recorded };
        check.reached(Zxid(zxid), Some(recorded), Some(computed)).is_ok()
    }

    #[test]
    fn without_a_snapshot_every_digest_counts() {
        let mut check = DigestCheck::new(None);
        assert!(at(&mut check, 1, 5, 5));
        assert!(!at(&mut check, 2, 5, 6));
    }

    #[test]
    fn in_the_fuzzy_window_none_counts_and_its_end_must_match() {
        let mut check = check(Some((12, 7)));
        assert!(at(&mut check, 10, 0, 1));
        assert!(at(&mut check, 11, 0, 1));
        assert!(at(&mut check, 12, 7, 7));
        assert!(!at(&mut check, 13, 7, 8));
        assert_eq!(check.doubt, None);
    }

    #[test]
    fn a_wrong_digest_of_a_snapshot_counts_unless_a_later_one_matches() {
        for (recorded, computed) in [(9, 9), (9, 8)] {
            let mut check = check(Some((10, 7)));
            assert!(check.reached(Zxid(10), None, Some(8)).is_ok());
            assert!(at(&mut check, 11, recorded, computed));
            let doubt = Mismatch { zxid: Zxid(10), recorded: 7, computed: 8 };
            let is_proven = recorded == computed as i64;
            assert_eq!(check.doubt, (!is_proven).then_some(doubt));
            assert_eq!(check.removed, is_proven.then_some(doubt));
            assert_eq!(at(&mut check, 12, 1, 2), !is_proven, "from then on each must match");
        }
    }

    #[test]
    fn a_wrong_digest_of_the_snapshot_itself_is_seen() {
        for (computed, is_wrong) in [(8, true), (7, false)] {
            let mut check = check(Some((10, 7)));
            assert!(check.reached(Zxid(10), None, Some(computed)).is_ok());
            assert_eq!(check.doubt.is_some(), is_wrong);
        }
    }

    #[test]
    fn without_a_window_the_first_match_begins_it() {
        for mut check in [check(None), check(Some((9, 7)))] {
            assert!(at(&mut check, 11, 0, 1));
            assert_eq!(check.mismatches, 1);
            assert!(at(&mut check, 12, 2, 2));
            assert_eq!(check.mismatches, 0);
            assert!(!at(&mut check, 13, 0, 1));
        }
    }

    #[test]
    fn a_tree_without_digest_and_other_versions_are_let_pass() {
        let mut check = DigestCheck::new(None);
        let other = TxnDigest { version: 1, tree_digest: 3 };
        assert!(check.reached(Zxid(1), Some(other), Some(4)).is_ok());
        assert!(check.reached(Zxid(1), None, Some(4)).is_ok());
        assert!(check.reached(Zxid(1), Some(TxnDigest { version: 2, ..other }), None).is_ok());
    }
}
