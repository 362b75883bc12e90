//! The servers that are compared: ours, Apache's and the floor, and how each is started on one
//! zoo.cfg.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};

/// A server to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// As in the report.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

/// What a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A zkfleet binary.
    Zkfleet(PathBuf),
    /// Apache ZooKeeper of a version.
    Apache(String),
    /// The server of this crate that keeps nothing.
    Floor,
}

/// How servers are started on this machine.
#[derive(Clone, Debug)]
pub struct Host {
    /// The script that prints an Apache server's command (`test/foreign/apache.sh`).
    pub apache_script: PathBuf,
    /// The most memory of the Java heap, e.g. `2g`.
    pub heap: String,
    /// Further lines of every zoo.cfg, `key=value`.
    pub config: Vec<String>,
    /// Where data directories are made; on the disk whose fdatasync is to be measured.
    pub dir: PathBuf,
    /// This program: it starts every server, and is the floor server.
    pub bench: PathBuf,
    /// Whether to keep data directories and logs.
    pub keep: bool,
}

impl Server {
    /// By its name on the command line; `ours` is the binary of that name.
    pub fn parse(name: &str, ours: &Path) -> Result<Server> {
        let kind = match (name, name.split_once('=')) {
            ("ours", _) => Kind::Zkfleet(ours.to_owned()),
            ("floor", _) => Kind::Floor,
            (_, Some((name, path))) => {
                let kind = Kind::Zkfleet(path.into());
                return Ok(Server { name: name.to_owned(), kind });
            }
            _ => match name.strip_prefix("apache-") {
                Some(version) => Kind::Apache(version.to_owned()),
                None => return Err(Error::BadServer { name: name.to_owned() }),
            },
        };
        Ok(Server { name: name.to_owned(), kind })
    }

    /// Whether a JIT must have seen the code before it is fast.
    #[must_use]
    pub fn is_java(&self) -> bool {
        matches!(self.kind, Kind::Apache(_))
    }

    /// Whether an ensemble of so many members can be made of it.
    #[must_use]
    pub fn can_have(&self, members: usize) -> bool {
        members == 1 || (members > 1 && !self.keeps_nothing())
    }

    /// Whether it forgets what it is told.
    #[must_use]
    pub fn keeps_nothing(&self) -> bool {
        self.kind == Kind::Floor
    }

    /// Through `zkfleet-bench child`, so that no server outlives this program. It executes the
    /// server in its own place: the process is the server's.
    pub fn command(&self, host: &Host, dir: &Path, port: u16) -> Result<Command> {
        let config = dir.join("zoo.cfg");
        let bench = absolute(&host.bench)?;
        let mut command = Command::new(&bench);
        command.args(["child", "--"]);
        match &self.kind {
            Kind::Zkfleet(path) => command.arg(absolute(path)?).arg("server").arg(config),
            Kind::Apache(version) => command.args(apache_command(host, version, &config)?),
            Kind::Floor => {
                let listen = format!("127.0.0.1:{port}");
                command.arg(&bench).args(["floor", "--listen", &listen, "--file"]);
                command.arg(dir.join("floor.log"))
            }
        };
        Ok(command)
    }
}

/// The zoo.cfg that all servers get.
#[must_use]
pub fn zoo_cfg(dir: &Path, port: u16, further: &[String]) -> String {
    let mut text = format!(
        "tickTime=2000\n\
         dataDir={}\n\
         clientPort={port}\n\
         clientPortAddress=127.0.0.1\n\
         maxClientCnxns=0\n\
         forceSync=yes\n\
         admin.enableServer=false\n",
        dir.join("data").display()
    );
    for line in further {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// The script prints the command, one argument a line.
fn apache_command(host: &Host, version: &str, config: &Path) -> Result<Vec<String>> {
    let script = &host.apache_script;
    let output = Command::new(absolute(script)?)
        .args([version, "command"])
        .arg(config)
        .env("ZK_HEAP", &host.heap)
        .output()
        .map_err(Error::io(format!("run {}", script.display())))?;
    if !output.status.success() {
        return Err(Error::Server {
            server: format!("apache-{version}"),
            what: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            log: script.clone(),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

fn absolute(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(Error::io(format!(
        "find {} (ours: cargo build --release -p zkfleet; Apache: test/foreign/setup.sh)",
        path.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_have_names() {
        let parse = |name| Server::parse(name, Path::new("z")).map(|server| server.kind);
        assert_eq!(parse("ours").unwrap(), Kind::Zkfleet("z".into()));
        assert_eq!(parse("before=old/zkfleet").unwrap(), Kind::Zkfleet("old/zkfleet".into()));
        assert_eq!(parse("apache-3.9.4").unwrap(), Kind::Apache("3.9.4".to_owned()));
        assert_eq!(parse("floor").unwrap(), Kind::Floor);
        assert!(parse("theirs").is_err());
    }
}
