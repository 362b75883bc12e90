//! Ephemerals whose session no file knows: they go, by a transaction, as soon as a member starts.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use zk_proto::snapshot::{NodeRecord, OPEN_ACL_ID, SessionRecord};
use zk_proto::txn::Txn;
use zk_proto::{Jute, SessionId, StatPersisted, Zxid};
use zk_store::disk::RealDisk;
use zk_store::log::{LogReader, OpenLog, Step};
use zk_store::snapshot::{SnapshotOptions, SnapshotWriter};

use crate::member::Member;
use crate::wait_until;

const ORPHAN: i64 = 0x0100_0000_0000_0007;
const ALIVE: i64 = 0x0100_0000_0000_0009;
/// What a TTL of 600 s is stored as; without extendedTypesEnabled it reads as a session.
const TTL: i64 = 0xff00_0000_0009_27c0_u64 as i64;

/// A snapshot of zxid 0, as if another server had left it.
fn plant(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    let session = SessionRecord { id: ALIVE, timeout_ms: 60_000 };
    let (disk, options) = (Arc::new(RealDisk), SnapshotOptions::default());
    let none = 0i32.to_bytes();
    let mut writer = SnapshotWriter::begin(disk, dir, Zxid(0), options, &[session], &none).unwrap();
    for (path, ephemeral_owner) in [
        ("", 0),
        ("/zookeeper", 0),
        ("/zookeeper/quota", 0),
        ("/orphan", ORPHAN),
        ("/alive", ALIVE),
        ("/ttl", TTL),
    ] {
        let stat = StatPersisted { ephemeral_owner, ..StatPersisted::default() };
        let (path, acl_id) = (path.into(), OPEN_ACL_ID);
        writer.node(&NodeRecord { path, data: Some(b"here"), acl_id, stat }).unwrap();
    }
    writer.finish(None).unwrap();
    fs::remove_file(dir.join("zkfleet.snapshots")).unwrap();
}

/// The sessions that a log closes.
fn closed(dir: &Path) -> Vec<SessionId> {
    let opened = LogReader::open(&RealDisk, &dir.join("log.1"), Zxid(1)).unwrap();
    let OpenLog::Log(mut reader) = opened else { panic!("no log") };
    let mut closed = Vec::new();
    while let Step::Record(record) = reader.step().unwrap() {
        let entry = record.entry().unwrap();
        if matches!(entry.txn, Txn::CloseSession(_)) {
            closed.push(entry.session());
        }
    }
    closed
}

#[test]
fn ephemerals_without_a_session_are_closed_at_the_start() {
    let dir = TempDir::new().unwrap();
    let files = dir.path().join("data/version-2");
    plant(&files);
    let member = Member::start_in(dir, "");
    let mut client = member.client();
    wait_until("the orphan goes", || client.get("/orphan").is_err());
    assert_eq!(client.get("/alive"), Ok(b"here".to_vec()));
    assert_eq!(client.get("/ttl"), Ok(b"here".to_vec()), "a wrong setting deletes nothing");
    let dir = member.stop();
    assert_eq!(closed(&files), [SessionId(ORPHAN)]);
    let member = Member::start_in(dir, "");
    assert!(member.client().get("/orphan").is_err());
}
