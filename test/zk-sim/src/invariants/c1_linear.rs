//! C1 Linearizable writes: a write that was sent after another one's reply had come to any client
//! has a greater zxid.

use super::Invariant;
use crate::oracle::{Cause, Fact, Oracle};
use crate::record::Record;

/// See the module.
#[derive(Debug)]
pub(super) struct Linear;

impl Invariant for Linear {
    fn name(&self) -> &'static str {
        "C1 linearizable writes"
    }

    fn check(&mut self, record: &Record, oracle: &Oracle) -> Result<(), String> {
        let (Record::Appended { zxid, .. }, Fact::Proposed { cause: Cause::Request(conn), .. }) =
            (record, &oracle.fact)
        else {
            return Ok(());
        };
        let after = oracle.asked(*conn, *zxid).map_or(0, |asked| asked.after);
        if *zxid <= after {
            return Err(format!("{zxid:x} was asked for when {after:x} was known to be done"));
        }
        Ok(())
    }
}
