//! A repaired copy: the newest whole snapshot, and behind it every record that is proven whole.
//!
//! What proves a record is its own checksum. A record whose length or end byte is damaged is whole
//! if some length gives its payload the stored checksum; it is written with a right frame. So are
//! the records behind a damaged header. A payload without its checksum is lost, and history ends
//! before it, for nothing may be missing in between; it ends too before what does not fit the tree.

use super::json;
use super::salvage::{Salvage, Salvaged};
use crate::data_dir::{DataDirs, LayoutError};
use crate::disk::{Disk, copy_file, read_small};
use crate::error::{Doing, FileError};
use crate::incomplete::{self, Word};
use crate::log::{HeaderDamage, LogError, LogOptions, LogWriter};
use crate::manifest::{LOGS, Manifest, SNAPSHOTS, Seal};
use crate::names::{Compression, Name};
use crate::recover::{
    Inventory, LogFault, RecoverError, RecoverOptions, Recovered, Why, is_beginning, recover,
};
use crate::restore::Restore;
use crate::session_rule;
use crate::snapshot::{SnapshotError, SnapshotOptions, SnapshotWriter, read_snapshot};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use zk_proto::acl::AclBytes;
use zk_proto::snapshot::{AclRecord, NodeRecord, OPEN_ACL_ID};
use zk_proto::{Jute, StatPersisted, Zxid};

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
    /// The header of its log was damaged; it is the last of the records behind.
    Header(HeaderDamage),
}

/// Where history had to end, in bytes of a log, and why.
pub(super) type Cut = (PathBuf, u64, String);

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

impl Repaired {
    /// The same as one JSON object; zxids are strings as they are printed everywhere.
    #[must_use]
    pub fn to_json(&self) -> String {
        json::repaired(self)
    }
}

impl fmt::Display for FixKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FixKind::Frame => f.write_str("its frame was damaged, the record is whole"),
            FixKind::Duplicate => f.write_str("it stood there twice"),
            FixKind::BareCheck => {
                f.write_str("a check outside a multi became a failed transaction")
            }
            FixKind::Header(damage) => {
                write!(f, "{damage}; the records up to this one were read without the header")
            }
        }
    }
}

impl fmt::Display for Repaired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Fix { file, offset, zxid, kind } in &self.fixes {
            writeln!(f, "repaired: {} at byte {offset}: {zxid}: {kind}", file.display())?;
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
    copy_small_files(&**disk, from, to)?;
    if let Ok(rule) = session_rule::load(&**disk, from) {
        session_rule::store(&**disk, to, rule.as_ref())?;
    }
    let (mut tried, mut failure) = (0, None);
    let (base, salvaged, last) = loop {
        let base = match copy_snapshot(disk, from, to, &inventory, &mut tried, options, restore) {
            Err(RepairError::NothingToBuildOn(dir)) => {
                return Err(
                    failure.map_or(RepairError::NothingToBuildOn(dir), RepairError::NotSound)
                );
            }
            copied => copied?,
        };
        match copy_logs(disk, to, &inventory, base, options, restore) {
            Ok((salvaged, last)) => break (base, salvaged, last),
            // It holds a part of what is lost behind it, or is wrong: an older one may hold less.
            Err(RepairError::NotSound(
                error @ (RecoverError::SnapshotAhead { .. }
                | RecoverError::SnapshotDigest { .. }
                | RecoverError::Unfinished { .. }),
            )) => failure = Some(error),
            Err(error) => return Err(error),
        }
        remove_files(&**disk, to, &[LOGS, SNAPSHOTS])?;
    };
    let Salvaged { logged, fixes, cut } = salvaged;
    let cut = match cut.or_else(|| missed(from, &inventory, base, logged, last)) {
        Some(cut) => Some(cut),
        None => unhealed(from, recover(&**disk, from, options, restore), last)?,
    };
    let word = note_word(&**disk, from, to, cut.is_some())?;
    Ok(Repaired { snapshot: base, last, fixes, cut, word })
}

/// Writes the log of a copy that has its snapshot, and its last transaction.
fn copy_logs<R: Restore>(
    disk: &Arc<dyn Disk>,
    to: &DataDirs,
    inventory: &Inventory,
    base: Zxid,
    options: &RecoverOptions,
    restore: &mut R,
) -> Result<(Salvaged, Zxid), RepairError> {
    let mut bound = None;
    loop {
        let salvaged = write_log(disk, to, inventory, base, bound.take())?;
        let last = salvaged.logged.unwrap_or(base).max(base);
        match recover(&**disk, to, options, restore) {
            Ok(recovered) if recovered.last == last => return Ok((salvaged, last)),
            Ok(recovered) => {
                return Err(RepairError::OtherEnd { found: recovered.last, wanted: last });
            }
            // Each record is whole, but they are not the history of this tree.
            Err(RecoverError::Log(fault)) if fault.loss.safe < last => {
                remove_files(&**disk, to, &[LOGS])?;
                bound = Some((fault.loss.safe, fault.why.to_string()));
            }
            Err(error) => return Err(RepairError::NotSound(error)),
        }
    }
}

/// Writes the copy's log; behind `bound`, if it is given, nothing fits.
fn write_log(
    disk: &Arc<dyn Disk>,
    to: &DataDirs,
    inventory: &Inventory,
    base: Zxid,
    bound: Option<(Zxid, String)>,
) -> Result<Salvaged, RepairError> {
    let log_options = LogOptions { force_sync: false, reserve_bytes: 0, ..LogOptions::default() };
    let manifest = Manifest::default();
    let writer = LogWriter::new(disk.clone(), to.logs(), log_options, base, manifest)?;
    Salvage::new(&**disk, inventory, base, bound, writer).run()
}

/// Removes the files of these lists, which the copy must not have.
fn remove_files(disk: &dyn Disk, to: &DataDirs, lists: &[&str]) -> Result<(), FileError> {
    let Inventory { logs, snapshots, .. } = Inventory::take(disk, to)?;
    let mut paths: Vec<PathBuf> = logs.into_iter().map(|log| log.path).collect();
    if lists.contains(&SNAPSHOTS) {
        paths.extend(snapshots.into_iter().map(|snapshot| snapshot.path));
    }
    paths.extend(lists.iter().map(|list| to.logs().join(list)));
    for path in paths {
        match disk.remove(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed.doing("remove", &path)?,
        }
    }
    Ok(())
}

/// What only the names and lists of files know to be missing, whatever the logs say: recovery tells
/// it too, but not where it fails before.
fn missed(
    from: &DataDirs,
    inventory: &Inventory,
    base: Zxid,
    logged: Option<Zxid>,
    last: Zxid,
) -> Option<Cut> {
    if let Some(newest) = inventory.snapshots.first().filter(|newest| newest.zxid > last) {
        let why = format!("it cannot be used, and no log goes up to {}", newest.zxid);
        return Some((newest.path.clone(), 0, why));
    }
    let goes_on = inventory.logs.last().is_none_or(|newest| newest.name > base);
    let reaches = goes_on || logged.is_some_and(|logged| logged >= base);
    (!reaches && !inventory.marks_count() && base.counter() > 0)
        .then(|| (from.logs(), 0, format!("the logs end before the snapshot of {base}")))
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
    from: &DataDirs,
    original: Result<Recovered, RecoverError>,
    last: Zxid,
) -> Result<Option<Cut>, RepairError> {
    Ok(match original {
        Ok(_) => None,
        Err(RecoverError::File(error)) => return Err(error.into()),
        Err(RecoverError::Log(fault)) => {
            let LogFault { file, offset, why, loss, .. } = *fault;
            let known = loss.lost_to.filter(|to| *to > loss.safe);
            let is_lost = match why {
                // A record stands there in the place of another one.
                Why::NotTheMarked { .. } | Why::Conflict { .. } => true,
                // The records behind were looked at without it, and where they may end too.
                Why::Header(_) => known.is_some_and(|to| last < to),
                _ => known.map_or(last <= loss.safe, |to| last < to),
            };
            is_lost.then(|| (file, offset, why.to_string()))
        }
        Err(RecoverError::MissingLog { file, loss }) => {
            let is_lost = loss.lost_to.is_none_or(|to| last < to);
            is_lost.then(|| (file, 0, "the log is missing".to_owned()))
        }
        Err(RecoverError::SnapshotDigest { file, mismatch }) => {
            (last < mismatch.zxid).then(|| (file, 0, mismatch.to_string()))
        }
        Err(error) => Some((from.logs(), 0, error.to_string())),
    })
}

/// Copies the newest whole snapshot behind the `tried` ones; writes an empty one where the logs
/// begin at the beginning.
fn copy_snapshot<R: Restore>(
    disk: &Arc<dyn Disk>,
    from: &DataDirs,
    to: &DataDirs,
    inventory: &Inventory,
    tried: &mut usize,
    options: &RecoverOptions,
    restore: &mut R,
) -> Result<Zxid, RepairError> {
    for entry in inventory.snapshots.iter().skip(*tried) {
        *tried += 1;
        let form = (entry.zxid, entry.compression);
        match read_snapshot(&**disk, &entry.path, form, &options.read, restore) {
            Ok(_) => {}
            Err(SnapshotError::File(error)) => return Err(error.into()),
            Err(SnapshotError::Damaged { .. }) => continue,
        }
        let name = Name::Snapshot(entry.zxid, entry.compression).to_string();
        let target = to.snapshots().join(&name);
        copy_file(&**disk, &entry.path, &target).doing("copy", &target)?;
        let mut list = Manifest::default();
        list.insert(name, Seal::Open);
        list.store(&**disk, &to.snapshots(), SNAPSHOTS).doing("write", &to.snapshots())?;
        return Ok(entry.zxid);
    }
    // The empty one comes last, and once.
    let is_over = std::mem::replace(tried, usize::MAX) == usize::MAX;
    if is_over || !inventory.logs.first().is_some_and(|log| is_beginning(log.name)) {
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

fn copy_small_files(disk: &dyn Disk, from: &DataDirs, to: &DataDirs) -> Result<(), FileError> {
    let small = SMALL_FILES.map(|name| (from.snapshots().join(name), to.snapshots().join(name)));
    let myid = (from.data().join("myid"), to.data().join("myid"));
    for (source, target) in small.into_iter().chain([myid]) {
        match read_small(disk, &source, SMALL_FILE_BYTES) {
            Ok(_) => copy_file(disk, &source, &target).doing("copy", &target)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).doing("read", &source),
        }
    }
    Ok(())
}
