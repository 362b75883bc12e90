//! A lone writer: its thread waits for the disk itself, and nobody else pays for that.

use std::net::TcpStream;
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

/// How many threads serve connections.
fn threads() -> usize {
    available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A member with a znode `/w`, and who made it; nothing where a thread never waits for the disk.
fn begin() -> Option<(Brake, Member, Client)> {
    if threads() == 1 {
        return None;
    }
    let disk = Brake::new();
    let member = Member::start_on(disk.clone(), "");
    let mut writer = client(&member);
    assert_eq!(writer.create("/w", b"").unwrap(), 0);
    Some((disk, member, writer))
}

fn set(data: &[u8]) -> Request<'_> {
    Request::SetData(SetDataRequest { path: "/w".into(), data: Some(data), version: -1 })
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
    let Some((disk, member, writer)) = begin() else { return };
    let mut clients = [writer, client(&member)];
    for turn in 0..4 {
        write_alone(&mut clients[turn % 2], &disk);
    }
    for turn in 0..20 {
        assert_eq!(clients[turn % 2].set("/w", b"2"), 0);
        assert_eq!(disk.synced_by(), "zk-log");
    }
}

#[test]
fn a_thread_with_others_to_serve_leaves_it_to_the_log() {
    let Some((disk, member, mut writer)) = begin() else { return };
    // One on every other thread, and at last one on the writer's.
    let mut readers: Vec<Client> = (0..threads()).map(|_| client(&member)).collect();
    let nearest = readers.len() - 1;
    write_alone(&mut writer, &disk);
    let mut write_beside = |reader: &mut Client| {
        assert_eq!(reader.get("/w").map(|_| ()), Ok(()));
        assert_eq!(writer.set("/w", b"2"), 0);
        disk.synced_by()
    };
    for _ in 0..20 {
        assert_eq!(write_beside(&mut readers[nearest]), "zk-log");
    }
    wait_until("a reader elsewhere is in nobody's way", || {
        write_beside(&mut readers[0]).starts_with("zk-io")
    });
}

#[test]
fn nobody_expires_while_a_thread_waits_for_the_disk() {
    // Connections go to the threads in turn, beginning with the second; the first one also lets
    // them in.
    let threads = threads();
    for (writer, thread) in [(0, 1), (threads - 1, 0)] {
        let Some((disk, member, first)) = begin() else { return };
        let mut clients = vec![first];
        clients.resize_with(threads, || client(&member));
        write_alone(&mut clients[writer], &disk);
        assert_eq!(disk.synced_by(), format!("zk-io-{thread}"));
        disk.hold(true);
        let _held = Held(&disk);
        clients[writer].send(&set(b"2")).unwrap();
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

#[test]
fn a_session_is_renewed_though_the_thread_that_is_asked_waits() {
    let Some((disk, member, mut writer)) = begin() else { return };
    // The last one is the writer's thread's.
    let mut doors: Vec<TcpStream> = (0..threads()).map(|_| open(member.addr())).collect();
    let lost = client(&member);
    let session = (lost.session.session_id, lost.session.password);
    write_alone(&mut writer, &disk);
    let before = member.connections();
    drop(lost);
    wait_until("its connection is gone", || member.connections() < before);
    disk.hold(true);
    writer.send(&set(b"2")).unwrap();
    std::thread::scope(|scope| {
        let _held = Held(&disk);
        let door = doors.pop().unwrap();
        let renewed = scope.spawn(move || Client::renew_on(door, session));
        // The session would have ended long since.
        sleep(Duration::from_millis(2_500));
        assert!(disk.synced_by().starts_with("zk-io"));
        assert!(!renewed.is_finished());
        disk.hold(false);
        assert_eq!(renewed.join().unwrap().session.session_id, session.0);
    });
    assert_eq!(writer.reply().unwrap().err, 0);
}

#[test]
fn a_stop_lets_clients_go_though_a_thread_waits_for_the_disk() {
    let Some((disk, member, mut writer)) = begin() else { return };
    let others: Vec<Client> = (0..threads()).map(|_| client(&member)).collect();
    write_alone(&mut writer, &disk);
    disk.hold(true);
    writer.send(&set(b"2")).unwrap();
    wait_until("the disk is waited for", || disk.synced_by().starts_with("zk-io"));
    let addr = member.addr();
    std::thread::scope(|scope| {
        let _held = Held(&disk);
        let stopped = scope.spawn(|| member.stop());
        // Their ends are seen while the stop still waits for the disk, and nobody gets in.
        for client in others.into_iter().chain([writer]) {
            assert!(client.ends());
        }
        wait_until("who comes is refused", || TcpStream::connect(addr).is_err());
        assert!(!stopped.is_finished());
        disk.hold(false);
    });
}
