//! The audit log: Apache's lines, in the server's log under a target of their own.
//!
//! The pipeline appends lines to a buffer; a thread of its own writes them. A line of an audit log
//! is not to be dropped: when megabytes wait, no more transactions are made until the thread has
//! taken them. Requests wait for that as for a log that is behind, and no thread does; reads go on.
//! What is under way by then is told in any case, and bounded by what may be under way. At the stop
//! there is no bound, and a deadline: who never reads must not keep the process.
//!
//! Nor are changes made without their lines: when a line cannot be written, or the thread is gone,
//! the member ends like one whose log has failed. A sink that waits for space is only slow.
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
use zk_tree::auth::ip_text;

/// What the lines of the audit log are filtered by. They are written by a thread of their own,
/// which waits for who reads them.
pub const AUDIT_TARGET: &str = "zkfleet::audit";

/// With more bytes of lines than this waiting, no more transactions are made.
const MOST_WAITING_BYTES: usize = 4 << 20;

/// A buffer that many lines made larger than this is not kept.
const KEPT_BYTES: usize = 64 << 10;

/// How long the last lines may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// Writes a line of the audit log, which comes without its end, and waits for who reads it. After
/// an error there is no other line, and the member ends.
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
            write!(f, "\tip={}", ip_text(ip))?;
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
mod tests;
