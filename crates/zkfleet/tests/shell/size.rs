//! Data larger than most servers take: what is given is sent, and a refusal is explained.

use std::fs;

use tempfile::TempDir;
use zk_testkit::{Engine, Server, ServerConfig};

use super::{pipe, pipe_to, serve, text};

const LEN: usize = 2_000_000;

#[test]
fn what_the_server_takes_is_set_without_an_option() {
    let mut config = ServerConfig::new(Engine::Ours);
    config.properties.push(("jute.maxbuffer".to_owned(), (8 << 20).to_string()));
    let server = Server::start(config).unwrap();
    let lines = ["create /big", &format!("set /big {}", "x".repeat(LEN)), "stat /big"];
    let output = pipe(&server, &lines);
    let out = text(&output.stdout);
    assert!(out.contains(&format!("dataLength = {LEN}\n")), "{out}{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(0));
    // As in Apache's client, that is the most that is taken from a server.
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("client.properties");
    fs::write(&file, "jute.maxbuffer=1048576\n").unwrap();
    let options = ["-client-configuration", file.to_str().unwrap()];
    let output = pipe_to(&server.addr().to_string(), &options, &["get /big"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    fs::write(&file, "jute.maxbuffer=8m\n").unwrap();
    let output = pipe_to(&server.addr().to_string(), &options, &["get /big"]);
    let err = text(&output.stderr);
    assert!(err.contains("client.properties: jute.maxbuffer=8m: it must be a number"), "{err}");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn what_the_server_does_not_take_is_explained() {
    let server = serve(Engine::Ours).unwrap();
    let lines = ["create /big", &format!("set /big {}", "x".repeat(LEN)), "get /big"];
    let output = pipe(&server, &lines);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    let want = format!("the command has {} bytes: a server closes", LEN + "/big".len());
    assert!(err.contains("ConnectionLoss") && err.contains(&want), "{err}");
    assert!(err.contains("longer than its jute.maxbuffer"), "{err}");
    // The session goes on.
    assert!(out.contains("null\n"), "{out}");
    assert_eq!(output.status.code(), Some(1));
}
