//! S1 Session: it ends by a closeSession alone, asked for by its client or because it was not heard
//! of for its timeout, and then within a tick; handshakes are answered accordingly.

use super::{Invariant, shown};
use crate::oracle::{Cause, Fact, Oracle, SessionView};
use crate::record::Record;
use std::collections::BTreeSet;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// When the member last looked for sessions to expire; those due then must be closing.
    ticked_ms: Option<i64>,
    /// Every id that a client was told: whoever holds one must not meet somebody else's session.
    told: BTreeSet<i64>,
}

/// The tick at which a session is due (client-protocol 2.7).
fn due_ms(session: &SessionView, tick_ms: i64) -> i64 {
    ((session.heard_ms + session.timeout_ms) / tick_ms + 1) * tick_ms
}

impl Session {
    fn overdue(&self, oracle: &Oracle) -> Result<(), String> {
        let Some(ticked_ms) = self.ticked_ms else { return Ok(()) };
        for (id, session) in &oracle.sessions {
            let due_ms = due_ms(session, oracle.terms.tick_ms);
            if due_ms <= ticked_ms && oracle.has_session(*id, oracle.proposed) {
                return Err(format!("session {id:x} was due at {due_ms}, it is {ticked_ms} now"));
            }
        }
        Ok(())
    }

    fn expired(oracle: &Oracle, id: i64) -> Result<(), String> {
        let Some(session) = oracle.sessions.get(&id) else {
            return Err(format!("session {id:x} expired and was not there"));
        };
        let due_ms = due_ms(session, oracle.terms.tick_ms);
        if due_ms > oracle.now.monotonic_ms {
            let now_ms = oracle.now.monotonic_ms;
            return Err(format!("session {id:x} expired at {now_ms}, due at {due_ms}"));
        }
        Ok(())
    }
}

impl Invariant for Session {
    fn name(&self) -> &'static str {
        "S1 session"
    }

    fn check(&mut self, record: &Record, oracle: &Oracle) -> Result<(), String> {
        match (record, &oracle.fact) {
            (Record::Started { .. } | Record::Crashed, _) => self.ticked_ms = None,
            (Record::Submitted { .. } | Record::Logged { .. } | Record::Reaped { .. }, _) => {
                self.overdue(oracle)?;
                self.ticked_ms = None;
            }
            (Record::Ticked { now }, _) => {
                self.overdue(oracle)?;
                // While nothing can be written nobody expires.
                self.ticked_ms = (!oracle.is_read_only).then_some(now.monotonic_ms);
            }
            (_, Fact::Proposed { cause: Cause::Expiry, header: Some(header), .. }) => {
                Session::expired(oracle, header.client_id)?;
            }
            (Record::Appended { zxid, .. }, Fact::Proposed { cause: Cause::Handshake(_), .. }) => {
                let id = oracle.history.get(zxid).map_or(0, |committed| committed.session);
                if oracle.has_session(id, zxid - 1) || id >> 56 != 1 {
                    return Err(format!("{id:x} is no id for a new session"));
                }
            }
            (Record::Sent { conn, frame }, Fact::Handshake { expected, .. })
                if expected.as_deref() != Some(frame) =>
            {
                return Err(format!(
                    "c{conn}: handshake answered \"{}\", due is \"{}\"",
                    shown(frame),
                    shown(expected.as_deref().unwrap_or_default())
                ));
            }
            (_, Fact::Handshake { conn, opened: Some(_), .. }) => {
                let id = oracle.conns[conn].session;
                if !self.told.insert(id) {
                    return Err(format!("c{conn}: {id:x} was another client's once"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
