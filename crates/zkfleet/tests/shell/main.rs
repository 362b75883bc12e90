//! `zkfleet shell` against real servers, ours and Apache's.
//!
//! `commands.txt` is a transcript: `$` a command line, `=` its exit code if that is not 0, `!` what
//! went to standard error, the rest what went to standard output. It holds for every server; what
//! differs from run to run (zxids, times) is masked. `UPDATE_EXPECT=1` writes it anew.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod encoding;
mod size;

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use expect_test::expect_file;
use zk_testkit::{Client, Engine, Server, ServerConfig, apache_or_skip};

/// A server of this make, if there is one here. TTL znodes are on.
fn serve(engine: Engine) -> Option<Server> {
    if engine.is_apache() && !apache_or_skip(engine) {
        return None;
    }
    let mut config = ServerConfig::new(engine);
    config.properties.push(("zookeeper.extendedTypesEnabled".to_owned(), "true".to_owned()));
    Some(Server::start(config).unwrap())
}

fn shell(server: &Server, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zkfleet"));
    command.args(["shell", "-server", &server.addr().to_string()]).args(options).env("TZ", "UTC");
    command
}

/// Commands on standard input.
fn pipe(server: &Server, lines: &[&str]) -> Output {
    pipe_to(&server.addr().to_string(), &[], lines)
}

fn pipe_to(address: &str, options: &[&str], lines: &[&str]) -> Output {
    pipe_bytes(address, options, lines.join("\n").as_bytes())
}

fn pipe_bytes(address: &str, options: &[&str], bytes: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_zkfleet"))
        .args(["shell", "-server", address])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(bytes).unwrap();
    drop(input);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Words behind `Zxid = ` and `time = `, and those of JSON, differ from run to run.
fn mask(line: &str) -> String {
    for key in ["cZxid = ", "mZxid = ", "pZxid = ", "ctime = ", "mtime = ", "ephemeralOwner = 0x1"]
    {
        if line.starts_with(key) {
            return format!("{key}...");
        }
    }
    let mut line = line.to_owned();
    for key in
        ["\"czxid\":", "\"mzxid\":", "\"pzxid\":", "\"zxid\":", "\"ctime_ms\":", "\"mtime_ms\":"]
    {
        if let Some(at) = line.find(key).map(|at| at + key.len()) {
            let end = line[at..].find([',', '}']).map_or(line.len(), |end| at + end);
            line.replace_range(at..end, "...");
        }
    }
    line
}

fn run(server: &Server, line: &str) -> String {
    let words = line.split_whitespace().map(|word| word.replace('_', " ")).collect::<Vec<_>>();
    let words = words.iter().map(String::as_str).collect::<Vec<_>>();
    let output = shell(server, &words).output().unwrap();
    let mut told = format!("$ {line}\n");
    for line in text(&output.stdout).lines() {
        told.push_str(&format!("{}\n", mask(line)));
    }
    for line in text(&output.stderr).lines() {
        told.push_str(&format!("! {}\n", mask(line)));
    }
    match output.status.code() {
        Some(0) => {}
        code => told.push_str(&format!("= {code:?}\n")),
    }
    told
}

fn transcript(engine: Engine) {
    let Some(server) = serve(engine) else { return };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shell/commands.txt");
    let script = std::fs::read_to_string(&path).unwrap();
    let mut told = String::new();
    for line in script.lines() {
        match line.strip_prefix("$ ") {
            Some(command) => told.push_str(&run(&server, command)),
            None if line.starts_with('#') => told.push_str(&format!("{line}\n")),
            None => {}
        }
    }
    expect_file![path].assert_eq(&told);
}

fn session(engine: Engine) {
    let Some(server) = serve(engine) else { return };
    let output = pipe(
        &server,
        &[
            "addauth digest u:p",
            "whoami",
            "create /mine secret auth::cdrwa",
            "create -e /e x",
            "getEphemerals",
            "get -w /mine",
            "set /mine other",
            "history",
            "redo 5",
            "ls -w /mine",
            "removewatches /mine",
            "addWatch /e",
            "removewatches /e",
            "nonsense",
            "close",
            "ls /",
            "connect",
            "get /mine",
            "ls /",
            "quit",
            "never",
        ],
    );
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    for want in [
        "digest: u\n",
        "[/e]\n",
        "secret\n",
        "WatchedEvent state:SyncConnected type:NodeDataChanged path:/mine",
        "4 - getEphemerals\n5 - get -w /mine\n6 - set /mine other\n7 - history\n",
        "other\n",
        "\nWATCHER::\n\nWatchedEvent state:SyncConnected type:ChildWatchRemoved path:/mine zxid: -1\n",
        "\nWATCHER::\n\nWatchedEvent state:SyncConnected type:DataWatchRemoved path:/mine zxid: -1\n",
        "WatchedEvent state:SyncConnected type:PersistentWatchRemoved path:/e zxid: -1\n",
        "WatchedEvent state:Closed type:None path:null zxid: -1\n",
        "[mine, zookeeper]\n",
    ] {
        assert!(out.contains(want), "{engine}: {want:?} is missing in\n{out}\n{err}");
    }
    for want in [
        "Created /mine\n",
        "Command not found nonsense\n",
        "Not connected\n",
        "Insufficient permission : /mine\n",
    ] {
        assert!(err.contains(want), "{engine}: {want:?} is missing in\n{err}");
    }
    assert!(!err.contains("never"), "{err}");
    assert_eq!(output.status.code(), Some(2), "what cannot be understood was the first to fail");
}

macro_rules! on_engines {
    ($($module:ident = $engine:expr;)*) => {$(
        mod $module {
            #[test]
            fn transcript() {
                super::transcript($engine);
            }

            #[test]
            fn session() {
                super::session($engine);
            }
        }
    )*};
}

on_engines! {
    ours = zk_testkit::Engine::Ours;
    apache_3_8_0 = zk_testkit::Engine::Apache38;
    apache_3_9_4 = zk_testkit::Engine::Apache39;
}

/// All of a script is carried out, and it has failed if one command has.
#[test]
fn a_failure_in_a_pipe_is_told() {
    let server = serve(Engine::Ours).unwrap();
    let code = |lines: &[&str]| pipe(&server, lines).status.code();
    assert_eq!(code(&["ls /"]), Some(0));
    assert_eq!(code(&["ls /none", "create /behind"]), Some(1));
    assert_eq!(code(&["ls /behind", "nonsense", "ls /none", "ls /"]), Some(2));
    assert_eq!(code(&["connect 127.0.0.1:1"]), Some(1));
    let output = shell(&server, &["connect", "127.0.0.1:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(shell(&server, &["connect"]).status().unwrap().code(), Some(0));
}

/// One line for each command, results on the one side and errors on the other, and nothing else.
#[test]
fn json_of_a_pipe_is_a_line_for_each_command() {
    let server = serve(Engine::Ours).unwrap();
    let lines = [
        "create /j x",
        "get -w /j",
        "",
        "set /j y",
        "addWatch /j",
        "ls /none",
        "nonsense",
        "ls -R /j",
        "printwatches off",
        "help quit",
        "history",
        "connect",
        "close",
        "quit",
    ];
    let output = pipe_to(&server.addr().to_string(), &["--json"], &lines);
    let told = |bytes: &[u8]| -> Vec<serde_json::Value> {
        text(bytes).lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    };
    let (out, err) = (told(&output.stdout), told(&output.stderr));
    assert!(out.iter().all(serde_json::Value::is_object), "{out:?}");
    assert_eq!(out.len(), 10, "{out:?}");
    assert_eq!((&out[0]["path"], &out[1]["data"]), (&"/j".into(), &"x".into()));
    assert_eq!(out[5], serde_json::json!({ "printwatches": false }));
    assert_eq!(out[6]["usage"], "quit");
    assert_eq!(out[7]["commands"][0]["command"], "create /j x");
    assert_eq!(out[8]["server"], server.addr().to_string());
    let errors = err.iter().map(|error| error["error"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(errors, ["Node does not exist: /none", "Command not found nonsense"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn events_are_shown_before_the_end() {
    let server = serve(Engine::Ours).unwrap();
    for n in 0..20 {
        let path = format!("/w{n}");
        let [create, watch, set] =
            ["create", "get -w", "set"].map(|command| format!("{command} {path} x"));
        let watch = watch.trim_end_matches(" x");
        let out = text(&pipe(&server, &[&create, watch, &set]).stdout);
        assert!(out.contains(&format!("NodeDataChanged path:{path}")), "{out}");
    }
}

/// The event of a command comes behind what it says, and before what the next one does.
#[test]
fn events_of_a_pipe_come_in_order() {
    let server = serve(Engine::Ours).unwrap();
    let lines = ["create /c", "addWatch /c", "create /c/x y", "get /c/x", "removewatches /c"];
    let out = text(&pipe(&server, &lines).stdout);
    let order = ["type:NodeCreated path:/c/x", "\ny\n", "type:PersistentWatchRemoved path:/c"];
    let found = order.map(|words| out.find(words).unwrap_or_else(|| panic!("{words}: {out}")));
    assert!(found.is_sorted(), "{out}");
}

/// Who does not read what the shell says does not end its session.
#[test]
fn a_session_outlives_a_full_pipe() {
    let server = serve(Engine::Ours).unwrap();
    let (mut out, stdout) = std::io::pipe().unwrap();
    let mut child = shell(&server, &["-timeout", "4000"])
        .stdin(Stdio::piped())
        .stdout(stdout)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"create -e /mine\ncreate /w\naddWatch -m PERSISTENT /w\nstat /w\n").unwrap();
    let mut said = Vec::new();
    while !text(&said).contains("numChildren") {
        let mut byte = [0];
        out.read_exact(&mut byte).unwrap();
        said.extend(byte);
    }
    // From here on nobody reads: more events than the pipe takes.
    let mut client = Client::connect(server.addr(), 10_000).unwrap();
    for _ in 0..1500 {
        client.set_data("/w", b"x", -1).unwrap();
    }
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        client.exists("/mine").unwrap();
        std::thread::sleep(Duration::from_millis(200));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_chroot_that_is_missing_is_named() {
    let server = serve(Engine::Ours).unwrap();
    let at = format!("{}/none", server.addr());
    for words in [&["create", "/a"][..], &["ls", "/"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zkfleet"));
        let output = command.args(["shell", "-server", &at]).args(words).output().unwrap();
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.contains("(-server HOST:PORT/PATH) does not exist"), "{err}");
    }
}

/// Results that are lost are a failure, of one command and of many; a reader that leaves is none.
#[test]
fn an_output_that_cannot_be_written_is_an_error() {
    let server = serve(Engine::Ours).unwrap();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let lines = || {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"create /made\n").unwrap();
        file.rewind().unwrap();
        file
    };
    let closed = || std::io::pipe().unwrap().1;
    for words in [&["ls", "/"][..], &["--json", "ls", "/"], &["--help"], &[]] {
        let output = shell(&server, words).stdin(lines()).stdout(full()).output().unwrap();
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {err}");
        assert!(err.starts_with("the output cannot be written: "), "{words:?}: {err}");
        let output = shell(&server, words).stdin(lines()).stdout(closed()).output().unwrap();
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {err}");
        assert!(!err.contains("output"), "{words:?}: {err}");
    }
}

#[test]
fn tls_options_are_named_where_they_are_missing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // A fatal alert of TLS 1.2, as servers send it in answer to what is no TLS, to every try.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            stream.write_all(&[0x15, 3, 3, 0, 2, 2, 10]).unwrap();
            // Closing in front of what was not read would be a reset, which may overtake the alert.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_zkfleet"));
    let output = command.args(["shell", "-server", &address, "ls", "/"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let err = text(&output.stderr);
    let want = format!("no connection to {address}: the port speaks TLS");
    assert!(err.starts_with(&want) && err.contains("--tls-ca FILE"), "{err}");
}

/// As one does that has too many, or a full disk.
#[test]
fn a_server_that_lets_nobody_in_may_say_why() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // Behind its connect request: closing in front of that would be a reset.
            let _ = stream.unwrap().read(&mut [0; 1024]);
        }
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_zkfleet"));
    let output = command.args(["shell", "-server", &address, "ls", "/"]).output().unwrap();
    let err = text(&output.stderr);
    assert!(err.contains("it says why to: echo srvr | nc HOST PORT"), "{err}");
}

#[test]
fn without_a_server_the_reason_is_said() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zkfleet"));
    let output = command.args(["shell", "-server", "127.0.0.1:1", "ls", "/"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let err = text(&output.stderr);
    assert!(err.starts_with("no connection to 127.0.0.1:1: 127.0.0.1:1: "), "{err}");
}

/// Each command of a pipe tries every server twice, and not for the whole session timeout.
#[test]
fn commands_without_a_server_fail_soon_and_with_the_reason() {
    let begun = Instant::now();
    let lines = ["ls /", "removewatches -l /x", "get /x"];
    let output = pipe_to("127.0.0.1:1", &[], &lines);
    let err = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    let reason = "no connection to 127.0.0.1:1: 127.0.0.1:1: ";
    assert_eq!(err.lines().filter(|line| line.starts_with(reason)).count(), 2, "{err}");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    // A server that goes away is missed by the next command.
    let mut server = serve(Engine::Ours).unwrap();
    let mut child = shell(&server, &[])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, mut out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    input.write_all(b"create /x\nstat /x\n").unwrap();
    let mut said = Vec::new();
    while !text(&said).contains("numChildren") {
        let mut byte = [0];
        out.read_exact(&mut byte).unwrap();
        said.extend(byte);
    }
    server.kill().unwrap();
    input.write_all(b"ls /\nget /x\n").unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let err = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains(&format!("no connection to {}: ", server.addr())), "{err}");
}
