//! What the disk can do at this moment: the latency of a small durable write, seen from outside.
//!
//! A server that was just removed may leave work to the disk (write-back, discards of gigabytes of
//! logs). It must not be charged to the next one, so each turn waits until the disk is as fast
//! again as it was at its best. Busy cores slow it too, which no waiting mends: the figure is
//! reported.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::drive::histogram;
use crate::error::{Error, Result};
use crate::metric::quantile_us;

/// Durable writes of one look; some 20 ms on a fast disk.
const WRITES: u32 = 100;
/// A small transaction.
const BYTES: usize = 512;
/// As fast as at its best, but for noise.
const NEAR: f64 = 1.5;
const BETWEEN: Duration = Duration::from_millis(500);

/// Looks at a disk.
pub struct Disk {
    file: File,
    best_us: f64,
}

impl Disk {
    /// The disk of `dir`. Its file has no name any more.
    pub fn of(dir: &Path) -> Result<Disk> {
        let doing = || Error::io(format!("probe the disk of {}", dir.display()));
        fs::create_dir_all(dir).map_err(doing())?;
        let file = tempfile::tempfile_in(dir).map_err(doing())?;
        // Blocks that were written before: the time of a flush, not of growing a file.
        file.write_all_at(&vec![0; WRITES as usize * BYTES], 0).map_err(doing())?;
        file.sync_all().map_err(doing())?;
        Ok(Disk { file, best_us: f64::INFINITY })
    }

    /// The median of some durable writes, in us.
    pub fn look(&mut self) -> Result<f64> {
        let mut latencies = histogram();
        for write in 0..WRITES {
            let begin = Instant::now();
            self.file
                .write_all_at(&[write as u8; BYTES], u64::from(write) * BYTES as u64)
                .and_then(|()| self.file.sync_data())
                .map_err(Error::io("probe the disk"))?;
            latencies.saturating_record(begin.elapsed().as_nanos() as u64);
        }
        let median = quantile_us(&latencies, 0.5);
        self.best_us = self.best_us.min(median);
        Ok(median)
    }

    /// Waits until the disk is near its best, at most `patience`: on a machine that others use it
    /// may never be.
    pub fn settle(&mut self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        while self.look()? > NEAR * self.best_us && Instant::now() < deadline {
            std::thread::sleep(BETWEEN);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_look_is_remembered_and_no_name_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = Disk::of(dir.path()).unwrap();
        let (first, second) = (disk.look().unwrap(), disk.look().unwrap());
        assert!(first > 0.0);
        assert_eq!(disk.best_us, first.min(second));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_disk_at_its_best_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = Disk::of(dir.path()).unwrap();
        let begin = Instant::now();
        disk.settle(Duration::from_secs(60)).unwrap();
        assert!(begin.elapsed() < Duration::from_secs(30), "the first look is the best so far");
    }
}
