//! Zero silent acceptance (RELIABILITY G3): every byte of a log and of a snapshot is flipped; what
//! comes out is the whole state, or a refusal by name, or a prefix that is told of.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::path::Path;
use std::sync::Arc;
use support::{Server, Tree, dirs, frames, load, open, path, testdata};
use zk_proto::Zxid;
use zk_store::data_dir::DataDirs;
use zk_store::disk::Disk;
use zk_store::doctor::repair_copy;
use zk_store::recover::{Note, RecoverError, RecoverOptions};
use zk_store::sim::SimDisk;
use zk_store::snapshot::SnapshotOptions;

/// How often each answer came.
#[derive(Default, Debug)]
struct Answers {
    refused: u64,
    whole: u64,
    told: u64,
}

/// Changes `file` and judges what becomes of it. Where `is_proven`, nothing may be missing even
/// when it is told.
fn judge(
    disk: &SimDisk,
    file: &Path,
    bytes: &[u8],
    whole: &(Zxid, Tree),
    is_proven: bool,
    answers: &mut Answers,
    what: &str,
) {
    let disk = disk.fork();
    disk.plant(file, bytes);
    match open(&disk) {
        Err(error) => {
            let text = error.to_string();
            let named = matches!(&error, RecoverError::Log(_)) == text.contains("safe: up to 0x");
            let name = file.file_name().unwrap().to_str().unwrap();
            assert!(named && text.contains(name), "{what}: {text}");
            answers.refused += 1;
        }
        Ok((recovered, tree)) if (recovered.last, &tree) == (whole.0, &whole.1) => {
            answers.whole += 1
        }
        Ok((recovered, _)) => {
            assert!(!is_proven, "{what}: {} is missing: {:?}", recovered.last, recovered.notes);
            let torn = |note: &Note| matches!(note, Note::TornTail { .. });
            assert!(recovered.notes.iter().any(torn), "{what}: silent up to {}", recovered.last);
            assert_eq!(recovered.last.0, whole.0.0 - 1, "{what}: more than the last record");
            answers.told += 1;
        }
    }
}

/// Flips each of these bytes, and sets each length and checksum to 0, -1 and the largest number.
fn flip_all(
    disk: &SimDisk,
    file: &Path,
    offsets: impl Iterator<Item = usize>,
    fields: &[(usize, usize)],
    is_proven: bool,
) -> Answers {
    let (recovered, tree) = open(disk).unwrap();
    let (whole, original) = ((recovered.last, tree), disk.read(file).unwrap());
    let mut answers = Answers::default();
    for at in offsets {
        for mask in [0x01, 0xff] {
            let mut bytes = original.clone();
            bytes[at] ^= mask;
            let what = format!("{} byte {at} mask {mask:#x}", file.display());
            judge(disk, file, &bytes, &whole, is_proven, &mut answers, &what);
        }
    }
    for &(at, len) in fields {
        for value in [0u8, 0xff, 0x7f] {
            let mut bytes = original.clone();
            bytes[at..at + len].fill(0xff);
            bytes[at] = value;
            if value == 0 {
                bytes[at..at + len].fill(0);
            }
            let what = format!("{} field {at} value {value:#x}", file.display());
            judge(disk, file, &bytes, &whole, is_proven, &mut answers, &what);
        }
    }
    println!("{}: {answers:?}", file.display());
    answers
}

/// Checksum, length and zxid of each record.
fn fields(bytes: &[u8]) -> Vec<(usize, usize)> {
    frames(bytes).iter().flat_map(|(at, _)| [(*at, 8), (at + 8, 4), (at + 24, 8)]).collect()
}

#[test]
fn every_byte_of_a_log_of_apaches() {
    let disk = load(&testdata("apache-3.8.0"));
    for entry in disk.list(&dirs().logs()).unwrap() {
        if !["snapshot.0", "log.1"].contains(&&*entry.name) {
            disk.remove(&path(&entry.name)).unwrap();
        }
    }
    let file = path("log.1");
    let bytes = disk.read(&file).unwrap();
    let (last, len) = *frames(&bytes).last().unwrap();
    let (data, padding) = (0..last + len, (last + len..bytes.len()).step_by(41));
    let answers = flip_all(&disk, &file, data.chain(padding), &fields(&bytes), false);
    assert!(answers.refused > 10_000 && answers.told < 20, "{answers:?}");
}

#[test]
fn every_byte_of_a_log_of_ours() {
    for is_ended in [true, false] {
        let disk = SimDisk::new(4096);
        let mut server = Server::simulated(&disk).unwrap();
        server.snapshot(SnapshotOptions::default()).unwrap();
        for _ in 0..20 {
            server.create().unwrap();
        }
        match is_ended {
            true => server.log.close().unwrap(),
            false => _ = server.log.complete_mark().unwrap(),
        }
        let (disk, file) = (disk.fork(), path("log.1"));
        let bytes = disk.read(&file).unwrap();
        let (last, len) = *frames(&bytes).last().unwrap();
        let (data, slots) = (0..last + len + 200, bytes.len() - 8192..bytes.len());
        let slots = slots.filter(|at| bytes[*at] != 0);
        let answers = flip_all(&disk, &file, data.chain(slots), &fields(&bytes), true);
        assert!(answers.refused > 3_500 && answers.told == 0, "{answers:?}");
    }
}

/// Whatever byte is changed: a repaired copy has all, or says that it has not, and it never has
/// less than stands in front of the change.
#[test]
fn every_byte_of_a_log_repaired() {
    let apaches = load(&testdata("apache-3.8.0"));
    for entry in apaches.list(&dirs().logs()).unwrap() {
        if !["snapshot.0", "log.1"].contains(&&*entry.name) {
            apaches.remove(&path(&entry.name)).unwrap();
        }
    }
    let ours = SimDisk::new(4096);
    let mut server = Server::simulated(&ours).unwrap();
    server.snapshot(SnapshotOptions::default()).unwrap();
    for _ in 0..12 {
        server.create().unwrap();
    }
    let _ = server.log.complete_mark().unwrap();
    for disk in [apaches, ours.fork()] {
        let (whole, bytes) = (open(&disk).unwrap().0.last, disk.read(&path("log.1")).unwrap());
        let frames = frames(&bytes);
        let (last, len) = *frames.last().unwrap();
        let (mut saved, mut lost) = (0, 0);
        for at in (0..64).chain((64..last + len).step_by(7)) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x11;
            let disk = disk.fork();
            disk.plant(&path("log.1"), &bytes);
            let shared: Arc<dyn Disk> = Arc::new(disk);
            let (to, options) = (DataDirs::new("/copy", None), RecoverOptions::default());
            let repaired =
                repair_copy(&shared, &dirs(), &to, &options, &mut Tree::default()).unwrap();
            let in_front = frames.iter().filter(|(begin, len)| begin + len <= at).count();
            assert!(repaired.last.0 >= in_front as i64, "byte {at}: {repaired}");
            match repaired.cut {
                Some(_) => lost += 1,
                None => saved += usize::from(repaired.last == whole),
            }
            assert!(repaired.cut.is_some() || repaired.last == whole, "byte {at}: {repaired}");
        }
        assert!(saved > 20 && lost > 50, "{saved} saved, {lost} lost");
    }
}

#[test]
fn every_byte_of_the_only_snapshot() {
    for (name, version) in
        [("", "apache-3.8.0"), (".gz", "apache-3.9.4"), (".snappy", "apache-3.9.4")]
    {
        let source = load(&testdata(version));
        let last = open(&source).unwrap().0.last;
        let disk = SimDisk::new(4096);
        let file = path(&format!("snapshot.{:x}{name}", last.0));
        disk.plant(&file, &source.read(&file).unwrap());
        // A log that ends before it, so that only the snapshot can tell.
        for entry in source.list(&dirs().logs()).unwrap() {
            if entry.name.starts_with("log.") && entry.name != "log.1" {
                disk.plant(&path(&entry.name), &source.read(&path(&entry.name)).unwrap());
            }
        }
        let len = disk.read(&file).unwrap().len();
        let answers = flip_all(&disk, &file, 0..len, &[], true);
        assert!(answers.whole <= 100 && answers.refused > len as u64, "{answers:?}");
    }
}

#[test]
fn every_byte_of_the_manifests() {
    let disk = SimDisk::new(4096);
    let mut server = Server::simulated(&disk).unwrap();
    for _ in 0..5 {
        server.create().unwrap();
        server.log.roll().unwrap();
    }
    server.snapshot(SnapshotOptions::default()).unwrap();
    server.log.close().unwrap();
    for name in ["zkfleet.logs", "zkfleet.snapshots"] {
        let bytes = disk.read(&path(name)).unwrap();
        for at in 0..bytes.len() {
            let disk = disk.fork();
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            disk.plant(&path(name), &bad);
            let (recovered, _) = open(&disk).unwrap();
            assert_eq!(recovered.last, Zxid(5));
            let told = |note: &Note| matches!(note, Note::DamagedManifest(_));
            assert!(recovered.notes.iter().any(told), "{name} byte {at}: {:?}", recovered.notes);
        }
    }
}
