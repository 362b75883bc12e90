//! The audit log of the binary: Apache's lines, in the log of the server.

use zk_proto::acl::AclBytes;
use zk_proto::request::{Create, CreateMode, Request};
use zk_proto::{OpCode, SessionId};
use zk_testkit::{Client, Engine, Server, ServerConfig};

use crate::wait_until;

/// What was told so far, in order.
fn lines(server: &Server) -> Vec<String> {
    let log = std::fs::read_to_string(server.log_path()).unwrap();
    let told = |line: &str| Some(line.split_once("zkfleet::audit: ")?.1.to_owned());
    log.lines().filter_map(told).collect()
}

fn start(enabled: bool) -> Server {
    let mut config = ServerConfig::new(Engine::Ours);
    config.lines.push(format!("audit.enable={enabled}"));
    Server::start(config).unwrap()
}

#[test]
fn changes_are_told_in_apaches_words() {
    let mut server = start(true);
    let mut client = Client::connect(server.addr(), 10_000).unwrap();
    let SessionId(id) = client.session().session_id;
    client.create("/a", b"", CreateMode::PersistentSequential).unwrap();
    client.auth("digest", b"bob:secret").unwrap();
    client.create("/e", b"", CreateMode::Ephemeral).unwrap();
    client.create("/e", b"", CreateMode::Ephemeral).unwrap_err();
    let forged = Request::Create(Create {
        op: OpCode::Create,
        path: "/x\nsession=0x1\toperation=delete".into(),
        data: None,
        acl: AclBytes::OPEN,
        flags: 0,
        ttl_ms: 0,
    });
    assert_ne!(client.call(&forged).unwrap().err, 0);
    client.close().unwrap();
    wait_until("the end of the session is told", || lines(&server).len() >= 6);
    assert!(server.terminate().unwrap().success());
    let mut told = lines(&server);
    let user = told[0].split(['=', '\t']).nth(1).unwrap().to_owned();
    assert_eq!(told.remove(0), format!("user={user}\toperation=serverStart\tresult=success"));
    assert_eq!(told.pop().unwrap(), format!("user={user}\toperation=serverStop\tresult=invoked"));
    let by = |users: &str| format!("session=0x{id:x}\tuser={users}\tip=127.0.0.1");
    let (stranger, bob) = (by("127.0.0.1"), by("127.0.0.1,bob"));
    let want = [
        format!(
            "{stranger}\toperation=create\tznode=/a0000000000\tznode_type=persistent_sequential\t\
             result=success"
        ),
        format!("{bob}\toperation=create\tznode=/e\tznode_type=ephemeral\tresult=success"),
        format!("{bob}\toperation=create\tznode=/e\tznode_type=ephemeral\tresult=failure"),
        format!(
            "{bob}\toperation=create\tznode=/x\\u000asession=0x1\\u0009operation=delete\t\
             znode_type=persistent\tresult=failure"
        ),
        format!(
            "session=0x{id:x}\tuser={user}\t\
             operation=ephemeralZNodeDeletionOnSessionCloseOrExpire\tznode=/e\tresult=success"
        ),
    ];
    assert_eq!(told, want);
}

#[test]
fn a_server_that_does_not_start_says_so_and_without_the_key_nothing_is_told() {
    let dir = tempfile::TempDir::new().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let cfg = dir.path().join("zoo.cfg");
    let text = format!(
        "dataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\naudit.enable=true\n",
        dir.path().display(),
        port.local_addr().unwrap().port()
    );
    std::fs::write(&cfg, text).unwrap();
    let output = Engine::Ours.command(&cfg, &[]).unwrap().output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("\toperation=serverStart\tresult=failure\n"), "{log}");

    let mut server = start(false);
    let mut client = Client::connect(server.addr(), 10_000).unwrap();
    client.create("/a", b"", CreateMode::Ephemeral).unwrap();
    client.close().unwrap();
    assert!(server.terminate().unwrap().success());
    assert!(!server.log_tail(100).contains("operation="), "{}", server.log_tail(100));
}
