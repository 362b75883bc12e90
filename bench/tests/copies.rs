//! The floor server with copies: an answer needs a majority of its files.
#![allow(clippy::unwrap_used, reason = "a test's panic is its failure")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid as Process, Signal, kill_process};
use zkfleet_bench::loads::Check;
use zkfleet_bench::metric::Metric;
use zkfleet_bench::proc::Pid;
use zkfleet_bench::run::{Target, Timing, run};

struct Floor {
    child: Child,
    addr: SocketAddr,
    pids: Vec<u32>,
    dir: tempfile::TempDir,
}

impl Floor {
    fn with_copies(copies: usize) -> Floor {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_zkfleet-bench"));
        command.args(["floor", "--copies", &copies.to_string(), "--file"]);
        let mut child = command.arg(dir.path().join("log")).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let addr = lines.next().unwrap().unwrap().parse().unwrap();
        let pids = lines.next().unwrap().unwrap();
        let pids = pids.split(',').map(|pid| pid.parse().unwrap()).collect();
        Floor { child, addr, pids, dir }
    }

    fn writes(&self) -> f64 {
        let timing =
            Timing { warm: Duration::from_millis(20), measured: Duration::from_millis(100) };
        let pids = self.pids.iter().map(|pid| Pid(*pid)).collect();
        let target = Target { addrs: vec![self.addr], pids, check: Check::Framing };
        run(&"set-1x1".parse().unwrap(), &target, &timing).unwrap().get(Metric::OpsPerS).unwrap()
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Process::from_raw(pid as i32).unwrap(), signal).unwrap();
}

#[test]
fn a_majority_of_the_copies_is_enough_and_has_what_was_written() {
    let floor = Floor::with_copies(2);
    assert_eq!(floor.pids[0], floor.child.id());
    assert!(floor.writes() > 0.0);
    // It hears nothing and says nothing, as a member that hangs.
    signal(floor.pids[1], Signal::STOP);
    assert!(floor.writes() > 0.0);
    let begins = |name: &str| std::fs::read(floor.dir.path().join(name)).unwrap()[..4096].to_vec();
    assert!(begins("log") == begins("log.copy2"), "the copies differ");
    assert!(begins("log").iter().any(|byte| *byte != 0), "nothing was written");
    signal(floor.pids[1], Signal::CONT);
    assert!(floor.writes() > 0.0);
}
