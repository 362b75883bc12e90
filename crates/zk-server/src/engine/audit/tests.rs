//! Lines of the audit log, and the thread that writes them.

use super::*;
use std::sync::mpsc;
use zk_core::Asker;
use zk_proto::SessionId;

/// Machines are shared.
const PATIENCE: Duration = Duration::from_secs(30);

fn record() -> AuditRecord {
    let ip = Some("::ffff:10.0.0.1".parse().unwrap());
    AuditRecord {
        session: SessionId(0x100_0000),
        asker: Some(Arc::new(Asker { users: "10.0.0.1,bob".into(), ip })),
        operation: "create",
        path: Some("/a".into()),
        mode: Some(CreateMode::EphemeralSequential),
        acl: None,
        is_success: true,
    }
}

fn text(record: &AuditRecord) -> String {
    Line { record, user: "root" }.to_string()
}

#[test]
fn lines_are_apaches() {
    assert_eq!(
        text(&record()),
        "session=0x1000000\tuser=10.0.0.1,bob\tip=10.0.0.1\toperation=create\tznode=/a\t\
         znode_type=ephemeral_sequential\tresult=success"
    );
    let own = AuditRecord { asker: None, mode: None, is_success: false, ..record() };
    assert_eq!(
        text(&own),
        "session=0x1000000\tuser=root\toperation=create\tznode=/a\tresult=failure"
    );
    let bare = AuditRecord { asker: Some(Arc::default()), path: None, ..own };
    assert_eq!(text(&bare), "session=0x1000000\toperation=create\tresult=failure");
    let acl = AuditRecord { acl: Some("world:anyone:r".into()), ..bare };
    assert!(text(&acl).ends_with("\tacl=world:anyone:r\tresult=failure"));
}

#[test]
fn nobody_forges_a_line() {
    for bad in ["\n", "\t", "\r", "\0", "\u{1b}[2J", "\u{85}", "\u{9b}", "\u{2028}"] {
        let users = format!("eve{bad}");
        let asker = Some(Arc::new(Asker { users, ip: None }));
        let (path, acl) = (Some(format!("/x{bad}result=success")), Some(bad.to_owned()));
        let line = text(&AuditRecord { asker, path, acl, ..record() });
        assert!(line.matches('\t').count() == 6, "{line:?}");
        let mut others = line.chars().filter(|&c| c != '\t');
        assert!(others.all(|c| !c.is_control() && c != '\u{2028}'), "{line:?}");
    }
    assert_eq!(Plain("/ä b\\n").to_string(), "/ä b\\n");
    assert_eq!(Plain("a\nb\t").to_string(), "a\\u000ab\\u0009");
}

#[test]
fn users_are_found_by_number() {
    let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nzk:x:101:7::/:/bin/false\n";
    assert_eq!(user_name(passwd, 101).as_deref(), Some("zk"));
    assert_eq!(user_name(passwd, 102), None);
}

#[test]
fn lines_come_out_in_order_and_all_of_them() {
    let (told, lines) = mpsc::channel();
    let log = AuditLog::new();
    let write = move |line: &str| told.send(line.to_owned()).map_err(io::Error::other);
    log.start(write, || (), |error| panic!("{error}")).unwrap();
    for i in 0..1000 {
        log.add(&AuditRecord { path: Some(format!("/{i}")), ..record() });
    }
    assert_eq!(log.stop(PATIENCE), 0);
    let all: Vec<String> = lines.iter().collect();
    assert_eq!(all.len(), 1000);
    assert!((0..1000).all(|i| all[i].contains(&format!("\tznode=/{i}\t"))));
}

/// A log with a thread that takes a line for each word sent to it, and word of what was written
/// and that there is room again.
struct Slow {
    log: AuditLog,
    go: mpsc::Sender<()>,
    lines: mpsc::Receiver<usize>,
    room: mpsc::Receiver<()>,
}

impl Slow {
    fn start() -> Slow {
        let ((go, may_go), (told, lines)) = (mpsc::channel(), mpsc::channel());
        let (has_room, room) = mpsc::channel();
        let write = move |line: &str| {
            // Whoever is gone holds up nobody.
            let _ = told.send(line.len());
            let _ = may_go.recv();
            Ok(())
        };
        let log = AuditLog::new();
        let has_room = move || has_room.send(()).unwrap_or_default();
        log.start(write, has_room, |error| panic!("{error}")).unwrap();
        Slow { log, go, lines, room }
    }

    /// The thread has a line in its hands, and more wait than should.
    fn fill(&self) {
        self.log.add(&record());
        self.lines.recv_timeout(PATIENCE).unwrap();
        let half = AuditRecord { path: Some("/".repeat(MOST_WAITING_BYTES / 2)), ..record() };
        self.log.add(&half);
        assert!(!self.log.is_full());
        self.log.add(&half);
        assert!(self.log.is_full());
    }
}

#[test]
fn it_is_full_until_the_lines_are_taken() {
    let slow = Slow::start();
    slow.fill();
    assert_eq!(slow.room.try_recv(), Err(mpsc::TryRecvError::Empty));
    slow.go.send(()).unwrap();
    slow.room.recv_timeout(PATIENCE).unwrap();
    assert!(!slow.log.is_full());
    // What is under way is told although there is no room for it.
    let long = AuditRecord { path: Some("/".repeat(MOST_WAITING_BYTES)), ..record() };
    slow.log.add(&long);
    slow.log.add(&record());
    drop(slow.go);
    assert_eq!(slow.log.stop(PATIENCE), 0);
    assert_eq!(slow.lines.iter().count(), 4);
}

#[test]
fn a_stop_waits_for_nobody_for_ever() {
    let slow = Slow::start();
    slow.fill();
    slow.log.lift_bound();
    assert!(!slow.log.is_full());
    slow.log.add(&record());
    assert!(!slow.log.is_full());
    let left = slow.log.stop(Duration::from_millis(10));
    assert!(left > MOST_WAITING_BYTES, "{left} bytes");
    drop(slow.go);
}

/// What is said by a log whose thread ends of the first line, and that it holds up nobody.
fn failure(write: impl Fn(&str) -> io::Result<()> + Send + 'static) -> String {
    let ((go, may_go), (tell, told)) = (mpsc::channel(), mpsc::channel());
    let (begin, begun) = mpsc::channel();
    let log = AuditLog::new();
    let write = move |line: &str| {
        begin.send(()).map_err(io::Error::other)?;
        may_go.recv().map_err(io::Error::other)?;
        write(line)
    };
    log.start(write, || (), move |error| tell.send(error.to_string()).unwrap()).unwrap();
    let long = AuditRecord { path: Some("/".repeat(MOST_WAITING_BYTES)), ..record() };
    log.add(&record());
    begun.recv_timeout(PATIENCE).unwrap();
    log.add(&long);
    log.add(&long);
    assert!(log.is_full() && !log.has_failed());
    go.send(()).unwrap();
    let told = told.recv_timeout(PATIENCE).unwrap();
    assert!(log.has_failed() && !log.is_full());
    // It keeps nothing for nobody.
    log.add(&long);
    assert_eq!(log.queue.state.lock().lines.capacity(), 0);
    assert_eq!(log.stop(PATIENCE), 0);
    let (words, lost) = told.split_once("; its last ").unwrap();
    let lost: usize = lost.split(' ').next().unwrap().parse().unwrap();
    assert!(lost > 2 * MOST_WAITING_BYTES, "{told}");
    words.to_owned()
}

#[test]
fn lines_that_cannot_be_written_are_a_failure() {
    let told = failure(|_| Err(io::ErrorKind::BrokenPipe.into()));
    assert_eq!(told, "the audit log cannot be written: broken pipe");
}

#[test]
fn a_thread_that_panicked_is_a_failure_and_not_waited_for() {
    let told = failure(|_| panic!("a test's own panic"));
    assert_eq!(told, "the audit log's thread has panicked");
}

#[test]
fn a_stop_is_no_failure() {
    let log = AuditLog::new();
    log.start(|_| Ok(()), || (), |error| panic!("{error}")).unwrap();
    log.add(&record());
    assert_eq!(log.stop(PATIENCE), 0);
    assert!(!log.has_failed());
}
