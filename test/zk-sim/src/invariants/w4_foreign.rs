//! W4 No foreign path: no event names a znode that its connection may not read (CVE-2024-23944).

use super::Invariant;
use crate::model::acl;
use crate::model::state::parent;
use crate::oracle::{Fact, Oracle};
use crate::record::Record;

/// See the module.
#[derive(Debug)]
pub(super) struct Foreign;

impl Invariant for Foreign {
    fn name(&self) -> &'static str {
        "W4 no foreign path"
    }

    fn check(&mut self, _: &Record, oracle: &Oracle) -> Result<(), String> {
        let Fact::Event { conn, event } = &oracle.fact else { return Ok(()) };
        let Some(committed) = oracle.history.get(&event.zxid) else { return Ok(()) };
        let ids = &oracle.conns[conn].ids;
        let mut lists = committed.step.changes.iter().filter_map(|change| match event.kind {
            4 => (parent(&change.path) == Some(&event.path)).then_some(&change.parent_acl),
            kind => ((kind, &event.path) == (change.kind, &change.path)).then_some(&change.acl),
        });
        if !lists.any(|list| acl::check(list, acl::READ, ids).is_ok()) {
            return Err(format!("c{conn} was told {event:?}, which it may not read"));
        }
        Ok(())
    }
}
