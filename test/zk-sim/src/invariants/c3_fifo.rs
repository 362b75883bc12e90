//! C3 FIFO client order: replies come in the order of the requests, and the writes of one
//! connection get their zxids in that order.

use super::Invariant;
use crate::oracle::{Expected, Fact, Oracle};
use crate::record::{Conn, Record};
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Fifo {
    last_write: BTreeMap<Conn, i64>,
}

impl Invariant for Fifo {
    fn name(&self) -> &'static str {
        "C3 FIFO client order"
    }

    fn check(&mut self, record: &Record, oracle: &Oracle) -> Result<(), String> {
        let (Record::Sent { conn, .. }, Fact::Replied { header, asked, .. }) =
            (record, &oracle.fact)
        else {
            return Ok(());
        };
        let Some(asked) = asked else {
            return Err(format!("c{conn}: nothing waits for the reply x{}", header.xid));
        };
        if asked.xid != header.xid {
            return Err(format!(
                "c{conn}: it is the turn of x{}, not of x{}",
                asked.xid, header.xid
            ));
        }
        if let Expected::Write(Some(zxid)) = asked.expected {
            let last = self.last_write.insert(*conn, zxid).unwrap_or(0);
            if zxid <= last {
                return Err(format!("c{conn}: {zxid:x} behind {last:x}"));
            }
        }
        Ok(())
    }
}
