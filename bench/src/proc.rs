//! What the kernel knows of processes and of the machine (`/proc`, Linux only).

use std::fs;
use std::time::Duration;

use crate::error::{Error, Result};

/// A process by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pid(pub u32);

/// Processor time: of a server, of this program, and of the whole machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    server: Duration,
    own: Duration,
    all: Duration,
}

/// Processor time between two looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuUse {
    /// Of the server, all members of it.
    pub server: Duration,
    /// Of this program.
    pub own: Duration,
    /// Of everything else.
    pub others: Duration,
}

impl Cpu {
    /// Processor time until now. The server's is that of `members` added up; without any it
    /// counts as that of others.
    pub fn now(members: &[Pid]) -> Result<Cpu> {
        let each = members.iter().map(|pid| process_cpu(&pid.0.to_string()));
        Ok(Cpu {
            server: each.sum::<Result<Duration>>()?,
            own: process_cpu("self")?,
            all: machine_cpu()?,
        })
    }

    /// Processor time since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Cpu) -> CpuUse {
        let server = self.server.saturating_sub(earlier.server);
        let own = self.own.saturating_sub(earlier.own);
        let all = self.all.saturating_sub(earlier.all);
        CpuUse { server, own, others: all.saturating_sub(server + own) }
    }
}

/// Resident memory of all these processes together, in bytes.
pub fn rss_bytes(members: &[Pid]) -> Result<u64> {
    members.iter().map(|pid| rss_bytes_of(*pid)).sum()
}

fn rss_bytes_of(pid: Pid) -> Result<u64> {
    let statm = read(&format!("/proc/{}/statm", pid.0))?;
    let pages = statm.split(' ').nth(1).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Ok(pages * rustix::param::page_size() as u64)
}

/// The most that these processes have ever had, added up, in bytes.
pub fn peak_rss_bytes(members: &[Pid]) -> Result<u64> {
    let peak = |pid: &Pid| {
        let status = read(&format!("/proc/{}/status", pid.0))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kib.unwrap_or(0) << 10)
    };
    members.iter().map(peak).sum()
}

/// The load averages, as the kernel prints them.
pub fn load_average() -> Result<String> {
    let text = read("/proc/loadavg")?;
    Ok(text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// What the machine is, in one line.
pub fn machine() -> Result<String> {
    let cpuinfo = read("/proc/cpuinfo")?;
    let field = |key: &str| {
        cpuinfo.lines().find(|line| line.starts_with(key)).and_then(|line| line.split_once(": "))
    };
    let model = field("model name").map_or("unknown processor", |(_, model)| model.trim());
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let memory = read("/proc/meminfo")?
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0);
    Ok(format!("{cores} x {model}, {:.0} GiB", memory as f64 / f64::from(1 << 20)))
}

/// The kernel's release.
pub fn kernel() -> Result<String> {
    Ok(format!("Linux {}", read("/proc/sys/kernel/osrelease")?.trim()))
}

/// Lets this process, and those it starts, open as many files as the system allows it.
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    // If it fails, opening a socket fails later and names ulimit.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

fn process_cpu(pid: &str) -> Result<Duration> {
    let stat = read(&format!("/proc/{pid}/stat"))?;
    // The command's name is in parentheses and may hold anything; utime and stime are the 12th
    // and 13th field behind it (proc_pid_stat(5)).
    let behind = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    Ok(ticks(behind.split(' ').skip(11).take(2)))
}

fn machine_cpu() -> Result<Duration> {
    // cpu user nice system idle iowait irq softirq steal (proc_stat(5)): all but the idle ones,
    // and not what the hypervisor took.
    let stat = read("/proc/stat")?;
    let line = stat.lines().next().unwrap_or("");
    let fields = line.split_whitespace().skip(1).take(7).enumerate();
    Ok(ticks(fields.filter(|(i, _)| !matches!(i, 3 | 4)).map(|(_, field)| field)))
}

fn ticks<'a>(fields: impl Iterator<Item = &'a str>) -> Duration {
    let sum: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_secs_f64(sum as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(Error::io(format!("read {path}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;
    use std::time::Instant;

    #[test]
    fn work_shows_as_processor_time_of_the_right_process() {
        let me = [Pid(std::process::id())];
        let before = Cpu::now(&me).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while Cpu::now(&me).unwrap().since(&before).server < Duration::from_millis(30) {
            assert!(Instant::now() < deadline, "spinning did not count as processor time");
            (0..100_000u64).for_each(|i| _ = black_box(i));
        }
        let used = Cpu::now(&[]).unwrap().since(&before);
        assert!(used.own >= Duration::from_millis(30));
    }

    #[test]
    fn touched_memory_shows_as_resident() {
        let me = [Pid(std::process::id())];
        let before = rss_bytes(&me).unwrap();
        let block = black_box(vec![1u8; 64 << 20]);
        assert!(rss_bytes(&me).unwrap() >= before + (60 << 20));
        drop(block);
        assert!(peak_rss_bytes(&me).unwrap() >= before + (60 << 20));
    }

    #[test]
    fn the_machine_has_a_name() {
        assert!(machine().unwrap().contains(" x "));
        assert!(kernel().unwrap().len() > "Linux ".len());
        assert_eq!(load_average().unwrap().split(' ').count(), 3);
    }
}
