//! A server process on a directory of its own.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Engine, Error, PATIENCE, four_letter_word};

/// Between two looks at something that is about to happen.
const POLL: Duration = Duration::from_millis(10);

/// What to start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerConfig {
    /// Which server.
    pub engine: Engine,
    /// Lines of `zoo.cfg` after `dataDir` and `clientPort`, which the testkit chooses. Those that
    /// begin with `java.` are properties of the JVM, too.
    pub lines: Vec<String>,
    /// Java system properties; ours finds them as lines of its `zoo.cfg`.
    pub properties: Vec<(String, String)>,
    /// What the file `myid` says; there is none without.
    pub myid: Option<i64>,
}

impl ServerConfig {
    /// A standalone server with half-second ticks and every four-letter word allowed.
    #[must_use]
    pub fn new(engine: Engine) -> ServerConfig {
        let lines = ["tickTime=500", "maxClientCnxns=0", "4lw.commands.whitelist=*"];
        let lines = lines.map(String::from).to_vec();
        ServerConfig { engine, lines, properties: Vec::new(), myid: None }
    }

    /// All Java system properties.
    fn properties(&self) -> Vec<(String, String)> {
        let lines = self.lines.iter().filter(|line| line.starts_with("java."));
        let named = lines.filter_map(|line| line.split_once('='));
        let named = named.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.properties.iter().cloned().chain(named).collect()
    }
}

/// A running server. Dropping it kills the process and removes its files.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    dir: TempDir,
    port: u16,
    /// What the present `zoo.cfg` was made from: a server that changes it keeps what it wrote.
    written: Option<(ServerConfig, u16)>,
    child: Option<Child>,
}

impl Server {
    /// Starts a server on an empty directory and waits until it serves.
    pub fn start(config: ServerConfig) -> Result<Server, Error> {
        let mut dir = TempDir::with_prefix("zkfleet-test-")?;
        dir.disable_cleanup(std::env::var_os("ZKFLEET_KEEP").is_some());
        let mut server = Server { config, dir, port: 0, written: None, child: None };
        // Between choosing a port and binding it somebody else may take it.
        let mut tries = 3;
        loop {
            server.port = free_port()?;
            tries -= 1;
            match server.run() {
                Err(Error::NotUp { tail, .. }) if tries > 0 && tail.contains("in use") => {
                    // Nobody need look at that.
                    fs::remove_file(server.log_path())?;
                }
                result => return result.map(|()| server),
            }
        }
    }

    /// Starts it again on the same directory and port, after one of the ways to stop it.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.kill()?;
        self.run()
    }

    /// Starts another engine on the same directory and port: files cross over.
    pub fn restart_as(&mut self, engine: Engine) -> Result<(), Error> {
        self.restart_with(engine, self.config.lines.clone())
    }

    /// The same, with other lines of `zoo.cfg`.
    pub fn restart_with(&mut self, engine: Engine, lines: Vec<String>) -> Result<(), Error> {
        self.kill()?;
        self.config.engine = engine;
        self.config.lines = lines;
        self.run()
    }

    /// The lines of its `zoo.cfg` that are not the testkit's.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.config.lines
    }

    /// Other lines, from the next start on.
    pub fn set_lines(&mut self, lines: Vec<String>) {
        self.config.lines = lines;
    }

    fn run(&mut self) -> Result<(), Error> {
        self.launch()?;
        self.wait_until_up()
    }

    /// Starts the process, and does not wait for it: a member of an ensemble may never serve.
    pub fn launch(&mut self) -> Result<(), Error> {
        let cfg = self.write_config()?;
        let log = OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let mut command = self.config.engine.command(&cfg, &self.config.properties())?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.current_dir(self.dir.path());
        self.child = Some(command.spawn().map_err(|e| Error::Missing {
            engine: self.config.engine,
            why: format!("{}: {e}", command.get_program().display()),
        })?);
        Ok(())
    }

    fn write_config(&mut self) -> Result<PathBuf, Error> {
        let path = self.dir.path().join("zoo.cfg");
        let wanted = (self.config.clone(), self.port);
        if self.written.as_ref() == Some(&wanted) {
            return Ok(path);
        }
        if let Some(myid) = self.config.myid {
            fs::create_dir_all(self.data_dir())?;
            fs::write(self.data_dir().join("myid"), myid.to_string())?;
        }
        let mut file = File::create(&path)?;
        writeln!(file, "dataDir={}", self.data_dir().display())?;
        writeln!(file, "clientPort={}\nclientPortAddress=127.0.0.1", self.port)?;
        writeln!(file, "admin.enableServer=false")?;
        for line in &self.config.lines {
            writeln!(file, "{line}")?;
        }
        if !self.config.engine.is_apache() {
            for (name, value) in &self.config.properties {
                writeln!(file, "{name}={value}")?;
            }
        }
        self.written = Some(wanted);
        Ok(path)
    }

    /// Waits until it serves.
    pub fn wait_until_up(&mut self) -> Result<(), Error> {
        let addr = self.addr();
        let started = Instant::now();
        loop {
            // srvr is in every server's default whitelist.
            let answer = four_letter_word(addr, b"srvr", Duration::from_secs(2));
            if answer.is_ok_and(|text| String::from_utf8_lossy(&text).contains("Mode:")) {
                return Ok(());
            }
            let why = match self.exit_status()? {
                Some(status) => format!("{status}"),
                None if started.elapsed() > PATIENCE => format!("no srvr in {PATIENCE:?}"),
                None => {
                    thread::sleep(POLL);
                    continue;
                }
            };
            self.kill()?;
            let tail = self.log_tail(30);
            let log = self.log_path();
            return Err(Error::NotUp { engine: self.config.engine, why, log, tail });
        }
    }

    /// Which server this is.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.config.engine
    }

    /// Where clients connect.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// `dataDir`; logs and snapshots are in `version-2` below it.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The process id, if it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The file with everything this engine's processes printed.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.dir.path().join(format!("server-{}.log", self.config.engine))
    }

    /// The last lines of what the process printed.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let all = text.lines().collect::<Vec<_>>();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Lines of the log that a person would have to look at: errors and panics. Those of Apache are
    /// not judged.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        if self.config.engine.is_apache() {
            return Vec::new();
        }
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let bad = |line: &&str| line.contains(" ERROR ") || line.contains("panicked at");
        text.lines().filter(bad).map(str::to_owned).collect()
    }

    /// How the process ended, or `None` while it runs.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>, Error> {
        Ok(match &mut self.child {
            Some(child) => child.try_wait()?,
            None => None,
        })
    }

    /// kill -9, and waits for the end. Nothing to do if it does not run.
    pub fn kill(&mut self) -> Result<(), Error> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(&mut self) -> Result<ExitStatus, Error> {
        self.signal(Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.exit_status()? {
                self.child = None;
                return Ok(status);
            }
            thread::sleep(POLL);
        }
        self.kill()?;
        Err(Error::Silence(PATIENCE))
    }

    /// SIGSTOP: the process lives on, but does nothing. Its threads stop one by one after the
    /// signal is sent; this waits for the last.
    pub fn pause(&self) -> Result<(), Error> {
        self.signal(Signal::STOP)?;
        let pid = self.pid().ok_or(Error::Stopped)?;
        let deadline = Instant::now() + PATIENCE;
        while !threads_are_stopped(pid)? {
            if Instant::now() > deadline {
                return Err(Error::Silence(PATIENCE));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<(), Error> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        let child = self.child.as_ref().ok_or(Error::Stopped)?;
        Ok(kill_process(Pid::from_child(child), signal).map_err(std::io::Error::from)?)
    }
}

/// Whether all threads of a process are stopped by a signal; one that has ended meanwhile is.
fn threads_are_stopped(pid: u32) -> Result<bool, Error> {
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let Ok(stat) = fs::read_to_string(thread?.path().join("stat")) else { continue };
        // The state stands behind the name, which may hold anything.
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        if !matches!(state, Some('T' | 'Z' | 'X')) {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Drop for Server {
    fn drop(&mut self) {
        // A process that is already gone is what is wanted here.
        let _ = self.kill();
    }
}

/// Below the ports that the system gives to connections that go out: one of those may be taken by
/// any client before a server that was stopped binds its own again.
const PORTS: std::ops::Range<u16> = 10_240..32_000;

/// A port of 127.0.0.1 that was free a moment ago, for those who cannot be given port 0: somebody
/// else may take it before it is bound.
pub fn free_port() -> Result<u16, Error> {
    static TURN: AtomicU64 = AtomicU64::new(0);
    let mut last = std::io::Error::from(std::io::ErrorKind::AddrInUse);
    for _ in 0..1_000 {
        // Processes that run beside this one begin elsewhere.
        let turn = TURN.fetch_add(1, Ordering::Relaxed);
        let seed = (u64::from(std::process::id()) << 20) + turn;
        let spread = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let port = PORTS.start + (spread % u64::from(PORTS.end - PORTS.start)) as u16;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(last.into())
}
