//! The end of a session with more ephemerals than a txn can list: whoever takes the log over can
//! read it.

use std::error::Error;

use zk_proto::request::CreateMode;
use zk_testkit::{Client, Engine, Server, ServerConfig, apache_or_skip};

use crate::workload::TIMEOUT_MS;

/// Together longer than the default of `jute.maxbuffer`, 1,048,575 bytes, and what Apache adds for
/// records that are not requests.
const EPHEMERALS: usize = 2_400;
const NAME_BYTES: usize = 900;

#[test]
fn a_session_with_many_ephemerals_ends_for_all_engines() -> Result<(), Box<dyn Error>> {
    for apache in [Engine::Apache38, Engine::Apache39].into_iter().filter(|e| apache_or_skip(*e)) {
        let mut server = Server::start(ServerConfig::new(Engine::Ours))?;
        let mut owner = Client::connect(server.addr(), TIMEOUT_MS)?;
        for number in 0..EPHEMERALS {
            let path = format!("/{number:0NAME_BYTES$}");
            owner.create(&path, b"", CreateMode::Ephemeral)?;
        }
        owner.close()?;
        let mut client = Client::connect(server.addr(), TIMEOUT_MS)?;
        assert_eq!(client.children("/")?, ["zookeeper"]);
        client.create("/behind", b"", CreateMode::Persistent)?;
        // The log is all that the next one has.
        server.kill()?;
        for engine in [apache, Engine::Ours] {
            server.restart_as(engine)?;
            let mut client = Client::connect(server.addr(), TIMEOUT_MS)?;
            let mut children = client.children("/")?;
            children.sort_unstable();
            assert_eq!(children, ["behind", "zookeeper"], "{engine:?}");
        }
    }
    Ok(())
}
