//! Every call to the disk fails once, of a run that starts, writes, takes snapshots, begins new
//! logs, purges and stops: nothing acknowledged is lost, nothing hangs, and the exit code tells.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use zk_server::{Server, StartError};
use zk_store::data_dir::DataDirs;
use zk_store::purge::purge;
use zk_store::recover::RecoverOptions;
use zk_store::sim::{EIO, ENOSPC, SimDisk};

use crate::client::{Client, open};
use crate::member::config;
use crate::wait_until;

/// A snapshot every few transactions, a new log every kilobyte.
const LINES: &str = "snapCount=6\npreAllocSize=256\ntxnLogSizeLimitInKb=1\n";
/// Writes of a run.
const WRITES: usize = 14;
const OK: i32 = 0;
/// A write whose answer was lost was made.
const NODE_EXISTS: i32 = -110;
const NOT_READ_ONLY: i32 = -119;
/// Exit code when the log or a snapshot cannot be written, as Apache's.
const LOG_FAILED: u8 = 10;
/// Exit codes of a start that failed: recovery could not read, the directories, the log.
const START_FAILED: [u8; 3] = [1, 3, LOG_FAILED];

fn start(dir: &Path, disk: &SimDisk) -> Result<Server, StartError> {
    Server::start_on(config(dir, LINES), Arc::new(disk.clone()))
}

fn connect(server: &Server) -> std::io::Result<Client> {
    let to = (std::net::Ipv4Addr::LOCALHOST, server.client_port().unwrap()).into();
    Client::handshake(open(to), 60_000)
}

fn value(n: usize) -> Vec<u8> {
    vec![n as u8; 200]
}

/// What a run of a server leaves: how many of its writes were acknowledged, and its exit code.
fn run(dir: &Path, disk: &SimDisk) -> (usize, u8) {
    let server = match start(dir, disk) {
        Ok(server) => server,
        Err(error) => {
            assert!(START_FAILED.contains(&error.exit_code()), "{error}");
            return (0, error.exit_code());
        }
    };
    let mut client = None;
    let mut acknowledged = 0;
    // Without space for a moment, a member takes no session and no write until there is some.
    wait_until("all is written, or the member has failed", || {
        while acknowledged < WRITES && !server.has_failed() {
            if client.is_none() {
                client = connect(&server).ok();
            }
            let Some(session) = &mut client else { return false };
            match session.create(&format!("/n{acknowledged}"), &value(acknowledged)) {
                Ok(OK | NODE_EXISTS) => acknowledged += 1,
                Ok(NOT_READ_ONLY) => return false,
                Ok(code) => panic!("write {acknowledged} is refused with {code}"),
                Err(_) => client = None,
            }
        }
        true
    });
    let has_failed = server.has_failed();
    let stopped = server.stop();
    if has_failed || stopped.is_err() {
        return (acknowledged, LOG_FAILED);
    }
    let dirs = DataDirs::new(dir.join("data"), None);
    // A purge that fails removes less, and nobody ends for it.
    let _ = purge(disk, &dirs, 3, &RecoverOptions::default().read);
    (acknowledged, 0)
}

/// Starts without faults and looks for every write.
fn check(dir: &Path, disk: &SimDisk, acknowledged: usize, what: &str) {
    let server = start(dir, disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut client = connect(&server).unwrap();
    let mut is_there = true;
    for n in 0..WRITES {
        match client.get(&format!("/n{n}")) {
            Ok(found) => {
                assert!(is_there && found == value(n), "{what}: write {n} without those before");
            }
            Err(code) => {
                assert!(n >= acknowledged, "{what}: write {n} is lost ({code})");
                is_there = false;
            }
        }
    }
    drop(client);
    server.stop().unwrap();
}

/// Lets each call of a run fail in turn; how often which exit code came.
fn fail_each(errno: i32) -> BTreeMap<u8, usize> {
    let dir = TempDir::new().unwrap();
    let calls = {
        let disk = SimDisk::new(512);
        assert_eq!(run(dir.path(), &disk), (WRITES, 0));
        check(dir.path(), &disk.fork(), WRITES, "without a fault");
        disk.calls()
    };
    let mut codes = BTreeMap::new();
    // Threads take turns, so a call is not always the same; all of them are hit in time.
    for call in 0..calls {
        let what = format!("call {call} of {calls}, error {errno}");
        let disk = SimDisk::new(512);
        disk.fail(call, errno);
        let (acknowledged, code) = run(dir.path(), &disk);
        *codes.entry(code).or_default() += 1;
        assert!(code != 0 || acknowledged == WRITES, "{what}: a clean end after a failure");
        // As after the process's end, and as after a loss of power that keeps only what was synced.
        check(dir.path(), &disk.fork(), acknowledged, &what);
        check(dir.path(), &disk.crash(&mut |_: usize| 0), acknowledged, &what);
    }
    println!("{calls} calls with error {errno}; exit codes: {codes:?}");
    codes
}

#[test]
fn any_call_that_fails_loses_nothing_and_is_told() {
    let codes = fail_each(EIO);
    // The log's; a snapshot's after the first one, or a purge's, ends nobody.
    assert!(codes[&LOG_FAILED] > codes[&0], "{codes:?}");
}

#[test]
fn a_moment_without_space_loses_nothing_and_passes() {
    let codes = fail_each(ENOSPC);
    assert!(codes[&0] > codes[&LOG_FAILED], "{codes:?}");
}
