//! S4 Containers and TTL znodes: they are removed when they are childless, and due, and only so.
//! The model says which are; a txn that removes another one changes nothing there, and the digests
//! differ.

use super::Check;
use crate::ensemble::annals::{Annals, Fact};
use crate::ensemble::record::Record;
use zk_proto::txn::{Txn, TxnEntry};
use zk_proto::{Jute, Reader};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Reaping;

impl Check for Reaping {
    fn name(&self) -> &'static str {
        "S4 containers and TTL"
    }

    fn check(&mut self, _: &Record, annals: &Annals) -> Result<(), String> {
        let Fact::Commits { after } = annals.fact else { return Ok(()) };
        for committed in annals.between(after, i64::MAX).filter(|it| it.session == 0) {
            let Some(proposal) = annals.proposals.get(&committed.zxid) else { continue };
            let entry = TxnEntry::read(&mut Reader::new(&proposal.txn));
            let Ok(Txn::DeleteContainer(body)) = entry.map(|entry| entry.txn) else { continue };
            if committed.step.reply.is_err() {
                return Err(format!(
                    "{:x} removes {}, which is not due",
                    committed.zxid, body.path
                ));
            }
        }
        Ok(())
    }
}
