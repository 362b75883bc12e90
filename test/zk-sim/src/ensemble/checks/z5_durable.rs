//! Z5 Committed is never lost: what is committed is on the disks of a quorum, whoever leads has all
//! of it, and what was on a disk is found there.

use super::{Check, has_quorum};
use crate::ensemble::annals::Annals;
use crate::ensemble::record::Record;
use zk_proto::{Epoch, Sid, Zxid};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Durable;

impl Durable {
    /// A leader's history has everything that was committed before its epoch. A quorum's word may
    /// be late: who hears it when a newer leader is there has nothing of that one, and commits
    /// nothing either.
    fn leads(sid: Sid, epoch: Epoch, annals: &Annals) -> Result<(), String> {
        let Some(view) = annals.members.get(&sid) else {
            return Err(format!("{sid} leads, and has no disk"));
        };
        let is_older = |zxid: i64| zxid > view.base && Zxid(zxid).epoch() < epoch;
        for committed in annals.history.iter().filter(|it| is_older(it.zxid)) {
            if !view.holds(committed.zxid, committed.hash) {
                return Err(format!("{sid} leads and has lost {:x}", committed.zxid));
            }
        }
        Ok(())
    }
}

impl Check for Durable {
    fn name(&self) -> &'static str {
        "Z5 durability"
    }

    fn check(&mut self, record: &Record, annals: &Annals) -> Result<(), String> {
        match record {
            Record::Leads { sid, epoch } => Durable::leads(*sid, *epoch, annals),
            Record::Committed { sid, zxid } => {
                let Some(committed) = annals.committed(zxid.0) else {
                    return Err(format!("{sid} commits {zxid}, which nobody has proposed"));
                };
                let holds = |sid: &Sid| {
                    annals.members.get(sid).is_some_and(|it| it.holds(zxid.0, committed.hash))
                };
                if !has_quorum(annals, zxid.0 - 1, zxid.0, holds) {
                    return Err(format!("{sid} commits {zxid}, which no quorum has on disk"));
                }
                Ok(())
            }
            Record::Started { sid, zxid, .. } => {
                let had = annals.members.get(sid).map_or(0, |view| view.last());
                if zxid.0 != had {
                    return Err(format!("{sid} had {had:x} on its disk, and finds {zxid}"));
                }
                Ok(())
            }
            // Rule R5: who votes again has what was committed without it.
            Record::Looks { sid, zxid, has_vote: true } => {
                let had = annals.members.get(sid).map_or(0, |view| view.last());
                if zxid.0 != had {
                    return Err(format!("{sid} stands for {zxid}, and has {had:x}"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
