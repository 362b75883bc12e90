//! What the log of the binary says about sessions and connections, and what it must not say.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use zk_proto::SessionId;
use zk_testkit::{Client, Engine};

use crate::certificates::{Authority, Identity, tls_lines};
use crate::client::{self, open};
use crate::wait_until;

/// A server whose log has everything in it.
struct Chatty {
    child: Child,
    dir: TempDir,
}

impl Chatty {
    fn start(levels: &str) -> Chatty {
        Chatty::start_in(TempDir::new().unwrap(), levels, "")
    }

    fn start_in(dir: TempDir, levels: &str, lines: &str) -> Chatty {
        let cfg = dir.path().join("zoo.cfg");
        let text = format!(
            "dataDir={}\nclientPort=0\nclientPortAddress=127.0.0.1\ntickTime=200\n\
             admin.enableServer=false\n{lines}",
            dir.path().display()
        );
        std::fs::write(&cfg, text).unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        let mut command: Command = Engine::Ours.command(&cfg, &[]).unwrap();
        let child = command.env("ZKFLEET_LOG", levels).stderr(log).spawn().unwrap();
        Chatty { child, dir }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    fn wait_for(&self, text: &str) {
        wait_until(text, || self.log().contains(text));
    }

    fn addr(&self) -> SocketAddr {
        self.addr_after("serving clients on port ")
    }

    fn secure_addr(&self) -> SocketAddr {
        self.addr_after("(TLS: ")
    }

    fn addr_after(&self, words: &str) -> SocketAddr {
        self.wait_for("serving clients on port ");
        let log = self.log();
        let port = log.split(words).nth(1).unwrap();
        let port = port.split([' ', ')']).next().unwrap().parse().unwrap();
        (Ipv4Addr::LOCALHOST, port).into()
    }
}

#[test]
fn who_is_not_let_in_is_told_with_the_limit() {
    for (lines, want) in [
        ("maxClientCnxns=2\n", "Too many connections from /127.0.0.1 - max is 2 (maxClientCnxns)"),
        (
            "maxClientCnxns=5\nmaxCnxns=2\n",
            "Too many connections - max of all addresses is 2 (maxCnxns, or what ulimit -n leaves)",
        ),
    ] {
        let server = Chatty::start_in(TempDir::new().unwrap(), "info", lines);
        let _open = [(); 3].map(|()| open(server.addr()));
        server.wait_for(want);
    }
}

impl Drop for Chatty {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

#[test]
fn sessions_and_connections_are_told_without_secrets() {
    let server = Chatty::start("info,zk_server=debug");
    let addr = server.addr();
    let mut polite = Client::connect(addr, 10_000).unwrap();
    polite.auth("digest", b"bob:a-secret").unwrap();
    let SessionId(closed) = polite.session().session_id;
    polite.close().unwrap();
    server.wait_for(&format!("session closed session=0x{closed:x}"));
    let mut gone = client::Client::handshake(open(addr), 400).unwrap();
    assert!(gone.get("/").is_ok());
    let (SessionId(expired), password) = (gone.session.session_id, gone.session.password);
    drop(gone);
    server.wait_for(&format!("Expiring session 0x{expired:x}, timeout of 400ms exceeded"));
    server.wait_for(&format!("session closed session=0x{expired:x}"));
    client::Client::renew(addr, (SessionId(expired), password));
    server.wait_for(&format!("Invalid session 0x{expired:x} for client 127.0.0.1:"));
    server.wait_for("connection closed");
    let log = server.log();
    for text in ["connection accepted", "session established", "timeout_ms=4000", "by_client=true"]
    {
        assert!(log.contains(text), "{text} is not in:\n{log}");
    }
    assert!(!log.contains("a-secret") && !log.contains("bob"), "{log}");
}

#[test]
fn by_default_what_comes_and_goes_is_not_told() {
    let server = Chatty::start("info");
    let addr = server.addr();
    Client::connect(addr, 10_000).unwrap().close().unwrap();
    drop(client::Client::handshake(open(addr), 400).unwrap());
    server.wait_for("Expiring session ");
    let log = server.log();
    assert!(!log.contains("connection accepted") && !log.contains("session closed"), "{log}");
}

#[test]
fn a_certificate_of_version_1_is_named() {
    let (authority, dir) = (Authority::new(), TempDir::new().unwrap());
    authority.write_stores(dir.path());
    let lines = tls_lines(dir.path());
    let server = Chatty::start_in(dir, "info", &lines);
    let old = authority.dial(server.secure_addr(), Some(&Identity::of_version_1()));
    assert!(client::Client::handshake(old, 10_000).is_err());
    server.wait_for("the TLS handshake failed: its certificate is X.509 version 1");
    assert!(server.log().contains("-extfile"), "{}", server.log());
}
