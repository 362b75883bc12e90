//! The simulated disk keeps what was synced and nothing else for certain.

use super::*;
use crate::disk::{Access, Disk};
use std::collections::BTreeSet;

fn dir() -> &'static Path {
    Path::new("/d")
}

fn disk() -> SimDisk {
    let disk = SimDisk::new(512);
    disk.create_dir_all(dir()).unwrap();
    disk
}

fn states(disk: &SimDisk, path: &Path) -> BTreeSet<Option<Vec<u8>>> {
    let mut seen = BTreeSet::new();
    let (_, all) = disk.crash_states(1 << 12, 1, |after| {
        seen.insert(after.read(path).ok());
    });
    assert!(all);
    seen
}

#[test]
fn what_was_synced_survives_and_the_rest_may_or_may_not() {
    let (disk, path) = (disk(), dir().join("f"));
    let file = disk.open(&path, Access::Create).unwrap();
    file.write_at(&[1; 1024], 0).unwrap();
    assert_eq!(states(&disk, &path).first(), Some(&None));
    file.sync_data().unwrap();
    disk.sync_dir(dir()).unwrap();
    assert_eq!(states(&disk, &path), [Some(vec![1; 1024])].into());

    // Two unsynced writes over two sectors: each sector has three versions, independently.
    file.write_at(&[2; 1024], 0).unwrap();
    file.write_at(&[3; 512], 0).unwrap();
    let seen = states(&disk, &path);
    assert_eq!(seen.len(), 6);
    assert!(seen.contains(&Some([[3; 512], [1; 512]].concat())));
    assert!(seen.contains(&Some([[1; 512], [2; 512]].concat())));
}

#[test]
fn names_are_durable_only_after_a_sync_of_the_directory() {
    let disk = disk();
    let (a, b) = (dir().join("a"), dir().join("b"));
    let file = disk.open(&a, Access::Create).unwrap();
    file.write_at(b"x", 0).unwrap();
    file.sync_data().unwrap();
    disk.rename(&a, &b).unwrap();
    assert_eq!(states(&disk, &b), [None, Some(b"x".to_vec())].into());
    disk.sync_dir(dir()).unwrap();
    disk.remove(&b).unwrap();
    assert_eq!(states(&disk, &b), [None, Some(b"x".to_vec())].into());
    disk.sync_dir(dir()).unwrap();
    assert_eq!(states(&disk, &b), [None].into());
}

#[test]
fn a_failed_sync_is_never_made_good_by_the_next() {
    let (disk, path) = (disk(), dir().join("f"));
    let file = disk.open(&path, Access::Create).unwrap();
    disk.sync_dir(dir()).unwrap();
    file.write_at(b"x", 0).unwrap();
    disk.fail(0, EIO);
    assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(EIO));
    file.sync_data().unwrap();
    assert!(states(&disk, &path).iter().any(|state| state.as_deref() != Some(b"x")));
    assert_eq!(disk.read(&path).unwrap(), b"x");
}

#[test]
fn calls_fail_as_told_and_the_power_goes_when_told() {
    let (disk, path) = (disk(), dir().join("f"));
    let file = disk.open(&path, Access::Create).unwrap();
    disk.fail(1, ENOSPC);
    file.write_at(&[1; 8], 0).unwrap();
    assert_eq!(file.write_at(&[2; 8], 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.read(&path).unwrap(), [2, 2, 2, 2, 1, 1, 1, 1], "half of it was written");
    disk.cut_power_at(0);
    assert!(file.sync_data().is_err());
    assert!(disk.list(dir()).is_err());
    assert_eq!(disk.calls_of(Op::Write), 2);
    assert!(disk.fork().list(dir()).is_ok());
}

#[test]
fn the_disk_can_be_full() {
    let (disk, path) = (disk(), dir().join("f"));
    let file = disk.open(&path, Access::Create).unwrap();
    disk.set_free_sectors(Some(1));
    file.set_len(10_000).unwrap();
    file.write_at(&[1; 8], 0).unwrap();
    file.write_at(&[1; 8], 100).unwrap();
    assert_eq!(file.write_at(&[1], 5_000).unwrap_err().kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_seed_repeats_its_crash() {
    let (disk, path) = (disk(), dir().join("f"));
    let file = disk.open(&path, Access::Create).unwrap();
    disk.sync_dir(dir()).unwrap();
    for i in 0..20u8 {
        file.write_at(&[i; 300], u64::from(i) * 200).unwrap();
    }
    let after = |seed| disk.crash(&mut Seed::new(seed)).read(&path).unwrap();
    assert_eq!(after(7), after(7));
    assert!((0..50).any(|seed| after(seed) != after(7)));
}
