//! W1 Order: an event comes before the reply that shows the new state, and the events of a
//! connection come in the order of what happened.

use super::Check;
use crate::ensemble::annals::{Annals, Fact};
use crate::ensemble::record::Record;
use crate::record::Conn;
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The newest zxid in a reply, and in an event, on each connection.
    shown: BTreeMap<Conn, (i64, i64)>,
}

impl Check for Order {
    fn name(&self) -> &'static str {
        "W1 event order"
    }

    fn check(&mut self, record: &Record, annals: &Annals) -> Result<(), String> {
        if let Record::Gone { conn, .. } = record {
            self.shown.remove(conn);
        }
        match &annals.fact {
            Fact::Replied { conn, header, missed: (due, sent), .. } => {
                self.shown.entry(*conn).or_default().0 = header.zxid;
                if due != sent && super::is_same(due, sent) {
                    return Err(format!("c{conn}: catch-up events {sent:?}, due are {due:?}"));
                }
            }
            Fact::Event { conn, event } if event.zxid > 0 => {
                let (reply, last) = self.shown.entry(*conn).or_default();
                if event.zxid <= *reply {
                    return Err(format!("c{conn}: {event:?} behind a reply of {reply:x}"));
                }
                if event.zxid < *last {
                    return Err(format!("c{conn}: {event:?} behind an event of {last:x}"));
                }
                *last = event.zxid;
            }
            _ => {}
        }
        for settled in &annals.settled {
            if settled.due != settled.sent && super::is_same(&settled.due, &settled.sent) {
                return Err(format!("out of order: {settled:?}"));
            }
        }
        Ok(())
    }
}
