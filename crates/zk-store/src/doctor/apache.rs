//! What an Apache server would do with a directory (disk-formats 4).

use super::SnapshotReport;
use crate::disk::Disk;
use crate::error::{Doing, FileError};
use crate::log::{Damage, HeaderDamage, LogReader, OpenLog, Record, Step};
use crate::recover::Inventory;
use std::fmt;
use zk_proto::txn::Txn;
use zk_proto::{Limits, Zxid};

/// What Apache 3.8 and 3.9 do at a start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Apache {
    /// It starts with this as the last transaction, whatever stands behind.
    Starts {
        /// The last transaction it sees.
        last: Zxid,
    },
    /// It exits.
    Refuses {
        /// With these words, or for this reason.
        why: String,
    },
}

impl fmt::Display for Apache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Apache::Starts { last } => write!(f, "would start at {last}"),
            Apache::Refuses { why } => write!(f, "would not start: {why}"),
        }
    }
}

pub(super) fn predict(
    disk: &dyn Disk,
    inventory: &Inventory,
    snapshots: &[SnapshotReport],
) -> Result<Apache, FileError> {
    let refuses = |why: String| Ok(Apache::Refuses { why });
    let whole = snapshots.iter().find(|snapshot| snapshot.content.is_ok());
    let base = match whole {
        Some(snapshot) => snapshot.zxid,
        None if !snapshots.is_empty() => {
            return refuses("Not able to find valid snapshots".into());
        }
        None if !inventory.logs.is_empty() => {
            return refuses("No snapshot found, but there are log entries".into());
        }
        None => return Ok(Apache::Starts { last: Zxid::ZERO }),
    };
    let mut last = base;
    let logs = &inventory.logs;
    let begun = logs.partition_point(|log| log.name <= base.next()).saturating_sub(1);
    for entry in &logs[begun..] {
        let name = entry.path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let opened = LogReader::open(disk, &entry.path, entry.name);
        let mut reader = match opened.doing("read", &entry.path)? {
            OpenLog::Log(reader) => reader,
            // Neither the database id nor the version is looked at.
            OpenLog::Damaged(HeaderDamage::WrongDatabase(_) | HeaderDamage::Version(_)) => {
                match read_anyway(disk, entry, base, &mut last)? {
                    Some(why) => return refuses(format!("{name}: {why}")),
                    None => continue,
                }
            }
            OpenLog::Damaged(HeaderDamage::Empty) => {
                return refuses(format!("{name} is empty (3.9 removes it and starts)"));
            }
            OpenLog::Damaged(damage) => return refuses(format!("{name}: {damage}")),
        };
        if let Some(why) = read(&mut reader, base, &mut last).doing("read", &entry.path)? {
            return refuses(format!("{name}: {why}"));
        }
    }
    Ok(Apache::Starts { last })
}

/// Reads a log as Apache does; why it would exit.
fn read(reader: &mut LogReader, base: Zxid, last: &mut Zxid) -> std::io::Result<Option<String>> {
    loop {
        match reader.step()? {
            Step::Record(record) => {
                if let Some(why) = unloadable(&record, base) {
                    return Ok(Some(why));
                }
                *last = (*last).max(record.zxid);
            }
            // For Apache a wrong end of a record is the end of the file, wherever it stands.
            Step::End | Step::Damage(Damage::Cut { .. } | Damage::EndOfRecord(_)) => {
                return Ok(None);
            }
            Step::Damage(Damage::Checksum { .. }) => return Ok(Some("CRC check failed".into())),
            Step::Damage(Damage::Length(length)) => {
                return Ok(Some(format!("Unreasonable length = {length}")));
            }
        }
    }
}

fn unloadable(record: &Record<'_>, base: Zxid) -> Option<String> {
    let length = record.payload.len();
    if length > Limits::default().max_len {
        return Some(format!(
            "Unreasonable length = {length} (unless its jute.maxbuffer is larger)"
        ));
    }
    if record.zxid <= base {
        return None;
    }
    match record.entry() {
        Ok(entry) if matches!(entry.txn, Txn::Check(_)) => Some("Unsupported Txn type 13".into()),
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    }
}

/// Reads a log whose header only we object to.
fn read_anyway(
    disk: &dyn Disk,
    entry: &crate::recover::LogEntry,
    base: Zxid,
    last: &mut Zxid,
) -> Result<Option<String>, FileError> {
    let opened = LogReader::open_body(disk, &entry.path, entry.name);
    let mut reader = opened.doing("read", &entry.path)?;
    read(&mut reader, base, last).doing("read", &entry.path)
}
