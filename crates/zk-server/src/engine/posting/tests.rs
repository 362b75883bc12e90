//! Requests that find somebody at the pipeline, step by step: the tests are its thread.

use super::*;
use crate::admin::Metrics;
use crate::engine::requests::{Handled, Next};
use crate::engine::{EngineOptions, SaslOptions, TxnLog};
use crate::net::conn::{Line, OUTPUT_HIGH_WATER};
use crate::net::{Home, Seats};
use parking_lot::Mutex;
use std::sync::mpsc;
use std::time::Duration;
use zk_core::CoreOptions;
use zk_proto::connect::ConnectRequest;
use zk_proto::jute::put_frame;
use zk_proto::request::{PathRequest, ReadRequest, Request, RequestHeader, SetDataRequest};
use zk_proto::response::ReplyHeader;
use zk_proto::{Jute, Reader, Zxid};
use zk_tree::{TreeOptions, WatchCounts};

/// A log that is a list, and takes what it is told to.
#[derive(Default)]
struct List {
    zxids: Mutex<Vec<Zxid>>,
    refuses: Mutex<Option<AppendError>>,
}

struct Appender(Arc<List>);

impl TxnLog for Appender {
    fn append(&self, txns: &mut dyn Iterator<Item = (Zxid, &[u8])>) -> Result<(), AppendError> {
        self.0.zxids.lock().extend(txns.map(|(zxid, _)| zxid));
        Ok(())
    }

    fn admits(&self) -> Result<(), AppendError> {
        self.0.refuses.lock().map_or(Ok(()), Err)
    }
}

struct World {
    engine: Arc<Engine>,
    log: Arc<List>,
    seats: Arc<Seats>,
}

impl World {
    fn new(max_outstanding: usize) -> World {
        World::with(CoreOptions::default(), max_outstanding)
    }

    fn with(core: CoreOptions, max_outstanding: usize) -> World {
        World::of(core, max_outstanding, 100 << 20)
    }

    fn of(core: CoreOptions, max_outstanding: usize, max_backlog_bytes: usize) -> World {
        let options = EngineOptions {
            core,
            max_frame_bytes: 1 << 20,
            max_outstanding,
            large_requests: None,
            max_unsent_bytes: 64 << 20,
            max_backlog_bytes,
            handshake_deadline_ms: 5000,
            sasl: SaslOptions::default(),
        };
        let log = Arc::<List>::default();
        let appender = Box::new(Appender(log.clone()));
        let tree = Tree::new(TreeOptions::default());
        let engine = Engine::new(options, tree, Vec::new(), Arc::<Metrics>::default(), appender);
        World { engine, log, seats: Seats::new(0, 0) }
    }

    /// A connection with a session.
    fn client(&self) -> Arc<Conn> {
        self.client_of(None)
    }

    /// The same, of an address whose requests are counted.
    fn client_of(&self, address: Option<&str>) -> Arc<Conn> {
        let seat = address.map(|address| self.seats.take(address.parse().unwrap()).unwrap());
        let peer = "127.0.0.1:9".parse().unwrap();
        let home =
            Arc::new(Home::new(true, self.engine.backlog.clone(), self.engine.traffic.clone()));
        let line = Line { peer, socket: None, seat, home, is_secure: false };
        let conn = self.engine.connect(line, Vec::new(), i64::MAX);
        let connect = ConnectRequest::new_session(10_000);
        let mut frame = Vec::new();
        put_frame(&mut frame, |out| connect.write(out));
        self.engine.input(&conn, &frame).unwrap();
        self.sync();
        assert_eq!(conn.state.lock().phase, Phase::Live);
        conn.state.lock().drop_output();
        conn
    }

    /// Everything in the log is durable, and applied.
    fn sync(&self) {
        while self.engine.logged_some(self.engine.last_proposed()) {}
    }

    /// How much of `input` is read while somebody is at the pipeline.
    fn post(&self, conn: &Arc<Conn>, input: &[u8]) -> Option<usize> {
        let _gate = self.engine.gate.lock();
        self.engine.submit(conn, input).unwrap()
    }

    fn logged(&self) -> usize {
        self.log.zxids.lock().len()
    }
}

fn request(xid: i32, request: &Request<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    put_frame(&mut frame, |out| {
        RequestHeader { xid, op: request.opcode().code() }.write(out);
        request.write(out);
    });
    frame
}

fn set(xid: i32, data: &[u8]) -> Vec<u8> {
    let set = SetDataRequest { path: "/zookeeper/quota".into(), data: Some(data), version: -1 };
    request(xid, &Request::SetData(set))
}

/// The xids of the answers, in order.
fn answers(conn: &Conn) -> Vec<i32> {
    let output = conn.state.lock().take_output();
    let mut rest = &output[..];
    let mut xids = Vec::new();
    while let Ok(Some(frame)) = first_frame(rest, 1 << 20) {
        let header = ReplyHeader::read(&mut Reader::new(frame)).unwrap();
        assert_eq!(header.err, 0);
        xids.push(header.xid);
        rest = &rest[4 + frame.len()..];
    }
    xids
}

#[test]
fn what_was_posted_goes_first_and_in_order() {
    let world = World::new(1000);
    let conn = world.client();
    let frames = [set(1, b"a"), set(2, b"b")].concat();
    assert_eq!(world.post(&conn, &frames), Some(frames.len()));
    assert_eq!(world.engine.pipe.posted(), 2);
    // Nobody is at the pipeline, but there is mail: this waits behind it.
    let third = set(3, b"c");
    assert_eq!(world.engine.submit(&conn, &third), Ok(Some(third.len())));
    assert_eq!(world.engine.take_mail(), Turn::Done);
    assert_eq!(world.engine.pipe.posted(), 0);
    assert!(answers(&conn).is_empty(), "nothing is on the disk yet");
    world.sync();
    assert_eq!(answers(&conn), [1, 2, 3]);
    // The way is free again.
    world.engine.submit(&conn, &set(4, b"d")).unwrap();
    assert!(world.engine.pipe.is_empty());
    world.sync();
    assert_eq!(answers(&conn), [4]);
}

#[test]
fn a_client_that_does_not_read_takes_nobody_s_place() {
    let world = World::new(1000);
    let (deaf, other) = (world.client(), world.client());
    let frames: Vec<u8> = (0..20).flat_map(|xid| set(xid, &[7; 200_000])).collect();
    let read = world.post(&deaf, &frames).unwrap();
    assert!(read > 2 << 20, "{read} bytes were read");
    assert_eq!(world.post(&other, &set(1, b"a")), None, "there is no room");
    deaf.state.lock().output().resize(OUTPUT_HIGH_WATER, 0);
    assert_eq!(world.engine.take_mail(), Turn::Done);
    assert_eq!(world.engine.pipe.posted(), 0);
    assert!(world.post(&other, &set(1, b"a")).is_some());
    assert_eq!(world.engine.take_mail(), Turn::Done);
    world.sync();
    assert_eq!(answers(&other), [1]);
    // It reads again, and all of its requests are answered.
    deaf.state.lock().drop_output();
    world.engine.post_again(&deaf);
    while world.engine.take_mail() != Turn::Done {}
    world.sync();
    let count = answers(&deaf).len();
    assert!(count > 10 && world.engine.pipe.posted() == 0, "{count} answers");
    assert_eq!(deaf.state.lock().in_flight, 0);
}

#[test]
fn a_long_read_behind_a_write_stands_in_nobody_s_way() {
    let world = World::new(1000);
    let conn = world.client();
    let long = Request::GetAllChildrenNumber(PathRequest { path: "/".into() });
    let (first, second, third) = (set(1, b"a"), request(2, &long), set(3, b"b"));
    let frames = [&first[..], &second, &third].concat();
    let handled = world.engine.input(&conn, &frames).unwrap();
    assert_eq!(handled, Handled { bytes: first.len(), next: Next::Log });
    assert_eq!(world.engine.gate.lock().core.outstanding(), 1);
    // It is woken, and is not taken for silent meanwhile.
    conn.heard_ms.store(i64::MIN, Ordering::Relaxed);
    world.sync();
    assert!(conn.heard_ms.load(Ordering::Relaxed) >= 0);
    assert_eq!(answers(&conn), [1]);
    let handled = world.engine.input(&conn, &frames[first.len()..]).unwrap();
    assert_eq!(handled.bytes, second.len() + third.len());
    assert_eq!(answers(&conn), [2]);
    world.sync();
    assert_eq!(answers(&conn), [3]);
}

#[test]
fn reads_that_nobody_takes_are_bounded_without_any_write() {
    let world = World::of(CoreOptions::default(), 1000, 250_000);
    let writer = world.client();
    world.engine.submit(&writer, &set(1, &[7; 100_000])).unwrap();
    world.sync();
    let readers = [0; 3].map(|_| world.client());
    let path = || ReadRequest { path: "/zookeeper/quota".into(), watch: false };
    for reader in &readers {
        world.engine.input(reader, &request(1, &Request::GetData(path()))).unwrap();
    }
    let left = readers.iter().filter(|conn| conn.state.lock().phase == Phase::Live).count();
    assert_eq!(left, 2, "one has been let go");
}

#[test]
fn whoever_sends_without_a_pause_leaves_room_for_others() {
    let world = World::new(usize::MAX);
    let many = [0; 12].map(|_| world.client_of(Some("10.0.0.1")));
    let other = world.client_of(Some("10.0.0.2"));
    let frames: Vec<u8> = (0..20_000).flat_map(|xid| set(xid, b"x")).collect();
    let mut sent = 0;
    for conn in &many {
        while let Some(bytes @ 1..) = world.post(conn, &frames) {
            sent += bytes;
        }
    }
    assert!(sent > frames.len() / 2 && sent < frames.len(), "{sent} of {}", frames.len());
    assert_eq!(world.post(&many[11], &frames), None);
    // A large one of another address goes at once, and then not all that there is.
    let large = set(1, &[7; 1_000_000]);
    assert_eq!(world.post(&other, &large), Some(large.len()));
    assert!(world.post(&other, &frames).is_some_and(|bytes| bytes < frames.len()));
    while world.engine.take_mail() != Turn::Done {}
    world.sync();
    assert_eq!(other.state.lock().in_flight, 0);
    // However many bytes wait.
    for conn in &many[..3] {
        while let Some(1..) = world.post(conn, &large) {}
    }
    assert_eq!(world.post(&other, &large), Some(large.len()));
    while world.engine.take_mail() != Turn::Done {}
    world.sync();
    // All is answered, and nothing is under way: whoever waited goes on, and ends in the midst.
    assert!(world.post(&many[11], &frames).is_some());
    for conn in many.iter().chain([&other]) {
        world.engine.disconnect(conn);
    }
    while world.engine.take_mail() != Turn::Done {}
    world.sync();
    assert!(world.client_of(Some("10.0.0.1")).room() > Some(10_000));
}

#[test]
fn no_more_are_posted_than_there_are_places() {
    let world = World::new(3);
    let (first, second) = (world.client(), world.client());
    let frames: Vec<u8> = (0..5).flat_map(|xid| set(xid, b"x")).collect();
    assert_eq!(world.post(&first, &frames), Some(3 * set(0, b"x").len()));
    assert_eq!(world.post(&second, &set(9, b"y")), None);
    assert_eq!(world.engine.take_mail(), Turn::Done);
    assert_eq!(world.post(&second, &set(9, b"y")), None, "they are under way");
    world.sync();
    assert!(world.post(&second, &set(9, b"y")).is_some());
}

#[test]
fn changes_wait_for_the_audit_log_and_reads_do_not() {
    const PATIENCE: Duration = Duration::from_secs(30);
    let world = World::with(CoreOptions { audit: true, ..CoreOptions::default() }, 1000);
    let [first, second, reader] = [0; 3].map(|_| world.client());
    let ((go, may_go), (told, lines)) = (mpsc::channel::<()>(), mpsc::channel());
    let (tell_room, has_room) = mpsc::channel();
    let audit = world.engine.audit.as_ref().unwrap();
    let write = move |_: &str| {
        told.send(()).unwrap();
        may_go.recv().unwrap_or_default();
        Ok(())
    };
    let engine = world.engine.clone();
    let on_room = move || {
        engine.note_room();
        tell_room.send(()).unwrap();
    };
    audit.start(write, on_room, |error| panic!("{error}")).unwrap();
    audit.tell_server("this line is being written", "");
    lines.recv_timeout(PATIENCE).unwrap();
    while !audit.is_full() {
        audit.tell_server(&"x".repeat(1 << 20), "");
    }
    let before = world.logged();
    assert_eq!(world.engine.submit(&first, &set(1, b"a")), Ok(None));
    assert!(world.post(&second, &set(2, b"b")).is_some());
    assert_eq!(world.engine.take_mail(), Turn::Blocked);
    let read = ReadRequest { path: "/".into(), watch: false };
    world.engine.input(&reader, &request(3, &Request::GetData(read))).unwrap();
    assert_eq!((answers(&reader), world.logged()), (vec![3], before));
    // Who waits is not silent, and nothing expires.
    first.heard_ms.store(i64::MIN, Ordering::Relaxed);
    assert!(!world.engine.expire_some());
    assert!(first.heard_ms.load(Ordering::Relaxed) >= 0);
    go.send(()).unwrap();
    has_room.recv_timeout(PATIENCE).unwrap();
    assert_eq!(world.engine.take_mail(), Turn::Done);
    assert!(world.engine.submit(&first, &set(1, b"a")).unwrap().is_some());
    world.sync();
    assert_eq!((answers(&first), answers(&second)), (vec![1], vec![2]));
    drop(go);
    audit.end();
}

#[test]
fn without_an_audit_log_there_are_no_changes() {
    const PATIENCE: Duration = Duration::from_secs(30);
    let world = World::with(CoreOptions { audit: true, ..CoreOptions::default() }, 1000);
    let [poster, other] = [0; 2].map(|_| world.client());
    let (go, may_go) = mpsc::channel::<()>();
    let may_go = Mutex::new(may_go);
    let sink = move |_: &str| {
        may_go.lock().recv().unwrap();
        Err(std::io::ErrorKind::BrokenPipe.into())
    };
    let auditing = world.engine.start_audit(Arc::new(sink)).unwrap();
    assert!(world.post(&poster, &set(1, b"a")).is_some());
    let before = world.logged();
    go.send(()).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while !world.engine.is_poisoned() {
        assert!(std::time::Instant::now() < deadline, "nothing is said");
        std::thread::yield_now();
    }
    assert_eq!(world.engine.admits(), Err(AppendError::Closed));
    assert_eq!(world.engine.take_mail(), Turn::Done);
    assert!(!world.engine.expire_some());
    world.sync();
    assert_eq!((world.logged(), world.engine.pipe.posted()), (before, 0));
    assert!(!auditing.end());
    // The connections' own tasks see to the rest.
    assert_eq!([&poster, &other].map(|conn| conn.state.lock().phase), [Phase::Dead; 2]);
    assert_eq!(world.engine.metrics.unrecoverable_error_count.get(), 1);
}

#[test]
fn last_words_wait_for_the_log_too() {
    let world = World::new(1000);
    let conn = world.client();
    let before = world.logged();
    *world.log.refuses.lock() = Some(AppendError::Busy);
    world.post(&conn, &request(5, &Request::CloseSession)).unwrap();
    assert_eq!(world.engine.take_mail(), Turn::Blocked);
    world.engine.disconnect(&conn);
    assert_eq!((world.logged(), world.engine.gate.lock().conns.len()), (before, 1));
    *world.log.refuses.lock() = None;
    assert_eq!(world.engine.take_mail(), Turn::Done);
    world.sync();
    assert_eq!(world.logged(), before + 1);
    let gate = world.engine.gate.lock();
    assert_eq!((gate.conns.len(), gate.core.sessions().len()), (0, 0));
}

#[test]
fn last_words_are_dropped_when_the_log_is_closed() {
    let world = World::new(1000);
    let conn = world.client();
    world.post(&conn, &set(1, b"a")).unwrap();
    *world.log.refuses.lock() = Some(AppendError::Closed);
    world.engine.disconnect(&conn);
    assert_eq!(world.engine.gate.lock().conns.len(), 0);
    assert_eq!(world.engine.pipe.posted(), 0);
}

#[test]
fn nobody_waits_for_a_million_watches_to_go() {
    const MANY: usize = 10_000;
    let world = World::new(1000);
    let total = || world.engine.watches.lock().counts().total;
    let watching = |path: &str| {
        let conn = world.client();
        let mut watches = world.engine.watches.lock();
        watches.add_data(path, conn.id);
        (0..MANY).for_each(|number| watches.add_data(&format!("/{number}"), conn.id));
        conn
    };
    let writer = world.client();
    let (silent, speaking) = (watching("/zookeeper/quota"), watching("/zookeeper/quota"));
    // One ends here, the other's end is heard behind its last words.
    world.engine.disconnect(&silent);
    world.post(&speaking, &set(1, b"a")).unwrap();
    world.engine.disconnect(&speaking);
    assert_eq!(world.engine.take_mail(), Turn::Done);
    // Of both, for nobody had the time.
    assert!(total() > MANY, "{} are left", total());
    // What is still there tells nobody, and does not count as told.
    world.engine.submit(&writer, &set(2, b"b")).unwrap();
    world.sync();
    assert_eq!(answers(&writer), [2]);
    assert_eq!(world.engine.metrics.node_changed_watch_count.count(), 0);
    assert!(answers(&silent).is_empty());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let all_gone = async {
            while total() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = world.engine.see_leavers_off() => {}
            () = all_gone => {}
        }
    });
    assert_eq!(world.engine.watches.lock().counts(), WatchCounts::default());
}
