//! Under connection loss: sessions survive, nothing is lost, locks stay exclusive.

use crate::env::{EPHEMERAL, Env, PERSISTENT, eventually, is_loss, retry};
use crate::recipes::{Exclusive, contend};
use std::time::Duration;
use tokio::task::JoinSet;
use zookeeper_client::{AddWatchMode, Client, Error, SessionState};

const LOSS: Duration = Duration::from_secs(4);

pub async fn loss_session_survives(env: Env) {
    let proxy = env.proxy().await;
    let (zk, path) = (env.through(&proxy).await, env.at("e"));
    zk.create(&path, b"", &EPHEMERAL).await.unwrap();
    let work = async {
        for number in 0..200 {
            let data = number.to_string();
            retry(async || zk.set_data(&path, data.as_bytes(), None).await).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::join!(work, proxy.cut_often(LOSS));
    let (data, stat) = retry(async || zk.get_data(&path).await).await.unwrap();
    assert_eq!((&*data, stat.ephemeral_owner), (&b"199"[..], zk.session_id().0));
    assert!(!matches!(zk.state(), SessionState::Expired | SessionState::Closed));
}

/// Adds one by comparing versions; what was answered or not, the sum and the version agree.
async fn add(zk: Client, path: String, times: u32) {
    for _ in 0..times {
        loop {
            let (data, stat) = retry(async || zk.get_data(&path).await).await.unwrap();
            let sum = String::from_utf8(data).unwrap().parse::<i32>().unwrap() + 1;
            match zk.set_data(&path, sum.to_string().as_bytes(), Some(stat.version)).await {
                Ok(_) => break,
                // It may have been done; then it counts twice.
                Err(error) => assert!(error == Error::BadVersion || is_loss(&error), "{error}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn loss_counter(env: Env) {
    let (proxy, other, path) = (env.proxy().await, env.client().await, env.at("sum"));
    other.create(&path, b"0", &PERSISTENT).await.unwrap();
    let mut adders = JoinSet::new();
    for _ in 0..3 {
        let zk = env.through(&proxy).await;
        adders.spawn_local(add(zk, path.clone(), 50));
    }
    tokio::join!(adders.join_all(), proxy.cut_often(LOSS));
    other.sync(&path).await.unwrap();
    let (data, stat) = other.get_data(&path).await.unwrap();
    let sum = String::from_utf8(data).unwrap().parse::<i32>().unwrap();
    assert!(sum == stat.version && sum >= 150, "sum {sum}, version {}", stat.version);
}

pub async fn loss_lock(env: Env) {
    let (proxy, other, dir) = (env.proxy().await, env.client().await, env.at("lock"));
    other.create(&dir, b"", &PERSISTENT).await.unwrap();
    let (inside, mut contenders) = (Exclusive::default(), JoinSet::new());
    for _ in 0..3 {
        let zk = env.through(&proxy).await;
        contenders.spawn_local(contend(zk, dir.clone(), 20, inside.clone()));
    }
    tokio::join!(contenders.join_all(), proxy.cut_often(LOSS));
    eventually("contenders left behind", async || {
        other.sync(&dir).await.unwrap();
        other.list_children(&dir).await.unwrap().is_empty()
    })
    .await;
}

/// A persistent watch may miss changes of a cut; the next one comes all the same.
pub async fn loss_watchers(env: Env) {
    let (proxy, writer, path) = (env.proxy().await, env.client().await, env.at("n"));
    writer.create(&path, b"", &PERSISTENT).await.unwrap();
    let zk = env.through(&proxy).await;
    let mut watcher =
        retry(async || zk.watch(&path, AddWatchMode::PersistentRecursive).await).await.unwrap();
    let write = async {
        for number in 0..200 {
            writer.set_data(&path, number.to_string().as_bytes(), None).await.unwrap();
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    };
    tokio::join!(write, proxy.cut_often(LOSS));
    retry(async || zk.sync(&path).await).await.unwrap();
    let last = writer.set_data(&path, b"after", None).await.unwrap();
    let seen = async {
        loop {
            let event = watcher.changed().await;
            assert_eq!(event.path, path);
            let (_, stat) = retry(async || zk.get_data(&path).await).await.unwrap();
            if stat.version == last.version {
                return;
            }
        }
    };
    crate::env::soon("the watch is deaf", seen).await;
}
