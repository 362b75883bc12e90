//! C7 Timeliness: a member that serves is not behind what is committed by more than the time in
//! which it would have noticed that it has no leader.

use super::Check;
use crate::ensemble::annals::{Annals, Fact};
use crate::ensemble::member::LEARNER_TICK_US;
use crate::ensemble::record::Record;
use std::collections::BTreeMap;
use zk_proto::Sid;

/// A learner notices that its log is behind at one tick, and that it is for too long at another.
const TICKS_US: u64 = 2 * LEARNER_TICK_US;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Timely {
    /// Until when members are excused, in µs: their process stood still, or their disk.
    excused: BTreeMap<Sid, u64>,
}

impl Check for Timely {
    fn name(&self) -> &'static str {
        "C7 timeliness"
    }

    fn check(&mut self, record: &Record, annals: &Annals) -> Result<(), String> {
        if let Record::Slow { sid, until_us } = record {
            let until = self.excused.entry(*sid).or_default();
            *until = (*until).max(*until_us);
        }
        let (Record::Sent { sid, .. }, Fact::Replied { header, asked: Some(asked), .. }) =
            (record, &annals.fact)
        else {
            return Ok(());
        };
        if asked.op.is_some_and(zk_proto::OpCode::is_write) || header.zxid <= 0 {
            return Ok(());
        }
        let facts = &annals.facts;
        let most_us = 1000 * (facts.sync_ms + 3 * facts.tick_ms) as u64 + TICKS_US;
        let Some(next) = annals.between(header.zxid, i64::MAX).next() else { return Ok(()) };
        let behind_us = annals.now_us.saturating_sub(next.at_us);
        let excused = self.excused.get(sid).copied().unwrap_or(0) + most_us;
        if behind_us > most_us && annals.now_us > excused {
            let zxid = header.zxid;
            return Err(format!("{sid} shows {zxid:x}, which is {} ms old", behind_us / 1000));
        }
        Ok(())
    }
}
