//! Snapshots that Apache takes while clients make znodes with ACLs of their own: it lists the ACLs
//! first, so the znodes behind refer to later ones, which only the log has.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use zk_proto::acl::{Acl, AclBytes, Perms, encode};
use zk_proto::request::{Create, CreateMode, MultiOp, MultiRequest, PathRequest, Request};
use zk_proto::response::GetAclResponse;
use zk_proto::{Jute, OpCode, Reader};
use zk_testkit::{Client, Engine, Error as TestError, Server, ServerConfig, apache_or_skip};

use crate::tools::{files, lacks_acls};
use crate::workload::TIMEOUT_MS;

/// A snapshot must take some time.
const PRELOADED: usize = 60;
const PER_MULTI: usize = 500;
/// So many are looked for; most snapshots are such ones.
const WANTED: usize = 2;
const MOST: usize = 60_000;

fn create<'a>(path: &'a str, acl: &'a [u8]) -> Result<Create<'a>, TestError> {
    let (op, acl, flags) = (OpCode::Create, AclBytes::parse(acl)?, CreateMode::Persistent.flags());
    Ok(Create { op, path: path.into(), data: Some(b""), acl, flags, ttl_ms: -1 })
}

fn preload(client: &mut Client) -> Result<(), Box<dyn Error>> {
    client.create("/old", b"", CreateMode::Persistent)?;
    client.create("/new", b"", CreateMode::Persistent)?;
    for multi in 0..PRELOADED {
        let paths: Vec<String> = (0..PER_MULTI).map(|n| format!("/old/{multi}-{n}")).collect();
        let part = |path| Ok(MultiOp::Create(create(path, AclBytes::OPEN.as_bytes())?));
        let ops = paths.iter().map(|path| part(path)).collect::<Result<_, TestError>>()?;
        client.call(&Request::Multi(MultiRequest { ops }))?.ok()?;
    }
    Ok(())
}

/// Everybody may read it, and one address has a right of its own.
fn acl(number: usize) -> Vec<u8> {
    let address = format!("10.{}.{}.{}", number >> 16, (number >> 8) & 255, number & 255);
    encode(&[Acl::new(Perms(31), "world", "anyone"), Acl::new(Perms(2), "ip", &address)])
}

/// Snapshots by their zxids, newest last.
fn snapshots(server: &Server) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut all = files(&server.data_dir(), "snapshot.")?;
    let zxid = |path: &PathBuf| {
        let hex = path.extension().map(|hex| hex.to_string_lossy().into_owned());
        i64::from_str_radix(&hex.unwrap_or_default(), 16).unwrap_or(0)
    };
    all.sort_by_key(zxid);
    Ok(all)
}

/// Makes znodes until some snapshots lack ACLs; how many, and which are the snapshots.
fn make(server: &mut Server) -> Result<(usize, Vec<PathBuf>), Box<dyn Error>> {
    let mut client = Client::connect(server.addr(), TIMEOUT_MS)?;
    preload(&mut client)?;
    let mut seen = 0;
    for number in 0..MOST {
        let (path, acl) = (format!("/new/{number}"), acl(number));
        client.call(&Request::Create(create(&path, &acl)?))?.ok()?;
        if number % 500 > 0 {
            continue;
        }
        // The newest may be unfinished.
        let all = snapshots(server)?;
        let whole = &all[..all.len() - 1];
        let mut lacking = Vec::new();
        for path in whole.iter().rev().take(4).filter(|_| whole.len() > seen) {
            if lacks_acls(path)? {
                lacking.push(path.clone());
            }
        }
        seen = whole.len();
        if lacking.len() >= WANTED {
            server.kill()?;
            return Ok((number + 1, lacking));
        }
    }
    Err("no snapshot lacks an ACL".into())
}

#[test]
fn acls_that_a_busy_apache_s_snapshot_lacks_come_from_its_log() -> Result<(), Box<dyn Error>> {
    if !apache_or_skip(Engine::Apache39) {
        return Ok(());
    }
    let mut config = ServerConfig::new(Engine::Apache39);
    config.lines.push("snapCount=2000".to_owned());
    let mut server = Server::start(config)?;
    let (made, kept) = make(&mut server)?;
    for path in snapshots(&server)?.iter().filter(|path| !kept.contains(path)) {
        fs::remove_file(path)?;
    }
    server.restart_as(Engine::Ours)?;
    let mut client = Client::connect(server.addr(), TIMEOUT_MS)?;
    assert_eq!(client.children("/new")?.len(), made);
    for number in 0..made {
        let path = format!("/new/{number}");
        let request = Request::GetAcl(PathRequest { path: path.as_str().into() });
        let reply = client.call(&request)?;
        let found = GetAclResponse::read(&mut Reader::new(&reply.body))?.acl;
        assert_eq!(found.as_bytes(), acl(number), "{path}");
    }
    Ok(())
}
