//! The lines of a server's audit log, with everything taken out that differs from run to run.
//!
//! Who writes them may be behind. So the keeper asks for a change that fails, and the lines in
//! front of that one are whole.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use zk_proto::SessionId;
use zk_testkit::{Client, Error, PATIENCE, Server};

use crate::symbols::Symbols;

/// Between two looks at the log.
const POLL: Duration = Duration::from_millis(5);
/// Ephemerals of a session go in no order.
const EPHEMERAL: &str = "operation=ephemeralZNodeDeletionOnSessionCloseOrExpire";

/// What has been looked at of a server's audit log.
#[derive(Debug, Default)]
pub(crate) struct AuditLog {
    /// Lines that were shown or passed over.
    seen: usize,
    /// How often the end was marked.
    marks: u32,
}

impl AuditLog {
    /// The lines since the last look.
    pub(crate) fn news(
        &mut self,
        server: &Server,
        keeper: &mut Client,
        symbols: &Symbols,
    ) -> Result<Vec<String>, Error> {
        self.marks += 1;
        let mark = format!("/end-of-audit-{}", self.marks);
        match keeper.delete(&mark, -1) {
            Err(Error::Refused(-101)) => {}
            other => return other.map(|_| Vec::new()),
        }
        let mark = format!("\tznode={mark}\t");
        let deadline = Instant::now() + PATIENCE;
        let mut text = fs::read(server.log_path())?;
        // From its beginning each time: logs of tests are short.
        while !lines(&String::from_utf8_lossy(&text)).iter().any(|line| line.contains(&mark)) {
            if Instant::now() > deadline {
                return Err(Error::Silence(PATIENCE));
            }
            thread::sleep(POLL);
            text = fs::read(server.log_path())?;
        }
        let text = String::from_utf8_lossy(&text);
        let all = lines(&text);
        let end = all.iter().position(|line| line.contains(&mark)).unwrap_or(all.len());
        let user = all.iter().find_map(|line| line.strip_suffix(SERVER_START)).unwrap_or_default();
        let own = format!("session=0x{:x}\t", keeper.session().session_id.0);
        let news = all[self.seen..end].iter().filter(|line| !line.starts_with(&own));
        let mut news = news.map(|line| show(line, user, symbols)).collect::<Vec<_>>();
        for run in news.chunk_by_mut(|a, b| a.contains(EPHEMERAL) && b.contains(EPHEMERAL)) {
            run.sort();
        }
        self.seen = end + 1;
        Ok(news)
    }
}

/// What stands behind the server's own user when it has started.
const SERVER_START: &str = "\toperation=serverStart\tresult=success";

/// The audit lines in a log, without what the log itself puts in front: ours, 3.8.0's, 3.9.4's.
fn lines(log: &str) -> Vec<&str> {
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let told = |line| {
        let (_, rest) = str::split_once(line, "zkfleet::audit: ")
            .or_else(|| line.split_once(".Slf4jAuditLogger - "))
            .or_else(|| line.split_once(":Slf4jAuditLogger] "))?;
        Some(rest)
    };
    whole.split('\n').filter_map(told).collect()
}

fn show(line: &str, server_user: &str, symbols: &Symbols) -> String {
    let show = |pair: &str| match pair.strip_prefix("session=0x") {
        _ if pair == server_user => "user=SERVER".to_owned(),
        Some(id) => match i64::from_str_radix(id, 16) {
            Ok(id) => format!("session={}", symbols.session(SessionId(id))),
            Err(_) => pair.to_owned(),
        },
        None => pair.to_owned(),
    };
    line.split('\t').map(show).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_in_every_log() {
        let log = "05:19:30,182 [main] INFO org.apache.zookeeper.audit.Slf4jAuditLogger - a\tb=c\n\
                   05:19:32,227 INFO  [main:Slf4jAuditLogger] d\tx - y\n\
                   05:19:32,227 INFO  [main:ZKAuditProvider] ZooKeeper audit is enabled.\n\
                   2026-11-29T05:21:06.9Z  INFO zkfleet::audit: e\n\
                   2026-11-29T05:21:06.9Z  INFO zkfleet::audit: not who";
        assert_eq!(lines(log), ["a\tb=c", "d\tx - y", "e"]);
    }

    #[test]
    fn names_stand_for_what_changes() {
        let symbols = Symbols::new(0, None);
        let line = "session=0x100\tuser=root\tip=127.0.0.1\tuser=x";
        let shown = "session=unknown user=SERVER ip=127.0.0.1 user=x";
        assert_eq!(show(line, "user=root", &symbols), shown);
        assert_eq!(show("session=0xzz", "", &symbols), "session=0xzz");
    }
}
