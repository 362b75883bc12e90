//! Z1 Agreement: what members apply is one history; each has a prefix of it, without a hole.

use super::Check;
use crate::ensemble::annals::Annals;
use crate::ensemble::record::Record;
use std::collections::BTreeMap;
use zk_proto::Sid;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    /// How far each member was compared since it serves.
    seen: BTreeMap<Sid, i64>,
}

impl Check for Agreement {
    fn name(&self) -> &'static str {
        "Z1 agreement"
    }

    fn check(&mut self, record: &Record, annals: &Annals) -> Result<(), String> {
        let (sid, zxid) = match record {
            Record::Applied { sid, zxid, .. } => (sid, zxid.0),
            Record::Rests { sid } | Record::Started { sid, .. } => {
                self.seen.remove(sid);
                return Ok(());
            }
            Record::Rested { sid, zxid, .. } => (sid, zxid.0),
            _ => return Ok(()),
        };
        // So far behind that nobody knows it any more.
        if annals.history.front().is_some_and(|oldest| zxid < oldest.zxid) {
            return Ok(());
        }
        if annals.committed(zxid).is_none() && zxid > 0 {
            return Err(format!("{sid} has applied {zxid:x}, which is not committed"));
        }
        let Some(view) = annals.members.get(sid) else { return Ok(()) };
        let seen = self.seen.insert(*sid, zxid).unwrap_or(0).max(view.base);
        for committed in annals.between(seen, zxid).filter(|it| it.zxid > 0) {
            if !view.holds(committed.zxid, committed.hash) {
                return Err(format!("{sid} has applied {zxid:x} and has not {:x}", committed.zxid));
            }
        }
        Ok(())
    }
}
