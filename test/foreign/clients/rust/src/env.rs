//! What a check works with: its path, clients, a proxy, and waiting for what must become true.

use crate::proxy::Proxy;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use zookeeper_client::{Acls, Client, Connector, CreateMode, CreateOptions, Error};

/// Of all sessions that a check does not make shorter.
pub const SESSION: Duration = Duration::from_secs(8);
/// How long something may take that must happen.
const EVENTUALLY: Duration = Duration::from_secs(20);

pub const PERSISTENT: CreateOptions<'static> = CreateMode::Persistent.with_acls(Acls::anyone_all());
pub const EPHEMERAL: CreateOptions<'static> = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
pub const SEQUENTIAL: CreateOptions<'static> =
    CreateMode::PersistentSequential.with_acls(Acls::anyone_all());
pub const EPHEMERAL_SEQUENTIAL: CreateOptions<'static> =
    CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());

static CHECKS: AtomicU32 = AtomicU32::new(0);

#[derive(Clone)]
pub struct Env {
    hosts: Arc<str>,
    pub path: Arc<str>,
}

impl Env {
    pub fn new(hosts: &str, name: &str) -> Env {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let number = CHECKS.fetch_add(1, Ordering::Relaxed);
        let path = format!("/rust-suite-{:x}-{number}-{name}", now & 0xffff_ffff_ffff);
        Env { hosts: hosts.into(), path: path.into() }
    }

    /// A path below that of the check.
    pub fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    pub fn connector() -> Connector {
        Client::connector().with_session_timeout(SESSION)
    }

    pub async fn connect(&self, connector: Connector) -> Result<Client, Error> {
        connector.connect(&self.hosts).await
    }

    /// A client that sees what all others did; the path of the check is there.
    pub async fn client(&self) -> Client {
        let client = self.connect(Env::connector()).await.expect("connect");
        self.prepare(&client).await;
        client
    }

    /// The same through a proxy.
    pub async fn through(&self, proxy: &Proxy) -> Client {
        let client = Env::connector().connect(&proxy.hosts).await.expect("connect");
        self.prepare(&client).await;
        client
    }

    async fn prepare(&self, client: &Client) {
        retry(async || client.mkdir(&self.path, &PERSISTENT).await)
            .await
            .expect("the check's path");
        retry(async || client.sync(&self.path).await).await.expect("sync");
    }

    pub async fn proxy(&self) -> Proxy {
        Proxy::start(&self.hosts).await
    }

    /// Removes what the check made.
    pub async fn clean(&self) {
        let Ok(client) = self.connect(Env::connector()).await else { return };
        remove(&client, &self.path).await;
    }
}

async fn remove(client: &Client, path: &str) {
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        let _ = client.sync(&path).await;
        match client.delete(&path, None).await {
            Err(Error::NotEmpty) => {
                let children = client.list_children(&path).await.unwrap_or_default();
                open.push(path.clone());
                open.extend(children.iter().map(|name| format!("{path}/{name}")));
            }
            Err(Error::NoNode) | Ok(()) => {}
            Err(error) => println!("    {path} is left behind: {error}"),
        }
    }
}

/// Tries again as long as connections are lost.
pub async fn retry<T>(mut ask: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
    loop {
        match ask().await {
            Err(error) if is_loss(&error) => tokio::time::sleep(Duration::from_millis(20)).await,
            answer => return answer,
        }
    }
}

/// Whether a connection was lost; this client gives its requests what the system said of it, too.
pub fn is_loss(error: &Error) -> bool {
    matches!(error, Error::ConnectionLoss | Error::Custom(_))
}

/// Waits until something holds.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + EVENTUALLY;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What comes in time.
pub async fn soon<T>(what: &str, coming: impl Future<Output = T>) -> T {
    match tokio::time::timeout(EVENTUALLY, coming).await {
        Ok(it) => it,
        Err(_) => panic!("{what}"),
    }
}
