//! Z2 Integrity: what is committed was proposed by the leader of its epoch, and a request becomes
//! one txn at most.

use super::Check;
use crate::ensemble::annals::{Annals, Fact};
use crate::ensemble::record::Record;
use std::collections::BTreeSet;
use zk_proto::Zxid;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Integrity {
    /// Requests that have become txns.
    done: BTreeSet<(i64, i32)>,
}

impl Check for Integrity {
    fn name(&self) -> &'static str {
        "Z2 integrity"
    }

    fn check(&mut self, record: &Record, annals: &Annals) -> Result<(), String> {
        if let Record::Proposed { sid, zxid, txn } = record {
            let made = annals.proposals.get(&zxid.0).is_some_and(|made| {
                made.sid == *sid && made.hash == crate::ensemble::hub::hash_of(txn)
            });
            if !made {
                return Err(format!("{sid} proposes {zxid}, which somebody else has proposed"));
            }
        }
        let Fact::Commits { after } = annals.fact else { return Ok(()) };
        for committed in annals.between(after, i64::MAX) {
            let zxid = committed.zxid;
            if let Some(fault) = &committed.fault {
                return Err(format!("{zxid:x}: {fault}"));
            }
            if committed.by != annals.leaders.get(&Zxid(zxid).epoch().0).copied() {
                return Err(format!("{zxid:x} is not of the leader of its epoch"));
            }
            let key = (committed.session, committed.cxid);
            if committed.cxid != 0 && !self.done.insert(key) {
                return Err(format!("{zxid:x}: request {} of {:x} is done twice", key.1, key.0));
            }
        }
        Ok(())
    }
}
