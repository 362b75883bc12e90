//! C2 Model equality: the reply to a write is the model's at the write's zxid.

use super::{Check, shown};
use crate::ensemble::annals::{Annals, Fact};
use crate::ensemble::record::Record;
use zk_proto::OpCode;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Model;

impl Check for Model {
    fn name(&self) -> &'static str {
        "C2 model equality"
    }

    fn check(&mut self, record: &Record, annals: &Annals) -> Result<(), String> {
        let (
            Record::Sent { conn, frame, .. },
            Fact::Replied { header, asked: Some(asked), zxid, expected, .. },
        ) = (record, &annals.fact)
        else {
            return Ok(());
        };
        if !asked.op.is_some_and(OpCode::is_write) {
            return Ok(());
        }
        let (Some(zxid), Some((error, body))) = (zxid, expected) else {
            return Err(format!("c{conn} x{} was answered without a txn", asked.xid));
        };
        let got = &frame[16.min(frame.len())..];
        if header.zxid < *zxid {
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
