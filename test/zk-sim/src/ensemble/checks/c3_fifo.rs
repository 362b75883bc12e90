//! C3 FIFO client order: replies come in the order of the requests, and the writes of a session get
//! their zxids in that order.

use super::Check;
use crate::ensemble::annals::{Annals, Fact};
use crate::ensemble::record::Record;
use crate::model::code::SESSION_EXPIRED;
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Fifo {
    /// The last request of each session that became a txn.
    last: BTreeMap<i64, i32>,
}

impl Check for Fifo {
    fn name(&self) -> &'static str {
        "C3 FIFO client order"
    }

    fn check(&mut self, _: &Record, annals: &Annals) -> Result<(), String> {
        if let Fact::Replied { conn, header, asked, .. } = &annals.fact {
            let Some(asked) = asked else {
                return Err(format!("c{conn}: nothing waits for the reply x{}", header.xid));
            };
            if asked.xid != header.xid {
                let (xid, due) = (header.xid, asked.xid);
                return Err(format!("c{conn}: it is the turn of x{due}, not of x{xid}"));
            }
        }
        let Fact::Commits { after } = annals.fact else { return Ok(()) };
        for committed in annals.between(after, i64::MAX).filter(|it| it.cxid > 0) {
            if committed.is_late || committed.step.reply == Err(SESSION_EXPIRED) {
                continue;
            }
            let (session, cxid) = (committed.session, committed.cxid);
            let last = self.last.insert(session, cxid).unwrap_or(0);
            if cxid <= last {
                return Err(format!("session {session:x}: request {cxid} is done behind {last}"));
            }
        }
        Ok(())
    }
}
