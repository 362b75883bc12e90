//! C4 Single system image: a read shows exactly the state at its reply's zxid, and a session never
//! goes back, at whichever member it is.

use super::{Check, shown};
use crate::ensemble::annals::{Annals, Fact};
use crate::ensemble::record::Record;
use crate::model::read::sorted;
use crate::record::Conn;
use std::collections::BTreeMap;
use zk_proto::response::ReplyHeader;
use zk_proto::{Jute, OpCode, Reader};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Image {
    /// The newest zxid that each session's client was shown.
    seen: BTreeMap<i64, i64>,
    /// The session of each connection.
    sessions: BTreeMap<Conn, i64>,
}

impl Image {
    /// A reply has come to its client.
    fn shown(&mut self, conn: Conn, frame: &[u8]) -> Result<(), String> {
        let Some(session) = self.sessions.get(&conn).copied().filter(|it| *it != 0) else {
            return Ok(());
        };
        let Ok(header) = ReplyHeader::read(&mut Reader::new(frame)) else { return Ok(()) };
        if header.xid == 0 || header.xid == -1 || header.zxid <= 0 {
            return Ok(());
        }
        let seen = self.seen.entry(session).or_default();
        if header.zxid < *seen {
            let zxid = header.zxid;
            return Err(format!("session {session:x} saw {seen:x} and goes back to {zxid:x}"));
        }
        *seen = header.zxid;
        Ok(())
    }
}

impl Check for Image {
    fn name(&self) -> &'static str {
        "C4 single system image"
    }

    fn check(&mut self, record: &Record, annals: &Annals) -> Result<(), String> {
        if let Record::Received { conn, frame } = record {
            return self.shown(*conn, frame);
        }
        let Record::Sent { conn, frame, .. } = record else { return Ok(()) };
        if let Fact::Handshake { session, .. } = &annals.fact {
            self.sessions.insert(*conn, *session);
        }
        let Fact::Replied { header, asked: Some(asked), expected, .. } = &annals.fact else {
            return Ok(());
        };
        if asked.op.is_some_and(OpCode::is_write) {
            return Ok(());
        }
        // So old that nobody knows it any more: C7 says whether it may be.
        if annals.history.front().is_some_and(|oldest| header.zxid < oldest.zxid) {
            return Ok(());
        }
        let Some((error, body)) = expected else {
            return Err(format!("there is no state {:x}: {record}", header.zxid));
        };
        let op = asked.op.unwrap_or(OpCode::Error);
        let got = sorted(op, &frame[16.min(frame.len())..]);
        if (header.err, &got) != (*error, body) {
            return Err(format!(
                "c{conn} x{} {op} at {:x}: error {} and \"{}\", the model says {error} and \"{}\"",
                asked.xid,
                header.zxid,
                header.err,
                shown(&got),
                shown(body)
            ));
        }
        Ok(())
    }
}
