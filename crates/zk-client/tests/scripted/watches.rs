//! Watches: order, restore, removal, read-only servers.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use crate::support::{PATIENCE, SESSION, Script};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use zk_client::{Client, Error, NewZnode, Options, SessionState, Watch, WatchEvent};
use zk_proto::request::Request;
use zk_proto::response::{GetDataResponse, StatResponse};
use zk_proto::watch::{AddWatchMode, EventType, WatcherType};
use zk_proto::{ErrorCode, Jute, OpCode, Stat, Zxid};

async fn next(watch: &mut Watch) -> Option<WatchEvent> {
    timeout(PATIENCE, watch.next()).await.expect("no event")
}

fn event(kind: EventType, path: &str, zxid: Option<i64>) -> Option<WatchEvent> {
    Some(WatchEvent { kind, path: path.to_owned(), zxid: zxid.map(Zxid) })
}

#[tokio::test]
async fn an_event_comes_before_the_reply_behind_it() {
    let server = Script::listen().await;
    let client = Client::start(Options { chroot: "/app".to_owned(), ..server.options() });
    let mut peer = server.serve().await;
    let (_, got) = tokio::join!(peer.serve_get(4, None), client.get_data_watched("/a"));
    let (_, _, mut watch) = got.unwrap();
    let serve = async {
        let asked = peer.request().await;
        peer.notify(EventType::NodeDataChanged, "/app/a", 5).await;
        let answer = StatResponse { stat: Stat::default() };
        peer.reply(asked.xid, 5, 0, &answer.to_bytes()).await;
    };
    let (_, set) = tokio::join!(serve, client.set_data("/a", Some(b"x"), -1));
    set.unwrap();
    let fired = watch.try_next();
    assert_eq!(fired, event(EventType::NodeDataChanged, "/a", Some(5)));
    assert_eq!(next(&mut watch).await, None, "a one-shot watch ends");
}

#[tokio::test]
async fn watches_outlive_a_connection_and_requests_in_flight_do_not() {
    let server = Script::listen().await;
    let client = Client::start(server.options());
    let mut peer = server.serve().await;
    let serve = async {
        let asked = peer.request().await;
        peer.reply(asked.xid, 9, ErrorCode::NoNode.code(), &[]).await;
        let asked = peer.request().await;
        peer.reply(asked.xid, 9, 0, &0i32.to_bytes()).await;
        assert_eq!(peer.request().await.op, OpCode::Create2);
    };
    let ask = async {
        let (stat, missing) = client.exists_watched("/missing").await.unwrap();
        assert_eq!(stat, None);
        let recursive = client.add_watch("/r", AddWatchMode::PersistentRecursive).await.unwrap();
        let asker = client.clone();
        let lost =
            tokio::spawn(async move { asker.create("/lost", NewZnode::persistent(b"")).await });
        (missing, recursive, lost)
    };
    let (_, (mut missing, mut recursive, lost)) = tokio::join!(serve, ask);
    drop(peer);
    assert_eq!(lost.await.unwrap(), Err(Error::ConnectionLoss { was_sent: true }));

    let mut peer = server.accept().await;
    assert_eq!(peer.welcome().await, (SESSION, vec![7; 16], 9));
    let asked = peer.request().await;
    let Request::SetWatches2(set) = asked.request() else { panic!("{asked:?}") };
    assert_eq!(
        (set.relative_zxid, set.exist, set.persistent_recursive),
        (9, Some(vec![Some("/missing".into())]), Some(vec![Some("/r".into())]))
    );
    peer.notify(EventType::NodeCreated, "/missing", -1).await;
    peer.notify(EventType::NodeCreated, "/r/x/y", 12).await;
    peer.reply(asked.xid, 12, 0, &[]).await;
    assert_eq!(next(&mut missing).await, event(EventType::NodeCreated, "/missing", None));
    assert_eq!(next(&mut recursive).await, event(EventType::NodeCreated, "/r/x/y", Some(12)));
}

#[tokio::test]
async fn a_dropped_watch_is_taken_away() {
    let server = Script::listen().await;
    let client = Client::start(server.options());
    let mut peer = server.serve().await;
    let serve = async {
        for _ in 0..2 {
            let asked = peer.request().await;
            peer.reply(asked.xid, 9, 0, &0i32.to_bytes()).await;
        }
        peer.serve_get(9, None).await
    };
    let ask = async {
        let first = client.add_watch("/p", AddWatchMode::Persistent).await.unwrap();
        let second = client.add_watch("/p", AddWatchMode::Persistent).await.unwrap();
        let (.., data) = client.get_data_watched("/d").await.unwrap();
        (first, second, data)
    };
    let (_, (first, second, data)) = tokio::join!(serve, ask);
    drop((first, data));
    drop(second);
    let asked = peer.request().await;
    let Request::RemoveWatches(remove) = asked.request() else { panic!("{asked:?}") };
    let want = (Some("/p".into()), WatcherType::Persistent.code());
    assert_eq!((remove.path, remove.watcher_type), want);
    drop(peer);
    // Nothing is left to be restored: the first request is the next one asked.
    let mut peer = server.serve().await;
    let (path, got) = tokio::join!(peer.serve_get(10, None), client.get_data("/next"));
    got.unwrap();
    assert_eq!(path, "/next");
}

#[tokio::test]
async fn a_watch_that_is_being_set_outlives_the_one_before_it() {
    let server = Script::listen().await;
    let client = Client::start(server.options());
    let mut peer = server.serve().await;
    let add = || client.add_watch("/p", AddWatchMode::Persistent);
    let (_, first) = tokio::join!(peer.serve_add_watch(9), add());
    let mut second = begin(add()).await;
    drop(first.unwrap());
    let (_, second) = tokio::join!(peer.serve_add_watch(9), &mut second);
    let mut second = second.unwrap();
    // Nothing took the watch away meanwhile: the next request is the next one asked.
    let (path, got) = tokio::join!(peer.serve_get(9, None), client.get_data("/next"));
    got.unwrap();
    assert_eq!(path, "/next");
    peer.notify(EventType::NodeCreated, "/p", 10).await;
    assert_eq!(next(&mut second).await, event(EventType::NodeCreated, "/p", Some(10)));
}

#[tokio::test]
async fn a_watch_whose_call_was_given_up_is_taken_away() {
    let server = Script::listen().await;
    let client = Client::start(server.options());
    let mut peer = server.serve().await;
    drop(begin(client.add_watch("/p", AddWatchMode::Persistent)).await);
    drop(begin(client.get_data_watched("/d")).await);
    peer.serve_add_watch(9).await;
    peer.serve_get(9, None).await;
    let asked = peer.request().await;
    let Request::RemoveWatches(remove) = asked.request() else { panic!("{asked:?}") };
    let want = (Some("/p".into()), WatcherType::Persistent.code());
    assert_eq!((remove.path, remove.watcher_type), want);
    peer.reply(asked.xid, 9, 0, &[]).await;
    for path in ["/p", "/d"] {
        assert_eq!(client.watch_kinds(path, WatcherType::Any), [], "{path}");
    }
}

/// Begins a call: its request is on its way, and nothing waits for the answer yet.
async fn begin<F: Future>(call: F) -> Pin<Box<F>> {
    let mut call = Box::pin(call);
    let begun = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending())).await;
    assert!(begun, "nobody has answered yet");
    call
}

#[tokio::test]
async fn removed_watches_end() {
    let server = Script::listen().await;
    let client = Client::start(server.options());
    let mut peer = server.serve().await;
    let serve = async {
        let asked = peer.request().await;
        peer.reply(asked.xid, 9, 0, &0i32.to_bytes()).await;
        let asked = peer.request().await;
        assert_eq!(asked.op, OpCode::RemoveWatches);
        peer.reply(asked.xid, 9, 0, &[]).await;
    };
    let ask = async {
        let mut watch = client.add_watch("/p", AddWatchMode::Persistent).await.unwrap();
        client.remove_watches("/p", WatcherType::Any).await.unwrap();
        assert_eq!(next(&mut watch).await, None);
    };
    tokio::join!(serve, ask);
}

#[tokio::test]
async fn raw_requests_with_watches_report_to_everybody_who_listens() {
    let server = Script::listen().await;
    let client = Client::start(server.options());
    let mut peer = server.serve().await;
    let mut events = client.events();
    let read = zk_proto::request::ReadRequest { path: "/a".into(), watch: true };
    let get = Request::GetData(read);
    let (_, reply) = tokio::join!(peer.serve_get(3, Some(b"x")), client.call(&get));
    let reply = reply.unwrap();
    assert_eq!((reply.zxid, reply.err), (Zxid(3), 0));
    let GetDataResponse { data, .. } = reply.record().unwrap();
    assert_eq!(data, Some(&b"x"[..]));
    peer.notify(EventType::NodeDeleted, "/a", 4).await;
    assert_eq!(next(&mut events).await, event(EventType::NodeDeleted, "/a", Some(4)));
}

#[tokio::test]
async fn a_session_on_a_read_only_server_moves_to_a_better_one() {
    let (read_only, better) = (Script::listen().await, Script::listen().await);
    let options = Options {
        servers: vec![read_only.address()],
        allows_read_only: true,
        ..read_only.options()
    };
    let options = Options { servers: vec![read_only.address(), better.address()], ..options };
    let client = Client::start(options);
    // Each server serves what comes: probes by their letters, sessions by a handshake.
    let play = |server: Script, is_read_only: bool| async move {
        let mut kept = Vec::new();
        loop {
            let mut peer = server.accept().await;
            let mut first = [0; 4];
            let Ok(Ok(_)) = timeout(Duration::from_secs(5), peer.0.peek(&mut first)).await else {
                continue;
            };
            if &first == b"isro" {
                peer.0.read_exact(&mut first).await.unwrap();
                let answer: &[u8] = if is_read_only { b"ro" } else { b"rw" };
                peer.0.write_all(answer).await.unwrap();
            } else {
                peer.welcome_to(SESSION, 10_000, is_read_only).await;
                kept.push(peer);
            }
        }
    };
    let tasks = [tokio::spawn(play(read_only, true)), tokio::spawn(play(better, false))];
    let mut states = client.states();
    let found = states.wait_for(|state| *state == SessionState::Connected);
    timeout(PATIENCE, found).await.expect("not found").unwrap();
    for task in tasks {
        task.abort();
    }
}
