//! The memory and the open files of a server under attack, and how much its limits allow.

use std::fmt;
use std::fs;

use zk_testkit::Error;

const MIB: u64 = 1 << 20;
/// What may wait for all clients together: the default of `maxUnsentBytesOfAll`.
const UNSENT: u64 = 512 * MIB;
/// Answers that may wait for clients of the admin server; it is no setting.
const ANSWERS: u64 = 64 * MIB;
/// What has no limit of its own in bytes: requests that are under way, at most 4 MiB of each
/// connection, watches and sessions of strangers, and what the allocator keeps of all that.
const REST: u64 = 64 * MIB;

/// What buffers still have of what has gone out: less than half of each in any case, and attackers
/// that read nothing take little more than the system's own buffers hold.
const SENT: u64 = UNSENT / 4;

/// What may be left when attackers are gone and their sessions have expired: the rest, since
/// nothing waits for anybody.
const LEFT: u64 = REST;
/// Files that may be open besides: those of the log, of snapshots, and of who asks for metrics.
const FILES: usize = 16;
/// What attackers may take meanwhile.
const TAKEN: u64 = UNSENT + SENT + ANSWERS + REST;

/// The memory of a process.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Memory {
    /// Now.
    resident: u64,
    /// The most until now.
    peak: u64,
    /// Open files, connections too.
    files: usize,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> Result<Memory, Error> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
            kib.map_or(u64::MAX, |kib| kib << 10)
        };
        let files = fs::read_dir(format!("/proc/{pid}/fd"))?.count();
        Ok(Memory { resident: field("VmRSS:"), peak: field("VmHWM:"), files })
    }

    /// What is wrong if this process has been as large as it was at `now`.
    pub(crate) fn taken(self, now: Memory) -> Option<String> {
        let taken = now.peak.saturating_sub(self.resident);
        let wrong = || format!("attackers took {} MiB, of at most {}", taken / MIB, TAKEN / MIB);
        (taken > TAKEN).then(wrong)
    }

    /// What is wrong if it stays as large as it is at `now`.
    pub(crate) fn left(self, now: Memory) -> Option<String> {
        let left = now.resident.saturating_sub(self.resident);
        let wrong = || format!("{} MiB are left, of at most {}", left / MIB, LEFT / MIB);
        let files = now.files.saturating_sub(self.files);
        let open = || format!("{files} files stay open, of at most {FILES}");
        (left > LEFT).then(wrong).or_else(|| (files > FILES).then(open))
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Memory { resident, peak, files } = self;
        write!(f, "{} MiB, at most {}, and {files} files", resident / MIB, peak / MIB)
    }
}
