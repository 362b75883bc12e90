//! The allocator's thresholds, which a server gives itself by starting once more.

use std::fs;

use zk_testkit::{Engine, Server, ServerConfig};

const VARIABLE: &str = "GLIBC_TUNABLES=";

/// What the process has in its environment, and what it was started with.
fn process(pid: u32) -> (Option<String>, Vec<String>) {
    let read = |file: &str| {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap();
        let parts =
            bytes.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned());
        parts.filter(|part| !part.is_empty()).collect::<Vec<_>>()
    };
    let tunables = read("environ").into_iter().find(|line| line.starts_with(VARIABLE));
    (tunables, read("cmdline"))
}

#[test]
#[cfg(target_env = "gnu")]
fn a_server_bounds_what_its_allocator_keeps() {
    let server = Server::start(ServerConfig::new(Engine::Ours)).unwrap();
    let pid = server.pid().unwrap();
    let (tunables, arguments) = process(pid);
    assert!(tunables.is_some_and(|tunables| tunables.contains("mmap_threshold=")));
    assert!(arguments.len() == 3 && arguments[1] == "server", "{arguments:?}");
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(name.trim(), "zkfleet");
}
