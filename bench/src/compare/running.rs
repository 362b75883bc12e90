//! A server as a process, with its files: started, asked for its figures, killed, started again.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use tempfile::TempDir;

use crate::client::Client;
use crate::compare::server::{Host, Server, zoo_cfg};
use crate::error::{Error, Result};
use crate::proc::Pid;

/// A million znodes from a log take Apache many seconds.
const START_DEADLINE: Duration = Duration::from_secs(180);
/// Apache closes connections that come before its database is loaded; a lost one must not cost more
/// than the answer is worth.
const ANSWER_PATIENCE: Duration = Duration::from_millis(500);
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// A server that runs, with its files. Dropping it kills it and removes them.
pub struct Running {
    server: Server,
    child: Child,
    addr: SocketAddr,
    started: Instant,
    dir: Rc<TempDir>,
}

/// A server whose files are there and whose process is not: members of an ensemble are to start
/// at one moment.
pub struct Prepared {
    server: Server,
    command: Command,
    addr: SocketAddr,
    dir: Rc<TempDir>,
}

impl Prepared {
    /// On a new directory. A member of an ensemble is told its number.
    pub fn new(
        host: &Host,
        server: &Server,
        port: u16,
        further: &[String],
        sid: Option<usize>,
    ) -> Result<Prepared> {
        fs::create_dir_all(&host.dir).map_err(Error::io(format!("make {}", host.dir.display())))?;
        let dir = tempfile::Builder::new()
            .prefix(&format!("{}-", server.name))
            .disable_cleanup(host.keep)
            .tempdir_in(&host.dir)
            .map_err(Error::io(format!("make a directory in {}", host.dir.display())))?;
        let data = dir.path().join("data");
        fs::create_dir(&data).map_err(Error::io("make dataDir"))?;
        if let Some(sid) = sid {
            fs::write(data.join("myid"), format!("{sid}\n")).map_err(Error::io("write myid"))?;
        }
        Prepared::on(host, server, port, further, Rc::new(dir))
    }

    fn on(
        host: &Host,
        server: &Server,
        port: u16,
        further: &[String],
        dir: Rc<TempDir>,
    ) -> Result<Prepared> {
        let lines: Vec<String> = host.config.iter().chain(further).cloned().collect();
        fs::write(dir.path().join("zoo.cfg"), zoo_cfg(dir.path(), port, &lines))
            .map_err(Error::io("write zoo.cfg"))?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(dir.path().join("log"))
            .map_err(Error::io("make the server's log"))?;
        let errors = log.try_clone().map_err(Error::io("make the server's log"))?;
        let mut command = server.command(host, dir.path(), port)?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors).current_dir(dir.path());
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Prepared { server: server.clone(), command, addr, dir })
    }

    /// What an earlier server left to be written back is not the next one's to pay.
    pub fn settle_disk(&self) -> Result<()> {
        settle_disk(self.dir.path())
    }

    /// Starts it.
    pub fn launch(self) -> Result<Running> {
        let Prepared { server, mut command, addr, dir } = self;
        let started = Instant::now();
        let child = command.spawn().map_err(Error::io(format!("start {}", server.name)))?;
        Ok(Running { server, child, addr, started, dir })
    }
}

impl Running {
    /// Kills the server (as a crash does), if it still runs, and starts it again on its files.
    pub fn restart(&mut self, host: &Host, further: &[String]) -> Result<()> {
        self.kill();
        let (port, dir) = (self.addr.port(), Rc::clone(&self.dir));
        let prepared = Prepared::on(host, &self.server, port, further, dir)?;
        prepared.settle_disk()?;
        *self = prepared.launch()?;
        Ok(())
    }

    /// Waits until the server answers for `path`; returns the time since its start.
    pub fn first_answer(&mut self, path: &str) -> Result<Duration> {
        let (addr, started) = (self.addr, self.started);
        let alive = || self.check_alive();
        let at = Client::first(&[addr], START_DEADLINE, ANSWER_PATIENCE, alive, |client| {
            client.exists(path)
        })?;
        Ok(at - started)
    }

    /// When its process was started.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Where its clients connect.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid(self.child.id())
    }

    /// Where snapshots and logs are.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data/version-2")
    }

    /// Removes everything of the history that it has, epochs too. It must not run.
    pub fn wipe(&self) -> Result<()> {
        let dir = self.data_dir();
        fs::remove_dir_all(&dir).map_err(Error::io(format!("remove {}", dir.display())))
    }

    /// Writes back what the system still holds in memory for the disk of its files.
    pub fn settle_disk(&self) -> Result<()> {
        settle_disk(self.dir.path())
    }

    /// Whether its process runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Fails when its process has ended, with its last words.
    pub fn check_alive(&mut self) -> Result<()> {
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
        self.signal(Signal::TERM);
        let deadline = Instant::now() + STOP_DEADLINE;
        while self.is_alive() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Signals the process, which may have ended by itself.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.rustix_pid() {
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends it as a crash does. Its files stay.
    pub fn kill(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn rustix_pid(&self) -> Option<rustix::process::Pid> {
        rustix::process::Pid::from_raw(i32::try_from(self.child.id()).ok()?)
    }
}

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
