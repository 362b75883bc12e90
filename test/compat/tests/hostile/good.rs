//! Clients that keep to the rules: nothing that others do may be felt by them as an error.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use zk_proto::request::{AddWatchRequest, CreateMode, Request};
use zk_proto::watch::EventType;
use zk_testkit::hostile::Ground;
use zk_testkit::{Client, Error, http};

/// Of all of them but the owner, which has less.
pub(crate) const SESSION_TIMEOUT_MS: i32 = 10_000;
/// Short, and yet more than a process of a busy machine may have to wait for a processor.
const OWNER_TIMEOUT_MS: i32 = 3_000;
/// Between two requests of a client: none of them is a load.
const PAUSE: Duration = Duration::from_millis(5);
const COUNTER: &str = "/counter";
const EPHEMERAL: &str = "/owned";

/// What a good client found wrong, in a thread of its own.
type Good<'scope> = ScopedJoinHandle<'scope, Option<String>>;

/// The good clients, until `stop`.
pub(crate) fn start<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    ground: &Ground,
    stop: &'env AtomicBool,
) -> Result<Vec<Good<'scope>>, Error> {
    let &Ground { client, admin } = ground;
    let mut writer = Writer::start(client)?;
    let mut owner = Owner::start(client)?;
    let mut keeper = Client::connect(client, SESSION_TIMEOUT_MS)?;
    Ok(vec![
        scope.spawn(move || until(stop, "the writer and its watcher", || writer.write())),
        scope.spawn(move || until(stop, "the owner of an ephemeral", || owner.keep())),
        scope.spawn(move || until(stop, "who only pings", || keeper.ping().map(|_| true))),
        scope.spawn(move || until(stop, "the collector of metrics", || has_metrics(admin))),
    ])
}

/// Does something until it is told to stop, or something is wrong.
fn until(
    stop: &AtomicBool,
    who: &str,
    mut act: impl FnMut() -> Result<bool, Error>,
) -> Option<String> {
    while !stop.load(Ordering::Relaxed) {
        match act() {
            Ok(true) => thread::sleep(PAUSE),
            Ok(false) => return Some(format!("{who} was told what is not so")),
            Err(error) => return Some(format!("{who}: {error}")),
        }
    }
    None
}

/// Whether a collector gets its metrics.
pub(crate) fn has_metrics(admin: SocketAddr) -> Result<bool, Error> {
    let answer = http(admin, "GET /metrics", &[], b"")?;
    Ok(answer.status == 200 && answer.text().contains("znode_count"))
}

/// Sets a znode and gets it back; somebody else hears of it by a persistent watch.
struct Writer {
    client: Client,
    watcher: Client,
    version: i32,
}

impl Writer {
    fn start(addr: SocketAddr) -> Result<Writer, Error> {
        let mut client = Client::connect(addr, SESSION_TIMEOUT_MS)?;
        client.create(COUNTER, b"0", CreateMode::Persistent)?;
        let mut watcher = Client::connect(addr, SESSION_TIMEOUT_MS)?;
        let watch = AddWatchRequest { path: Some(COUNTER.into()), mode: 0 };
        watcher.call(&Request::AddWatch(watch))?.ok()?;
        Ok(Writer { client, watcher, version: 0 })
    }

    fn write(&mut self) -> Result<bool, Error> {
        let data = format!("{}", self.version + 1).into_bytes();
        // The version says that no write was lost or doubled.
        self.version = self.client.set_data(COUNTER, &data, self.version)?.version;
        let (got, stat) = self.client.get_data(COUNTER)?;
        // An event is under way before its write is answered, so it comes before what is asked
        // afterwards.
        self.watcher.ping()?;
        let heard = self.watcher.next_event().map(|(_, kind, path)| (kind, path));
        let event = (EventType::NodeDataChanged, COUNTER.to_owned());
        let is_told_once = heard == Some(event) && self.watcher.next_event().is_none();
        Ok(got == Some(data) && stat.version == self.version && is_told_once)
    }
}

/// Has an ephemeral and a session that does not live long without it.
struct Owner {
    client: Client,
    other: Client,
}

impl Owner {
    fn start(addr: SocketAddr) -> Result<Owner, Error> {
        let mut client = Client::connect(addr, OWNER_TIMEOUT_MS)?;
        client.create(EPHEMERAL, b"", CreateMode::Ephemeral)?;
        Ok(Owner { client, other: Client::connect(addr, SESSION_TIMEOUT_MS)? })
    }

    fn keep(&mut self) -> Result<bool, Error> {
        self.client.ping()?;
        let stat = self.other.exists(EPHEMERAL)?;
        Ok(stat.ephemeral_owner == self.client.session().session_id.0)
    }
}
