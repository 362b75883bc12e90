//! C3 FIFO client order: replies come in the order of the requests, the writes of one connection
//! get their zxids in that order, and nothing that a session reads is older than what it had asked
//! for on a connection before (client-protocol 12.3).

use super::Invariant;
use crate::oracle::{Cause, Expected, Fact, Oracle};
use crate::record::{Conn, Record};
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Fifo {
    last_write: BTreeMap<Conn, i64>,
    /// The newest write of each session on each connection, under way or done.
    asked: BTreeMap<i64, BTreeMap<Conn, i64>>,
}

impl Fifo {
    fn read(&self, conn: Conn, session: i64, zxid: i64) -> Result<(), String> {
        let before = self.asked.get(&session).map(|conns| conns.range(..conn));
        let newest = before.into_iter().flatten().map(|(_, zxid)| *zxid).max().unwrap_or(0);
        if zxid < newest {
            return Err(format!("c{conn} reads at {zxid:x}, and has written {newest:x} before"));
        }
        Ok(())
    }
}

impl Invariant for Fifo {
    fn name(&self) -> &'static str {
        "C3 FIFO client order"
    }

    fn check(&mut self, record: &Record, oracle: &Oracle) -> Result<(), String> {
        let (conn, session, header, asked) = match (record, &oracle.fact) {
            (Record::Sent { conn, .. }, Fact::Replied { session, header, asked, .. }) => {
                (conn, *session, header, asked)
            }
            (Record::Appended { zxid, .. }, Fact::Proposed { cause, header, .. }) => {
                if let (Cause::Request(conn), Some(header)) = (cause, header) {
                    self.asked.entry(header.client_id).or_default().insert(*conn, *zxid);
                }
                return Ok(());
            }
            // What was not on disk is lost.
            (Record::Started { .. } | Record::Crashed, _) => {
                self.asked.clear();
                return Ok(());
            }
            _ => return Ok(()),
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
        if asked.expected == Expected::Read {
            self.read(*conn, session, header.zxid)?;
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
