//! The way of log lines to stderr.
//!
//! Whoever reads stderr may be slow, or stop: a pager, a pipe, a full disk. A thread of its own
//! writes the lines, so that no client, no tick and no stop waits for that; of lines for which
//! there is no room the first ones are kept, and the others counted. The audit log is not to lose
//! any, and has a thread that may wait (see [`AUDIT_TARGET`]): its lines are written where they are
//! made. Where there is no space for them it waits as for who does not read; any other error ends
//! the server, which must not go on without them.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;
use zk_server::{AUDIT_TARGET, log_audit};

/// With more bytes of lines waiting than this, further ones are lost.
const MOST_WAITING_BYTES: usize = 1 << 20;

/// Between two looks whether there is space for a line of the audit log.
const SPACE_POLL: Duration = Duration::from_millis(100);

/// Lines on their way to stderr.
#[derive(Clone)]
pub(super) struct Lines(Arc<Queue>);

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// There are lines, or all are written.
    news: Condvar,
    /// How the last line of the audit log was written; tracing keeps it for itself.
    audit: Mutex<Option<io::Result<Duration>>>,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    lost: u64,
    is_writing: bool,
    /// There is no thread: lines are written by who has them.
    is_direct: bool,
}

impl Lines {
    /// Starts the thread that writes to stderr.
    pub(super) fn start() -> Lines {
        Lines::start_on(io::stderr())
    }

    fn start_on(out: impl Write + Send + 'static) -> Lines {
        let queue = Arc::<Queue>::default();
        let own = queue.clone();
        let started = Builder::new().name("zk-lines".into()).spawn(move || own.run(out));
        queue.state.lock().is_direct = started.is_err();
        Lines(queue)
    }

    /// Writes a line of the audit log, in the form of all others, however long that takes.
    pub(super) fn audit(&self, line: &str) -> io::Result<()> {
        log_audit(line);
        // None if the filter hides it.
        let waited = self.0.audit.lock().take().transpose()?.unwrap_or_default();
        if waited >= SPACE_POLL {
            let ms = waited.as_millis();
            tracing::warn!("the audit log waited {ms} ms for space where stderr goes");
        }
        Ok(())
    }

    /// Waits until all is written, but not longer than this.
    pub(super) fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.0.state.lock();
        while state.is_writing || !state.waiting.is_empty() {
            if self.0.news.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
    }
}

impl Queue {
    fn run(&self, mut out: impl Write) {
        let mut lines = Vec::new();
        let mut state = self.state.lock();
        loop {
            while state.waiting.is_empty() {
                self.news.wait(&mut state);
            }
            std::mem::swap(&mut state.waiting, &mut lines);
            let lost = std::mem::take(&mut state.lost);
            state.is_writing = true;
            drop(state);
            // There is nobody to tell that stderr is closed.
            let _ = out.write_all(&lines);
            lines.clear();
            if lost > 0 {
                tracing::warn!("{lost} lines are missing here: nobody read the log in time");
            }
            state = self.state.lock();
            state.is_writing = false;
            self.news.notify_all();
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Writer<'a>;

    fn make_writer(&'a self) -> Writer<'a> {
        Writer::Queue(&self.0)
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Writer<'a> {
        match meta.target() {
            AUDIT_TARGET => Writer::Here(&self.0),
            _ => Writer::Queue(&self.0),
        }
    }
}

/// Where a line is written.
pub(super) enum Writer<'a> {
    /// By the caller, who looks into [`Queue::audit`] for what came of it.
    Here(&'a Queue),
    /// By the thread.
    Queue(&'a Queue),
}

impl Write for Writer<'_> {
    /// Is given a whole line at a time.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let queue = match self {
            Writer::Here(queue) => {
                *queue.audit.lock() = Some(write_at_last(&mut io::stderr(), line, SPACE_POLL));
                return Ok(line.len());
            }
            Writer::Queue(queue) => queue,
        };
        let mut state = queue.state.lock();
        if state.is_direct {
            drop(state);
            return io::stderr().write(line);
        }
        if state.waiting.len() + line.len() > MOST_WAITING_BYTES {
            state.lost += 1;
        } else {
            state.waiting.extend_from_slice(line);
            queue.news.notify_all();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes all of a line, and waits while there is no space for it; how long it did.
fn write_at_last(out: &mut impl Write, mut line: &[u8], between: Duration) -> io::Result<Duration> {
    use io::ErrorKind::{Interrupted, QuotaExceeded, StorageFull, WouldBlock, WriteZero};
    let mut waited = Duration::ZERO;
    while !line.is_empty() {
        match out.write(line) {
            Ok(0) => return Err(WriteZero.into()),
            Ok(n) => line = &line[n..],
            Err(error) => match error.kind() {
                Interrupted => {}
                // Who shares the terminal or pipe may have set it so; that is who reads slowly.
                WouldBlock => thread::sleep(between),
                StorageFull | QuotaExceeded => {
                    thread::sleep(between);
                    waited += between;
                }
                _ => return Err(error),
            },
        }
    }
    Ok(waited)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Machines are shared.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// Writes when it is let go, and tells what.
    struct Slow {
        may_go: mpsc::Receiver<()>,
        written: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.written.send(bytes.to_vec()).map_err(io::Error::other)?;
            // Whoever is gone holds up nobody.
            let _ = self.may_go.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_who_does_not_read() {
        let ((go, may_go), (tell, written)) = (mpsc::channel(), mpsc::channel());
        let lines = Lines::start_on(Slow { may_go, written: tell });
        lines.make_writer().write_all(b"first\n").unwrap();
        assert_eq!(written.recv_timeout(PATIENCE).unwrap(), b"first\n");
        let line = [b'x'; 1000];
        for _ in 0..2 * MOST_WAITING_BYTES / line.len() {
            lines.make_writer().write_all(&line).unwrap();
        }
        lines.flush(Duration::from_millis(1));
        {
            let state = lines.0.state.lock();
            assert!(state.is_writing && state.lost > 900, "{} are lost", state.lost);
            assert!(state.waiting.len() <= MOST_WAITING_BYTES);
        }
        drop(go);
        lines.flush(PATIENCE);
        assert_eq!(lines.0.state.lock().lost, 0);
        let rest = written.try_iter().map(|bytes| bytes.len()).sum::<usize>();
        assert_eq!(rest, MOST_WAITING_BYTES / line.len() * line.len());
    }

    /// Answers each write with what is next.
    struct Scripted {
        answers: Vec<io::Result<usize>>,
        written: Vec<u8>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let most =
                if self.answers.is_empty() { Ok(usize::MAX) } else { self.answers.remove(0) };
            let taken = bytes.len().min(most?);
            self.written.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_of_the_audit_log_waits_for_space_and_for_nothing_else() {
        const BETWEEN: Duration = Duration::from_millis(1);
        let errno = |code| Err(io::Error::from_raw_os_error(code));
        let (enospc, edquot, eagain, eintr, eio, epipe) = (28, 122, 11, 4, 5, 32);
        let answers = vec![errno(enospc), Ok(3), errno(eagain), errno(eintr), errno(edquot), Ok(1)];
        let mut out = Scripted { answers, written: Vec::new() };
        assert_eq!(write_at_last(&mut out, b"a line\n", BETWEEN).unwrap(), 2 * BETWEEN);
        assert_eq!(out.written, b"a line\n");
        for (answer, wanted) in [
            (errno(eio), io::Error::from_raw_os_error(eio).kind()),
            (errno(epipe), io::ErrorKind::BrokenPipe),
            (Ok(0), io::ErrorKind::WriteZero),
        ] {
            let mut out = Scripted { answers: vec![Ok(2), answer], written: Vec::new() };
            let error = write_at_last(&mut out, b"a line\n", BETWEEN).unwrap_err();
            assert_eq!((error.kind(), &*out.written), (wanted, &b"a "[..]));
        }
    }
}
