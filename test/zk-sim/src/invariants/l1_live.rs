//! L1 Liveness: when the faults are over, everything that was asked is answered and everything that
//! must be closed is closed; and nothing is closed without a reason.

use super::Invariant;
use crate::oracle::{Fact, Oracle, Phase};
use crate::record::Record;

/// See the module.
#[derive(Debug)]
pub(super) struct Live;

impl Invariant for Live {
    fn name(&self) -> &'static str {
        "L1 liveness"
    }

    fn check(&mut self, record: &Record, oracle: &Oracle) -> Result<(), String> {
        if let Fact::Closed { conn, reason: None } = &oracle.fact {
            return Err(format!("c{conn} was closed without a reason"));
        }
        if *record != Record::Quiet {
            return Ok(());
        }
        if oracle.applied != oracle.proposed {
            return Err(format!("{:x} of {:x} are applied", oracle.applied, oracle.proposed));
        }
        for (conn, view) in &oracle.conns {
            match view.phase {
                Phase::Opening => return Err(format!("c{conn} never got its session")),
                Phase::Ending(why) => return Err(format!("c{conn} is still open ({why})")),
                Phase::New | Phase::Live => {}
            }
            if let Some(asked) = view.asked.front() {
                return Err(format!("c{conn} x{} never got its reply", asked.xid));
            }
        }
        Ok(())
    }
}
