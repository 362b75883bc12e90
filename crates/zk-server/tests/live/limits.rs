//! What one client may take from the others: time, connections, memory.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use zk_proto::Jute;
use zk_proto::acl::AclBytes;
use zk_proto::request::{AddWatchRequest, MultiOp, MultiRequest, ReadOp, Request};

use crate::client::{Client, get, is_closed_by_peer, open};
use crate::member::Member;
use crate::wait_until;

#[test]
fn the_deadline_of_the_handshake_is_absolute() {
    let member = Member::start("nio.sessionlessCnxnTimeout=1000\n");
    let mut slow = open(member.addr());
    slow.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    // A connect request of 45 bytes, a byte at a time: much slower than the deadline, never silent.
    let started = std::time::Instant::now();
    let mut bytes = [0, 0, 0, 45].into_iter().chain(std::iter::repeat(0));
    wait_until("a slow client is let go", || {
        let _ = slow.write_all(&[bytes.next().unwrap_or(0)]);
        match slow.read(&mut [0]) {
            Ok(n) => n == 0,
            Err(e) => {
                !matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
            }
        }
    });
    assert!(started.elapsed() >= Duration::from_millis(900), "{:?}", started.elapsed());
    assert!(member.client().get("/").is_ok());
}

#[test]
fn sessions_are_bounded_and_those_that_are_there_go_on() {
    let member = Member::start("maxSessions=2\n");
    let (mut first, second) = (member.client(), member.client());
    let refused = Client::handshake(open(member.addr()), 10_000);
    assert!(refused.is_err(), "a third session opened");
    assert!(member.word("mntr").contains("zk_sessions_refused\t1\n"));
    assert_eq!(first.create("/first", b"").unwrap(), 0);
    // A session that closes makes room.
    let mut second = second;
    assert_eq!(second.call(&Request::CloseSession).unwrap().err, 0);
    wait_until("there is room again", || Client::handshake(open(member.addr()), 10_000).is_ok());
    assert!(first.get("/first").is_ok());
}

#[test]
fn connections_of_an_address_are_bounded() {
    let member = Member::start("maxClientCnxns=2\n");
    let first = member.client();
    let mut second = open(member.addr());
    wait_until("the third is refused", || is_closed_by_peer(open(member.addr())));
    // Somebody who has said nothing yet counts as well.
    assert!(is_closed_by_peer(open(member.addr())));
    drop(first);
    wait_until("there is room again", || Client::connect(member.addr()).is_ok());
    let _ = second.write_all(b"x");
}

#[test]
fn all_connections_are_bounded() {
    let member = Member::start("maxCnxns=1\n");
    let mut only = member.client();
    wait_until("the second is refused", || is_closed_by_peer(open(member.addr())));
    assert_eq!(only.create("/a", b"").unwrap(), 0);
    drop(only);
    wait_until("there is room again", || Client::connect(member.addr()).is_ok());
}

#[test]
fn frames_of_bad_lengths_end_the_connection() {
    let member = Member::start("");
    let mut witness = member.client();
    for length in [-1, i32::MIN, i32::MAX, 0x0010_0000, 0] {
        let mut fresh = open(member.addr());
        fresh.write_all(&length.to_be_bytes()).unwrap();
        assert!(is_closed_by_peer(fresh), "first length {length}");
        let mut client = member.client();
        client.send_bytes(&length.to_be_bytes()).unwrap();
        assert!(client.ends(), "length {length} in a session");
    }
    assert!(witness.get("/").is_ok());
}

#[test]
fn the_longest_frame_is_taken() {
    let member = Member::start("");
    let mut client = member.client();
    // xid and op, the lengths of path and data, path, ACL and flags are the rest of it.
    let overhead = 8 + 4 + 2 + 4 + AclBytes::OPEN.as_bytes().len() + 4;
    let data = vec![7; 0xf_ffff - overhead];
    assert_eq!(client.create("/l", &data).unwrap(), 0);
    assert_eq!(client.get("/l").unwrap(), data);
    let too_long = vec![7; data.len() + 1];
    assert!(client.create("/m", &too_long).is_err());
    assert_eq!(member.client().get("/m"), Err(-101));
}

#[test]
fn a_reader_that_does_not_read_gets_little_ahead() {
    let member = Member::start("");
    reads_are_not_answered_without_bound(member.client(), &member);
}

/// A client asks for 400 MB without reading: others are served meanwhile, little of it is made
/// before it is wanted, and in the end all of it comes.
pub(crate) fn reads_are_not_answered_without_bound(mut slow: Client, member: &Member) {
    const COUNT: usize = 400;
    let mut other = member.client();
    let value = vec![9; 1_000_000];
    assert_eq!(other.create("/big", &value).unwrap(), 0);
    let xids: Vec<i32> = (0..COUNT).map(|_| slow.send(&get("/big", false)).unwrap()).collect();
    wait_until("some are answered", || answered(member, &slow) > 0);
    for _ in 0..200 {
        assert_eq!(other.set("/big", &value[..10]), 0);
        assert_eq!(other.set("/big", &value), 0);
    }
    let ahead = answered(member, &slow);
    assert!(ahead < 60, "{ahead} MB were made for somebody who does not read");
    for xid in xids {
        let reply = slow.reply().unwrap();
        assert_eq!((reply.xid, reply.err), (xid, 0));
    }
}

/// Answers that were made for the session of `client`.
fn answered(member: &Member, client: &Client) -> u64 {
    let sid = format!("sid=0x{:x}", client.session.session_id.0);
    let cons = member.word("cons");
    let line = cons.lines().find(|line| line.contains(&sid)).unwrap();
    let (_, after) = line.split_once("sent=").unwrap();
    after.split(',').next().unwrap().trim_end_matches(')').parse().unwrap()
}

#[test]
fn more_writes_than_the_log_takes_wait_their_turn() {
    let member = Member::start("");
    let mut client = member.client();
    let mut other = member.client();
    assert_eq!(client.create("/w", b"").unwrap(), 0);
    // 200 MB of writes, more than may wait for the disk, sent while nobody reads the answers.
    let value = vec![5; 500_000];
    const COUNT: i32 = 400;
    std::thread::scope(|scope| {
        let sender = member.addr();
        let worker = scope.spawn(move || {
            let mut writer = Client::connect(sender).unwrap();
            let mut last = 0;
            for number in 0..COUNT {
                let request = zk_proto::request::SetDataRequest {
                    path: "/w".into(),
                    data: Some(&value),
                    version: number,
                };
                last = writer.send(&Request::SetData(request)).unwrap();
            }
            for _ in 0..COUNT {
                assert_eq!(writer.reply().unwrap().err, 0);
            }
            last
        });
        for _ in 0..20 {
            assert!(other.get("/w").is_ok());
        }
        assert_eq!(worker.join().unwrap(), COUNT);
    });
}

#[test]
fn requests_behind_the_connect_request_are_served() {
    let member = Member::start("");
    let mut stream = open(member.addr());
    let mut bytes = connect_frame();
    bytes.extend_from_slice(&PING);
    bytes.extend_from_slice(&CLOSE);
    stream.write_all(&bytes).unwrap();
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap();
    // The session, the ping's answer and that of closeSession; then the end.
    assert_eq!(answers.len(), 41 + 20 + 20);
}

#[test]
fn who_never_reads_is_let_go() {
    let member = Member::start("");
    let mut other = member.client();
    assert_eq!(other.create("/big", &vec![1; 1_000_000]).unwrap(), 0);
    let mut deaf = Client::handshake(open(member.addr()), 1_000).unwrap();
    for _ in 0..30 {
        deaf.send(&get("/big", false)).unwrap();
    }
    // Its pings would be behind answers that it does not read, so its session expires; then its
    // connection must not live on for the sake of those answers.
    wait_until("only the other one is left", || {
        // Whose own session must not end meanwhile.
        other.get("/").is_ok() && member.connections() == 1
    });
    drop(deaf);
}

#[test]
fn a_deaf_client_with_a_watch_on_everything_is_let_go() {
    let member = Member::start("maxUnsentBytes=1048576\n");
    let mut deaf = member.client();
    let everything = AddWatchRequest { path: Some("/".into()), mode: 1 };
    assert_eq!(deaf.call(&Request::AddWatch(everything)).unwrap().err, 0);
    deafness_is_bounded(vec![deaf], &member);
}

#[test]
fn many_deaf_clients_cost_no_more_than_all_may() {
    // Each of them might let more wait than all together may.
    let member = Member::start("maxUnsentBytesOfAll=8388608\n");
    let deaf = [(); 5].map(|()| {
        let mut deaf = member.client();
        let everything = AddWatchRequest { path: Some("/".into()), mode: 1 };
        assert_eq!(deaf.call(&Request::AddWatch(everything)).unwrap().err, 0);
        deaf
    });
    deafness_is_bounded(deaf.into(), &member);
}

/// Changes go on until what waits for `deaf` is too much; others never notice, nor does a client
/// that reads the same events.
pub(crate) fn deafness_is_bounded(deaf: Vec<Client>, member: &Member) {
    let mut writer = member.client();
    let path = format!("/{}", "p".repeat(8000));
    assert_eq!(writer.create(&path, b"").unwrap(), 0);
    let mut hearing = member.client();
    let everything = AddWatchRequest { path: Some("/".into()), mode: 1 };
    assert_eq!(hearing.call(&Request::AddWatch(everything)).unwrap().err, 0);
    let count = |member: &Member| {
        let mntr = member.word("mntr");
        let line = mntr.lines().find_map(|line| line.strip_prefix("zk_unsent_limit_exceeded\t"));
        line.unwrap().trim().parse::<usize>().unwrap()
    };
    // An event is as long as its path; the system's own buffers take some megabytes of them.
    wait_until("the deaf clients are let go", || {
        for _ in 0..100 {
            assert_eq!(writer.set(&path, b""), 0);
            assert_eq!(hearing.event(), (3, path.clone()));
        }
        count(member) == deaf.len()
    });
    assert_eq!(member.connections(), 2);
    for deaf in &deaf {
        let session = format!("0x{:x}", deaf.session.session_id.0);
        assert!(member.word("dump").contains(&session), "its session lives on");
    }
    drop(deaf);
}

#[test]
fn a_late_reader_keeps_its_session() {
    let member = Member::start("");
    let mut other = member.client();
    assert_eq!(other.create("/big", &vec![1; 1_000_000]).unwrap(), 0);
    let stream = open(member.addr());
    let mut pinger = stream.try_clone().unwrap();
    let mut late = Client::handshake(Slowly(stream), 1_000).unwrap();
    // Two answers of 4 MB: while the second goes out nothing is read, for longer than the session
    // lives without a sign.
    let big = ReadOp { path: Some("/big".into()), watch: false };
    let ops = vec![MultiOp::GetData(big); 4];
    for _ in 0..2 {
        late.send(&Request::MultiRead(MultiRequest { ops: ops.clone() })).unwrap();
    }
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) && pinger.write_all(&PING).is_ok() {
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let mut sizes = Vec::new();
        while sizes.len() < 2 {
            match late.reply() {
                Ok(reply) if reply.xid > 0 => sizes.push(reply.body.len()),
                Ok(_) => {}
                Err(error) => {
                    eprintln!("{error}");
                    break;
                }
            }
        }
        is_done.store(true, Ordering::Relaxed);
        assert!(sizes.len() == 2 && sizes.iter().all(|size| *size > 4_000_000), "{sizes:?}");
    });
    let sessions = member.word("dump");
    assert!(sessions.contains(&format!("0x{:x}", late.session.session_id.0)), "{sessions}");
}

/// A socket at the end of a slow line, of 2 MB/s.
struct Slowly(TcpStream);

impl Read for Slowly {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        std::thread::sleep(Duration::from_micros(buf.len() as u64 / 2));
        self.0.read(buf)
    }
}

impl Write for Slowly {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A connect request for a new session, with its length.
pub(crate) fn connect_frame() -> Vec<u8> {
    let connect = zk_proto::connect::ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms: 60_000,
        session_id: zk_proto::SessionId::NONE,
        password: None,
        read_only: Some(false),
    };
    let mut bytes = Vec::new();
    zk_proto::jute::put_frame(&mut bytes, |out| connect.write(out));
    bytes
}

/// A ping, with its length.
pub(crate) const PING: [u8; 12] = [0, 0, 0, 8, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 11];
/// closeSession with xid 1.
const CLOSE: [u8; 12] = [0, 0, 0, 8, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xf5];

/// Writes at most so many bytes at a time, each part a segment of its own.
struct InParts(TcpStream, usize);

impl Read for InParts {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for InParts {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.0.write(&buf[..buf.len().min(self.1)])
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn frames_may_come_in_parts_of_any_size() {
    let member = Member::start("");
    let data: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
    for (name, size) in [("/1", 1), ("/7", 7), ("/5000", 5000), ("/65536", 65_536)] {
        let data = &data[..data.len().min(size * 5000)];
        let mut client = Client::handshake(InParts(open(member.addr()), size), 30_000).unwrap();
        assert_eq!(client.create(name, data).unwrap(), 0);
        assert_eq!(client.get(name).unwrap(), data);
    }
}

#[test]
fn a_frame_that_never_ends_is_no_sign_of_life() {
    let member = Member::start("");
    let mut stream = open(member.addr());
    let client = Client::handshake(stream.try_clone().unwrap(), 1_000).unwrap();
    assert_eq!(member.connections(), 1);
    // A setData of a megabyte begins, and a byte of it comes ever so often.
    stream.write_all(&[0, 0xf, 0, 0]).unwrap();
    wait_until("its session expires", || {
        let _ = stream.write_all(&[0]);
        member.connections() == 0
    });
    drop(client);
}
