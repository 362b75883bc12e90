//! Z6 One leader per epoch.

use super::Check;
use crate::ensemble::annals::Annals;
use crate::ensemble::record::Record;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Leader;

impl Check for Leader {
    fn name(&self) -> &'static str {
        "Z6 one leader per epoch"
    }

    fn check(&mut self, record: &Record, annals: &Annals) -> Result<(), String> {
        let Record::Leads { sid, epoch } = record else { return Ok(()) };
        match annals.leaders.get(&epoch.0) {
            Some(first) if first != sid => {
                Err(format!("{first} leads in epoch {}, and {sid} too", epoch.0))
            }
            _ => Ok(()),
        }
    }
}
