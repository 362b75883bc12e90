//! W2 Unique: no event that is not due, none twice: one-shot watches fire once, persistent ones
//! once per change.

use super::Invariant;
use crate::model::watch::Event;
use crate::oracle::{Fact, Oracle};
use crate::record::Record;

/// See the module.
#[derive(Debug)]
pub(super) struct Unique;

/// Those of `list` that are not in `other`, each counted.
pub(super) fn beyond(list: &[Event], other: &[Event]) -> Vec<Event> {
    let mut rest = other.to_vec();
    let mut beyond = Vec::new();
    for event in list {
        match rest.iter().position(|other| other == event) {
            Some(at) => drop(rest.swap_remove(at)),
            None => beyond.push(event.clone()),
        }
    }
    beyond
}

impl Invariant for Unique {
    fn name(&self) -> &'static str {
        "W2 unique events"
    }

    fn check(&mut self, _: &Record, oracle: &Oracle) -> Result<(), String> {
        for settled in &oracle.settled {
            let extra = beyond(&settled.sent, &settled.due);
            if !extra.is_empty() {
                return Err(format!("c{} was told {extra:?}, which is not due", settled.conn));
            }
        }
        if let Fact::Replied { conn, missed: (due, sent), .. } = &oracle.fact {
            let extra = beyond(sent, due);
            if !extra.is_empty() {
                return Err(format!("c{conn} was told to catch up {extra:?}, which is not due"));
            }
        }
        Ok(())
    }
}
