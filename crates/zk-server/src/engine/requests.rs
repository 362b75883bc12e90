//! What a connection has sent: frames are cut, reads answered here, everything else goes to the
//! pipeline.

use super::{Engine, Gate, SharedWatches};
use crate::net::conn::{Conn, ConnStats, NO_DEADLINE, OUTPUT_HIGH_WATER, Phase};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use zk_core::{Reader, visits_many};
use zk_proto::OpCode;
use zk_store::group_commit::AppendError;

/// The connection must end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hangup;

/// How far input has been handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Handled {
    /// These bytes are done with.
    pub(crate) bytes: usize,
    /// What the rest waits for.
    pub(crate) next: Next,
}

/// What input waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// The rest of a frame.
    Frame,
    /// There are whole frames, for which the connection has too much under way.
    Turn,
    /// There are whole frames, and too much waits for the disk, or a write of the connection's own;
    /// the connection is woken.
    Log,
    /// There are reads, for which it is others' turn first.
    Others,
}

/// With a full disk nobody new can be let in. ZooKeeper has no words for "not now": the client is
/// made to wait for space so long, which also keeps it from coming back too fast, and then loses
/// its connection, so that it tries the next server, or this one again.
const FULL_DISK_MS: i64 = 1_000;

/// How many answers may be made before a waiting writer gets the tree.
const READ_TURN: usize = 128;
/// Nor is it kept from that for longer; the clock is looked at now and then.
const READ_TURN_TIME: Duration = Duration::from_millis(1);
const READS_PER_LOOK: u64 = 16;

/// What was done in a turn of reads.
#[derive(Clone, Copy, Debug, Default)]
struct Reads {
    bytes: usize,
    /// The turn ended, not the reads.
    is_over: bool,
}

/// The first whole frame of `input`, without its length; `None` if there is no whole one.
pub(super) fn first_frame(input: &[u8], max_bytes: usize) -> Result<Option<&[u8]>, Hangup> {
    let Some((length, rest)) = input.split_first_chunk::<4>() else { return Ok(None) };
    match usize::try_from(i32::from_be_bytes(*length)) {
        Ok(length) if length <= max_bytes => Ok(rest.get(..length)),
        _ => Err(Hangup),
    }
}

/// Operations that need only the tree, and no order among sessions.
pub(super) fn is_plain_read(frame: &[u8]) -> bool {
    let Some(op) = frame.get(4..8).and_then(|op| op.first_chunk::<4>()) else { return false };
    matches!(
        OpCode::from_code(i32::from_be_bytes(*op)),
        Some(
            OpCode::GetData
                | OpCode::Exists
                | OpCode::Ping
                | OpCode::GetChildren
                | OpCode::GetChildren2
                | OpCode::GetAcl
                | OpCode::MultiRead
                | OpCode::SetWatches
                | OpCode::SetWatches2
                | OpCode::AddWatch
                | OpCode::CheckWatches
                | OpCode::RemoveWatches
                | OpCode::GetEphemerals
                | OpCode::GetAllChildrenNumber
                | OpCode::WhoAmI
        )
    )
}

pub(super) fn note_request(stats: &mut ConnStats, frame: &[u8]) {
    let word = |at: usize| {
        frame.get(at..at + 4).and_then(|b| b.first_chunk::<4>()).map(|b| i32::from_be_bytes(*b))
    };
    stats.received += 1;
    stats.last_operation = word(4).and_then(OpCode::from_code);
    // A ping is no request of the client's own.
    if stats.last_operation != Some(OpCode::Ping) {
        stats.last_xid = word(0).unwrap_or_default();
    }
}

impl Engine {
    /// Handles what has been received. Stops early when the connection has too much under way.
    pub(crate) fn input(&self, conn: &Arc<Conn>, input: &[u8]) -> Result<Handled, Hangup> {
        let phase = conn.state.lock().phase;
        let bytes = match phase {
            Phase::Live => return self.requests(conn, input),
            Phase::Fresh if self.four_letter_word(conn, input) => input.len(),
            Phase::Fresh => match first_frame(input, self.options.max_frame_bytes)? {
                Some(frame) if self.handshake(conn, frame) => {
                    let bytes = 4 + frame.len();
                    return Ok(Handled { bytes, next: Next::Turn });
                }
                Some(_) => return Ok(Handled { bytes: 0, next: Next::Log }),
                None => {
                    self.large.check_begun(input, &self.metrics.large_requests_rejected)?;
                    0
                }
            },
            Phase::Connecting | Phase::Asking => return Ok(Handled { bytes: 0, next: Next::Turn }),
            // A closing connection has said its last word.
            Phase::Closing | Phase::Dead => input.len(),
        };
        Ok(Handled { bytes, next: Next::Frame })
    }

    /// A connection's client has shown that it lives.
    pub(crate) fn note_heard(&self, conn: &Conn) {
        let now_ms = self.now_ms();
        conn.heard_ms.store(now_ms, Ordering::Relaxed);
        conn.line.home.solo.note(conn.id, now_ms);
    }

    fn requests(&self, conn: &Arc<Conn>, input: &[u8]) -> Result<Handled, Hangup> {
        // A part of a frame is no sign of life: a client could drip one for ever.
        if first_frame(input, self.options.max_frame_bytes)?.is_some() {
            self.note_heard(conn);
        }
        let mut bytes = 0;
        loop {
            let before = bytes;
            let reads = self.answer_reads(conn, &input[bytes..])?;
            bytes += reads.bytes;
            match first_frame(&input[bytes..], self.options.max_frame_bytes)? {
                None => {
                    self.large
                        .check_begun(&input[bytes..], &self.metrics.large_requests_rejected)?;
                    return Ok(Handled { bytes, next: Next::Frame });
                }
                // In the pipeline they would stand in front of everybody's writes.
                Some(frame) if reads.is_over && is_plain_read(frame) => {
                    return Ok(Handled { bytes, next: Next::Others });
                }
                Some(frame) if visits_many(frame) && self.waits_for_own_writes(conn) => {
                    return Ok(Handled { bytes, next: Next::Log });
                }
                Some(_) => {}
            }
            match self.submit(conn, &input[bytes..])? {
                Some(submitted) => bytes += submitted,
                None => return Ok(Handled { bytes, next: Next::Log }),
            }
            if bytes == before {
                return Ok(Handled { bytes, next: Next::Turn });
            }
        }
    }

    /// Whether requests of the connection are under way: then it is woken when the log has gone on.
    fn waits_for_own_writes(&self, conn: &Arc<Conn>) -> bool {
        let state = conn.state.lock();
        // Under the connection's lock: the answer that it waits for, and the wake behind that, come
        // after.
        let waits = state.in_flight > 0;
        if waits {
            self.pipe.wait(conn);
        }
        waits
    }

    /// A packet came in that is no request: a connect request or a four-letter word.
    pub(super) fn count_packet(&self, conn: &Conn, bytes: usize) {
        conn.state.lock().stats.received += 1;
        self.metrics.stats.packets_received.add(1);
        self.metrics.bytes_received_count.add(bytes as u64);
    }

    /// A connect request. False if it must wait for the log; the connection is woken.
    fn handshake(&self, conn: &Arc<Conn>, frame: &[u8]) -> bool {
        let now = self.times();
        let mut gate = self.gate.lock();
        let admits = self.admits();
        self.follow_disk(&mut gate, admits, now.monotonic_ms);
        if admits == Err(AppendError::Closed) {
            conn.state.lock().phase = Phase::Dead;
            return true;
        }
        let must_wait = matches!(admits, Err(AppendError::Busy | AppendError::DiskFull))
            && gate.core.opens_session(frame);
        if must_wait && admits == Err(AppendError::DiskFull) {
            conn.deadline_ms.fetch_min(now.monotonic_ms + FULL_DISK_MS, Ordering::Relaxed);
        } else {
            // It has done its part; how long the disk takes is not its fault.
            conn.deadline_ms.store(NO_DEADLINE, Ordering::Relaxed);
        }
        if must_wait {
            self.pipe.wait(conn);
            return false;
        }
        self.count_packet(conn, 4 + frame.len());
        {
            let mut state = conn.state.lock();
            state.phase = Phase::Connecting;
            // Its answer counts as an answer: so it must have a beginning.
            state.arrived(0, 0, now.monotonic_ms);
        }
        let tree = self.tree.read();
        let Gate { core, fx, company, .. } = &mut *gate;
        let throttled = core.counters().connects_throttled;
        company.note(conn.id, now.monotonic_ms);
        core.handshake(&tree, now, conn.id, frame, fx);
        if core.counters().connects_throttled == throttled {
            self.metrics.connection_token_deficit.record(core.token_deficit().into());
        }
        let left = self.dispatch(&mut gate);
        drop(tree);
        drop(gate);
        self.flush(left);
        true
    }

    /// Answers the reads at the beginning of `input`, unless a write of the connection is under
    /// way: then they must wait behind it.
    fn answer_reads(&self, conn: &Conn, input: &[u8]) -> Result<Reads, Hangup> {
        match first_frame(input, self.options.max_frame_bytes)? {
            Some(frame) if is_plain_read(frame) => {}
            _ => return Ok(Reads::default()),
        }
        let began = Instant::now();
        let tree = self.tree.read();
        let mut state = conn.state.lock();
        if state.in_flight > 0 || !state.may_read() || !state.admitted {
            return Ok(Reads::default());
        }
        let mut watches = SharedWatches(&self.watches);
        let identities = state.identities.clone();
        let mut reader = Reader {
            tree: &tree,
            watches: &mut watches,
            auth: &self.auth,
            conn: conn.id,
            session: state.session,
            identities: &identities,
            limits: self.options.core.limits,
            max_response_bytes: self.options.core.max_response_bytes,
            max_answer_bytes: self.options.core.max_answer_bytes,
        };
        let (mut at, mut count) = (0, 0);
        let before = state.output().len();
        let mut last = input;
        let mut is_over = true;
        for _ in 0..READ_TURN {
            let Some(frame) = first_frame(&input[at..], self.options.max_frame_bytes)? else {
                is_over = false;
                break;
            };
            if !is_plain_read(frame) || state.unsent() >= OUTPUT_HIGH_WATER {
                is_over = false;
                break;
            }
            self.large.check(frame.len(), &self.metrics.large_requests_rejected)?;
            reader.answer(frame, state.output());
            at += 4 + frame.len();
            count += 1;
            last = frame;
            let is_late = || began.elapsed() >= READ_TURN_TIME;
            if visits_many(frame) || count % READS_PER_LOOK == 0 && is_late() {
                break;
            }
        }
        let sent = (state.output().len() - before) as u64;
        note_request(&mut state.stats, last);
        state.stats.received += count - 1;
        state.stats.sent += count;
        state.stats.last_zxid = tree.last_zxid().0;
        state.stats.last_response_ms = conn.heard_ms.load(Ordering::Relaxed);
        state.stats.latency.record(0, count);
        conn.count_backlog(&mut state);
        drop(state);
        drop(tree);
        self.count_reads(count, began.elapsed(), at as u64, sent);
        if self.backlog.is_over() {
            self.relieve_now();
        }
        Ok(Reads { bytes: at, is_over })
    }

    /// Reads that were answered together took the same time.
    fn count_reads(&self, count: u64, took: Duration, received: u64, sent: u64) {
        let took_us = took.as_micros() as u64;
        let metrics = &self.metrics;
        metrics.stats.packets_received.add(count);
        metrics.stats.packets_sent.add(count);
        metrics.bytes_received_count.add(received);
        metrics.response_bytes.add(sent);
        metrics.stats.latency.record_many(took_us, count);
        metrics.readlatency.record_many(took_us, count);
        if let Some(mean) = sent.checked_div(count) {
            metrics.stats.responses.record(mean, 1);
        }
    }
}
