//! Requests and replies: order, back-pressure, chroot, errors, ends.

use std::time::Duration;

use crate::support::{PATIENCE, SESSION, Script};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use zk_client::{ANY_VERSION, Client, Error, NewZnode, OpResult, Options, SessionState};
use zk_proto::request::{MultiOp, Request, SetDataRequest, VersionedPath};
use zk_proto::response::{Create2Response, GetChildrenResponse, MultiResponse, MultiResult};
use zk_proto::{ErrorCode, Jute, OpCode, SessionId, Stat, Zxid};

#[tokio::test]
async fn a_hundred_requests_are_pipelined_and_answered_in_order() {
    let server = Script::listen().await;
    let client = Client::start(server.options());
    let mut peer = server.serve().await;
    let mut pending = Vec::new();
    for at in 0..100 {
        let path = format!("/{at}");
        let set = SetDataRequest { path: path.into(), data: None, version: ANY_VERSION };
        pending.push(client.send(&Request::SetData(set)).await.unwrap());
    }
    for at in 0..100 {
        let asked = peer.request().await;
        assert_eq!((asked.xid, asked.op), (at + 1, OpCode::SetData));
    }
    for at in 0..100i32 {
        peer.reply(at + 1, 1000 + i64::from(at), 0, &Stat::default().to_bytes()).await;
    }
    for (at, pending) in pending.into_iter().enumerate() {
        assert_eq!(pending.await.unwrap().zxid, Zxid(1000 + at as i64));
    }
    assert_eq!(client.last_zxid(), Zxid(1099));
}

#[tokio::test]
async fn who_asks_too_much_waits() {
    let server = Script::listen().await;
    let options = Options { pending_weight_max: 3, ..server.options() };
    let client = Client::start(options);
    let mut peer = server.serve().await;
    let data = [0; 1500];
    let set = |path: &'static str| SetDataRequest {
        path: path.into(),
        data: Some(&data),
        version: ANY_VERSION,
    };
    // 1500 bytes weigh 2, so two do not fit.
    let first = client.send(&Request::SetData(set("/1"))).await.unwrap();
    let asked = peer.request().await;
    let second = Request::SetData(set("/2"));
    let mut second = Box::pin(client.send(&second));
    assert!(timeout(Duration::from_millis(50), &mut second).await.is_err(), "it had to wait");
    peer.reply(asked.xid, 1, 0, &Stat::default().to_bytes()).await;
    first.await.unwrap();
    timeout(PATIENCE, second).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_chroot_is_put_before_and_taken_off() {
    let server = Script::listen().await;
    let options = Options { chroot: "/app".to_owned(), ..server.options() };
    let client = Client::start(options);
    let mut peer = server.serve().await;
    let serve = async {
        let asked = peer.request().await;
        let Request::Create(create) = asked.request() else { panic!("{asked:?}") };
        assert_eq!((create.op, &*create.path), (OpCode::Create2, "/app/a-"));
        let created = Create2Response { path: "/app/a-0000000000".into(), stat: Stat::default() };
        peer.reply(asked.xid, 5, 0, &created.to_bytes()).await;
        let asked = peer.request().await;
        let Request::GetEphemerals(get) = asked.request() else { panic!("{asked:?}") };
        assert_eq!(get.prefix.as_deref(), Some("/app"));
        let paths = GetChildrenResponse { children: vec!["/app/e".into()] };
        peer.reply(asked.xid, 5, 0, &paths.to_bytes()).await;
        assert_eq!(peer.serve_get(5, None).await, "/app");
        let asked = peer.request().await;
        let Request::Multi(multi) = asked.request() else { panic!("{asked:?}") };
        let MultiOp::Delete(delete) = &multi.ops[0] else { panic!("{multi:?}") };
        assert_eq!(delete.path, "/app/x");
        let results = vec![MultiResult::Delete, MultiResult::Create("/app/y".into())];
        peer.reply(asked.xid, 6, 0, &MultiResponse { results }.to_bytes()).await;
    };
    let ask = async {
        let created = client.create("/a-", NewZnode::persistent(b"")).await.unwrap();
        assert_eq!(created.0, "/a-0000000000");
        assert_eq!(client.get_ephemerals("/").await.unwrap(), ["/e"]);
        assert_eq!(client.get_data("/").await.unwrap().0, None);
        let ops = [
            MultiOp::Delete(VersionedPath { path: "/x".into(), version: ANY_VERSION }),
            MultiOp::Create(NewZnode::persistent(b"").at("/y")),
        ];
        let results = client.multi(&ops).await.unwrap();
        assert_eq!(results, [OpResult::Deleted, OpResult::Created("/y".to_owned(), None)]);
    };
    tokio::join!(serve, ask);
}

#[tokio::test]
async fn null_empty_and_large_data_come_as_they_are() {
    let server = Script::listen().await;
    let client = Client::start(server.options());
    let mut peer = server.serve().await;
    let large = vec![9; 5 << 20];
    for data in [None, Some(&b""[..]), Some(b"abc"), Some(&large)] {
        let (_, got) = tokio::join!(peer.serve_get(1, data), client.get_data("/a"));
        assert_eq!(got.unwrap().0.as_deref(), data);
    }
}

#[tokio::test]
async fn errors_name_code_and_path() {
    let server = Script::listen().await;
    let client = Client::start(server.options());
    let mut peer = server.serve().await;
    let refuse = async {
        for err in [-101, -101, -9999] {
            let asked = peer.request().await;
            peer.reply(asked.xid, 3, err, &[]).await;
        }
        let asked = peer.request().await;
        let results = [0, -103, -2].map(MultiResult::Error).to_vec();
        peer.reply(asked.xid, 4, 0, &MultiResponse { results }.to_bytes()).await;
        let asked = peer.request().await;
        peer.reply(asked.xid, 5, 0, b"short").await;
    };
    let ask = async {
        assert_eq!(client.exists("/a").await, Ok(None));
        let gone = client.get_data("/a").await.unwrap_err();
        assert_eq!(gone, Error::Refused { code: ErrorCode::NoNode, path: "/a".to_owned() });
        let strange = client.get_data("/a").await.unwrap_err();
        assert_eq!(strange, Error::Strange { code: -9999, path: "/a".to_owned() });
        let check =
            |path: &'static str| MultiOp::Check(VersionedPath { path: path.into(), version: 1 });
        let failed = client.multi(&[check("/0"), check("/1"), check("/2")]).await.unwrap_err();
        let want = Error::Multi { at: 1, code: ErrorCode::BadVersion, path: "/1".to_owned() };
        assert_eq!(failed, want);
        assert!(matches!(client.get_data("/a").await, Err(Error::BadReply(_))));
    };
    tokio::join!(refuse, ask);
}

#[tokio::test]
async fn close_comes_after_what_was_asked_before() {
    let server = Script::listen().await;
    let client = Client::start(server.options());
    let mut peer = server.serve().await;
    let set = SetDataRequest { path: "/a".into(), data: None, version: ANY_VERSION };
    let pending = client.send(&Request::SetData(set)).await.unwrap();
    let serve = async {
        assert_eq!(peer.request().await.op, OpCode::SetData);
        assert_eq!(peer.request().await.op, OpCode::CloseSession);
        peer.reply(1, 5, 0, &Stat::default().to_bytes()).await;
        peer.reply(2, 6, 0, &[]).await;
        peer.until_end().await;
    };
    let (_, closed) = tokio::join!(serve, client.close());
    closed.unwrap();
    assert_eq!(pending.await.unwrap().zxid, Zxid(5));
    assert_eq!(client.state(), SessionState::Closed);
    assert_eq!(client.get_data("/a").await, Err(Error::Closed));
}

#[tokio::test]
async fn dropping_the_last_clone_closes_the_session() {
    let server = Script::listen().await;
    let client = Client::start(server.options());
    let mut peer = server.serve().await;
    let clone = client.clone();
    drop(client);
    let (_, got) = tokio::join!(peer.serve_get(1, None), clone.get_data("/a"));
    got.unwrap();
    drop(clone);
    let asked = peer.request().await;
    assert_eq!(asked.op, OpCode::CloseSession);
    peer.reply(asked.xid, 2, 0, &[]).await;
    peer.until_end().await;
}

#[tokio::test]
async fn a_detached_session_is_resumed_with_what_it_has_seen() {
    let server = Script::listen().await;
    let client = Client::start(server.options());
    let mut peer = server.serve().await;
    let (_, got) = tokio::join!(peer.serve_get(77, None), client.get_data("/a"));
    got.unwrap();
    let saved = client.detach().await;
    assert_eq!((saved.id, saved.last_zxid), (SESSION, Zxid(77)));
    peer.until_end().await;
    let resumed = Client::start(Options { resume: Some(saved), ..server.options() });
    let mut peer = server.accept().await;
    assert_eq!(peer.welcome().await, (SESSION, vec![7; 16], 77));
    resumed.connected().await.unwrap();
}

#[tokio::test]
async fn an_expired_session_is_told_to_everybody() {
    let server = Script::listen().await;
    let client = Client::start(server.options());
    let mut events = client.events();
    let lose = async {
        let mut peer = server.serve().await;
        peer.request().await;
    };
    let (_, got) = tokio::join!(lose, client.get_data("/a"));
    assert_eq!(got, Err(Error::ConnectionLoss { was_sent: true }));
    let mut peer = server.accept().await;
    peer.welcome_to(SessionId::NONE, 0, false).await;
    assert_eq!(client.connected().await, Err(Error::SessionExpired));
    assert_eq!(client.get_data("/a").await, Err(Error::SessionExpired));
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_web_server_is_recognised() {
    let server = Script::listen().await;
    let options = Options { connect_rounds_max: Some(1), ..server.options() };
    let answer = async {
        let mut peer = server.accept().await;
        peer.frame().await;
        peer.0.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        peer
    };
    let (_peer, refused) = tokio::join!(answer, Client::connect(options));
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("it speaks HTTP") && !text.contains("frame"), "{text}");
}

#[tokio::test]
async fn a_frame_above_the_limit_ends_the_connection() {
    let server = Script::listen().await;
    let client = Client::start(Options { frame_bytes_max: 100, ..server.options() });
    let mut peer = server.serve().await;
    let serve = async {
        peer.request().await;
        peer.send(&[0; 101]).await;
        peer.until_end().await;
    };
    let (_, got) = tokio::join!(serve, client.get_data("/a"));
    assert_eq!(got, Err(Error::ConnectionLoss { was_sent: true }));
}

#[tokio::test]
async fn when_nobody_listens_the_error_says_where_and_why() {
    let address = Script::listen().await.address();
    let options = Options { connect_rounds_max: Some(2), ..Options::to(vec![address.clone()]) };
    let error = timeout(PATIENCE, Client::connect(options)).await.unwrap();
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with(&format!("no connection to {address}: {address}: ")), "{error}");
    assert!(error.contains("refused"), "{error}");
}

#[test]
fn without_its_runtime_a_client_says_so_at_once() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let client = first.block_on(async {
        let server = Script::listen().await;
        let client = Client::start(server.options());
        server.serve().await;
        client
    });
    drop(first);
    second.block_on(async {
        assert_eq!(client.get_data("/a").await, Err(Error::Closed));
        assert_eq!(timeout(PATIENCE, client.close()).await.unwrap(), Ok(()));
    });
}
