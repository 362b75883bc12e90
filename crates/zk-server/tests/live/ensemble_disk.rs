//! Three members of one ensemble in this process, each on a disk that the test can fill or break:
//! the others go on, and nothing acknowledged is lost.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use tempfile::TempDir;
use zk_server::Server;
use zk_server::config::{Options, parse};
use zk_store::sim::{EIO, ENOSPC, SimDisk};

use crate::client::{Client, four_letter_word, open};
use crate::wait_until;

/// Calls that a member makes while it changes its leader, and takes some writes.
const CALLS: u64 = 24;

struct Node {
    disk: SimDisk,
    server: Option<Server>,
}

struct Ensemble {
    nodes: Vec<Node>,
    dir: TempDir,
    lines: String,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Ensemble {
    fn start() -> Ensemble {
        let mut lines =
            "tickTime=200\ninitLimit=20\nsyncLimit=5\nmaxSessionTimeout=60000\n".to_owned();
        for sid in 1..=3 {
            lines += &format!("server.{sid}=127.0.0.1:{}:{}\n", free_port(), free_port());
        }
        let node = |_| Node { disk: SimDisk::new(512), server: None };
        let nodes = (0..3).map(node).collect();
        let mut ensemble = Ensemble { nodes, dir: TempDir::new().unwrap(), lines };
        (0..3).for_each(|at| ensemble.start_node(at));
        ensemble
    }

    fn start_node(&mut self, at: usize) {
        let text = format!(
            "dataDir={}\nclientPort=0\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n\
             preAllocSize=64\n4lw.commands.whitelist=*\n{}",
            self.dir.path().join(at.to_string()).display(),
            self.lines
        );
        let options = Options { server_id: Some(at as i64 + 1), ..Options::default() };
        let config = parse("zoo.cfg", text.as_bytes(), &[], options).unwrap().config;
        let disk = self.nodes[at].disk.clone();
        // Its disk may refuse that as well.
        let started = Server::start_on(config, Arc::new(disk));
        self.nodes[at].server = started.inspect_err(|error| println!("{error}")).ok();
    }

    /// Stops a member, whatever it says, and starts it on what its disk kept.
    fn restart(&mut self, at: usize) {
        if let Some(server) = self.nodes[at].server.take() {
            let _ = server.stop();
        }
        self.nodes[at].disk = self.nodes[at].disk.crash(&mut |_: usize| 0);
        self.start_node(at);
    }

    fn addr(&self, at: usize) -> SocketAddr {
        let port = self.nodes[at].server.as_ref().unwrap().client_port().unwrap();
        (Ipv4Addr::LOCALHOST, port).into()
    }

    fn mode(&self, at: usize) -> String {
        let Some(server) = &self.nodes[at].server else { return String::new() };
        if server.has_failed() {
            return String::new();
        }
        let text = four_letter_word(std::net::TcpStream::connect(self.addr(at)).unwrap(), "srvr");
        let mode = text.lines().find_map(|line| line.strip_prefix("Mode: "));
        mode.unwrap_or_default().to_owned()
    }

    fn leader(&self) -> usize {
        let mut leader = None;
        wait_until("somebody leads", || {
            leader = (0..3).find(|at| self.mode(*at) == "leader");
            leader.is_some()
        });
        leader.unwrap()
    }

    fn is_complete(&self) -> bool {
        let modes: Vec<_> = (0..3).map(|at| self.mode(at)).collect();
        modes.iter().filter(|mode| *mode == "follower").count() == 2
            && modes.iter().any(|mode| mode == "leader")
    }

    fn wait_complete(&self) {
        wait_until("all serve", || self.is_complete());
    }

    fn client(&self, at: usize) -> Option<Client> {
        Client::handshake(open(self.addr(at)), 60_000).ok()
    }

    /// Sets `/w` at any member but those, until one acknowledges it.
    fn write(&self, value: &[u8], but: &[usize]) {
        let at = (0..3).filter(|at| !but.contains(at));
        let at: Vec<_> = at.filter(|at| self.nodes[*at].server.is_some()).collect();
        wait_until("a write is acknowledged", || {
            let mut clients = at.iter().filter_map(|at| self.client(*at));
            clients.any(|mut client| matches!(client.try_set("/w", value), Ok(0)))
        });
    }

    fn has(&self, at: usize, value: &[u8]) -> bool {
        let found = self.client(at).and_then(|mut client| client.try_get("/w").ok());
        found == Some(Ok(value.to_vec()))
    }

    fn check(&self, value: &[u8]) {
        wait_until("all have it", || (0..3).all(|at| self.has(at, value)));
    }

    fn has_failed(&self, at: usize) -> bool {
        self.nodes[at].server.as_ref().is_none_or(Server::has_failed)
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        // Together: who is left alone would wait for the others.
        let servers = self.nodes.iter_mut().filter_map(|node| node.server.take());
        let stopping: Vec<_> = servers.map(|server| thread::spawn(|| server.stop())).collect();
        for stopping in stopping {
            let _ = stopping.join();
        }
    }
}

fn with_data() -> Ensemble {
    let ensemble = Ensemble::start();
    ensemble.wait_complete();
    let mut client = ensemble.client(ensemble.leader()).unwrap();
    assert_eq!(client.create("/w", b"").unwrap(), 0);
    ensemble
}

#[test]
fn a_leader_whose_disk_is_full_gives_way_and_comes_back() {
    let ensemble = with_data();
    let full = ensemble.leader();
    ensemble.nodes[full].disk.set_free_sectors(Some(0));
    // Until it notices it takes what its reserve holds.
    let mut client = ensemble.client(full);
    let takes = |client: &mut Client| matches!(client.try_set("/w", &[1; 5000]), Ok(0));
    while client.as_mut().is_some_and(takes) {}
    wait_until("another one leads", || {
        (0..3).any(|at| at != full && ensemble.mode(at) == "leader")
    });
    ensemble.write(b"without it", &[full]);
    assert!(!matches!(&*ensemble.mode(full), "leader" | "follower"));
    ensemble.nodes[full].disk.set_free_sectors(None);
    ensemble.wait_complete();
    assert_ne!(ensemble.leader(), full);
    ensemble.check(b"without it");
}

#[test]
fn a_follower_without_a_byte_left_is_waited_for_by_nobody() {
    let ensemble = with_data();
    let full = (ensemble.leader() + 1) % 3;
    ensemble.nodes[full].disk.set_free_sectors(Some(0));
    for number in 0..40_u8 {
        ensemble.write(&[number; 5000], &[full]);
    }
    ensemble.nodes[full].disk.set_free_sectors(None);
    ensemble.write(b"with it", &[]);
    ensemble.wait_complete();
    ensemble.check(b"with it");
}

/// A member loses its leader and gets it again while one call to its disk fails, each in turn: it
/// ends or goes on, and has everything in the end. How many ended.
fn fail_each(errno: i32) -> usize {
    let mut ensemble = with_data();
    let mut failed = 0;
    for call in 0..CALLS {
        let (leader, value) = (ensemble.leader(), format!("{errno} {call}"));
        let at = (leader + 1) % 3;
        ensemble.nodes[at].disk.fail(call, errno);
        // A new epoch, which all of them write.
        ensemble.restart(leader);
        ensemble.write(value.as_bytes(), &[at]);
        let mut has_ended = false;
        wait_until("all have it", || {
            // A call that came too late for its own round fails later.
            for it in (0..3).filter(|it| ensemble.has_failed(*it)).collect::<Vec<_>>() {
                has_ended = true;
                ensemble.restart(it);
            }
            ensemble.is_complete() && (0..3).all(|at| ensemble.has(at, value.as_bytes()))
        });
        failed += usize::from(has_ended);
    }
    println!("error {errno}: {failed} of {CALLS} ended the member");
    failed
}

#[test]
fn a_disk_that_refuses_ends_a_member_and_loses_nothing() {
    assert!(fail_each(EIO) > CALLS as usize / 2);
}

/// Only what a failed sync has lost cannot be waited for.
#[test]
fn a_moment_without_space_ends_few_members_and_loses_nothing() {
    assert!(fail_each(ENOSPC) < CALLS as usize / 2);
}
