//! Takes from damaged logs, in order, every record that is proven whole.
//!
//! What nothing proves to be lost is not told as whole either: where a log may have gone on, and
//! no record turns up that follows right behind, something may be missing.

use super::repair::{Cut, Fix, FixKind, RepairError};
use crate::disk::Disk;
use crate::error::Doing;
use crate::log::{Beyond, Damage, HeaderDamage, LogReader, LogWriter, OpenLog, Step};
use crate::log::{FRAME_LEN, heal, put_frame, scan_beyond};
use crate::manifest::Seal;
use crate::recover::{Inventory, LogEntry, Why, successor};
use std::collections::BTreeMap;
use zk_proto::txn::{Txn, TxnEntry};
use zk_proto::{ErrorCode, Jute, Limits, Zxid};

/// Records are passed on in batches of this many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// The records behind a snapshot, on their way to the copy.
pub(super) struct Salvage<'a> {
    disk: &'a dyn Disk,
    inventory: &'a Inventory,
    base: Zxid,
    /// What stands behind it does not fit the tree, for this reason.
    bound: Option<(Zxid, String)>,
    last: Option<Zxid>,
    /// Length and checksum of each record behind the snapshot.
    seen: BTreeMap<Zxid, (usize, u32)>,
    frames: Vec<u8>,
    writer: LogWriter,
    fixes: Vec<Fix>,
    cut: Option<Cut>,
    /// Where something may be missing, as long as the record right behind it has not turned up.
    doubt: Option<Cut>,
}

/// What was taken.
pub(super) struct Salvaged {
    /// The last record in the logs, also one that the snapshot holds.
    pub(super) logged: Option<Zxid>,
    pub(super) fixes: Vec<Fix>,
    /// Where history had to end, or may have gone on.
    pub(super) cut: Option<Cut>,
}

/// What stands where a log seems to end.
struct End {
    at: u64,
    damage: Option<Damage>,
    beyond: Beyond,
}

impl<'a> Salvage<'a> {
    pub(super) fn new(
        disk: &'a dyn Disk,
        inventory: &'a Inventory,
        base: Zxid,
        bound: Option<(Zxid, String)>,
        writer: LogWriter,
    ) -> Salvage<'a> {
        Salvage {
            disk,
            inventory,
            base,
            bound,
            last: None,
            seen: BTreeMap::new(),
            frames: Vec::new(),
            writer,
            fixes: Vec::new(),
            cut: None,
            doubt: None,
        }
    }

    /// Reads all logs that can hold something behind the snapshot, and ends the copy's log.
    pub(super) fn run(mut self) -> Result<Salvaged, RepairError> {
        let logs = &self.inventory.logs;
        let begun = logs.partition_point(|log| log.name <= self.base.next()).saturating_sub(1);
        for entry in logs.iter().skip(begun) {
            if self.cut.is_none() {
                self.log(entry)?;
            }
        }
        self.pass_on(0)?;
        let Salvage { writer, last: logged, fixes, cut, doubt, .. } = self;
        writer.close()?;
        Ok(Salvaged { logged, fixes, cut: cut.or(doubt) })
    }

    /// Up to where the copy goes.
    fn reached(&self) -> Zxid {
        self.last.unwrap_or(self.base).max(self.base)
    }

    fn log(&mut self, entry: &LogEntry) -> Result<(), RepairError> {
        let opened = LogReader::open(self.disk, &entry.path, entry.name);
        let (mut reader, mut header) = match opened.doing("read", &entry.path)? {
            OpenLog::Log(reader) => (reader, None),
            OpenLog::Damaged(damage) => {
                // Each record has a checksum of its own and does not need the header.
                let body = LogReader::open_body(self.disk, &entry.path, entry.name);
                (body.doing("read", &entry.path)?, Some(damage))
            }
        };
        let before = self.last;
        let end = self.records(entry, &mut reader)?;
        if self.last > before
            && let Some(damage) = header.take()
        {
            let (file, zxid) = (entry.path.clone(), self.reached());
            self.fixes.push(Fix { file, offset: 0, zxid, kind: FixKind::Header(damage) });
        }
        if let Some(end) = end {
            self.judge_end(entry, &reader, header, &end);
        }
        Ok(())
    }

    /// Takes records up to the end that the file seems to have; `None`: history ends in it.
    fn records(
        &mut self,
        entry: &LogEntry,
        reader: &mut LogReader,
    ) -> Result<Option<End>, RepairError> {
        while self.cut.is_none() {
            let at = reader.position();
            let damage = match reader.step().doing("read", &entry.path)? {
                Step::Record(record) => {
                    self.take(entry, at, record.payload, record.checksum)?;
                    continue;
                }
                Step::End => None,
                Step::Damage(damage) => Some(damage),
            };
            let (file, after) = (reader.file().clone(), self.last.unwrap_or(Zxid::ZERO));
            let limit = reader.limit();
            if let Some((payload, checksum, zxid)) =
                heal(&*file, at, limit).doing("read", &entry.path)?
            {
                let kind = FixKind::Frame;
                self.fixes.push(Fix { file: entry.path.clone(), offset: at, zxid, kind });
                self.take(entry, at, &payload, checksum)?;
                reader.seek(at + (payload.len() + FRAME_LEN) as u64);
                continue;
            }
            // What stands at this very place is no record, and heal found none in it.
            let beyond = scan_beyond(file, at, limit, after).doing("read", &entry.path)?;
            match beyond.first {
                // What is lost is in the snapshot.
                Some((next, zxid)) if zxid <= self.base.next() && next > at => reader.seek(next),
                Some((_, zxid)) => {
                    let problem = damage
                        .map_or("the log seems to end here".into(), |damage| damage.to_string());
                    let why = format!("{problem}; later records (from {zxid}) cannot follow");
                    self.cut = Some((entry.path.clone(), at, why));
                }
                None => return Ok(Some(End { at, damage, beyond })),
            }
        }
        Ok(None)
    }

    /// Whether nothing is missing where a log ends: recovery lets it end in a torn record of which
    /// nothing proves that it was never acknowledged. `header` is the damage of one in which there
    /// was no record.
    fn judge_end(
        &mut self,
        entry: &LogEntry,
        reader: &LogReader,
        header: Option<HeaderDamage>,
        end: &End,
    ) {
        let End { at, damage, beyond } = end;
        let mark = reader.mark().filter(|_| self.inventory.marks_count());
        let known = match entry.seal {
            Some(Seal::Closed { end, zxid, .. }) => Some((end, zxid)),
            Some(Seal::Open | Seal::Kept) | None => mark.map(|mark| (mark.end, mark.zxid)),
        };
        if let Some((end, zxid)) = known {
            if zxid > self.reached() {
                let why = damage.map_or(Why::BeforeMark { end, zxid }, Why::Damage);
                self.cut = Some((entry.path.clone(), *at, why.to_string()));
            }
            return;
        }
        let is_ours = matches!(entry.seal, Some(Seal::Open));
        let why = match (header, damage) {
            // What a crash of Apache leaves before anything was acknowledged.
            (Some(HeaderDamage::Empty | HeaderDamage::Blank), _) if !is_ours => return,
            (Some(header), _) => Why::Header(header),
            _ if is_ours => Why::NoMark,
            (None, Some(damage)) => Why::Damage(*damage),
            (None, None) if beyond.first_nonzero.is_none() => return,
            (None, None) => Why::Behind(*beyond),
        };
        self.doubt.get_or_insert((entry.path.clone(), *at, why.to_string()));
    }

    fn take(
        &mut self,
        entry: &LogEntry,
        offset: u64,
        payload: &[u8],
        checksum: u32,
    ) -> Result<(), RepairError> {
        let file = entry.path.clone();
        let decoded = TxnEntry::read(&mut zk_proto::Reader::with_limits(payload, Limits::NONE));
        let txn = match decoded {
            Ok(txn) => txn,
            Err(error) => {
                self.cut = Some((file, offset, error.to_string()));
                return Ok(());
            }
        };
        let zxid = txn.zxid();
        if zxid <= self.base {
            self.last = self.last.max(Some(zxid));
            return Ok(());
        }
        let after = self.reached();
        if zxid <= after {
            if self.seen.get(&zxid) == Some(&(payload.len(), checksum)) {
                self.fixes.push(Fix { file, offset, zxid, kind: FixKind::Duplicate });
            } else {
                self.cut = Some((file, offset, format!("{zxid} stands behind {after}")));
            }
            return Ok(());
        }
        let expected = successor(after, zxid);
        if zxid != expected {
            self.cut = Some((file, offset, format!("{zxid} follows {after}, but {expected} must")));
            return Ok(());
        }
        if let Some((bound, why)) = self.bound.as_ref().filter(|(bound, _)| zxid > *bound) {
            let why = format!("{zxid} does not go on from {bound}: {why}");
            self.cut = Some((file, offset, why));
            return Ok(());
        }
        // The first of a later epoch does not prove that the one before had ended.
        if zxid == after.next() {
            self.doubt = None;
        }
        self.seen.insert(zxid, (payload.len(), checksum));
        self.last = Some(zxid);
        if matches!(txn.txn, Txn::Check(_)) {
            let mut header = txn.header;
            let error = Txn::Error(ErrorCode::Unimplemented.code());
            header.op = error.opcode().code();
            put_frame(&mut self.frames, &TxnEntry { header, txn: error, digest: None }.to_bytes());
            self.fixes.push(Fix { file, offset, zxid, kind: FixKind::BareCheck });
        } else {
            put_frame(&mut self.frames, payload);
        }
        self.pass_on(BATCH_BYTES)
    }

    /// Writes the records that are there if they are at least so many bytes.
    fn pass_on(&mut self, least: usize) -> Result<(), RepairError> {
        if self.frames.len() >= least {
            self.writer.commit(&self.frames)?;
            self.frames.clear();
        }
        Ok(())
    }
}
