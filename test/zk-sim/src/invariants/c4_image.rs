//! C4 Single system image: a read shows exactly the state at its reply's zxid, and a session never
//! goes back, over reconnects too.

use super::{Invariant, shown};
use crate::model::read::sorted;
use crate::oracle::{Expected, Fact, Oracle};
use crate::record::Record;
use std::collections::BTreeMap;
use zk_proto::OpCode;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Image {
    /// The newest zxid that each session was shown.
    seen: BTreeMap<i64, i64>,
}

impl Invariant for Image {
    fn name(&self) -> &'static str {
        "C4 single system image"
    }

    fn check(&mut self, record: &Record, oracle: &Oracle) -> Result<(), String> {
        let (
            Record::Sent { conn, frame },
            Fact::Replied { session, header, asked: Some(asked), expected, .. },
        ) = (record, &oracle.fact)
        else {
            return Ok(());
        };
        if let Expected::Fixed(zxid, _) = asked.expected {
            if header.zxid != zxid {
                return Err(format!(
                    "c{conn} x{}: zxid {:x}, not {zxid:x}",
                    asked.xid, header.zxid
                ));
            }
        } else {
            let seen = self.seen.entry(*session).or_default();
            if header.zxid < *seen {
                return Err(format!(
                    "session {session:x} saw {seen:x} and goes back to {:x}: {record}",
                    header.zxid
                ));
            }
            *seen = header.zxid;
        }
        if matches!(asked.expected, Expected::Write(_)) {
            return Ok(());
        }
        let Some((error, body)) = expected else {
            return Err(format!("there is no state {:x}: {record}", header.zxid));
        };
        let op = OpCode::from_code(asked.op).unwrap_or(OpCode::Error);
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
