//! Restores into a running member, and crashes in the middle of them.

use super::Server;
use crate::admin::Inspect;
use crate::config::{Options, parse};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;
use zk_proto::acl::AclBytes;
use zk_proto::connect::{ConnectRequest, ConnectResponse};
use zk_proto::request::{Create, ReadRequest, Request, RequestHeader};
use zk_proto::response::ReplyHeader;
use zk_proto::{Jute, OpCode, Reader, SessionId};
use zk_store::sim::SimDisk;

fn start(disk: &SimDisk) -> Server {
    let text = "dataDir=/data\nclientPort=0\nclientPortAddress=127.0.0.1\n\
                admin.enableServer=false\npreAllocSize=64\n";
    let loaded = parse("zoo.cfg", text.as_bytes(), &[], Options::default()).unwrap();
    Server::start_on(loaded.config, Arc::new(disk.clone())).unwrap()
}

/// A session, call by call.
struct Client {
    stream: TcpStream,
    session: SessionId,
    password: Vec<u8>,
}

impl Client {
    fn new(server: &Server) -> Client {
        Client::with(server, SessionId::NONE, &[0; 16]).unwrap()
    }

    /// The session of `id`; an id of 0 says that it is gone. `None` when there is no answer.
    fn with(server: &Server, id: SessionId, password: &[u8]) -> Option<Client> {
        let stream = TcpStream::connect(("127.0.0.1", server.client_port().unwrap())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut client = Client { stream, session: id, password: password.to_vec() };
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms: 30_000,
            session_id: id,
            password: Some(password),
            read_only: None,
        };
        let frame = client.exchange(|out| request.write(out))?;
        let response = ConnectResponse::read(&mut Reader::new(&frame)).unwrap();
        client.session = response.session_id;
        client.password = response.password.to_vec();
        Some(client)
    }

    fn exchange(&mut self, body: impl FnOnce(&mut Vec<u8>)) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        zk_proto::jute::put_frame(&mut bytes, body);
        self.stream.write_all(&bytes).ok()?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame).ok()?;
        Some(frame)
    }

    /// The error code; `None` when the connection has ended.
    fn call(&mut self, request: &Request<'_>) -> Option<i32> {
        let header = RequestHeader { xid: 1, op: request.opcode().code() };
        let frame = self.exchange(|out| {
            header.write(out);
            request.write(out);
        })?;
        Some(ReplyHeader::read(&mut Reader::new(&frame)).unwrap().err)
    }

    fn create(&mut self, path: &str) -> Option<i32> {
        self.create_as(path, 0)
    }

    fn create_as(&mut self, path: &str, flags: i32) -> Option<i32> {
        let (op, acl) = (OpCode::Create, AclBytes::OPEN);
        let data = Some(&b""[..]);
        self.call(&Request::Create(Create { op, path: path.into(), data, acl, flags, ttl_ms: 0 }))
    }

    fn has(&mut self, path: &str) -> bool {
        let request = ReadRequest { path: path.into(), watch: false };
        self.call(&Request::Exists(request)) == Some(0)
    }
}

/// Which of the znodes there are.
fn found(server: &Server) -> Vec<&'static str> {
    let mut client = Client::new(server);
    ["/a", "/e", "/b", "/c"].into_iter().filter(|path| client.has(path)).collect()
}

/// The snapshot of a member that has `/a` and an ephemeral `/e`; then, without `/e`, it got `/b`.
fn before() -> (SimDisk, Vec<u8>) {
    let disk = SimDisk::new(4096);
    let server = start(&disk);
    let mut client = Client::new(&server);
    assert_eq!((client.create("/a"), client.create_as("/e", 1)), (Some(0), Some(0)));
    let (_, file) = server.member.snapshots.take().unwrap().unwrap();
    let snapshot = disk.read(&file.path).unwrap();
    assert_eq!(client.call(&Request::CloseSession), Some(0));
    assert_eq!(Client::new(&server).create("/b"), Some(0));
    server.stop().unwrap();
    (disk, snapshot)
}

#[test]
fn a_restore_replaces_everything_and_a_start_finds_it() {
    let (disk, snapshot) = before();
    let server = start(&disk);
    let mut old = Client::new(&server);
    assert_eq!(found(&server), ["/a", "/b"]);
    let seen = server.member.tree().last_zxid;
    let zxid = server.member.restore(&mut &snapshot[..]).unwrap();
    assert!(zxid > seen, "no client may go back in time: {zxid} after {seen}");
    assert_eq!(server.member.tree().last_zxid, zxid);
    // The ephemeral is there with its session; who had a session only here has none.
    assert_eq!(found(&server), ["/a", "/e"]);
    assert_eq!(old.create("/x"), None, "its connection has ended");
    let again = Client::with(&server, old.session, &old.password).unwrap();
    assert_eq!(again.session, SessionId::NONE);
    assert_eq!(Client::new(&server).create("/c"), Some(0));
    server.stop().unwrap();
    for _ in 0..2 {
        let server = start(&disk);
        assert_eq!(found(&server), ["/a", "/e", "/c"]);
        server.stop().unwrap();
    }
}

#[test]
fn what_is_no_whole_snapshot_changes_nothing() {
    let (disk, snapshot) = before();
    let server = start(&disk);
    let mut client = Client::new(&server);
    let mut flipped = snapshot.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    for bad in [&[][..], b"ZKSN", &snapshot[..snapshot.len() - 1], &flipped] {
        server.member.restore(&mut &*bad).unwrap_err();
        assert!(client.has("/b"), "the connection stays too");
        assert_eq!(client.create("/c"), Some(0), "and writes go on");
        let gone =
            Request::Delete(zk_proto::request::VersionedPath { path: "/c".into(), version: -1 });
        assert_eq!(client.call(&gone), Some(0));
    }
    drop(client);
    server.stop().unwrap();
    assert_eq!(found(&start(&disk)), ["/a", "/b"]);
}

#[test]
fn a_crash_at_any_moment_of_a_restore_leaves_the_old_or_the_new_data() {
    let (disk, snapshot) = before();
    let (mut old, mut new) = (0, 0);
    for call in 0.. {
        let running = disk.fork();
        let server = start(&running);
        running.cut_power_at(call);
        let restored = server.member.restore(&mut &snapshot[..]);
        let mut client = restored.is_ok().then(|| Client::with(&server, SessionId::NONE, &[0; 16]));
        let created = client.as_mut().and_then(|client| client.as_mut()?.create("/c"));
        let is_over = created == Some(0);
        for choice in 0..3_usize {
            // Of what was not synced nothing, all, or every second thing is kept.
            let mut turn = 0;
            let after = running.crash(&mut |options: usize| {
                turn += 1;
                [0, options - 1, turn % options][choice]
            });
            let again = start(&after);
            let has = found(&again);
            let wanted: &[&[&str]] = match (&restored, is_over) {
                (Ok(_), true) => &[&["/a", "/e", "/c"]],
                // The write after it is not acknowledged.
                (Ok(_), false) => &[&["/a", "/e"], &["/a", "/e", "/c"]],
                (Err(_), _) => &[&["/a", "/e"], &["/a", "/b"]],
            };
            assert!(wanted.contains(&&has[..]), "call {call}, {choice}: {restored:?} {has:?}");
            *if has.contains(&"/e") { &mut new } else { &mut old } += 1;
            let _ = again.stop();
        }
        let _ = server.stop();
        if is_over {
            break;
        }
    }
    assert!(old > 10 && new > 3, "{old} old and {new} new");
}

#[test]
fn a_write_that_fails_leaves_the_old_data_or_stops_the_member() {
    let (disk, snapshot) = before();
    let mut failures = 0;
    for call in 0.. {
        let running = disk.fork();
        let server = start(&running);
        running.fail(call, zk_store::sim::EIO);
        let restored = server.member.restore(&mut &snapshot[..]);
        if restored.is_err() && !server.has_failed() {
            failures += 1;
            assert_eq!(found(&server), ["/a", "/b"], "call {call}");
            if Client::new(&server).create("/c") == Some(0) {
                let after = running.crash(&mut |_: usize| 0);
                let again = start(&after);
                assert_eq!(found(&again), ["/a", "/b", "/c"], "call {call}");
                again.stop().unwrap();
            }
        }
        let _ = server.stop();
        if restored.is_ok() && call > 60 {
            break;
        }
    }
    assert!(failures > 5, "{failures}");
}
