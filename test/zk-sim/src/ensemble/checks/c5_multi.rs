//! C5 Atomic multi: all parts of a multi are in one txn, or none is.

use super::Check;
use crate::ensemble::annals::{Annals, Fact};
use crate::ensemble::record::Record;
use zk_proto::response::{MultiResponse, MultiResult};
use zk_proto::{Jute, OpCode, Reader};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Atomic;

impl Check for Atomic {
    fn name(&self) -> &'static str {
        "C5 atomic multi"
    }

    fn check(&mut self, record: &Record, annals: &Annals) -> Result<(), String> {
        let (
            Record::Sent { conn, frame, .. },
            Fact::Replied { header, asked: Some(asked), zxid: Some(zxid), .. },
        ) = (record, &annals.fact)
        else {
            return Ok(());
        };
        if asked.op != Some(OpCode::Multi) || header.err != 0 {
            return Ok(());
        }
        let Some(committed) = annals.committed(*zxid) else { return Ok(()) };
        let body = &frame[16.min(frame.len())..];
        let Ok(response) = MultiResponse::read(&mut Reader::new(body)) else {
            return Err(format!("c{conn} x{}: the reply cannot be read", asked.xid));
        };
        let is_error = |result: &MultiResult<'_>| matches!(result, MultiResult::Error(_));
        let errors = response.results.iter().filter(|it| is_error(it)).count();
        let did = !committed.step.changes.is_empty();
        if errors > 0 && (errors < response.results.len() || did) {
            return Err(format!("c{conn} x{}: only some parts of the multi are done", asked.xid));
        }
        Ok(())
    }
}
