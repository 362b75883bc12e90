//! A member that has lost everything comes back to an ensemble with many znodes: how long until it
//! serves?
//!
//! It takes the leader's snapshot (SNAP): what it lacks is older than anything that the leader
//! keeps in memory or could send from its log.

use std::time::Duration;

use crate::client::Client;
use crate::compare::ensemble::Ensemble;
use crate::compare::server::{Host, Server};
use crate::error::Result;
use crate::loads::preload;
use crate::metric::{Metric, Values, milliseconds};
use crate::run::{Timing, run};
use crate::spec::{DEFAULT_VALUE_BYTES, Kind, Spec};

/// Creates `count` znodes in a new ensemble of `size`, wipes a follower, and starts it again.
pub fn run_all(host: &Host, server: &Server, size: usize, count: usize) -> Result<Values> {
    let mut ensemble = Ensemble::start(host, server, size, &[])?;
    ensemble.first_answer("/")?;
    let spec = Spec { kind: Kind::Preload { count }, value_bytes: DEFAULT_VALUE_BYTES };
    let timing = Timing { warm: Duration::ZERO, measured: Duration::ZERO };
    let mut values = run(&spec, &ensemble.target(), &timing)?;

    let leader = ensemble.leader(None)?;
    let wiped = ensemble.follower_of(leader);
    ensemble.member(wiped).kill();
    ensemble.member(wiped).wipe()?;
    ensemble.restart(wiped, &[])?;
    let member = ensemble.member(wiped);
    let serves = member.first_answer(&preload::path(count as u64 - 1))?;
    values.put(Metric::RejoinMs, milliseconds(serves));
    let mut client = Client::open(member.addr())?;
    preload::verify(&mut client, count, DEFAULT_VALUE_BYTES)?;
    client.close()?;
    ensemble.stop();
    Ok(values)
}
