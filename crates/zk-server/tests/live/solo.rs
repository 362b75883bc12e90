//! A lone writer: its thread waits for the disk itself, and nobody else pays for that.

use std::thread::{available_parallelism, sleep};
use std::time::Duration;

use zk_proto::request::{Request, SetDataRequest};

use crate::client::{Client, get, open};
use crate::member::Member;
use crate::slow_disk::{Brake, Held};
use crate::wait_until;

/// The shortest sessions that the member grants, in ms.
const TIMEOUT_MS: i32 = 1_000;

fn client(member: &Member) -> Client {
    Client::handshake(open(member.addr()), TIMEOUT_MS).unwrap()
}

/// Whether a worker may wait for the disk here at all.
fn has_workers() -> bool {
    available_parallelism().is_ok_and(|count| count.get() > 1)
}

/// Writes until the writer's own thread commits.
fn write_alone(writer: &mut Client, disk: &Brake) {
    wait_until("its thread commits", || {
        assert_eq!(writer.set("/w", b"1"), 0);
        disk.synced_by().starts_with("zk-io")
    });
}

#[test]
fn a_lone_writer_s_thread_commits_and_two_writers_leave_it_to_the_log() {
    if !has_workers() {
        return;
    }
    let disk = Brake::new();
    let member = Member::start_on(disk.clone(), "");
    let mut clients = [client(&member), client(&member)];
    assert_eq!(clients[0].create("/w", b"").unwrap(), 0);
    for turn in 0..4 {
        write_alone(&mut clients[turn % 2], &disk);
    }
    for turn in 0..20 {
        assert_eq!(clients[turn % 2].set("/w", b"2"), 0);
        assert_eq!(disk.synced_by(), "zk-log");
    }
}

#[test]
fn nobody_expires_while_a_thread_waits_for_the_disk() {
    if !has_workers() {
        return;
    }
    let disk = Brake::new();
    let member = Member::start_on(disk.clone(), "");
    let mut writer = client(&member);
    assert_eq!(writer.create("/w", b"").unwrap(), 0);
    // On every thread.
    let workers = available_parallelism().map_or(1, std::num::NonZero::get);
    let mut others: Vec<Client> = (0..workers).map(|_| client(&member)).collect();
    write_alone(&mut writer, &disk);
    disk.hold(true);
    let _held = Held(&disk);
    let set = SetDataRequest { path: "/w".into(), data: Some(b"2"), version: -1 };
    writer.send(&Request::SetData(set)).unwrap();
    wait_until("the disk is waited for", || disk.synced_by().starts_with("zk-io"));
    // Longer than their sessions live without a sign. They give signs.
    for _ in 0..12 {
        sleep(Duration::from_millis(200));
        for other in &mut others {
            other.send(&get("/w", false)).unwrap();
        }
        // Whoever asks how the member is gets an answer.
        assert_eq!(member.word("ruok"), "imok");
    }
    assert!(disk.synced_by().starts_with("zk-io"));
    disk.hold(false);
    assert_eq!(writer.reply().unwrap().err, 0);
    for other in &mut others {
        for _ in 0..12 {
            assert_eq!(other.reply().unwrap().err, 0);
        }
    }
    // Whoever was silent meanwhile is silent from now on only.
    sleep(Duration::from_millis(600));
    assert_eq!(member.connections(), workers + 1);
}
