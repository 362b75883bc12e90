//! A server with everything on that operators use.

use std::net::{Ipv4Addr, SocketAddr};

use zk_proto::request::{CreateMode, ReadRequest, Request};
use zk_testkit::{Client, Engine, Error, HttpAnswer, Server, ServerConfig, free_port, http};

/// What has all rights, and its `Authorization`.
pub(crate) const SUPER: (&str, &str) = ("Authorization", "digest super:zkfleet");
const SUPER_DIGEST: &str = "super:nhkjiPrzX146uLcxpa5AcUqDWNo=";
/// Ports are free a moment before they are taken.
const TRIES: usize = 3;

pub(crate) struct Site {
    pub(crate) server: Server,
    pub(crate) admin: SocketAddr,
    /// Of the Prometheus provider; only ours has it.
    pub(crate) metrics: SocketAddr,
}

impl Site {
    /// Snapshots and restores may follow each other at once, unless `lines` say otherwise.
    pub(crate) fn start(engine: Engine, lines: &[&str]) -> Site {
        let mut tries = 1;
        loop {
            let [admin, metrics] =
                [0; 2].map(|_| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().unwrap())));
            match Server::start(config(engine, admin.port(), metrics.port(), lines)) {
                Ok(server) => return Site { server, admin, metrics },
                Err(Error::NotUp { tail, .. }) if tries < TRIES && tail.contains("in use") => {}
                Err(error) => panic!("{error}"),
            }
            tries += 1;
        }
    }

    pub(crate) fn client(&self) -> Client {
        let mut client = Client::connect(self.server.addr(), 60_000).unwrap();
        client.auth("digest", b"super:zkfleet").unwrap();
        client
    }

    pub(crate) fn ask(&self, request: &str, headers: &[(&str, &str)], body: &[u8]) -> HttpAnswer {
        http(self.admin, request, headers, body).unwrap()
    }

    /// A command that must be answered with 200 and JSON.
    #[track_caller]
    pub(crate) fn command(&self, name: &str) -> serde_json::Value {
        let answer = self.ask(&format!("GET /commands/{name}"), &[], b"");
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{name}");
        serde_json::from_str(&answer.text()).unwrap()
    }

    /// Two sessions with something of everything that commands show.
    pub(crate) fn load(&self) -> [Client; 2] {
        let [mut one, two] = [self.client(), self.client()];
        one.create("/app", b"data", CreateMode::Persistent).unwrap();
        one.create("/app/e", b"", CreateMode::Ephemeral).unwrap();
        // Digests are kept for every 128th transaction.
        for i in 0..130u8 {
            one.set_data("/app", &[i; 10], -1).unwrap();
        }
        let watch = |path: &'static str| ReadRequest { path: path.into(), watch: true };
        one.call(&Request::GetData(watch("/app"))).unwrap();
        one.call(&Request::GetChildren(watch("/app"))).unwrap();
        one.delete("/nothing", -1).unwrap_err();
        [one, two]
    }
}

fn config(engine: Engine, admin: u16, metrics: u16, lines: &[&str]) -> ServerConfig {
    let mut config = ServerConfig::new(engine);
    config.lines.extend([
        "admin.enableServer=true".to_owned(),
        "admin.serverAddress=127.0.0.1".to_owned(),
        format!("admin.serverPort={admin}"),
        "admin.rateLimiterIntervalInMS=0".to_owned(),
        format!("DigestAuthenticationProvider.superDigest={SUPER_DIGEST}"),
        "maxSessionTimeout=60000".to_owned(),
        "extendedTypesEnabled=true".to_owned(),
    ]);
    // The Apache that is collected for tests comes without its provider.
    if !engine.is_apache() {
        config.lines.extend([
            "metricsProvider.className=\
             org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider"
                .to_owned(),
            "metricsProvider.httpHost=127.0.0.1".to_owned(),
            format!("metricsProvider.httpPort={metrics}"),
        ]);
    }
    config.lines.extend(lines.iter().map(|line| (*line).to_owned()));
    config
}
