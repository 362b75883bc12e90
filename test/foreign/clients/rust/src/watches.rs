//! Watches: one-shot, persistent, recursive.

use crate::env::{Env, PERSISTENT, soon};
use zookeeper_client::{AddWatchMode, EventType, PersistentWatcher, WatchedEvent};

/// The next event is this one.
fn is(event: &WatchedEvent, kind: EventType, path: &str) {
    assert_eq!((event.event_type, &*event.path), (kind, path));
}

pub async fn data_watch_fires_once(env: Env) {
    let (zk, other, path) = (env.client().await, env.client().await, env.at("n"));
    zk.create(&path, b"0", &PERSISTENT).await.unwrap();
    let (_, _, watcher) = zk.get_and_watch_data(&path).await.unwrap();
    other.sync(&path).await.unwrap();
    other.set_data(&path, b"1", None).await.unwrap();
    other.set_data(&path, b"2", None).await.unwrap();
    is(&soon("no event", watcher.changed()).await, EventType::NodeDataChanged, &path);
    zk.sync(&path).await.unwrap();
    let (data, _, watcher) = zk.get_and_watch_data(&path).await.unwrap();
    assert_eq!(data, b"2");
    other.delete(&path, None).await.unwrap();
    is(&soon("no event", watcher.changed()).await, EventType::NodeDeleted, &path);
}

pub async fn exists_watch_sees_creation(env: Env) {
    let (zk, other, path) = (env.client().await, env.client().await, env.at("n"));
    let (stat, watcher) = zk.check_and_watch_stat(&path).await.unwrap();
    assert_eq!(stat, None);
    other.create(&path, b"", &PERSISTENT).await.unwrap();
    is(&soon("no event", watcher.changed()).await, EventType::NodeCreated, &path);
    let (stat, watcher) = zk.check_and_watch_stat(&path).await.unwrap();
    assert!(stat.is_some());
    other.set_data(&path, b"", None).await.unwrap();
    is(&soon("no event", watcher.changed()).await, EventType::NodeDataChanged, &path);
}

pub async fn child_watch(env: Env) {
    let (zk, other) = (env.client().await, env.client().await);
    let (names, watcher) = zk.list_and_watch_children(&env.path).await.unwrap();
    assert!(names.is_empty());
    other.create(&env.at("a"), b"", &PERSISTENT).await.unwrap();
    is(&soon("no event", watcher.changed()).await, EventType::NodeChildrenChanged, &env.path);
    let (_, stat, watcher) = zk.get_and_watch_children(&env.path).await.unwrap();
    assert_eq!(stat.num_children, 1);
    // Data of a child is no concern of its parent's watch; the deletion is.
    other.set_data(&env.at("a"), b"x", None).await.unwrap();
    other.delete(&env.at("a"), None).await.unwrap();
    is(&soon("no event", watcher.changed()).await, EventType::NodeChildrenChanged, &env.path);
}

pub async fn watch_of_the_deleted(env: Env) {
    let (zk, other, path) = (env.client().await, env.client().await, env.at("n"));
    zk.create(&path, b"", &PERSISTENT).await.unwrap();
    let (_, _, data) = zk.get_and_watch_data(&path).await.unwrap();
    let (_, children) = zk.list_and_watch_children(&path).await.unwrap();
    other.sync(&path).await.unwrap();
    other.delete(&path, None).await.unwrap();
    is(&soon("no event", data.changed()).await, EventType::NodeDeleted, &path);
    is(&soon("no event", children.changed()).await, EventType::NodeDeleted, &path);
}

pub async fn dropped_watchers_are_removed(env: Env) {
    let (zk, path) = (env.client().await, env.at("n"));
    zk.create(&path, b"", &PERSISTENT).await.unwrap();
    let (_, _, kept) = zk.get_and_watch_data(&path).await.unwrap();
    for _ in 0..10 {
        drop(zk.get_and_watch_data(&path).await.unwrap());
        drop(zk.watch(&path, AddWatchMode::Persistent).await.unwrap());
    }
    zk.set_data(&path, b"1", None).await.unwrap();
    is(&soon("no event", kept.changed()).await, EventType::NodeDataChanged, &path);
    assert_eq!(zk.get_data(&path).await.unwrap().0, b"1");
}

async fn all(watcher: &mut PersistentWatcher, wanted: &[(EventType, &str)]) {
    let mut last = 0;
    for (kind, path) in wanted {
        let event = soon(&format!("no {kind:?} {path}"), watcher.changed()).await;
        is(&event, *kind, path);
        assert!(event.zxid == -1 || event.zxid >= last, "zxids of events go back");
        last = last.max(event.zxid);
    }
}

pub async fn persistent_watch(env: Env) {
    let (zk, other, path) = (env.client().await, env.client().await, env.at("n"));
    let mut watcher = zk.watch(&path, AddWatchMode::Persistent).await.unwrap();
    other.create(&path, b"", &PERSISTENT).await.unwrap();
    other.set_data(&path, b"1", None).await.unwrap();
    other.set_data(&path, b"2", None).await.unwrap();
    let child = env.at("n/c");
    other.create(&child, b"", &PERSISTENT).await.unwrap();
    other.set_data(&child, b"x", None).await.unwrap();
    other.delete(&child, None).await.unwrap();
    other.delete(&path, None).await.unwrap();
    let wanted = [
        (EventType::NodeCreated, &*path),
        (EventType::NodeDataChanged, &path),
        (EventType::NodeDataChanged, &path),
        (EventType::NodeChildrenChanged, &path),
        (EventType::NodeChildrenChanged, &path),
        (EventType::NodeDeleted, &path),
    ];
    all(&mut watcher, &wanted).await;
}

pub async fn recursive_watch(env: Env) {
    let (zk, other) = (env.client().await, env.client().await);
    let mut watcher = zk.watch(&env.path, AddWatchMode::PersistentRecursive).await.unwrap();
    let (a, b) = (env.at("a"), env.at("a/b"));
    other.create(&a, b"", &PERSISTENT).await.unwrap();
    other.create(&b, b"", &PERSISTENT).await.unwrap();
    other.set_data(&b, b"1", None).await.unwrap();
    other.delete(&b, None).await.unwrap();
    let mut writer = other.new_multi_writer();
    writer.add_set_data(&a, b"2", None).unwrap();
    writer.add_delete(&a, None).unwrap();
    writer.commit().await.unwrap();
    let wanted = [
        (EventType::NodeCreated, &*a),
        (EventType::NodeCreated, &b),
        (EventType::NodeDataChanged, &b),
        (EventType::NodeDeleted, &b),
        (EventType::NodeDataChanged, &a),
        (EventType::NodeDeleted, &a),
    ];
    all(&mut watcher, &wanted).await;
}

/// Who reads newer data has had the event of the older.
pub async fn events_come_before_data(env: Env) {
    let (zk, other, path) = (env.client().await, env.client().await, env.at("n"));
    zk.create(&path, b"0", &PERSISTENT).await.unwrap();
    let mut watcher = zk.watch(&path, AddWatchMode::Persistent).await.unwrap();
    let writes = tokio::task::spawn_local(async move {
        other.sync("/").await.unwrap();
        for number in 1..=200 {
            other.set_data(&path, number.to_string().as_bytes(), None).await.unwrap();
        }
    });
    let mut events = 0;
    let path = env.at("n");
    while events < 200 {
        let (_, stat) = zk.get_data(&path).await.unwrap();
        while events < stat.version {
            is(&soon("no event", watcher.changed()).await, EventType::NodeDataChanged, &path);
            events += 1;
        }
    }
    writes.await.unwrap();
}
