//! Directories to look at, ways to damage them, and the binary that looks.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use zk_proto::request::CreateMode;
use zk_testkit::{Client, Engine, PATIENCE, Server, ServerConfig};

/// What a command said.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    fn new(output: Output) -> Said {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Standard output as JSON, one value a line.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

pub(crate) fn zkfleet() -> Command {
    Command::new(env!("CARGO_BIN_EXE_zkfleet"))
}

pub(crate) fn run(arguments: &[&str]) -> Said {
    Said::new(zkfleet().args(arguments).output().unwrap())
}

/// A data directory of its own.
pub(crate) struct Place(TempDir);

impl Place {
    /// What a server of ours leaves after some writes, two snapshots and a stop.
    pub(crate) fn ours() -> Place {
        Place::write(|server| assert!(server.terminate().unwrap().success()))
    }

    /// The same, but the server was killed: its newest log is not closed.
    pub(crate) fn killed() -> Place {
        Place::write(|server| server.kill().unwrap())
    }

    fn write(end: impl FnOnce(&mut Server)) -> Place {
        let mut config = ServerConfig::new(Engine::Ours);
        // A snapshot is due after half of `snapCount` at the earliest: the log that begins with the
        // last one has all that is written at the end.
        config.lines.extend(["preAllocSize=256".to_owned(), "snapCount=100".to_owned()]);
        let mut server = Server::start(config).unwrap();
        let mut client = Client::connect(server.addr(), 30_000).unwrap();
        client.create("/n", b"0", CreateMode::Persistent).unwrap();
        client.create("/secret", b"", CreateMode::Ephemeral).unwrap();
        let (version_2, deadline) =
            (server.data_dir().join("version-2"), Instant::now() + PATIENCE);
        while names(&version_2, "snapshot.").len() < 3 {
            client.set_data("/n", b"until there is a snapshot", -1).unwrap();
            assert!(Instant::now() < deadline, "{}", server.log_tail(20));
            std::thread::sleep(Duration::from_millis(2));
        }
        for i in 0..6u8 {
            client.set_data("/n", &[b'0' + i], -1).unwrap();
        }
        end(&mut server);
        let place = Place(TempDir::new().unwrap());
        copy(&server.data_dir(), &place.dir());
        place
    }

    /// What an Apache left.
    pub(crate) fn apaches(version: &str) -> Place {
        let place = Place(TempDir::new().unwrap());
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../zk-store/testdata").join(version);
        fs::create_dir_all(place.dir().join("version-2")).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), place.dir().join("version-2").join(entry.file_name()))
                    .unwrap();
            }
        }
        place
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.0.path().join("data")
    }

    /// The directory as an argument.
    pub(crate) fn arg(&self) -> String {
        self.dir().display().to_string()
    }

    /// A place beside it that does not exist yet.
    pub(crate) fn beside(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Paths of the files with names that begin so, by their zxid.
    pub(crate) fn files(&self, prefix: &str) -> Vec<PathBuf> {
        names(&self.dir().join("version-2"), prefix)
    }

    /// The newest file whose name begins so.
    pub(crate) fn newest(&self, prefix: &str) -> PathBuf {
        self.files(prefix).pop().unwrap()
    }

    /// Every file and its bytes.
    pub(crate) fn bytes(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let dirs = [self.dir(), self.dir().join("version-2")];
        let entries = dirs.iter().flat_map(|dir| fs::read_dir(dir).unwrap().map(Result::unwrap));
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        files.map(|entry| (entry.path(), fs::read(entry.path()).unwrap())).collect()
    }

    /// Changes the newest log, given where its records begin, and where the last of them ends.
    pub(crate) fn change_log(&self, change: impl FnOnce(&mut Vec<u8>, &[usize])) {
        let path = self.newest("log.");
        let mut bytes = fs::read(&path).unwrap();
        let mut at = vec![16];
        loop {
            let begin = *at.last().unwrap();
            let len = u32::from_be_bytes(bytes[begin + 8..begin + 12].try_into().unwrap());
            if len == 0 {
                break;
            }
            at.push(begin + len as usize + 13);
        }
        change(&mut bytes, &at);
        fs::write(path, bytes).unwrap();
    }

    /// Changes a byte of a file.
    pub(crate) fn flip(&self, path: &Path, at: usize) {
        let mut bytes = fs::read(path).unwrap();
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    }
}

fn names(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let zxid = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?.strip_prefix(prefix)?;
        i64::from_str_radix(name.split('.').next()?, 16).ok()
    };
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files = entries.filter_map(|path| Some((zxid(&path)?, path))).collect::<Vec<_>>();
    files.sort();
    files.into_iter().map(|(_, path)| path).collect()
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
