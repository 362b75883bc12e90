//! C6 sync: the reply comes from a state that has every write which any client knew to be done when
//! the sync was sent.

use super::Invariant;
use crate::oracle::{Expected, Fact, Oracle};
use crate::record::Record;
use zk_proto::OpCode;

/// See the module.
#[derive(Debug)]
pub(super) struct Sync;

impl Invariant for Sync {
    fn name(&self) -> &'static str {
        "C6 sync"
    }

    fn check(&mut self, record: &Record, oracle: &Oracle) -> Result<(), String> {
        let Fact::Replied { header, asked: Some(asked), .. } = &oracle.fact else { return Ok(()) };
        let is_sync = asked.op == OpCode::Sync.code() && asked.expected == Expected::Read;
        if is_sync && header.zxid < asked.after {
            return Err(format!("{record}: {:x} was known to be done", asked.after));
        }
        Ok(())
    }
}
