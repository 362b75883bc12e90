//! A disk that can be full: a small tmpfs for each member's log, where root may mount one.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::Command;

/// Room for the logs of all rounds, and no more.
const SIZE: &str = "size=64m";
const FILLER: &str = "filler";

/// Mounted until it is dropped.
#[derive(Debug)]
pub(crate) struct Disk {
    dir: PathBuf,
}

fn run(program: &str, args: &[&str]) -> io::Result<()> {
    let output = Command::new(program).args(args).output()?;
    let told = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(io::Error::other(told())) }
}

impl Disk {
    pub(crate) fn mount(name: &str) -> io::Result<Disk> {
        let dir = std::env::temp_dir().join(format!("zkfleet-disk-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir)?;
        let disk = Disk { dir };
        run("mount", &["-t", "tmpfs", "-o", SIZE, "tmpfs", &disk.dir.to_string_lossy()])?;
        Ok(disk)
    }

    /// For `zoo.cfg`.
    pub(crate) fn line(&self) -> String {
        format!("dataLogDir={}", self.dir.display())
    }

    /// Takes all that is free.
    pub(crate) fn fill(&self) -> io::Result<()> {
        let mut file = File::create(self.dir.join(FILLER))?;
        for size in [1 << 20, 4096] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        Ok(())
    }

    pub(crate) fn clear(&self) -> io::Result<()> {
        fs::remove_file(self.dir.join(FILLER))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // If it was never mounted there is nothing to give back; lazily, for a member may live yet.
        let _ = run("umount", &["-l", &self.dir.to_string_lossy()]);
        let _ = fs::remove_dir(&self.dir);
    }
}

/// One for each member, or none, loudly.
pub(crate) fn disks(name: &str, sids: &[i64]) -> Vec<(i64, Disk)> {
    let mounted = sids.iter().map(|sid| Ok((*sid, Disk::mount(&format!("{name}-{sid}"))?)));
    match mounted.collect::<io::Result<Vec<_>>>() {
        Ok(disks) => disks,
        Err(why) => {
            // Not eprintln, which the test harness keeps to itself when a test passes.
            let _ = writeln!(io::stderr(), "SKIPPED: full disks, no tmpfs can be mounted: {why}");
            Vec::new()
        }
    }
}
