//! A member in this process, on a directory and ports of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use zk_server::config::{Options, ServerConfig, parse};
use zk_server::{Server, StartError};
use zk_store::disk::Disk;

use crate::client::{Client, four_letter_word};

/// What is served, and where its files are.
pub(crate) struct Member {
    server: Option<Server>,
    dir: TempDir,
}

/// Settings for `dir`; `lines` come last.
pub(crate) fn config(dir: &Path, lines: &str) -> ServerConfig {
    let text = format!(
        "dataDir={}\nclientPort=0\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n\
         tickTime=500\nmaxSessionTimeout=60000\npreAllocSize=1024\nmaxClientCnxns=0\n4lw.commands.whitelist=*\n{lines}\n",
        dir.join("data").display()
    );
    parse("zoo.cfg", text.as_bytes(), &[], Options::default()).unwrap().config
}

impl Member {
    /// Starts on an empty directory.
    pub(crate) fn start(lines: &str) -> Member {
        Member::start_in(TempDir::new().unwrap(), lines)
    }

    /// Starts on a directory that is there.
    pub(crate) fn start_in(dir: TempDir, lines: &str) -> Member {
        let server = Server::start(config(dir.path(), lines)).unwrap();
        Member { server: Some(server), dir }
    }

    /// Starts on a disk of the test's own.
    pub(crate) fn start_on(disk: impl Disk + 'static, lines: &str) -> Member {
        Member::start_on_in(disk, TempDir::new().unwrap(), lines)
    }

    /// The same, on a directory that is there.
    pub(crate) fn start_on_in(disk: impl Disk + 'static, dir: TempDir, lines: &str) -> Member {
        let server = Server::start_on(config(dir.path(), lines), Arc::new(disk)).unwrap();
        Member { server: Some(server), dir }
    }

    /// Where its files are.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Tries to start another one on the same files.
    pub(crate) fn start_second(&self, lines: &str) -> Result<Server, StartError> {
        Server::start(config(self.dir.path(), lines))
    }

    /// Stops, and gives the directory back.
    pub(crate) fn stop(mut self) -> TempDir {
        self.server.take().unwrap().stop().unwrap();
        std::mem::replace(&mut self.dir, TempDir::new().unwrap())
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.server().client_port().unwrap()).into()
    }

    pub(crate) fn secure_addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.server().secure_client_port().unwrap()).into()
    }

    /// A session over plain text.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.addr()).unwrap()
    }

    /// The answer to a four-letter word over plain text.
    pub(crate) fn word(&self, word: &str) -> String {
        four_letter_word(std::net::TcpStream::connect(self.addr()).unwrap(), word)
    }

    /// Connections that are open, the one that asks not counted.
    pub(crate) fn connections(&self) -> usize {
        self.word("cons").lines().filter(|line| line.starts_with(" /")).count().saturating_sub(1)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            let stopped = server.stop();
            if !std::thread::panicking() {
                stopped.unwrap();
            }
        }
    }
}
