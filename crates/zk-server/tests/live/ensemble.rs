//! Three members of one ensemble in this process, each on a simulated disk.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;

use tempfile::TempDir;
use zk_server::Server;
use zk_server::config::{Options, parse};
use zk_store::sim::SimDisk;
use zk_testkit::free_port;

use crate::client::{Client, four_letter_word, open};
use crate::wait_until;

pub(crate) struct Node {
    pub(crate) disk: SimDisk,
    pub(crate) server: Option<Server>,
}

pub(crate) struct Ensemble {
    pub(crate) nodes: Vec<Node>,
    dir: TempDir,
    lines: String,
}

impl Ensemble {
    /// Three members on empty disks, with these further lines of zoo.cfg.
    pub(crate) fn start(more: &str) -> Ensemble {
        let mut lines =
            "tickTime=200\ninitLimit=20\nsyncLimit=5\nmaxSessionTimeout=60000\n".to_owned();
        for sid in 1..=3 {
            lines += &format!(
                "server.{sid}=127.0.0.1:{}:{}\n",
                free_port().unwrap(),
                free_port().unwrap()
            );
        }
        lines += more;
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
    pub(crate) fn restart(&mut self, at: usize) {
        if let Some(server) = self.nodes[at].server.take() {
            let _ = server.stop();
        }
        self.nodes[at].disk = self.nodes[at].disk.crash(&mut |_: usize| 0);
        self.start_node(at);
    }

    pub(crate) fn addr(&self, at: usize) -> SocketAddr {
        let port = self.nodes[at].server.as_ref().unwrap().client_port().unwrap();
        (Ipv4Addr::LOCALHOST, port).into()
    }

    pub(crate) fn mode(&self, at: usize) -> String {
        let Some(server) = &self.nodes[at].server else { return String::new() };
        if server.has_failed() {
            return String::new();
        }
        let text = four_letter_word(std::net::TcpStream::connect(self.addr(at)).unwrap(), "srvr");
        let mode = text.lines().find_map(|line| line.strip_prefix("Mode: "));
        mode.unwrap_or_default().to_owned()
    }

    pub(crate) fn leader(&self) -> usize {
        let mut leader = None;
        wait_until("somebody leads", || {
            leader = (0..3).find(|at| self.mode(*at) == "leader");
            leader.is_some()
        });
        leader.unwrap()
    }

    pub(crate) fn is_complete(&self) -> bool {
        let modes: Vec<_> = (0..3).map(|at| self.mode(at)).collect();
        modes.iter().filter(|mode| *mode == "follower").count() == 2
            && modes.iter().any(|mode| mode == "leader")
    }

    pub(crate) fn wait_complete(&self) {
        wait_until("all serve", || self.is_complete());
    }

    pub(crate) fn client(&self, at: usize) -> Option<Client> {
        Client::handshake(open(self.addr(at)), 60_000).ok()
    }

    /// Sets `/w` at any member but those, until one acknowledges it.
    pub(crate) fn write(&self, value: &[u8], but: &[usize]) {
        let at = (0..3).filter(|at| !but.contains(at));
        let at: Vec<_> = at.filter(|at| self.nodes[*at].server.is_some()).collect();
        wait_until("a write is acknowledged", || {
            let mut clients = at.iter().filter_map(|at| self.client(*at));
            clients.any(|mut client| matches!(client.try_set("/w", value), Ok(0)))
        });
    }

    pub(crate) fn has(&self, at: usize, value: &[u8]) -> bool {
        let found = self.client(at).and_then(|mut client| client.try_get("/w").ok());
        found == Some(Ok(value.to_vec()))
    }

    pub(crate) fn check(&self, value: &[u8]) {
        wait_until("all have it", || (0..3).all(|at| self.has(at, value)));
    }

    pub(crate) fn has_failed(&self, at: usize) -> bool {
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
