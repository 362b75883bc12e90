//! Transactions: given out, applied, recovered.

use super::{Cause, Committed, Expected, Fact, Input, Oracle, SessionView, Settlement};
use crate::model::write::{Asker, Wish, perform, without_path};
use crate::record::{Conn, Picture};
use std::ops::Bound::{Excluded, Included};
use std::rc::Rc;
use zk_proto::request::{Request, RequestHeader};
use zk_proto::txn::{TxnEntry, TxnHeader};
use zk_proto::{Jute, OpCode, Reader};

impl Oracle {
    pub(super) fn appended(&mut self, zxid: i64, txn: &[u8]) -> Fact {
        let Ok(entry) = TxnEntry::read(&mut Reader::new(txn)) else {
            return Fact::Proposed { cause: Cause::Nobody, header: None, digest: None };
        };
        let header = entry.header;
        let cause = self.cause();
        if cause != Cause::Nobody && self.commit(zxid, cause, &header).is_some() {
            self.proposed = zxid;
        }
        let digest = entry.digest.map(|digest| digest.tree_digest as u64);
        Fact::Proposed { cause, header: Some(header), digest }
    }

    /// Who is behind the transaction that was given out just now.
    fn cause(&self) -> Cause {
        match &self.input {
            Input::Handshake(conn)
                if self.conns.get(conn).is_some_and(|view| view.opened.is_none()) =>
            {
                Cause::Handshake(*conn)
            }
            Input::Requests(writes) => writes.front().map_or(Cause::Nobody, |c| Cause::Request(*c)),
            Input::Tick => Cause::Expiry,
            Input::Reap(_) => Cause::Reaper,
            _ => Cause::Nobody,
        }
    }

    /// What the model makes of it; `None` if it has no state to begin with.
    fn commit(&mut self, zxid: i64, cause: Cause, header: &TxnHeader) -> Option<()> {
        let before = self.state(zxid - 1)?.clone();
        let time = self.now.wall_ms;
        let rules = self.terms.rules;
        let mut session = header.client_id;
        let act = |session, ids: &[_], wish| {
            perform(&before, rules, Asker { session, ids, zxid, time }, wish)
        };
        let mut is_close = cause == Cause::Expiry;
        let step = match (cause, &self.input.clone()) {
            (Cause::Handshake(conn), _) => {
                let timeout_ms = self.conns.get(&conn).map_or(0, |view| view.timeout_ms);
                self.opening(conn, session, zxid);
                act(session, &[], Wish::OpenSession(timeout_ms))
            }
            (Cause::Request(conn), _) => {
                let view = self.conns.get_mut(&conn)?;
                session = view.session;
                let asked = view.asked.iter_mut().find(|a| a.expected == Expected::Write(None))?;
                asked.expected = Expected::Write(Some(zxid));
                if let Input::Requests(writes) = &mut self.input {
                    writes.pop_front();
                }
                let mut r = Reader::new(&asked.frame);
                let RequestHeader { op, .. } = RequestHeader::read(&mut r).ok()?;
                let op = OpCode::from_code(op).unwrap_or(OpCode::Error);
                let request = Request::read(op, &mut r);
                is_close = op == OpCode::CloseSession;
                let wish = match &request {
                    Ok(Some(Request::CloseSession)) => Wish::CloseSession,
                    Ok(Some(request)) => Wish::Request(request),
                    _ => Wish::Refused(without_path(rules, op, &asked.frame[8..])?),
                };
                act(session, &asked.ids, wish)
            }
            (Cause::Reaper, Input::Reap(path)) => act(0, &[], Wish::Reap(path)),
            _ => act(session, &[], Wish::CloseSession),
        };
        self.history.insert(zxid, Committed { step, session, cause, is_close });
        Some(())
    }

    pub(super) fn applied(&mut self, zxid: i64) -> Fact {
        let fresh: Vec<_> =
            self.history.range(between(self.applied, zxid)).map(|(z, _)| *z).collect();
        for zxid in fresh {
            let Some(Committed { session, cause, is_close, .. }) = self.history.get(&zxid) else {
                continue;
            };
            if *is_close {
                self.sessions.remove(session);
            } else if let Cause::Handshake(conn) = cause {
                let timeout_ms = self.state(zxid).and_then(|s| s.sessions.get(session).copied());
                let view = SessionView {
                    timeout_ms: timeout_ms.map_or(0, i64::from),
                    heard_ms: self.now.monotonic_ms,
                    owner: Some(*conn),
                };
                let session = *session;
                self.sessions.insert(session, view);
            }
        }
        self.applied = zxid;
        let conns: Vec<Conn> = self.conns.keys().copied().collect();
        for conn in conns {
            self.settle(conn, zxid);
        }
        Fact::Plain
    }

    /// Compares a connection's events up to a zxid with those that are due.
    pub(super) fn settle(&mut self, conn: Conn, zxid: i64) {
        let Some(view) = self.conns.get_mut(&conn) else { return };
        if zxid <= view.settled && view.unsettled.is_empty() {
            return;
        }
        let mut due = Vec::new();
        let mut unordered = Vec::new();
        for (&at, committed) in self.history.range(between(view.settled, zxid)) {
            for change in &committed.step.changes {
                due.extend(view.watches.events(at, change, &view.ids));
            }
            if committed.is_close {
                unordered.push(at);
            }
        }
        view.settled = view.settled.max(zxid);
        let mut sent = std::mem::take(&mut view.unsettled);
        for events in [&mut due, &mut sent] {
            for run in events.chunk_by_mut(|a, b| a.zxid == b.zxid) {
                if unordered.contains(&run[0].zxid) {
                    run.sort_unstable();
                }
            }
        }
        if !(due.is_empty() && sent.is_empty()) {
            self.settled.push(Settlement { conn, due, sent });
        }
    }

    pub(super) fn started(&mut self, picture: &Rc<Picture>) -> Fact {
        self.history.retain(|zxid, _| *zxid <= picture.zxid);
        (self.proposed, self.applied) = (picture.zxid, picture.zxid);
        // What was found is on disk, whether anybody had said so or not.
        self.synced = self.synced.max(picture.zxid);
        self.adopt_usages(picture);
        self.conns.clear();
        self.input = Input::None;
        self.is_read_only = false;
        self.starts += 1;
        let heard_ms = self.now.monotonic_ms;
        let view =
            |timeout_ms: i32| SessionView { timeout_ms: timeout_ms.into(), heard_ms, owner: None };
        self.sessions = picture.sessions.iter().map(|&(id, t)| (id, view(t))).collect();
        Fact::Plain
    }

    /// Usages of quotas are counted afresh when a snapshot is loaded, and may then differ from what
    /// counting along had come to (disk-formats 4.1).
    fn adopt_usages(&mut self, picture: &Picture) {
        let Some(committed) = self.history.get_mut(&picture.zxid) else { return };
        let state = Rc::make_mut(&mut committed.step.after);
        for portrait in &picture.nodes {
            if portrait.is_usage()
                && let Some(node) = state.node_mut(&portrait.path)
            {
                node.data.clone_from(&portrait.data);
            }
        }
    }
}

/// Behind `from`, up to `to`.
fn between(from: i64, to: i64) -> (std::ops::Bound<i64>, std::ops::Bound<i64>) {
    (Excluded(from), Included(to.max(from)))
}
