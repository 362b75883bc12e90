//! W1 Order: an event comes before the reply that shows the new state, and the events of a
//! connection come in the order of what happened.

use super::Invariant;
use crate::oracle::{Fact, Oracle};
use crate::record::{Conn, Record};
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The newest zxid in a reply, and in an event, on each connection.
    shown: BTreeMap<Conn, (i64, i64)>,
}

impl Invariant for Order {
    fn name(&self) -> &'static str {
        "W1 event order"
    }

    fn check(&mut self, _: &Record, oracle: &Oracle) -> Result<(), String> {
        match &oracle.fact {
            Fact::Replied { conn, header, missed: (due, sent), .. } => {
                self.shown.entry(*conn).or_default().0 = header.zxid;
                let mut sorted = (due.clone(), sent.clone());
                sorted.0.sort_unstable();
                sorted.1.sort_unstable();
                if sorted.0 == sorted.1 && due != sent {
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
        for settled in &oracle.settled {
            let (mut due, mut sent) = (settled.due.clone(), settled.sent.clone());
            due.sort_unstable();
            sent.sort_unstable();
            if due == sent && settled.due != settled.sent {
                return Err(format!("out of order: {settled:?}"));
            }
        }
        Ok(())
    }
}
