//! What one can ask.

use std::time::Duration;

use tokio::time::timeout;
use zk_client::{ANY_VERSION, Client, Error, NewZnode, OpResult, Quota, QuotaError, Watch};
use zk_proto::acl::{Acl, AclBytes, encode};
use zk_proto::request::{CreateMode, MultiOp, ReadOp, Request, SetDataRequest, VersionedPath};
use zk_proto::watch::{AddWatchMode, EventType, WatcherType};
use zk_proto::{ErrorCode, Perms};
use zk_testkit::{Engine, Server};

use crate::{PATIENCE, options, serve};

fn refused(code: ErrorCode, path: &str) -> Error {
    Error::Refused { code, path: path.to_owned() }
}

/// One server for all: they keep out of each other's way.
pub(crate) async fn all(engine: Engine) {
    let properties = [("zookeeper.extendedTypesEnabled", "true")];
    let Some(server) = serve(engine, &properties) else { return };
    every_operation(&server).await;
    watches(&server).await;
    quotas_and_subtrees(&server).await;
    crate::sessions::ephemerals(&server).await;
}

async fn every_operation(server: &Server) {
    let client = Client::connect(options(server)).await.unwrap();

    let (path, stat) = client.create("/a", NewZnode::persistent(b"one")).await.unwrap();
    assert_eq!((path.as_str(), stat.data_length, stat.version), ("/a", 3, 0));
    assert_eq!(client.last_zxid().0, stat.czxid);
    for (mode, ttl_ms, want) in [
        (CreateMode::PersistentSequential, 0, "/a/s0000000000"),
        (CreateMode::EphemeralSequential, 0, "/a/s0000000001"),
        (CreateMode::PersistentSequentialWithTtl, 60_000, "/a/s0000000002"),
        (CreateMode::Container, 0, "/a/s"),
    ] {
        let ttl = Duration::from_millis(ttl_ms);
        let znode = NewZnode { ttl, ..NewZnode::new(mode, b"") };
        assert_eq!(client.create("/a/s", znode).await.unwrap().0, want);
    }
    let twice = client.create("/a", NewZnode::persistent(b"")).await;
    assert_eq!(twice.unwrap_err(), refused(ErrorCode::NodeExists, "/a"));

    assert_eq!(client.get_data("/a").await.unwrap().0.as_deref(), Some(&b"one"[..]));
    let stat = client.set_data("/a", None, 0).await.unwrap();
    assert_eq!((stat.version, stat.data_length), (1, 0));
    assert_eq!(client.get_data("/a").await.unwrap().0, None);
    let late = client.set_data("/a", Some(b"x"), 0).await;
    assert_eq!(late.unwrap_err(), refused(ErrorCode::BadVersion, "/a"));
    assert_eq!(client.exists("/none").await.unwrap(), None);
    assert_eq!(client.exists("/a").await.unwrap().unwrap().num_children, 4);

    let (mut names, stat) = client.get_children("/a").await.unwrap();
    names.sort_unstable();
    assert_eq!(names, ["s", "s0000000000", "s0000000001", "s0000000002"]);
    assert_eq!(stat.num_children, 4);
    assert_eq!(client.get_all_children_number("/a").await.unwrap(), 4);
    assert_eq!(client.get_ephemerals("/").await.unwrap(), ["/a/s0000000001"]);
    client.sync("/a").await.unwrap();

    let acl = encode(&[
        Acl::new(Perms::ALL, "ip", "127.0.0.1"),
        Acl::new(Perms::READ, "world", "anyone"),
    ]);
    let stat = client.set_acl("/a", AclBytes::parse(&acl).unwrap(), 0).await.unwrap();
    assert_eq!(stat.aversion, 1);
    let (entries, _) = client.get_acl("/a").await.unwrap();
    assert_eq!((entries[0].perms, entries[0].scheme.as_str()), (Perms::ALL, "ip"));
    assert_eq!(entries[1].id, "anyone");

    multis(&client).await;

    assert_eq!(client.get_config().await.unwrap().1.num_children, 0);
    let reconfig = client.reconfig(None, Some("3"), None, -1).await;
    assert_eq!(reconfig.unwrap_err().code(), ErrorCode::ReconfigDisabled);
    client.delete("/a/s", ANY_VERSION).await.unwrap();
    client.close().await.unwrap();
}

async fn multis(client: &Client) {
    let create = |path: &'static str| MultiOp::Create(NewZnode::persistent(b"x").at(path));
    let check = |version| MultiOp::Check(VersionedPath { path: "/a".into(), version });
    let set = MultiOp::SetData(SetDataRequest { path: "/m".into(), data: None, version: 0 });
    let results = client.multi(&[check(1), create("/m"), set]).await.unwrap();
    assert_eq!(results[0], OpResult::Checked);
    // 3.8.0 answers the create2 of a multi as a create.
    assert!(matches!(&results[1], OpResult::Created(path, _) if path == "/m"), "{results:?}");
    assert!(matches!(results[2], OpResult::Set(stat) if stat.version == 1), "{results:?}");

    let failed = client.multi(&[create("/n"), check(7), create("/o")]).await.unwrap_err();
    let want = Error::Multi { at: 1, code: ErrorCode::BadVersion, path: "/a".to_owned() };
    assert_eq!(failed, want);
    assert_eq!(client.exists("/n").await.unwrap(), None);
    assert_eq!(client.multi(&[]).await.unwrap(), []);

    let read = |path: &'static str| ReadOp { path: Some(path.into()), watch: false };
    let ops = [
        MultiOp::GetData(read("/m")),
        MultiOp::GetData(read("/none")),
        MultiOp::GetChildren(read("/m")),
    ];
    let results = client.multi_read(&ops).await.unwrap();
    assert!(matches!(results[0], OpResult::Data(None, _)), "{results:?}");
    assert_eq!(results[1], OpResult::Failed(ErrorCode::NoNode.code()));
    assert_eq!(results[2], OpResult::Children(Vec::new()));
}

async fn kinds(watch: &mut Watch, count: usize) -> Vec<(EventType, String)> {
    let mut events = Vec::new();
    while events.len() < count {
        let event = timeout(PATIENCE, watch.next()).await.unwrap().unwrap();
        events.push((event.kind, event.path));
    }
    events
}

async fn watches(server: &Server) {
    let client = Client::connect(options(server)).await.unwrap();
    let (stat, mut exists) = client.exists_watched("/w").await.unwrap();
    assert_eq!(stat, None);
    let mut recursive = client.add_watch("/", AddWatchMode::PersistentRecursive).await.unwrap();
    client.create("/w", NewZnode::persistent(b"")).await.unwrap();
    assert_eq!(exists.try_next().unwrap().kind, EventType::NodeCreated);
    let (.., mut data) = client.get_data_watched("/w").await.unwrap();
    let (.., mut children) = client.get_children_watched("/w").await.unwrap();
    let mut persistent = client.add_watch("/w", AddWatchMode::Persistent).await.unwrap();
    client.create("/w/x", NewZnode::persistent(b"")).await.unwrap();
    client.set_data("/w", Some(b"1"), ANY_VERSION).await.unwrap();
    client.set_data("/w", Some(b"2"), ANY_VERSION).await.unwrap();
    client.delete("/w/x", ANY_VERSION).await.unwrap();
    use EventType::{NodeChildrenChanged, NodeCreated, NodeDataChanged, NodeDeleted};
    assert_eq!(kinds(&mut children, 1).await, [(NodeChildrenChanged, "/w".to_owned())]);
    assert_eq!(kinds(&mut data, 1).await, [(NodeDataChanged, "/w".to_owned())]);
    let persistent_kinds = kinds(&mut persistent, 4).await.into_iter().map(|(kind, _)| kind);
    assert!(persistent_kinds.eq([
        NodeChildrenChanged,
        NodeDataChanged,
        NodeDataChanged,
        NodeChildrenChanged
    ]));
    let want = [
        (NodeCreated, "/w"),
        (NodeCreated, "/w/x"),
        (NodeDataChanged, "/w"),
        (NodeDataChanged, "/w"),
        (NodeDeleted, "/w/x"),
    ];
    assert_eq!(kinds(&mut recursive, 5).await, want.map(|(kind, path)| (kind, path.to_owned())));
    client.remove_watches("/", WatcherType::Any).await.unwrap();
    assert_eq!(timeout(PATIENCE, recursive.next()).await.unwrap(), None);
    assert!(!client.has_watches("/", WatcherType::Any).await.unwrap());
    assert!(client.has_watches("/w", WatcherType::Any).await.unwrap());
    let none = client.remove_watches("/none", WatcherType::Any).await.unwrap_err();
    assert_eq!(none, refused(ErrorCode::NoWatcher, "/none"));
    client.close().await.unwrap();
    assert_eq!(timeout(PATIENCE, persistent.next()).await.unwrap(), None);
}

async fn quotas_and_subtrees(server: &Server) {
    let client = Client::connect(options(server)).await.unwrap();
    client.create("/q", NewZnode::persistent(b"12345")).await.unwrap();
    let mut pending = Vec::new();
    for at in 0..300 {
        let path = if at < 3 { format!("/q/{at}") } else { format!("/q/{}/{at:03}", at % 3) };
        let create = NewZnode::persistent(b"x").at(&path);
        pending.push(client.send(&Request::Create(create)).await.unwrap());
    }
    for pending in pending {
        assert_eq!(pending.await.unwrap().err, 0);
    }
    let found = client.subtree("/q").await.unwrap();
    assert_eq!(found.len(), 301);
    assert_eq!(found[..5], ["/q", "/q/0", "/q/1", "/q/2", "/q/0/003"]);
    assert!(client.subtree("/none").await.unwrap().is_empty());

    let quota = Quota { count: 10, ..Quota::NONE };
    let (limits, usage) = client.set_quota("/q", quota).await.unwrap();
    assert_eq!((limits, usage.count, usage.bytes), (quota, 301, 305));
    let more = Quota { byte_hard_limit: 999, ..Quota::NONE };
    let both = Quota { count: 10, ..more };
    assert_eq!(client.set_quota("/q", more).await.unwrap().0, both);
    assert_eq!(client.quota("/q").await.unwrap().unwrap().0, both);
    let nested = client.set_quota("/q/1", quota).await.unwrap_err();
    assert!(
        matches!(&nested, QuotaError::Nested { relation: "parent", other, .. } if other == "/q")
    );
    assert!(client.clear_quota("/q", Quota { count: 1, ..Quota::NONE }).await.unwrap());
    assert_eq!(client.quota("/q").await.unwrap().unwrap().0, more);
    assert!(client.delete_quota("/q").await.unwrap());
    assert!(!client.delete_quota("/q").await.unwrap());
    assert_eq!(client.quota("/q").await.unwrap(), None);
    client.set_quota("/q/1", quota).await.unwrap();
    let nested = client.set_quota("/q", quota).await.unwrap_err();
    assert!(
        matches!(&nested, QuotaError::Nested { relation: "child", other, .. } if other == "/q/1")
    );
    assert!(client.delete_quota("/q/1").await.unwrap());

    assert_eq!(client.delete_subtree("/q", 100).await.unwrap(), 301);
    assert_eq!(client.exists("/q").await.unwrap(), None);
    assert_eq!(client.delete_subtree("/q", 100).await, Err(refused(ErrorCode::NoNode, "/q")));
    client.close().await.unwrap();
}
