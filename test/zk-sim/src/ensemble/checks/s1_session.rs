//! S1 Session: it expires only when its leader has not heard of it for its timeout, and ends by a
//! closeSession alone; a client is told that it is gone only then.

use super::Check;
use crate::ensemble::annals::{Annals, ConnView, Fact};
use crate::ensemble::record::Record;
use crate::record::Conn;
use std::collections::{BTreeMap, BTreeSet};
use zk_proto::{OpCode, Sid};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// When each leader heard of each session last, by its own clock.
    heard: BTreeMap<(Sid, i64), i64>,
    /// Connections that were heard since their member told its leader.
    lately: BTreeMap<Sid, BTreeSet<Conn>>,
    /// Sessions that are gone.
    gone: BTreeSet<i64>,
    /// When each leader began, by its own clock: all sessions count as heard then.
    began: BTreeMap<Sid, i64>,
}

impl Session {
    fn expires(&self, sid: Sid, session: i64, timeout_ms: i64, now_ms: i64) -> Result<(), String> {
        let heard_ms = self.heard.get(&(sid, session)).copied().unwrap_or(i64::MIN);
        if heard_ms > now_ms - timeout_ms {
            return Err(format!(
                "{sid} lets session {session:x} expire at {now_ms}, which it heard at {heard_ms}, \
                 with a timeout of {timeout_ms}"
            ));
        }
        Ok(())
    }

    /// What clients are told of their sessions.
    fn told(&mut self, annals: &Annals) -> Result<(), String> {
        match &annals.fact {
            Fact::Commits { after } => {
                for committed in annals.between(*after, i64::MAX).filter(|it| it.is_close) {
                    self.gone.insert(committed.session);
                }
            }
            // Closed, or about to be: its end is not committed yet, but under way.
            Fact::Handshake { conn, session: 0, wanted } => {
                let lives = annals
                    .history
                    .back()
                    .is_some_and(|last| last.step.after.sessions.contains_key(wanted));
                if lives && !annals.is_closing(*wanted) {
                    return Err(format!(
                        "c{conn} is told that {wanted:x} is gone, and it is alive"
                    ));
                }
            }
            Fact::Handshake { conn, session, wanted } if *wanted == 0 => {
                let created = annals.history.iter().rev().any(|it| it.session == *session);
                if !created {
                    return Err(format!("c{conn} got {session:x}, which was not opened"));
                }
            }
            Fact::Handshake { conn, session, wanted } if session != wanted => {
                return Err(format!("c{conn} asked for {wanted:x} and got {session:x}"));
            }
            Fact::Handshake { conn, session, .. } if self.gone.contains(session) => {
                let sid = annals.conns.get(conn).map(|view| view.sid);
                let applied =
                    sid.and_then(|sid| annals.members.get(&sid)).map_or(0, |it| it.applied);
                if annals.state(applied).is_some_and(|it| !it.sessions.contains_key(session)) {
                    return Err(format!("c{conn} got {session:x} back, which is gone"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Check for Session {
    fn name(&self) -> &'static str {
        "S1 session"
    }

    fn check(&mut self, record: &Record, annals: &Annals) -> Result<(), String> {
        match record {
            Record::Submitted { sid, conn, local_ms } => {
                let Some(view) = annals.conns.get(conn) else { return Ok(()) };
                if view.session != 0 {
                    self.heard.insert((*sid, view.session), *local_ms);
                    self.lately.entry(*sid).or_default().insert(*conn);
                }
            }
            Record::Touched { sid, sessions, local_ms } => {
                for session in sessions.iter() {
                    self.heard.insert((*sid, *session), *local_ms);
                }
            }
            Record::Tells { sid, sessions } => {
                let lately = self.lately.remove(sid).unwrap_or_default();
                // Those that are still connected; of others it may know only what they were.
                let views = lately.iter().filter_map(|conn| annals.conns.get(conn));
                let ends = |view: &ConnView| {
                    view.asked.iter().any(|asked| asked.op == Some(OpCode::CloseSession))
                };
                for view in views.filter(|view| view.is_open.1 && !ends(view)) {
                    if !sessions.contains(&view.session) && !self.gone.contains(&view.session) {
                        let session = view.session;
                        return Err(format!("{sid} has heard {session:x}, and does not say so"));
                    }
                }
            }
            Record::Serves { sid } | Record::Rests { sid } => {
                self.lately.remove(sid);
                self.heard.retain(|(of, _), _| of != sid);
                self.began.remove(sid);
            }
            Record::Expires { sid, session, timeout_ms, local_ms } => {
                self.expires(*sid, *session, *timeout_ms, *local_ms)?;
            }
            _ => {}
        }
        self.told(annals)
    }
}
