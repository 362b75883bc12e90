//! Requests on their way into the pipeline: by the thread that read them, or posted (see
//! [`super::pipe`]).

use super::pipe::Work;
use super::requests::{Hangup, first_frame, is_plain_read, note_request};
use super::{Engine, Gate, SharedWatches, sasl};
use crate::net::conn::{Conn, Inbox, Phase};
use crate::net::{Solo, cost};
use parking_lot::MutexGuard;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use zk_core::{TURN_BYTES, Times, visits_many};
use zk_store::group_commit::{AppendError, Loan};
use zk_tree::Tree;

/// So many requests are prepared by the thread that read them, if it can, although others are under
/// way: to wake the pipeline's thread would cost more. That one has at hand what it needs for many.
const FEW: usize = 4;

/// Requests at the beginning of some input.
#[derive(Clone, Copy, Default)]
struct Run {
    bytes: usize,
    count: usize,
}

/// How posted requests were dealt with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    /// There are none left.
    Done,
    /// The next turn goes on.
    More,
    /// The log must go on first.
    Blocked,
}

impl Engine {
    /// Gives the requests in `input` to the pipeline; how many bytes of them, or `None` when too
    /// much waits for the disk: then the connection is woken.
    pub(super) fn submit(&self, conn: &Arc<Conn>, input: &[u8]) -> Result<Option<usize>, Hangup> {
        let wanted = self.count_frames(input);
        // What is posted goes first, and whoever has its inbox open holds the pipeline.
        let mut gate = self.gate.try_lock().filter(|gate| {
            let is_little = wanted <= FEW || gate.core.outstanding() == 0;
            is_little && self.pipe.is_empty()
        });
        if let Some(gate) = &mut gate {
            let admits = self.admits();
            self.follow_disk(gate, admits, self.now_ms());
            match admits {
                Err(AppendError::Busy) => {
                    self.pipe.wait(conn);
                    return Ok(None);
                }
                // All connections are about to be closed.
                Err(AppendError::Closed) => return Err(Hangup),
                Err(AppendError::DiskFull) | Ok(()) => {}
            }
            // It may have stopped in front of answers that the client does not take.
            if conn.state.lock().inbox.count > 0 {
                return Ok(Some(0));
            }
            self.pipe.note_queued(gate.core.outstanding());
        }
        if conn.room().is_none() {
            return Ok(self.wait_for_room(conn));
        }
        let places = self.pipe.reserve(conn, wanted);
        if places == 0 && wanted > 0 {
            // What is outstanding ends with a transaction, and so with a call of the log.
            self.metrics.request_throttle_wait_count.add(1);
            return Ok(None);
        }
        let (run, end) = self.arrive(conn, input, places);
        self.pipe.give_back(places - run.count, self.now_ms());
        match gate {
            _ if run.count == 0 => {}
            Some(gate) => self.prepare_here(gate, conn, &input[..run.bytes], run.count),
            None => self.post(conn, &input[..run.bytes], run.count),
        }
        end.map(|()| Some(run.bytes))
    }

    /// So much of its address is under way that no more is read; the connection is woken.
    fn wait_for_room(&self, conn: &Arc<Conn>) -> Option<usize> {
        self.metrics.request_throttle_wait_count.add(1);
        self.pipe.wait(conn);
        if conn.room().is_some() {
            // Whoever made room may have looked before it was there.
            conn.wake();
        }
        None
    }

    /// How many whole frames are in `input`, up to a read that must not stand in the pipeline
    /// behind those in front of it.
    fn count_frames(&self, mut input: &[u8]) -> usize {
        let mut count = 0;
        while let Ok(Some(frame)) = first_frame(input, self.options.max_frame_bytes) {
            if count > 0 && visits_many(frame) {
                break;
            }
            input = &input[4 + frame.len()..];
            count += 1;
        }
        count
    }

    /// Counts the requests in `input` as given to the pipeline, as many as the connection may have
    /// under way, and at most `most`; and whether something is there that is none.
    fn arrive(&self, conn: &Conn, input: &[u8], most: usize) -> (Run, Result<(), Hangup>) {
        let now_ms = self.now_ms();
        let mut run = Run::default();
        let mut end = Ok(());
        // The first one goes in any case: there was room before.
        let (room, mut spent) = (conn.room().unwrap_or(1), 0);
        {
            let mut state = conn.state.lock();
            while run.count < most && state.may_read() && spent < room {
                match first_frame(&input[run.bytes..], self.options.max_frame_bytes) {
                    Ok(Some(frame)) => {
                        let rejected = &self.metrics.large_requests_rejected;
                        if let Err(hangup) = self.large.take(frame.len(), rejected) {
                            end = Err(hangup);
                            break;
                        }
                        let cost = cost(frame);
                        state.arrived(frame.len(), cost, now_ms);
                        note_request(&mut state.stats, frame);
                        run.bytes += 4 + frame.len();
                        run.count += 1;
                        spent += cost as usize;
                    }
                    Ok(None) => break,
                    Err(hangup) => {
                        end = Err(hangup);
                        break;
                    }
                }
            }
            conn.count_traffic(&mut state);
        }
        self.metrics.stats.packets_received.add(run.count as u64);
        self.metrics.prep_processor_request_queued.add(run.count as u64);
        self.metrics.bytes_received_count.add(run.bytes as u64);
        (run, end)
    }

    /// Leaves requests that have arrived, and have their places, for the pipeline's thread.
    fn post(&self, conn: &Arc<Conn>, frames: &[u8], count: usize) {
        let mut state = conn.state.lock();
        // What waited for the client to read was not counted meanwhile.
        let is_listed = std::mem::replace(&mut state.is_posted, true);
        let (older, older_bytes) = match is_listed {
            true => (0, 0),
            false => (state.inbox.count, state.inbox.frames.len()),
        };
        state.inbox.frames.extend_from_slice(frames);
        state.inbox.count += count;
        conn.count_traffic(&mut state);
        // Under the connection's lock: nobody takes out what is not counted yet.
        self.pipe.post(conn, older, older_bytes + frames.len(), is_listed);
    }

    /// Posts what waited for the client to read, when answers can go out again.
    pub(crate) fn post_again(&self, conn: &Arc<Conn>) {
        let must = {
            let state = conn.state.lock();
            state.inbox.count > 0 && !state.is_posted && state.may_answer()
        };
        if must {
            self.post(conn, &[], 0);
        }
    }

    fn prepare_here(
        &self,
        mut gate: MutexGuard<'_, Gate>,
        conn: &Arc<Conn>,
        frames: &[u8],
        count: usize,
    ) {
        let now = self.times();
        let loan = self.borrow_log(&gate, conn, count, now.monotonic_ms);
        let tree = self.tree.read();
        let done = self.feed(&mut gate, &tree, conn, frames, false, now);
        self.pipe.taken(done.count, 0, gate.core.outstanding());
        if done.count < count {
            self.post(conn, &frames[done.bytes..], count - done.count);
        }
        let left = self.dispatch(&mut gate);
        drop(tree);
        drop(gate);
        self.flush(left);
        let now_ms = match loan {
            Some(loan) => self.commit_here(loan, &conn.line.home.solo, now.monotonic_ms),
            None => now.monotonic_ms,
        };
        // Not all requests end with a transaction.
        self.pipe.wake_waiting(now_ms);
    }

    /// The log, for a connection that nobody else would be kept waiting by, if its thread waits for
    /// the disk: it has the thread, the pipeline and the log to itself.
    fn borrow_log(&self, gate: &Gate, conn: &Conn, count: usize, now_ms: i64) -> Option<Loan<'_>> {
        let is_alone = count == 1
            && self.quorum.get().is_none()
            && gate.core.outstanding() == 0
            && gate.company.is_alone(conn.id, now_ms)
            && conn.line.home.solo.may_wait(conn.id, now_ms)
            && self.stall.trusts(now_ms);
        is_alone.then(|| self.log.lend()).flatten()
    }

    /// Commits on this thread, whose `solo` it is; what time it is then. No lock is held.
    fn commit_here(&self, loan: Loan<'_>, solo: &Solo, now_ms: i64) -> i64 {
        let mut ended_ms = now_ms;
        self.stall.begin(now_ms);
        solo.begin(now_ms);
        // Before somebody else can borrow it.
        loan.commit_and(|| {
            ended_ms = self.now_ms();
            self.stall.end(ended_ms);
            solo.end();
        });
        ended_ms
    }

    /// Gives whole frames to the pipeline, as many as make a turn. Of a client that is gone nobody
    /// waits for what it wanted to read.
    fn feed(
        &self,
        gate: &mut Gate,
        tree: &Tree,
        conn: &Conn,
        frames: &[u8],
        is_gone: bool,
        now: Times,
    ) -> Run {
        gate.company.note(conn.id, now.monotonic_ms);
        let mut watches = SharedWatches(&self.watches);
        let mut done = Run::default();
        let mut is_over = false;
        while gate.fx.bytes.len() < TURN_BYTES && !is_over {
            let rest = &frames[done.bytes..];
            let Ok(Some(frame)) = first_frame(rest, self.options.max_frame_bytes) else { break };
            done.bytes += 4 + frame.len();
            done.count += 1;
            if is_gone && is_plain_read(frame) {
                continue;
            }
            is_over = visits_many(frame);
            if sasl::is_sasl(frame) {
                let required = self.requires_sasl();
                let failures = &self.metrics.stats.auth_failed_count;
                sasl::step(&self.options.sasl, required, failures, gate, conn, frame);
                continue;
            }
            let Gate { core, fx, .. } = &mut *gate;
            core.submit(tree, &mut watches, now, conn.id, frame, fx);
        }
        done
    }

    /// Gives what was posted to the pipeline, as much as makes a turn.
    fn take_mail(&self) -> Turn {
        let now = self.times();
        let mut gate = self.gate.lock();
        let admits = self.admits();
        self.follow_disk(&mut gate, admits, now.monotonic_ms);
        match admits {
            Err(AppendError::Busy) => return Turn::Blocked,
            Err(AppendError::Closed) => {
                for conn in self.pipe.take_mail() {
                    self.drop_inbox(&mut gate, &conn);
                }
                return Turn::Done;
            }
            _ => {}
        }
        let tree = self.tree.read();
        let mut mail = self.pipe.take_mail().into_iter();
        let mut turn = Turn::Done;
        while let Some(conn) = mail.next() {
            if !self.open_inbox(&mut gate, &tree, &conn, now) {
                self.pipe.put_back(mail.chain([conn]).collect());
                turn = Turn::More;
                break;
            }
        }
        let left = self.dispatch(&mut gate);
        drop(tree);
        drop(gate);
        self.flush(left);
        self.pipe.wake_waiting(now.monotonic_ms);
        turn
    }

    /// Gives what is in a connection's inbox to the pipeline; false if the turn ended before.
    fn open_inbox(&self, gate: &mut Gate, tree: &Tree, conn: &Arc<Conn>, now: Times) -> bool {
        loop {
            let mut state = conn.state.lock();
            if state.inbox.count == 0 {
                state.is_posted = false;
                let is_gone = state.is_gone;
                drop(state);
                if is_gone {
                    self.forget(gate, conn);
                }
                return true;
            }
            if state.phase == Phase::Live && !state.may_answer() && !state.is_gone {
                // Its task posts it again when the client has taken some. Until then it must not
                // take the place of others.
                (state.is_posted, state.is_paused) = (false, true);
                conn.count_traffic(&mut state);
                let (count, bytes) = (state.inbox.count, state.inbox.frames.len());
                self.pipe.taken(count, bytes, gate.core.outstanding());
                return true;
            }
            let Inbox { frames, count } = std::mem::take(&mut state.inbox);
            let is_gone = state.is_gone;
            drop(state);
            let done = self.feed(gate, tree, conn, &frames, is_gone, now);
            self.pipe.taken(done.count, done.bytes, gate.core.outstanding());
            if done.count < count {
                // In front of what came meanwhile.
                let mut state = conn.state.lock();
                let newer = std::mem::take(&mut state.inbox);
                state.inbox.frames = frames[done.bytes..].to_vec();
                state.inbox.frames.extend_from_slice(&newer.frames);
                state.inbox.count = count - done.count + newer.count;
                return false;
            }
        }
    }

    /// A connection has ended. Its last words count, closeSession as a rule, and its end comes
    /// behind them.
    pub(crate) fn disconnect(&self, conn: &Arc<Conn>) {
        self.pipe.leave(conn);
        let mut gate = self.gate.lock();
        let has_last_words = {
            let mut state = conn.state.lock();
            state.is_gone = true;
            state.inbox.count > 0
        };
        if !has_last_words {
            return self.forget(&mut gate, conn);
        }
        conn.shut();
        if self.admits() == Err(AppendError::Closed) {
            return self.drop_inbox(&mut gate, conn);
        }
        self.post(conn, &[], 0);
    }

    /// Nothing can be logged any more: what a connection posted is as if it had never been sent.
    fn drop_inbox(&self, gate: &mut Gate, conn: &Arc<Conn>) {
        let mut state = conn.state.lock();
        let left = std::mem::take(&mut state.inbox);
        if std::mem::take(&mut state.is_posted) {
            self.pipe.taken(left.count, left.frames.len(), gate.core.outstanding());
        }
        let is_gone = state.is_gone;
        drop(state);
        if is_gone {
            self.forget(gate, conn);
        }
    }

    /// The pipeline has heard all of a connection that has ended.
    fn forget(&self, gate: &mut Gate, conn: &Conn) {
        gate.core.disconnected(conn.id, conn.heard_ms.load(Ordering::Relaxed));
        gate.conns.remove(&conn.id);
        {
            let mut state = conn.state.lock();
            state.abandon().for_each(|bytes| self.large.give_back(bytes));
            conn.count_traffic(&mut state);
        }
        self.forget_watches(conn.id);
    }

    /// What the pipeline's thread does.
    pub(super) fn run_pipe(&self) {
        let mut is_blocked = false;
        while let Some(work) = self.pipe.next(is_blocked) {
            let Work { mut durable, mut has_mail, mut has_lessons } = work;
            while has_mail || has_lessons || durable.is_some() {
                has_lessons = has_lessons && self.learn_some();
                if let Some(zxid) = durable
                    && !self.logged_some(zxid)
                {
                    durable = None;
                }
                let turn = if has_mail { self.take_mail() } else { Turn::Done };
                is_blocked = turn == Turn::Blocked;
                // What is applied may make room; else a call of the log will.
                has_mail = turn == Turn::More || is_blocked && durable.is_some();
                durable = durable.or_else(|| self.pipe.take_durable());
                has_lessons = has_lessons || self.pipe.has_lessons();
            }
        }
    }
}

#[cfg(test)]
mod tests;
