//! L1 Liveness: when the faults are over, somebody leads soon, everybody serves, all have the same
//! history, nothing is under way any more, and every client gets in.

use super::Check;
use crate::ensemble::annals::Annals;
use crate::ensemble::record::Record;
use zk_proto::{Sid, Zxid};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// What the first member has come to.
    first: Option<(Sid, Zxid, u64)>,
}

impl Check for Live {
    fn name(&self) -> &'static str {
        "L1 liveness"
    }

    fn check(&mut self, record: &Record, annals: &Annals) -> Result<(), String> {
        match record {
            Record::Rested { sid, serves, leader, zxid, digest, under_way } => {
                if !serves {
                    return Err(format!("{sid} does not serve"));
                }
                if *under_way > 0 {
                    return Err(format!("at {sid} {under_way} things are still under way"));
                }
                let (first, last, tree) = *self.first.get_or_insert((*leader, *zxid, *digest));
                // Behind a follower nobody tells an observer that another leads.
                let facts = &annals.facts;
                let may_err = facts.feeds && !facts.voters.contains(sid);
                let is_first = *leader == first || may_err;
                if !is_first || (*zxid, *digest) != (last, tree) {
                    return Err(format!(
                        "{sid} follows {leader} at {zxid}, others {first} at {last}"
                    ));
                }
                if zxid.0 != annals.last() {
                    return Err(format!("{sid} is at {zxid}, {:x} is committed", annals.last()));
                }
                Ok(())
            }
            Record::Ended { served, clients, leader_after_ms } => {
                let Some(ms) = leader_after_ms else { return Err("nobody leads".into()) };
                // What a member waits for takes its limit, and a vote that was lost is told again
                // after a minute at the latest.
                let facts = &annals.facts;
                let most_ms = 2 * facts.init_ms + 2 * facts.sync_ms + 70_000;
                if *ms as i64 > most_ms {
                    return Err(format!("it took {ms} ms until somebody led"));
                }
                if served < clients {
                    return Err(format!("only {served} of {clients} clients got in"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
