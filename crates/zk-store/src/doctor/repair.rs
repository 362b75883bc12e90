//! A repaired copy: the newest whole snapshot, and behind it every record that is proven whole.
//!
//! What proves a record is its own checksum. A record whose length or end byte is damaged is whole
//! if some length gives its payload the stored checksum; it is written with a right frame. A
//! payload without its checksum is lost, and history ends before it, for nothing may be missing in
//! between.

use super::heal::heal;
use crate::data_dir::{DataDirs, LayoutError};
use crate::disk::{Access, Disk, read_full, read_small};
use crate::error::{Doing, FileError};
use crate::incomplete::{self, Word};
use crate::log::{
    LogError, LogOptions, LogReader, LogWriter, OpenLog, Step, put_frame, scan_beyond,
};
use crate::manifest::{Manifest, SNAPSHOTS, Seal};
use crate::names::{Compression, Name};
use crate::recover::{
    Inventory, LogEntry, LogFault, RecoverError, RecoverOptions, Recovered, is_beginning, recover,
    successor,
};
use crate::restore::Restore;
use crate::session_rule;
use crate::snapshot::{SnapshotError, SnapshotOptions, SnapshotWriter, read_snapshot};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use zk_proto::acl::AclBytes;
use zk_proto::snapshot::{AclRecord, NodeRecord, OPEN_ACL_ID};
use zk_proto::txn::{Txn, TxnEntry};
use zk_proto::{ErrorCode, Jute, Limits, StatPersisted, Zxid};

/// Records are passed on in batches of this many bytes.
const BATCH_BYTES: usize = 1 << 20;
/// Files that hold no history and are copied as they are.
const SMALL_FILES: [&str; 2] = ["currentEpoch", "acceptedEpoch"];
const SMALL_FILE_BYTES: u64 = 4096;

/// Why there is no repaired copy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// A disk refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// The copy's log cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The target cannot be used.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The target holds logs or snapshots.
    #[error("{} is not empty: give a new directory for the repaired copy", .0.display())]
    NotEmpty(PathBuf),
    /// There is no whole snapshot, and the logs do not begin at the first transaction.
    #[error("{} has no whole snapshot and no log from the first transaction on: nothing to build on", .0.display())]
    NothingToBuildOn(PathBuf),
    /// The copy is not what it should be; this is a defect of ours.
    #[error("the repaired copy does not recover: {0}")]
    NotSound(RecoverError),
    /// The copy ends elsewhere than it should; a defect of ours.
    #[error("the repaired copy ends at {found} instead of {wanted}")]
    OtherEnd {
        /// As recovered.
        found: Zxid,
        /// As written.
        wanted: Zxid,
    },
}

/// Something that was put right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fix {
    /// The log.
    pub file: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// The record.
    pub zxid: Zxid,
    /// What was put right.
    pub kind: FixKind,
}

/// How a record was put right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FixKind {
    /// Its length or end byte was wrong, its payload whole.
    Frame,
    /// It stood there twice.
    Duplicate,
    /// It was a check outside a multi (ZOOKEEPER-2623); a failed transaction stands in its place.
    BareCheck,
}

/// What a repaired copy holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Repaired {
    /// It builds on the snapshot of this zxid.
    pub snapshot: Zxid,
    /// Its last transaction.
    pub last: Zxid,
    /// What was put right.
    pub fixes: Vec<Fix>,
    /// Where history had to end, and why; `None` if nothing was lost.
    pub cut: Option<(PathBuf, u64, String)>,
    /// What a member of an ensemble may do with it: the others must not follow one that may lack
    /// what it has acknowledged (DESIGN R5).
    pub word: Word,
}

impl fmt::Display for Repaired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Fix { file, offset, zxid, kind } in &self.fixes {
            let what = match kind {
                FixKind::Frame => "its frame was damaged, the record is whole",
                FixKind::Duplicate => "it stood there twice",
                FixKind::BareCheck => "a check outside a multi became a failed transaction",
            };
            writeln!(f, "repaired: {} at byte {offset}: {zxid}: {what}", file.display())?;
        }
        if let Some((file, offset, why)) = &self.cut {
            writeln!(f, "LOST: everything from {} byte {offset} on: {why}", file.display())?;
        }
        writeln!(f, "the copy is whole up to {}", self.last)?;
        match self.word {
            Word::Whole => Ok(()),
            word => writeln!(f, "{word}"),
        }
    }
}

/// Writes a repaired copy of a directory to `to`, which must be empty. The original is not touched.
/// `restore` judges snapshots and the copy as in recovery: with a tree, what is written is what the
/// tree accepts; with [`Discard`](crate::restore::Discard) the bytes alone are looked at.
pub fn repair_copy<R: Restore>(
    disk: &Arc<dyn Disk>,
    from: &DataDirs,
    to: &DataDirs,
    options: &RecoverOptions,
    restore: &mut R,
) -> Result<Repaired, RepairError> {
    let inventory = Inventory::take(&**disk, from)?;
    let _lock = to.open(&**disk, true)?;
    let target = Inventory::take(&**disk, to)?;
    if !(target.logs.is_empty() && target.snapshots.is_empty()) {
        return Err(RepairError::NotEmpty(to.logs()));
    }
    // Whatever there is of it before the end must not count.
    incomplete::note_incomplete(&**disk, to)?;
    let base = copy_snapshot(disk, from, to, &inventory, options, restore)?;
    copy_small_files(&**disk, from, to)?;
    if let Ok(rule) = session_rule::load(&**disk, from) {
        session_rule::store(&**disk, to, rule.as_ref())?;
    }
    let log_options = LogOptions { force_sync: false, reserve_bytes: 0, ..LogOptions::default() };
    let manifest = Manifest::default();
    let writer = LogWriter::new(disk.clone(), to.logs(), log_options, base, manifest)?;
    let mut repair = Repair {
        disk: &**disk,
        base,
        last: None,
        seen: BTreeMap::new(),
        frames: Vec::new(),
        writer,
        fixes: Vec::new(),
        cut: None,
    };
    let begun = inventory.logs.partition_point(|log| log.name <= base.next()).saturating_sub(1);
    for entry in inventory.logs.iter().skip(begun) {
        if repair.cut.is_none() {
            repair.log(entry)?;
        }
    }
    repair.pass_on(0)?;
    let Repair { writer, fixes, cut, last, .. } = repair;
    writer.close()?;
    let last = last.unwrap_or(base).max(base);
    let cut = match cut {
        Some(cut) => Some(cut),
        None => unhealed(recover(&**disk, from, options, restore), last)?,
    };
    match recover(&**disk, to, options, restore) {
        Ok(recovered) if recovered.last == last => {}
        Ok(recovered) => {
            return Err(RepairError::OtherEnd { found: recovered.last, wanted: last });
        }
        Err(error) => return Err(RepairError::NotSound(error)),
    }
    let word = note_word(&**disk, from, to, cut.is_some())?;
    Ok(Repaired { snapshot: base, last, fixes, cut, word })
}

/// Whether the copy counts: not where the original did not, or a member of an ensemble has lost
/// something.
fn note_word(
    disk: &dyn Disk,
    from: &DataDirs,
    to: &DataDirs,
    has_loss: bool,
) -> Result<Word, FileError> {
    let mut is_member = false;
    for name in SMALL_FILES {
        let path = from.snapshots().join(name);
        match read_small(disk, &path, SMALL_FILE_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            read => is_member |= read.map(|_| true).doing("read", &path)?,
        }
    }
    if incomplete::word(disk, from)? == Word::Whole && !(has_loss && is_member) {
        incomplete::history_is_whole(disk, to)?;
        return Ok(Word::Whole);
    }
    Ok(Word::Incomplete)
}

/// What the original lost, if the copy has it neither: the log, the byte, and why. Marks and lists
/// know of transactions that left no other trace.
fn unhealed(
    original: Result<Recovered, RecoverError>,
    last: Zxid,
) -> Result<Option<(PathBuf, u64, String)>, RepairError> {
    Ok(match original {
        Err(RecoverError::File(error)) => return Err(error.into()),
        Err(RecoverError::Log(fault)) => {
            let LogFault { file, offset, why, loss, .. } = *fault;
            let is_lost = loss.lost_to.map_or(last <= loss.safe, |to| last < to);
            is_lost.then(|| (file, offset, why.to_string()))
        }
        Err(RecoverError::MissingLog { file, loss }) => {
            let is_lost = loss.lost_to.is_none_or(|to| last < to);
            is_lost.then(|| (file, 0, "the log is missing".to_owned()))
        }
        Err(RecoverError::LogsBehind { dir, snapshot, .. }) => {
            Some((dir, 0, format!("the logs end before the snapshot of {snapshot}")))
        }
        _ => None,
    })
}

/// Copies the newest whole snapshot; writes an empty one where the logs begin at the beginning.
fn copy_snapshot<R: Restore>(
    disk: &Arc<dyn Disk>,
    from: &DataDirs,
    to: &DataDirs,
    inventory: &Inventory,
    options: &RecoverOptions,
    restore: &mut R,
) -> Result<Zxid, RepairError> {
    for entry in &inventory.snapshots {
        let form = (entry.zxid, entry.compression);
        match read_snapshot(&**disk, &entry.path, form, &options.read, restore) {
            Ok(_) => {}
            Err(SnapshotError::File(error)) => return Err(error.into()),
            Err(SnapshotError::Damaged { .. }) => continue,
        }
        let name = Name::Snapshot(entry.zxid, entry.compression).to_string();
        let target = to.snapshots().join(&name);
        copy(&**disk, &entry.path, &target).doing("copy", &target)?;
        let mut list = Manifest::default();
        list.insert(name, Seal::Open);
        list.store(&**disk, &to.snapshots(), SNAPSHOTS).doing("write", &to.snapshots())?;
        return Ok(entry.zxid);
    }
    if !inventory.logs.first().is_some_and(|log| is_beginning(log.name)) {
        return Err(RepairError::NothingToBuildOn(from.snapshots()));
    }
    let mut acls = 1i32.to_bytes();
    AclRecord { id: 1, acl: AclBytes::READ_ONLY }.write(&mut acls);
    let (shared, dir) = (disk.clone(), to.snapshots());
    let plain = SnapshotOptions { compression: Compression::None, ..SnapshotOptions::default() };
    let mut writer = SnapshotWriter::begin(shared, &dir, Zxid::ZERO, plain, &[], &acls)?;
    for (path, acl_id) in [
        ("", OPEN_ACL_ID),
        ("/zookeeper", OPEN_ACL_ID),
        ("/zookeeper/quota", OPEN_ACL_ID),
        ("/zookeeper/config", 1),
    ] {
        let stat = StatPersisted::default();
        writer.node(&NodeRecord { path: path.into(), data: Some(b""), acl_id, stat })?;
    }
    writer.finish(None)?;
    Ok(Zxid::ZERO)
}

fn copy(disk: &dyn Disk, from: &std::path::Path, to: &std::path::Path) -> io::Result<()> {
    let source = disk.open(from, Access::Read)?;
    let target = disk.open(to, Access::Create)?;
    let (mut at, mut buf) = (0, vec![0; 1 << 20]);
    loop {
        match read_full(&*source, &mut buf, at)? {
            0 => break,
            n => {
                target.write_at(&buf[..n], at)?;
                at += n as u64;
            }
        }
    }
    target.sync_data()
}

fn copy_small_files(disk: &dyn Disk, from: &DataDirs, to: &DataDirs) -> Result<(), FileError> {
    let small = SMALL_FILES.map(|name| (from.snapshots().join(name), to.snapshots().join(name)));
    let myid = (from.data().join("myid"), to.data().join("myid"));
    for (source, target) in small.into_iter().chain([myid]) {
        match read_small(disk, &source, SMALL_FILE_BYTES) {
            Ok(_) => copy(disk, &source, &target).doing("copy", &target)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).doing("read", &source),
        }
    }
    Ok(())
}

struct Repair<'a> {
    disk: &'a dyn Disk,
    base: Zxid,
    last: Option<Zxid>,
    /// Length and checksum of each record behind the snapshot.
    seen: BTreeMap<Zxid, (usize, u32)>,
    frames: Vec<u8>,
    writer: LogWriter,
    fixes: Vec<Fix>,
    cut: Option<(PathBuf, u64, String)>,
}

impl Repair<'_> {
    fn log(&mut self, entry: &LogEntry) -> Result<(), RepairError> {
        let opened = LogReader::open(self.disk, &entry.path, entry.name);
        let mut reader = match opened.doing("read", &entry.path)? {
            OpenLog::Log(reader) => reader,
            // A file without a header: the next one goes on, or there is a gap.
            OpenLog::Damaged(_) => return Ok(()),
        };
        while self.cut.is_none() {
            let at = reader.position();
            let problem = match reader.step().doing("read", &entry.path)? {
                Step::Record(record) => {
                    self.take(entry, at, record.payload, record.checksum)?;
                    continue;
                }
                Step::End => String::from("the log seems to end here"),
                Step::Damage(damage) => damage.to_string(),
            };
            let (file, after) = (reader.file().clone(), self.last.unwrap_or(Zxid::ZERO));
            let limit = reader.limit();
            if let Some((payload, checksum, zxid)) =
                heal(&*file, at, limit).doing("read", &entry.path)?
            {
                let kind = FixKind::Frame;
                self.fixes.push(Fix { file: entry.path.clone(), offset: at, zxid, kind });
                self.take(entry, at, &payload, checksum)?;
                reader.seek(at + (payload.len() + crate::log::FRAME_LEN) as u64);
                continue;
            }
            let beyond = scan_beyond(file, at + 1, limit, after).doing("read", &entry.path)?;
            match beyond.first {
                // What is lost is in the snapshot.
                Some((next, zxid)) if zxid <= self.base.next() => reader.seek(next),
                Some((_, zxid)) => {
                    let why = format!("{problem}; later records (from {zxid}) cannot follow");
                    self.cut = Some((entry.path.clone(), at, why));
                }
                None => break,
            }
        }
        Ok(())
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
        let after = self.last.unwrap_or(self.base).max(self.base);
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
