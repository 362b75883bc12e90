//! Sessions, ephemerals, identities.

use std::time::{Duration, Instant};

use tokio::time::timeout;
use zk_client::{ANY_VERSION, Client, Error, NewZnode, Options, Sasl, SessionState};
use zk_proto::ErrorCode;
use zk_proto::acl::{Acl, AclBytes, encode};
use zk_proto::watch::EventType;
use zk_proto::{Perms, SessionId};
use zk_testkit::{Engine, Server};

use crate::{PATIENCE, options, serve};

pub(crate) async fn restart(engine: Engine) {
    let Some(mut server) = serve(engine, &[]) else { return };
    let client = Client::connect(options(&server)).await.unwrap();
    let session = client.session().id;
    client.create("/e", NewZnode::ephemeral(b"")).await.unwrap();
    let (.., mut watch) = client.get_data_watched("/e").await.unwrap();
    let server = tokio::task::spawn_blocking(move || {
        server.restart().unwrap();
        server
    });
    let mut states = client.states();
    let lost = states.wait_for(|state| *state == SessionState::Disconnected);
    timeout(PATIENCE, lost).await.unwrap().unwrap();
    // Asked without a connection, answered by the next one.
    let (_, stat) = timeout(PATIENCE, client.get_data("/e")).await.unwrap().unwrap();
    assert_eq!(SessionId(stat.ephemeral_owner), session);
    assert_eq!(client.session().id, session);
    client.set_data("/e", Some(b"1"), ANY_VERSION).await.unwrap();
    assert_eq!(watch.try_next().unwrap().kind, EventType::NodeDataChanged);
    client.close().await.unwrap();
    drop(server.await.unwrap());
}

pub(crate) async fn ephemerals(server: &Server) {
    let watcher = Client::connect(options(server)).await.unwrap();
    let owner = Client::connect(options(server)).await.unwrap();
    for path in ["/left", "/closed"] {
        owner.create(path, NewZnode::ephemeral(b"")).await.unwrap();
    }
    // Somebody else goes on with the session, and its ephemerals stay.
    let saved = owner.detach().await;
    assert_eq!(owner.get_data("/left").await, Err(Error::Closed));
    let heir = Options { resume: Some(saved.clone()), ..options(server) };
    let heir = Client::connect(heir).await.unwrap();
    assert_eq!(heir.session().id, saved.id);
    heir.delete("/left", ANY_VERSION).await.unwrap();
    let (stat, mut gone) = watcher.exists_watched("/closed").await.unwrap();
    assert!(stat.is_some());
    heir.close().await.unwrap();
    let event = timeout(PATIENCE, gone.next()).await.unwrap().unwrap();
    assert_eq!(event.kind, EventType::NodeDeleted);
    // The session is closed for everybody.
    let late = Client::connect(Options { resume: Some(saved), ..options(server) }).await;
    assert_eq!(late.map(|_| ()), Err(Error::SessionExpired));
    watcher.close().await.unwrap();
}

pub(crate) async fn identities(engine: Engine) {
    let dir = tempfile::tempdir().unwrap();
    let jaas = dir.path().join("jaas.conf");
    let module = "org.apache.zookeeper.server.auth.DigestLoginModule";
    let users = format!("Server {{\n  {module} required\n  user_bob=\"secret\";\n}};\n");
    std::fs::write(&jaas, users).unwrap();
    let provider = "org.apache.zookeeper.server.auth.SASLAuthenticationProvider";
    let properties = [
        ("java.security.auth.login.config", jaas.to_str().unwrap()),
        ("zookeeper.authProvider.1", provider),
        ("zookeeper.fips-mode", "false"),
        ("zookeeper.audit.enable", "true"),
        // Apache's log in tests: 3.9.4's, 3.8.0's.
        ("zk.log", "INFO"),
        ("org.slf4j.simpleLogger.log.org.apache.zookeeper.audit", "info"),
    ];
    let Some(server) = serve(engine, &properties) else { return };
    let sasl = |password: &str| Sasl {
        user: "bob".to_owned(),
        password: password.to_owned(),
        is_required: true,
    };
    let bob = Options { sasl: Some(sasl("secret")), ..options(&server) };
    let bob = Client::connect(bob).await.unwrap();
    bob.add_auth("digest", Some(b"u:p")).await.unwrap();
    let who = bob.who_am_i().await.unwrap();
    for (scheme, user) in [("sasl", "bob"), ("digest", "u"), ("ip", "127.0.0.1")] {
        assert!(who.contains(&(scheme.to_owned(), user.to_owned())), "{who:?}");
    }
    let acl = encode(&[Acl::new(Perms::ALL, "sasl", "bob")]);
    let acl = AclBytes::parse(&acl).unwrap();
    bob.create("/bobs", NewZnode { acl, ..NewZnode::persistent(b"") }).await.unwrap();
    bob.get_data("/bobs").await.unwrap();

    let eve = Client::connect(options(&server)).await.unwrap();
    assert_eq!(eve.get_data("/bobs").await.unwrap_err().code(), ErrorCode::NoAuth);
    assert_eq!(eve.add_auth("nonsense", None).await, Err(Error::AuthFailed));
    assert_eq!(eve.state(), SessionState::AuthFailed);
    let mallory = Options { sasl: Some(sasl("guess")), ..options(&server) };
    assert_eq!(Client::connect(mallory).await.map(|_| ()), Err(Error::AuthFailed));
    bob.close().await.unwrap();
    assert_eq!(users_told(&server, "create", "/bobs").await, ["127.0.0.1", "bob", "u"]);
}

/// Who did it, says the audit log; Apache's in no order.
async fn users_told(server: &Server, operation: &str, path: &str) -> Vec<String> {
    let change = format!("\toperation={operation}\tznode={path}\t");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let log = std::fs::read_to_string(server.log_path()).unwrap();
        if let Some(line) = log.lines().find(|line| line.contains(&change)) {
            let users = line.split('\t').find_map(|pair| pair.strip_prefix("user="));
            let mut users: Vec<_> = users.unwrap().split(',').map(str::to_owned).collect();
            users.sort();
            return users;
        }
        assert!(Instant::now() < deadline, "no line about {path}: {log}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
