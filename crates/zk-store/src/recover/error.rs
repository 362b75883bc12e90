//! Why a server must not start on a directory, and what was odd about one on which it may.

use super::accept::Accept;
use super::inventory::Void;
use crate::error::FileError;
use crate::log::{Beyond, Damage, HeaderDamage};
use crate::manifest::SNAPSHOTS;
use crate::snapshot::SnapshotError;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use zk_proto::{DecodeError, Zxid};

/// A server must not start: something is lost, or may be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// A log is not what it must be.
    #[error(transparent)]
    Log(Box<LogFault>),
    /// The tree digest of a snapshot is not the recorded one.
    #[error("{}: {mismatch}; {ADVICE}", .file.display())]
    SnapshotDigest {
        /// The snapshot.
        file: PathBuf,
        /// Both digests.
        mismatch: Mismatch,
    },
    /// Logs without the snapshot they go on from (case E).
    #[error(
        "no snapshot in {}, and the oldest log begins at {first}, not at the first transaction: \
         everything before it is lost; restore a snapshot from a backup or another member \
         (an upgrade from 3.4: snapshot.trust.empty=true)",
        .dir.display()
    )]
    NoSnapshot {
        /// The snapshot directory.
        dir: PathBuf,
        /// The oldest log's name.
        first: Zxid,
    },
    /// There are snapshots, and none is whole (case D).
    #[error(
        "none of the {tried} snapshots is whole, and the logs do not begin at the first \
         transaction; {newest}; restore a snapshot from a backup or another member"
    )]
    NoValidSnapshot {
        /// How many.
        tried: usize,
        /// What the newest one suffers from.
        newest: Box<SnapshotError>,
    },
    /// A log that must be there is not (case F).
    #[error(
        "{}: the log is missing; {loss}; put it back, unless you know that nothing is in it or \
         restore a snapshot alone",
        .file.display()
    )]
    MissingLog {
        /// The log, or the directory when no log is there at all.
        file: PathBuf,
        /// What is safe and what is not.
        loss: Loss,
    },
    /// The logs that led to the snapshot are not there, and so perhaps those behind it (case F).
    #[error(
        "the logs in {} end {}before the snapshot of {snapshot}: logs are missing, or they are those \
         of another server; safe: up to {snapshot}; lost: what came after, if anything did; put them \
         back, unless nothing was written after the snapshot (a member that has just taken it from \
         its leader)",
        .dir.display(),
        .reached.map(|zxid| format!("at {zxid}, ")).unwrap_or_default()
    )]
    LogsBehind {
        /// The log directory.
        dir: PathBuf,
        /// The last transaction that they hold, if any.
        reached: Option<Zxid>,
        /// What the snapshot holds.
        snapshot: Zxid,
    },
    /// A snapshot needs transactions that no log has.
    #[error("{}: {source}: it comes with a transaction that no log has; {ADVICE}", .file.display())]
    Unfinished {
        /// The snapshot.
        file: PathBuf,
        /// What is missing.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A snapshot holds traces of transactions that no log has.
    #[error(
        "{} holds transactions up to {needs}, but the logs end at {reached}: those between are \
         lost, or only partly in the tree; {ADVICE}",
        .file.display()
    )]
    SnapshotAhead {
        /// The snapshot.
        file: PathBuf,
        /// Up to where logs are needed.
        needs: Zxid,
        /// How far they go.
        reached: Zxid,
    },
}

impl RecoverError {
    /// What lets it pass, if anything can.
    #[must_use]
    pub fn accept(&self) -> Option<Accept> {
        match self {
            RecoverError::Log(fault) => fault.accept,
            RecoverError::SnapshotDigest { .. } => Some(Accept::Digest),
            RecoverError::MissingLog { .. }
            | RecoverError::LogsBehind { .. }
            | RecoverError::Unfinished { .. }
            | RecoverError::SnapshotAhead { .. } => Some(Accept::MissingLog),
            RecoverError::File(_)
            | RecoverError::NoSnapshot { .. }
            | RecoverError::NoValidSnapshot { .. } => None,
        }
    }
}

const ADVICE: &str = "`zkfleet doctor DIR --repair-to NEW` writes what can be saved to a copy";

/// Where a log fails, why, and what that costs.
#[derive(Debug, thiserror::Error)]
#[error("{} at byte {offset}: {why}; {loss}; {}", .file.display(), advice(*.is_savable))]
pub struct LogFault {
    /// The log.
    pub file: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub why: Why,
    /// What is safe and what is not.
    pub loss: Loss,
    /// What lets it pass, if anything can.
    pub accept: Option<Accept>,
    /// Records behind it are whole, and a repair saves them.
    pub is_savable: bool,
}

fn advice(is_savable: bool) -> &'static str {
    match is_savable {
        true => {
            "records behind it are whole: `zkfleet doctor DIR --repair-to NEW` writes them too to \
             a copy, so try that first"
        }
        false => ADVICE,
    }
}

/// What a damage costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loss {
    /// Everything up to here was read and is whole.
    pub safe: Zxid,
    /// The last transaction that is known to have been there, if it is later.
    pub lost_to: Option<Zxid>,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "safe: up to {}; lost: ", self.safe)?;
        match self.lost_to {
            Some(to) if to > self.safe => write!(f, "{} to {to}", self.safe.next()),
            _ => write!(f, "what came after, if anything did"),
        }
    }
}

/// A recorded tree digest and the computed one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the tree digest after {zxid} is {computed:#x}, recorded was {recorded:#x}")]
pub struct Mismatch {
    /// After this transaction.
    pub zxid: Zxid,
    /// As the writer recorded it.
    pub recorded: u64,
    /// Of the tree.
    pub computed: u64,
}

/// What is wrong with a log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// It is no log.
    #[error("{0}")]
    Header(HeaderDamage),
    /// Something is wrong where a record should be (cases A, C2).
    #[error("{0}")]
    Damage(Damage),
    /// The log ends, but it was longer once (cases B, C).
    #[error("the log ends here, but it was durable up to byte {end} ({zxid})")]
    BeforeMark {
        /// What the mark says.
        end: u64,
        /// What the mark says.
        zxid: Zxid,
    },
    /// The record at the mark is another one.
    #[error("another record stands here than the durable mark says ({zxid})")]
    NotTheMarked {
        /// What the mark says.
        zxid: Zxid,
    },
    /// The end, for Apache; but something stands behind it (case C).
    #[error("the log seems to end here, but {} stand behind", Behind(.0))]
    Behind(Beyond),
    /// One of our files without the marks at its end (case B).
    #[error("the durable mark at the file's end is gone: the file was cut or overwritten")]
    NoMark,
    /// Records are missing between two others (case I).
    #[error("{found} follows {after}, but {expected} must")]
    Gap {
        /// The record before.
        after: Zxid,
        /// What must follow it.
        expected: Zxid,
        /// What does.
        found: Zxid,
    },
    /// A zxid that was there before, with other content, or out of order (case J).
    #[error("{zxid} stands behind {after} and is no copy of an earlier record")]
    Conflict {
        /// The zxid.
        zxid: Zxid,
        /// The greatest zxid before.
        after: Zxid,
    },
    /// A record with a right checksum that means nothing.
    #[error("transaction {zxid} cannot be read: {source}")]
    Transaction {
        /// Its zxid.
        zxid: Zxid,
        /// Why.
        source: DecodeError,
    },
    /// The tree does not take a transaction.
    #[error("transaction {zxid} does not fit the tree: {source}")]
    Tree {
        /// Its zxid.
        zxid: Zxid,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A transaction is missing or wrong: the tree became another than the writer's (case I).
    #[error("{0}: a transaction is missing or wrong")]
    Digest(Mismatch),
}

/// Describes what stands behind an apparent end.
struct Behind<'a>(&'a Beyond);

impl fmt::Display for Behind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.first, self.0.last) {
            (Some((offset, first)), Some(last)) => {
                let records = self.0.records;
                write!(f, "{records} whole records ({first} to {last}, from byte {offset})")
            }
            _ => write!(f, "bytes that are not zero"),
        }
    }
}

/// What was odd, but lost nothing that anybody was promised, as far as the files can tell.
#[derive(Debug)]
#[non_exhaustive]
pub enum Note {
    /// A name that Apache would take for a log or snapshot.
    Stray(PathBuf),
    /// A snapshot was damaged; an older one and its logs were used (case D).
    DamagedSnapshot(Box<SnapshotError>),
    /// The newest snapshots are gone; the logs have what they held.
    MissingSnapshot {
        /// The snapshot directory.
        dir: PathBuf,
        /// The newest one that the list names; `None` if the list itself is gone, too.
        name: Option<String>,
    },
    /// A snapshot's digest is not that of its tree, which a later one in the log proves: Apache may
    /// note the digest of a txn before the last one that a snapshot holds.
    EarlyDigest {
        /// The snapshot.
        file: PathBuf,
        /// The two digests.
        mismatch: Mismatch,
    },
    /// The durable marks say nothing.
    Void(Void),
    /// A manifest cannot be read.
    DamagedManifest(PathBuf),
    /// Unfinished writing at the end of a log was left out.
    TornTail {
        /// The log.
        file: PathBuf,
        /// Where it begins.
        offset: u64,
        /// The last record that counts.
        last: Zxid,
        /// What stands there.
        damage: Option<Damage>,
        /// Whether it stands behind what a mark or list vouches for. Records that were acknowledged
        /// since the last mark can be in it: docs/formats/durable-mark.md says which.
        proven: bool,
    },
    /// Nothing is left of what was before the first transaction (`snapshot.trust.empty`).
    NoBeginning {
        /// The oldest log.
        file: PathBuf,
        /// Its first transaction.
        first: Zxid,
    },
    /// A log without any record.
    EmptyLog(PathBuf),
    /// A record twice, byte for byte (case J).
    Duplicate {
        /// The log.
        file: PathBuf,
        /// Where the copy is.
        offset: u64,
        /// Its zxid.
        zxid: Zxid,
    },
    /// A check outside a multi (case G): it was skipped, Apache would not start.
    BareCheck {
        /// The log.
        file: PathBuf,
        /// Where.
        offset: u64,
        /// Its zxid.
        zxid: Zxid,
    },
    /// Records are missing, but the snapshot covers them.
    CoveredGap {
        /// The log.
        file: PathBuf,
        /// The record before.
        after: Zxid,
        /// The record behind.
        found: Zxid,
    },
    /// No recorded digest matched since the snapshot, which does not say where it is exact.
    Unverified {
        /// How many did not match.
        mismatches: u64,
    },
    /// A log that is cut on explicit order is kept as it was.
    Kept {
        /// The log.
        file: PathBuf,
        /// Its copy, which nobody reads as a log.
        kept: PathBuf,
    },
    /// An explicit flag let something pass that is refused otherwise.
    Overridden(RecoverError),
    /// There are so many others that the same lets pass: each txn behind a gap can be one.
    OverriddenToo {
        /// What lets them pass.
        accept: Accept,
        /// How many.
        count: u64,
    },
}

fn missing_snapshot(dir: &Path, name: Option<&str>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match name {
        Some(name) => write!(
            f,
            "{} lists {name}, which is not there: somebody removed it, or a crash came before it had \
             its name; the logs had what it held",
            dir.join(SNAPSHOTS).display()
        ),
        None => write!(
            f,
            "{} has neither snapshots nor a list of them, but the logs are ours: is it the dataDir that \
             it was? The logs had everything",
            dir.display()
        ),
    }
}

const TORN: &str = "it is left out as a torn write: it stands behind what is known to have been \
                    durable (only what was acknowledged since the last mark, a moment before the \
                    end, could be in it)";
const UNPROVEN: &str =
    "it is left out as Apache does; nothing proves that it was never acknowledged";

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Stray(path) => {
                let path = path.display();
                write!(f, "{path} is ignored here, but Apache may read it: take it away")
            }
            Note::DamagedSnapshot(error) => write!(f, "{error}; an older state was used"),
            Note::MissingSnapshot { dir, name } => missing_snapshot(dir, name.as_deref(), f),
            Note::Void(void) => write!(f, "the durable marks are void: {void}"),
            Note::DamagedManifest(path) => {
                write!(
                    f,
                    "{} is damaged: missing files would not be missed, nor foreign ones seen, and a \
                     log without a durable mark is judged by Apache's rules",
                    path.display()
                )
            }
            Note::TornTail { file, offset, last, damage, proven } => {
                write!(f, "{} ends at byte {offset} after {last}: ", file.display())?;
                match damage {
                    Some(damage) => write!(f, "{damage}; ")?,
                    None => write!(f, "rubbish behind; ")?,
                }
                f.write_str(if *proven { TORN } else { UNPROVEN })
            }
            Note::NoBeginning { file, first } => write!(
                f,
                "{} begins at {first} and there is no snapshot: what was before is taken for \
                 empty, as snapshot.trust.empty orders",
                file.display()
            ),
            Note::EmptyLog(path) => write!(f, "{} has no record", path.display()),
            Note::Duplicate { file, offset, zxid } => {
                write!(f, "{} at byte {offset}: {zxid} stands there twice", file.display())
            }
            Note::BareCheck { file, offset, zxid } => write!(
                f,
                "{} at byte {offset}: {zxid} is a check outside a multi (ZOOKEEPER-2623), skipped; \
                 Apache will not start on this log before `zkfleet doctor` repaired it",
                file.display()
            ),
            Note::CoveredGap { file, after, found } => write!(
                f,
                "{}: {found} follows {after}; the snapshot covers what is missing",
                file.display()
            ),
            Note::EarlyDigest { file, mismatch } => {
                let file = file.display();
                write!(f, "{file}: {mismatch}; a later digest in the log proves the tree")
            }
            Note::Unverified { mismatches } => write!(
                f,
                "{mismatches} recorded digests did not match; nothing says where the tree is \
                 exact"
            ),
            Note::Kept { file, kept } => {
                write!(f, "{} is cut; as it was it is kept as {}", file.display(), kept.display())
            }
            Note::Overridden(error) => write!(f, "let pass on explicit order: {error}"),
            Note::OverriddenToo { accept, count } => {
                write!(f, "let pass on explicit order: {count} more by {accept}")
            }
        }
    }
}
