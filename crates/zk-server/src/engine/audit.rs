//! The audit log: Apache's lines, in the server's log under a target of their own.
//!
//! The pipeline appends lines to a buffer; a thread of its own writes them. A line of an audit log is
//! not to be dropped: when megabytes wait, no more transactions are made until the thread has taken
//! them. Requests wait for that as for a log that is behind, and no thread does; reads go on. What is
//! under way by then is told in any case, and bounded by what may be under way. At the stop there
//! is no bound, and a deadline: who never reads must not keep the process.
//!
//! Nor are changes made without their lines: when a line cannot be written, or the thread is gone, the
//! member ends like one whose log has failed. A sink that waits for space is only slow.
//!
//! Mirrors `AuditEvent` and `Slf4jAuditLogger`; differs in: control characters are escaped, and a
//! failure is no line at ERROR, since any client can cause one.

use parking_lot::{Condvar, Mutex};
use std::fmt::{self, Write};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};
use zk_core::AuditRecord;
use zk_proto::request::CreateMode;

/// What the lines of the audit log are filtered by. They are written by a thread of their own, which
/// waits for who reads them.
pub const AUDIT_TARGET: &str = "zkfleet::audit";

/// With more bytes of lines than this waiting, no more transactions are made.
const MOST_WAITING_BYTES: usize = 4 << 20;

/// A buffer that many lines made larger than this is not kept.
const KEPT_BYTES: usize = 64 << 10;

/// How long the last lines may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// Writes a line of the audit log, which comes without its end, and waits for who reads it. After an
/// error there is no other line, and the member ends.
pub type AuditSink = Arc<dyn Fn(&str) -> io::Result<()> + Send + Sync>;

/// Why there are no more lines.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuditError {
    #[error(
        "the audit log cannot be written: {source}; its last {lost_bytes} bytes may be missing"
    )]
    Write { source: io::Error, lost_bytes: usize },
    #[error("the audit log's thread has panicked; its last {lost_bytes} bytes may be missing")]
    Panic { lost_bytes: usize },
}

/// Lines on their way out.
pub(super) struct AuditLog {
    queue: Arc<Queue>,
    /// Who the server itself is.
    user: String,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    /// There are lines, there will be none, or the thread is gone.
    news: Condvar,
    /// Changed under the lock, read without it.
    is_full: AtomicBool,
    /// Nobody writes lines any more; for ever. As `is_full`.
    has_failed: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Each ends with a newline; there is none inside.
    lines: String,
    /// Bytes of lines that the thread has in its hands.
    taken: usize,
    is_unbounded: bool,
    is_running: bool,
    stop: bool,
}

impl AuditLog {
    pub(super) fn new() -> AuditLog {
        AuditLog { queue: Arc::default(), user: server_user() }
    }

    /// Starts the thread that gives each line to `write`, and calls `has_room` when there is room
    /// again. If it ends before it is told to, it says why to `failed`.
    pub(super) fn start(
        &self,
        write: impl Fn(&str) -> io::Result<()> + Send + 'static,
        has_room: impl Fn() + Send + 'static,
        failed: impl FnOnce(AuditError) + Send + 'static,
    ) -> io::Result<()> {
        self.queue.state.lock().is_running = true;
        let running = Running { queue: self.queue.clone(), error: None, failed: Some(failed) };
        // What does not start is dropped, and then not running any more.
        Builder::new().name("zk-audit".into()).spawn(move || running.run(write, has_room))?;
        Ok(())
    }

    /// Adds a line. Waits for nobody: it is called with locks held.
    pub(super) fn add(&self, record: &AuditRecord) {
        self.queue.add(&Line { record, user: &self.user });
    }

    /// Tells what the server itself does, `serverStart` or `serverStop`.
    pub(super) fn tell_server(&self, operation: &str, result: &str) {
        self.queue.add(&format_args!(
            "user={}\toperation={operation}\tresult={result}",
            Plain(&self.user)
        ));
    }

    /// Whether so much waits that no more should come.
    pub(super) fn is_full(&self) -> bool {
        self.queue.is_full.load(Ordering::Relaxed)
    }

    /// Whether lines are lost, and changes must not be made any more.
    pub(super) fn has_failed(&self) -> bool {
        self.queue.has_failed.load(Ordering::Acquire)
    }

    /// From now on there is room for all that comes.
    pub(super) fn lift_bound(&self) {
        let mut state = self.queue.state.lock();
        state.is_unbounded = true;
        self.queue.is_full.store(false, Ordering::Relaxed);
    }

    /// Writes what waits, as far as anybody takes it soon, and ends the thread.
    pub(super) fn end(&self) {
        let left = self.stop(FAREWELL);
        if left > 0 {
            tracing::warn!("the audit log may lack its last {left} bytes: nobody reads them");
        }
    }

    /// Lets the thread write what waits, and ends it; how many bytes nobody has taken within
    /// `patience`.
    fn stop(&self, patience: Duration) -> usize {
        let deadline = Instant::now() + patience;
        let mut state = self.queue.state.lock();
        state.stop = true;
        self.queue.news.notify_all();
        while state.is_running && !self.queue.news.wait_until(&mut state, deadline).timed_out() {}
        if state.is_running { state.lines.len() + state.taken } else { 0 }
    }
}

/// The thread, as long as there is one.
struct Running<F: FnOnce(AuditError)> {
    queue: Arc<Queue>,
    error: Option<io::Error>,
    failed: Option<F>,
}

impl<F: FnOnce(AuditError)> Running<F> {
    fn run(mut self, write: impl Fn(&str) -> io::Result<()>, has_room: impl Fn()) {
        self.error = self.queue.run(write, has_room).err();
    }
}

impl<F: FnOnce(AuditError)> Drop for Running<F> {
    fn drop(&mut self) {
        let mut state = self.queue.state.lock();
        let lost_bytes = state.lines.len() + state.taken;
        let error = match self.error.take() {
            Some(source) => Some(AuditError::Write { source, lost_bytes }),
            None if std::thread::panicking() => Some(AuditError::Panic { lost_bytes }),
            None => None,
        };
        if error.is_some() {
            self.queue.has_failed.store(true, Ordering::Release);
            self.queue.is_full.store(false, Ordering::Relaxed);
            state.lines = String::new();
        }
        drop(state);
        if let (Some(error), Some(failed)) = (error, self.failed.take()) {
            failed(error);
        }
        // Last: who waits for the end finds all of it told.
        self.queue.state.lock().is_running = false;
        self.queue.news.notify_all();
    }
}

impl Queue {
    fn add(&self, line: &dyn fmt::Display) {
        let mut state = self.state.lock();
        if self.has_failed.load(Ordering::Relaxed) {
            return;
        }
        let is_first = state.lines.is_empty();
        // Writing to a String cannot fail.
        let _ = writeln!(state.lines, "{line}");
        if state.lines.len() > MOST_WAITING_BYTES && !state.is_unbounded {
            self.is_full.store(true, Ordering::Relaxed);
        }
        drop(state);
        if is_first {
            self.news.notify_all();
        }
    }

    fn run(&self, write: impl Fn(&str) -> io::Result<()>, has_room: impl Fn()) -> io::Result<()> {
        let mut lines = String::new();
        loop {
            let mut state = self.state.lock();
            state.taken = 0;
            while state.lines.is_empty() {
                if state.stop {
                    return Ok(());
                }
                self.news.wait(&mut state);
            }
            std::mem::swap(&mut state.lines, &mut lines);
            state.taken = lines.len();
            let was_full = self.is_full.swap(false, Ordering::Relaxed);
            drop(state);
            if was_full {
                has_room();
            }
            lines.lines().try_for_each(&write)?;
            lines.clear();
            lines.shrink_to(KEPT_BYTES);
        }
    }
}

/// Writes a line of the audit log to the server's log, as far as anybody hears it.
pub fn log_audit(line: &str) {
    tracing::info!(target: AUDIT_TARGET, "{line}");
}

/// Whether lines reach anybody.
pub(super) fn is_heard() -> bool {
    tracing::enabled!(target: AUDIT_TARGET, tracing::Level::INFO)
}

/// Tells that the server has not started.
pub(crate) fn tell_failed_start(sink: AuditSink) {
    let log = AuditLog::new();
    log.tell_server("serverStart", "failure");
    // Without a thread there are other words about that.
    let _ = log.start(move |line| sink(line), || (), |error| tracing::error!("{error}"));
    log.end();
}

/// Whom the server runs as: Java's `user.name`.
fn server_user() -> String {
    let uid = rustix::process::getuid().as_raw();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    user_name(&users, uid).unwrap_or_else(|| uid.to_string())
}

fn user_name(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// A record as Apache writes it: tabs between the pairs, and only what there is.
struct Line<'a> {
    record: &'a AuditRecord,
    user: &'a str,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AuditRecord { session, asker, operation, path, mode, acl, is_success } = self.record;
        write!(f, "session=0x{:x}", session.0)?;
        let (user, ip) = match asker {
            Some(asker) => (&*asker.users, asker.ip),
            None => (self.user, None),
        };
        if !user.is_empty() {
            write!(f, "\tuser={}", Plain(user))?;
        }
        if let Some(ip) = ip {
            write!(f, "\tip={}", ip.to_canonical())?;
        }
        write!(f, "\toperation={operation}")?;
        if let Some(path) = path {
            write!(f, "\tznode={}", Plain(path))?;
        }
        if let Some(mode) = mode {
            write!(f, "\tznode_type={}", mode_name(*mode))?;
        }
        if let Some(acl) = acl {
            write!(f, "\tacl={}", Plain(acl))?;
        }
        write!(f, "\tresult={}", if *is_success { "success" } else { "failure" })
    }
}

/// Apache's names of the modes, in lower case as in its lines.
fn mode_name(mode: CreateMode) -> &'static str {
    match mode {
        CreateMode::Persistent => "persistent",
        CreateMode::Ephemeral => "ephemeral",
        CreateMode::PersistentSequential => "persistent_sequential",
        CreateMode::EphemeralSequential => "ephemeral_sequential",
        CreateMode::Container => "container",
        CreateMode::PersistentWithTtl => "persistent_with_ttl",
        CreateMode::PersistentSequentialWithTtl => "persistent_sequential_with_ttl",
    }
}

/// A text of a client that can neither end a line nor begin a pair.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Line and paragraph separators end a line for some readers.
        let is_bad = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        for part in self.0.split_inclusive(is_bad) {
            match part.chars().next_back().filter(|&c| is_bad(c)) {
                Some(bad) => {
                    f.write_str(&part[..part.len() - bad.len_utf8()])?;
                    write!(f, "\\u{:04x}", u32::from(bad))?;
                }
                None => f.write_str(part)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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
}
