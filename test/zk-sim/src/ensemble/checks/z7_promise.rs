//! Z7 Durability order: the history, then the epoch, then the word that it is so. What a member
//! tells its leader is on its disk.

use super::{Check, has_quorum};
use crate::ensemble::annals::{Annals, Fact};
use crate::ensemble::record::{Record, Said};
use zk_proto::Sid;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Promise;

impl Check for Promise {
    fn name(&self) -> &'static str {
        "Z7 durability order"
    }

    fn check(&mut self, record: &Record, annals: &Annals) -> Result<(), String> {
        let (sid, said) = match record {
            Record::Says { sid, said } => (sid, said),
            Record::Leads { sid, epoch } => {
                // A quorum has entered the epoch, with the leader's whole history.
                let last = annals.members.get(sid).map_or(0, |view| view.last());
                let hash = annals.committed(last).map_or(0, |committed| committed.hash);
                let has = |sid: &Sid| {
                    annals.members.get(sid).is_some_and(|view| {
                        view.current >= *epoch && (last == 0 || view.holds(last, hash))
                    })
                };
                let after = match annals.fact {
                    Fact::Commits { after } => after,
                    _ => last,
                };
                if !has_quorum(annals, after, last, has) {
                    return Err(format!("{sid} leads in {} without a quorum on disk", epoch.0));
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        let Some(view) = annals.members.get(sid) else { return Ok(()) };
        let is_true = match said {
            Said::Promised(epoch) => view.accepted >= *epoch,
            Said::Entered(epoch) => view.current >= *epoch && !view.is_changing,
            Said::Acked(zxid) => view.last() >= zxid.0,
        };
        if is_true {
            return Ok(());
        }
        Err(format!(
            "{sid} says {said:?}, and has epochs {} and {} and {:x} on its disk",
            view.accepted.0,
            view.current.0,
            view.last()
        ))
    }
}
