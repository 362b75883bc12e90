//! What is committed is applied, its watches fire, its client is answered (Apache
//! `FinalRequestProcessor`).

use crate::audit::{created_path, tell_ephemerals};
use crate::effects::{Effects, News};
use crate::local::end_connection;
use crate::pipeline::{Answer, ConnState, Connection, Core, Owner, Work};
use crate::read::{WatchAccess, visits_many};
use hashbrown::HashMap;
use zk_proto::request::MultiHeader;
use zk_proto::response::{GetDataResponse, MultiResult, ReplyHeader};
use zk_proto::txn::{Txn, TxnEntry};
use zk_proto::watch::{EventType, STATE_SYNC_CONNECTED};
use zk_proto::{ErrorCode, Jute, Limits, OpCode, Perms, Reader, Zxid};
use zk_tree::auth::AuthOptions;
use zk_tree::{Applied, Change, ChangeKind, ConnId, Observe, Plan, Tree};

/// So often nothing is taken from preparing: the digest of the tree would not tell, with checksums
/// from there, that applying made something else of a znode (Apache's `DIGEST_LOG_INTERVAL`).
const ANEW_EVERY: u32 = 128;

/// A turn ends with a transaction of so many bytes: a multi of many small parts takes a while, and
/// reads wait for the tree.
pub const LONG_TXN_BYTES: usize = 64 << 10;

impl Core {
    /// Everything up to `zxid` is on the disks of a quorum: alone, on the own one. Does at most
    /// `most` pieces of work, and fewer when their answers are large, so that reads get their turns
    /// and answers go out; says whether there is more.
    pub fn committed(
        &mut self,
        tree: &mut Tree,
        watches: &mut impl WatchAccess,
        now_ms: i64,
        zxid: Zxid,
        most: usize,
        fx: &mut Effects,
    ) -> bool {
        self.committed = self.committed.max(zxid);
        for _ in 0..most {
            if fx.is_large() {
                return true;
            }
            match self.queue.pop_front_if(|next| match next {
                Work::Txn { zxid, .. } => *zxid <= self.committed,
                _ => true,
            }) {
                Some(Work::Txn { len, answer, .. }) => {
                    let txn = self.txns.lend(len);
                    let entry = TxnEntry::read(&mut Reader::with_limits(txn.bytes(), Limits::NONE))
                        .expect("prepare encoded this transaction");
                    self.apply(tree, watches, now_ms, &entry, answer, fx);
                    self.txns.take_back(txn);
                    if len >= LONG_TXN_BYTES {
                        break;
                    }
                }
                Some(work) => {
                    if self.carry_out(tree, watches, work, fx) {
                        break;
                    }
                }
                None => return false,
            }
        }
        !self.queue.is_empty()
    }

    /// Does something that waited for the transactions before it; whether it was long.
    pub(crate) fn carry_out(
        &mut self,
        tree: &Tree,
        watches: &mut impl WatchAccess,
        work: Work,
        fx: &mut Effects,
    ) -> bool {
        match work {
            Work::Request { conn, identities, frame } | Work::Sync { conn, identities, frame } => {
                self.read_now(tree, watches, conn, &identities, &frame, fx);
                return visits_many(&frame);
            }
            Work::Refused { conn, xid, code } => {
                fx.reply(conn, ReplyHeader::new(xid, tree.last_zxid().0, code), |_| {});
            }
            Work::Ended { conn, xid } => end_connection(tree, conn, xid, fx),
            Work::Renewed { conn, timeout_ms, read_only_byte } => {
                if let Some(session) = self.waits_for_its_session(conn) {
                    self.establish(conn, session, timeout_ms, read_only_byte, fx);
                }
            }
            Work::Ready { conn, frame, close } => {
                fx.ready(conn, &frame);
                if close {
                    fx.close(conn);
                }
            }
            Work::Txn { .. } | Work::Forwarded(_) => {}
        }
        false
    }

    pub(crate) fn apply(
        &mut self,
        tree: &mut Tree,
        watches: &mut impl WatchAccess,
        now_ms: i64,
        entry: &TxnEntry<'_>,
        answer: Answer,
        fx: &mut Effects,
    ) {
        let zxid = entry.zxid();
        let auth = &self.options.prepare.auth;
        let is_end = self.options.audit && matches!(entry.txn, Txn::CloseSession(_));
        let mut firing =
            Firing { watches, conns: &self.conns, auth, fx, deleted: is_end.then(Vec::new) };
        let plan = match zxid.counter() % ANEW_EVERY {
            0 => Plan::none(),
            _ => self.pending.plan(zxid),
        };
        let applied = tree.apply_planned(&entry.header, &entry.txn, plan, &mut firing);
        let deleted = firing.deleted.unwrap_or_default();
        self.pending.applied(zxid);
        fx.applied_ms.push(entry.header.time_ms);
        tell_ephemerals(entry.session(), deleted, fx);
        self.audit.tell(zxid, entry.session(), &entry.txn, fx);
        if entry.digest.is_some_and(|digest| digest.tree_digest as u64 != tree.digest()) {
            self.counters.digest_mismatches += 1;
        }
        self.follow_sessions(entry, answer, now_ms, fx);
        self.answer_txn(entry, &applied, answer, tree, fx);
    }

    /// Sessions open and close when their transactions are applied.
    fn follow_sessions(
        &mut self,
        entry: &TxnEntry<'_>,
        answer: Answer,
        now_ms: i64,
        fx: &mut Effects,
    ) {
        let session = entry.session();
        match (&entry.txn, answer) {
            (Txn::CreateSession(timeout_ms), Answer::Session { conn, read_only_byte }) => {
                self.opening -= 1;
                // Nobody may be there any more; then the session lives its time and expires.
                let owner = self.conns.contains_key(&conn).then_some(Owner::Conn(conn));
                self.sessions.open(session, *timeout_ms, owner, now_ms);
                self.note_holder(session, conn);
                self.establish(conn, session, *timeout_ms, read_only_byte, fx);
            }
            (Txn::CreateSession(timeout_ms), _) => {
                self.sessions.open(session, *timeout_ms, None, now_ms);
            }
            (Txn::CloseSession(_), answer) => {
                self.options.passwords.closed(session);
                fx.news.push(News::Ended { session });
                let owner = self.sessions.close(session).and_then(|s| s.owner?.conn());
                // Expired, or closed on another connection: no word, only the end.
                if !matches!(answer, Answer::Request { .. })
                    && let Some(conn) = owner
                    && let Some(connection) =
                        self.conns.get_mut(&conn).filter(|c| c.session == session)
                {
                    connection.state = ConnState::Closing;
                    fx.close(conn);
                }
            }
            _ => {}
        }
    }

    fn answer_txn(
        &self,
        entry: &TxnEntry<'_>,
        applied: &Applied,
        answer: Answer,
        tree: &Tree,
        fx: &mut Effects,
    ) {
        let Answer::Request { conn, xid, op, refusal } = answer else { return };
        if !self.conns.contains_key(&conn) {
            return;
        }
        let code = match applied {
            Applied::Error(code) => refusal.unwrap_or(*code),
            _ => ErrorCode::Ok,
        };
        // Its client is connected elsewhere, and must not be told an error there (ZOOKEEPER-710).
        if code == ErrorCode::SessionMoved {
            return fx.close(conn);
        }
        fx.reply(conn, ReplyHeader::new(xid, tree.last_zxid().0, code), |out| match applied {
            Applied::Done | Applied::Error(_) => {}
            Applied::Stat(stat) => {
                if let Txn::Reconfig(body) = &entry.txn {
                    return GetDataResponse { data: body.data, stat: *stat }.write(out);
                }
                if let Some(path) = created_path(&entry.txn) {
                    zk_proto::jute::put_text(out, path);
                }
                if op != OpCode::Create {
                    stat.write(out);
                }
            }
            Applied::Multi(parts) => write_multi(&entry.txn, parts, out),
        });
        if op == OpCode::CloseSession {
            fx.close(conn);
        }
    }
}

fn write_multi(txn: &Txn<'_>, parts: &[Applied], out: &mut Vec<u8>) {
    let Txn::Multi(txns) = txn else { return };
    let failed = txn.is_failure();
    for (txn, applied) in txns.iter().zip(parts) {
        let result = match applied {
            Applied::Error(code) => MultiResult::Error(code.code()),
            _ if failed => MultiResult::Error(0),
            Applied::Stat(stat) => match (txn, created_path(txn)) {
                (Txn::Create(_), Some(path)) => MultiResult::Create(path.into()),
                (_, Some(path)) => MultiResult::Create2(path.into(), *stat),
                (_, None) => MultiResult::SetData(*stat),
            },
            Applied::Done if matches!(txn, Txn::Check(_)) => MultiResult::Check,
            Applied::Done | Applied::Multi(_) => MultiResult::Delete,
        };
        result.write(out);
    }
    MultiHeader::END.write(out);
}

/// All events, by their numbers from 1 on.
const EVENTS: [EventType; 4] = [
    EventType::NodeCreated,
    EventType::NodeDeleted,
    EventType::NodeDataChanged,
    EventType::NodeChildrenChanged,
];

/// Turns changes into notifications for those who wait and may know.
struct Firing<'a, W> {
    watches: &'a mut W,
    conns: &'a HashMap<ConnId, Connection, foldhash::fast::FixedState>,
    auth: &'a AuthOptions,
    fx: &'a mut Effects,
    /// What is deleted, where the audit log asks for it.
    deleted: Option<Vec<String>>,
}

impl<W: WatchAccess> Observe for Firing<'_, W> {
    fn changed(&mut self, change: Change<'_>) {
        let Firing { watches, conns, auth, fx, deleted } = self;
        if let Some(deleted) = deleted {
            deleted.push(change.path.to_owned());
        }
        watches.with(|watches| {
            if watches.is_empty() {
                return;
            }
            let mut wanted = [0; EVENTS.len()];
            let mut tell = |conn: ConnId, event: EventType, path: &str| {
                // Those of a connection that has ended go a part at a time.
                let Some(connection) = conns.get(&conn) else { return };
                wanted[event.code() as usize - 1] += 1;
                let acl = if event == EventType::NodeChildrenChanged {
                    change.parent_acl
                } else {
                    change.acl
                };
                // A path is a secret too (CVE-2024-23944).
                if auth.allows(acl, Perms::READ, &connection.identities).is_ok() {
                    fx.frame(conn, false, |out| put_notification(out, change.zxid.0, event, path));
                }
            };
            match change.kind {
                ChangeKind::Created => watches.created(change.path, &mut tell),
                ChangeKind::Deleted => watches.deleted(change.path, &mut tell),
                ChangeKind::DataChanged => watches.data_changed(change.path, &mut tell),
            }
            let wanted = EVENTS.into_iter().zip(wanted);
            fx.fired.extend(wanted.filter(|(_, count)| *count > 0));
        });
    }
}

/// Header and body of a notification.
pub(crate) fn put_notification(out: &mut Vec<u8>, zxid: i64, event: EventType, path: &str) {
    ReplyHeader { xid: zk_proto::Xid::NOTIFICATION.0, zxid, err: 0 }.write(out);
    event.code().write(out);
    STATE_SYNC_CONNECTED.write(out);
    zk_proto::jute::put_text(out, path);
}
