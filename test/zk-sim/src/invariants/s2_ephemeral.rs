//! S2 Ephemeral: it exists if and only if its session does, in every state that is looked at.

use super::Invariant;
use crate::oracle::Oracle;
use crate::record::{Picture, Record};

/// See the module.
#[derive(Debug)]
pub(super) struct Ephemeral;

/// Whether a stored owner is a session (client-protocol 7.4).
fn is_session(owner: i64) -> bool {
    owner != 0 && owner != i64::MIN && owner >> 56 != -1
}

fn orphan(picture: &Picture) -> Option<String> {
    let lives = |owner: i64| picture.sessions.iter().any(|(id, _)| *id == owner);
    let orphan = picture.nodes.iter().find(|n| is_session(n.longs[5]) && !lives(n.longs[5]))?;
    Some(format!(
        "{} of session {:x} outlives it at {:x}",
        orphan.path, orphan.longs[5], picture.zxid
    ))
}

impl Invariant for Ephemeral {
    fn name(&self) -> &'static str {
        "S2 ephemeral"
    }

    fn check(&mut self, record: &Record, _: &Oracle) -> Result<(), String> {
        match record {
            Record::Started { picture, .. }
            | Record::Inspected { picture }
            | Record::Snapshotted { picture } => orphan(picture).map_or(Ok(()), Err),
            _ => Ok(()),
        }
    }
}
