//! W2 Unique: no event that is not due, none twice: one-shot watches fire once, persistent ones
//! once per change.

use super::{Check, beyond};
use crate::ensemble::annals::{Annals, Fact};
use crate::ensemble::record::Record;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Unique;

impl Check for Unique {
    fn name(&self) -> &'static str {
        "W2 unique events"
    }

    fn check(&mut self, _: &Record, annals: &Annals) -> Result<(), String> {
        for settled in &annals.settled {
            let extra = beyond(&settled.sent, &settled.due);
            if !extra.is_empty() {
                return Err(format!("c{} was told {extra:?}, which is not due", settled.conn));
            }
        }
        if let Fact::Replied { conn, missed: (due, sent), .. } = &annals.fact {
            let extra = beyond(sent, due);
            if !extra.is_empty() {
                return Err(format!("c{conn} was told to catch up {extra:?}, which is not due"));
            }
        }
        Ok(())
    }
}
