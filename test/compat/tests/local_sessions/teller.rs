//! Who tells a story: a line for each thing that is done, with what came of it; numbers that differ
//! from run to run are left out, and sessions have names.

use std::fs;
use std::io;

use serde_json::Value;
use zk_proto::Zxid;
use zk_proto::acl::AclBytes;
use zk_proto::connect::ConnectResponse;
use zk_proto::request::{Create, CreateMode, MultiOp, MultiRequest, Request};
use zk_proto::response::{MultiResponse, MultiResult};
use zk_proto::{Jute, OpCode, Reader};
use zk_testkit::{Client, Ensemble, Error, PATIENCE, four_letter_word, zkfleet};

pub(crate) struct Teller<'a> {
    pub(crate) ensemble: &'a Ensemble,
    /// Where it happens.
    pub(crate) sid: i64,
    text: String,
    /// Sessions in the order of their names.
    sessions: Vec<i64>,
}

/// What came of it, in a word.
pub(crate) fn outcome<T>(result: &Result<T, Error>) -> String {
    match result {
        Ok(_) => "done".to_owned(),
        Err(Error::Refused(code)) => format!("error {code}"),
        Err(Error::Expired) => "the session is gone".to_owned(),
        Err(Error::Closed | Error::Io(_)) => "the connection is closed".to_owned(),
        Err(error) => format!("{error}"),
    }
}

pub(crate) fn word(ensemble: &Ensemble, sid: i64, word: &str) -> Result<String, Error> {
    let answer = four_letter_word(ensemble.addr(sid)?, word.as_bytes(), PATIENCE)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The sessions that `mntr` counts: those that only its member knows, and the ensemble's.
pub(crate) fn sessions(mntr: &str) -> [String; 2] {
    let figure = |name: &str| {
        let value = mntr.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'));
        value.unwrap_or("not shown").to_owned()
    };
    ["zk_local_sessions", "zk_global_sessions"].map(figure)
}

/// The last transaction of a member.
pub(crate) fn last_zxid(ensemble: &Ensemble, sid: i64) -> Result<i64, Error> {
    let text = word(ensemble, sid, "srvr")?;
    let zxid = text.lines().find_map(|line| line.strip_prefix("Zxid: 0x"));
    Ok(zxid.and_then(|zxid| i64::from_str_radix(zxid, 16).ok()).unwrap_or_default())
}

impl<'a> Teller<'a> {
    pub(crate) fn new(ensemble: &'a Ensemble, sid: i64) -> Teller<'a> {
        Teller { ensemble, sid, text: String::new(), sessions: Vec::new() }
    }

    pub(crate) fn line(&mut self, what: impl AsRef<str>) {
        self.text.push_str(what.as_ref());
        self.text.push('\n');
    }

    pub(crate) fn told(self) -> String {
        self.text
    }

    /// Something was done.
    pub(crate) fn tell<T>(&mut self, what: &str, result: Result<T, Error>) -> Result<T, Error> {
        self.line(format!("{what}: {}", outcome(&result)));
        result
    }

    /// The sessions that a member counts.
    pub(crate) fn counts(&mut self) -> Result<(), Error> {
        let [local, global] = sessions(&word(self.ensemble, self.sid, "mntr")?);
        self.line(format!("  sessions: local {local}, global {global}"));
        Ok(())
    }

    /// The titles of a member's `dump`, with how many sessions are in what they stand over.
    pub(crate) fn dump(&mut self) -> Result<(), Error> {
        let text = word(self.ensemble, self.sid, "dump")?;
        for line in text.lines().take_while(|line| *line != "ephemeral nodes dump:") {
            // How many sets there are depends on the clock.
            if let Some((title, count)) = line.split_once(" (").filter(|it| it.0.ends_with("Sets"))
            {
                let count = count.rsplit_once('/').map_or(count, |it| it.1);
                self.line(format!("  dump: {title} {count}"));
            } else if line.contains("Sessions(") {
                self.line(format!("  dump: {line}"));
            }
        }
        Ok(())
    }

    /// A session begins, and gets the next name.
    pub(crate) fn open(&mut self, timeout_ms: i32) -> Result<Client, Error> {
        let client = self.ensemble.connect(self.sid, timeout_ms)?;
        let session = client.session().session_id.0;
        self.sessions.push(session);
        let sid = session >> 56;
        assert_eq!(sid, self.sid, "of session 0x{session:x}");
        self.line(format!("session {} begins", self.sessions.len()));
        Ok(client)
    }

    pub(crate) fn create(
        &mut self,
        client: &mut Client,
        path: &str,
        mode: CreateMode,
    ) -> Result<(), Error> {
        let result = client.create(path, b"data", mode);
        let what = format!("create {} {mode:?}", name(path));
        if let Ok(created) = &result {
            let owner = created.stat.ephemeral_owner;
            let is_own = owner == client.session().session_id.0;
            assert_eq!(is_own, mode.is_ephemeral(), "owner of {path}: 0x{owner:x}");
        }
        self.expect(&what, result)
    }

    /// The same for what may be refused, which is no end of the story.
    pub(crate) fn expect<T>(&mut self, what: &str, result: Result<T, Error>) -> Result<(), Error> {
        match self.tell(what, result) {
            Ok(_) | Err(Error::Refused(_) | Error::Expired | Error::Closed | Error::Io(_)) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// A multi of creates, and the result of each.
    pub(crate) fn multi(
        &mut self,
        client: &mut Client,
        parts: &[(&str, CreateMode)],
    ) -> Result<(), Error> {
        let reply = client.call(&multi(parts))?;
        let results = MultiResponse::read(&mut Reader::new(&reply.body))?.results;
        let results: Vec<_> = results
            .iter()
            .map(|result| match result {
                MultiResult::Error(code) => format!("error {code}"),
                _ => "done".to_owned(),
            })
            .collect();
        let modes: Vec<_> = parts.iter().map(|(_, mode)| format!("{mode:?}")).collect();
        self.line(format!("multi of {modes:?}: {} {results:?}", reply.err));
        Ok(())
    }

    /// Goes on with a session at a member.
    pub(crate) fn resume(
        &mut self,
        what: &str,
        sid: i64,
        session: &ConnectResponse,
        seen: Zxid,
    ) -> Result<Option<Client>, Error> {
        let result = self.ensemble.resume(sid, session, seen);
        self.line(format!("{what}: {}", outcome(&result)));
        match result {
            Ok(client) => {
                assert_eq!(client.session().session_id, session.session_id);
                Ok(Some(client))
            }
            Err(Error::Expired) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the leader's log has of these sessions, behind a transaction.
    pub(crate) fn log(&mut self, dir: &std::path::Path, after: i64) -> Result<(), Error> {
        let mut files: Vec<_> = fs::read_dir(dir.join("version-2"))?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<_>>()?;
        files.retain(|path| {
            path.file_name().is_some_and(|it| it.as_encoded_bytes().starts_with(b"log."))
        });
        let from = format!("{:x}", after + 1);
        let output = zkfleet()?.args(["log", "--json", "--from", &from]).args(files).output()?;
        let mut found = Vec::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let txn: Value = serde_json::from_str(line).map_err(io::Error::from)?;
            found.push((number(&txn["zxid"]), txn));
        }
        found.sort_by_key(|(zxid, _)| *zxid);
        for (_, txn) in found {
            let session = number(&txn["session"]);
            let name = self.sessions.iter().position(|it| *it == session);
            let name = name.map_or_else(|| format!("0x{session:x}"), |at| (at + 1).to_string());
            let (op, code) = (&txn["txn"]["op"], &txn["txn"]["code"]);
            let code = if code.is_null() { String::new() } else { format!(" {code}") };
            let op = op.as_str().unwrap_or_default();
            self.line(format!("  log: session {name} request {}: {op}{code}", txn["cxid"]));
        }
        Ok(())
    }
}

/// A hexadecimal number.
fn number(value: &Value) -> i64 {
    let digits = value.as_str().unwrap_or_default().trim_start_matches("0x");
    u64::from_str_radix(digits, 16).unwrap_or_default() as i64
}

pub(crate) fn multi<'a>(parts: &[(&'a str, CreateMode)]) -> Request<'a> {
    let part = |(path, mode): &(&'a str, CreateMode)| {
        let (op, data, acl) = (OpCode::Create2, Some(&b"data"[..]), AclBytes::OPEN);
        let flags = mode.flags();
        MultiOp::Create(Create { op, path: (*path).into(), data, acl, flags, ttl_ms: -1 })
    };
    Request::Multi(MultiRequest { ops: parts.iter().map(part).collect() })
}

/// A path without what tells members apart.
fn name(path: &str) -> &str {
    path.split_once('/').and_then(|(_, rest)| rest.split_once('/')).map_or("a parent", |it| it.1)
}
