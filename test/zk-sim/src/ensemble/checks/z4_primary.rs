//! Z4 Global primary order and primary integrity: only the leader of the newest epoch that it knows
//! proposes, in that epoch, and not before it has delivered everything of the epochs before.

use super::Check;
use crate::ensemble::annals::Annals;
use crate::ensemble::record::Record;
use std::collections::BTreeMap;
use zk_proto::Sid;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Primary {
    /// The epoch in which each member leads.
    leads: BTreeMap<Sid, i32>,
}

impl Check for Primary {
    fn name(&self) -> &'static str {
        "Z4 global primary order"
    }

    fn check(&mut self, record: &Record, annals: &Annals) -> Result<(), String> {
        match record {
            Record::Leads { sid, epoch } => {
                let newest = annals.leaders.range(epoch.0 + 1..).next();
                if let Some((newer, other)) = newest {
                    return Err(format!("{sid} leads in {}, and {other} in {newer}", epoch.0));
                }
                self.leads.insert(*sid, epoch.0);
            }
            Record::Rests { sid } | Record::Started { sid, .. } => {
                self.leads.remove(sid);
            }
            Record::Proposed { sid, zxid, .. } if self.leads.get(sid) != Some(&zxid.epoch().0) => {
                return Err(format!("{sid} proposes {zxid} and does not lead in that epoch"));
            }
            Record::Serves { sid } => {
                // A learner may be behind, a leader not.
                let Some(epoch) = self.leads.get(sid) else { return Ok(()) };
                let view = annals.members.get(sid);
                let last = annals.history.iter().rev().find(|it| it.zxid >> 32 < i64::from(*epoch));
                let (has, last) =
                    (view.map_or(0, |view| view.last()), last.map_or(0, |it| it.zxid));
                if has < last {
                    return Err(format!("{sid} leads in {epoch} with {has:x} behind {last:x}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
