//! Reading logs: whole, damaged, marked.

use super::super::frame::put_frame;
use super::*;
use crate::sim::SimDisk;
use crate::testing::{self, LOG_HEADER};

fn reader(bytes: &[u8]) -> LogReader {
    match open(bytes) {
        OpenLog::Log(reader) => reader,
        OpenLog::Damaged(damage) => panic!("{damage}"),
    }
}

fn open(bytes: &[u8]) -> OpenLog {
    let disk = SimDisk::new(512);
    disk.plant(Path::new("/log.1"), bytes);
    LogReader::open(&disk, Path::new("/log.1"), Zxid(1)).unwrap()
}

/// A log of transactions 1 to 3, with 100 zeros behind.
fn log() -> (Vec<u8>, Vec<u64>) {
    let (mut bytes, mut offsets) = (LOG_HEADER.to_vec(), vec![16]);
    for zxid in 1..=3 {
        let mut frame = Vec::new();
        put_frame(&mut frame, &testing::set_data(zxid, b"data"));
        bytes.extend(frame);
        offsets.push(bytes.len() as u64);
    }
    bytes.extend([0; 100]);
    (bytes, offsets)
}

/// How many records come before the end or the damage.
fn read(bytes: &[u8]) -> (u64, Option<Damage>) {
    let mut reader = reader(bytes);
    let mut records = 0;
    loop {
        match reader.step().unwrap() {
            Step::Record(record) => {
                records += 1;
                assert_eq!(record.zxid, Zxid(records));
                record.entry().unwrap();
            }
            Step::End => return (records as u64, None),
            Step::Damage(damage) => return (records as u64, Some(damage)),
        }
    }
}

#[test]
fn records_come_in_order_and_the_end_is_a_zero_length_or_the_files_end() {
    let (bytes, offsets) = log();
    assert_eq!(read(&bytes), (3, None));
    assert_eq!(read(&bytes[..offsets[3] as usize]), (3, None));
    assert_eq!(read(&bytes[..offsets[3] as usize + 5]), (3, None), "padding may be cut");
    let mut reader = reader(&bytes);
    for offset in &offsets {
        assert_eq!(reader.position(), *offset);
        let _ = reader.step().unwrap();
    }
}

#[test]
fn each_kind_of_damage_is_named() {
    let (bytes, offsets) = log();
    let second = offsets[1] as usize;
    let flip = |at: usize, with: u8| {
        let mut bad = bytes.clone();
        bad[at] ^= with;
        read(&bad)
    };
    assert!(matches!(flip(second + 7, 1), (1, Some(Damage::Checksum { .. }))));
    assert!(matches!(flip(second, 1), (1, Some(Damage::Checksum { .. }))));
    assert!(matches!(flip(second + 20, 1), (1, Some(Damage::Checksum { .. }))));
    assert!(matches!(flip(second + 8, 0x80), (1, Some(Damage::Length(_)))));
    assert!(matches!(flip(second + 8, 0x01), (1, Some(Damage::Length(_)))));
    let end = offsets[2] as usize;
    assert_eq!(flip(end - 1, 0x42), (1, Some(Damage::EndOfRecord(0))));
    assert_eq!(read(&bytes[..end - 3]), (1, Some(Damage::Cut { missing: 3 })));
    let mut zeroed = bytes.clone();
    zeroed[second + 8..second + 12].fill(0);
    assert_eq!(read(&zeroed), (1, None), "to be told by what stands behind");
}

#[test]
fn what_is_no_log_is_said() {
    let (bytes, _) = log();
    let damaged = |bytes: &[u8]| match open(bytes) {
        OpenLog::Log(_) => None,
        OpenLog::Damaged(damage) => Some(damage),
    };
    assert_eq!(damaged(&bytes), None);
    assert_eq!(damaged(b""), Some(HeaderDamage::Empty));
    assert_eq!(damaged(&[0; 4000]), Some(HeaderDamage::Blank));
    assert_eq!(damaged(&bytes[..15]), Some(HeaderDamage::Short { len: 15 }));
    let with = |at: usize, value: u8| {
        let mut bad = bytes.clone();
        bad[at] = value;
        damaged(&bad)
    };
    assert_eq!(with(3, 0x48), Some(HeaderDamage::Magic(0x5a4b_4c48)));
    assert_eq!(with(7, 3), Some(HeaderDamage::Version(3)));
    assert_eq!(with(15, 9), Some(HeaderDamage::WrongDatabase(9)));
}
