//! W3 Reliable: every due event was sent when a reply shows its transaction, and when its
//! transaction is applied; setWatches tells exactly what was missed.

use super::Invariant;
use super::w2_unique::beyond;
use crate::oracle::{Fact, Oracle};
use crate::record::Record;

/// See the module.
#[derive(Debug)]
pub(super) struct Reliable;

impl Invariant for Reliable {
    fn name(&self) -> &'static str {
        "W3 reliable events"
    }

    fn check(&mut self, _: &Record, oracle: &Oracle) -> Result<(), String> {
        for settled in &oracle.settled {
            let missing = beyond(&settled.due, &settled.sent);
            if !missing.is_empty() {
                return Err(format!("c{} was not told {missing:?} in time", settled.conn));
            }
        }
        if let Fact::Replied { conn, missed: (due, sent), .. } = &oracle.fact {
            let missing = beyond(due, sent);
            if !missing.is_empty() {
                return Err(format!("c{conn} was not told to catch up {missing:?}"));
            }
        }
        Ok(())
    }
}
