//! Z3 Local primary order: a leader numbers its txns one by one, and they are committed so.

use super::Check;
use crate::ensemble::annals::{Annals, Fact};
use crate::ensemble::record::Record;
use std::collections::BTreeMap;
use zk_proto::Zxid;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The last counter of each epoch.
    proposed: BTreeMap<i32, u32>,
    committed: i64,
}

impl Check for Order {
    fn name(&self) -> &'static str {
        "Z3 local primary order"
    }

    fn check(&mut self, record: &Record, annals: &Annals) -> Result<(), String> {
        if let Record::Proposed { sid, zxid, .. } = record {
            let last = self.proposed.entry(zxid.epoch().0).or_default();
            if zxid.counter() != *last + 1 {
                return Err(format!("{sid} proposes {zxid} behind counter {last:x}"));
            }
            *last = zxid.counter();
        }
        let Fact::Commits { after } = annals.fact else { return Ok(()) };
        for committed in annals.between(after, i64::MAX) {
            let (last, next) = (Zxid(self.committed), Zxid(committed.zxid));
            let follows = match next.epoch() == last.epoch() {
                true => next.counter() == last.counter() + 1,
                false => next.epoch() > last.epoch() && next.counter() == 1,
            };
            if !follows {
                return Err(format!("{next} is committed behind {last}"));
            }
            self.committed = next.0;
        }
        Ok(())
    }
}
