//! What we write beside Apache's files: lists of files and durable marks, and Apache's own small
//! files. They may say anything about a directory with a log.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zk_proto::txn::{Txn, TxnEntry, TxnHeader};
use zk_proto::{Jute, OpCode, Zxid};
use zk_store::data_dir::EpochFile;
use zk_store::disk::Disk;
use zk_store::manifest::{Loaded, Manifest};
use zk_store::names::Name;
use zkfleet_fuzz::{Tape, disk};

const EXTENT_BYTES: usize = 16 << 10;

fuzz_target!(|input: &[u8]| {
    let mut tape = Tape(input);
    let shape = tape.byte();
    let disk = disk::empty();
    disk.plant(&disk::path("log.1"), &log(&mut tape, shape & 1 == 1));
    for name in ["zkfleet.logs", "zkfleet.snapshots"] {
        let text = tape.part();
        if !text.is_empty() {
            disk.plant(&disk::path(name), &listed(text));
        }
        if let Ok(Loaded::Manifest(manifest)) = Manifest::load(&disk, &disk::dirs().logs(), name) {
            let (dir, copy) = (disk::dirs().logs(), "copy");
            manifest.store(&disk, &dir, copy).expect("nothing fails here");
            assert_eq!(Manifest::load(&disk, &dir, copy).ok(), Some(Loaded::Manifest(manifest)));
            disk.remove(&disk::path(copy)).expect("it is there");
        }
    }
    let small = tape.part();
    disk.plant(&disk::path("currentEpoch"), small);
    disk.plant(&disk::dirs().data().join("myid"), small);
    let _ = (disk::dirs().myid(&disk), disk::dirs().epoch(&disk, EpochFile::Current, Zxid(1)));
    let name = String::from_utf8_lossy(small);
    if let name @ (Name::Log(_) | Name::Snapshot(..)) = Name::parse(&name) {
        assert_eq!(Name::parse(&name.to_string()), name);
    }
    disk::use_files(&disk, disk::Use::of(shape >> 1));
});

/// A log of three records, with two slots at its end: given ones, with or without their checksum.
fn log(tape: &mut Tape<'_>, checked: bool) -> Vec<u8> {
    let mut file = disk::LOG_HEADER.to_vec();
    for zxid in 1..=3 {
        let header =
            TxnHeader { client_id: 1, cxid: 0, zxid, time_ms: 0, op: OpCode::Error.code() };
        let entry = TxnEntry { header, txn: Txn::Error(-1), digest: None };
        disk::frame(&entry.to_bytes(), &mut file);
    }
    file.resize(EXTENT_BYTES, 0);
    for at in [EXTENT_BYTES - 8192, EXTENT_BYTES - 4096] {
        let (given, mut slot) = (tape.part(), [0; 64]);
        if given.is_empty() {
            continue;
        }
        let length = given.len().min(slot.len());
        slot[..length].copy_from_slice(&given[..length]);
        if checked {
            slot[..8].copy_from_slice(b"zkfmark1");
            let sum = crc32(&slot[..60]);
            slot[60..].copy_from_slice(&sum.to_be_bytes());
        }
        file[at..at + slot.len()].copy_from_slice(&slot);
    }
    file
}

/// A list with its checksum behind it.
fn listed(text: &[u8]) -> Vec<u8> {
    let mut file = b"zkfleet-manifest 1\n".to_vec();
    file.extend_from_slice(text);
    let sum = crc32(&file);
    file.extend_from_slice(format!("crc {sum:08x}\n").as_bytes());
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
