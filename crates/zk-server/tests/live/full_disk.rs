//! A disk without space: nothing acknowledged is lost, what can go on does, and writes return.

use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use zk_proto::acl::AclBytes;
use zk_proto::request::{Create, CreateMode, Request};
use zk_server::Server;
use zk_store::sim::SimDisk;

use crate::client::{Client, is_closed_by_peer, open};
use crate::limits::connect_frame;
use crate::member::{Member, config};
use crate::wait_until;

const NOT_READ_ONLY: i32 = -119;
/// Containers are reaped as soon as they are empty.
const REAP: &str = "znode.container.checkIntervalMs=50\n";

/// Writes to `/w` until the disk is full; the last value that was acknowledged.
fn fill(disk: &SimDisk, client: &mut Client) -> Vec<u8> {
    disk.set_free_sectors(Some(0));
    let mut acknowledged = vec![0; 5000];
    for number in 1_u32.. {
        let mut value = vec![0; 5000];
        value[..4].copy_from_slice(&number.to_be_bytes());
        match client.set("/w", &value) {
            0 => acknowledged = value,
            code => {
                assert_eq!(code, NOT_READ_ONLY);
                break;
            }
        }
    }
    acknowledged
}

fn container(path: &str) -> Request<'_> {
    let op = zk_proto::OpCode::CreateContainer;
    let flags = CreateMode::Container.flags();
    let acl = AclBytes::OPEN;
    Request::Create(Create { op, path: path.into(), data: Some(b""), acl, flags, ttl_ms: 0 })
}

fn delete(path: &str) -> Request<'_> {
    Request::Delete(zk_proto::request::VersionedPath { path: path.into(), version: -1 })
}

/// A connection on which a new session was asked for.
fn newcomer(member: &Member) -> TcpStream {
    let mut stream = open(member.addr());
    stream.write_all(&connect_frame()).unwrap();
    stream
}

#[test]
fn a_full_disk_stops_writes_and_nothing_else() {
    let disk = SimDisk::new(512);
    let member = Member::start_on(disk.clone(), REAP);
    let mut client = member.client();
    assert_eq!(client.create("/w", b"").unwrap(), 0);
    let mut leaves = Client::handshake(open(member.addr()), 1000).unwrap();
    let acknowledged = fill(&disk, &mut client);
    // Its session is over soon and cannot be closed now, nor can what it leaves be reaped.
    assert_eq!(leaves.call(&container("/c")).unwrap().err, NOT_READ_ONLY);
    drop(leaves);
    assert_eq!(client.get("/w"), Ok(acknowledged.clone()));
    assert_eq!((member.word("ruok"), member.word("isro")), ("imok".into(), "ro".into()));
    // Twice, longer than that session may live: a pause, then the end, and no word of a session
    // that is gone, which would end the client for good.
    for _ in 0..2 {
        assert!(is_closed_by_peer(newcomer(&member)));
        assert_eq!(client.get("/w"), Ok(acknowledged.clone()));
    }
    // What the member has is what a start would find.
    let after = disk.fork();
    after.set_free_sectors(None);
    let again = Server::start_on(config(member.path(), ""), Arc::new(after)).unwrap();
    let to = (std::net::Ipv4Addr::LOCALHOST, again.client_port().unwrap()).into();
    disk.set_free_sectors(None);
    wait_until("writes are taken again", || client.set("/w", b"more") == 0);
    assert_eq!(member.word("isro"), "rw");
    assert!(member.client().get("/w").is_ok());
    assert_eq!(Client::connect(to).unwrap().get("/w"), Ok(acknowledged));
    again.stop().unwrap();
}

#[test]
fn sessions_and_containers_outlive_a_full_disk_and_end_after_it() {
    let disk = SimDisk::new(512);
    let member = Member::start_on(disk.clone(), REAP);
    let mut client = member.client();
    assert_eq!(client.create("/w", b"").unwrap(), 0);
    let mut leaves = Client::handshake(open(member.addr()), 1000).unwrap();
    assert_eq!(leaves.call(&container("/c")).unwrap().err, 0);
    assert_eq!(leaves.create("/c/child", b"").unwrap(), 0);
    let gone = leaves.session.session_id;
    drop(leaves);
    fill(&disk, &mut client);
    for _ in 0..2 {
        assert!(is_closed_by_peer(newcomer(&member)));
    }
    let is_alive = |member: &Member| member.word("dump").contains(&format!("0x{:x}", gone.0));
    assert!(is_alive(&member));
    disk.set_free_sectors(None);
    wait_until("writes are taken again", || client.set("/w", b"more") == 0);
    wait_until("its session ends", || !is_alive(&member));
    assert_eq!(client.call(&delete("/c/child")).unwrap().err, 0);
    wait_until("the container is reaped", || client.get("/c").is_err());
}

#[test]
fn a_newcomer_is_let_in_when_there_is_space_in_time() {
    let disk = SimDisk::new(512);
    let member = Member::start_on(disk.clone(), "");
    let mut client = member.client();
    assert_eq!(client.create("/w", b"").unwrap(), 0);
    fill(&disk, &mut client);
    // One that waits while space returns gets its session; it may come too late, then it comes
    // again.
    wait_until("a waiting newcomer is let in", || {
        let waiting = newcomer(&member);
        disk.set_free_sectors(None);
        let is_in = !is_closed_by_peer(waiting);
        if !is_in {
            fill(&disk, &mut client);
        }
        is_in
    });
}

/// The lines of a log that a test reads.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_start_on_a_full_disk_says_so_and_serves_who_has_a_session() {
    for is_killed in [false, true] {
        let disk = SimDisk::new(512);
        let member = Member::start_on(disk.clone(), "");
        let mut client = member.client();
        assert_eq!(client.create("/w", b"").unwrap(), 0);
        let acknowledged = fill(&disk, &mut client);
        let session = (client.session.session_id, client.session.password);
        let killed = disk.crash(&mut |_: usize| 0);
        let dir = member.stop();
        let disk = if is_killed { killed } else { disk };
        let (lines, in_disk) = (Lines::default(), disk.clone());
        let writer = lines.clone();
        let log = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let start = || Member::start_on_in(in_disk, dir, "");
        let member = tracing::subscriber::with_default(log, start);
        let text = lines.text();
        assert!(
            text.contains("ERROR") && text.contains("is full: no writes are taken; "),
            "{text}"
        );
        let room = "data/version-2 needs 7168 KiB of free space, and ";
        assert!(text.contains(room), "{text}");
        assert_eq!(member.word("isro"), "ro");
        let srvr = member.word("srvr");
        assert!(srvr.contains("the disk is full") && srvr.contains("Mode: read-only"), "{srvr}");
        assert!(is_closed_by_peer(newcomer(&member)));
        let mut client = Client::renew(member.addr(), session);
        assert_eq!(client.get("/w"), Ok(acknowledged));
        assert_eq!(client.set("/w", b"more"), NOT_READ_ONLY);
        disk.set_free_sectors(None);
        wait_until("writes are taken again", || client.set("/w", b"more") == 0);
        assert_eq!(member.word("isro"), "rw");
        assert!(!member.word("srvr").contains("READ-ONLY"));
    }
}

#[test]
fn a_start_without_a_byte_left_lives_on_the_reserve() {
    let disk = SimDisk::new(512);
    let member = Member::start_on(disk.clone(), "");
    let mut client = member.client();
    assert_eq!(client.create("/w", b"kept").unwrap(), 0);
    let session = (client.session.session_id, client.session.password);
    // Somebody else takes all that is left, and the member is killed before it notices.
    disk.set_free_sectors(Some(0));
    let killed = disk.crash(&mut |_: usize| 0);
    let member = Member::start_on_in(killed, member.stop(), "");
    assert_eq!(member.word("isro"), "ro");
    assert_eq!(Client::renew(member.addr(), session).get("/w"), Ok(b"kept".to_vec()));
}
