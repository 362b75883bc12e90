//! The tree digest that a server reports (`hash`) is the one that its own answers give, computed
//! here anew from every znode (disk-formats 4.2): on ours and on both Apaches. As digests stand in
//! every log record and snapshot, a server that counted differently could not share files.

use zk_proto::request::CreateMode;
use zk_proto::{EphemeralOwner, OwnerKind, Stat, StatPersisted, path};
use zk_testkit::{
    Client, Engine, Error, PATIENCE, Server, ServerConfig, apache_or_skip, four_letter_word,
};

/// Apache keeps one digest for so many transactions.
const KEPT_EVERY: i64 = 128;

/// What is stored of a Stat: creates only in cversion. There is no container and no TTL here, whose
/// owners a client does not see.
fn stored(stat: &Stat) -> StatPersisted {
    let owner = EphemeralOwner(stat.ephemeral_owner);
    assert!(matches!(owner.kind(true), OwnerKind::Persistent | OwnerKind::Ephemeral(_)));
    StatPersisted {
        czxid: stat.czxid,
        mzxid: stat.mzxid,
        ctime: stat.ctime,
        mtime: stat.mtime,
        version: stat.version,
        cversion: (stat.cversion + stat.num_children) / 2,
        aversion: stat.aversion,
        ephemeral_owner: stat.ephemeral_owner,
        pzxid: stat.pzxid,
    }
}

fn digest(client: &mut Client, path: &str) -> Result<u64, Error> {
    let (data, stat) = client.get_data(path)?;
    let counts = !path.starts_with("/zookeeper/");
    let name = if path == "/" { "" } else { path };
    let mut crc = crc32fast::Hasher::new();
    crc.update(name.as_bytes());
    crc.update(&data.unwrap_or_default());
    crc.update(&stored(&stat).digest_bytes());
    let mut sum = if counts { u64::from(crc.finalize()) } else { 0 };
    for child in client.children(path)? {
        let below = format!("{}/{child}", path.trim_end_matches('/'));
        sum = sum.wrapping_add(digest(client, &below)?);
    }
    Ok(sum)
}

fn digest_is_the_trees(engine: Engine) -> Result<(), Error> {
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
    let mut round = 0u64;
    let zxid = loop {
        round += 1;
        let zxid = client.set_data("/a", &round.to_be_bytes(), -1)?.mzxid;
        if zxid % KEPT_EVERY == 0 {
            break zxid;
        }
    };
    let answer = four_letter_word(server.addr(), b"hash", PATIENCE)?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let line = text.lines().find(|line| line.starts_with(&format!("{zxid:x}:")));
    let told = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    assert_eq!(told, Some(digest(&mut client, "/")?), "{engine} at 0x{zxid:x}: {text}");
    Ok(())
}

#[test]
fn ours_reports_the_digest_of_its_tree() -> Result<(), Error> {
    digest_is_the_trees(Engine::Ours)
}

#[test]
fn apache_394_reports_the_digest_of_its_tree() -> Result<(), Error> {
    if apache_or_skip(Engine::Apache39) { digest_is_the_trees(Engine::Apache39) } else { Ok(()) }
}

#[test]
fn apache_380_reports_the_digest_of_its_tree() -> Result<(), Error> {
    if apache_or_skip(Engine::Apache38) { digest_is_the_trees(Engine::Apache38) } else { Ok(()) }
}
