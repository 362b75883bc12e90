//! One log of a replay: whether it is one, how far it must go, and whether it may end where it
//! does.

use super::accept::Accept;
use super::error::{Note, RecoverError, Why};
use super::inventory::LogEntry;
use super::keep::free_name;
use super::replay::Replay;
use crate::error::{Doing, FileError};
use crate::log::{
    Beyond, Damage, HEADER_LEN, HeaderDamage, LogEnd, LogReader, Mark, OpenLog, Step, heal,
    scan_beyond,
};
use crate::manifest::Seal;
use crate::restore::Restore;
use std::path::PathBuf;
use zk_proto::Zxid;

/// Up to where a log must go.
#[derive(Clone, Copy, Debug)]
struct Proof {
    end: u64,
    zxid: Zxid,
    checksum: u32,
    /// Nothing behind counts.
    is_closed: bool,
}

impl<R: Restore> Replay<'_, R> {
    /// Replays one log.
    pub(super) fn log(&mut self, index: usize, entry: &LogEntry) -> Result<(), RecoverError> {
        let opened = LogReader::open(self.disk, &entry.path, entry.name);
        let mut reader = match opened.doing("read", &entry.path)? {
            OpenLog::Log(reader) => reader,
            OpenLog::Damaged(damage) => return self.no_log(index, entry, damage),
        };
        let is_newest = index + 1 == self.inventory.logs.len();
        let proof = self.proof(entry, &reader);
        let misses_mark = proof.is_none() && matches!(entry.seal, Some(Seal::Open));
        let mut end = LogEnd {
            path: entry.path.clone(),
            name: entry.name,
            end: reader.position(),
            zxid: Zxid::ZERO,
            checksum: 0,
            mark: reader.mark(),
            proven_to: proof.map_or(0, |proof| proof.end),
            is_dirty: false,
            keep_as: None,
        };
        let damage = self.records(index, entry, &mut reader, proof, &mut end)?;
        if misses_mark {
            // What could be read is safe all the same, and the mark told of no more than followed
            // it.
            let beyond = self.beyond(entry, &reader, end.end)?;
            let lost = self.fault(entry, end.end, Why::NoMark, beyond.last);
            self.allow(is_newest.then_some(Accept::CutNewestLog), lost)?;
        }
        let is_cut = self.judge_end(index, entry, &reader, proof, damage, &mut end)?;
        if is_cut || (misses_mark && end.is_dirty) {
            end.keep_as = Some(self.keep(entry)?);
        }
        self.ends.push(end);
        Ok(())
    }

    /// Up to where the list or the log's own mark says that it must go.
    fn proof(&self, entry: &LogEntry, reader: &LogReader) -> Option<Proof> {
        let mark = reader.mark().filter(|_| self.inventory.marks_count());
        match (entry.seal, mark) {
            (Some(Seal::Closed { end, zxid, checksum }), _) => {
                Some(Proof { end, zxid, checksum, is_closed: true })
            }
            (_, Some(Mark { end, zxid, checksum, .. })) => {
                Some(Proof { end, zxid, checksum, is_closed: false })
            }
            (Some(Seal::Open | Seal::Kept) | None, None) => None,
        }
    }

    /// A file that is no log.
    fn no_log(
        &mut self,
        index: usize,
        entry: &LogEntry,
        damage: HeaderDamage,
    ) -> Result<(), RecoverError> {
        let (file, mut keep_as) = (entry.path.clone(), None);
        // The records behind the header and the mark behind them still say what there was.
        let body = LogReader::open_body(self.disk, &file, entry.name).doing("read", &file)?;
        let proof = self.proof(entry, &body);
        let beyond = self.beyond(entry, &body, HEADER_LEN)?;
        let lost_to = proof.map(|proof| proof.zxid).max(beyond.last);
        match damage {
            HeaderDamage::WrongDatabase(_) => {
                let error = self.fault(entry, 0, Why::Header(damage), lost_to);
                return Err(savable(error, beyond.records > 0));
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
                let error = self.fault(entry, 0, Why::Header(damage), lost_to);
                let error = savable(error, beyond.records > 0);
                self.allow(is_newest.then_some(Accept::CutNewestLog), error)?;
                if !matches!(damage, HeaderDamage::Empty | HeaderDamage::Blank) {
                    keep_as = Some(self.keep(entry)?);
                }
            }
        }
        self.ends.push(LogEnd {
            path: file,
            name: entry.name,
            end: 0,
            zxid: Zxid::ZERO,
            checksum: 0,
            mark: None,
            proven_to: 0,
            is_dirty: true,
            keep_as,
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

    /// Whether a log may end where it does; true: it is cut there on an operator's order.
    fn judge_end(
        &mut self,
        index: usize,
        entry: &LogEntry,
        reader: &LogReader,
        proof: Option<Proof>,
        damage: Option<Damage>,
        end: &mut LogEnd,
    ) -> Result<bool, RecoverError> {
        let next = self.inventory.logs.get(index + 1);
        let accept = next.is_none().then_some(Accept::CutNewestLog);
        let at = end.end;
        if let Some(proof) = proof
            && proof.end > at
        {
            let why =
                damage.map_or(Why::BeforeMark { end: proof.end, zxid: proof.zxid }, Why::Damage);
            let beyond = self.beyond(entry, reader, at)?;
            end.is_dirty = true;
            let lost = self.fault(entry, at, why, Some(proof.zxid).max(beyond.last));
            return self.allow(accept, savable(lost, is_whole(entry, reader, at)?)).map(|()| true);
        }
        // The next log goes on right here: whatever stands behind was never part of history.
        let goes_on = next.is_some_and(|next| next.name == self.last().next());
        if goes_on && damage.is_none() {
            return Ok(false);
        }
        let beyond = self.beyond(entry, reader, at)?;
        let is_clean = damage.is_none() && beyond.first_nonzero.is_none();
        if is_clean {
            return Ok(false);
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
            return Ok(false);
        }
        let why = damage.map_or(Why::Behind(beyond), Why::Damage);
        let lost = self.fault(entry, at, why, beyond.last);
        self.allow(accept, savable(lost, is_whole(entry, reader, at)?)).map(|()| true)
    }

    /// Finds a name under which a log is kept as it was, and tells it.
    fn keep(&mut self, entry: &LogEntry) -> Result<PathBuf, FileError> {
        let kept = free_name(self.disk, &entry.path)?;
        self.notes.push(Note::Kept { file: entry.path.clone(), kept: kept.clone() });
        Ok(kept)
    }

    fn beyond(&self, entry: &LogEntry, reader: &LogReader, at: u64) -> Result<Beyond, FileError> {
        let file = reader.file().clone();
        scan_beyond(file, at, reader.limit(), self.last()).doing("read", &entry.path)
    }
}

/// Whether the record at `at` is whole although its frame is not: a repair finds it then, and what
/// stands behind.
fn is_whole(entry: &LogEntry, reader: &LogReader, at: u64) -> Result<bool, FileError> {
    let healed = heal(&**reader.file(), at, reader.limit()).doing("read", &entry.path)?;
    Ok(healed.is_some())
}

/// Notes of a fault whether a repair saves more than a start that lets it pass.
fn savable(mut error: RecoverError, is_savable: bool) -> RecoverError {
    if let RecoverError::Log(fault) = &mut error {
        fault.is_savable = is_savable;
    }
    error
}
