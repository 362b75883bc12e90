//! What the log of the binary says about sessions and connections, and what it must not say.

use std::fs::File;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use zk_proto::SessionId;
use zk_testkit::{Client, Engine};

use crate::client::{self, open};
use crate::wait_until;

/// A server whose log has everything in it.
struct Chatty {
    child: Child,
    dir: TempDir,
}

impl Chatty {
    fn start(levels: &str) -> Chatty {
        let dir = TempDir::new().unwrap();
        let cfg = dir.path().join("zoo.cfg");
        let text = format!(
            "dataDir={}\nclientPort=0\nclientPortAddress=127.0.0.1\ntickTime=200\n\
             admin.enableServer=false\n",
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

    fn addr(&self) -> std::net::SocketAddr {
        self.wait_for("serving clients on port ");
        let log = self.log();
        let port = log.split("serving clients on port ").nth(1).unwrap();
        let port = port.split_whitespace().next().unwrap().parse().unwrap();
        (std::net::Ipv4Addr::LOCALHOST, port).into()
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
