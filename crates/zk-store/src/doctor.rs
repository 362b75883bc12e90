//! Looks a data directory over, and saves from a damaged one what can be saved.
//!
//! [`examine`] reads every file, also those that recovery does not need, and says which zxids are
//! safe, what is wrong where, whether we would start, and what Apache would do, which may lose
//! writes silently. [`repair_copy`] writes a copy that both load. Neither changes the original.

mod apache;
mod json;
mod repair;
mod salvage;

use crate::data_dir::DataDirs;
use crate::disk::Disk;
use crate::error::{Doing, FileError};
use crate::incomplete::{self, Word};
use crate::log::{HeaderDamage, LogReader, OpenLog, Step, scan_beyond};
use crate::names::Compression;
use crate::recover::{
    Escape, Inventory, Note, RecoverError, RecoverOptions, Why, find_escape, recover,
};
use crate::restore::{Discard, Restore};
use crate::snapshot::{SnapshotError, SnapshotInfo, read_snapshot};
pub use apache::Apache;
pub use repair::{Fix, FixKind, RepairError, Repaired, repair_copy};
use std::fmt;
use std::path::PathBuf;
use zk_proto::Zxid;

/// What is in a directory.
#[derive(Debug)]
pub struct Report {
    /// Snapshots, newest first.
    pub snapshots: Vec<SnapshotReport>,
    /// Logs, oldest first.
    pub logs: Vec<LogReport>,
    /// Up to where recovery comes, and what it found odd; or why it refuses.
    pub state: Result<State, RecoverError>,
    /// How a server would start once in spite of the refusal.
    pub escape: Escape,
    /// What an Apache server would do with it.
    pub apache: Apache,
    /// What a member of an ensemble may do with it.
    pub word: Word,
}

/// A state that can be recovered.
#[derive(Debug)]
pub struct State {
    /// The last transaction.
    pub last: Zxid,
    /// What is odd.
    pub notes: Vec<Note>,
}

/// A snapshot file.
#[derive(Debug)]
pub struct SnapshotReport {
    /// Where.
    pub path: PathBuf,
    /// Its name's zxid.
    pub zxid: Zxid,
    /// How it is compressed.
    pub compression: Compression,
    /// Length on the disk in bytes.
    pub bytes: u64,
    /// What is in it, or what is wrong with it.
    pub content: Result<SnapshotInfo, SnapshotError>,
}

/// A log file.
#[derive(Debug)]
pub struct LogReport {
    /// Where.
    pub path: PathBuf,
    /// Length on the disk in bytes, padding included.
    pub bytes: u64,
    /// The first and the last whole record.
    pub zxids: Option<(Zxid, Zxid)>,
    /// How many whole records.
    pub records: u64,
    /// Behind the last of them.
    pub end: u64,
    /// The last record known to have been durable, if the file has a mark of ours.
    pub mark: Option<Zxid>,
    /// What is wrong at `end`, if anything.
    pub problem: Option<Why>,
    /// The last whole record behind the problem.
    pub behind: Option<Zxid>,
}

/// Looks a directory over. `restore` receives the state as in recovery; with a tree that keeps its
/// digest the recorded ones are compared, with [`Discard`] they are not.
pub fn examine<R: Restore>(
    disk: &dyn Disk,
    dirs: &DataDirs,
    options: &RecoverOptions,
    restore: &mut R,
) -> Result<Report, FileError> {
    let inventory = Inventory::take(disk, dirs)?;
    let mut snapshots = Vec::new();
    for entry in &inventory.snapshots {
        let (path, form) = (entry.path.clone(), (entry.zxid, entry.compression));
        let content = read_snapshot(disk, &path, form, &options.read, &mut Discard);
        let opened = disk.open(&path, crate::disk::Access::Read);
        let bytes = opened.and_then(|file| file.len()).doing("read", &path)?;
        let (zxid, compression) = form;
        snapshots.push(SnapshotReport { path, zxid, compression, bytes, content });
    }
    let mut logs = Vec::new();
    for entry in &inventory.logs {
        let opened = LogReader::open(disk, &entry.path, entry.name);
        logs.push(match opened.doing("read", &entry.path)? {
            OpenLog::Log(mut reader) => {
                examine_log(&mut reader, entry.path.clone()).doing("read", &entry.path)?
            }
            OpenLog::Damaged(damage) => {
                let body = LogReader::open_body(disk, &entry.path, entry.name)
                    .doing("read", &entry.path)?;
                examine_body(&body, entry.path.clone(), damage).doing("read", &entry.path)?
            }
        });
    }
    let apache = apache::predict(disk, &inventory, &snapshots)?;
    let (state, escape) = match recover(disk, dirs, options, restore) {
        Ok(recovered) => (Ok(State { last: recovered.last, notes: recovered.notes }), Escape::None),
        Err(RecoverError::File(error)) => return Err(error),
        Err(error) => {
            let escape = find_escape(&error, disk, dirs, options, restore);
            (Err(error), escape)
        }
    };
    let word = incomplete::word(disk, dirs)?;
    Ok(Report { snapshots, logs, state, escape, apache, word })
}

/// What is known of a log in which nothing was read yet.
fn unread(reader: &LogReader, path: PathBuf, end: u64) -> LogReport {
    let mark = reader.mark().filter(|mark| mark.zxid > Zxid::ZERO);
    LogReport {
        path,
        bytes: reader.len(),
        zxids: None,
        records: 0,
        end,
        mark: mark.map(|mark| mark.zxid),
        problem: None,
        behind: None,
    }
}

/// A file whose header is not that of a log; all that is in it stands behind a problem.
fn examine_body(
    reader: &LogReader,
    path: PathBuf,
    damage: HeaderDamage,
) -> std::io::Result<LogReport> {
    let file = reader.file().clone();
    let beyond = scan_beyond(file, reader.position(), reader.limit(), Zxid::ZERO)?;
    let report = unread(reader, path, 0);
    Ok(LogReport { problem: Some(Why::Header(damage)), behind: beyond.last, ..report })
}

fn examine_log(reader: &mut LogReader, path: PathBuf) -> std::io::Result<LogReport> {
    let mark = reader.mark();
    let mut report = unread(reader, path, reader.position());
    let damage = loop {
        match reader.step()? {
            Step::Record(record) => {
                let first = report.zxids.map_or(record.zxid, |(first, _)| first);
                report.zxids = Some((first, record.zxid));
                report.records += 1;
                report.end = record.end;
            }
            Step::Damage(damage) => break Some(damage),
            Step::End => break None,
        }
    };
    let last = report.zxids.map_or(Zxid::ZERO, |(_, last)| last);
    let file = reader.file().clone();
    let beyond = scan_beyond(file, report.end, reader.limit(), last)?;
    report.behind = beyond.last;
    report.problem = match (damage, mark) {
        (Some(damage), _) => Some(Why::Damage(damage)),
        (None, Some(mark)) if mark.end > report.end => {
            Some(Why::BeforeMark { end: mark.end, zxid: mark.zxid })
        }
        _ if beyond.first_nonzero.is_some() => Some(Why::Behind(beyond)),
        _ => None,
    };
    Ok(report)
}

impl Report {
    /// Whether something is lost or damaged, be it in a file that no start needs: an older snapshot
    /// is what is left when the newest one is damaged.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        let notes = self.state.as_ref().map(|state| &state.notes[..]);
        notes.is_err()
            || self.snapshots.iter().any(|snapshot| snapshot.content.is_err())
            || self.logs.iter().zip(self.logs.iter().skip(1)).any(|(log, next)| log.has_hole(next))
            || notes.is_ok_and(|notes| notes.iter().any(is_of_damage))
    }

    /// The report as one JSON object; zxids are strings as they are printed everywhere.
    #[must_use]
    pub fn to_json(&self) -> String {
        json::report(self)
    }

    /// What Apache would silently leave out when it starts: everything behind its last transaction
    /// of which there is a trace.
    #[must_use]
    pub fn apache_would_lose(&self) -> Option<(Zxid, Zxid)> {
        let Apache::Starts { last } = &self.apache else { return None };
        let logged = self
            .logs
            .iter()
            .flat_map(|log| [log.zxids.map(|(_, last)| last), log.mark, log.behind]);
        let named = self.snapshots.iter().map(|snapshot| snapshot.zxid);
        let known = logged.flatten().chain(named).max()?;
        (known > *last).then_some((last.next(), known))
    }
}

/// Whether a note tells of a damage, or of a record that may have been acknowledged.
fn is_of_damage(note: &Note) -> bool {
    matches!(note, Note::DamagedManifest(_) | Note::TornTail { proven: false, .. })
}

impl LogReport {
    /// Whether records stand behind what cannot be read, and the next log does not go on in front
    /// of it. Recovery judges what it reads; this is for logs from before the snapshot.
    fn has_hole(&self, next: &LogReport) -> bool {
        let last = self.zxids.map(|(_, last)| last);
        let goes_on =
            next.zxids.is_some_and(|(first, _)| last.is_some_and(|last| first == last.next()));
        self.problem.is_some() && self.behind.is_some() && !goes_on
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |path: &PathBuf| {
            path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        };
        for snapshot in &self.snapshots {
            write!(f, "{}: ", name(&snapshot.path))?;
            match &snapshot.content {
                Ok(info) => {
                    write!(f, "whole, {} znodes, {} sessions", info.nodes, info.sessions)?;
                    if info.fuzzy_to() > info.zxid {
                        write!(f, ", fuzzy up to {}", info.fuzzy_to())?;
                    }
                    writeln!(f)?;
                }
                Err(error) => writeln!(f, "DAMAGED: {error}")?,
            }
        }
        for log in &self.logs {
            write!(f, "{}: ", name(&log.path))?;
            match log.zxids {
                Some((first, last)) => write!(f, "{first} to {last}, {} records", log.records)?,
                None => write!(f, "no records")?,
            }
            if let Some(mark) = log.mark {
                write!(f, ", durable up to {mark}")?;
            }
            match &log.problem {
                Some(why) => writeln!(f, "; at byte {}: {why}", log.end)?,
                None => writeln!(f)?,
            }
        }
        match &self.state {
            Ok(state) => {
                writeln!(f, "state: whole up to {}", state.last)?;
                for note in &state.notes {
                    writeln!(f, "note: {note}")?;
                }
            }
            Err(error) => writeln!(f, "state: REFUSED: {error}{}", self.escape)?,
        }
        if self.word != Word::Whole {
            writeln!(f, "member: {}", self.word)?;
        }
        write!(f, "Apache: {}", self.apache)?;
        if let Some((from, to)) = self.apache_would_lose() {
            write!(f, ", and would silently lose {from} to {to}")?;
        }
        writeln!(f)
    }
}
