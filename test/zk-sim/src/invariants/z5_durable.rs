//! Z5 Committed is never lost, Z7 durability order: what anybody was told is on disk before it is
//! said, and is found again.

use super::Invariant;
use crate::oracle::{Fact, Oracle};
use crate::record::Record;

/// See the module.
#[derive(Debug)]
pub(super) struct Durable;

impl Invariant for Durable {
    fn name(&self) -> &'static str {
        "Z5 durability"
    }

    fn check(&mut self, record: &Record, oracle: &Oracle) -> Result<(), String> {
        if let Record::Started { picture, .. } = record
            && picture.zxid < oracle.synced
        {
            return Err(format!("{:x} was on disk, {:x} was found", oracle.synced, picture.zxid));
        }
        let shown = match &oracle.fact {
            Fact::Replied { header, .. } => header.zxid,
            Fact::Event { event, .. } => event.zxid,
            Fact::Handshake { opened, .. } => opened.unwrap_or(0),
            _ => 0,
        };
        if shown > oracle.synced {
            return Err(format!("{record} shows {shown:x}, on disk is {:x}", oracle.synced));
        }
        Ok(())
    }
}
