//! Z8 Tree digest: all members have the same tree at one zxid, the one that the txn foretells, and
//! now and then the model says so too.

use super::Check;
use crate::ensemble::annals::{Annals, Fact};
use crate::ensemble::record::Record;
use crate::model::digest::digest;

/// Every so many txns the model is asked.
const EVERY: usize = 128;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Digest;

impl Check for Digest {
    fn name(&self) -> &'static str {
        "Z8 tree digest"
    }

    fn check(&mut self, record: &Record, annals: &Annals) -> Result<(), String> {
        if let Record::Applied { sid, zxid, digest } | Record::Rested { sid, zxid, digest, .. } =
            record
            && let Some(committed) = annals.committed(zxid.0)
            && let Some(due) = committed.digest
            && due != *digest
        {
            return Err(format!("{sid} has {digest:x} at {zxid}, where {due:x} is due"));
        }
        let Fact::Commits { .. } = annals.fact else { return Ok(()) };
        if annals.count.is_multiple_of(EVERY)
            && let Some(last) = annals.history.back()
            && let Some(told) = last.digest
            && digest(&last.step.after) != told
        {
            return Err(format!("{:x} foretells {told:x}, and the model does not", last.zxid));
        }
        Ok(())
    }
}
