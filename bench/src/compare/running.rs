//! A server as a process, with its files: started, asked for its figures, killed, started again.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use tempfile::TempDir;

use crate::client::Client;
use crate::compare::check_of;
use crate::compare::server::{Host, Server, zoo_cfg};
use crate::error::{Error, Result};
use crate::metric::megabytes;
use crate::net::free_port;
use crate::proc::{Pid, rss_bytes};
use crate::run::Target;

/// A million znodes from a log take Apache many seconds.
const START_DEADLINE: Duration = Duration::from_secs(180);
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// A server that runs, with its files. Dropping it kills it and removes them.
pub struct Running {
    server: Server,
    child: Child,
    addr: SocketAddr,
    started: Instant,
    dir: Rc<TempDir>,
}

impl Running {
    /// Starts a server on a new directory.
    pub fn start(host: &Host, server: &Server, further: &[String]) -> Result<Running> {
        fs::create_dir_all(&host.dir).map_err(Error::io(format!("make {}", host.dir.display())))?;
        let dir = tempfile::Builder::new()
            .prefix(&format!("{}-", server.name))
            .disable_cleanup(host.keep)
            .tempdir_in(&host.dir)
            .map_err(Error::io(format!("make a directory in {}", host.dir.display())))?;
        Running::start_in(host, server, further, Rc::new(dir))
    }

    fn start_in(
        host: &Host,
        server: &Server,
        further: &[String],
        dir: Rc<TempDir>,
    ) -> Result<Running> {
        let port = free_port()?;
        let lines: Vec<String> = host.config.iter().chain(further).cloned().collect();
        let config = dir.path().join("zoo.cfg");
        fs::create_dir_all(dir.path().join("data")).map_err(Error::io("make dataDir"))?;
        fs::write(&config, zoo_cfg(dir.path(), port, &lines))
            .map_err(Error::io("write zoo.cfg"))?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(dir.path().join("log"))
            .map_err(Error::io("make the server's log"))?;
        let errors = log.try_clone().map_err(Error::io("make the server's log"))?;
        let mut command = server.command(host, dir.path(), port)?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors).current_dir(dir.path());
        settle_disk(dir.path())?;
        let started = Instant::now();
        let child = command.spawn().map_err(Error::io(format!("start {}", server.name)))?;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Running { server: server.clone(), child, addr, started, dir })
    }

    /// Kills the server (as a crash does) and starts it again on its files.
    pub fn restart(mut self, host: &Host, further: &[String]) -> Result<Running> {
        self.kill();
        Running::start_in(host, &self.server, further, Rc::clone(&self.dir))
    }

    /// Waits until the server answers for `path`; returns the time since its start.
    pub fn first_answer(&mut self, path: &str) -> Result<Duration> {
        let (addr, started) = (self.addr, self.started);
        let at = Client::first_answer(addr, path, START_DEADLINE, || self.check_alive())?;
        Ok(at - started)
    }

    /// The load's view of it.
    #[must_use]
    pub fn target(&self) -> Target {
        Target { addrs: vec![self.addr], pids: vec![self.pid()], check: check_of(&self.server) }
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid(self.child.id())
    }

    /// Its resident memory in MB.
    pub fn rss_mb(&self) -> Result<f64> {
        rss_bytes(&[self.pid()]).map(megabytes)
    }

    /// Where snapshots and logs are.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data/version-2")
    }

    /// Writes back what the system still holds in memory for the disk of its files.
    pub fn settle_disk(&self) -> Result<()> {
        settle_disk(self.dir.path())
    }

    /// Whether its process runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.ended(status)),
            Err(e) => Err(Error::io("look after the server")(e)),
        }
    }

    fn ended(&self, status: ExitStatus) -> Error {
        let what = format!("ended with {status}, saying: {}", self.last_words());
        Error::Server { server: self.server.name.clone(), what, log: self.log() }
    }

    /// The end of its log. The log itself goes away with this value.
    #[must_use]
    pub fn last_words(&self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Asks it to end, and kills it when it does not.
    pub fn stop(mut self) {
        if let Some(pid) = self.rustix_pid() {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + STOP_DEADLINE;
        while self.is_alive() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn kill(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn rustix_pid(&self) -> Option<rustix::process::Pid> {
        rustix::process::Pid::from_raw(i32::try_from(self.child.id()).ok()?)
    }
}

/// What an earlier server left to be written back is not the next one's to pay.
fn settle_disk(dir: &Path) -> Result<()> {
    let doing = format!("sync the disk of {}", dir.display());
    File::open(dir)
        .and_then(|dir| rustix::fs::syncfs(&dir).map_err(Into::into))
        .map_err(Error::io(doing))
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
