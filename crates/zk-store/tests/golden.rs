//! Files that Apache 3.8.0 and 3.9.4 wrote (testdata/make.sh): read with every check on, and
//! written back byte for byte.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use support::{Tree, dirs, frames, load, open, path, testdata};
use zk_proto::snapshot::{AclRecord, NodeRecord, SessionRecord};
use zk_proto::txn::TxnEntry;
use zk_proto::{EphemeralOwner, Jute, OpCode, OwnerKind, Reader, Zxid};
use zk_store::Compression;
use zk_store::Restore;
use zk_store::disk::{Disk, RealDisk};
use zk_store::log::put_frame;
use zk_store::names::Name;
use zk_store::recover::Note;
use zk_store::sim::SimDisk;
use zk_store::snapshot::{ReadOptions, SnapshotOptions, SnapshotWriter, read_snapshot};

const VERSIONS: [&str; 2] = ["apache-3.8.0", "apache-3.9.4"];

/// The names of a directory's files that are wanted.
fn names(dir: &str, wanted: fn(Name) -> bool) -> Vec<String> {
    let entries = RealDisk.list(&testdata(dir)).unwrap();
    entries.into_iter().map(|entry| entry.name).filter(|name| wanted(Name::parse(name))).collect()
}

#[test]
fn a_directory_of_apaches_is_recovered_with_equal_digests() {
    for version in VERSIONS {
        let disk = load(&testdata(version));
        let (recovered, whole) = open(&disk).unwrap();
        let last = recovered.last;
        assert!(last > Zxid(0x1c) && recovered.txns == 0, "there is a snapshot of the end");
        assert!(recovered.notes.is_empty(), "{:?}", recovered.notes);
        assert!(!recovered.is_new);
        // The same by the logs alone, each recorded digest compared.
        let later = names(version, |name| matches!(name, Name::Snapshot(zxid, _) if zxid.0 > 0));
        assert_eq!(later.len(), 4);
        for name in later {
            disk.remove(&path(&name)).unwrap();
            let (recovered, tree) = open(&disk).unwrap();
            assert_eq!((recovered.last, &tree), (last, &whole), "{version} without {name}");
        }
        let (recovered, _) = open(&disk).unwrap();
        assert_eq!(recovered.txns as i64, last.0);
        assert_eq!(recovered.snapshot.as_ref().unwrap().1.zxid, Zxid(0));
        disk.remove(&path("snapshot.0")).unwrap();
        let (recovered, mut tree) = open(&disk).unwrap();
        assert!(recovered.snapshot.is_none(), "a log from zxid 1 needs no snapshot");
        // Apache gives the configuration's znode its ACL by a change.
        tree.nodes.get_mut("/zookeeper/config").unwrap().stat.aversion = -1;
        assert_eq!(tree, whole);
    }
}

#[test]
fn the_tree_is_what_the_clients_made() {
    for version in VERSIONS {
        let (_, tree) = open(&load(&testdata(version))).unwrap();
        let kind = |path: &str| EphemeralOwner(tree.nodes[path].stat.ephemeral_owner).kind(true);
        assert_eq!(tree.nodes["/app"].data.as_deref(), Some(&b"v3"[..]));
        assert_eq!(tree.nodes["/null"].data, None);
        assert_eq!(tree.nodes["/big"].data.as_ref().unwrap().len(), 3072);
        assert_eq!(kind("/container"), OwnerKind::Container);
        assert_eq!(kind("/ttl"), OwnerKind::Ttl(86_400_000));
        let OwnerKind::Ephemeral(owner) = kind("/live") else { panic!("no ephemeral") };
        assert!(tree.sessions.contains_key(&owner.0));
        for gone in ["/app/e", "/n", "/gone", "/reaped", "/app/s-0000000001"] {
            assert!(!tree.nodes.contains_key(gone), "{gone}");
        }
    }
}

#[test]
fn a_quorums_directory_with_epochs_and_a_reconfiguration_is_recovered() {
    for version in VERSIONS {
        let disk = load(&testdata(&format!("{version}/quorum")));
        let (recovered, tree) = open(&disk).unwrap();
        assert_eq!(recovered.last.epoch().0, 1);
        assert!(recovered.notes.is_empty(), "{:?}", recovered.notes);
        assert_eq!(tree.nodes["/q"].data.as_deref(), Some(&b"2"[..]));
        let config = tree.nodes["/zookeeper/config"].data.as_deref().unwrap();
        assert!(String::from_utf8_lossy(config).contains("version="));
        let epoch = dirs().epoch(&disk, zk_store::data_dir::EpochFile::Current, recovered.last);
        assert_eq!(epoch.unwrap().unwrap().0, 1);
    }
}

#[test]
fn every_kind_of_transaction_is_there_and_comes_back_byte_for_byte() {
    let mut kinds = BTreeSet::new();
    let dirs =
        VERSIONS.iter().flat_map(|version| [version.to_string(), format!("{version}/quorum")]);
    let logs = dirs.flat_map(|dir| {
        let logs = names(&dir, |name| matches!(name, Name::Log(_))).into_iter();
        logs.map(move |log| testdata(&dir).join(log))
    });
    for file in logs {
        let bytes = std::fs::read(&file).unwrap();
        let mut written = bytes[..16].to_vec();
        for (at, len) in frames(&bytes) {
            let payload = &bytes[at + 12..at + len - 1];
            let entry = TxnEntry::read(&mut Reader::new(payload)).unwrap();
            kinds.insert(entry.header.op);
            let mut frame = Vec::new();
            put_frame(&mut frame, &entry.to_bytes());
            written.extend(frame);
        }
        assert!(bytes.starts_with(&written), "{}", file.display());
        assert!(bytes[written.len()..].iter().all(|byte| *byte == 0));
    }
    let all = [
        OpCode::CreateSession,
        OpCode::CloseSession,
        OpCode::Error,
        OpCode::Create,
        OpCode::Create2,
        OpCode::CreateContainer,
        OpCode::CreateTtl,
        OpCode::Delete,
        OpCode::DeleteContainer,
        OpCode::SetData,
        OpCode::SetAcl,
        OpCode::Multi,
        OpCode::Reconfig,
    ];
    for kind in all {
        assert!(kinds.contains(&kind.code()), "no {kind:?}");
    }
}

/// Keeps a snapshot's parts as bytes.
#[derive(Default)]
struct Parts {
    sessions: Vec<SessionRecord>,
    acl_count: i32,
    acls: Vec<u8>,
    nodes: Vec<u8>,
}

impl Restore for Parts {
    type Error = std::convert::Infallible;
    fn reset(&mut self) {
        *self = Parts::default();
    }
    fn session(&mut self, session: SessionRecord) -> Result<(), Self::Error> {
        self.sessions.push(session);
        Ok(())
    }
    fn acl(&mut self, acl: AclRecord<'_>) -> Result<(), Self::Error> {
        self.acl_count += 1;
        acl.write(&mut self.acls);
        Ok(())
    }
    fn node(&mut self, node: NodeRecord<'_>) -> Result<(), Self::Error> {
        node.write(&mut self.nodes);
        Ok(())
    }
    fn snapshot_done(&mut self, _: Zxid) -> Result<(), Self::Error> {
        Ok(())
    }
    fn txn(&mut self, _: &TxnEntry<'_>) -> Result<(), Self::Error> {
        Ok(())
    }
    fn replayed(&self) -> Result<(), Self::Error> {
        Ok(())
    }

    fn digest(&self) -> Option<u64> {
        None
    }
}

#[test]
fn snapshots_come_back_byte_for_byte() {
    for version in VERSIONS {
        let disk = load(&testdata(version));
        for name in names(version, |name| matches!(name, Name::Snapshot(..))) {
            let name = name.as_str();
            let Name::Snapshot(zxid, compression) = Name::parse(name) else { panic!("{name}") };
            let mut parts = Parts::default();
            let (options, form) = (ReadOptions::default(), (zxid, compression));
            let info = read_snapshot(&disk, &path(name), form, &options, &mut parts).unwrap();
            assert_eq!(info.last_zxid.is_some(), version == "apache-3.9.4");

            let ours = SimDisk::new(4096);
            ours.create_dir_all(&dirs().snapshots()).unwrap();
            let mut acls = parts.acl_count.to_bytes();
            acls.extend_from_slice(&parts.acls);
            let options =
                SnapshotOptions { last_zxid: info.last_zxid.is_some(), ..Default::default() };
            let mut writer = SnapshotWriter::begin(
                Arc::new(ours.clone()),
                &dirs().snapshots(),
                zxid,
                options,
                &parts.sessions,
                &acls,
            )
            .unwrap();
            writer.nodes(&parts.nodes).unwrap();
            let written = writer.finish(info.digest).unwrap();
            // The compressed forms of one content: what we write plainly is what Apache did.
            let plain = Name::Snapshot(zxid, Compression::None).to_string();
            let (ours, apaches) =
                (ours.read(&written.path).unwrap(), disk.read(&path(&plain)).unwrap());
            if compression == Compression::None {
                assert_eq!(ours, apaches, "{version} {name}");
            } else {
                assert_eq!(ours.len(), apaches.len());
            }
        }
    }
}

#[test]
fn case_g_a_bare_check_is_read_reported_and_skipped() {
    let disk = load(&testdata("apache-3.8.0/poisoned"));
    let (recovered, tree) = open(&disk).unwrap();
    let checks: Vec<_> =
        recovered.notes.iter().filter(|note| matches!(note, Note::BareCheck { .. })).collect();
    assert_eq!((checks.len(), recovered.notes.len()), (1, 1), "{:?}", recovered.notes);
    assert!(checks[0].to_string().contains("Apache will not start"));
    assert!(tree.nodes.contains_key("/before") && tree.nodes.contains_key("/after"));
}

#[test]
fn an_empty_tree_has_apaches_digest() {
    assert_eq!(Tree::default().compute_digest(), 0x51c6_d660);
    assert!(Path::new(&testdata("apache-3.8.0")).exists());
}
