//! When a server writes snapshots, seen from outside: the files of its data directory that are no
//! logs grow.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Between two looks; a snapshot of a million znodes takes a hundred times as long.
const EVERY: Duration = Duration::from_millis(5);
/// A shorter pause in the growth (a collection, a slow disk) belongs to the same snapshot.
const PAUSE: Duration = Duration::from_millis(200);

/// From when to when a snapshot was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// The last look before it grew.
    pub from: Instant,
    /// The first look that saw all of it.
    pub to: Instant,
}

/// Looks at a data directory until it is told to stop.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Window>>,
}

impl Watch {
    /// Begins to look at `dir` (`version-2`).
    #[must_use]
    pub fn start(dir: PathBuf) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut looks = Looks::new(Instant::now(), bytes_of_snapshots(&dir));
            while !told.load(Ordering::Relaxed) || looks.is_growing(Instant::now()) {
                thread::sleep(EVERY);
                looks.look(Instant::now(), bytes_of_snapshots(&dir));
            }
            looks.windows
        });
        Watch { stop, thread }
    }

    /// Waits for a snapshot under way, then returns them all.
    #[must_use]
    pub fn finish(self) -> Vec<Window> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

/// What was seen so far.
struct Looks {
    at: Instant,
    bytes: u64,
    windows: Vec<Window>,
}

impl Looks {
    fn new(at: Instant, bytes: u64) -> Looks {
        Looks { at, bytes, windows: Vec::new() }
    }

    fn look(&mut self, at: Instant, bytes: u64) {
        // Less than before: an old snapshot was removed.
        if bytes > self.bytes {
            match self.windows.last_mut() {
                Some(last) if self.at - last.to <= PAUSE => last.to = at,
                _ => self.windows.push(Window { from: self.at, to: at }),
            }
        }
        (self.at, self.bytes) = (at, bytes);
    }

    fn is_growing(&self, now: Instant) -> bool {
        self.windows.last().is_some_and(|last| now - last.to <= PAUSE)
    }
}

fn bytes_of_snapshots(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .filter_map(Result::ok)
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with("log."))
        // A file that is gone by now was a temporary one.
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_a_snapshot_and_a_short_pause_does_not_split_it() {
        let begin = Instant::now();
        let ms = |ms| begin + Duration::from_millis(ms);
        let mut looks = Looks::new(begin, 100);
        for (at, bytes) in [
            (5, 100),
            (10, 150),
            (15, 150),
            (100, 200),
            (105, 200),
            (400, 200),
            (405, 50),
            (410, 60),
        ] {
            looks.look(ms(at), bytes);
        }
        let window = |from, to| Window { from: ms(from), to: ms(to) };
        assert_eq!(looks.windows, [window(5, 100), window(405, 410)]);
        assert!(looks.is_growing(ms(500)) && !looks.is_growing(ms(700)));
    }

    #[test]
    fn only_files_that_are_no_logs_count() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("log.1"), [0; 100]).unwrap();
        let watch = Watch::start(dir.path().to_owned());
        fs::write(dir.path().join("log.1"), [0; 300]).unwrap();
        assert_eq!(watch.finish(), []);
        assert_eq!(bytes_of_snapshots(dir.path()), 0);
        fs::write(dir.path().join("snapshot.5"), [0; 70]).unwrap();
        assert_eq!(bytes_of_snapshots(dir.path()), 70);
    }
}
