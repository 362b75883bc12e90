//! The client against real servers: ours, and Apache's where `test/foreign/setup.sh` was run.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod operations;
mod sessions;

use std::time::Duration;

use zk_client::{Address, Options};
use zk_testkit::{Engine, Server, ServerConfig, apache_or_skip};

/// Nothing in these tests takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server of this make with these lines of configuration, if there is one here.
fn serve(engine: Engine, properties: &[(&str, &str)]) -> Option<Server> {
    if engine.is_apache() && !apache_or_skip(engine) {
        return None;
    }
    let mut config = ServerConfig::new(engine);
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    config.properties.extend(properties.iter().map(owned));
    Some(Server::start(config).unwrap())
}

fn options(server: &Server) -> Options {
    let addr = server.addr();
    Options {
        session_timeout: Duration::from_secs(6),
        connect_timeout: PATIENCE,
        ..Options::to(vec![Address { host: addr.ip().to_string(), port: addr.port() }])
    }
}

macro_rules! on_engines {
    ($($test:path as $name:ident;)*) => {$(
        mod $name {
            use zk_testkit::Engine;

            #[tokio::test]
            async fn ours() {
                $test(Engine::Ours).await;
            }

            #[tokio::test]
            async fn apache_3_8_0() {
                $test(Engine::Apache38).await;
            }

            #[tokio::test]
            async fn apache_3_9_4() {
                $test(Engine::Apache39).await;
            }
        }
    )*};
}

on_engines! {
    crate::operations::all as operations_watches_quotas_ephemerals;
    crate::sessions::restart as a_session_outlives_a_restart;
    crate::sessions::identities as identities;
}
