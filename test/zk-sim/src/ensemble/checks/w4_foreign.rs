//! W4 No foreign path: no event names a znode that its connection may not read (CVE-2024-23944).

use super::Check;
use crate::ensemble::annals::{Annals, Fact};
use crate::ensemble::record::Record;
use crate::model::acl;
use crate::model::state::parent;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Foreign;

impl Check for Foreign {
    fn name(&self) -> &'static str {
        "W4 no foreign path"
    }

    fn check(&mut self, _: &Record, annals: &Annals) -> Result<(), String> {
        let Fact::Event { conn, event } = &annals.fact else { return Ok(()) };
        let (Some(committed), Some(view)) = (annals.committed(event.zxid), annals.conns.get(conn))
        else {
            return Ok(());
        };
        let mut lists = committed.step.changes.iter().filter_map(|change| match event.kind {
            4 => (parent(&change.path) == Some(&event.path)).then_some(&change.parent_acl),
            kind => ((kind, &event.path) == (change.kind, &change.path)).then_some(&change.acl),
        });
        if !lists.any(|list| acl::check(list, acl::READ, &view.ids).is_ok()) {
            return Err(format!("c{conn} was told {event:?}, which it may not read"));
        }
        Ok(())
    }
}
