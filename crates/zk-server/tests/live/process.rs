//! The binary itself: signals and exit codes.

use std::process::Command;

use tempfile::TempDir;
use zk_testkit::{Client, Engine, Server, ServerConfig};

/// Runs `zkfleet server` on a configuration with which it must not start.
fn refused(text: &str) -> (i32, String) {
    let dir = TempDir::new().unwrap();
    let cfg = dir.path().join("zoo.cfg");
    std::fs::write(&cfg, text).unwrap();
    let mut command: Command = Engine::Ours.command(&cfg, &[]).unwrap();
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), text)
}

#[test]
fn sigterm_is_a_complete_stop() {
    let mut server = Server::start(ServerConfig::new(Engine::Ours)).unwrap();
    let mut client = Client::connect(server.addr(), 10_000).unwrap();
    client.create("/a", b"kept", zk_proto::request::CreateMode::Persistent).unwrap();
    let status = server.terminate().unwrap();
    assert_eq!(status.code(), Some(0), "{}", server.log_tail(20));
    server.restart().unwrap();
    let mut client = Client::connect(server.addr(), 10_000).unwrap();
    assert_eq!(client.get_data("/a").unwrap().0.as_deref(), Some(&b"kept"[..]));
}

#[test]
fn who_removes_the_log_hears_of_it() {
    let mut server = Server::start(ServerConfig::new(Engine::Ours)).unwrap();
    let mut client = Client::connect(server.addr(), 10_000).unwrap();
    client.create("/a", b"", zk_proto::request::CreateMode::Persistent).unwrap();
    std::fs::remove_dir_all(server.data_dir().join("version-2")).unwrap();
    let mut acknowledged = 0;
    while client.set_data("/a", b"", -1).is_ok() {
        acknowledged += 1;
        assert!(acknowledged < 1000, "writes into a file that nobody will find");
    }
    crate::wait_until("the process ends", || server.exit_status().unwrap().is_some());
    assert_eq!(server.exit_status().unwrap().unwrap().code(), Some(10));
    let log = server.log_tail(20);
    assert!(log.contains("somebody has removed or moved it"), "{log}");
}

#[test]
fn a_server_certificate_of_version_1_is_code_2_and_names_the_file() {
    let store = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tls/testdata/stores/v1.pem");
    let (code, text) = refused(&format!(
        "dataDir=/nowhere\nsecureClientPort=0\nssl.clientAuth=none\nssl.keyStore.location={store}\n"
    ));
    assert_eq!(code, 2, "{text}");
    assert!(text.contains(&format!("{store}: its certificate is X.509 version 1")), "{text}");
}

#[test]
fn a_bad_configuration_is_code_2_and_names_the_line() {
    let (code, text) = refused("dataDir=/nowhere\nclientPort=none\n");
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("zoo.cfg:2") && text.contains("clientPort"), "{text}");
    let (code, text) = refused("clientPort=0\n");
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("dataDir"), "{text}");
}
