//! `zkfleet server --accept`: a real process on a directory that lost something refuses to start,
//! names the option that lets it, starts with it once, and never needs it again.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::cell::Cell;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use zk_store::log::put_frame;

/// How long anything may take: test machines are shared.
const PATIENCE: Duration = Duration::from_secs(30);

/// A directory, and whoever serves it.
struct Place {
    dir: TempDir,
    /// Another one at each start.
    port: Cell<u16>,
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Place {
    fn new() -> Place {
        let place = Place { dir: TempDir::new().unwrap(), port: Cell::new(0) };
        let lines = format!(
            "dataDir={}\nclientPort=0\nclientPortAddress=127.0.0.1\n\
             admin.enableServer=false\npreAllocSize=256\n",
            place.dir.path().join("data").display()
        );
        fs::write(place.dir.path().join("zoo.cfg"), lines).unwrap();
        place
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("data/version-2").join(name)
    }

    fn told(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Serves, or the status with which the process ended.
    fn start(&self, accept: &[&str]) -> Result<Running, ExitStatus> {
        let log = File::create(self.dir.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_zkfleet"));
        command.arg("server").args(accept.iter().flat_map(|loss| ["--accept", loss]));
        command.arg(self.dir.path().join("zoo.cfg")).stdout(Stdio::null()).stderr(log);
        let mut running = Running(command.spawn().unwrap());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = running.0.try_wait().unwrap() {
                return Err(status);
            }
            let told = self.told();
            let port = told.split_once("serving clients on port ").map(|(_, rest)| rest);
            if let Some((port, _)) = port.and_then(|rest| rest.split_once(' ')) {
                self.port.set(port.parse().unwrap());
                return Ok(running);
            }
            assert!(Instant::now() < deadline, "neither up nor ended: {}", self.told());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The output of a command of the shell, if it succeeded.
    fn shell(&self, words: &[&str]) -> Option<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zkfleet"));
        command.args(["shell", "-server", &format!("127.0.0.1:{}", self.port.get())]).args(words);
        let output = command.output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// Five znodes, and a log that ends with them.
    fn fill(&self) {
        let mut running = self.start(&[]).unwrap();
        for n in 0..5 {
            self.shell(&["create", &format!("/n{n}"), "data"]).unwrap();
        }
        // Not killed: the end of the log is then known.
        let pid = running.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(running.0.wait().unwrap().success());
    }

    /// Changes the first log's records; each is one element, its frame included.
    fn change_log(&self, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
        let mut bytes = fs::read(self.file("log.1")).unwrap();
        let (mut records, mut at) = (Vec::new(), 16);
        loop {
            let len = u32::from_be_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
            if len == 0 {
                break;
            }
            records.push(bytes[at..at + len + 13].to_vec());
            at += len + 13;
        }
        change(&mut records);
        let changed = records.concat();
        bytes[16..at].fill(0);
        bytes[16..16 + changed.len()].copy_from_slice(&changed);
        fs::write(self.file("log.1"), bytes).unwrap();
    }
}

/// Refused and told how; served with it; then without, and no more with it.
fn check(place: &Place, named: &str, accept: &[&str], is_left: &[&str], is_lost: &[&str]) {
    assert_eq!(place.start(&[]).err().and_then(|status| status.code()), Some(1));
    let advice = format!("--accept {named}");
    assert!(place.told().contains(&advice), "{advice}: {}", place.told());
    let running = place.start(accept).unwrap_or_else(|_| panic!("{}", place.told()));
    let told = place.told();
    let loud = |line: &str| line.contains("ERROR") && line.contains("let pass on explicit order");
    assert!(told.lines().any(loud), "{told}");
    for path in is_left {
        assert!(place.shell(&["get", path]).is_some(), "{path} is lost");
    }
    for path in is_lost {
        assert!(place.shell(&["get", path]).is_none(), "{path} is there");
    }
    place.shell(&["create", "/later", "data"]).unwrap();
    drop(running);

    let running = place.start(&[]).unwrap_or_else(|_| panic!("{}", place.told()));
    assert!(place.shell(&["get", "/later"]).is_some());
    drop(running);
    assert_eq!(place.start(accept).err().and_then(|status| status.code()), Some(2));
    assert!(place.told().contains("start without it"), "{}", place.told());
}

#[test]
fn missing_log() {
    let place = Place::new();
    place.fill();
    fs::remove_file(place.file("log.1")).unwrap();
    check(&place, "missing-log", &["missing-log"], &[], &["/n0"]);
}

#[test]
fn a_snapshot_alone_is_restored() {
    let from = Place::new();
    from.fill();
    let to = Place::new();
    fs::create_dir_all(to.file("")).unwrap();
    let name = snapshot(&from);
    fs::copy(from.file(&name), to.file(&name)).unwrap();
    check(&to, "missing-log", &["missing-log"], &["/n0", "/n4"], &[]);
}

/// Has the server write a snapshot of everything; its name.
fn snapshot(place: &Place) -> String {
    let cfg = place.dir.path().join("zoo.cfg");
    let lines = fs::read_to_string(&cfg).unwrap();
    fs::write(&cfg, format!("{lines}snapCount=2\n")).unwrap();
    let _running = place.start(&[]).unwrap();
    let newest = || {
        let names = fs::read_dir(place.file("")).unwrap().map(|file| file.unwrap().file_name());
        let names = names.filter_map(|name| name.into_string().ok());
        names.filter(|name| name.starts_with("snapshot.") && name != "snapshot.0").max()
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        place.shell(&["set", "/", "data"]).unwrap();
        if let Some(name) = newest() {
            return name;
        }
        assert!(Instant::now() < deadline, "no snapshot: {}", place.told());
    }
}

#[test]
fn cut_newest_log() {
    let place = Place::new();
    place.fill();
    place.change_log(|records| {
        let last_create = records.iter().rposition(|r| r.windows(3).any(|w| w == b"/n4")).unwrap();
        records[last_create][40] ^= 1;
    });
    // What is not needed now would hide what comes later.
    let too_much = place.start(&["cut-newest-log,gaps"]).err();
    assert_eq!(too_much.and_then(|status| status.code()), Some(2), "{}", place.told());
    assert!(place.told().contains("nothing is lost that --accept gaps"), "{}", place.told());
    check(&place, "cut-newest-log", &["cut-newest-log"], &["/n0", "/n3"], &["/n4"]);
}

/// Nothing is wrong with the records: what is cut is kept, and a repair of that is whole.
#[test]
fn what_is_cut_is_kept() {
    let place = Place::new();
    place.fill();
    let mut bytes = fs::read(place.file("log.1")).unwrap();
    bytes[0] = b'[';
    fs::write(place.file("log.1"), &bytes).unwrap();
    assert_eq!(place.start(&[]).err().and_then(|status| status.code()), Some(1));
    let told = place.told();
    let order = ["--repair-to NEW", "try that first", "--accept cut-newest-log", "zkfleet.cut.log"];
    let found: Vec<usize> = order.iter().map(|words| told.find(words).expect(words)).collect();
    assert!(found.is_sorted(), "{told}");
    drop(place.start(&["cut-newest-log"]).unwrap_or_else(|_| panic!("{}", place.told())));
    assert!(place.told().contains("as it was it is kept as"), "{}", place.told());
    assert!(fs::read(place.file("zkfleet.cut.log.1")).unwrap() == bytes);
}

#[test]
fn gaps() {
    let place = Place::new();
    place.fill();
    place.change_log(|records| {
        let at = records.iter().position(|r| r.windows(3).any(|w| w == b"/n2")).unwrap();
        records.remove(at);
    });
    // What was missing changed the tree, and the log is shorter than its mark.
    // The first refusal names all of it, and each part alone is not enough.
    let all = "gaps,digest,cut-newest-log";
    for part in ["gaps", "digest", "gaps,cut-newest-log"] {
        assert_eq!(place.start(&[part]).err().and_then(|status| status.code()), Some(1));
        assert!(place.told().contains(&format!("--accept {all}`")), "{part}: {}", place.told());
    }
    check(&place, all, &[all], &["/n0", "/n1", "/n3", "/n4"], &["/n2"]);
}

#[test]
fn nothing_is_advised_that_does_not_help() {
    let place = Place::new();
    place.fill();
    place.change_log(|records| {
        let at = records.iter().position(|r| r.windows(3).any(|w| w == b"/n2")).unwrap();
        // The next one twice, with other content: nothing lets that pass.
        let mut again = records[at + 1][12..records[at + 1].len() - 1].to_vec();
        let len = again.len();
        again[len - 1] ^= 1;
        let mut record = Vec::new();
        put_frame(&mut record, &again);
        records.insert(at + 2, record);
        records.remove(at);
    });
    assert_eq!(place.start(&[]).err().and_then(|status| status.code()), Some(1));
    let told = place.told();
    assert!(told.contains("no --accept helps") && told.contains("is no copy"), "{told}");
}

#[test]
fn digest() {
    let place = Place::new();
    place.fill();
    place.change_log(|records| {
        let record = records.iter_mut().find(|r| r.windows(3).any(|w| w == b"/n2")).unwrap();
        let at = record.windows(3).position(|w| w == b"/n2").unwrap();
        record[at + 2] = b'x';
        let payload = record[12..record.len() - 1].to_vec();
        record.clear();
        put_frame(record, &payload);
    });
    check(&place, "digest", &["digest"], &["/n0", "/nx", "/n4"], &["/n2"]);
}

#[test]
fn there_is_no_setting_for_it() {
    let place = Place::new();
    place.fill();
    fs::remove_file(place.file("log.1")).unwrap();
    let cfg = place.dir.path().join("zoo.cfg");
    let lines = fs::read_to_string(&cfg).unwrap();
    fs::write(&cfg, format!("{lines}accept=missing-log\nzookeeper.accept=missing-log\n")).unwrap();
    assert_eq!(place.start(&[]).err().and_then(|status| status.code()), Some(1));
    assert_eq!(place.start(&["everything"]).err().and_then(|status| status.code()), Some(2));
}
