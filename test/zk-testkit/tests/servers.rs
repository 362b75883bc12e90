//! The testkit itself, shown on every server that is here.

use zk_proto::Zxid;
use zk_proto::request::CreateMode;
use zk_testkit::{Client, Engine, Error, Server, ServerConfig, apache_or_skip, four_letter_word};

/// A znode outlives kill -9 and SIGTERM, a paused server is silent, a dropped one is gone.
fn life_of_a_server(engine: Engine) -> Result<(), Error> {
    let mut server = Server::start(ServerConfig::new(engine))?;
    let mut client = Client::connect(server.addr(), 5000)?;
    client.create("/a", b"x", CreateMode::Persistent)?;
    server.restart()?;
    assert!(matches!(client.exists("/a"), Err(Error::Closed)));

    let mut client = Client::resume(server.addr(), client.session(), Zxid::ZERO)?;
    assert_eq!(client.get_data("/a")?.0, Some(b"x".to_vec()));
    assert!(matches!(client.exists("/b"), Err(Error::Refused(-101))));
    server.terminate()?;
    assert_eq!(server.pid(), None);

    server.restart()?;
    server.pause()?;
    let quick = std::time::Duration::from_millis(100);
    assert!(four_letter_word(server.addr(), b"ruok", quick).is_err());
    server.resume()?;
    assert_eq!(four_letter_word(server.addr(), b"ruok", zk_testkit::PATIENCE)?, b"imok");
    let dir = server.data_dir();
    assert!(dir.exists());
    drop(server);
    assert!(!dir.exists());
    Ok(())
}

#[test]
fn ours() -> Result<(), Error> {
    life_of_a_server(Engine::Ours)
}

#[test]
fn apache_380() -> Result<(), Error> {
    if apache_or_skip(Engine::Apache38) { life_of_a_server(Engine::Apache38) } else { Ok(()) }
}

#[test]
fn apache_394() -> Result<(), Error> {
    if apache_or_skip(Engine::Apache39) { life_of_a_server(Engine::Apache39) } else { Ok(()) }
}
