//! Directories that go from ours to a real Apache server and back. Where Apache is not installed
//! (test/foreign/setup.sh) these tests say so and test nothing.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use support::{Server, Tree, create, set};
use zk_proto::acl::{AclBytes, encode};
use zk_proto::txn::{
    CheckVersionTxn, CreateContainerTxn, CreateTtlTxn, CreateTxn, DeleteTxn, SetAclTxn, Txn,
};
use zk_proto::{Acl, Perms};
use zk_store::Compression;
use zk_store::data_dir::DataDirs;
use zk_store::disk::RealDisk;
use zk_store::names::Name;
use zk_store::recover::{Note, RecoverOptions, Recovered, Void, recover};
use zk_store::snapshot::SnapshotOptions;

const VERSIONS: [&str; 2] = ["3.8.0", "3.9.4"];

fn apache(version: &str, args: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/foreign/apache.sh");
    let mut command = Command::new(script);
    command.arg(version).args(args).env("ZK_JVM", "-Dzookeeper.extendedTypesEnabled=true");
    command.output().unwrap()
}

/// Runs a test for each version of Apache that is there, in a directory of its own.
fn for_each_version(test: &str, run: impl Fn(&str, &Path)) {
    for version in VERSIONS {
        if !apache(version, &["env"]).status.success() {
            let why = format!("{test}: no Apache ZooKeeper {version}; run test/foreign/setup.sh");
            let required = std::env::var_os("ZKFLEET_REQUIRE_APACHE").is_some_and(|v| v == "1");
            assert!(!required, "ZKFLEET_REQUIRE_APACHE=1, but {why}");
            // Past the harness, which swallows what a passing test prints.
            let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        run(version, dir.path());
    }
}

fn dirs(dir: &Path) -> DataDirs {
    DataDirs::new(dir.join("data"), None)
}

fn server(dir: &Path) -> Server {
    Server::start(Arc::new(RealDisk), dirs(dir)).unwrap()
}

fn open(dir: &Path) -> (Recovered, Tree) {
    let mut tree = Tree::default();
    let recovered = recover(&RealDisk, &dirs(dir), &RecoverOptions::default(), &mut tree);
    (recovered.unwrap_or_else(|error| panic!("{error}")), tree)
}

/// An Apache server that runs on the directory.
struct Running<'a> {
    version: &'a str,
    dir: PathBuf,
    address: String,
}

impl Running<'_> {
    fn start<'a>(version: &'a str, dir: &Path) -> Running<'a> {
        let out = apache(version, &["start", dir.to_str().unwrap(), "preAllocSize=64"]);
        let text = String::from_utf8(out.stdout).unwrap();
        let log = || std::fs::read_to_string(dir.join("log")).unwrap_or_default();
        assert!(out.status.success(), "Apache {version} does not start on it:\n{}", log());
        let port = text.split_whitespace().nth(1).unwrap();
        Running { version, dir: dir.to_path_buf(), address: format!("127.0.0.1:{port}") }
    }

    fn cli(&self, args: &[&str]) {
        let out = apache(self.version, &[&["cli", "-server", &self.address], args].concat());
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        apache(self.version, &["stop", self.dir.to_str().unwrap()]);
    }
}

/// One of every kind of transaction.
fn write_all_kinds(server: &mut Server) {
    let acl = encode(&[
        Acl::new(Perms::ALL, "digest", "bob:hash"),
        Acl::new(Perms::READ, "ip", "10.0.0.1"),
    ]);
    let acl = AclBytes::parse(&acl).unwrap();
    let open = AclBytes::OPEN;
    let create_txn = |path: &'static str, data, ephemeral, parent_cversion| CreateTxn {
        path: path.into(),
        data,
        acl: open,
        ephemeral,
        parent_cversion,
    };
    let delete = |path: &'static str| DeleteTxn { path: path.into() };
    let check = Txn::Check(CheckVersionTxn { path: "/b".into(), version: 1 });
    let base = server.tree.cversion("");
    let txns = [
        Txn::CreateSession(40_000),
        create("/a", b"v1", base + 1),
        Txn::Create2(create_txn("/b", None, false, base + 2)),
        Txn::Create(create_txn("/a/ephemeral", Some(b"e"), true, 1)),
        Txn::CreateContainer(CreateContainerTxn {
            path: "/container".into(),
            data: Some(b""),
            acl: open,
            parent_cversion: base + 3,
        }),
        Txn::CreateTtl(CreateTtlTxn {
            path: "/ttl".into(),
            data: Some(b"t"),
            acl: open,
            parent_cversion: base + 4,
            ttl_ms: 86_400_000,
        }),
        set("/a", b"v2", 1),
        Txn::SetAcl(SetAclTxn { path: "/a".into(), acl, version: 1 }),
        Txn::Error(-110),
        Txn::Multi(vec![create("/m", b"", base + 5), set("/b", b"m", 1), check.clone()]),
        Txn::Multi(vec![create("/never", b"", base + 6), Txn::Error(-101)]),
        Txn::Delete(delete("/m")),
        create("/reaped", b"", base + 6),
        Txn::DeleteContainer(delete("/reaped")),
        create("/big", &[7; 5000], base + 7),
    ];
    for txn in txns {
        server.commit(&[txn]).unwrap();
    }
}

/// Equal but for what Apache does to the configuration's znode.
fn assert_same(ours: &Tree, apaches: &Tree) {
    let (mut ours, mut apaches) = (ours.clone(), apaches.clone());
    for tree in [&mut ours, &mut apaches] {
        tree.nodes.remove("/zookeeper/config");
    }
    assert_eq!(ours, apaches);
}

#[test]
fn r3_ours_to_apache_to_ours_and_again() {
    for_each_version("ours to Apache to ours", |version, dir| {
        let mut ours = server(dir);
        ours.snapshot(SnapshotOptions::default()).unwrap();
        write_all_kinds(&mut ours);
        let (last, tree) = (ours.tree.last, ours.tree.clone());
        ours.log.close().unwrap();
        drop(Running::start(version, dir));

        // Apache replayed our log and took a snapshot, whose digest recovery compares.
        let (recovered, apaches) = open(dir);
        let (_, info) = recovered.snapshot.as_ref().unwrap();
        assert_eq!((recovered.last, info.zxid, recovered.txns), (last, last, 0));
        assert_eq!(info.digest.unwrap().zxid, last.0);
        assert_same(&tree, &apaches);
        assert!(
            recovered.notes.iter().any(|note| matches!(note, Note::Void(Void::ForeignSnapshot(_)))),
            "{:?}",
            recovered.notes
        );

        // We go on; it appends; we go on.
        let mut ours = server(dir);
        assert!(open(dir).0.notes.is_empty(), "the directory is ours again");
        ours.create().unwrap();
        let last = ours.tree.last;
        drop(ours);
        let running = Running::start(version, dir);
        running.cli(&["create", "/by-apache", "data"]);
        drop(running);
        let (recovered, apaches) = open(dir);
        assert!(recovered.last > last && apaches.nodes.contains_key("/by-apache"));
        let mut ours = server(dir);
        ours.create().unwrap();
        assert_eq!(open(dir).0.last.0, recovered.last.0 + 1);
    });
}

#[test]
fn all_forms_of_our_snapshots_are_loaded_by_apache() {
    for_each_version("our snapshots", |version, dir| {
        for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
            let dir = dir.join(format!("{compression:?}"));
            let mut ours = server(&dir);
            write_all_kinds(&mut ours);
            ours.log.roll().unwrap();
            ours.snapshot(SnapshotOptions { compression, ..Default::default() }).unwrap();
            ours.create().unwrap();
            let tree = ours.tree.clone();
            ours.log.close().unwrap();
            // So that it cannot do without the snapshot.
            std::fs::remove_file(dirs(&dir).logs().join("log.1")).unwrap();
            drop(Running::start(version, &dir));
            let (recovered, apaches) = open(&dir);
            assert_eq!(recovered.last, tree.last);
            assert_same(&tree, &apaches);
        }
    });
}

#[test]
fn a_log_that_we_were_killed_on_is_loaded_by_apache() {
    for_each_version("a killed log", |version, dir| {
        let mut ours = server(dir);
        ours.snapshot(SnapshotOptions::default()).unwrap();
        for _ in 0..20 {
            ours.create().unwrap();
        }
        ours.log.zero_ahead().unwrap();
        let tree = ours.tree.clone();
        std::mem::forget(ours);
        drop(Running::start(version, dir));
        let (recovered, apaches) = open(dir);
        assert_eq!(recovered.last, tree.last);
        assert_same(&tree, &apaches);
    });
}

#[test]
fn r3_apaches_purge_leaves_a_directory_that_recovers() {
    for_each_version("Apache's purge", |version, dir| {
        let mut ours = server(dir);
        for _ in 0..6 {
            ours.create().unwrap();
            ours.log.roll().unwrap();
            ours.snapshot(SnapshotOptions::default()).unwrap();
        }
        ours.create().unwrap();
        let tree = ours.tree.clone();
        ours.log.close().unwrap();
        let data = dir.join("data");
        let data = data.to_str().unwrap();
        let out = apache(version, &["tool", "PurgeTxnLog", data, data, "-n", "3"]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let left = std::fs::read_dir(dirs(dir).snapshots()).unwrap();
        let snapshots = left.filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            matches!(Name::parse(name.to_str().unwrap()), Name::Snapshot(..))
        });
        assert_eq!(snapshots.count(), 3, "it purged");
        let (recovered, found) = open(dir);
        assert!(found == tree && recovered.notes.is_empty(), "{:?}", recovered.notes);
    });
}
