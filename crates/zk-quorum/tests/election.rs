//! Election ports over real sockets: members of ours among themselves, and whatever else calls.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;
use zk_proto::election::{Greeting, Notification, ServerState};
use zk_proto::{Sid, Zxid};
use zk_quorum::election::{ElectionEvent, ElectionPort, ElectionPortOptions};
use zk_quorum::{DialOptions, Guards};
use zk_zab::{Configs, Ensemble, HostPort};

const PATIENCE: Duration = Duration::from_secs(10);

struct Member {
    port: ElectionPort,
    events: Receiver<ElectionEvent>,
    at: SocketAddr,
}

async fn listeners(sids: &[i64]) -> (BTreeMap<i64, TcpListener>, Configs) {
    let mut listeners = BTreeMap::new();
    let mut text = String::new();
    for sid in sids {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        text += &format!("server.{sid}=127.0.0.1:1:{port}\n");
        listeners.insert(*sid, listener);
    }
    (listeners, Configs::new(Ensemble::parse(&text).unwrap()))
}

fn start(sid: i64, listener: TcpListener, configs: &Configs) -> Member {
    let at = listener.local_addr().unwrap();
    let options = ElectionPortOptions {
        me: Sid(sid),
        advertised: vec![HostPort { host: "127.0.0.1".into(), port: at.port() }],
        dial: DialOptions { patience: PATIENCE, keep_alive: true, guards: Guards::default() },
        greeting_timeout: PATIENCE,
    };
    let (port, events) = ElectionPort::start(options, configs, vec![listener]);
    Member { port, events, at }
}

async fn alone(sid: i64) -> Member {
    let (mut listeners, configs) = listeners(&[sid]).await;
    start(sid, listeners.remove(&sid).unwrap(), &configs)
}

fn vote(epoch: i64) -> Notification<'static> {
    Notification {
        state: ServerState::Looking,
        leader: Sid(1),
        zxid: Zxid(0),
        election_epoch: epoch,
        peer_epoch: 0,
        version: 2,
        config: Some("version=0".into()),
    }
}

fn frame(epoch: i64) -> Vec<u8> {
    let mut out = Vec::new();
    vote(epoch).put_frame(&mut out);
    out
}

impl Member {
    async fn next(&mut self) -> ElectionEvent {
        timeout(PATIENCE, self.events.recv()).await.unwrap().unwrap()
    }

    /// The next vote of somebody.
    async fn hear(&mut self) -> (Sid, i64) {
        loop {
            if let ElectionEvent::Heard { from, vote } = self.next().await {
                return (from, vote.election_epoch);
            }
        }
    }

    /// Somebody dials this one.
    async fn call(&self, sid: i64, addresses: &[String]) -> TcpStream {
        let mut stream = TcpStream::connect(self.at).await.unwrap();
        let greeting = Greeting { sid: Sid(sid), addresses: addresses.to_vec() };
        stream.write_all(&greeting.to_bytes()).await.unwrap();
        stream
    }
}

async fn ends(stream: &mut TcpStream) -> bool {
    let mut bytes = Vec::new();
    matches!(timeout(PATIENCE, stream.read_to_end(&mut bytes)).await, Ok(Ok(_) | Err(_)))
}

async fn read_frame(stream: &mut TcpStream) -> i64 {
    let mut head = [0; 4];
    timeout(PATIENCE, stream.read_exact(&mut head)).await.unwrap().unwrap();
    let mut payload = vec![0; i32::from_be_bytes(head) as usize];
    timeout(PATIENCE, stream.read_exact(&mut payload)).await.unwrap().unwrap();
    Notification::read(&payload).unwrap().election_epoch
}

#[tokio::test]
async fn members_find_each_other_whoever_dials() {
    for dialler in [1, 2] {
        let (mut listeners, configs) = listeners(&[1, 2]).await;
        let mut one = start(1, listeners.remove(&1).unwrap(), &configs);
        let mut two = start(2, listeners.remove(&2).unwrap(), &configs);
        one.port.send(Sid(2), &vote(7));
        two.port.send(Sid(1), &vote(8));
        // The smaller one hangs up, and is called back.
        if dialler == 1 { &one } else { &two }.port.dial([Sid(1), Sid(2)]);
        assert_eq!(one.hear().await, (Sid(2), 8));
        assert_eq!(two.hear().await, (Sid(1), 7));
        // Both know of the connection, and need no other.
        one.port.dial([Sid(2)]);
        two.port.dial([Sid(1)]);
        one.port.send(Sid(2), &vote(9));
        assert_eq!(two.hear().await, (Sid(1), 9));
    }
}

#[tokio::test]
async fn who_is_not_there_refuses() {
    let (mut listeners, configs) = listeners(&[1, 2]).await;
    let mut one = start(1, listeners.remove(&1).unwrap(), &configs);
    drop(listeners);
    one.port.dial([Sid(2), Sid(99)]);
    assert_eq!(one.next().await, ElectionEvent::Refused(Sid(2)));
}

#[tokio::test]
async fn of_what_has_not_left_only_the_newest_does_and_it_is_told_again() {
    let mut one = alone(1).await;
    one.port.send(Sid(5), &vote(1));
    one.port.send(Sid(5), &vote(2));
    let mut first = one.call(5, &["h:1".into()]).await;
    assert_eq!(read_frame(&mut first).await, 2);
    one.port.send(Sid(5), &vote(3));
    assert_eq!(read_frame(&mut first).await, 3);
    // A new connection of the same member takes the place of the old one.
    let mut second = one.call(5, &["h:1".into()]).await;
    assert_eq!(read_frame(&mut second).await, 3);
    assert!(ends(&mut first).await);
    second.write_all(&frame(4)).await.unwrap();
    assert_eq!(one.hear().await, (Sid(5), 4));
}

#[tokio::test]
async fn a_smaller_sid_is_dialled_back_where_it_says_it_is() {
    let (mut listeners, configs) = listeners(&[2, 3]).await;
    let mut three = start(3, listeners.remove(&3).unwrap(), &configs);
    let back = listeners.remove(&2).unwrap();
    let at = back.local_addr().unwrap().to_string();
    let mut kept = Vec::new();
    // The second time its old connection is still there, as after a crash of its host.
    for sid in [2, 2, i64::MAX, i64::MAX] {
        let mut caller = three.call(sid, std::slice::from_ref(&at)).await;
        assert!(ends(&mut caller).await);
        let (mut stream, _) = timeout(PATIENCE, back.accept()).await.unwrap().unwrap();
        let mut greeting = vec![0; 20 + three.at.to_string().len()];
        stream.read_exact(&mut greeting).await.unwrap();
        let (greeting, _) = Greeting::read(&greeting).unwrap().unwrap();
        assert_eq!(greeting, Greeting { sid: Sid(3), addresses: vec![three.at.to_string()] });
        stream.write_all(&frame(sid & 0xff)).await.unwrap();
        let (from, epoch) = three.hear().await;
        assert_eq!(epoch, sid & 0xff);
        assert!(from == Sid(sid) || sid == i64::MAX && from < Sid(0), "{from}");
        // Whoever has no number gets one that is not taken.
        three.port.send(from, &vote(5));
        assert_eq!(read_frame(&mut stream).await, 5);
        // Who is connected is not dialled.
        three.port.dial([from]);
        assert!(timeout(Duration::from_millis(50), back.accept()).await.is_err());
        kept.push(stream);
    }
    assert!(ends(&mut kept[0]).await, "it was replaced");
}

#[tokio::test]
async fn what_is_no_greeting_or_no_vote_is_let_go() {
    let mut one = alone(1).await;
    for greeting in [
        [(-1i64).to_be_bytes(), 5i64.to_be_bytes()].concat(),
        [&(-65536i64).to_be_bytes()[..], &5i64.to_be_bytes(), &i32::MAX.to_be_bytes()].concat(),
        [&(-65536i64).to_be_bytes()[..], &5i64.to_be_bytes(), &0i32.to_be_bytes()].concat(),
        Greeting { sid: Sid(1), addresses: vec!["h:1".into()] }.to_bytes(),
    ] {
        let mut stream = TcpStream::connect(one.at).await.unwrap();
        stream.write_all(&greeting).await.unwrap();
        assert!(ends(&mut stream).await, "{greeting:?}");
    }
    for frame in [(-1i32).to_be_bytes(), (513i32 << 10).to_be_bytes()] {
        let mut stream = one.call(5, &["h:1".into()]).await;
        stream.write_all(&frame).await.unwrap();
        assert!(ends(&mut stream).await, "{frame:?}");
    }
    // A vote that cannot be read does no harm to the next; a greeting may come in pieces, and be of
    // before 3.5.
    let mut stream = TcpStream::connect(one.at).await.unwrap();
    let all = [&6i64.to_be_bytes()[..], &[0, 0, 0, 3, 1, 2, 3], &frame(9)].concat();
    for piece in all.chunks(5) {
        stream.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(one.hear().await, (Sid(6), 9));
}

#[tokio::test]
async fn strangers_are_bounded_and_members_are_not_kept_out() {
    let (mut listeners, configs) = listeners(&[1, 500]).await;
    let mut one = start(1, listeners.remove(&1).unwrap(), &configs);
    let mut callers = Vec::new();
    for sid in 10..74 {
        let mut stream = one.call(sid, &["h:1".into()]).await;
        stream.write_all(&frame(sid)).await.unwrap();
        assert_eq!(one.hear().await, (Sid(sid), sid));
        callers.push(stream);
    }
    assert!(ends(&mut one.call(74, &["h:1".into()]).await).await);
    let mut member = one.call(500, &["h:1".into()]).await;
    member.write_all(&frame(500)).await.unwrap();
    assert_eq!(one.hear().await, (Sid(500), 500));
    // One that has gone makes room.
    callers.pop();
    loop {
        let mut stream = one.call(74, &["h:1".into()]).await;
        stream.write_all(&frame(74)).await.unwrap();
        if let Ok(Some(ElectionEvent::Connected(Sid(74)))) =
            timeout(Duration::from_millis(50), one.events.recv()).await
        {
            break;
        }
    }
    assert_eq!(one.hear().await, (Sid(74), 74));
}

#[tokio::test]
async fn everything_ends_with_the_port() {
    let one = alone(1).await;
    let mut idle = TcpStream::connect(one.at).await.unwrap();
    let mut stream = one.call(5, &["h:1".into()]).await;
    one.port.send(Sid(5), &vote(1));
    assert_eq!(read_frame(&mut stream).await, 1);
    let Member { port, at, .. } = one;
    drop(port);
    assert!(ends(&mut stream).await && ends(&mut idle).await);
    assert!(TcpStream::connect(at).await.is_err());
}

#[tokio::test]
async fn a_connection_that_ends_is_told() {
    let mut one = alone(1).await;
    let caller = one.call(5, &["h:1".into()]).await;
    assert_eq!(one.next().await, ElectionEvent::Connected(Sid(5)));
    drop(caller);
    assert_eq!(one.next().await, ElectionEvent::Lost(Sid(5)));
}
