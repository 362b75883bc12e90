//! The audit log: Apache's lines, in the server's log under a target of their own.
//!
//! The pipeline appends lines to a buffer; a thread of its own writes them, so that a slow stderr
//! holds up nobody before megabytes wait. Beyond that those who change something wait, with no lock
//! in their hands: a line of an audit log is not to be dropped.
//!
//! Mirrors `AuditEvent` and `Slf4jAuditLogger`; differs in: control characters are escaped, and a
//! failure is no line at ERROR, since any client can cause one.

use parking_lot::{Condvar, Mutex};
use std::fmt::{self, Write};
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use zk_core::AuditRecord;
use zk_proto::request::CreateMode;

/// What the lines are filtered by.
const TARGET: &str = "zkfleet::audit";

/// With more bytes of lines than this waiting, changes wait for the thread that writes them.
const MOST_WAITING_BYTES: usize = 4 << 20;

/// A buffer that many lines made larger than this is not kept.
const KEPT_BYTES: usize = 64 << 10;

/// Lines on their way out.
pub(super) struct AuditLog {
    queue: Arc<Queue>,
    /// Who the server itself is.
    user: String,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    /// There are lines, or there will be none.
    news: Condvar,
    /// Lines were taken.
    room: Condvar,
}

#[derive(Default)]
struct State {
    /// Each ends with a newline; there is none inside.
    lines: String,
    stop: bool,
}

impl AuditLog {
    pub(super) fn new() -> AuditLog {
        AuditLog { queue: Arc::default(), user: server_user(), thread: Mutex::new(None) }
    }

    /// Starts the thread that gives each line to `write`.
    pub(super) fn start(&self, write: impl Fn(&str) + Send + 'static) -> io::Result<()> {
        let queue = self.queue.clone();
        let thread = Builder::new().name("zk-audit".into()).spawn(move || queue.run(write))?;
        *self.thread.lock() = Some(thread);
        Ok(())
    }

    /// Adds a line. Waits for nobody: it is called with locks held.
    pub(super) fn add(&self, record: &AuditRecord) {
        self.queue.add(&Line { record, user: &self.user });
    }

    /// Waits until there is room for more lines.
    pub(super) fn wait_for_room(&self) {
        let mut state = self.queue.state.lock();
        while state.lines.len() > MOST_WAITING_BYTES && !state.stop {
            self.queue.room.wait(&mut state);
        }
    }

    /// Writes what waits and ends the thread.
    pub(super) fn stop(&self) {
        self.queue.state.lock().stop = true;
        self.queue.news.notify_all();
        self.queue.room.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            // It has no words left if it panicked.
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn add(&self, line: &dyn fmt::Display) {
        let mut state = self.state.lock();
        let is_first = state.lines.is_empty();
        // Writing to a String cannot fail.
        let _ = writeln!(state.lines, "{line}");
        drop(state);
        if is_first {
            self.news.notify_one();
        }
    }

    fn run(&self, write: impl Fn(&str)) {
        let mut lines = String::new();
        loop {
            let mut state = self.state.lock();
            while state.lines.is_empty() {
                if state.stop {
                    return;
                }
                self.news.wait(&mut state);
            }
            std::mem::swap(&mut state.lines, &mut lines);
            drop(state);
            self.room.notify_all();
            lines.lines().for_each(&write);
            lines.clear();
            lines.shrink_to(KEPT_BYTES);
        }
    }
}

/// Writes a line to the server's log.
pub(super) fn write(line: &str) {
    tracing::info!(target: TARGET, "{line}");
}

/// Whether lines reach anybody.
pub(super) fn is_heard() -> bool {
    tracing::enabled!(target: TARGET, tracing::Level::INFO)
}

/// Tells what the server itself does, `serverStart` or `serverStop`.
pub(crate) fn tell_server(operation: &str, result: &str) {
    write(&format!("user={}\toperation={operation}\tresult={result}", Plain(&server_user())));
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
        log.start(move |line| told.send(line.to_owned()).unwrap()).unwrap();
        for i in 0..1000 {
            log.add(&AuditRecord { path: Some(format!("/{i}")), ..record() });
        }
        log.stop();
        let all: Vec<String> = lines.iter().collect();
        assert_eq!(all.len(), 1000);
        assert!((0..1000).all(|i| all[i].contains(&format!("\tznode=/{i}\t"))));
    }

    #[test]
    fn changes_wait_when_nobody_takes_the_lines() {
        let (go, may_go) = mpsc::channel::<()>();
        let log = Arc::new(AuditLog::new());
        log.start(move |_| may_go.recv().unwrap_or_default()).unwrap();
        let long = AuditRecord { path: Some("/".repeat(MOST_WAITING_BYTES)), ..record() };
        // The first is being written, the second waits: that is all that there is room for.
        log.add(&record());
        while !log.queue.state.lock().lines.is_empty() {
            std::thread::yield_now();
        }
        log.wait_for_room();
        log.add(&long);
        let own = log.clone();
        let waiting = std::thread::spawn(move || own.wait_for_room());
        std::thread::yield_now();
        assert!(!waiting.is_finished(), "there is no room");
        go.send(()).unwrap();
        waiting.join().unwrap();
        drop(go);
        log.stop();
    }
}
