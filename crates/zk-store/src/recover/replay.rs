//! Applies the logs behind a snapshot in order, and sees that nothing is missing between records.

use super::RecoverOptions;
use super::accept::Accept;
use super::digest::DigestCheck;
use super::error::{LogFault, Loss, Note, RecoverError, Why};
use super::inventory::{Inventory, LogEntry};
use crate::data_dir::DataDirs;
use crate::disk::{Disk, read_full};
use crate::error::{Doing, FileError};
use crate::log::{FRAME_LEN, LogEnd, Record};
use crate::manifest::Seal;
use crate::names::Name;
use crate::restore::Restore;
use crate::snapshot::SnapshotInfo;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use zk_proto::txn::{Txn, TxnEntry};
use zk_proto::{ErrorCode, Zxid};

/// A record that comes twice is compared with this many before it.
const RECENT_RECORDS: usize = 1024;

/// So many faults of a kind that is let pass are told one by one.
const MOST_TOLD: usize = 16;

/// Where a record was seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    zxid: Zxid,
    log: usize,
    offset: u64,
    len: usize,
}

/// Which transaction must follow `after` when `zxid` is found: the next one, or of a later epoch
/// the first, whose counter is 1. A leader ends its epoch before the counter does (ZOOKEEPER-1277);
/// a standalone server, Apache's too, counts on into the next epoch, from its counter 0.
pub(crate) fn successor(after: Zxid, zxid: Zxid) -> Zxid {
    match zxid.epoch() > after.epoch() && zxid != after.next() {
        true => Zxid::new(zxid.epoch(), 1),
        false => after.next(),
    }
}

/// The replay of all logs.
pub(super) struct Replay<'a, R> {
    pub(super) disk: &'a dyn Disk,
    pub(super) options: &'a RecoverOptions,
    pub(super) inventory: &'a Inventory,
    snapshot: Option<&'a (PathBuf, SnapshotInfo)>,
    restore: &'a mut R,
    /// The snapshot holds everything up to here.
    base: Zxid,
    /// The last record read, applied or not.
    logged: Option<Zxid>,
    recent: VecDeque<Seen>,
    digest: DigestCheck,
    txns: u64,
    pub(super) notes: Vec<Note>,
    pub(super) ends: Vec<LogEnd>,
}

impl<'a, R: Restore> Replay<'a, R> {
    pub(super) fn new(
        disk: &'a dyn Disk,
        options: &'a RecoverOptions,
        inventory: &'a Inventory,
        snapshot: Option<&'a (PathBuf, SnapshotInfo)>,
        restore: &'a mut R,
        notes: Vec<Note>,
    ) -> Replay<'a, R> {
        Replay {
            disk,
            options,
            inventory,
            snapshot,
            restore,
            base: snapshot.map_or(Zxid::ZERO, |(_, info)| info.zxid),
            logged: None,
            recent: VecDeque::with_capacity(RECENT_RECORDS),
            digest: DigestCheck::new(snapshot.map(|(_, info)| info)),
            txns: 0,
            notes,
            ends: Vec::new(),
        }
    }

    /// Logs that must be there, and are not (case F).
    pub(super) fn check_missing_logs(&mut self, dirs: &DataDirs) -> Result<(), RecoverError> {
        let (inventory, safe) = (self.inventory, self.base);
        let missing =
            |file, lost_to| RecoverError::MissingLog { file, loss: Loss { safe, lost_to } };
        // Where the list is ours and counts, it says itself that there is no log. Without it an
        // empty log directory proves nothing, not even that there never was a transaction.
        let is_unknown = self.base > Zxid::ZERO && !inventory.marks_count();
        if inventory.logs.is_empty() && (is_unknown || inventory.lost_log_list) {
            self.allow(Some(Accept::MissingLog), missing(dirs.logs(), None))?;
        }
        for (i, (name, seal)) in inventory.listed.iter().enumerate() {
            let next = inventory.listed.get(i + 1).map(|(next, _)| *next);
            let (needed, lost_to) = match seal {
                Seal::Closed { zxid, .. } => (*zxid > self.base, Some(*zxid)),
                Seal::Open | Seal::Kept => (next.is_none_or(|next| next > self.base.next()), None),
            };
            if needed && !inventory.logs.iter().any(|log| log.name == *name) {
                let file = dirs.logs().join(Name::Log(*name).to_string());
                self.allow(Some(Accept::MissingLog), missing(file, lost_to))?;
            }
        }
        Ok(())
    }

    /// Whether the logs reach the snapshot, where no list of ours proves it (case F). They do where
    /// Apache wrote them: a txn is logged before it can be in a snapshot. A snapshot of a leader's
    /// start is named after the epoch, and of no txn.
    pub(super) fn check_logs_reach(&mut self, dirs: &DataDirs) -> Result<(), RecoverError> {
        let inventory = self.inventory;
        let goes_on = inventory.logs.last().is_none_or(|newest| newest.name > self.base);
        let reaches = self.logged.is_some_and(|logged| logged >= self.base);
        if goes_on || reaches || inventory.marks_count() || self.base.counter() == 0 {
            return Ok(());
        }
        let (dir, reached, snapshot) = (dirs.logs(), self.logged, self.base);
        let behind = RecoverError::LogsBehind { dir, reached, snapshot };
        self.allow(Some(Accept::MissingLog), behind)
    }

    /// Reads all logs that can hold something behind the snapshot.
    pub(super) fn run(&mut self) -> Result<(), RecoverError> {
        // A snapshot that is exact has the digest that it says, or a doubt is noted.
        let of_snapshot = self.digest.reached(self.base, None, self.restore.digest());
        debug_assert!(of_snapshot.is_ok(), "no transaction's digest was given");
        let logs = &self.inventory.logs;
        // The newest log that begins at or before the first transaction wanted, and all later.
        let begun = logs.partition_point(|log| log.name <= self.base.next());
        for (index, entry) in logs.iter().enumerate().skip(begun.saturating_sub(1)) {
            self.log(index, entry)?;
        }
        Ok(())
    }

    /// The last zxid, how many transactions were applied, what was odd, and where the logs end.
    #[allow(clippy::type_complexity, reason = "taken apart at once by the only caller")]
    pub(super) fn finish(mut self) -> Result<(Zxid, u64, Vec<Note>, Vec<LogEnd>), RecoverError> {
        let reached = self.logged.unwrap_or(Zxid::ZERO).max(self.base);
        let ahead = |file: &Path, needs| RecoverError::SnapshotAhead {
            file: file.to_path_buf(),
            needs,
            reached,
        };
        if let Some((path, info)) = self.snapshot
            && info.fuzzy_to() > reached
        {
            self.allow(Some(Accept::MissingLog), ahead(path, info.fuzzy_to()))?;
        }
        // Damaged snapshots still say by their names how far history went.
        if let Some(newest) = self.inventory.snapshots.first()
            && newest.zxid > reached
        {
            self.allow(Some(Accept::MissingLog), ahead(&newest.path, newest.zxid))?;
        }
        let file = self.snapshot.map(|(path, _)| path.clone());
        if let (Some(file), Err(error)) = (file.clone(), self.restore.replayed()) {
            let unfinished = RecoverError::Unfinished { file, source: Box::new(error) };
            self.allow(Some(Accept::MissingLog), unfinished)?;
        }
        if let (Some(file), Some(mismatch)) = (file.clone(), self.digest.removed) {
            self.notes.push(Note::EarlyDigest { file, mismatch });
        }
        if let (Some(file), Some(mismatch)) = (file, self.digest.doubt) {
            self.allow(Some(Accept::Digest), RecoverError::SnapshotDigest { file, mismatch })?;
        } else if self.digest.mismatches > 0 {
            self.notes.push(Note::Unverified { mismatches: self.digest.mismatches });
        }
        Ok((reached, self.txns, self.notes, self.ends))
    }

    /// The first ones of a kind are told, of the others how many there are.
    fn let_pass(&mut self, accept: Accept, error: RecoverError) {
        let is_of_kind =
            |note: &&Note| matches!(note, Note::Overridden(e) if e.accept() == Some(accept));
        let told = self.notes.iter().filter(is_of_kind).count();
        if told < MOST_TOLD {
            return self.notes.push(Note::Overridden(error));
        }
        let others = self.notes.iter_mut().find_map(|note| match note {
            Note::OverriddenToo { accept: of, count } if *of == accept => Some(count),
            _ => None,
        });
        match others {
            Some(count) => *count += 1,
            None => self.notes.push(Note::OverriddenToo { accept, count: 1 }),
        }
    }

    /// Lets an error pass as a note if what covers it is accepted; `None`: nothing does.
    pub(super) fn allow(
        &mut self,
        accept: Option<Accept>,
        mut error: RecoverError,
    ) -> Result<(), RecoverError> {
        if let RecoverError::Log(fault) = &mut error {
            fault.accept = accept;
        }
        if let Some(accept) = accept.filter(|accept| self.options.overrides.accepts(*accept)) {
            self.let_pass(accept, error);
            return Ok(());
        }
        Err(error)
    }

    pub(super) fn last(&self) -> Zxid {
        self.logged.unwrap_or(self.base)
    }

    pub(super) fn fault(
        &self,
        entry: &LogEntry,
        offset: u64,
        why: Why,
        lost_to: Option<Zxid>,
    ) -> RecoverError {
        let named = self.inventory.snapshots.first().map(|newest| newest.zxid);
        let loss = Loss { safe: self.last().max(self.base), lost_to: lost_to.max(named) };
        let file = entry.path.clone();
        RecoverError::Log(Box::new(LogFault {
            file,
            offset,
            why,
            loss,
            accept: None,
            is_savable: false,
        }))
    }

    pub(super) fn record(
        &mut self,
        index: usize,
        entry: &LogEntry,
        record: &Record<'_>,
    ) -> Result<(), RecoverError> {
        let Record { zxid, offset, .. } = *record;
        if self.logged.is_some_and(|logged| zxid <= logged) {
            return self.again(entry, record);
        }
        self.check_order(entry, record)?;
        if self.recent.len() == RECENT_RECORDS {
            self.recent.pop_front();
        }
        let len = record.payload.len() + FRAME_LEN;
        self.recent.push_back(Seen { zxid, log: index, offset, len });
        if zxid > self.base {
            self.apply(entry, record)?;
        }
        self.logged = Some(zxid);
        Ok(())
    }

    /// Case I: nothing may be missing between the snapshot and this record.
    fn check_order(&mut self, entry: &LogEntry, record: &Record<'_>) -> Result<(), RecoverError> {
        let (zxid, after) = (record.zxid, self.last());
        let expected = successor(after, zxid);
        let is_first_of_older = self.logged.is_none() && zxid <= self.base;
        if zxid == expected || is_first_of_older {
            return Ok(());
        }
        if self.logged.is_none() && self.snapshot.is_none() && self.options.overrides.trust_empty {
            self.notes.push(Note::NoBeginning { file: entry.path.clone(), first: zxid });
            self.digest = DigestCheck::unknown();
            return Ok(());
        }
        // The last transaction that is missing is the one before.
        if zxid.0 - 1 <= self.base.0 {
            let file = entry.path.clone();
            self.notes.push(Note::CoveredGap { file, after, found: zxid });
            return Ok(());
        }
        let why = Why::Gap { after, expected, found: zxid };
        let gap = self.fault(entry, record.offset, why, Some(Zxid(zxid.0 - 1)));
        self.allow(Some(Accept::Gaps), gap)
    }

    /// Case J: a zxid that was there before must be the very same record.
    fn again(&mut self, entry: &LogEntry, record: &Record<'_>) -> Result<(), RecoverError> {
        let Record { zxid, offset, payload, .. } = *record;
        let first = self.recent.iter().find(|seen| seen.zxid == zxid).copied();
        if let Some(first) = first
            && first.len == payload.len() + FRAME_LEN
            && self.payload_of(first)? == payload
        {
            self.notes.push(Note::Duplicate { file: entry.path.clone(), offset, zxid });
            return Ok(());
        }
        Err(self.fault(entry, offset, Why::Conflict { zxid, after: self.last() }, None))
    }

    fn payload_of(&self, seen: Seen) -> Result<Vec<u8>, FileError> {
        let path = &self.inventory.logs[seen.log].path;
        let file = self.disk.open(path, crate::disk::Access::Read).doing("open", path)?;
        let mut frame = vec![0; seen.len];
        read_full(&*file, &mut frame, seen.offset).doing("read", path)?;
        frame.pop();
        frame.drain(..FRAME_LEN - 1);
        Ok(frame)
    }

    fn apply(&mut self, entry: &LogEntry, record: &Record<'_>) -> Result<(), RecoverError> {
        let Record { zxid, offset, .. } = *record;
        let mut txn = record.entry().map_err(|source| {
            self.fault(entry, offset, Why::Transaction { zxid, source }, Some(zxid))
        })?;
        if matches!(txn.txn, Txn::Check(_)) {
            self.notes.push(Note::BareCheck { file: entry.path.clone(), offset, zxid });
            // What a server that checks opcodes answers, and what `doctor` writes in its place.
            txn = TxnEntry { txn: Txn::Error(ErrorCode::Unimplemented.code()), ..txn };
        }
        if let Err(error) = self.restore.txn(&txn) {
            let why = Why::Tree { zxid, source: Box::new(error) };
            return Err(self.fault(entry, offset, why, Some(zxid)));
        }
        self.txns += 1;
        match self.digest.reached(zxid, txn.digest, self.restore.digest()) {
            Ok(()) => Ok(()),
            Err(mismatch) => {
                let error = self.fault(entry, offset, Why::Digest(mismatch), None);
                self.allow(Some(Accept::Digest), error)
            }
        }
    }
}
