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
    // Connections go to the threads in turn, beginning with the second; the first one also lets
    // them in.
    let threads = available_parallelism().map_or(1, std::num::NonZero::get);
    let mut clients: Vec<Client> = (0..threads).map(|_| client(&member)).collect();
    assert_eq!(clients[0].create("/w", b"").unwrap(), 0);
    for (writer, thread) in [(0, 1), (threads - 1, 0)] {
        write_alone(&mut clients[writer], &disk);
        assert_eq!(disk.synced_by(), format!("zk-io-{thread}"));
        disk.hold(true);
        let _held = Held(&disk);
        let set = SetDataRequest { path: "/w".into(), data: Some(b"2"), version: -1 };
        clients[writer].send(&Request::SetData(set)).unwrap();
        // Longer than their sessions live without a sign. They give signs.
        for _ in 0..12 {
            sleep(Duration::from_millis(200));
            for client in &mut clients {
                client.send(&get("/w", false)).unwrap();
            }
            // Whoever asks how the member is gets an answer.
            assert_eq!(member.word("ruok"), "imok");
        }
        assert_eq!(disk.synced_by(), format!("zk-io-{thread}"), "it waits");
        disk.hold(false);
        assert_eq!(clients[writer].reply().unwrap().err, 0);
        for client in &mut clients {
            for _ in 0..12 {
                assert_eq!(client.reply().unwrap().err, 0);
            }
        }
        // Whoever was silent meanwhile is silent from now on only.
        sleep(Duration::from_millis(600));
        assert_eq!(member.connections(), threads);
        for client in &mut clients {
            assert_eq!(client.get("/w"), Ok(b"2".to_vec()));
        }
    }
}
