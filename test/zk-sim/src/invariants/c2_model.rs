//! C2 Model equality: the reply to a write is the model's at the write's zxid.

use super::{Invariant, shown};
use crate::oracle::{Expected, Fact, Oracle};
use crate::record::Record;

/// See the module.
#[derive(Debug)]
pub(super) struct Model;

impl Invariant for Model {
    fn name(&self) -> &'static str {
        "C2 model equality"
    }

    fn check(&mut self, record: &Record, oracle: &Oracle) -> Result<(), String> {
        let (
            Record::Sent { conn, frame },
            Fact::Replied { header, asked: Some(asked), expected, .. },
        ) = (record, &oracle.fact)
        else {
            return Ok(());
        };
        let Expected::Write(zxid) = asked.expected else { return Ok(()) };
        let (Some(zxid), Some((error, body))) = (zxid, expected) else {
            return Err(format!("c{conn} x{} was answered without a transaction", asked.xid));
        };
        let got = &frame[16.min(frame.len())..];
        if header.zxid < zxid {
            return Err(format!("the reply to {zxid:x} has zxid {:x}", header.zxid));
        }
        if (header.err, got) != (*error, body.as_slice()) {
            return Err(format!(
                "c{conn} x{} at {zxid:x}: error {} and \"{}\", the model says {error} and \"{}\"",
                asked.xid,
                header.err,
                shown(got),
                shown(body)
            ));
        }
        Ok(())
    }
}
