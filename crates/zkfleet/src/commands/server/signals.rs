//! Signals, from the first moment on.
//!
//! While the server starts, a thread of its own waits for them: reading a large directory takes
//! minutes, and who is told to stop meanwhile has nothing to complete. Then whoever serves takes
//! the waiting over, so that a signal between the two is not lost.

use std::fs;
use std::io;
use std::process;
use std::thread::{self, JoinHandle};

use tokio::runtime::{self, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::LAST_LINES;
use super::lines::Lines;

/// A write that the limit of file sizes (`ulimit -f`) forbids: the number on Linux and macOS. Where
/// it has a handler the write fails (EFBIG), and is told as any other; without one the process
/// ends.
const SIGXFSZ: i32 = 25;

/// The signals that stop the server.
pub(super) struct Signals {
    runtime: Runtime,
    awaited: Vec<(&'static str, Signal)>,
}

/// Waits for signals until the data is there.
pub(super) struct Starting {
    waits: JoinHandle<Signals>,
    loaded: Option<oneshot::Sender<()>>,
}

impl Signals {
    /// Asks for them. Whoever starts a server under `nohup` wants it to outlive the terminal.
    pub(super) fn new() -> io::Result<Signals> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let mut awaited = vec![
            ("SIGTERM", signal(SignalKind::terminate())?),
            ("SIGINT", signal(SignalKind::interrupt())?),
        ];
        if !is_ignored(SignalKind::hangup()) {
            awaited.push(("SIGHUP", signal(SignalKind::hangup())?));
        }
        // Its handler stays when nobody listens.
        drop(signal(SignalKind::from_raw(SIGXFSZ))?);
        drop(entered);
        Ok(Signals { runtime, awaited })
    }

    /// Ends the process when one comes while the server starts: nobody was told anything yet, and
    /// the disk is as after a crash at worst, which the next start is made for.
    pub(super) fn while_starting(mut self, lines: Lines) -> io::Result<Starting> {
        let (loaded, is_loaded) = oneshot::channel::<()>();
        let waits = thread::Builder::new().name("zk-signals".to_owned()).spawn(move || {
            if let Err(name) = self.wait(is_loaded) {
                tracing::info!("stopping because of {name}, before anybody was served");
                lines.flush(LAST_LINES);
                process::exit(0);
            }
            self
        })?;
        Ok(Starting { waits, loaded: Some(loaded) })
    }

    /// Waits for something else, or, as an error, for the name of a signal.
    pub(super) fn wait<T>(&mut self, other: impl Future<Output = T>) -> Result<T, &'static str> {
        let Signals { runtime, awaited } = self;
        runtime.block_on(async {
            let mut other = std::pin::pin!(other);
            std::future::poll_fn(|context| {
                for (name, signal) in awaited.iter_mut() {
                    if signal.poll_recv(context).is_ready() {
                        return std::task::Poll::Ready(Err(*name));
                    }
                }
                other.as_mut().poll(context).map(Ok)
            })
            .await
        })
    }
}

impl Starting {
    /// From now on a stop has something to complete. A signal that comes is kept.
    pub(super) fn loaded(&mut self) {
        self.loaded = None;
    }

    /// The server has started, or has not: who calls waits for signals from now on.
    pub(super) fn end(mut self) -> Option<Signals> {
        self.loaded();
        self.waits.join().ok()
    }
}

/// Whether a signal was to be ignored when this process began. Where there is no /proc, none is.
fn is_ignored(kind: SignalKind) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores(&status, kind.as_raw_value())
}

fn ignores(status: &str, number: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (number - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_ignored_is_read_from_the_mask() {
        let status = "Name:\tzkfleet\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert!(ignores(status, 1) && ignores(status, 13));
        assert!(!ignores(status, 2) && !ignores(status, 15) && !ignores("", 1));
    }
}
