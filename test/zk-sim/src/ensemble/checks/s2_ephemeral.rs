//! S2 Ephemerals: one exists as long as its owner's session does, in the model and at the members.

use super::Check;
use crate::ensemble::annals::{Annals, Fact};
use crate::ensemble::record::Record;
use crate::model::state::Owner;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ephemeral;

impl Check for Ephemeral {
    fn name(&self) -> &'static str {
        "S2 ephemerals"
    }

    fn check(&mut self, record: &Record, annals: &Annals) -> Result<(), String> {
        if let Record::Inspected { sid, zxid, owners, sessions } = record {
            if let Some(owner) = owners.iter().find(|owner| !sessions.contains(owner)) {
                return Err(format!("{sid} has ephemerals of {owner:x}, which is gone"));
            }
            let Some(state) = annals.state(zxid.0) else { return Ok(()) };
            if !state.sessions.keys().eq(sessions.iter()) {
                return Err(format!("{sid} has other sessions at {zxid} than the model"));
            }
        }
        let Fact::Commits { after } = annals.fact else { return Ok(()) };
        for committed in annals.between(after, i64::MAX).filter(|it| it.is_close) {
            let state = &committed.step.after;
            let mut owners = state.nodes.values().filter_map(|node| match node.owner {
                Owner::Session(owner) => Some(owner),
                _ => None,
            });
            if let Some(owner) = owners.find(|owner| !state.sessions.contains_key(owner)) {
                return Err(format!("{:x} leaves an ephemeral of {owner:x}", committed.zxid));
            }
        }
        Ok(())
    }
}
