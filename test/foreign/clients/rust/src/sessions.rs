//! How sessions begin, go on and end.

use crate::env::{EPHEMERAL, Env, PERSISTENT, eventually, soon};
use std::time::Duration;
use zookeeper_client::{Client, Error, SessionState};

pub async fn session_ends_with_its_client(env: Env) {
    let (zk, other, path) = (env.client().await, env.client().await, env.at("e"));
    assert!(zk.session_id() != other.session_id() && zk.state() == SessionState::SyncConnected);
    assert_eq!(zk.session_timeout(), crate::env::SESSION);
    zk.create(&path, b"", &EPHEMERAL).await.unwrap();
    drop(zk);
    eventually("the znode outlives its session", async || {
        other.check_stat(&path).await.unwrap().is_none()
    })
    .await;
}

pub async fn session_expires(env: Env) {
    let (proxy, other, path) = (env.proxy().await, env.client().await, env.at("e"));
    let connector = Client::connector().with_session_timeout(Duration::from_secs(2));
    let zk = connector.connect(&proxy.hosts).await.unwrap();
    zk.create(&path, b"", &EPHEMERAL).await.unwrap();
    let mut states = zk.state_watcher();
    proxy.cut(Duration::from_secs(6)).await;
    other.sync(&path).await.unwrap();
    assert_eq!(other.check_stat(&path).await.unwrap(), None, "the znode outlives its session");
    let expired = async { while states.changed().await != SessionState::Expired {} };
    soon("the client never learns that its session expired", expired).await;
    assert_eq!(zk.get_data("/").await.unwrap_err(), Error::SessionExpired);
}

pub async fn session_is_resumed(env: Env) {
    let (other, path) = (env.client().await, env.at("e"));
    let zk = env.connect(Env::connector().with_detached()).await.unwrap();
    let (id, session) = (zk.session_id(), zk.session().clone());
    zk.create(&path, b"", &EPHEMERAL).await.unwrap();
    // Its task outlives it: if its connection were taken away, it would take the session back.
    let mut states = zk.state_watcher();
    drop(zk);
    let closed = async { while states.changed().await != SessionState::Closed {} };
    soon("the first client does not end", closed).await;
    let zk = env.connect(Env::connector().with_session(session)).await.unwrap();
    assert_eq!(zk.session_id(), id);
    zk.create(&env.at("second"), b"", &PERSISTENT).await.unwrap();
    other.sync(&path).await.unwrap();
    assert_eq!(other.check_stat(&path).await.unwrap().unwrap().ephemeral_owner, id.0);
    drop(zk);
    eventually("the znode outlives its session", async || {
        other.check_stat(&path).await.unwrap().is_none()
    })
    .await;
}

pub async fn a_session_needs_its_password(env: Env) {
    // The session of one client is gone with it, so nobody may go on with it.
    let zk = env.client().await;
    let (session, path) = (zk.session().clone(), env.at("e"));
    let other = env.client().await;
    zk.create(&path, b"", &EPHEMERAL).await.unwrap();
    drop(zk);
    eventually("the session does not end", async || {
        other.check_stat(&path).await.unwrap().is_none()
    })
    .await;
    let again = env.connect(Env::connector().with_session(session)).await;
    assert_eq!(again.map(|client| client.session_id()).unwrap_err(), Error::SessionExpired);
}

pub async fn auth_failure(env: Env) {
    let zk = env.client().await;
    assert_eq!(zk.auth("no-such-scheme", b"x").await.unwrap_err(), Error::AuthFailed);
    let mut states = zk.state_watcher();
    let failed = async {
        while states.state() != SessionState::AuthFailed {
            states.changed().await;
        }
    };
    soon("the session goes on", failed).await;
}
