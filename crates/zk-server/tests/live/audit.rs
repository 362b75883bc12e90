//! The audit log of the binary: Apache's lines, in the log of the server.

use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use zk_proto::acl::AclBytes;
use zk_proto::request::{Create, CreateMode, Request, VersionedPath};
use zk_proto::{OpCode, SessionId, Xid};
use zk_testkit::{Engine, Server, ServerConfig};

use crate::client::{Client, open};
use crate::shutdown::{self, SmallDisk};
use crate::{PATIENCE, wait_until};

/// What was told so far, in order.
fn lines(server: &Server) -> Vec<String> {
    let log = std::fs::read_to_string(server.log_path()).unwrap();
    let told = |line: &str| Some(line.split_once("zkfleet::audit: ")?.1.to_owned());
    log.lines().filter_map(told).collect()
}

fn start(enabled: bool) -> Server {
    let mut config = ServerConfig::new(Engine::Ours);
    config.lines.push(format!("audit.enable={enabled}"));
    Server::start(config).unwrap()
}

#[test]
fn changes_are_told_in_apaches_words() {
    let mut server = start(true);
    let mut client = zk_testkit::Client::connect(server.addr(), 10_000).unwrap();
    let SessionId(id) = client.session().session_id;
    client.create("/a", b"", CreateMode::PersistentSequential).unwrap();
    client.auth("digest", b"bob:secret").unwrap();
    client.create("/e", b"", CreateMode::Ephemeral).unwrap();
    client.create("/e", b"", CreateMode::Ephemeral).unwrap_err();
    let forged = Request::Create(Create {
        op: OpCode::Create,
        path: "/x\nsession=0x1\toperation=delete".into(),
        data: None,
        acl: AclBytes::OPEN,
        flags: 0,
        ttl_ms: 0,
    });
    assert_ne!(client.call(&forged).unwrap().err, 0);
    client.close().unwrap();
    wait_until("the end of the session is told", || lines(&server).len() >= 6);
    assert!(server.terminate().unwrap().success());
    let mut told = lines(&server);
    let user = told[0].split(['=', '\t']).nth(1).unwrap().to_owned();
    assert_eq!(told.remove(0), format!("user={user}\toperation=serverStart\tresult=success"));
    assert_eq!(told.pop().unwrap(), format!("user={user}\toperation=serverStop\tresult=invoked"));
    let by = |users: &str| format!("session=0x{id:x}\tuser={users}\tip=127.0.0.1");
    let (stranger, bob) = (by("127.0.0.1"), by("bob,127.0.0.1"));
    let want = [
        format!(
            "{stranger}\toperation=create\tznode=/a0000000000\tznode_type=persistent_sequential\t\
             result=success"
        ),
        format!("{bob}\toperation=create\tznode=/e\tznode_type=ephemeral\tresult=success"),
        format!("{bob}\toperation=create\tznode=/e\tznode_type=ephemeral\tresult=failure"),
        format!(
            "{bob}\toperation=create\tznode=/x\\u000asession=0x1\\u0009operation=delete\t\
             znode_type=persistent\tresult=failure"
        ),
        format!(
            "session=0x{id:x}\tuser={user}\t\
             operation=ephemeralZNodeDeletionOnSessionCloseOrExpire\tznode=/e\tresult=success"
        ),
    ];
    assert_eq!(told, want);
}

#[test]
fn a_server_that_does_not_start_says_so_and_without_the_key_nothing_is_told() {
    let dir = TempDir::new().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let cfg = dir.path().join("zoo.cfg");
    let text = format!(
        "dataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\naudit.enable=true\n",
        dir.path().display(),
        port.local_addr().unwrap().port()
    );
    std::fs::write(&cfg, text).unwrap();
    let output = Engine::Ours.command(&cfg, &[]).unwrap().output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("\toperation=serverStart\tresult=failure\n"), "{log}");

    let mut server = start(false);
    let mut client = zk_testkit::Client::connect(server.addr(), 10_000).unwrap();
    client.create("/a", b"", CreateMode::Ephemeral).unwrap();
    client.close().unwrap();
    assert!(server.terminate().unwrap().success());
    assert!(!server.log_tail(100).contains("operation="), "{}", server.log_tail(100));
}

/// A server whose stderr is the test's.
struct Process {
    child: Child,
    addr: SocketAddr,
    _dir: TempDir,
}

impl Process {
    /// `said` gives all that was said so far.
    fn start(stderr: OwnedFd, mut said: impl FnMut() -> String) -> Process {
        let dir = TempDir::new().unwrap();
        let cfg = dir.path().join("zoo.cfg");
        let text = format!(
            "dataDir={}\nclientPort=0\nclientPortAddress=127.0.0.1\ntickTime=200\n\
             admin.enableServer=false\naudit.enable=true\nmaxClientCnxns=0\nmaxSessionTimeout=30000\n",
            dir.path().display()
        );
        std::fs::write(&cfg, text).unwrap();
        let mut command = Engine::Ours.command(&cfg, &[]).unwrap();
        let child = command.stderr(stderr).spawn().unwrap();
        let mut port = None;
        wait_until("it serves", || {
            let text = said();
            let rest = text.split_once("serving clients on port ").map(|(_, rest)| rest);
            port = rest.and_then(|rest| Some(rest.split_once(' ')?.0.parse().unwrap()));
            port.is_some()
        });
        Process { child, addr: (Ipv4Addr::LOCALHOST, port.unwrap()).into(), _dir: dir }
    }

    /// One whose stderr is read when the test wants it, and its other end.
    fn start_unread() -> (Process, UnixStream) {
        let (stderr, other_end) = UnixStream::pair().unwrap();
        stderr.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut told = Vec::new();
        let process = Process::start(other_end.into(), || {
            // Not a byte more: how much room there is must not depend on it.
            while told.last() != Some(&b'\n') {
                let mut byte = [0];
                (&stderr).read_exact(&mut byte).unwrap();
                told.extend(byte);
            }
            String::from_utf8(std::mem::take(&mut told)).unwrap()
        });
        (process, stderr)
    }

    /// A client that made changes until one was not answered, and how many there were with that
    /// one.
    fn fill(&self) -> (Client, usize) {
        let stream = open(self.addr);
        let own = stream.try_clone().unwrap();
        let mut client = Client::handshake(stream, 1_000).unwrap();
        let path = format!("/{}", "x".repeat(4_000));
        let delete = Request::Delete(VersionedPath { path: path.into(), version: -1 });
        // Silence, for as long as no disk is slow.
        own.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut sent = 0;
        loop {
            client.send(&delete).unwrap();
            sent += 1;
            match client.reply() {
                Ok(reply) => assert_eq!(reply.err, NO_NODE),
                Err(_) => break,
            }
            assert!(sent < MANY, "somebody has read all of it");
        }
        own.set_read_timeout(Some(PATIENCE)).unwrap();
        (client, sent)
    }
}

impl Process {
    /// SIGTERM, and the exit code.
    fn stop(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.ended()
    }

    /// The exit code of one that ends by itself.
    fn ended(&mut self) -> Option<i32> {
        let mut status = None;
        wait_until("it has stopped", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Gone already, if the test passes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines about so many changes have room neither in the queue nor at the thread that writes them.
const MANY: usize = 3_500;
const NO_NODE: i32 = -101;

#[test]
fn when_nobody_reads_the_log_changes_wait_and_nobody_else_does() {
    let (mut server, stderr) = Process::start_unread();
    let mut reader = Client::handshake(open(server.addr), 30_000).unwrap();
    let (mut writer, sent) = server.fill();
    // Longer than the sessions live without a sign.
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        assert!(reader.get("/").is_ok());
        reader.send(&Request::Ping).unwrap();
        assert_eq!(reader.reply().unwrap().xid, Xid::PING.0);
        std::thread::sleep(Duration::from_millis(50));
    }
    let lines = std::thread::spawn(move || {
        let mut text = Vec::new();
        // Until the server is gone.
        let _ = (&stderr).read_to_end(&mut text);
        String::from_utf8(text).unwrap().matches("operation=delete").count()
    });
    assert_eq!(writer.reply().unwrap().err, NO_NODE);
    assert_eq!(writer.call(&Request::CloseSession).unwrap().err, 0);
    assert_eq!(reader.create("/a", b"").unwrap(), 0);
    assert_eq!(server.stop(), Some(0));
    assert_eq!(lines.join().unwrap(), sent);
}

#[test]
fn when_nobody_reads_the_log_it_stops_all_the_same() {
    let (mut server, _stderr) = Process::start_unread();
    let (writer, _) = server.fill();
    assert_eq!(server.stop(), Some(0));
    assert!(writer.ends());
}

/// It must not make changes that are told to nobody.
#[test]
fn when_the_log_cannot_be_written_it_ends() {
    let (mut server, stderr) = Process::start_unread();
    let mut client = Client::handshake(open(server.addr), 10_000).unwrap();
    drop(stderr);
    // Its line is the first that cannot be written.
    let _ = client.create("/a", b"");
    assert_eq!(server.ended(), Some(10));
    assert!(client.ends());
}

#[test]
fn when_the_last_lines_cannot_be_written_the_exit_code_says_so() {
    let (mut server, stderr) = Process::start_unread();
    drop(stderr);
    assert_eq!(server.stop(), Some(10));
}

#[test]
fn while_there_is_no_space_for_the_log_changes_wait() {
    let Some(disk) = SmallDisk::mount("32m") else { return };
    let [log, filler] = ["log", "filler"].map(|name| disk.path().join(name));
    let said = || std::fs::read_to_string(&log).unwrap();
    let mut server = Process::start(File::create(&log).unwrap().into(), said);
    let mut reader = Client::handshake(open(server.addr), 30_000).unwrap();
    shutdown::fill(&filler);
    let (mut writer, sent) = server.fill();
    assert!(reader.get("/").is_ok());
    std::fs::remove_file(&filler).unwrap();
    assert_eq!(writer.reply().unwrap().err, NO_NODE);
    assert_eq!(writer.call(&Request::CloseSession).unwrap().err, 0);
    assert_eq!(server.stop(), Some(0));
    let said = said();
    assert!(said.contains("the audit log waited "), "{} bytes", said.len());
    let lines = said.lines().filter(|line| line.contains("\toperation=delete\t"));
    assert_eq!(lines.filter(|line| line.ends_with("\tresult=failure")).count(), sent);
}

#[test]
fn a_stop_does_not_wait_for_space() {
    let Some(disk) = SmallDisk::mount("32m") else { return };
    let [log, filler] = ["log", "filler"].map(|name| disk.path().join(name));
    let said = || std::fs::read_to_string(&log).unwrap();
    let mut server = Process::start(File::create(&log).unwrap().into(), said);
    shutdown::fill(&filler);
    let (writer, _) = server.fill();
    assert_eq!(server.stop(), Some(0));
    assert!(writer.ends());
}
