//! A real member in this process, clients on real sockets: TLS, SASL, limits, start and stop.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod addresses;
mod alone;
mod audit;
mod certificates;
mod client;
mod ensemble;
mod ensemble_disk;
mod faults;
mod first_snapshot;
mod foreign;
mod full_disk;
mod limits;
mod log_lines;
mod member;
mod metrics;
mod no_files;
mod orphans;
mod passwords;
mod process;
mod sasl;
mod shutdown;
mod slow_disk;
mod solo;
mod throttles;
mod tls;
mod words;

use std::time::{Duration, Instant};

/// How long anything may take that should happen at once: test machines are shared.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something is so.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
