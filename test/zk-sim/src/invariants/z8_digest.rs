//! Z8 Tree digest: the one that a transaction foretells, the one that the tree keeps and the one
//! that is summed up from scratch are equal at every zxid.

use super::Invariant;
use crate::model::digest::digest;
use crate::oracle::{Fact, Oracle};
use crate::record::Record;

/// See the module.
#[derive(Debug)]
pub(super) struct Digest;

impl Invariant for Digest {
    fn name(&self) -> &'static str {
        "Z8 tree digest"
    }

    fn check(&mut self, record: &Record, oracle: &Oracle) -> Result<(), String> {
        let (zxid, kept) = match (record, &oracle.fact) {
            (Record::Appended { zxid, .. }, Fact::Proposed { digest: Some(told), .. }) => {
                (zxid, told)
            }
            (Record::Applied { zxid, digest }, _) => (zxid, digest),
            (
                Record::Started { picture, .. }
                | Record::Inspected { picture }
                | Record::Snapshotted { picture },
                _,
            ) => (&picture.zxid, &picture.digest),
            _ => return Ok(()),
        };
        let Some(state) = oracle.state(*zxid) else { return Ok(()) };
        let summed = digest(state);
        if *kept != summed {
            return Err(format!("at {zxid:x} it is {summed:x}, not {kept:x}: {record}"));
        }
        Ok(())
    }
}
