//! Reading snapshots: whole, damaged, compressed.

use super::*;
use crate::sim::SimDisk;
use crate::snapshot::{SnapshotOptions, SnapshotWriter};
use crate::testing::Tape;
use std::sync::Arc;
use zk_proto::Text;

const ALL: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Snappy];
const DIGEST: ZxidDigest = ZxidDigest { zxid: 0x21, version: 2, digest: 99 };

fn dir() -> &'static Path {
    Path::new("/d")
}

/// Writes a tape as snapshot 0x20.
fn write(tape: &Tape, options: SnapshotOptions, digest: Option<ZxidDigest>) -> (SimDisk, PathBuf) {
    let disk = SimDisk::new(4096);
    disk.create_dir_all(dir()).unwrap();
    let shared = Arc::new(disk.clone());
    let mut writer =
        SnapshotWriter::begin(shared, dir(), Zxid(0x20), options, &tape.sessions, &tape.acl_list())
            .unwrap();
    writer.nodes(&tape.nodes).unwrap();
    let file = writer.finish(digest).unwrap();
    assert!(!disk.has_unsynced());
    (disk, file.path)
}

fn read(
    disk: &SimDisk,
    path: &Path,
    form: Compression,
) -> Result<(Tape, SnapshotInfo), SnapshotError> {
    let mut tape = Tape::default();
    let options = ReadOptions::default();
    read_snapshot(disk, path, (Zxid(0x20), form), &options, &mut tape).map(|info| (tape, info))
}

/// Reads these bytes as a snapshot.
fn read_bytes(bytes: &[u8], form: Compression) -> Result<(Tape, SnapshotInfo), SnapshotError> {
    let disk = SimDisk::new(4096);
    disk.plant(Path::new("/s"), bytes);
    read(&disk, Path::new("/s"), form)
}

#[test]
fn what_is_written_is_read_in_every_form() {
    for nodes in [0, 1, 20_000] {
        let tape = Tape { snapshot: Some(Zxid(0x20)), ..Tape::with_nodes(nodes, 100) };
        for compression in ALL {
            for (digest, last_zxid) in [(false, false), (true, false), (true, true)] {
                let options = SnapshotOptions { compression, digest, last_zxid };
                let (disk, path) = write(&tape, options, Some(DIGEST));
                let (read, info) = read(&disk, &path, compression).unwrap();
                assert_eq!(read, tape);
                assert_eq!(info.digest, digest.then_some(DIGEST));
                assert_eq!(info.last_zxid, (digest && last_zxid).then_some(Zxid(0x20)));
                assert_eq!((info.nodes, info.sessions, info.acls), (nodes as u64 + 1, 1, 1));
                assert_eq!(info.content_zxid, Zxid(nodes as i64));
            }
        }
    }
}

/// Apache 3.9 with `digest.enabled=false`.
#[test]
fn a_zxid_may_stand_without_a_digest() {
    let tape = Tape { snapshot: Some(Zxid(0x20)), ..Tape::with_nodes(3, 10) };
    let options = SnapshotOptions { digest: false, ..SnapshotOptions::default() };
    let (disk, path) = write(&tape, options, None);
    let mut bytes = disk.read(&path).unwrap();
    let at = bytes.len();
    bytes.extend(0x24i64.to_be_bytes());
    bytes.extend(i64::from(simd_adler32::adler32(&&bytes[..])).to_be_bytes());
    bytes.extend(b"\0\0\0\x01/");
    let (read, info) = read_bytes(&bytes, Compression::None).unwrap();
    assert_eq!((read, info.digest, info.last_zxid), (tape, None, Some(Zxid(0x24))));
    assert_eq!(info.fuzzy_to(), Zxid(0x24));
    for cut in at + 1..bytes.len() {
        assert!(read_bytes(&bytes[..cut], Compression::None).is_err(), "cut at {cut}");
    }
    for flip in at..bytes.len() {
        let mut bad = bytes.clone();
        bad[flip] ^= 1;
        assert!(read_bytes(&bad, Compression::None).is_err(), "byte {flip}");
    }
}

#[test]
fn a_path_that_looks_like_the_terminator_does_not_end_the_znodes() {
    let mut tape = Tape::with_nodes(0, 1);
    NodeRecord { path: Text::Borrowed("/a"), data: None, acl_id: -1, stat: Default::default() }
        .write(&mut tape.nodes);
    tape.snapshot = Some(Zxid(0x20));
    let (disk, path) = write(&tape, SnapshotOptions::default(), None);
    assert_eq!(read(&disk, &path, Compression::None).unwrap().0, tape);
}

#[test]
fn every_flipped_byte_and_every_cut_is_refused() {
    let mut tape = Tape::with_nodes(3, 10);
    tape.snapshot = Some(Zxid(0x20));
    for compression in ALL {
        let options = SnapshotOptions { compression, ..Default::default() };
        let (disk, path) = write(&tape, options, Some(DIGEST));
        let bytes = disk.read(&path).unwrap();
        let whole = read_bytes(&bytes, compression).unwrap();
        let mut harmless = 0;
        for at in 0..bytes.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut bad = bytes.clone();
                bad[at] ^= mask;
                match read_bytes(&bad, compression) {
                    Err(SnapshotError::Damaged { .. }) => {}
                    Err(error) => panic!("byte {at}: {error}"),
                    // dbid, and header fields of the compression, say nothing about the content.
                    Ok(read) => {
                        assert!(read == whole, "byte {at} was accepted in {compression:?}");
                        harmless += 1;
                    }
                }
            }
            // A whole seal 1 or 2 is where older versions end.
            if let Ok((read, _)) = read_bytes(&bytes[..at], compression) {
                assert_eq!((compression, read), (Compression::None, tape.clone()), "cut at {at}");
                assert!([bytes.len() - 21, bytes.len() - 54].contains(&at), "cut at {at}");
            }
        }
        assert!(harmless <= 40, "{compression:?}: {harmless}");
    }
}

#[test]
fn counts_and_lengths_allocate_nothing() {
    let header = b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff";
    let read = |rest: &[u8]| read_bytes(&[header, rest].concat(), Compression::None).unwrap_err();
    assert!(matches!(
        read(&[0x7f, 0xff, 0xff, 0xff]),
        SnapshotError::Damaged { damage: SnapshotDamage::Cut, .. }
    ));
    assert!(matches!(
        read(&[0xff, 0xff, 0xff, 0xff]),
        SnapshotError::Damaged {
            damage: SnapshotDamage::Record(DecodeError::BadLength { .. }),
            ..
        }
    ));
    let huge_path = [0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff];
    assert!(matches!(
        read(&huge_path),
        SnapshotError::Damaged {
            damage: SnapshotDamage::Record(DecodeError::BadLength { .. }),
            ..
        }
    ));
}

#[test]
fn a_bomb_is_stopped_at_the_bound() {
    use std::io::Write;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0").unwrap();
    // Endless znodes with the path "" and a megabyte of zeros.
    let node = NodeRecord {
        path: "".into(),
        data: Some(&vec![0; 1 << 20]),
        acl_id: -1,
        stat: Default::default(),
    };
    let node = node.to_bytes();
    for _ in 0..400 {
        packed.write_all(&node).unwrap();
    }
    let bytes = packed.finish().unwrap();
    assert!(bytes.len() < 4 << 20);
    let disk = SimDisk::new(4096);
    disk.plant(Path::new("/s"), &bytes);
    let options = ReadOptions { max_expansion: 10, ..ReadOptions::default() };
    let form = (Zxid(1), Compression::Gzip);
    let mut discard = crate::restore::Discard;
    let error = read_snapshot(&disk, Path::new("/s"), form, &options, &mut discard).unwrap_err();
    assert!(matches!(error, SnapshotError::Damaged { damage: SnapshotDamage::Compression(_), .. }));
    assert!(error.to_string().contains("max_expansion"), "{error}");
}

#[test]
fn a_disk_error_is_not_taken_for_damage() {
    let (disk, path) = write(&Tape::with_nodes(1, 10), SnapshotOptions::default(), None);
    disk.fail(2, crate::sim::EIO);
    assert!(matches!(read(&disk, &path, Compression::None), Err(SnapshotError::File(_))));
}

#[test]
fn under_a_snapshots_name_there_is_a_whole_snapshot_after_any_crash() {
    let tape = Tape::with_nodes(40, 100);
    let calls = write(&tape, SnapshotOptions::default(), None).0.calls();
    for call in 0..calls {
        let disk = SimDisk::new(4096);
        disk.create_dir_all(dir()).unwrap();
        disk.cut_power_at(call);
        let shared = Arc::new(disk.clone());
        let write = || {
            let options = SnapshotOptions::default();
            let (sessions, acls) = (&tape.sessions, tape.acl_list());
            let mut writer =
                SnapshotWriter::begin(shared, dir(), Zxid(0x20), options, sessions, &acls)?;
            writer.nodes(&tape.nodes)?;
            writer.finish(None)
        };
        let finished = write().is_ok();
        disk.crash_states(200, call, |after| {
            let path = dir().join("snapshot.20");
            match after.read(&path) {
                Ok(_) => drop(read(&after, &path, Compression::None).expect("whole")),
                Err(_) => assert!(!finished),
            }
        });
    }
}

/// As a leader sends it: without header and seals, with its signature at the end.
fn stream_of(tape: &Tape) -> Vec<u8> {
    let mut bytes = (tape.sessions.len() as i32).to_be_bytes().to_vec();
    tape.sessions.iter().for_each(|session| session.write(&mut bytes));
    bytes.extend(tape.acl_list());
    bytes.extend(&tape.nodes);
    bytes.extend(b"\0\0\0\x01/");
    bytes.extend(SIGNATURE);
    bytes
}

#[test]
fn a_stream_is_read_to_its_signature_and_what_follows_comes_back() {
    for nodes in [0, 1, 20_000] {
        let tape = Tape { snapshot: Some(Zxid(0x20)), ..Tape::with_nodes(nodes, 100) };
        let mut bytes = stream_of(&tape);
        bytes.extend(b"packets");
        let mut read = Tape::default();
        let options = ReadOptions::default();
        let beyond = read_stream(&bytes[..], Zxid(0x20), &options, &mut read).unwrap();
        assert_eq!((read, &beyond[..]), (tape, &b"packets"[..]));
    }
}

#[test]
fn a_stream_that_is_cut_or_does_not_end_as_one_is_no_snapshot() {
    let tape = Tape { snapshot: Some(Zxid(0x20)), ..Tape::with_nodes(3, 10) };
    let whole = stream_of(&tape);
    let read = |bytes: &[u8]| {
        read_stream(bytes, Zxid(0x20), &ReadOptions::default(), &mut Tape::default())
    };
    for end in 0..whole.len() {
        assert!(read(&whole[..end]).is_err(), "{end} of {} bytes", whole.len());
    }
    let mut other = whole.clone();
    let last = other.len() - 1;
    other[last] ^= 1;
    let error = read(&other).unwrap_err();
    assert!(matches!(error, StreamError::Damaged { damage: SnapshotDamage::Trailing, .. }));
}
