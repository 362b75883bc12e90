//! Every kind of load against the floor server, and the proof that a server which keeps nothing
//! is found out.
#![allow(clippy::unwrap_used, reason = "a test's panic is its failure")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use zkfleet_bench::error::{Error, Result};
use zkfleet_bench::floor::Floor;
use zkfleet_bench::loads::Check;
use zkfleet_bench::loads::writers::Writers;
use zkfleet_bench::metric::{Metric, Values};
use zkfleet_bench::proc::Pid;
use zkfleet_bench::run::{Target, Timing, run};

struct Served {
    addr: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
    _dir: tempfile::TempDir,
}

fn serve(durable: bool) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log");
    let listen = "127.0.0.1:0".parse().unwrap();
    let mut floor = Floor::bind(listen, durable.then_some(file.as_path())).unwrap();
    let addr = floor.addr();
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let thread = Some(std::thread::spawn(move || floor.run(&told)));
    Served { addr, stop, thread, _dir: dir }
}

impl Served {
    fn run(&self, load: &str, check: Check) -> Result<Values> {
        let timing =
            Timing { warm: Duration::from_millis(20), measured: Duration::from_millis(100) };
        run(&load.parse().unwrap(), &self.target(check), &timing)
    }

    fn target(&self, check: Check) -> Target {
        Target { addrs: vec![self.addr], pids: vec![Pid(std::process::id())], check }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let served = self.thread.take().unwrap().join();
        assert!(matches!(served, Ok(Ok(()))), "{served:?}");
    }
}

#[test]
fn every_load_runs_and_has_its_figures() {
    let served = serve(true);
    for load in [
        "get-1x1",
        "get-3x32",
        "set-2x4",
        "mixed50-4x8-1k",
        "create-2x8",
        "createseq-2x8",
        "createdelete-2x8",
        "ephemeral-2x8",
        "multi10-2x4",
        "watch-40",
        "churn-8",
    ] {
        let values = served.run(load, Check::Framing).unwrap_or_else(|e| panic!("{load}: {e}"));
        for metric in [Metric::OpsPerS, Metric::P50Us, Metric::MaxUs] {
            assert!(values.get(metric).is_some_and(|value| value > 0.0), "{load}: {values:?}");
        }
    }
    let values = served.run("sessions-200", Check::Framing).unwrap();
    assert!(values.get(Metric::SessionsPerS).unwrap() > 0.0);
    let values = served.run("preload-1100", Check::Framing).unwrap();
    assert!(values.get(Metric::OpsPerS).unwrap() > 0.0);
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let values = serve(false).run("open-get-2000", Check::Framing).unwrap();
    let rate = values.get(Metric::OpsPerS).unwrap();
    assert!((1900.0..2100.0).contains(&rate), "{rate}");
}

#[test]
fn a_server_that_keeps_nothing_is_found_out() {
    let served = serve(false);
    for load in ["get-2x4", "set-2x4", "createseq-2x4", "multi3-2x4", "watch-5"] {
        let error = served.run(load, Check::Content);
        assert!(matches!(error, Err(Error::Wrong { .. })), "{load}: {error:?}");
    }
}

/// A version that does not count the writes.
#[test]
fn writers_find_it_out_too() {
    let served = serve(false);
    let mut writers = Writers::start(&served.target(Check::Content), 2, "/writers").unwrap();
    let error = writers.wait_for_all();
    assert!(matches!(error, Err(Error::Wrong { .. })), "{error:?}");
}

#[test]
fn the_end_of_the_server_is_an_error() {
    let served = serve(false);
    let target = served.target(Check::Framing);
    let load = "get-1x1".parse().unwrap();
    drop(served);
    let timing = Timing { warm: Duration::ZERO, measured: Duration::from_millis(10) };
    assert!(run(&load, &target, &timing).is_err());
}
