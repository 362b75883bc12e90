//! Stop and start: what was acknowledged is there again, and nobody shares a directory.

use std::io::Write;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use crate::client::{Client, create};
use crate::member::Member;
use crate::wait_until;
use zk_proto::acl::AclBytes;

#[test]
fn nothing_acknowledged_is_lost_by_a_stop_under_load() {
    const WRITERS: usize = 4;
    let member = Member::start("");
    let addr = member.addr();
    let acknowledged = AtomicUsize::new(0);
    let (dir, counts) = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (mut client, acknowledged) = (Client::connect(addr).unwrap(), &acknowledged);
                scope.spawn(move || write_until_the_end(&mut client, writer, acknowledged))
            })
            .collect();
        wait_until("writes are under way", || acknowledged.load(Ordering::Relaxed) > 300);
        let dir = member.stop();
        (dir, writers.into_iter().map(|writer| writer.join().unwrap()).collect::<Vec<_>>())
    });
    let member = Member::start_in(dir, "");
    let mut client = member.client();
    for (writer, count) in counts.into_iter().enumerate() {
        for number in 0..count {
            let path = format!("/{writer}-{number}");
            assert_eq!(client.get(&path).unwrap(), path.as_bytes(), "{count} acknowledged");
        }
    }
}

/// Creates znodes, twenty at a time under way; how many were acknowledged before the end.
fn write_until_the_end(client: &mut Client, writer: usize, acknowledged: &AtomicUsize) -> usize {
    let (mut sent, mut done) = (0, 0);
    loop {
        while sent < done + 20 {
            let path = format!("/{writer}-{sent}");
            if client.send(&create(&path, path.as_bytes(), AclBytes::OPEN)).is_err() {
                break;
            }
            sent += 1;
        }
        match client.reply() {
            Ok(reply) => assert_eq!(reply.err, 0),
            Err(_) => return done,
        }
        done += 1;
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_stop_ends_all_kinds_of_connections() {
    let member = Member::start("client.portUnification=false\n");
    let client = member.client();
    let mut silent = crate::client::open(member.addr());
    let mut half = crate::client::open(member.addr());
    half.write_all(&[0, 0, 0]).unwrap();
    member.stop();
    assert!(client.ends());
    assert!(crate::client::is_closed_by_peer(&mut silent));
    assert!(crate::client::is_closed_by_peer(&mut half));
}

#[test]
fn two_members_do_not_share_a_directory() {
    let member = Member::start("");
    let mut client = member.client();
    assert_eq!(client.create("/a", b"").unwrap(), 0);
    let error = member.start_second("").map(|_| ()).unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
    assert!(error.to_string().contains("data"), "{error}");
    assert_eq!(client.create("/b", b"").unwrap(), 0);
    let member = Member::start_in(member.stop(), "");
    assert!(member.client().get("/b").is_ok());
}

#[test]
fn a_port_in_use_is_said() {
    let member = Member::start("");
    let dir = TempDir::new().unwrap();
    let lines = format!("clientPort={}\n", member.addr().port());
    let error = zk_server::Server::start(crate::member::config(dir.path(), &lines)).map(|_| ());
    let error = error.unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(error.to_string().contains(&member.addr().port().to_string()), "{error}");
}

/// A file system of its own, of a few MB; unmounted at the end.
pub(crate) struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None` where this process may not mount.
    pub(crate) fn mount(size: &str) -> Option<SmallDisk> {
        let dir = TempDir::new().unwrap();
        let options = format!("size={size}");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path());
        let output = command.output();
        match output {
            Ok(output) if output.status.success() => Some(SmallDisk(dir)),
            other => {
                let why = format!("no small file system can be mounted here: {other:?}");
                let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
                None
            }
        }
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a failed test may leave files open.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_takes_reads_only_until_there_is_space() {
    let Some(disk) = SmallDisk::mount("64m") else { return };
    let data = disk.0.path().join("data");
    let member = Member::start(&format!("dataDir={}\n", data.display()));
    let mut client = member.client();
    assert_eq!(client.create("/a", b"before").unwrap(), 0);
    let filler = disk.0.path().join("filler");
    fill(&filler);
    // Room that was set aside is used first.
    let value = vec![3; 200_000];
    let mut written = 0;
    let refused = (0..2_000).map(|_| client.set("/a", &value)).find(|err| {
        written += usize::from(*err == 0);
        *err != 0
    });
    assert_eq!(refused, Some(-119), "after {written} writes");
    assert_eq!(client.get("/a").map(|data| data.len()), Ok(if written > 0 { 200_000 } else { 6 }));
    // A new session would have to be logged; no answer at all, least of all "expired" (rule R1).
    assert!(Client::connect(member.addr()).is_err());
    std::fs::remove_file(&filler).unwrap();
    wait_until("writes are taken again", || client.set("/a", b"after") == 0);
    assert_eq!(client.get("/a").unwrap(), b"after");
    member.stop();
    let again = Member::start(&format!("dataDir={}\n", data.display()));
    assert_eq!(again.client().get("/a").unwrap(), b"after");
}

/// Writes a file until there is no space left.
pub(crate) fn fill(path: &std::path::Path) {
    let mut file = std::fs::File::create(path).unwrap();
    for size in [1 << 20, 4 << 10, 1] {
        let chunk = vec![0; size];
        while file.write_all(&chunk).is_ok() {}
    }
}
