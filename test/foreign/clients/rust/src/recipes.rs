//! Recipes of this client: locks and elections, and a queue by hand.

use crate::env::{EPHEMERAL_SEQUENTIAL, Env, PERSISTENT, SEQUENTIAL, retry, soon};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use zookeeper_client::{Acls, Client, Error, LockPrefix};

/// Notes how many are inside at once.
#[derive(Clone, Default)]
pub struct Exclusive(Arc<AtomicI32>);

impl Exclusive {
    pub async fn stay(&self, time: Duration) {
        let others = self.0.fetch_add(1, Ordering::SeqCst);
        assert_eq!(others, 0, "two are inside at once");
        tokio::time::sleep(time).await;
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Takes a Curator lock so many times.
///
/// Each attempt first takes away what an earlier one of this session left behind: it would wait for
/// itself. The crate (0.11.2) means to do that, but names the contender without its parent
/// (`Client::delete_ephemeral_background`), and gives up a release when the system says why the
/// connection broke (`Client::delete_foreground` tries again after `ConnectionLoss` only).
pub async fn contend(zk: Client, dir: String, times: u32, inside: Exclusive) {
    for _ in 0..times {
        let ask = async || {
            leave(&zk, &dir).await?;
            let prefix = LockPrefix::new_curator(&dir, "lock-")?;
            zk.lock(prefix, b"", Acls::anyone_all()).await
        };
        let lock = retry(ask).await.unwrap();
        inside.stay(Duration::from_millis(10)).await;
        drop(lock);
    }
    retry(async || leave(&zk, &dir).await).await.unwrap();
}

/// Removes all contenders of this session.
async fn leave(zk: &Client, dir: &str) -> Result<(), Error> {
    zk.sync(dir).await?;
    for name in zk.list_children(dir).await? {
        let path = format!("{dir}/{name}");
        match zk.check_stat(&path).await? {
            Some(stat) if stat.ephemeral_owner == zk.session_id().0 => {}
            _ => continue,
        }
        match zk.delete(&path, None).await {
            Ok(()) | Err(Error::NoNode) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub async fn lock(env: Env) {
    let (dir, inside) = (env.at("lock"), Exclusive::default());
    env.client().await.create(&dir, b"", &PERSISTENT).await.unwrap();
    let mut contenders = JoinSet::new();
    for _ in 0..4 {
        contenders.spawn_local(contend(env.client().await, dir.clone(), 10, inside.clone()));
    }
    soon("a contender is stuck", contenders.join_all()).await;
}

pub async fn shared_lock(env: Env) {
    let prefix = env.at("n-");
    let (first, second) = (env.client().await, env.client().await);
    let held = first
        .lock(LockPrefix::new_shared(&prefix).unwrap(), b"1", Acls::anyone_all())
        .await
        .unwrap();
    let mut waiting =
        Box::pin(second.lock(LockPrefix::new_shared(&prefix).unwrap(), b"2", Acls::anyone_all()));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "two hold it");
    drop(held);
    let held = soon("it is never given on", waiting).await.unwrap();
    assert_eq!(second.get_data(held.lock_path()).await.unwrap().0, b"2");
}

/// A leader's writes count only as long as it leads.
pub async fn election(env: Env) {
    let (zk, other, dir) = (env.client().await, env.client().await, env.at("election"));
    zk.create(&dir, b"", &PERSISTENT).await.unwrap();
    let prefix = LockPrefix::new_curator(&dir, "latch-").unwrap();
    let leader = zk.lock(prefix, b"a", Acls::anyone_all()).await.unwrap();
    leader.create(&env.at("led"), b"a", &PERSISTENT).await.unwrap();
    leader.set_data(&env.at("led"), b"b", Some(0)).await.unwrap();
    // Somebody takes its place away.
    other.sync(&dir).await.unwrap();
    other.delete(leader.lock_path(), None).await.unwrap();
    zk.sync(&dir).await.unwrap();
    let late = leader.set_data(&env.at("led"), b"c", None).await;
    assert_eq!(late.unwrap_err(), Error::RuntimeInconsistent);
    assert_eq!(other.get_data(&env.at("led")).await.unwrap().0, b"b");
}

/// Entries are taken once each, by whoever deletes them.
pub async fn queue(env: Env) {
    let producer = env.client().await;
    for number in 0..40 {
        let kind = if number % 2 == 0 { SEQUENTIAL } else { EPHEMERAL_SEQUENTIAL };
        producer.create(&env.at("q-"), number.to_string().as_bytes(), &kind).await.unwrap();
    }
    let mut consumers = JoinSet::new();
    for _ in 0..2 {
        let (zk, env) = (env.client().await, env.clone());
        consumers.spawn_local(async move {
            let mut taken = Vec::new();
            loop {
                let mut names = zk.list_children(&env.path).await.unwrap();
                names.sort();
                let Some(name) = names.first() else { return taken };
                let path = env.at(name);
                let Ok((data, stat)) = zk.get_data(&path).await else { continue };
                if zk.delete(&path, Some(stat.version)).await.is_ok() {
                    taken.push(String::from_utf8(data).unwrap().parse::<i32>().unwrap());
                }
            }
        });
    }
    let mut taken = soon("a consumer is stuck", consumers.join_all()).await.concat();
    taken.sort_unstable();
    assert_eq!(taken, (0..40).collect::<Vec<_>>());
}
