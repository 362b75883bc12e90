//! The pipeline's state: who is connected, what is under way.

use crate::audit::Audit;
use crate::effects::{Effects, News};
use crate::holders::Holders;
use crate::learner::{Forward, Learning};
use crate::options::{Admission, CoreOptions, Membership, Times};
use crate::throttle::{Throttle, Wanted};
use crate::txns::Txns;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use zk_proto::txn::TxnHeader;
use zk_proto::{Epoch, ErrorCode, OpCode, SessionId, Zxid};
use zk_session::ids::SessionIds;
use zk_session::tracker::SessionTable;
use zk_tree::auth::{self, Identity, Verdicts};
use zk_tree::{ConnId, Pending, Preparer, Proposal, Tree};

/// A member's request pipeline: of one that leads (or is alone), which makes transactions, or of
/// one that learns them from its leader. A member that changes its part gets a new one.
///
/// The driver calls [`Core::connected`], [`Core::handshake`], [`Core::submit`],
/// [`Core::disconnected`] for its connections, [`Core::committed`] (or [`Core::learned`]) for what
/// a quorum has on disk and [`Core::tick`] for its clock, each under one lock, and carries out the
/// [`Effects`] in order before that lock is given to another caller. The tree is the driver's: it
/// is read while requests are prepared and written only by [`Core::committed`] and
/// [`Core::learned`].
pub struct Core {
    pub(crate) options: CoreOptions,
    pub(crate) part: Part,
    pub(crate) admission: Admission,
    pub(crate) sessions: SessionTable<Owner>,
    /// Sessions that nobody else knows.
    pub(crate) local: SessionTable<Owner>,
    pub(crate) ids: SessionIds,
    pub(crate) holders: Holders,
    pub(crate) conns: HashMap<ConnId, Connection, foldhash::fast::FixedState>,
    pub(crate) pending: Pending,
    /// Everything that must happen in order behind the transactions under way.
    pub(crate) queue: VecDeque<Work>,
    /// The transactions in the queue.
    pub(crate) txns: Txns,
    /// What the audit log will tell of them.
    pub(crate) audit: Audit,
    /// Sessions that have expired and whose closeSession has not had its turn.
    expired: VecDeque<SessionId>,
    /// Sessions whose createSession is not applied yet.
    pub(crate) opening: usize,
    throttle: Option<Throttle>,
    pub(crate) last_proposed: Zxid,
    pub(crate) committed: Zxid,
    /// Of a leader.
    pub(crate) membership: Option<Arc<dyn Membership>>,
    /// The last transaction that changes the ensemble.
    pub(crate) reconfigured: Zxid,
    pub(crate) counters: CoreCounters,
}

/// What a member does in its ensemble.
#[derive(Debug)]
pub(crate) enum Part {
    /// It makes transactions.
    Leading,
    /// It learns them from a leader.
    Learning(Learning),
}

/// A learner of a leader; the driver numbers their connections and uses no number twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LearnerId(pub u64);

/// Who holds a session's connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// This member.
    Conn(ConnId),
    /// A learner.
    Learner(LearnerId),
}

impl Owner {
    /// This member's connection.
    #[must_use]
    pub fn conn(self) -> Option<ConnId> {
        match self {
            Owner::Conn(conn) => Some(conn),
            Owner::Learner(_) => None,
        }
    }
}

/// A driver asks its log for room before it gives a transaction's cause to the pipeline, and again
/// when the causes since then have made so many bytes of transactions. One more transaction may
/// come on top, as long as its request; a closeSession is as long as the paths of all ephemerals of
/// its session.
pub const TURN_BYTES: usize = 256 << 10;

/// What the pipeline counts for the metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CoreCounters {
    /// Transactions whose digest was not the tree's afterwards (Apache `digest_mismatches_count`).
    pub digest_mismatches: u64,
    /// Sessions that expired (`stale_sessions_expired`).
    pub sessions_expired: u64,
    /// Connect requests that the throttle refused (`connection_rejected`).
    pub connects_throttled: u64,
    /// Connect requests that it let pass (`connection_request_count`).
    pub connect_requests: u64,
    /// Renewals (`connection_revalidate_count`).
    pub renewals: u64,
    /// New sessions that were refused, since there were as many as may be.
    pub sessions_refused: u64,
    /// Auth packets that failed (`auth_failed_count`).
    pub auth_failures: u64,
    /// Packets of the scheme `ensemble` with one of our names (`ensemble_auth_success`).
    pub ensemble_matches: u64,
    /// With another name (`ensemble_auth_fail`).
    pub ensemble_mismatches: u64,
    /// Where one side does not care (`ensemble_auth_skip`).
    pub ensemble_skips: u64,
}

/// What is known of a client's connection.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) session: SessionId,
    pub(crate) state: ConnState,
    pub(crate) identities: Arc<[Identity]>,
    pub(crate) admitted: bool,
    pub(crate) peer: Option<IpAddr>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ConnState {
    /// No connect request yet.
    New,
    /// Its session is being opened, or the leader is asked for it.
    Opening,
    /// It may send requests.
    Live,
    /// Nothing that it sends counts any more.
    Closing,
}

/// Something that waits for the transactions before it.
#[derive(Debug)]
pub(crate) enum Work {
    /// A transaction on its way to the logs, of so many bytes.
    Txn { zxid: Zxid, len: usize, session: SessionId, answer: Answer },
    /// A session is the connection's from here on: what its client wrote before is done by then,
    /// so that no read of it misses that (client-protocol 12.3).
    Renewed { conn: ConnId, timeout_ms: i32, read_only_byte: bool },
    /// Something that the leader was asked for.
    Forwarded(Forward),
    /// A sync that the leader was asked for; the frame is the request.
    Sync { conn: ConnId, identities: Arc<[Identity]>, frame: Box<[u8]> },
    /// A request that changes nothing, behind a write of its own session, with the identities
    /// that its connection had when it came: an auth packet behind it does not count for it.
    Request { conn: ConnId, identities: Arc<[Identity]>, frame: Box<[u8]> },
    /// A request that cannot be taken; the answer tells the zxid of the moment.
    Refused { conn: ConnId, xid: i32, code: ErrorCode },
    /// The client of a session of this member alone has closed it.
    Ended { conn: ConnId, xid: i32 },
    /// An answer that only has to wait for its turn.
    Ready { conn: ConnId, frame: Box<[u8]>, close: bool },
}

impl Work {
    /// Whether it is a write that a session has asked for.
    pub(crate) fn is_of(&self, session: SessionId) -> bool {
        match self {
            Work::Txn { session: of, .. } => *of == session,
            Work::Forwarded(forward) => forward.session == session,
            _ => false,
        }
    }
}

/// Who waits for a transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// Nobody.
    None,
    /// A connection that opens a session.
    Session { conn: ConnId, read_only_byte: bool },
    /// A request; with the error that its client is told instead of another, where this member
    /// knows better than the leader what is wrong.
    Request { conn: ConnId, xid: i32, op: OpCode, refusal: Option<ErrorCode> },
}

impl Core {
    /// The pipeline of a member that is alone, or leads from now on, and has recovered `tree` and
    /// `sessions` (with their timeouts in ms). Every session starts anew with its full timeout.
    #[must_use]
    pub fn new(
        options: CoreOptions,
        tree: &Tree,
        sessions: impl IntoIterator<Item = (SessionId, i32)>,
        now: Times,
    ) -> Core {
        let throttle = options.throttle.clone();
        let mut table = SessionTable::new(options.tick_ms);
        table.restore(sessions, now.monotonic_ms);
        Core {
            holders: Holders::new(options.hash_seed),
            ids: SessionIds::new(options.server_id, now.wall_ms.max(0) as u64, tree.last_zxid()),
            part: Part::Leading,
            admission: Admission::Serving,
            sessions: table,
            local: SessionTable::new(options.tick_ms),
            conns: HashMap::with_hasher(foldhash::fast::FixedState::with_seed(options.hash_seed)),
            pending: Pending::new(options.hash_seed),
            queue: VecDeque::new(),
            txns: Txns::default(),
            audit: Audit::default(),
            expired: VecDeque::new(),
            opening: 0,
            throttle: throttle.map(|t| Throttle::new(t, options.hash_seed, now.monotonic_ms)),
            last_proposed: tree.last_zxid(),
            committed: tree.last_zxid(),
            membership: None,
            reconfigured: Zxid::ZERO,
            counters: CoreCounters::default(),
            options,
        }
    }

    /// This member leads in an epoch: its first transaction has the counter 1. Nothing of its own
    /// is under way.
    pub fn lead(&mut self, epoch: Epoch) {
        self.last_proposed = Zxid::new(epoch, 0);
    }

    /// Opens or closes the member to clients.
    pub fn set_admission(&mut self, admission: Admission) {
        if self.admission == Admission::Alone && admission != Admission::Alone {
            self.local = SessionTable::new(self.options.tick_ms);
        }
        self.admission = admission;
    }

    /// Whether clients are served.
    #[must_use]
    pub fn admission(&self) -> Admission {
        self.admission
    }

    /// The zxid of the newest transaction that was given out.
    #[must_use]
    pub fn last_proposed(&self) -> Zxid {
        self.last_proposed
    }

    /// How many requests are under way.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.queue.len()
    }

    /// Sessions and their expiry.
    #[must_use]
    pub fn sessions(&self) -> &SessionTable<Owner> {
        &self.sessions
    }

    /// The connection that holds a session.
    #[must_use]
    pub fn session_of(&self, conn: ConnId) -> Option<SessionId> {
        self.conns.get(&conn).map(|c| c.session)
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> CoreCounters {
        self.counters
    }

    /// The tokens that the throttle of connect requests misses.
    #[must_use]
    pub fn token_deficit(&self) -> u32 {
        self.throttle.as_ref().map_or(0, Throttle::deficit)
    }

    /// The chance of a connect request to be dropped by the throttle.
    #[must_use]
    pub fn drop_probability(&self) -> f64 {
        self.throttle.as_ref().map_or(0.0, Throttle::drop_probability)
    }

    /// Whether the throttle takes a connect request.
    pub(crate) fn takes_connect(&mut self, is_new: bool, now: Times) -> bool {
        let wanted = match (is_new, self.options.local_sessions) {
            (false, _) => Wanted::Renewal,
            (true, Some(_)) => Wanted::LocalSession,
            (true, None) => Wanted::Session,
        };
        self.throttle.as_mut().is_none_or(|throttle| throttle.admits(wanted, now.monotonic_ms))
    }

    /// A client connected, from `peer`.
    pub fn connected(
        &mut self,
        conn: ConnId,
        peer: Option<IpAddr>,
        identities: Vec<Identity>,
    ) -> Arc<[Identity]> {
        let ip = peer.map(|ip| Identity::new("ip", auth::ip_text(ip)));
        let mut identities: Vec<Identity> = ip.into_iter().chain(identities).collect();
        auth::sort_as_apache(&mut identities);
        let identities: Arc<[Identity]> = identities.into();
        let admitted = self.is_admitted(&identities);
        let connection = Connection {
            session: SessionId::NONE,
            state: ConnState::New,
            identities: identities.clone(),
            admitted,
            peer,
        };
        self.conns.insert(conn, connection);
        identities
    }

    /// A connection is gone; its session was last heard at `heard_ms` of the monotonic clock, and
    /// lives on. What came here behind the session's move to another connection is none of its
    /// signs of life. The driver removes the connection's watches.
    pub fn disconnected(&mut self, conn: ConnId, heard_ms: i64) {
        let Some(Connection { session, .. }) = self.conns.remove(&conn) else { return };
        let table = if self.is_local(session) { &mut self.local } else { &mut self.sessions };
        let owner = table.get(session).and_then(|found| found.owner);
        if owner.is_none_or(|owner| owner == Owner::Conn(conn)) {
            table.touch(session, heard_ms);
            self.note_ended(session, heard_ms);
        }
    }

    /// Whether `enforce.auth` lets a connection with these identities in.
    #[must_use]
    pub fn is_admitted(&self, identities: &[Identity]) -> bool {
        self.options.enforced_schemes.as_ref().is_none_or(|schemes| {
            identities
                .iter()
                .any(|identity| schemes.iter().any(|scheme| *scheme == identity.scheme))
        })
    }

    /// Expires sessions, which is the leader's to do; `heard_ms` tells when a connection last sent
    /// something, if it is still there. Does not more than the log should take at a time
    /// ([`TURN_BYTES`]), and says whether there is more to do.
    pub fn tick(
        &mut self,
        tree: &Tree,
        now: Times,
        mut heard_ms: impl FnMut(ConnId) -> Option<i64>,
        fx: &mut Effects,
    ) -> bool {
        self.tick_local(now, &mut heard_ms, fx);
        let logs = !matches!(self.admission, Admission::ReadOnly | Admission::Alone);
        if !logs || self.is_learning() {
            return false;
        }
        let mut expired = Vec::new();
        self.sessions.expire_due(
            now.monotonic_ms,
            |_, owner| owner.and_then(Owner::conn).and_then(&mut heard_ms),
            &mut expired,
        );
        self.expired.extend(expired);
        let start = fx.bytes.len();
        while fx.bytes.len() - start < TURN_BYTES {
            let Some(session) = self.expired.pop_front() else { return false };
            self.counters.sessions_expired += 1;
            let timeout_ms = self.sessions.get(session).map_or(0, |session| session.lease_ms());
            fx.news.push(News::Expired { session, timeout_ms });
            self.propose(tree, now, session, 0, &[], &Proposal::CloseSession, Answer::None, fx);
        }
        !self.expired.is_empty()
    }

    /// Reaps a container or TTL znode that was found due by [`Tree::due_for_reaping`], if it still
    /// is. Nothing is reaped while nothing can be logged.
    pub fn reap(
        &mut self,
        tree: &Tree,
        now: Times,
        path: &str,
        max_never_used_ms: i64,
        fx: &mut Effects,
    ) {
        if self.admission == Admission::ReadOnly || self.is_learning() {
            return;
        }
        let proposal = Proposal::Reap { path, max_never_used_ms };
        self.propose(tree, now, SessionId::NONE, 0, &[], &proposal, Answer::None, fx);
    }

    /// Makes a transaction that changes nothing: who sees it committed knows that this leader has a
    /// quorum.
    pub fn prove(&mut self, tree: &Tree, now: Times, fx: &mut Effects) {
        if self.admission != Admission::ReadOnly && !self.is_learning() {
            let proposal = Proposal::Refused(ErrorCode::SystemError);
            self.propose(tree, now, SessionId::NONE, 0, &[], &proposal, Answer::None, fx);
        }
    }

    /// Gives a transaction its zxid, checks it and sends it to the log.
    #[expect(clippy::too_many_arguments, reason = "all of it goes into the transaction")]
    pub(crate) fn propose(
        &mut self,
        tree: &Tree,
        now: Times,
        session: SessionId,
        cxid: i32,
        identities: &[Identity],
        proposal: &Proposal<'_, '_>,
        answer: Answer,
        fx: &mut Effects,
    ) {
        let zxid = self.last_proposed.next();
        self.last_proposed = zxid;
        let header =
            TxnHeader { client_id: session.0, cxid, zxid: zxid.0, time_ms: now.wall_ms, op: 0 };
        let start = fx.bytes.len();
        let no_ephemerals = self.no_ephemerals(session);
        let mut preparer = Preparer {
            tree,
            pending: &mut self.pending,
            options: &self.options.prepare,
            identities,
            header,
            verdicts: Verdicts::default(),
            no_ephemerals,
            over_quota: None,
        };
        // An error is a transaction too; the answer is made when it is applied.
        let prepared = preparer.prepare(proposal, &mut fx.bytes);
        if prepared.is_ok() && matches!(proposal, Proposal::Reconfig(_)) {
            self.reconfigured = zxid;
        }
        fx.over_quota.extend(preparer.over_quota);
        let span = fx.span_from(start);
        let txn = fx.get(span);
        self.txns.push(txn);
        self.queue.push_back(Work::Txn { zxid, len: txn.len(), session, answer });
        fx.append(zxid, span);
    }
}
