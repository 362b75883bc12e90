//! What the Java client of Prometheus exports of every process on Linux (`StandardExports`), as
//! dashboards know it: processor time, memory, open files.

use std::fs;

use super::environment;

/// Of the times in `/proc/self/stat`: `USER_HZ`, which Linux shows to every program as 100.
const TICKS_PER_SECOND: f64 = 100.0;

/// The figures: name, whether it only grows, value. What the system does not tell is left out.
pub(super) fn figures() -> Vec<(&'static str, bool, f64)> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let (stat, status, system) =
        (read("/proc/self/stat"), read("/proc/self/status"), read("/proc/stat"));
    let mut out = times(&stat, &system);
    for (name, key) in
        [("process_virtual_memory_bytes", "VmSize:"), ("process_resident_memory_bytes", "VmRSS:")]
    {
        if let Some(kib) = number(&status, key) {
            out.push((name, false, kib * 1024.0));
        }
    }
    if let Some([open, most]) = environment::file_descriptors() {
        out.push(("process_open_fds", false, open as f64));
        out.push(("process_max_fds", false, most as f64));
    }
    out
}

/// From `/proc/self/stat`, and the second in which the machine was started, from `/proc/stat`.
fn times(stat: &str, system: &str) -> Vec<(&'static str, bool, f64)> {
    // The program's name may have blanks and parentheses in it.
    let Some((_, fields)) = stat.rsplit_once(')') else { return Vec::new() };
    let fields: Vec<f64> = fields.split_whitespace().map(|f| f.parse().unwrap_or(0.0)).collect();
    let [Some(user), Some(kernel), Some(start)] = [11, 12, 19].map(|at| fields.get(at)) else {
        return Vec::new();
    };
    let mut out = vec![("process_cpu_seconds_total", true, (user + kernel) / TICKS_PER_SECOND)];
    if let Some(booted) = number(system, "btime") {
        out.push(("process_start_time_seconds", false, booted + start / TICKS_PER_SECOND));
    }
    out
}

/// The number behind a word at the beginning of a line.
fn number(text: &str, key: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_is_no_trouble() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 5 0 12345 1 1";
        let times = times(stat, "cpu 1\nbtime 1700000000\n");
        let want = [
            ("process_cpu_seconds_total", true, 3.0),
            ("process_start_time_seconds", false, 1_700_000_123.45),
        ];
        assert_eq!(times, want);
    }

    #[test]
    fn this_process_has_all_of_them() {
        let figures = figures();
        assert_eq!(figures.len(), 6, "{figures:?}");
        assert!(figures.iter().all(|(.., value)| *value >= 0.0));
        let memory = |name| figures.iter().find(|(one, ..)| *one == name).map(|(.., bytes)| *bytes);
        let [all, resident] =
            ["process_virtual_memory_bytes", "process_resident_memory_bytes"].map(memory);
        assert!(resident > Some(1e5) && resident < all, "{figures:?}");
    }
}
