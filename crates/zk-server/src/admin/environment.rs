//! What `envi` tells about process and machine. Of Apache's keys those about a JVM are left out.

use std::fs;

use super::full_version;

/// Keys and values in Apache's order; what the system does not tell is left out.
pub(super) fn entries() -> Vec<(&'static str, String)> {
    let env = |name: &str| std::env::var(name).ok();
    let dir = std::env::current_dir().ok().map(|dir| dir.display().to_string());
    let memory = |key| memory_mb(key).map(|mb| format!("{mb}MB"));
    let all = [
        ("zookeeper.version", Some(full_version())),
        ("host.name", host_name()),
        ("os.name", Some(os_name().to_owned())),
        ("os.arch", Some(os_arch().to_owned())),
        ("os.version", proc("/proc/sys/kernel/osrelease")),
        ("user.name", env("USER").or_else(|| env("LOGNAME"))),
        ("user.home", env("HOME")),
        ("user.dir", dir),
        ("os.memory.free", memory("MemAvailable:")),
        ("os.memory.max", memory("MemTotal:")),
        ("os.memory.total", memory("MemTotal:")),
    ];
    all.into_iter().filter_map(|(key, value)| value.map(|value| (key, value))).collect()
}

/// The machine's name for itself.
pub(super) fn host_name() -> Option<String> {
    proc("/proc/sys/kernel/hostname")
}

fn proc(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// Open files of this process, and how many it may open.
pub(super) fn file_descriptors() -> Option<[u64; 2]> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    let most = line.split_whitespace().nth(3)?.parse::<u64>().unwrap_or(u64::MAX);
    // Reading the directory holds one more open.
    Some([(open as u64).saturating_sub(1), most])
}

fn memory_mb(key: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}

/// Java's names.
fn os_name() -> &'static str {
    match std::env::consts::OS {
        "linux" => "Linux",
        "macos" => "Mac OS X",
        other => other,
    }
}

fn os_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        other => other,
    }
}
