//! S4 TTL and containers: the reaper removes only what is childless and due at that moment.

use super::Invariant;
use crate::oracle::{Cause, Fact, Oracle};
use crate::record::Record;
use zk_proto::OpCode;

/// See the module.
#[derive(Debug)]
pub(super) struct Reaping;

impl Invariant for Reaping {
    fn name(&self) -> &'static str {
        "S4 reaping"
    }

    fn check(&mut self, record: &Record, oracle: &Oracle) -> Result<(), String> {
        let (
            Record::Appended { zxid, .. },
            Fact::Proposed { cause: Cause::Reaper, header: Some(header), .. },
        ) = (record, &oracle.fact)
        else {
            return Ok(());
        };
        let removes = header.op == OpCode::DeleteContainer.code();
        match oracle.history.get(zxid).map(|committed| &committed.step.reply) {
            Some(Err(error)) if removes => {
                Err(format!("{record} removes what the model keeps with {error}"))
            }
            _ => Ok(()),
        }
    }
}
