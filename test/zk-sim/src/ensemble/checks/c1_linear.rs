//! C1 Linearizable writes: a write that was sent after another one's reply had come to any client
//! has a greater zxid.

use super::Check;
use crate::ensemble::annals::{Annals, Fact};
use crate::ensemble::record::Record;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Linear;

impl Check for Linear {
    fn name(&self) -> &'static str {
        "C1 linearizable writes"
    }

    fn check(&mut self, _: &Record, annals: &Annals) -> Result<(), String> {
        let Fact::Commits { after } = annals.fact else { return Ok(()) };
        for committed in annals.between(after, i64::MAX) {
            if committed.zxid <= committed.after {
                let (zxid, after) = (committed.zxid, committed.after);
                return Err(format!("{zxid:x} was asked for when {after:x} was known to be done"));
            }
        }
        Ok(())
    }
}
