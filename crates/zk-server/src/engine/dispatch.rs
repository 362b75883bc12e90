//! Carrying out the pipeline's effects.

use super::{Engine, Gate};
use crate::net::conn::{Conn, ConnState, Phase};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use zk_core::Effect;

/// With more connections to write to than this, their own threads do it.
const FLUSH_HERE: usize = 2;

/// A closing connection's client has this long to read the last answers; one that never reads would
/// keep them in memory for ever.
const FAREWELL_MS: i64 = 5_000;

impl Engine {
    /// Carries out what the pipeline wants, in order, under the pipeline's lock. The connections
    /// with new output are returned, to be flushed when the locks are given back.
    pub(super) fn dispatch(&self, gate: &mut Gate) -> Vec<Arc<Conn>> {
        let Gate { conns, fx, dirty, .. } = gate;
        let now_ms = if fx.list.is_empty() { 0 } else { self.now_ms() };
        for effect in &fx.list {
            match effect {
                Effect::Append { zxid, txn } => {
                    if let Err(error) = self.log.append(*zxid, fx.get(*txn))
                        && !self.is_poisoned.swap(true, Ordering::AcqRel)
                    {
                        tracing::error!("{error}");
                    }
                }
                Effect::Send { conn, frame, is_reply } => {
                    let Some(conn) = conns.get(conn) else { continue };
                    let mut state = conn.state.lock();
                    if state.phase == Phase::Dead {
                        continue;
                    }
                    if state.backlog() > self.options.max_unsent_bytes {
                        self.give_up(conn, &mut state);
                        note(conn, &mut state, dirty);
                        continue;
                    }
                    let frame = fx.get(*frame);
                    state.output().extend_from_slice(frame);
                    state.stats.sent += 1;
                    self.metrics.stats.packets_sent.add(1);
                    if *is_reply {
                        // In microseconds, as the distributions keep times.
                        let took_us = 1000 * u64::from(state.answered(now_ms));
                        state.stats.last_zxid = self.last_zxid.load(Ordering::Relaxed);
                        self.metrics.stats.latency.record(took_us);
                        self.metrics.updatelatency.record(took_us);
                        self.metrics.stats.record_response(frame.len() as u64);
                        self.metrics.response_bytes.add(frame.len() as u64);
                    } else {
                        self.metrics.watch_bytes.add(frame.len() as u64);
                    }
                    note(conn, &mut state, dirty);
                }
                Effect::Established { conn, session, timeout_ms } => {
                    let Some(conn) = conns.get(conn) else { continue };
                    let mut state = conn.state.lock();
                    state.session = *session;
                    state.timeout_ms = *timeout_ms;
                    state.phase = Phase::Live;
                    state.in_flight = 0;
                    state.is_paused = true;
                    note(conn, &mut state, dirty);
                }
                Effect::Identities { conn, identities, admitted } => {
                    let Some(conn) = conns.get(conn) else { continue };
                    let mut state = conn.state.lock();
                    state.identities = identities.clone();
                    state.admitted = *admitted;
                }
                Effect::Close { conn } => {
                    let Some(conn) = conns.get(conn) else { continue };
                    let mut state = conn.state.lock();
                    if !matches!(state.phase, Phase::Dead | Phase::Closing) {
                        state.phase = Phase::Closing;
                        conn.deadline_ms.store(now_ms + FAREWELL_MS, Ordering::Relaxed);
                    }
                    note(conn, &mut state, dirty);
                }
            }
        }
        fx.clear();
        std::mem::take(dirty)
    }

    /// Lets a client go that does not take what is sent to it: its session lives on, and may be
    /// renewed.
    #[cold]
    fn give_up(&self, conn: &Conn, state: &mut ConnState) {
        let waiting = state.backlog();
        state.phase = Phase::Dead;
        state.drop_output();
        self.metrics.unsent_limit_exceeded.add(1);
        tracing::warn!(
            "the connection from {} with session 0x{:x} was closed: {waiting} bytes wait for a \
             client that does not read, see maxUnsentBytes",
            conn.peer,
            state.session.0
        );
    }
}

fn note(conn: &Arc<Conn>, state: &mut ConnState, dirty: &mut Vec<Arc<Conn>>) {
    if !std::mem::replace(&mut state.is_dirty, true) {
        dirty.push(conn.clone());
    }
}

/// Sends what the effects left in the outputs: here when it is little, since that saves the way to
/// another thread, else by the connections' own threads.
pub(super) fn flush(dirty: Vec<Arc<Conn>>) {
    let here = dirty.len() <= FLUSH_HERE;
    for conn in dirty {
        let closing = {
            let mut state = conn.state.lock();
            state.is_dirty = false;
            matches!(state.phase, Phase::Closing | Phase::Dead) || state.is_paused
        };
        if here {
            conn.flush();
        }
        if !here || closing {
            conn.wake();
        }
    }
}
