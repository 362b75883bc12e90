//! One client, one request at a time.

use crate::env::{EPHEMERAL, Env, PERSISTENT, SEQUENTIAL, eventually};
use std::time::Duration;
use zookeeper_client::{Acl, Acls, AuthId, AuthUser, CreateMode, Error, Permission};

pub async fn create_get_set_delete(env: Env) {
    let (zk, path) = (env.client().await, env.at("n"));
    let (made, _) = zk.create(&path, b"one", &PERSISTENT).await.unwrap();
    assert_eq!(zk.create(&path, b"", &PERSISTENT).await.unwrap_err(), Error::NodeExists);
    let (data, stat) = zk.get_data(&path).await.unwrap();
    assert_eq!((data, stat), (b"one".to_vec(), made));
    assert_eq!((stat.version, stat.data_length, stat.ephemeral_owner), (0, 3, 0));
    assert!(stat.czxid == stat.mzxid && stat.mzxid == stat.pzxid && stat.ctime == stat.mtime);
    let set = zk.set_data(&path, b"two", Some(0)).await.unwrap();
    assert_eq!((set.version, set.czxid), (1, stat.czxid));
    assert!(set.mzxid > stat.mzxid && set.mtime >= stat.ctime);
    assert_eq!(zk.set_data(&path, b"x", Some(0)).await.unwrap_err(), Error::BadVersion);
    assert_eq!(zk.delete(&path, Some(0)).await.unwrap_err(), Error::BadVersion);
    assert_eq!(zk.get_data(&path).await.unwrap(), (b"two".to_vec(), set));
    zk.delete(&path, Some(1)).await.unwrap();
    assert_eq!(zk.check_stat(&path).await.unwrap(), None);
    assert_eq!(zk.get_data(&path).await.unwrap_err(), Error::NoNode);
    assert_eq!(zk.set_data(&path, b"", None).await.unwrap_err(), Error::NoNode);
    assert_eq!(zk.delete(&path, None).await.unwrap_err(), Error::NoNode);
    assert_eq!(zk.list_children(&path).await.unwrap_err(), Error::NoNode);
    assert_eq!(zk.get_acl(&path).await.unwrap_err(), Error::NoNode);
    let below = format!("{path}/child");
    assert_eq!(zk.create(&below, b"", &PERSISTENT).await.unwrap_err(), Error::NoNode);
}

pub async fn create_kinds(env: Env) {
    let zk = env.client().await;
    let container = CreateMode::Container.with_acls(Acls::anyone_all());
    zk.create(&env.at("c"), b"", &container).await.unwrap();
    zk.create(&env.at("c/child"), b"", &PERSISTENT).await.unwrap();
    let (stat, _) = zk.create(&env.at("e"), b"", &EPHEMERAL).await.unwrap();
    assert_eq!(stat.ephemeral_owner, zk.session_id().0);
    let child = zk.create(&env.at("e/child"), b"", &PERSISTENT).await;
    assert_eq!(child.unwrap_err(), Error::NoChildrenForEphemerals);
    assert_eq!(zk.delete(&env.at("c"), None).await.unwrap_err(), Error::NotEmpty);
    // Only the owner of an ephemeral is shown.
    assert_eq!(zk.check_stat(&env.at("c")).await.unwrap().unwrap().ephemeral_owner, 0);
}

/// The server must run with extendedTypesEnabled=true.
pub async fn create_ttl(env: Env) {
    let zk = env.client().await;
    let options = PERSISTENT.with_ttl(Duration::from_secs(600));
    let (stat, _) = zk.create(&env.at("t"), b"", &options).await.unwrap();
    assert_eq!(stat.ephemeral_owner, 0);
    let options = SEQUENTIAL.with_ttl(Duration::from_millis(1));
    let (_, number) = zk.create(&env.at("s-"), b"", &options).await.unwrap();
    zk.create(&env.at("t/child"), b"", &PERSISTENT).await.unwrap();
    assert!(zk.check_stat(&env.at(&format!("s-{number}"))).await.is_ok());
}

pub async fn children_and_stats(env: Env) {
    let zk = env.client().await;
    for name in ["a", "b", "c"] {
        zk.create(&env.at(name), b"12345", &PERSISTENT).await.unwrap();
    }
    zk.create(&env.at("a/deep"), b"", &PERSISTENT).await.unwrap();
    let (mut names, stat) = zk.get_children(&env.path).await.unwrap();
    names.sort();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!((stat.num_children, stat.cversion, stat.version), (3, 3, 0));
    assert_eq!(zk.count_descendants_number(&env.path).await.unwrap(), 4);
    zk.delete(&env.at("b"), None).await.unwrap();
    let after = zk.check_stat(&env.path).await.unwrap().unwrap();
    assert_eq!((after.num_children, after.cversion, after.mzxid), (2, 4, stat.mzxid));
    assert!(after.pzxid > stat.pzxid);
}

pub async fn many_children(env: Env) {
    let zk = env.client().await;
    let names = (0..1000).map(|number| format!("child-{number:04}")).collect::<Vec<_>>();
    let paths = names.iter().map(|name| env.at(name)).collect::<Vec<_>>();
    let made = paths.iter().map(|path| zk.create(path, b"", &PERSISTENT)).collect::<Vec<_>>();
    for made in made {
        made.await.unwrap();
    }
    let mut found = zk.list_children(&env.path).await.unwrap();
    found.sort();
    assert_eq!(found, names);
}

/// Requests are sent when they are made, and answered in that order.
pub async fn in_order(env: Env) {
    let (zk, path) = (env.client().await, env.at("n"));
    zk.create(&path, b"", &PERSISTENT).await.unwrap();
    let asked = (0..100)
        .map(|number: i32| {
            (zk.set_data(&path, number.to_string().as_bytes(), None), zk.get_data(&path))
        })
        .collect::<Vec<_>>();
    for (number, (set, get)) in asked.into_iter().enumerate() {
        assert_eq!(set.await.unwrap().version, number as i32 + 1);
        assert_eq!(get.await.unwrap().0, number.to_string().as_bytes());
    }
}

pub async fn ephemerals(env: Env) {
    let (zk, other) = (env.client().await, env.client().await);
    for name in ["a", "b"] {
        zk.create(&env.at(name), b"", &EPHEMERAL).await.unwrap();
    }
    other.create(&env.at("c"), b"", &EPHEMERAL).await.unwrap();
    let mut mine = zk.list_ephemerals(&env.path).await.unwrap();
    mine.sort();
    assert_eq!(mine, [env.at("a"), env.at("b")]);
    drop(zk);
    eventually("the znodes outlive their session", async || {
        other.list_children(&env.path).await.unwrap() == ["c"]
    })
    .await;
}

pub async fn sequences(env: Env) {
    let zk = env.client().await;
    let mut numbers = Vec::new();
    for prefix in ["s-", "s-", "", "t-"] {
        let (_, number) = zk.create(&env.at(prefix), b"", &SEQUENTIAL).await.unwrap();
        assert!(zk.check_stat(&env.at(&format!("{prefix}{number}"))).await.unwrap().is_some());
        numbers.push(number.into_i64());
    }
    assert_eq!(numbers, [0, 1, 2, 3]);
    zk.delete(&env.at("t-0000000003"), None).await.unwrap();
    let (_, number) = zk.create(&env.at("s-"), b"", &SEQUENTIAL).await.unwrap();
    assert_eq!(number.into_i64(), 4, "a number is given twice");
}

pub async fn large_data(env: Env) {
    let (zk, path) = (env.client().await, env.at("n"));
    zk.create(&path, b"", &PERSISTENT).await.unwrap();
    for data in [Vec::new(), b"\0\xff".repeat(1000), vec![b'x'; 1_000_000]] {
        zk.set_data(&path, &data, None).await.unwrap();
        assert!(zk.get_data(&path).await.unwrap().0 == data, "{} bytes", data.len());
    }
}

pub async fn names_of_all_kinds(env: Env) {
    let zk = env.client().await;
    let mut names = ["with space", "\u{e9}\u{4e2d}", "a.b", "...", "%41", "\u{1f600}"];
    for name in names {
        // Apache takes no characters of two UTF-16 units; nor may anybody else.
        let is_plain = name.chars().all(|c| c.len_utf16() == 1);
        assert_eq!(zk.create(&env.at(name), b"", &PERSISTENT).await.is_ok(), is_plain, "{name}");
    }
    names.sort_unstable();
    let mut found = zk.list_children(&env.path).await.unwrap();
    found.sort();
    assert_eq!(found, names[..names.len() - 1]);
}

pub async fn mkdir_and_chroot(env: Env) {
    let zk = env.client().await;
    zk.mkdir(&env.at("a/b/c"), &PERSISTENT).await.unwrap();
    zk.mkdir(&env.at("a/b/c"), &PERSISTENT).await.unwrap();
    let inside = zk.clone().chroot(env.at("a")).unwrap();
    assert_eq!(inside.list_children("/").await.unwrap(), ["b"]);
    inside.create("/b/d", b"x", &PERSISTENT).await.unwrap();
    assert_eq!(zk.get_data(&env.at("a/b/d")).await.unwrap().0, b"x");
}

pub async fn acls(env: Env) {
    let (zk, other, path) = (env.client().await, env.client().await, env.at("mine"));
    let creator = CreateMode::Persistent.with_acls(Acls::creator_all());
    assert_eq!(zk.create(&path, b"", &creator).await.unwrap_err(), Error::InvalidAcl);
    zk.auth("digest", b"joe:secret").await.unwrap();
    zk.create(&path, b"x", &creator).await.unwrap();
    let (acl, stat) = zk.get_acl(&path).await.unwrap();
    let joe = AuthId::new("digest", "joe:oesAybBun9icKJjQSTRN8OBueSc=");
    assert_eq!((&*acl, stat.aversion), (&[Acl::new(Permission::ALL, joe.clone())][..], 0));
    assert_eq!(other.get_data(&path).await.unwrap_err(), Error::NoAuth);
    assert_eq!(other.get_acl(&path).await.unwrap_err(), Error::NoAuth);
    assert_eq!(
        other.create(&format!("{path}/c"), b"", &PERSISTENT).await.unwrap_err(),
        Error::NoAuth
    );
    let list = [Acl::new(Permission::READ, AuthId::anyone()), Acl::new(Permission::ALL, joe)];
    let wrong = zk.set_acl(&path, &list, Some(5)).await;
    assert_eq!(wrong.unwrap_err(), Error::BadVersion);
    assert_eq!(zk.set_acl(&path, &list, Some(0)).await.unwrap().aversion, 1);
    other.sync(&path).await.unwrap();
    assert_eq!(other.get_data(&path).await.unwrap().0, b"x");
    assert_eq!(other.set_data(&path, b"", None).await.unwrap_err(), Error::NoAuth);
    other.auth("digest", b"joe:secret").await.unwrap();
    other.set_data(&path, b"y", None).await.unwrap();
    let (masked, _) = env.client().await.get_acl(&path).await.unwrap();
    assert_eq!(masked[1].id(), "joe:x", "a secret is shown to who may not administrate");
}

pub async fn identities(env: Env) {
    let zk = env.client().await;
    zk.auth("digest", b"joe:secret").await.unwrap();
    let users = zk.list_auth_users().await.unwrap();
    assert!(users.contains(&AuthUser::new("digest", "joe")), "{users:?}");
    assert!(
        users.iter().any(|user| user.scheme() == "ip" && user.user() == "127.0.0.1"),
        "{users:?}"
    );
}

pub async fn config_is_readable(env: Env) {
    let zk = env.client().await;
    let (_, stat) = zk.get_config().await.unwrap();
    assert_eq!(stat.num_children, 0);
    let mut below = zk.list_children("/zookeeper").await.unwrap();
    below.sort();
    assert_eq!(below, ["config", "quota"]);
}
