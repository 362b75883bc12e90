//! One load on one server.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::client::Client;
use crate::drive::{Outcome, Plan, Span, drive};
use crate::error::{Error, Result};
use crate::loads::create::Creating;
use crate::loads::keyed::Keyed;
use crate::loads::multi::Multi;
use crate::loads::preload::{self, Preload};
use crate::loads::{Check, churn, idle, watch};
use crate::metric::Values;
use crate::proc::Pid;
use crate::spec::{Kind, Pace, Spec};

/// Below it every load makes its znodes.
const ROOT: &str = "/zkfleet-bench";

/// A server under test; an ensemble has several members.
#[derive(Clone, Debug)]
pub struct Target {
    /// Client ports of the members that sessions are spread over; at least one.
    pub addrs: Vec<SocketAddr>,
    /// The processes of all members whose costs count, if they run on this machine.
    pub pids: Vec<Pid>,
    /// What is checked.
    pub check: Check,
}

impl Target {
    /// A session for what is not measured.
    ///
    /// What it made is seen by every session that opens later, at whatever member: opening a
    /// session is itself a transaction, and a member answers for it when it has applied it.
    pub fn client(&self) -> Result<Client> {
        Client::open(self.addrs[0])
    }
}

/// How long a load runs.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Unmeasured, first.
    pub warm: Duration,
    /// Measured.
    pub measured: Duration,
}

/// Runs a load and returns its figures.
pub fn run(spec: &Spec, target: &Target, timing: &Timing) -> Result<Values> {
    match spec.kind {
        Kind::Watch { watchers } => {
            watch::run(target, timing, watchers, spec.value_bytes, &fresh_root(spec))
        }
        Kind::Churn { conns } => {
            churn::run(target, timing, conns, spec.value_bytes, &fresh_root(spec))
        }
        Kind::Sessions { count } => idle::run(target, count),
        Kind::Preload { count } => preloaded(spec, target, count),
        Kind::Keyed { pace, .. } | Kind::Create { pace, .. } | Kind::Multi { pace, .. } => {
            let plan = Plan {
                pace,
                span: Span::For { warm: timing.warm, measured: timing.measured },
                keep_samples: false,
            };
            Values::of(&driven(spec, target, plan)?, &target.pids)
        }
    }
}

/// Drives a load that has a pace of its own choice, or a preload.
pub fn driven(spec: &Spec, target: &Target, plan: Plan) -> Result<Outcome> {
    let root = &fresh_root(spec);
    let conns = plan.pace.conns();
    let (bytes, check) = (spec.value_bytes, target.check);
    let mut client = target.client()?;
    let client = &mut client;
    match spec.kind {
        Kind::Keyed { read_percent, .. } => {
            let load = Keyed::set_up(client, root, conns, read_percent, bytes, check)?;
            drive(target, plan, load)
        }
        Kind::Create { creates, .. } => {
            drive(target, plan, Creating::set_up(client, root, conns, creates, bytes, check)?)
        }
        Kind::Multi { sets, .. } => {
            drive(target, plan, Multi::set_up(client, root, conns, sets, bytes, check)?)
        }
        Kind::Preload { count } => {
            drive(target, plan, Preload::set_up(client, count, bytes, check)?)
        }
        Kind::Watch { .. } | Kind::Churn { .. } | Kind::Sessions { .. } => {
            Err(Error::BadLoad { name: spec.to_string(), why: "it has no pace to drive it at" })
        }
    }
}

/// Creates `count` znodes; an operation is one znode.
fn preloaded(spec: &Spec, target: &Target, count: usize) -> Result<Values> {
    let plan = Plan {
        pace: Pace::Closed { conns: preload::CONNS, depth: preload::DEPTH },
        span: Span::Exhausted,
        keep_samples: false,
    };
    let outcome = driven(spec, target, plan)?;
    if target.check == Check::Content {
        let mut client = target.client()?;
        preload::verify(&mut client, count, spec.value_bytes)?;
        client.close()?;
    }
    let mut values = Values::default();
    values.put_costs(count as u64, outcome.seconds, outcome.cpu, &target.pids)?;
    Ok(values)
}

/// A root that no earlier run on the same server has used.
pub fn fresh_root(spec: &impl fmt::Display) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{ROOT}/{spec}-{}", now.as_micros())
}
