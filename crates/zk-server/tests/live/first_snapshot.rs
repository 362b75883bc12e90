//! Apache starts on no log without a snapshot: a start that finds none writes one.

use std::path::{Path, PathBuf};

use zk_store::disk::Disk;
use zk_store::sim::SimDisk;

use crate::client::Client;
use crate::member::Member;

/// The snapshots of a member.
fn snapshots(disk: &SimDisk, dir: &Path) -> Vec<PathBuf> {
    let entries = disk.list(dir).unwrap_or_default().into_iter();
    let names = entries.map(|entry| entry.name).filter(|name| name.starts_with("snapshot."));
    names.map(|name| dir.join(name)).collect()
}

#[test]
fn a_start_without_a_snapshot_takes_one() {
    let disk = SimDisk::new(512);
    let member = Member::start_on(disk.clone(), "");
    assert_eq!(member.client().create("/a", b"kept").unwrap(), 0);
    let dir = member.stop();
    let files = dir.path().join("data/version-2");
    snapshots(&disk, &files).iter().for_each(|path| disk.remove(path).unwrap());
    let member = Member::start_on_in(disk.clone(), dir, "");
    assert_eq!(member.client().get("/a"), Ok(b"kept".to_vec()));
    let taken = snapshots(&disk, &files);
    assert!(matches!(&taken[..], [one] if !one.ends_with("snapshot.0")), "{taken:?}");
    // The next start has one.
    let member = Member::start_on_in(disk.clone(), member.stop(), "");
    assert_eq!(snapshots(&disk, &files), taken);
    drop(member);
}

#[test]
fn a_start_with_another_data_dir_takes_one_there() {
    let disk = SimDisk::new(512);
    let dir = tempfile::TempDir::new().unwrap();
    let lines = |data: &str| {
        let place = |name: &str| dir.path().join(name).display().to_string();
        format!("dataDir={}\ndataLogDir={}", place(data), place("logs"))
    };
    let own = || tempfile::TempDir::new().unwrap();
    let member = Member::start_on_in(disk.clone(), own(), &lines("one"));
    assert_eq!(member.client().create("/a", b"kept").unwrap(), 0);
    member.stop();
    let member = Member::start_on_in(disk.clone(), own(), &lines("two"));
    assert_eq!(member.client().get("/a"), Ok(b"kept".to_vec()));
    assert_eq!(snapshots(&disk, &dir.path().join("two/version-2")).len(), 1);
}

/// What is there is read all the same: the log has it.
#[test]
fn a_full_disk_has_no_room_for_it_and_is_served() {
    let disk = SimDisk::new(512);
    let member = Member::start_on(disk.clone(), "");
    let mut client = member.client();
    assert_eq!(client.create("/a", b"kept").unwrap(), 0);
    // More than the reserve, which a start may take.
    for n in 0..12 {
        assert_eq!(client.create(&format!("/large{n}"), &[0; 1_000_000]).unwrap(), 0);
    }
    let session = (client.session.session_id, client.session.password);
    let dir = member.stop();
    let files = dir.path().join("data/version-2");
    snapshots(&disk, &files).iter().for_each(|path| disk.remove(path).unwrap());
    disk.set_free_sectors(Some(0));
    let member = Member::start_on_in(disk.clone(), dir, "");
    assert_eq!(snapshots(&disk, &files), [""; 0].map(PathBuf::from));
    assert_eq!(Client::renew(member.addr(), session).get("/a"), Ok(b"kept".to_vec()));
    disk.set_free_sectors(None);
}
