//! Which zxid may follow which: epochs, the counter's end, and histories without a beginning.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::sync::Arc;
use support::{Tree, create, dirs, entry, load, open, open_with, path, testdata};
use zk_proto::Zxid;
use zk_store::data_dir::DataDirs;
use zk_store::disk::Disk;
use zk_store::doctor::repair_copy;
use zk_store::log::put_frame;
use zk_store::recover::{Note, Overrides, RecoverError, RecoverOptions, Why};
use zk_store::sim::SimDisk;

const E1: i64 = 1 << 32;

/// Logs as Apache writes them, each named after its first record.
fn logs(all: &[&[i64]]) -> SimDisk {
    let disk = SimDisk::new(512);
    for zxids in all {
        let mut bytes = b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0".to_vec();
        for zxid in *zxids {
            let mut frame = Vec::new();
            put_frame(&mut frame, &entry(*zxid, create(&format!("/{zxid}"), b"", 1), None));
            bytes.extend(frame);
        }
        disk.plant(&path(&format!("log.{:x}", zxids[0])), &bytes);
    }
    disk
}

fn empty_snapshot(disk: &SimDisk, zxid: i64) {
    let snapshot = load(&testdata("apache-3.8.0")).read(&path("snapshot.0")).unwrap();
    disk.plant(&path(&format!("snapshot.{zxid:x}")), &snapshot);
}

#[test]
fn a_standalone_server_counts_over_the_end_of_an_epoch() {
    let end = E1 - 1;
    for logs in [
        logs(&[&[end - 1, end, E1, E1 + 1]]),
        logs(&[&[end - 1, end], &[E1, E1 + 1]]),
        logs(&[&[end - 1, end], &[E1 + 1]]),
    ] {
        empty_snapshot(&logs, end - 2);
        let (recovered, tree) = open(&logs).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(recovered.last, Zxid(E1 + 1));
        assert!(tree.nodes.contains_key(&format!("/{}", E1 + 1)));
        let disk: Arc<dyn Disk> = Arc::new(logs);
        let copy = DataDirs::new("/copy", None);
        let (options, mut tree) = (RecoverOptions::default(), Tree::default());
        let repaired = repair_copy(&disk, &dirs(), &copy, &options, &mut tree).unwrap();
        assert_eq!((repaired.last, repaired.cut), (Zxid(E1 + 1), None));
    }
    // Neither the next nor the first of an epoch.
    let disk = logs(&[&[end - 1, end, E1 + 2]]);
    empty_snapshot(&disk, end - 2);
    let Err(RecoverError::Log(fault)) = open(&disk) else { panic!("accepted") };
    assert!(matches!(fault.why, Why::Gap { .. }), "{fault}");
}

#[test]
fn trust_empty_begins_wherever_the_logs_do_and_gaps_behind_stay_gaps() {
    let trust = RecoverOptions {
        overrides: Overrides { trust_empty: true, ..Overrides::default() },
        ..RecoverOptions::default()
    };
    for first in [5, E1 + 7] {
        let disk = logs(&[&[first, first + 1], &[first + 2]]);
        assert!(matches!(open(&disk), Err(RecoverError::NoSnapshot { .. })));
        let (recovered, tree) = open_with(&disk, &trust).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(recovered.last, Zxid(first + 2));
        assert!(tree.nodes.contains_key(&format!("/{first}")));
        let told = |note: &Note| matches!(note, Note::NoBeginning { first: f, .. } if f.0 == first);
        assert!(recovered.notes.iter().any(told), "{:?}", recovered.notes);
        let gap = logs(&[&[first, first + 1], &[first + 3]]);
        assert!(matches!(open_with(&gap, &trust), Err(RecoverError::Log(_))));
    }
}

#[test]
fn trust_empty_does_not_pass_over_damaged_snapshots() {
    let trust = RecoverOptions {
        overrides: Overrides { trust_empty: true, ..Overrides::default() },
        ..RecoverOptions::default()
    };
    let disk = logs(&[&[5, 6], &[7]]);
    disk.plant(&path("snapshot.4"), b"ZKSN cut");
    let refused = open_with(&disk, &trust);
    assert!(matches!(refused, Err(RecoverError::NoValidSnapshot { tried: 1, .. })), "{refused:?}");
}
