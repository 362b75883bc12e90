//! Properties: what is written is read, whatever the batches, files and forms; and no bytes at all
//! make a reader panic.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use proptest::prelude::*;
use std::sync::Arc;
use support::{Server, Tree, dirs, load, open, path, testdata};
use zk_store::Compression;
use zk_store::data_dir::DataDirs;
use zk_store::disk::Disk;
use zk_store::doctor::{RepairError, examine, repair_copy};
use zk_store::purge::purge;
use zk_store::recover::RecoverOptions;
use zk_store::restore::Discard;
use zk_store::sim::{Choose, Seed, SimDisk};
use zk_store::snapshot::{ReadOptions, SnapshotOptions};

/// A step of a server's life.
#[derive(Clone, Debug)]
enum Step {
    Batch(Vec<usize>),
    Unmarked(usize),
    Roll,
    Snapshot(Compression),
    ZeroAhead,
    CompleteMark,
    Purge,
    Kill,
    PowerCut(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let compression =
        prop_oneof![Just(Compression::None), Just(Compression::Gzip), Just(Compression::Snappy)];
    prop_oneof![
        6 => prop::collection::vec(0..3000usize, 1..5).prop_map(Step::Batch),
        2 => (0..100_000usize).prop_map(Step::Unmarked),
        1 => Just(Step::Roll),
        2 => compression.prop_map(Step::Snapshot),
        2 => Just(Step::ZeroAhead),
        1 => Just(Step::CompleteMark),
        1 => Just(Step::Purge),
        1 => Just(Step::Kill),
        2 => any::<u64>().prop_map(Step::PowerCut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_servers_life_is_recovered_exactly(steps in prop::collection::vec(step(), 1..25)) {
        let mut disk = SimDisk::new(512);
        let mut server = Server::simulated(&disk).unwrap();
        for step in steps {
            let version = server.tree.nodes[""].stat.version;
            match step {
                Step::Batch(sizes) => {
                    let data: Vec<Vec<u8>> = sizes.iter().map(|size| vec![7; *size]).collect();
                    let sets: Vec<_> = data.iter().zip(version + 1..).map(|(d, v)| support::set("", d, v)).collect();
                    server.commit(&sets).unwrap();
                }
                Step::Unmarked(size) => {
                    let data = vec![8; size];
                    let mut frames = Vec::new();
                    let bytes = server.tree.next(support::set("", &data, version + 1));
                    zk_store::log::put_frame(&mut frames, &bytes);
                    server.log.commit_unmarked(&frames).unwrap();
                }
                Step::Roll => server.log.roll().unwrap(),
                Step::Snapshot(compression) => {
                    server.snapshot(SnapshotOptions { compression, ..Default::default() }).unwrap();
                }
                Step::ZeroAhead => server.log.zero_ahead().unwrap(),
                Step::CompleteMark => _ = server.log.complete_mark().unwrap(),
                Step::Purge => _ = purge(&disk, &dirs(), 3, &ReadOptions::default()).unwrap(),
                Step::Kill => {
                    let tree = server.tree.clone();
                    disk = disk.fork();
                    server = Server::simulated(&disk).unwrap();
                    prop_assert_eq!(&server.tree, &tree);
                }
                Step::PowerCut(seed) => {
                    let tree = server.tree.clone();
                    disk = disk.crash(&mut Seed::new(seed));
                    server = Server::simulated(&disk).unwrap();
                    prop_assert_eq!(&server.tree, &tree, "all of it was acknowledged");
                }
            }
        }
        let tree = server.tree.clone();
        server.log.close().unwrap();
        let (recovered, found) = open(&disk).unwrap();
        prop_assert_eq!((recovered.last, &found), (tree.last, &tree));
        prop_assert!(recovered.notes.is_empty(), "{:?}", recovered.notes);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        log in prop::collection::vec(any::<u8>(), 0..300),
        snapshot in prop::collection::vec(any::<u8>(), 0..300),
        manifest in prop::collection::vec(any::<u8>(), 0..100),
        with_magic: bool,
    ) {
        let (mut log, mut snapshot) = (log, snapshot);
        if with_magic {
            log.splice(0..0, *b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0");
            snapshot.splice(0..0, *b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff");
        }
        let disk = SimDisk::new(512);
        disk.create_dir_all(&dirs().logs()).unwrap();
        disk.plant(&path("log.1"), &log);
        disk.plant(&path("zkfleet.logs"), &manifest);
        for name in ["snapshot.0", "snapshot.1.gz", "snapshot.2.snappy"] {
            disk.plant(&path(name), &snapshot);
        }
        look_at(&disk);
    }

    #[test]
    fn any_damage_to_apaches_files_is_survived(seed: u64, flips in 1..20usize) {
        let disk = load(&testdata("apache-3.9.4"));
        let mut seed = Seed::new(seed);
        let names = disk.list(&dirs().logs()).unwrap();
        for _ in 0..flips {
            let name = &names[seed.pick(names.len())].name;
            let mut bytes = disk.read(&path(name)).unwrap();
            if bytes.is_empty() {
                continue;
            }
            let at = seed.pick(bytes.len());
            match seed.pick(4) {
                0 => bytes.truncate(at),
                1 => bytes[at..].rotate_left(1),
                2 => bytes[at] = 0,
                _ => bytes[at] ^= 1 << seed.pick(8),
            }
            disk.plant(&path(name), &bytes);
        }
        look_at(&disk);
    }
}

/// Everything that reads a directory.
fn look_at(disk: &SimDisk) {
    let options = RecoverOptions::default();
    let recovered = open(disk).is_ok();
    let report = examine(disk, &dirs(), &options, &mut Tree::default()).unwrap();
    assert_eq!(report.state.is_ok(), recovered);
    assert!(!report.to_string().is_empty() && report.to_json().ends_with('}'));
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let to = DataDirs::new("/copy", None);
    match repair_copy(&shared, &dirs(), &to, &options, &mut Discard) {
        Ok(repaired) => assert!(repaired.to_string().contains("whole up to")),
        Err(RepairError::NothingToBuildOn(_)) => {}
        Err(error) => panic!("{error}"),
    }
}
