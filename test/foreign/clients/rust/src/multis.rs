//! Several operations in one request.

use crate::env::{EPHEMERAL, Env, PERSISTENT, SEQUENTIAL};
use zookeeper_client::{
    CheckWriteError, Error, MultiReadResult, MultiWriteError, MultiWriteResult,
};

pub async fn multi_write(env: Env) {
    let zk = env.client().await;
    let (a, s) = (env.at("a"), env.at("s-"));
    let mut writer = zk.new_multi_writer();
    writer.add_create(&a, b"1", &PERSISTENT).unwrap();
    writer.add_create(&format!("{a}/e"), b"", &EPHEMERAL).unwrap();
    writer.add_set_data(&a, b"2", Some(0)).unwrap();
    writer.add_check_version(&a, 1).unwrap();
    writer.add_delete(&format!("{a}/e"), None).unwrap();
    writer.add_create(&s, b"", &SEQUENTIAL).unwrap();
    let results = writer.commit().await.unwrap();
    let [first, _, set, check, delete, last] = &results[..] else { panic!("{results:?}") };
    let MultiWriteResult::Create { path, .. } = first else { panic!("{first:?}") };
    assert_eq!(path, &a);
    let MultiWriteResult::SetData { stat } = set else { panic!("{set:?}") };
    assert_eq!((stat.version, stat.czxid), (1, stat.mzxid));
    assert_eq!((check, delete), (&MultiWriteResult::Check, &MultiWriteResult::Delete));
    let MultiWriteResult::Create { path, .. } = last else { panic!("{last:?}") };
    assert_eq!(path, &format!("{s}0000000001"));
    let (data, stat) = zk.get_data(&a).await.unwrap();
    assert_eq!((&*data, stat.num_children, stat.cversion), (&b"2"[..], 0, 2));
}

pub async fn multi_write_fails(env: Env) {
    let zk = env.client().await;
    let mut writer = zk.new_multi_writer();
    writer.add_create(&env.at("a"), b"", &PERSISTENT).unwrap();
    writer.add_set_data(&env.at("none"), b"", None).unwrap();
    writer.add_create(&env.at("b"), b"", &PERSISTENT).unwrap();
    let failed = MultiWriteError::OperationFailed { index: 1, source: Error::NoNode };
    assert_eq!(writer.commit().await.unwrap_err(), failed);
    assert!(zk.list_children(&env.path).await.unwrap().is_empty(), "a part of it was done");
}

pub async fn check_writer(env: Env) {
    let zk = env.client().await;
    let (guard, path) = (env.at("guard"), env.at("n"));
    zk.create(&guard, b"", &PERSISTENT).await.unwrap();
    let mut writer = zk.new_check_writer(&guard, Some(0)).unwrap();
    writer.add_create(&path, b"", &PERSISTENT).unwrap();
    writer.commit().await.unwrap();
    zk.set_data(&guard, b"", None).await.unwrap();
    let mut writer = zk.new_check_writer(&guard, Some(0)).unwrap();
    writer.add_delete(&path, None).unwrap();
    let failed = CheckWriteError::CheckFailed { source: Error::BadVersion };
    assert_eq!(writer.commit().await.unwrap_err(), failed);
    assert!(zk.check_stat(&path).await.unwrap().is_some());
}

pub async fn multi_read(env: Env) {
    let zk = env.client().await;
    zk.create(&env.at("a"), b"1", &PERSISTENT).await.unwrap();
    let mut reader = zk.new_multi_reader();
    reader.add_get_data(&env.at("a")).unwrap();
    reader.add_get_data(&env.at("none")).unwrap();
    reader.add_get_children(&env.path).unwrap();
    let results = reader.commit().await.unwrap();
    let [data, none, children] = &results[..] else { panic!("{results:?}") };
    assert!(matches!(data, MultiReadResult::Data { data, .. } if data == b"1"), "{data:?}");
    assert!(matches!(none, MultiReadResult::Error { err: Error::NoNode }), "{none:?}");
    assert!(matches!(children, MultiReadResult::Children { children } if children == &["a"]));
}
