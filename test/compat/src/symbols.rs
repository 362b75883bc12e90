//! What differs from run to run becomes a symbol: zxids count from the start of the case, session
//! ids are names of connections, times are only checked.
//!
//! A Stat reads `{c+2 m+3 p+2 v1 cv0 av0 len4 kids0}`: czxid, mzxid, pzxid, version, cversion,
//! aversion, dataLength, numChildren; then `own=a` for an ephemeral. The root is older than the
//! case: its counters are counted from the start of the case too, and a zxid that has not changed
//! since is `-`. A time is named only when it is wrong: not that of the transaction in czxid or
//! mzxid, or not within the life of the case.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use zk_proto::connect::ConnectResponse;
use zk_proto::{SessionId, Stat};

/// Clocks of two processes on one machine agree better than this.
const CLOCK_SLACK_MS: i64 = 2_000;

/// A session that a case has opened.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its symbol.
    pub name: String,
    /// The answer that opened it.
    pub response: ConnectResponse,
}

/// The symbols of one run of one case.
#[derive(Debug)]
pub struct Symbols {
    base: i64,
    started_ms: i64,
    root: Option<Stat>,
    sessions: Vec<Session>,
    times: BTreeMap<i64, i64>,
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

impl Symbols {
    /// For a case that starts after transaction `base`, with this Stat of `/`; without one the root
    /// is shown as it is, which is right on a fresh server.
    #[must_use]
    pub fn new(base: i64, root: Option<Stat>) -> Symbols {
        Symbols { base, started_ms: now_ms(), root, sessions: Vec::new(), times: BTreeMap::new() }
    }

    /// The zxid before the first one of the case.
    #[must_use]
    pub fn base(&self) -> i64 {
        self.base
    }

    /// `+N` for the N-th transaction of the case; 0 and -1 are themselves; `old` came before.
    #[must_use]
    pub fn zxid(&self, zxid: i64) -> String {
        match zxid {
            0 | -1 => zxid.to_string(),
            _ if zxid < self.base => "old".to_owned(),
            _ => format!("+{}", zxid - self.base),
        }
    }

    /// Remembers a session under the name of the connection that opened it; a second one of the
    /// same connection gets a tick.
    pub fn add_session(&mut self, connection: &str, response: ConnectResponse) {
        let mut name = connection.to_owned();
        while self.sessions.iter().any(|s| s.name == name) {
            name.push('\'');
        }
        self.sessions.push(Session { name, response });
    }

    /// Every session that was opened.
    #[must_use]
    pub fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// The session with this symbol.
    #[must_use]
    pub fn find_session(&self, name: &str) -> Option<&Session> {
        self.sessions.iter().find(|s| s.name == name)
    }

    /// The symbol of a session id.
    #[must_use]
    pub fn session(&self, id: SessionId) -> String {
        match self.sessions.iter().find(|s| s.response.session_id == id) {
            Some(session) => session.name.clone(),
            None if id == SessionId::NONE => "0".to_owned(),
            None => "unknown".to_owned(),
        }
    }

    /// A Stat, of the root or of another znode.
    pub fn stat(&mut self, stat: &Stat, of_root: bool) -> String {
        let root = self.root.filter(|_| of_root);
        let origin = root.unwrap_or_default();
        let zxid = |now: i64, then: i64| match root {
            Some(_) if now == then => "-".to_owned(),
            _ => self.zxid(now),
        };
        let mut text = format!(
            "{{c{} m{} p{} v{} cv{} av{} len{} kids{}",
            zxid(stat.czxid, origin.czxid),
            zxid(stat.mzxid, origin.mzxid),
            zxid(stat.pzxid, origin.pzxid),
            stat.version.wrapping_sub(origin.version),
            stat.cversion.wrapping_sub(origin.cversion),
            stat.aversion.wrapping_sub(origin.aversion),
            stat.data_length,
            stat.num_children.wrapping_sub(origin.num_children),
        );
        if stat.ephemeral_owner != 0 {
            text.push_str(&format!(" own={}", self.session(SessionId(stat.ephemeral_owner))));
        }
        for (name, zxid, time) in
            [("ctime", stat.czxid, stat.ctime), ("mtime", stat.mzxid, stat.mtime)]
        {
            if let Some(fault) = self.time_fault(zxid, time) {
                text.push_str(&format!(" {name}={fault}"));
            }
        }
        text.push('}');
        text
    }

    fn time_fault(&mut self, zxid: i64, time: i64) -> Option<&'static str> {
        if zxid == 0 {
            return (time != 0).then_some("set");
        }
        if *self.times.entry(zxid).or_insert(time) != time {
            return Some("other-than-txn");
        }
        let earliest = if zxid > self.base { self.started_ms - CLOCK_SLACK_MS } else { 1 };
        (!(earliest..=now_ms() + CLOCK_SLACK_MS).contains(&time)).then_some("off")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zxids_count_from_the_case() {
        let symbols = Symbols::new(10, None);
        let shown = [12, 10, 9, 0, -1].map(|zxid| symbols.zxid(zxid));
        assert_eq!(shown, ["+2", "+0", "old", "0", "-1"]);
    }

    #[test]
    fn wrong_times_are_named() {
        let now = now_ms();
        let mut symbols = Symbols::new(10, None);
        let stat = |mtime| Stat { czxid: 11, mzxid: 12, ctime: now, mtime, ..Stat::default() };
        assert_eq!(symbols.stat(&stat(now), false), "{c+1 m+2 p0 v0 cv0 av0 len0 kids0}");
        assert!(symbols.stat(&stat(now + 1), false).ends_with("mtime=other-than-txn}"));
        let old = Stat { czxid: 13, mzxid: 13, ctime: 5, mtime: 5, ..Stat::default() };
        assert!(symbols.stat(&old, false).contains("ctime=off"));
    }

    #[test]
    fn the_root_is_shown_relative() {
        let root = Stat { cversion: 7, num_children: 1, ..Stat::default() };
        let mut symbols = Symbols::new(10, Some(root));
        let later = Stat { cversion: 9, num_children: 2, pzxid: 11, ..root };
        assert_eq!(symbols.stat(&later, true), "{c- m- p+1 v0 cv2 av0 len0 kids1}");
    }
}
