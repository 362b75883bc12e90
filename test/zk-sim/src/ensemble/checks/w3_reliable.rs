//! W3 Reliable: every due event was sent when a reply shows its txn, and when its txn is applied;
//! setWatches tells exactly what was missed, also at another member.

use super::{Check, beyond};
use crate::ensemble::annals::{Annals, Fact};
use crate::ensemble::record::Record;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Reliable;

impl Check for Reliable {
    fn name(&self) -> &'static str {
        "W3 reliable events"
    }

    fn check(&mut self, _: &Record, annals: &Annals) -> Result<(), String> {
        for settled in &annals.settled {
            let missing = beyond(&settled.due, &settled.sent);
            if !missing.is_empty() {
                return Err(format!("c{} was not told {missing:?} in time", settled.conn));
            }
        }
        if let Fact::Replied { conn, missed: (due, sent), .. } = &annals.fact {
            let missing = beyond(due, sent);
            if !missing.is_empty() {
                return Err(format!("c{conn} was not told to catch up {missing:?}"));
            }
        }
        Ok(())
    }
}
