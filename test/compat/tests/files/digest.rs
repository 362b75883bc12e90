//! The tree digest that a server reports (`hash`) is the one that its own answers give, computed
//! here anew from every znode: on ours and on both Apaches. As digests stand in every log record
//! and snapshot, a server that counted differently could not share files.

use std::error::Error;

use zk_proto::path;
use zk_proto::request::CreateMode;
use zk_testkit::{Client, Engine, Server, ServerConfig, apache_or_skip};

use crate::picture::Picture;
use crate::tools;

fn digest_is_the_trees(engine: Engine) -> Result<(), Box<dyn Error>> {
    let server = Server::start(ServerConfig::new(engine))?;
    let mut client = Client::connect(server.addr(), 10_000)?;
    client.create("/a", b"data", CreateMode::Persistent)?;
    for i in 0..20 {
        client.create("/a/s-", &vec![7; i * 10], CreateMode::PersistentSequential)?;
    }
    client.create("/e", b"", CreateMode::Ephemeral)?;
    client.delete("/a/s-0000000003", -1)?;
    client.create(path::QUOTA, b"", CreateMode::Persistent).expect_err("it is there");
    client.create("/zookeeper/x", b"does not count", CreateMode::Persistent)?;
    let told = tools::kept_digest(server.addr(), &mut client, "/a")?;
    assert_eq!(told, Picture::take(&mut client)?.digest(), "{engine}");
    Ok(())
}

#[test]
fn ours_reports_the_digest_of_its_tree() -> Result<(), Box<dyn Error>> {
    digest_is_the_trees(Engine::Ours)
}

#[test]
fn apache_394_reports_the_digest_of_its_tree() -> Result<(), Box<dyn Error>> {
    if apache_or_skip(Engine::Apache39) { digest_is_the_trees(Engine::Apache39) } else { Ok(()) }
}

#[test]
fn apache_380_reports_the_digest_of_its_tree() -> Result<(), Box<dyn Error>> {
    if apache_or_skip(Engine::Apache38) { digest_is_the_trees(Engine::Apache38) } else { Ok(()) }
}
