//! Reads the logs behind a snapshot, in order, and judges where each of them ends.

use super::RecoverOptions;
use super::digest::DigestCheck;
use super::error::{LogFault, Loss, Note, RecoverError, Why};
use super::inventory::{Inventory, LogEntry};
use crate::data_dir::DataDirs;
use crate::disk::{Disk, read_full};
use crate::error::{Doing, FileError};
use crate::log::{
    Beyond, Damage, FRAME_LEN, HeaderDamage, LogEnd, LogReader, Mark, OpenLog, Record, Step,
    scan_beyond,
};
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

/// Up to where a log must go.
#[derive(Clone, Copy, Debug)]
struct Proof {
    end: u64,
    zxid: Zxid,
    checksum: u32,
    /// Nothing behind counts.
    is_closed: bool,
}

/// Where a record was seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    zxid: Zxid,
    log: usize,
    offset: u64,
    len: usize,
}

/// Which transaction must follow `after` when `zxid` is found: the next one, or of a later epoch
/// the first, whose counter is 1.
pub(crate) fn successor(after: Zxid, zxid: Zxid) -> Zxid {
    match zxid.epoch() > after.epoch() {
        true => Zxid::new(zxid.epoch(), 1),
        false => after.next(),
    }
}

/// The replay of all logs.
pub(super) struct Replay<'a, R> {
    disk: &'a dyn Disk,
    options: &'a RecoverOptions,
    inventory: &'a Inventory,
    snapshot: Option<&'a (PathBuf, SnapshotInfo)>,
    restore: &'a mut R,
    /// The snapshot holds everything up to here.
    base: Zxid,
    /// The last record read, applied or not.
    logged: Option<Zxid>,
    recent: VecDeque<Seen>,
    digest: DigestCheck,
    txns: u64,
    notes: Vec<Note>,
    ends: Vec<LogEnd>,
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
        // Where the list is ours and counts, it says itself that there is no log.
        if inventory.logs.is_empty() && self.base > Zxid::ZERO && !inventory.marks_count() {
            self.allow(self.options.overrides.missing_log, missing(dirs.logs(), None))?;
        }
        for (i, (name, seal)) in inventory.listed.iter().enumerate() {
            let next = inventory.listed.get(i + 1).map(|(next, _)| *next);
            let (needed, lost_to) = match seal {
                Seal::Closed { zxid, .. } => (*zxid > self.base, Some(*zxid)),
                Seal::Open | Seal::Kept => (next.is_none_or(|next| next > self.base.next()), None),
            };
            if needed && !inventory.logs.iter().any(|log| log.name == *name) {
                let file = dirs.logs().join(Name::Log(*name).to_string());
                self.allow(self.options.overrides.missing_log, missing(file, lost_to))?;
            }
        }
        Ok(())
    }

    /// Reads all logs that can hold something behind the snapshot.
    pub(super) fn run(&mut self) -> Result<(), RecoverError> {
        self.check_snapshot_digest()?;
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
            self.allow(self.options.overrides.missing_log, ahead(path, info.fuzzy_to()))?;
        }
        // Damaged snapshots still say by their names how far history went.
        if let Some(newest) = self.inventory.snapshots.first()
            && newest.zxid > reached
        {
            self.allow(self.options.overrides.missing_log, ahead(&newest.path, newest.zxid))?;
        }
        if self.digest.mismatches > 0 {
            self.notes.push(Note::Unverified { mismatches: self.digest.mismatches });
        }
        Ok((reached, self.txns, self.notes, self.ends))
    }

    /// Lets an error pass as a note if its override is set.
    fn allow(&mut self, allowed: bool, error: RecoverError) -> Result<(), RecoverError> {
        if !allowed {
            return Err(error);
        }
        self.notes.push(Note::Overridden(error));
        Ok(())
    }

    fn last(&self) -> Zxid {
        self.logged.unwrap_or(self.base)
    }

    fn log(&mut self, index: usize, entry: &LogEntry) -> Result<(), RecoverError> {
        let opened =
            LogReader::open(self.disk, &entry.path, entry.name, self.options.max_payload());
        let mut reader = match opened.doing("read", &entry.path)? {
            OpenLog::Log(reader) => reader,
            OpenLog::Damaged(damage) => return self.no_log(index, entry, damage),
        };
        let is_newest = index + 1 == self.inventory.logs.len();
        let mark = reader.mark().filter(|_| self.inventory.marks_count());
        let proof = match (entry.seal, mark) {
            (Some(Seal::Closed { end, zxid, checksum }), _) => {
                Some(Proof { end, zxid, checksum, is_closed: true })
            }
            (_, Some(Mark { end, zxid, checksum, .. })) => {
                Some(Proof { end, zxid, checksum, is_closed: false })
            }
            (Some(Seal::Open), None) => {
                let lost = self.fault(entry, 0, Why::NoMark, None);
                self.allow(self.options.overrides.cut_newest_log && is_newest, lost)?;
                None
            }
            (Some(Seal::Kept) | None, None) => None,
        };
        let mut end = LogEnd {
            path: entry.path.clone(),
            name: entry.name,
            end: reader.position(),
            zxid: Zxid::ZERO,
            checksum: 0,
            mark: reader.mark(),
            is_dirty: false,
        };
        let damage = self.records(index, entry, &mut reader, proof, &mut end)?;
        self.judge_end(index, entry, &reader, proof, damage, &mut end)?;
        self.ends.push(end);
        Ok(())
    }

    /// A file that is no log.
    fn no_log(
        &mut self,
        index: usize,
        entry: &LogEntry,
        damage: HeaderDamage,
    ) -> Result<(), RecoverError> {
        let file = entry.path.clone();
        match damage {
            HeaderDamage::WrongDatabase(_) => {
                return Err(self.fault(entry, 0, Why::Header(damage), None));
            }
            // What a crash of Apache leaves before anything was acknowledged. A log of ours gets
            // its name only when it has a header.
            HeaderDamage::Empty | HeaderDamage::Blank
                if !matches!(entry.seal, Some(Seal::Open | Seal::Closed { .. })) =>
            {
                self.notes.push(Note::EmptyLog(file.clone()));
            }
            _ => {
                let is_newest = index + 1 == self.inventory.logs.len();
                let error = self.fault(entry, 0, Why::Header(damage), None);
                self.allow(self.options.overrides.cut_newest_log && is_newest, error)?;
            }
        }
        self.ends.push(LogEnd {
            path: file,
            name: entry.name,
            end: 0,
            zxid: Zxid::ZERO,
            checksum: 0,
            mark: None,
            is_dirty: true,
        });
        Ok(())
    }

    /// Reads records up to the end that the file seems to have.
    fn records(
        &mut self,
        index: usize,
        entry: &LogEntry,
        reader: &mut LogReader,
        proof: Option<Proof>,
        end: &mut LogEnd,
    ) -> Result<Option<Damage>, RecoverError> {
        loop {
            if proof.is_some_and(|proof| proof.is_closed && end.end >= proof.end) {
                return Ok(None);
            }
            match reader.step().doing("read", &entry.path)? {
                Step::Record(record) => {
                    if let Some(Proof { end, zxid, .. }) = proof
                        && (record.offset + 1..record.end).contains(&end)
                    {
                        let why = Why::NotTheMarked { zxid };
                        return Err(self.fault(entry, record.offset, why, Some(zxid)));
                    }
                    self.record(index, entry, &record)?;
                    (end.end, end.zxid, end.checksum) = (record.end, record.zxid, record.checksum);
                    if let Some(proof) = proof
                        && proof.end == end.end
                        && (proof.zxid, proof.checksum) != (end.zxid, end.checksum)
                    {
                        let why = Why::NotTheMarked { zxid: proof.zxid };
                        return Err(self.fault(entry, record.offset, why, Some(proof.zxid)));
                    }
                }
                Step::End => return Ok(None),
                Step::Damage(damage) => return Ok(Some(damage)),
            }
        }
    }

    /// Whether a log may end where it does.
    fn judge_end(
        &mut self,
        index: usize,
        entry: &LogEntry,
        reader: &LogReader,
        proof: Option<Proof>,
        damage: Option<Damage>,
        end: &mut LogEnd,
    ) -> Result<(), RecoverError> {
        let next = self.inventory.logs.get(index + 1);
        let override_ = self.options.overrides.cut_newest_log && next.is_none();
        let at = end.end;
        if let Some(proof) = proof
            && proof.end > at
        {
            let why =
                damage.map_or(Why::BeforeMark { end: proof.end, zxid: proof.zxid }, Why::Damage);
            let beyond = self.beyond(entry, reader, at)?;
            end.is_dirty = true;
            let lost = self.fault(entry, at, why, Some(proof.zxid).max(beyond.last));
            return self.allow(override_, lost);
        }
        // The next log goes on right here: whatever stands behind was never part of history.
        let goes_on = next.is_some_and(|next| next.name == self.last().next());
        if goes_on && damage.is_none() {
            return Ok(());
        }
        let beyond = self.beyond(entry, reader, at)?;
        let is_clean = damage.is_none() && beyond.first_nonzero.is_none();
        if is_clean {
            return Ok(());
        }
        end.is_dirty = true;
        let is_torn = beyond.records == 0
            && matches!(damage, Some(Damage::Cut { .. } | Damage::EndOfRecord(_)));
        if proof.is_some() || goes_on || (is_torn && next.is_none()) {
            self.notes.push(Note::TornTail {
                file: entry.path.clone(),
                offset: at,
                last: self.last(),
                damage,
                proven: proof.is_some() || goes_on,
            });
            return Ok(());
        }
        let why = damage.map_or(Why::Behind(beyond), Why::Damage);
        let lost = self.fault(entry, at, why, beyond.last);
        self.allow(override_, lost)
    }

    fn beyond(&self, entry: &LogEntry, reader: &LogReader, at: u64) -> Result<Beyond, FileError> {
        let (file, max) = (reader.file().clone(), self.options.max_payload());
        scan_beyond(file, at, reader.limit(), self.last(), max).doing("read", &entry.path)
    }

    fn fault(
        &self,
        entry: &LogEntry,
        offset: u64,
        why: Why,
        lost_to: Option<Zxid>,
    ) -> RecoverError {
        let named = self.inventory.snapshots.first().map(|newest| newest.zxid);
        let loss = Loss { safe: self.last().max(self.base), lost_to: lost_to.max(named) };
        let file = entry.path.clone();
        RecoverError::Log(Box::new(LogFault { file, offset, why, loss }))
    }

    fn record(
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
        // The last transaction that is missing is the one before.
        if zxid.0 - 1 <= self.base.0 {
            let file = entry.path.clone();
            self.notes.push(Note::CoveredGap { file, after, found: zxid });
            return Ok(());
        }
        let why = Why::Gap { after, expected, found: zxid };
        let gap = self.fault(entry, record.offset, why, Some(Zxid(zxid.0 - 1)));
        self.allow(self.options.overrides.gaps, gap)
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
        let mut txn = record.entry(self.options.read.limits).map_err(|source| {
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
                self.allow(self.options.overrides.digest, error)
            }
        }
    }

    /// A snapshot that is exact must have the digest that it says.
    fn check_snapshot_digest(&mut self) -> Result<(), RecoverError> {
        let Some((path, _)) = self.snapshot else { return Ok(()) };
        match self.digest.reached(self.base, None, self.restore.digest()) {
            Ok(()) => Ok(()),
            Err(mismatch) => {
                let error = RecoverError::SnapshotDigest { file: path.clone(), mismatch };
                self.allow(self.options.overrides.digest, error)
            }
        }
    }
}
