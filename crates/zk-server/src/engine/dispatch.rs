//! Carrying out the pipeline's effects.

use super::news::{self, Line};
use super::{Conns, Engine, Gate};
use crate::admin::{Ages, Metrics};
use crate::net::conn::{Conn, ConnState, Phase};
use crate::quorum::put_request;
use std::iter::Peekable;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use zk_core::{Effect, Effects, News, Span};
use zk_proto::quorum::FromLearner;
use zk_proto::watch::EventType;
use zk_proto::{OpCode, SessionId, Zxid};

/// With more connections to write to than this, their own threads do it.
const FLUSH_HERE: usize = 2;

/// A closing connection's client has this long to read the last answers; one that never reads would
/// keep them in memory for ever.
const FAREWELL_MS: i64 = 5_000;

/// What is to be done when the locks are given back.
#[derive(Default)]
pub(super) struct Left {
    /// Connections with new output.
    dirty: Vec<Arc<Conn>>,
    lines: Vec<Line>,
    /// Sessions that have ended, for a follower that feeds observers. Not told under the locks: who
    /// applies for a leader may hold the quorum's, too.
    ended: Vec<SessionId>,
}

impl Left {
    /// The connections alone, of a leader, which feeds nobody.
    pub(super) fn into_dirty(self) -> Vec<Arc<Conn>> {
        self.dirty
    }
}

impl Engine {
    /// Carries out what the pipeline wants, in order, under the pipeline's lock. What is left is to
    /// be done by [`Engine::flush`] when the locks are given back.
    pub(super) fn dispatch(&self, gate: &mut Gate) -> Left {
        let Gate { conns, fx, dirty, .. } = gate;
        self.count_applied(&mut fx.applied_ms);
        if fx.is_empty() {
            self.relieve(conns, dirty);
            return Left { dirty: std::mem::take(dirty), ..Left::default() };
        }
        let mut lines = lines(&fx.news, conns);
        let now_ms = self.now_ms();
        let mut sent = Sent::default();
        // A member that is alone asks nobody.
        let (mut asked, mut syncs, mut moves) = (Vec::new(), 0, Vec::new());
        let mut effects = fx.list.iter().peekable();
        while let Some(effect) = effects.next() {
            match effect {
                &Effect::Append { zxid, txn } => self.append((zxid, txn), &mut effects, fx),
                &Effect::Send { conn: to, frame, is_reply } => {
                    self.relieve(conns, dirty);
                    let Some(conn) = conns.get(&to) else { continue };
                    let mut state = conn.state.lock();
                    self.send(&mut state, conn, fx.get(frame), is_reply, now_ms, &mut sent);
                    // Answers come in runs: a client that asks for much at a time gets it so.
                    while let Some(&Effect::Send { frame, is_reply, .. }) = effects
                        .next_if(|next| matches!(next, Effect::Send { conn, .. } if *conn == to))
                    {
                        self.send(&mut state, conn, fx.get(frame), is_reply, now_ms, &mut sent);
                    }
                    conn.count_backlog(&mut state);
                    conn.count_traffic(&mut state);
                    note(conn, &mut state, dirty);
                }
                &Effect::Established { conn, session, timeout_ms } => {
                    let Some(conn) = conns.get(&conn) else { continue };
                    if establish(conn, session, timeout_ms, dirty) && news::is_chatty() {
                        lines.push(Line::Established { peer: conn.line.peer, session, timeout_ms });
                    }
                }
                Effect::Identities { conn, identities, admitted } => {
                    let Some(conn) = conns.get(conn) else { continue };
                    let mut state = conn.state.lock();
                    state.identities = identities.clone();
                    state.admitted = *admitted;
                }
                Effect::Close { conn } => {
                    let Some(conn) = conns.get(conn) else { continue };
                    close(conn, now_ms, dirty);
                }
                Effect::Forward { session, cxid, op, body, identities } => {
                    syncs += usize::from(*op == OpCode::Sync);
                    let body = fx.get(*body);
                    put_request(*session, *cxid, op.code(), body, identities, &mut asked);
                }
                &Effect::Revalidate { session, timeout_ms } => {
                    moves.push(session);
                    FromLearner::Revalidate { session, timeout_ms }.put(&mut asked);
                }
                Effect::Audit(record) => {
                    if let Some(audit) = &self.audit {
                        audit.add(record);
                    }
                }
            }
        }
        self.ask_leader(&asked, syncs, &moves);
        let ended = ended(&fx.news);
        sent.count(&self.metrics);
        count(fx, &self.metrics);
        fx.clear();
        Left { dirty: std::mem::take(dirty), lines, ended }
    }

    /// Sends what the effects left in the outputs: here when it is little, since that saves the way
    /// to another thread, else by the connections' own threads. No lock is held here, so this is
    /// where lines are written.
    pub(super) fn flush(&self, Left { dirty, lines, ended }: Left) {
        if !ended.is_empty()
            && let Some(quorum) = self.quorum.get()
        {
            quorum.ended(ended.into_iter());
        }
        let here = dirty.len() <= FLUSH_HERE;
        for conn in dirty {
            if here {
                conn.deliver();
            } else {
                conn.line.home.clone().outbox.push(conn);
            }
        }
        if !lines.is_empty() {
            let now_ms = self.now_ms();
            lines.into_iter().for_each(|line| line.write(now_ms));
        }
    }

    /// How long txns took from where they were made to here.
    fn count_applied(&self, applied_ms: &mut Vec<i64>) {
        if self.quorum.get().is_some() {
            let (mut ages, latency) = (Ages::default(), &self.metrics.quorum.propagation_latency);
            applied_ms.iter().for_each(|made_ms| ages.note(*made_ms, latency));
            ages.record(latency);
        }
        applied_ms.clear();
    }

    /// Asks the leader for what clients want.
    fn ask_leader(&self, asked: &[u8], syncs: usize, moves: &[SessionId]) {
        if !asked.is_empty()
            && let Some(quorum) = self.quorum.get()
        {
            quorum.ask(asked, syncs, moves);
        }
    }

    /// Appends a transaction to the log, and all that follow at once: the log's lock is taken once
    /// for each run.
    fn append(
        &self,
        first: (Zxid, Span),
        effects: &mut Peekable<std::slice::Iter<'_, Effect>>,
        fx: &Effects,
    ) {
        let more = std::iter::from_fn(|| match effects.peek() {
            Some(&&Effect::Append { zxid, txn }) => {
                effects.next();
                Some((zxid, txn))
            }
            _ => None,
        });
        let run = std::iter::once(first).chain(more);
        let mut count = 0;
        let mut txns = run.inspect(|_| count += 1).map(|(zxid, txn)| (zxid, fx.get(txn)));
        let appended = match self.quorum.get() {
            Some(quorum) => quorum.propose(&mut txns),
            None => self.log.append(&mut txns),
        };
        self.metrics.sync_processor_request_queued.add(count);
        if let Err(error) = appended
            && !self.is_poisoned.swap(true, Ordering::AcqRel)
        {
            tracing::error!("{error}");
        }
    }

    /// Appends a frame to a connection's output.
    fn send(
        &self,
        state: &mut ConnState,
        conn: &Conn,
        frame: &[u8],
        is_reply: bool,
        now_ms: i64,
        sent: &mut Sent,
    ) {
        if state.phase == Phase::Dead {
            return;
        }
        if state.backlog() > self.options.max_unsent_bytes {
            return self.give_up(conn, state, "maxUnsentBytes");
        }
        state.output().extend_from_slice(frame);
        state.stats.sent += 1;
        if is_reply {
            let (took_ms, asked_bytes) = state.answered(now_ms);
            self.large.give_back(asked_bytes);
            state.stats.last_zxid = self.last_zxid.load(Ordering::Relaxed);
            sent.reply(took_ms, frame.len() as u64, &self.metrics);
        } else {
            sent.events += 1;
            sent.event_bytes += frame.len() as u64;
        }
    }

    /// Behind answers that were made beside the pipeline: as [`Engine::relieve`]. No lock is held.
    pub(super) fn relieve_now(&self) {
        let mut gate = self.gate.lock();
        let Gate { conns, dirty, .. } = &mut *gate;
        self.relieve(conns, dirty);
        let left = Left { dirty: std::mem::take(dirty), ..Left::default() };
        drop(gate);
        self.flush(left);
    }

    /// Lets clients go for whom most waits, until all that waits is no more than may.
    fn relieve(&self, conns: &Conns, dirty: &mut Vec<Arc<Conn>>) {
        while self.backlog.is_over() {
            let lives = |state: &ConnState| state.phase != Phase::Dead;
            let waiting = |conn: &Arc<Conn>| {
                let state = conn.state.lock();
                if lives(&state) { state.counted() } else { 0 }
            };
            let most = conns.values().map(|conn| (waiting(conn), conn));
            let Some((1.., conn)) = most.max_by_key(|(waiting, _)| *waiting) else { return };
            let mut state = conn.state.lock();
            if lives(&state) {
                self.give_up(conn, &mut state, "maxUnsentBytesOfAll");
                note(conn, &mut state, dirty);
            }
        }
    }

    /// Lets a client go that does not take what is sent to it: its session lives on, and may be
    /// renewed.
    #[cold]
    fn give_up(&self, conn: &Conn, state: &mut ConnState, limit: &str) {
        let waiting = state.counted().max(state.backlog());
        state.phase = Phase::Dead;
        conn.drop_backlog(state);
        self.metrics.unsent_limit_exceeded.add(1);
        tracing::warn!(
            "the connection from {} with session 0x{:x} was closed: {waiting} bytes wait for a \
             client that does not read, see {limit}",
            conn.line.peer,
            state.session.0
        );
    }
}

/// What a turn sent, for the metrics: they are shared by all threads, and each change of one is
/// felt by the others.
#[derive(Default)]
struct Sent {
    replies: u64,
    reply_bytes: u64,
    events: u64,
    event_bytes: u64,
    /// How many of the last replies were alike, and how: their time in ms and their bytes.
    alike: u64,
    took_ms: u32,
    bytes: u64,
}

impl Sent {
    fn reply(&mut self, took_ms: u32, bytes: u64, metrics: &Metrics) {
        self.replies += 1;
        self.reply_bytes += bytes;
        if (self.took_ms, self.bytes) != (took_ms, bytes) {
            self.count_alike(metrics);
            (self.took_ms, self.bytes) = (took_ms, bytes);
        }
        self.alike += 1;
    }

    fn count_alike(&mut self, metrics: &Metrics) {
        let count = std::mem::take(&mut self.alike);
        if count > 0 {
            // In microseconds, as the distributions keep times.
            let took_us = 1000 * u64::from(self.took_ms);
            metrics.stats.latency.record_many(took_us, count);
            metrics.updatelatency.record_many(took_us, count);
            metrics.stats.responses.record(self.bytes, count);
        }
    }

    fn count(mut self, metrics: &Metrics) {
        self.count_alike(metrics);
        metrics.stats.packets_sent.add(self.replies + self.events);
        metrics.response_bytes.add(self.reply_bytes);
        metrics.watch_bytes.add(self.event_bytes);
    }
}

/// Counts the watches that fired, and the quotas that were exceeded.
fn count(fx: &mut Effects, metrics: &Metrics) {
    for namespace in fx.over_quota.drain(..) {
        metrics.quota_exceeded_error_per_namespace.add(namespace);
    }
    for (event, count) in &fx.fired {
        let summary = match event {
            EventType::NodeCreated => &metrics.node_created_watch_count,
            EventType::NodeDeleted => &metrics.node_deleted_watch_count,
            EventType::NodeDataChanged => &metrics.node_changed_watch_count,
            EventType::NodeChildrenChanged => &metrics.node_children_watch_count,
        };
        summary.record(u64::from(*count));
    }
}

/// What the pipeline's news are to people; nobody may want to read all of them.
fn lines(news: &[News], conns: &Conns) -> Vec<Line> {
    let is_wanted = |news: &&News| !matches!(news, News::Ended { .. }) || news::is_chatty();
    let line = |news: &News| {
        let conn = match news {
            News::Refused { conn, .. } => conns.get(conn),
            _ => None,
        };
        Line::News(*news, conn.map(|conn| conn.line.peer))
    };
    news.iter().filter(is_wanted).map(line).collect()
}

/// The sessions that have ended.
fn ended(news: &[News]) -> Vec<SessionId> {
    let ended = |news: &News| match news {
        News::Ended { session } => Some(*session),
        _ => None,
    };
    news.iter().filter_map(ended).collect()
}

/// A connection ends, when its client has taken what there is for it, or has had the time.
fn close(conn: &Arc<Conn>, now_ms: i64, dirty: &mut Vec<Arc<Conn>>) {
    let mut state = conn.state.lock();
    if !matches!(state.phase, Phase::Dead | Phase::Closing) {
        state.phase = Phase::Closing;
        conn.deadline_ms.store(now_ms + FAREWELL_MS, Ordering::Relaxed);
    }
    note(conn, &mut state, dirty);
}

/// A connection has its session; false if it was let go meanwhile.
fn establish(
    conn: &Arc<Conn>,
    session: SessionId,
    timeout_ms: i32,
    dirty: &mut Vec<Arc<Conn>>,
) -> bool {
    let mut state = conn.state.lock();
    if state.phase != Phase::Connecting {
        return false;
    }
    state.session = session;
    state.timeout_ms = timeout_ms;
    state.phase = Phase::Live;
    state.in_flight = 0;
    state.is_paused = true;
    note(conn, &mut state, dirty);
    true
}

fn note(conn: &Arc<Conn>, state: &mut ConnState, dirty: &mut Vec<Arc<Conn>>) {
    if !std::mem::replace(&mut state.is_dirty, true) {
        dirty.push(conn.clone());
    }
}
