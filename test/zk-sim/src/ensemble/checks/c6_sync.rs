//! C6 sync: the reply comes from a state that has every write which any client knew to be done when
//! the sync was sent. A leader that does not know yet that it is none answers from what it knows,
//! in Apache too: what an other leader has done meanwhile is not asked for.

use super::Check;
use crate::ensemble::annals::{Annals, Fact};
use crate::ensemble::record::Record;
use zk_proto::{OpCode, Zxid};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sync;

impl Check for Sync {
    fn name(&self) -> &'static str {
        "C6 sync"
    }

    fn check(&mut self, record: &Record, annals: &Annals) -> Result<(), String> {
        let Fact::Replied { header, asked: Some(asked), .. } = &annals.fact else { return Ok(()) };
        if asked.op != Some(OpCode::Sync) || header.err != 0 {
            return Ok(());
        }
        let is_one_reign = Zxid(header.zxid).epoch() == Zxid(asked.after).epoch();
        if is_one_reign && header.zxid < asked.after {
            return Err(format!("{record}: {:x} was known to be done", asked.after));
        }
        Ok(())
    }
}
