//! Z3 Local primary order: transactions get consecutive zxids, each because somebody asked for it,
//! with the asker's session, the request's xid and the time in the header.

use super::Invariant;
use crate::oracle::{Cause, Fact, Oracle};
use crate::record::Record;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Order {
    last: i64,
}

impl Invariant for Order {
    fn name(&self) -> &'static str {
        "Z3 local primary order"
    }

    fn check(&mut self, record: &Record, oracle: &Oracle) -> Result<(), String> {
        if let Record::Started { picture, .. } = record {
            self.last = picture.zxid;
        }
        let (Record::Appended { zxid, .. }, Fact::Proposed { cause, header, .. }) =
            (record, &oracle.fact)
        else {
            return Ok(());
        };
        if *zxid != self.last + 1 {
            return Err(format!("{zxid:x} follows {:x}", self.last));
        }
        self.last = *zxid;
        if *cause == Cause::Nobody {
            return Err(format!("nobody asked for {zxid:x}"));
        }
        let Some(header) = header else { return Err(format!("{zxid:x} has no header")) };
        let xid = match cause {
            Cause::Request(conn) => oracle.asked(*conn, *zxid).map_or(0, |asked| asked.xid),
            _ => 0,
        };
        let session = oracle.history.get(zxid).map_or(0, |committed| committed.session);
        let says = (header.zxid, header.client_id, header.cxid, header.time_ms);
        if says != (*zxid, session, xid, oracle.now.wall_ms) {
            return Err(format!("the header of {zxid:x} says {header:?}, asked by {session:x}"));
        }
        Ok(())
    }
}
