//! The engine: the pipeline, the tree and the connections under their locks.
//!
//! One lock holds the pipeline (who is next), one the tree (what is), and each connection has its
//! own. They are always taken in this order: pipeline, tree, connection, watches. Reads take the
//! tree's lock shared, for a batch of requests, and write their answers into the connection's
//! output while they hold it: so a watch that a read leaves never fires before the read's answer.
//! No lock is held over a system call that can wait.

#![expect(
    clippy::iter_over_hash_type,
    reason = "connections are told to end in no particular order"
)]

mod audit;
mod clock;
mod dispatch;
mod large;
mod leavers;
mod news;
mod part;
mod pause;
mod pipe;
mod posting;
mod requests;
mod sasl;
mod stall;
mod words;

pub(crate) use requests::{Handled, Hangup, Next};
pub(crate) use sasl::SaslOptions;

pub(crate) use audit::tell_failed_start;
pub use audit::{AUDIT_TARGET, AuditSink, log_audit};

use audit::{AuditError, AuditLog};
use large::LargeRequests;
use leavers::Leavers;
pub(crate) use pipe::{Diligence, Lesson, Pipe};
use stall::Stall;
use words::Words;

use crate::admin::{Inspect, Metrics};
use crate::config::LargeRequestSettings;
use crate::net::conn::{Conn, Line};
use crate::net::{Backlog, Company, Home, Traffic};
use crate::quorum::Quorum;
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use zk_core::{Admission, Core, CoreCounters, CoreOptions, Effects, Times, WatchAccess};
use zk_proto::{SessionId, Zxid};
use zk_store::group_commit::{AppendError, Loan};
use zk_tree::auth::{AuthOptions, Identity};
use zk_tree::{ConnId, SnapshotHead, Tree, Watches};

/// Where transactions go to become durable. The log reports back by [`Engine::logged`].
pub(crate) trait TxnLog: Send + Sync {
    /// Queues transactions; must not wait for the disk, and takes whatever comes within a turn
    /// ([`zk_core::TURN_BYTES`]) after it admitted something. After an error nothing later may
    /// be appended.
    fn append(&self, txns: &mut dyn Iterator<Item = (Zxid, &[u8])>) -> Result<(), AppendError>;

    /// Whether more transactions should be made.
    fn admits(&self) -> Result<(), AppendError>;

    /// The log, for who waits for it in any case, if nothing is under way there.
    fn lend(&self) -> Option<Loan<'_>> {
        None
    }
}

/// What the engine itself is told by the configuration.
#[derive(Clone)]
pub(crate) struct EngineOptions {
    /// The pipeline's part.
    pub(crate) core: CoreOptions,
    /// The longest frame of a client, `jute.maxbuffer`.
    pub(crate) max_frame_bytes: usize,
    /// With so many requests under way no more are taken.
    pub(crate) max_outstanding: usize,
    /// What large requests may take together.
    pub(crate) large_requests: Option<LargeRequestSettings>,
    /// When more bytes than this wait for a client, it is let go.
    pub(crate) max_unsent_bytes: usize,
    /// When more bytes than this wait for all clients, those go for whom most of them do.
    pub(crate) max_backlog_bytes: usize,
    /// How long a client may take to send its connect request, in ms.
    pub(crate) handshake_deadline_ms: i64,
    /// SASL.
    pub(crate) sasl: SaslOptions,
}

/// A running member, without its sockets and files.
pub(crate) struct Engine {
    pub(crate) gate: Mutex<Gate>,
    pub(crate) tree: RwLock<Tree>,
    pub(crate) watches: Mutex<Watches>,
    leavers: Leavers,
    pub(crate) auth: AuthOptions,
    pub(crate) options: EngineOptions,
    pub(crate) metrics: Arc<Metrics>,
    /// The last applied transaction, for statistics.
    last_zxid: AtomicI64,
    /// Who answers four-letter words.
    inspect: OnceLock<Weak<dyn Inspect>>,
    log: Box<dyn TxnLog>,
    /// With `audit.enable`.
    audit: Option<AuditLog>,
    large: LargeRequests,
    /// Answers and events that wait for clients.
    pub(crate) backlog: Arc<Backlog>,
    /// The threads that serve connections.
    pub(crate) homes: Mutex<Vec<Arc<Home>>>,
    /// Requests under way.
    pub(crate) traffic: Arc<Traffic>,
    /// Turns of four-letter words.
    words: Words,
    pub(crate) pipe: Arc<Pipe>,
    /// The other members, if there are any.
    quorum: OnceLock<Arc<Quorum>>,
    stall: Stall,
    started: Instant,
    /// The log or the audit log failed: nothing is acknowledged any more, reads go on.
    is_poisoned: AtomicBool,
    /// No transactions are made for now; set under the pipeline's lock.
    is_paused: AtomicBool,
}

/// The audit log of a running member. It ends when this is dropped, and nothing may be applied
/// then.
pub(crate) struct Auditing(Arc<Engine>);

impl Auditing {
    /// The member is about to stop: nobody waits for the audit log any more.
    pub(crate) fn announce_stop(&self) {
        if let Some(log) = &self.0.audit {
            log.lift_bound();
            log.tell_server("serverStop", "invoked");
            self.0.note_room();
        }
    }

    /// Ends the audit log; whether all lines that somebody took were written.
    pub(crate) fn end(self) -> bool {
        let engine = self.0.clone();
        drop(self);
        !engine.audit.as_ref().is_some_and(AuditLog::has_failed)
    }
}

impl Drop for Auditing {
    fn drop(&mut self) {
        if let Some(log) = &self.0.audit {
            log.end();
        }
    }
}

/// The connections by their numbers.
type Conns = HashMap<ConnId, Arc<Conn>, foldhash::fast::FixedState>;

/// What the pipeline's lock holds.
pub(crate) struct Gate {
    pub(crate) core: Core,
    pub(crate) conns: Conns,
    next_conn: u64,
    fx: Effects,
    /// Connections with new output.
    dirty: Vec<Arc<Conn>>,
    /// What the metrics have of the pipeline's counters already.
    counted: CoreCounters,
    /// Who gives it requests.
    company: Company,
}

/// The watches behind their lock.
pub(crate) struct SharedWatches<'a>(pub(crate) &'a Mutex<Watches>);

impl WatchAccess for SharedWatches<'_> {
    fn with<R>(&mut self, f: impl FnOnce(&mut Watches) -> R) -> R {
        f(&mut self.0.lock())
    }
}

/// How many transactions are applied before waiting readers get the tree.
const APPLY_TURN: usize = 256;

impl Engine {
    /// An engine on a recovered tree and its sessions.
    #[must_use]
    pub(crate) fn new(
        options: EngineOptions,
        tree: Tree,
        sessions: Vec<(SessionId, i32)>,
        metrics: Arc<Metrics>,
        log: Box<dyn TxnLog>,
    ) -> Arc<Engine> {
        let started = Instant::now();
        let core = Core::new(options.core.clone(), &tree, sessions, times(started));
        let max_outstanding = options.max_outstanding;
        // No client chooses the number of its connection.
        let hasher = foldhash::fast::FixedState::with_seed(options.core.hash_seed);
        Arc::new(Engine {
            gate: Mutex::new(Gate {
                core,
                conns: HashMap::with_hasher(hasher),
                next_conn: 1,
                fx: Effects::new(),
                dirty: Vec::new(),
                counted: CoreCounters::default(),
                company: Company::default(),
            }),
            tree: RwLock::new(tree),
            watches: Mutex::new(Watches::new(options.core.hash_seed)),
            leavers: Leavers::default(),
            auth: options.core.prepare.auth.clone(),
            large: LargeRequests::new(options.large_requests),
            backlog: Arc::new(Backlog::new(options.max_backlog_bytes)),
            homes: Mutex::default(),
            traffic: Arc::default(),
            words: Words::new(),
            audit: options.core.audit.then(AuditLog::new),
            options,
            metrics,
            last_zxid: AtomicI64::new(0),
            inspect: OnceLock::new(),
            log,
            pipe: Arc::new(Pipe::new(max_outstanding)),
            quorum: OnceLock::new(),
            stall: Stall::new(),
            started,
            is_poisoned: AtomicBool::new(false),
            is_paused: AtomicBool::new(false),
        })
    }

    /// Now, by both clocks.
    pub(crate) fn times(&self) -> Times {
        times(self.started)
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.started.elapsed().as_millis() as i64
    }

    /// Takes a new connection in. It has until `deadline_ms` of the monotonic clock to get a
    /// session.
    pub(crate) fn connect(
        &self,
        line: Line,
        identities: Vec<Identity>,
        deadline_ms: i64,
    ) -> Arc<Conn> {
        let peer = line.peer;
        let now = self.times();
        let mut gate = self.gate.lock();
        if !identities.iter().any(|identity| identity.scheme == "x509") {
            let stats = &self.metrics.stats;
            let is_local = peer.ip().is_loopback();
            let [local, remote] =
                [&stats.non_mtls_local_conn_count, &stats.non_mtls_remote_conn_count];
            (if is_local { local } else { remote }).add(1);
        }
        let id = ConnId(gate.next_conn);
        gate.next_conn += 1;
        let identities = gate.core.connected(id, Some(peer.ip()), identities);
        let admitted = gate.core.is_admitted(&identities);
        let conn = Conn::new(id, line, identities, admitted, now, deadline_ms);
        let conn = Arc::new(conn);
        gate.conns.insert(id, conn.clone());
        conn
    }

    /// This member belongs to an ensemble: its first part is that of a learner without a leader.
    pub(crate) fn join(&self, quorum: Arc<Quorum>) {
        self.tell_config(&quorum.config());
        // Once, at the start.
        let _ = self.quorum.set(quorum);
        self.begin_learning();
    }

    /// Everything up to `zxid` is on the own disk. Called by the log, on its thread or on that of
    /// who borrowed it, without the pipeline's lock; nothing waits behind it in the log if it
    /// `is_last`.
    pub(crate) fn logged(&self, zxid: Zxid, is_last: bool) {
        if let Some(quorum) = self.quorum.get() {
            quorum.logged(zxid);
            return self.do_what_is_due(quorum);
        }
        if !self.pipe.hand_over(zxid, is_last) {
            while self.logged_some(zxid) {}
        }
    }

    /// Applies some of what is durable; whether there is more.
    fn logged_some(&self, zxid: Zxid) -> bool {
        let mut gate = self.gate.lock();
        let mut tree = self.tree.write();
        let Gate { core, fx, .. } = &mut *gate;
        let now_ms = self.now_ms();
        // Reads wait for the tree in any case. Only who counts or lists watches, and who removes
        // those of a connection that has ended, wait for the watches alone.
        let more = {
            let mut watches = self.watches.lock();
            core.committed(&mut tree, &mut *watches, now_ms, zxid, APPLY_TURN, fx)
        };
        self.last_zxid.store(tree.last_zxid().0, Ordering::Relaxed);
        self.end_turn(gate, tree);
        self.pipe.wake_waiting(now_ms);
        more
    }

    /// Carries out what the pipeline wants, and gives the locks back.
    fn end_turn<T>(&self, mut gate: MutexGuard<'_, Gate>, tree: T) {
        let left = self.dispatch(&mut gate);
        self.pipe.note_queued(gate.core.outstanding());
        drop(tree);
        drop(gate);
        self.flush(left);
    }

    /// Starts the pipeline's thread; the member is closed if it fails.
    pub(crate) fn start_pipe(self: &Arc<Engine>) -> io::Result<()> {
        let (to_run, to_end) = (self.clone(), self.clone());
        let gone = move |is_panic| {
            to_end.pipe.note_gone();
            if is_panic {
                to_end.poison();
            }
        };
        self.pipe.start(move || to_run.run_pipe(), gone)
    }

    /// Starts the thread of the audit log, if there is to be one.
    pub(crate) fn start_audit(self: &Arc<Engine>, sink: AuditSink) -> io::Result<Auditing> {
        let auditing = Auditing(self.clone());
        let Some(log) = &self.audit else { return Ok(auditing) };
        if !audit::is_heard() {
            tracing::warn!("audit.enable: the filter of the log hides the lines of zkfleet::audit");
        }
        let (to_wake, to_end) = (Arc::downgrade(self), Arc::downgrade(self));
        let has_room = move || {
            if let Some(engine) = to_wake.upgrade() {
                engine.note_room();
            }
        };
        let failed = move |error| {
            if let Some(engine) = to_end.upgrade() {
                engine.fail_audit(&error);
            }
        };
        log.start(move |line| sink(line), has_room, failed)?;
        log.tell_server("serverStart", "success");
        Ok(auditing)
    }

    /// Changes must not be made without a line about them. The member ends, as when its log has
    /// failed.
    fn fail_audit(&self, error: &AuditError) {
        tracing::error!("{error}; no changes are made without it, and the server ends");
        self.metrics.unrecoverable_error_count.add(1);
        self.poison();
        self.go_on(self.now_ms());
    }

    /// Whether transactions should be made: not while the log or the audit log is behind.
    fn admits(&self) -> Result<(), AppendError> {
        if self.audit.as_ref().is_some_and(AuditLog::has_failed) {
            return Err(AppendError::Closed);
        }
        if self.is_paused.load(Ordering::Relaxed) {
            return Err(AppendError::Busy);
        }
        self.log.admits()?;
        match &self.audit {
            Some(audit) if audit.is_full() => Err(AppendError::Busy),
            _ => Ok(()),
        }
    }

    /// Nothing keeps transactions from being made any more.
    fn note_room(&self) {
        // Who has just found none is on the list of those who wait, when the lock is free.
        drop(self.gate.lock());
        self.go_on(self.now_ms());
    }

    /// Whoever waited for the log sees what is possible now.
    fn go_on(&self, now_ms: i64) {
        self.pipe.wake_waiting(now_ms);
        self.pipe.nudge();
    }

    /// The last transaction that was made.
    pub(crate) fn last_proposed(&self) -> Zxid {
        self.gate.lock().core.last_proposed()
    }

    /// The log, or the audit log, cannot write any more: all connections are closed, since no write
    /// would be answered, and nobody new is let in.
    pub(crate) fn poison(&self) {
        self.is_poisoned.store(true, Ordering::Release);
        let mut gate = self.gate.lock();
        gate.core.set_admission(Admission::Closed);
        for conn in gate.conns.values() {
            conn.kill();
            // Its thread may wait for the disk.
            conn.shut();
        }
        drop(gate);
        if let Some(quorum) = self.quorum.get() {
            quorum.wake();
        }
    }

    /// Whether `enforce.auth` demands SASL.
    fn requires_sasl(&self) -> bool {
        let schemes = self.options.core.enforced_schemes.as_deref().unwrap_or_default();
        schemes.iter().any(|scheme| scheme == "sasl")
    }

    /// Whether the log or the audit log has failed.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.is_poisoned.load(Ordering::Acquire)
    }

    /// Brings the metrics up to what the pipeline has counted.
    pub(crate) fn count(&self) {
        let mut gate = self.gate.lock();
        let now = gate.core.counters();
        let before = std::mem::replace(&mut gate.counted, now);
        let metrics = &self.metrics;
        let throttled = now.connects_throttled - before.connects_throttled;
        metrics.connection_rejected.add(throttled);
        metrics.connection_request_count.add(now.connect_requests - before.connect_requests);
        metrics.connection_revalidate_count.add(now.renewals - before.renewals);
        metrics.stale_sessions_expired.add(now.sessions_expired - before.sessions_expired);
        let refused = now.sessions_refused - before.sessions_refused;
        metrics.sessions_refused.add(refused);
        metrics.digest_mismatches_count.add(now.digest_mismatches - before.digest_mismatches);
        metrics.stats.auth_failed_count.add(now.auth_failures - before.auth_failures);
        metrics.ensemble_auth_success.add(now.ensemble_matches - before.ensemble_matches);
        metrics.ensemble_auth_fail.add(now.ensemble_mismatches - before.ensemble_mismatches);
        metrics.ensemble_auth_skip.add(now.ensemble_skips - before.ensemble_skips);
    }

    /// Begins a snapshot: its head, and the sessions of that moment.
    pub(crate) fn begin_snapshot(&self) -> Option<(SnapshotHead, Vec<(SessionId, i32)>)> {
        self.begin_snapshot_at(&self.gate.lock())
    }

    /// Closes every connection.
    pub(crate) fn close_all(&self) {
        let mut gate = self.gate.lock();
        gate.core.set_admission(Admission::Closed);
        for conn in gate.conns.values() {
            conn.kill();
        }
    }

    /// Ends the sockets of connections that nobody serves any more, though something may hold them:
    /// a stop may have to wait for the disk, and their clients should look elsewhere.
    pub(crate) fn shut_all(&self) {
        for conn in self.gate.lock().conns.values() {
            conn.shut();
        }
    }

    /// A full disk makes the member read-only until there is space again. Whoever waits for the
    /// log sees what that means for it.
    fn follow_disk(&self, gate: &mut Gate, log: Result<(), AppendError>, now_ms: i64) {
        let admission = match (log, gate.core.admission()) {
            (Err(AppendError::DiskFull), Admission::Serving) => Admission::ReadOnly,
            (Ok(()), Admission::ReadOnly) => Admission::Serving,
            _ => return,
        };
        gate.core.set_admission(admission);
        self.go_on(now_ms);
    }
}

/// Connections that the server itself does not read cannot be heard: that is not their silence.
fn hear(waiting: &[Arc<Conn>], now_ms: i64) {
    for conn in waiting {
        conn.heard_ms.fetch_max(now_ms, Ordering::Relaxed);
    }
}

fn times(started: Instant) -> Times {
    Times {
        monotonic_ms: started.elapsed().as_millis() as i64,
        wall_ms: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as i64),
    }
}
