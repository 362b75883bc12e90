//! The end of a history, for a learner that was away for longer than what is in memory (Apache
//! `ZKDatabase.getProposalsFromTxnLog`).
//!
//! Mirrors `TxnLogProposalIterator`; differs in: only a run without a hole is given, which begins
//! with the learner's own last transaction (ZOOKEEPER-2418, 4925).

use crate::data_dir::DataDirs;
use crate::disk::Disk;
use crate::error::{Doing, FileError};
use crate::log::{LogReader, OpenLog, Step};
use crate::names::Name;
use crate::recover::successor;
use zk_proto::Zxid;

/// A transaction, encoded.
pub type Encoded = (Zxid, Vec<u8>);

/// All transactions behind `after` and up to `upto`, which is durable. `None` if the logs do not
/// hold `after` and everything behind it, or if it were more than `max_bytes`.
pub fn read_tail(
    disk: &dyn Disk,
    dirs: &DataDirs,
    after: Zxid,
    upto: Zxid,
    max_bytes: usize,
) -> Result<Option<Vec<Encoded>>, FileError> {
    let dir = dirs.logs();
    let mut names: Vec<Zxid> = disk
        .list(&dir)
        .doing("list", &dir)?
        .iter()
        .filter_map(|entry| match Name::parse(&entry.name) {
            Name::Log(first) => Some(first),
            _ => None,
        })
        .collect();
    names.sort_unstable();
    // Who has only begun an epoch has everything before that.
    let mut last = (after.counter() == 0).then_some(after);
    let wanted = if last.is_some() { after.next() } else { after };
    let begins = names.iter().rposition(|first| *first <= wanted).unwrap_or(names.len());
    let mut tail = Vec::new();
    let mut bytes = 0;
    for first in &names[begins..] {
        let path = dir.join(Name::Log(*first).to_string());
        let opened = LogReader::open(disk, &path, *first).doing("read", &path)?;
        let OpenLog::Log(mut reader) = opened else { return Ok(None) };
        while let Step::Record(record) = reader.step().doing("read", &path)? {
            let zxid = record.zxid;
            if zxid > upto {
                break;
            }
            if zxid < after {
                continue;
            }
            if zxid == after {
                last = Some(after);
                continue;
            }
            if last.is_none_or(|last| successor(last, zxid) != zxid) {
                return Ok(None);
            }
            bytes += record.payload.len();
            if bytes > max_bytes {
                return Ok(None);
            }
            last = Some(zxid);
            tail.push((zxid, record.payload.to_vec()));
        }
    }
    Ok((last == Some(upto)).then_some(tail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{LogOptions, LogWriter, put_frame};
    use crate::manifest::Manifest;
    use crate::sim::SimDisk;
    use crate::testing;
    use std::sync::Arc;
    use zk_proto::Epoch;

    /// Files of three transactions each, in the epochs 1 and 2.
    fn logs() -> (SimDisk, DataDirs, Vec<Zxid>) {
        let (disk, dirs) = (SimDisk::new(512), DataDirs::new("/d", None));
        disk.create_dir_all(&dirs.logs()).unwrap();
        let options = LogOptions { reserve_bytes: 0, ..LogOptions::default() };
        let (shared, manifest) = (Arc::new(disk.clone()), Manifest::default());
        let mut writer = LogWriter::new(shared, dirs.logs(), options, Zxid(0), manifest).unwrap();
        let zxids: Vec<Zxid> =
            (1..=5).map(|n| (1, n)).chain((1..=4).map(|n| (2, n))).map(of).collect();
        for run in zxids.chunks(3) {
            let mut frames = Vec::new();
            run.iter().for_each(|it| put_frame(&mut frames, &testing::set_data(it.0, b"data")));
            writer.commit(&frames).unwrap();
            writer.roll().unwrap();
        }
        (disk, dirs, zxids)
    }

    fn of((epoch, counter): (i32, u32)) -> Zxid {
        Zxid::new(Epoch(epoch), counter)
    }

    fn tail(disk: &SimDisk, dirs: &DataDirs, after: Zxid, upto: Zxid) -> Option<Vec<Zxid>> {
        let tail = read_tail(disk, dirs, after, upto, 10_000).unwrap()?;
        Some(tail.into_iter().map(|(zxid, _)| zxid).collect())
    }

    #[test]
    fn from_each_transaction_to_each_later_one() {
        let (disk, dirs, zxids) = logs();
        for (from, after) in zxids.iter().enumerate() {
            for (to, upto) in zxids.iter().enumerate().skip(from) {
                let wanted = zxids[from + 1..=to].to_vec();
                assert_eq!(tail(&disk, &dirs, *after, *upto), Some(wanted), "{after} to {upto}");
            }
        }
        // Who has begun an epoch, and has no transaction of it.
        assert_eq!(tail(&disk, &dirs, of((2, 0)), of((2, 4))), Some(zxids[5..].to_vec()));
    }

    #[test]
    fn what_the_logs_do_not_hold_whole_is_not_given() {
        let (disk, dirs, zxids) = logs();
        let last = of((2, 4));
        for unknown in [of((1, 6)), of((2, 5)), of((3, 0)), of((9, 1))] {
            assert_eq!(tail(&disk, &dirs, unknown, last), None, "{unknown}");
        }
        assert_eq!(tail(&disk, &dirs, zxids[0], of((2, 5))), None, "it is not there");
        let few = read_tail(&disk, &dirs, zxids[0], last, 100).unwrap();
        assert_eq!(few, None, "too much");
        disk.remove(&dirs.logs().join(Name::Log(zxids[3]).to_string())).unwrap();
        assert_eq!(tail(&disk, &dirs, zxids[1], last), None, "a hole");
        assert_eq!(tail(&disk, &dirs, zxids[6], last), Some(zxids[7..].to_vec()));
    }
}
