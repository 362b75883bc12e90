//! What is known of a log from outside, and what must be true of it.

use super::*;
use std::collections::BTreeSet;

/// Who appends and rolls does it with this in hand, so that order is known.
#[derive(Default, Debug)]
pub(super) struct Ledger {
    /// The last record that was taken.
    pub(super) appended: i64,
    /// Before these records a new file was asked for.
    pub(super) rolls: BTreeSet<i64>,
    /// The last record that was told durable.
    pub(super) told: i64,
    /// How often a failure was told.
    pub(super) failures: u64,
    /// How many batches were told by who had borrowed the log.
    pub(super) by_borrowers: u64,
    /// How many loans found no room for what they had to write.
    pub(super) put_back: u64,
    /// The first rule that was broken where a panic would pass for one of the log's.
    pub(super) broken: Option<String>,
}

impl Ledger {
    pub(super) fn durable(&mut self, batch: Committed) {
        let zxid = batch.zxid.0;
        let is_next = self.told + batch.records as i64 == zxid;
        if !is_next || zxid > self.appended || self.failures > 0 {
            self.blame(format!("{zxid} is told with {} records", batch.records));
        }
        self.told = zxid;
        if thread::current().name() != Some("zk-log") {
            self.by_borrowers += 1;
        }
    }

    pub(super) fn blame(&mut self, what: String) {
        let known = format!("{what}: {self:?}");
        self.broken.get_or_insert(known);
    }

    /// Compares with what a crash would leave now; `is_whole` if nothing may be missing.
    pub(super) fn verify(&self, disk: &SimDisk, is_whole: bool) {
        assert_eq!(self.broken, None);
        assert!(self.failures <= 1, "told once: {self:?}");
        let after = disk.crash(&mut |_: usize| 0);
        let files: Vec<_> = names(&after).into_iter().map(|name| zxids(&after, name).0).collect();
        let logged: Vec<i64> = files.concat();
        assert_eq!(logged, (1..=logged.len() as i64).collect::<Vec<_>>());
        let last = logged.len() as i64;
        assert!((self.told..=self.appended).contains(&last), "{last} on the disk: {self:?}");
        assert!(!is_whole || self.told == self.appended, "all is told: {self:?}");
        let begun: BTreeSet<i64> = files.iter().filter_map(|file| file.first().copied()).collect();
        let asked = self.rolls.iter().chain([&1]).copied();
        let wanted: BTreeSet<i64> = asked.filter(|first| *first <= last).collect();
        assert_eq!(begun, wanted, "files begin where it was asked for");
    }
}
