//! Z4 Global primary order and primary integrity: only the leader of the newest epoch that it knows
//! proposes, in that epoch, and not before it has delivered everything of the epochs before.

use super::{Check, has_quorum};
use crate::ensemble::annals::Annals;
use crate::ensemble::record::{Record, Said};
use std::collections::{BTreeMap, BTreeSet};
use zk_proto::Sid;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Primary {
    /// The epoch in which each member leads.
    leads: BTreeMap<Sid, i32>,
    /// Who has entered each epoch, and had promised no newer one.
    entered: BTreeMap<i32, BTreeSet<Sid>>,
}

impl Check for Primary {
    fn name(&self) -> &'static str {
        "Z4 global primary order"
    }

    fn check(&mut self, record: &Record, annals: &Annals) -> Result<(), String> {
        match record {
            Record::Leads { sid, epoch } => {
                // A quorum's word may be late: it was one when it was given.
                let last = annals.members.get(sid).map_or(0, |view| view.last());
                let entered = self.entered.get(&epoch.0);
                let has_entered =
                    |it: &Sid| it == sid || entered.is_some_and(|entered| entered.contains(it));
                let newest = annals.leaders.range(epoch.0 + 1..).next();
                if let Some((newer, other)) = newest
                    && !has_quorum(annals, last, last, has_entered)
                {
                    return Err(format!("{sid} leads in {}, and {other} in {newer}", epoch.0));
                }
                self.leads.insert(*sid, epoch.0);
            }
            Record::Says { sid, said: Said::Entered(epoch) } => {
                let view = annals.members.get(sid);
                let (promised, last) = view.map_or((0, 0), |it| (it.accepted.0, it.last()));
                // The promise of an observer counts nothing.
                let votes = annals.voters(last, last).any(|voters| voters.contains(sid));
                if promised > epoch.0 && votes {
                    return Err(format!("{sid} enters {}, and has promised {promised}", epoch.0));
                }
                self.entered.entry(epoch.0).or_default().insert(*sid);
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
