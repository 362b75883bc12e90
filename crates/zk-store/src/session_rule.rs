//! Which rule the session passwords follow, and which sessions are excepted (DESIGN R2).
//!
//! `zkfleet.sessions` stands beside the snapshots while the keyed rule holds; without it Apache's
//! does. It lists the sessions that were alive when the rule changed. Ids do not come again, so the
//! list is only replaced at a start, where those that closed since are left out. Format:
//! docs/formats/durable-mark.md.

use crate::data_dir::DataDirs;
use crate::disk::{Disk, read_small, replace_file};
use crate::error::{Doing, FileError};
use crate::sealed_text;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;
use zk_proto::SessionId;

const NAME: &str = "zkfleet.sessions";
const FIRST_LINE: &str = "zkfleet-sessions 1 hmac";
/// Room for a million sessions.
const MAX_BYTES: u64 = 32 << 20;

/// The sessions that keep Apache's passwords under the keyed rule; `None`: Apache's rule holds.
pub fn load(disk: &dyn Disk, dirs: &DataDirs) -> Result<Option<BTreeSet<SessionId>>, FileError> {
    let path = dirs.snapshots().join(NAME);
    let bytes = match read_small(disk, &path, MAX_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.doing("read", &path)?,
    };
    let damaged = || {
        let advice = "it is damaged: bring it back from a backup, or remove it to let all sessions \
                      that are alive keep Apache's passwords";
        io::Error::new(io::ErrorKind::InvalidData, advice)
    };
    parse(&bytes).map(Some).ok_or_else(damaged).doing("read", &path)
}

/// Notes the rule, durably, if it is another than what [`load`] gave.
pub fn store(
    disk: &dyn Disk,
    dirs: &DataDirs,
    legacy: Option<&BTreeSet<SessionId>>,
) -> Result<(), FileError> {
    let (dir, path) = (dirs.snapshots(), dirs.snapshots().join(NAME));
    if load(disk, dirs)?.as_ref() == legacy {
        return Ok(());
    }
    match legacy {
        Some(legacy) => {
            let text = to_text(legacy);
            replace_file(disk, &dir, NAME, &format!("{NAME}.tmp"), text.as_bytes())
                .doing("replace", &path)
        }
        None => {
            disk.remove(&path).doing("remove", &path)?;
            disk.sync_dir(&dir).doing("sync", &dir)
        }
    }
}

fn to_text(legacy: &BTreeSet<SessionId>) -> String {
    let mut text = format!("{FIRST_LINE}\n");
    for id in legacy {
        let _ = writeln!(text, "{:x}", id.0);
    }
    sealed_text::seal(text)
}

fn parse(bytes: &[u8]) -> Option<BTreeSet<SessionId>> {
    let lines = sealed_text::open(bytes, FIRST_LINE)?;
    lines.map(|line| Some(SessionId(u64::from_str_radix(line, 16).ok()? as i64))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimDisk;

    #[test]
    fn r2_the_rule_is_kept_and_no_damage_passes() {
        let (disk, dirs) = (SimDisk::new(512), DataDirs::new("/data", None));
        drop(dirs.open(&disk, true).unwrap());
        disk.sync_dir(dirs.data()).unwrap();
        assert_eq!(load(&disk, &dirs).unwrap(), None);
        store(&disk, &dirs, None).unwrap();
        for ids in [vec![], vec![1, -1, i64::MIN, 0x0100_0000_0000_0007]] {
            let legacy = ids.into_iter().map(SessionId).collect();
            store(&disk, &dirs, Some(&legacy)).unwrap();
            assert!(!disk.has_unsynced());
            assert_eq!(load(&disk, &dirs).unwrap(), Some(legacy));
        }
        let path = dirs.snapshots().join(NAME);
        let bytes = disk.read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            disk.plant(&path, &bad);
            assert!(load(&disk, &dirs).unwrap_err().to_string().contains("zkfleet.sessions"));
        }
        disk.plant(&path, &bytes);
        store(&disk, &dirs, None).unwrap();
        assert_eq!(load(&disk, &dirs).unwrap(), None);
    }
}
