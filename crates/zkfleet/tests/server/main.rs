//! `zkfleet server` used wrongly: it ends at once, with the exit code that `--help` tells, and its
//! last words say what failed, where, and what to do.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod memory;

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use zk_testkit::{Client, Engine, Error, PATIENCE, Server, ServerConfig, four_letter_word};

/// Between two looks.
const POLL: Duration = Duration::from_millis(5);
/// Who has no rights anywhere.
const NOBODY: u32 = 65_534;

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already, if the test passes.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where a server is to start and cannot.
struct Place {
    dir: TempDir,
    binary: PathBuf,
    is_nobody: bool,
}

impl Place {
    fn new() -> Place {
        let binary = env!("CARGO_BIN_EXE_zkfleet").into();
        Place { dir: TempDir::new().unwrap(), binary, is_nobody: false }
    }

    /// As `new`, but file modes hold for the server, also where this test is root.
    fn without_rights() -> Place {
        let mut place = Place::new();
        place.is_nobody = fs::metadata("/proc/self").unwrap().uid() == 0;
        fs::set_permissions(place.dir.path(), Permissions::from_mode(0o755)).unwrap();
        if place.is_nobody {
            // The folder of the build may be closed to nobody.
            let copy = place.path("zkfleet");
            fs::copy(&place.binary, &copy).unwrap();
            place.binary = copy;
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A configuration that works, with these lines behind it.
    fn config(&self, lines: &str) -> PathBuf {
        let text = format!(
            "dataDir={}\nclientPort=0\nclientPortAddress=127.0.0.1\n\
             admin.enableServer=false\npreAllocSize=256\n{lines}",
            self.path("data").display()
        );
        fs::write(self.path("zoo.cfg"), text).unwrap();
        self.path("zoo.cfg")
    }

    fn spawn(&self, arguments: &[&str]) -> Running {
        let mut command = Command::new(&self.binary);
        command.arg("server").args(arguments).stdout(Stdio::null());
        command.stderr(File::create(self.path("log")).unwrap()).current_dir(&self.dir);
        if self.is_nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match command.spawn() {
                Ok(child) => return Running(child),
                // A process that another test starts right now holds the copy open for a moment.
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                    assert!(Instant::now() < deadline, "{error}");
                    std::thread::sleep(POLL);
                }
                Err(error) => panic!("{}: {error}", self.binary.display()),
            }
        }
    }

    /// The same by a program that becomes the server.
    fn spawn_by(&self, words: &[&str], config: &Path) -> Running {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(&self.binary).arg("server").arg(config);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(self.path("log")).unwrap());
        Running(command.spawn().unwrap())
    }

    fn said(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Where it serves clients, as soon as it does.
    fn addr(&self) -> SocketAddr {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(addr) = addr_in(&self.said()) {
                return addr;
            }
            assert!(Instant::now() < deadline, "it does not serve: {}", self.said());
            std::thread::sleep(POLL);
        }
    }

    /// The exit code; it must end by itself.
    fn ended(&self, running: &mut Running) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = running.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end: {}", self.said());
            std::thread::sleep(POLL);
        }
    }

    /// With a configuration that has these lines, it must end so.
    #[track_caller]
    fn refuses(&self, lines: &str, code: i32, wanted: &[&str]) {
        let config = self.config(lines);
        self.refuses_with(&[config.to_str().unwrap()], code, wanted);
    }

    #[track_caller]
    fn refuses_with(&self, arguments: &[&str], code: i32, wanted: &[&str]) {
        let ended = self.ended(&mut self.spawn(arguments));
        let said = self.said();
        assert_eq!(ended, Some(code), "{arguments:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("serving clients"), "{said}");
        for words in wanted {
            assert!(said.contains(words), "no {words:?} in:\n{said}");
        }
    }
}

/// Where a server says that it serves clients.
fn addr_in(said: &str) -> Option<SocketAddr> {
    let (_, rest) = said.split_once("serving clients on port ")?;
    let (port, _) = rest.split_once(' ')?;
    Some((Ipv4Addr::LOCALHOST, port.parse().ok()?).into())
}

#[test]
fn the_command_line() {
    let place = Place::new();
    let config = place.config("").display().to_string();
    for (arguments, wanted) in [
        (vec![], "<ZOO.CFG>"),
        (vec![&*config, "another"], "unexpected argument 'another'"),
        (vec!["--frobnicate", &config], "unexpected argument '--frobnicate'"),
        (vec!["--accept", "everything", &config], "everything"),
        (vec!["--log-format", "xml", &config], "[possible values: text, json]"),
    ] {
        place.refuses_with(&arguments, 2, &[wanted]);
    }
}

#[test]
fn a_configuration_that_cannot_be_read() {
    let place = Place::without_rights();
    for (name, why) in [("nowhere.cfg", "No such file"), (".", "Is a directory")] {
        let path = place.path(name).display().to_string();
        let wanted = [&*format!("cannot read {path}"), why, "check the path and its permissions"];
        place.refuses_with(&[&path], 2, &wanted);
    }
    let config = place.config("");
    fs::set_permissions(&config, Permissions::from_mode(0o000)).unwrap();
    place.refuses_with(&[config.to_str().unwrap()], 2, &["cannot read", "Permission denied"]);
}

#[test]
fn a_configuration_with_mistakes_is_told_all_of_them() {
    let place = Place::new();
    place.refuses(
        "tickTime=soon\nclientPort=99999\nskipACL=yes\ntickTimme=3\n",
        2,
        &[
            "zoo.cfg:6: error: tickTime = soon: it must be a whole number",
            "zoo.cfg:7: error: clientPort = 99999",
            "zoo.cfg:8: error: skipACL = yes",
            "start with --unsafe",
            "zoo.cfg:9: warning: tickTimme",
            "tickTime",
        ],
    );
    let empty = place.path("empty.cfg");
    fs::write(&empty, "").unwrap();
    let wanted = ["dataDir is not set; name", "neither clientPort nor secureClientPort is set"];
    place.refuses_with(&[empty.to_str().unwrap()], 2, &wanted);
    fs::write(&empty, b"\xff\xfe\0\x01").unwrap();
    place.refuses_with(&[empty.to_str().unwrap()], 2, &wanted);
    let secret = place.path("no-secret").display().to_string();
    place.refuses(
        &format!("sessionPassword=hmac\nsessionPasswordFile={secret}\n"),
        2,
        &["cannot read the session secret", &secret, "see sessionPasswordFile"],
    );
    // Neither hidden as if it were the secret, nor followed by errors about what it is not.
    place.refuses(
        &format!("sessionPassword=hmca\nsessionPasswordFile={secret}\n"),
        2,
        &["zoo.cfg:6: error: sessionPassword = hmca: it must be one of: apache, hmac"],
    );
    assert!(!place.said().contains("sessionPasswordFile is set"), "{}", place.said());
    let wanted = "a secret of at least 16 random bytes";
    place.refuses("sessionPassword=hmac\n", 2, &[wanted, "sessionPasswordFile is not set"]);
    fs::write(&secret, "fifteen bytes..\n").unwrap();
    let lines = format!("sessionPassword=hmac\nsessionPasswordFile={secret}\n");
    place.refuses(&lines, 2, &["has 15 bytes", "16 are needed"]);
}

#[test]
fn a_secret_that_others_can_read() {
    let place = Place::new();
    let secret = place.path("secret");
    fs::write(&secret, "sixteen bytes...\n").unwrap();
    let secret_at = secret.display();
    let config = place.config(&format!("sessionPassword=hmac\nsessionPasswordFile={secret_at}\n"));
    for (mode, is_told) in [(0o644, true), (0o640, true), (0o600, false), (0o400, false)] {
        fs::set_permissions(&secret, Permissions::from_mode(mode)).unwrap();
        let running = place.spawn(&[config.to_str().unwrap()]);
        place.addr();
        let said = place.said();
        let warned = format!("the session secret {secret_at} has mode {mode:03o}");
        assert_eq!(said.contains(&warned) && said.contains("chmod 600"), is_told, "{said}");
        drop(running);
    }
}

#[test]
fn users_and_keys_that_others_can_read() {
    let place = Place::new();
    let (users, store) = (place.path("users.jaas"), place.path("server.pem"));
    fs::write(&users, "Server { x.DigestLoginModule required user_bob=\"b\"; };\n").unwrap();
    let stores = Path::new(env!("CARGO_MANIFEST_DIR")).join("../zk-server/src/tls/testdata/stores");
    let lines = format!(
        "sasl.usersFile={}\nssl.keyStore.location={}\nssl.keyStore.password=changeit\n\
         ssl.clientAuth=none\nclient.portUnification=true\n",
        users.display(),
        store.display()
    );
    let config = place.config(&lines);
    for (name, mode, told) in [
        ("server.pem", 0o644, [true, true]),
        ("server.pem", 0o600, [false, false]),
        // Its password keeps it.
        ("server-encrypted.pem", 0o644, [true, false]),
    ] {
        fs::copy(stores.join(name), &store).unwrap();
        for file in [&users, &store] {
            fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
        }
        let running = place.spawn(&[config.to_str().unwrap()]);
        place.addr();
        let said = place.said();
        let warned = [("the file of users", &users), ("the private key in", &store)];
        let warned = warned
            .map(|(what, file)| said.contains(&format!("{what} {} has mode 644", file.display())));
        assert_eq!(warned, told, "{name} {mode:o}: {said}");
        drop(running);
    }
}

#[test]
fn a_port_in_use_and_an_address_of_nobody() {
    let place = Place::new();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let at = format!("127.0.0.1:{port}: Address already in use");
    place.refuses(
        &format!("clientPort={port}\n"),
        1,
        &[&format!("cannot listen on {at}"), "is another server running there?"],
    );
    place.refuses(
        &format!(
            "admin.enableServer=true\nadmin.serverAddress=127.0.0.1\nadmin.serverPort={port}\n"
        ),
        4,
        &[&format!("cannot open the admin server on {at}"), "set admin.serverPort or admin.enable"],
    );
    place.refuses(
        &format!(
            "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.\
             PrometheusMetricsProvider\nmetricsProvider.httpHost=127.0.0.1\n\
             metricsProvider.httpPort={port}\n"
        ),
        4,
        &[&format!("cannot serve metrics on {at}"), "set metricsProvider.httpPort"],
    );
    // An address for documentation, which no machine has.
    place.refuses(
        "clientPortAddress=192.0.2.1\n",
        1,
        &["cannot listen on 192.0.2.1:", "the address must be one of this machine's"],
    );
}

#[test]
fn a_directory_that_another_server_has() {
    let first = Server::start(ServerConfig::new(Engine::Ours)).unwrap();
    let dir = first.data_dir().display().to_string();
    let place = Place::new();
    place.refuses(
        &format!("dataDir={dir}\n"),
        3,
        &[&format!("{dir} is in use by another server"), "stop that one, or give this one"],
    );
    // As a log directory, too.
    place.refuses(&format!("dataLogDir={dir}\n"), 3, &[&dir, "is in use by another server"]);
    assert_eq!(four_letter_word(first.addr(), b"ruok", PATIENCE).unwrap(), b"imok");
}

#[test]
fn a_directory_that_is_none() {
    let place = Place::new();
    let file = place.path("file");
    fs::write(&file, "").unwrap();
    for dir in [file.clone(), file.join("below")] {
        let dir = dir.display();
        let wanted = [&*format!("{dir}/version-2"), "Not a directory", "it must be a directory"];
        place.refuses(&format!("dataDir={dir}\n"), 3, &wanted);
        place.refuses(&format!("dataLogDir={dir}\n"), 3, &wanted);
    }
}

#[test]
fn a_directory_that_cannot_be_written() {
    let place = Place::without_rights();
    let data = place.path("data");
    fs::create_dir_all(data.join("version-2")).unwrap();
    for path in [&data, &data.join("version-2")] {
        fs::set_permissions(path, Permissions::from_mode(0o555)).unwrap();
    }
    let wanted = ["Permission denied", "in which the server may write", data.to_str().unwrap()];
    place.refuses("", 3, &wanted);
    fs::remove_dir(data.join("version-2")).unwrap();
    place.refuses("", 3, &wanted);
}

#[test]
fn a_disk_that_is_not_mounted() {
    let place = Place::new();
    let (data, log) = (place.path("data"), place.path("log-disk"));
    let closed = "datadir.autocreate=false\n";
    let wanted = |dir: &Path| {
        format!(
            "{}/version-2 does not exist, and zookeeper.datadir.autocreate=false",
            dir.display()
        )
    };
    place.refuses(closed, 3, &[&wanted(&data), "is its disk mounted?"]);
    fs::create_dir_all(data.join("version-2")).unwrap();
    let lines = format!("{closed}dataLogDir={}\n", log.display());
    place.refuses(&lines, 3, &[&wanted(&log), "is its disk mounted?"]);
}

#[test]
fn directories_that_are_swapped() {
    let place = Place::new();
    let (data, log) = (place.path("data/version-2"), place.path("logs/version-2"));
    let lines = format!("dataLogDir={}\n", place.path("logs").display());
    for (dir, name, advice) in [
        (&data, "log.1", "move logs to the dataLogDir"),
        (&log, "snapshot.0", "move snapshots to the dataDir"),
    ] {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join(name), "").unwrap();
        place.refuses(&lines, 3, &[dir.to_str().unwrap(), &format!("holds {name}"), advice]);
        fs::remove_file(dir.join(name)).unwrap();
    }
}

/// It serves until it has something to write; then no client is told anything.
#[test]
fn a_disk_that_refuses() {
    let place = Place::new();
    let log = place.path("data/version-2/log.1");
    fs::create_dir_all(&log).unwrap();
    let config = place.config("");
    let mut running = place.spawn(&[config.to_str().unwrap()]);
    let session = Client::connect(place.addr(), 10_000);
    assert!(matches!(session, Err(Error::Closed)), "{session:?}");
    assert_eq!(place.ended(&mut running), Some(10));
    let said = place.said();
    assert!(said.contains("ERROR") && said.contains(log.to_str().unwrap()), "{said}");
}

/// The exit code does not wait for who reads why.
#[test]
fn a_disk_that_refuses_and_a_stderr_that_nobody_reads() {
    let place = Place::new();
    fs::create_dir_all(place.path("data/version-2/log.1")).unwrap();
    let config = place.config("audit.enable=true\n");
    let (mut log, stderr) = UnixStream::pair().unwrap();
    log.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = Command::new(&place.binary);
    command.arg("server").arg(&config).stderr(OwnedFd::from(stderr.try_clone().unwrap()));
    let mut running = Running(command.spawn().unwrap());
    let mut said = Vec::new();
    let addr = loop {
        let mut byte = [0];
        log.read_exact(&mut byte).unwrap();
        said.extend(byte);
        if let Some(addr) = addr_in(&String::from_utf8_lossy(&said)) {
            break addr;
        }
    };
    // From here on nobody reads, and there is no room for a word.
    stderr.set_nonblocking(true).unwrap();
    while (&stderr).write(b"x").is_ok() {}
    stderr.set_nonblocking(false).unwrap();
    let session = Client::connect(addr, 10_000);
    assert!(matches!(session, Err(Error::Closed)), "{session:?}");
    assert_eq!(place.ended(&mut running), Some(10));
    drop(log);
}

/// All there is on disk, and 0.
#[test]
fn told_to_stop() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(ServerConfig::new(Engine::Ours)).unwrap();
        let pid = server.pid().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match server.exit_status().unwrap() {
                Some(status) => break status,
                None => std::thread::sleep(POLL),
            }
            assert!(Instant::now() < deadline, "SIG{signal}: {}", server.log_tail(20));
        };
        let said = server.log_tail(20);
        assert_eq!(status.code(), Some(0), "SIG{signal}: {said}");
        assert!(said.contains(&format!("stopping because of SIG{signal}")), "{said}");
    }
}

fn send(signal: &str, running: &Running) {
    let pid = running.0.id().to_string();
    assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
}

/// Waits until a process has a handler for SIGTERM: signal 15 of the mask.
fn await_handlers(running: &Running) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = fs::read_to_string(format!("/proc/{}/status", running.0.id())).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        if u64::from_str_radix(mask.trim(), 16).unwrap() >> 14 & 1 == 1 {
            return;
        }
        assert!(Instant::now() < deadline, "{status}");
        std::thread::sleep(POLL);
    }
}

/// A pipe that nobody writes to stands for what takes minutes to read.
#[test]
fn told_to_stop_while_it_starts() {
    for (name, signal) in [("zoo.cfg", "TERM"), ("data/version-2/snapshot.0", "INT")] {
        let place = Place::new();
        let config = place.config("");
        fs::create_dir_all(place.path("data/version-2")).unwrap();
        let _ = fs::remove_file(place.path(name));
        assert!(Command::new("mkfifo").arg(place.path(name)).status().unwrap().success());
        let mut running = place.spawn(&[config.to_str().unwrap()]);
        await_handlers(&running);
        send(signal, &running);
        assert_eq!(place.ended(&mut running), Some(0), "{name}: {}", place.said());
        let wanted = format!("stopping because of SIG{signal}, before anybody was served");
        assert!(place.said().contains(&wanted), "{name}: {}", place.said());
    }
}

/// As the end of its terminal does, whatever this test was started with.
#[test]
fn told_to_hang_up() {
    let place = Place::new();
    let config = place.config("");
    let mut running = place.spawn_by(&["env", "--default-signal=HUP"], &config);
    place.addr();
    send("HUP", &running);
    assert_eq!(place.ended(&mut running), Some(0));
    assert!(place.said().contains("stopping because of SIGHUP"), "{}", place.said());
}

#[test]
fn who_starts_it_under_nohup_may_leave() {
    let place = Place::new();
    let config = place.config("");
    let mut running = place.spawn_by(&["nohup"], &config);
    let addr = place.addr();
    send("HUP", &running);
    assert!(four_letter_word(addr, b"srvr", PATIENCE).unwrap().starts_with(b"Zookeeper"));
    send("TERM", &running);
    assert_eq!(place.ended(&mut running), Some(0));
    assert!(place.said().contains("stopping because of SIGTERM"), "{}", place.said());
}

/// The limit would end the process without a word: at the start, or with the first log. A block
/// has 512 bytes in some shells and 1024 in others.
#[test]
fn files_that_may_not_grow() {
    for (blocks, serves) in [("64", false), ("16384", true)] {
        let place = Place::new();
        let config = place.config("preAllocSize=32768\n");
        let limited = format!("ulimit -f {blocks}; exec \"$@\"");
        let mut running = place.spawn_by(&["sh", "-c", &limited, "sh"], &config);
        if serves {
            let session = Client::connect(place.addr(), 10_000);
            assert!(matches!(session, Err(Error::Closed)), "{session:?}");
        }
        assert_eq!(place.ended(&mut running), Some(10), "{}", place.said());
        let said = place.said();
        assert!(said.contains("ERROR") && said.contains("ulimit -f"), "{said}");
    }
}

#[test]
fn every_exit_code_is_told() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_zkfleet")).args(["server", "--help"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, codes) = text.split_once("Exit codes").unwrap();
    for code in [0, 1, 2, 3, 4, 10] {
        let told = |line: &str| line.trim_start().starts_with(&format!("{code}  "));
        assert!(codes.lines().any(told), "{code}: {codes}");
    }
}
