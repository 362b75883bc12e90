//! A whole member over its socket: what it counts, and when it begins a new log file.

use super::Server;
use crate::config::{Options, parse};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

fn start(dir: &Path, lines: &str) -> Server {
    let text = format!(
        "dataDir={}\nclientPort=0\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n\
         4lw.commands.whitelist=*\npreAllocSize=64\n{lines}",
        dir.display()
    );
    let loaded = parse("zoo.cfg", text.as_bytes(), &[], Options::default()).unwrap();
    Server::start(loaded.config).unwrap()
}

fn dial(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", server.client_port().unwrap())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// A connection with a new session.
fn connect(server: &Server) -> TcpStream {
    let mut stream = dial(server);
    let mut frame = vec![0, 0, 0, 44];
    frame.extend([0; 12]);
    frame.extend(10_000_i32.to_be_bytes());
    frame.extend([0; 8]);
    frame.extend(16_i32.to_be_bytes());
    frame.extend([0; 16]);
    stream.write_all(&frame).unwrap();
    // The answer: its length, version, timeout, id and password.
    stream.read_exact(&mut [0; 40]).unwrap();
    stream
}

fn word(server: &Server, word: &str) -> String {
    let mut stream = dial(server);
    stream.write_all(word.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn every_packet_is_counted_and_the_pipelines_counters_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), "");
    let session = connect(&server);
    let text = word(&server, "mntr");
    for line in [
        // The connect request and this word.
        "zk_packets_received\t2",
        "zk_packets_sent\t1",
        "zk_connection_request_count\t1",
        "zk_connection_revalidate_count\t0",
        "zk_bytes_received_count\t52",
        "zk_non_mtls_local_conn_count\t2",
        "zk_non_mtls_remote_conn_count\t0",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} is not in:\n{text}");
    }
    // A reset stays one although the pipeline's own counters go on.
    word(&server, "srst");
    let text = word(&server, "mntr");
    assert!(text.contains("zk_connection_request_count\t0\n"), "{text}");
    drop(session);
    server.stop().unwrap();
}

#[test]
fn a_log_file_is_ended_when_it_is_large_enough() {
    let logs = |lines: &str| {
        let dir = tempfile::tempdir().unwrap();
        let server = start(dir.path(), lines);
        let sessions = (0..40).map(|_| connect(&server)).collect::<Vec<_>>();
        drop(sessions);
        server.stop().unwrap();
        let files = std::fs::read_dir(dir.path().join("version-2")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("log.")).count()
    };
    assert_eq!(logs(""), 1);
    assert!(logs("txnLogSizeLimitInKb=1\n") > 1);
}
