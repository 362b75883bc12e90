//! The parts that a member of an ensemble plays, one after the other: each has a pipeline of its
//! own, and clients are let in only while it is played.

use super::pipe::Lesson;
use super::{Engine, Gate, SharedWatches};
use crate::net::conn::{Conn, Phase};
use crate::quorum::Quorum;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use zk_core::{Admission, Core, Effect, Effects, LONG_TXN_BYTES, LearnError, LearnerId};
use zk_proto::quorum::{Forwarded, Touched};
use zk_proto::{Epoch, SessionId, Zxid};
use zk_tree::{SnapshotHead, Tree};
use zk_zab::Ensemble;

/// So many lessons are learned before others get the pipeline.
const LESSON_TURN: usize = 256;

impl Engine {
    /// From now on this member learns from a leader; nobody is let in yet.
    pub(crate) fn begin_learning(&self) {
        self.begin(Engine::learning_core);
    }

    /// This member leads in an epoch, and lets clients in.
    pub(crate) fn begin_leading(&self, epoch: Epoch) {
        self.begin(|engine, tree, sessions| {
            let mut core = Core::new(engine.options.core.clone(), tree, sessions, engine.times());
            core.lead(epoch);
            if let Some(quorum) = engine.quorum.get() {
                core.set_membership(quorum.clone());
            }
            core
        });
        self.open();
    }

    fn begin(&self, make: impl FnOnce(&Engine, &Tree, Vec<(SessionId, i32)>) -> Core) {
        self.count();
        let mut gate = self.gate.lock();
        let tree = self.tree.read();
        self.replace_core(&mut gate, &tree, make);
    }

    /// A new pipeline takes over the sessions of the last one; nobody is let in yet.
    fn replace_core(
        &self,
        gate: &mut Gate,
        tree: &Tree,
        make: impl FnOnce(&Engine, &Tree, Vec<(SessionId, i32)>) -> Core,
    ) {
        let sessions = gate.core.sessions().to_sorted();
        gate.core = make(self, tree, sessions);
        gate.core.set_admission(Admission::Closed);
        gate.counted = gate.core.counters();
    }

    fn learning_core(&self, tree: &Tree, sessions: Vec<(SessionId, i32)>) -> Core {
        Core::learning(self.options.core.clone(), tree, sessions, self.times())
    }

    /// Writes into the tree who the members are.
    pub(crate) fn tell_config(&self, config: &Ensemble) {
        let (text, now_ms) = (config.to_string(), self.times().wall_ms);
        let _gate = self.gate.lock();
        let mut tree = self.tree.write();
        if tree.config() != Some(text.as_bytes()) {
            tree.set_config(&text, config.version, now_ms);
        }
    }

    /// Applies what is committed, and lets all clients go when they have their answers.
    pub(crate) fn finish(&self, zxid: Zxid) {
        while self.learn_some() {}
        let mut gate = self.gate.lock();
        self.apply_committed(&mut gate, zxid);
        let conns: Vec<_> = gate.conns.keys().copied().collect();
        conns.into_iter().for_each(|conn| gate.fx.close(conn));
        let left = self.dispatch(&mut gate);
        drop(gate);
        self.flush(left);
    }

    /// Lets clients in, who see all that was taught before.
    pub(crate) fn open(&self) {
        while self.learn_some() {}
        self.gate.lock().core.set_admission(Admission::Serving);
        self.go_on(self.now_ms());
    }

    /// No clients are let in any more.
    pub(crate) fn shut_out(&self) {
        self.gate.lock().core.set_admission(Admission::Closed);
    }

    /// Without a quorum, clients that ask for no more than reading are let in.
    pub(crate) fn open_alone(&self) {
        self.gate.lock().core.set_admission(Admission::Alone);
        self.go_on(self.now_ms());
    }

    /// The part is over: clients are let go, and no transactions are made any more.
    pub(crate) fn close(&self) {
        let mut gate = self.gate.lock();
        self.is_paused.store(true, Ordering::Relaxed);
        gate.core.set_admission(Admission::Closed);
        // Who is let go already may read the last answers; operators ask whatever the part.
        let is_client =
            |conn: &&Arc<Conn>| !matches!(conn.state.lock().phase, Phase::Closing | Phase::Asking);
        gate.conns.values().filter(is_client).for_each(|conn| conn.kill());
    }

    /// Everything that is logged is in the tree afterwards, committed or not: it is what this
    /// member stands for in the next election. `under_way` is what a learner has logged and not
    /// applied. Nothing is on its way to the log. The last transaction of all.
    pub(crate) fn settle(&self, under_way: &[(Zxid, Arc<[u8]>)]) -> Result<Zxid, LearnError> {
        self.count();
        let mut gate = self.gate.lock();
        let now = self.times();
        // Lent to nobody: it is closed.
        let mut tree = self.tree.write();
        let learned = self.pipe.take_all();
        let mut watches = SharedWatches(&self.watches);
        let last = gate.core.last_proposed();
        loop {
            let Gate { core, fx, .. } = &mut *gate;
            let more =
                core.committed(&mut tree, &mut watches, now.monotonic_ms, last, LESSON_TURN, fx);
            let is_over = !more || core.outstanding() == 0 || tree.last_zxid() >= last;
            forget_audit(fx);
            drop(self.dispatch(&mut gate));
            if is_over {
                break;
            }
        }
        self.replace_core(&mut gate, &tree, Engine::learning_core);
        let learned = learned.iter().filter_map(|lesson| match lesson {
            Lesson::Txn(txn) => Some(txn),
            Lesson::Synced | Lesson::Revalidated(..) | Lesson::Moved(_) => None,
        });
        let applied = tree.last_zxid();
        let later = under_way.iter().filter(|(zxid, _)| *zxid > applied).map(|(_, txn)| txn);
        for txn in learned.chain(later) {
            let Gate { core, fx, .. } = &mut *gate;
            core.learned(&mut tree, &mut watches, now.monotonic_ms, txn, fx)?;
            forget_audit(fx);
            drop(self.dispatch(&mut gate));
        }
        self.last_zxid.store(tree.last_zxid().0, Ordering::Relaxed);
        self.is_paused.store(false, Ordering::Relaxed);
        Ok(tree.last_zxid())
    }

    /// Applies what a quorum has, or a leader taught, where nobody was woken for it.
    pub(crate) fn do_what_is_due(&self, quorum: &Quorum) {
        if !quorum.take_due() {
            return;
        }
        while let Some(zxid) = self.pipe.take_durable() {
            while self.logged_some(zxid) {}
        }
        while self.learn_some() {}
    }

    /// Learns everything that a leader has taught by now.
    pub(crate) fn learn_all(&self) {
        while self.learn_some() {}
    }

    /// Learns some of what a leader taught; whether there is more.
    pub(super) fn learn_some(&self) -> bool {
        let mut gate = self.gate.lock();
        if !self.pipe.has_lessons() {
            return false;
        }
        let now = self.times();
        let mut lessons = self.pipe.take_lessons(LESSON_TURN);
        let is_more = lessons.len() == LESSON_TURN;
        let mut tree = self.tree.write();
        let (mut failure, mut was_long) = (None, false);
        {
            let mut watches = self.watches.lock();
            let Gate { core, fx, .. } = &mut *gate;
            while let Some(lesson) = lessons.front() {
                if fx.is_large() || was_long {
                    break;
                }
                let watches = &mut *watches;
                match lesson {
                    Lesson::Txn(txn) => {
                        was_long = txn.len() >= LONG_TXN_BYTES;
                        let learned = core.learned(&mut tree, watches, now.monotonic_ms, txn, fx);
                        if let Err(error) = learned {
                            failure = Some(error);
                            break;
                        }
                    }
                    Lesson::Synced => {
                        // Of a sync that nobody waits for any more.
                        core.synced(&tree, watches, fx);
                    }
                    Lesson::Revalidated(session, is_valid) => {
                        core.revalidated(now, *session, *is_valid, fx);
                    }
                    Lesson::Moved(session) => core.turn_away(*session, fx),
                }
                lessons.pop_front();
                while !fx.is_large() && core.go_on(&tree, watches, fx) {}
            }
        }
        let is_more = is_more || !lessons.is_empty();
        self.pipe.put_lessons_back(lessons);
        self.last_zxid.store(tree.last_zxid().0, Ordering::Relaxed);
        self.end_turn(gate, tree);
        self.pipe.wake_waiting(now.monotonic_ms);
        match failure {
            Some(error) => {
                tracing::error!("{error}");
                self.pipe.note_stuck();
                if let Some(quorum) = self.quorum.get() {
                    quorum.leave();
                }
                false
            }
            None => is_more,
        }
    }

    /// Learners' clients want something.
    pub(crate) fn forwarded(&self, from: LearnerId, asked: &[Forwarded<'_>]) {
        let now = self.times();
        let mut gate = self.gate.lock();
        if gate.core.admission() == Admission::Closed {
            return;
        }
        let tree = self.tree.read();
        for asked in asked {
            let Gate { core, fx, .. } = &mut *gate;
            core.forwarded(&tree, now, from, asked, fx);
        }
        self.end_turn(gate, tree);
    }

    /// A session moves to a learner; whether it is alive. Who does not serve does not know (rule
    /// R1).
    pub(crate) fn moves(&self, session: SessionId, timeout_ms: i32, to: LearnerId) -> Option<bool> {
        let now = self.times();
        let mut gate = self.gate.lock();
        if gate.core.admission() == Admission::Closed {
            return None;
        }
        let Gate { core, fx, .. } = &mut *gate;
        let is_alive = core.moves(now, session, timeout_ms, to, fx);
        let left = self.dispatch(&mut gate);
        drop(gate);
        self.flush(left);
        Some(is_alive)
    }

    /// A session moves to an observer of this follower.
    pub(crate) fn moves_away(&self, session: SessionId) {
        let mut gate = self.gate.lock();
        let Gate { core, fx, .. } = &mut *gate;
        core.moved_away(session, fx);
        let left = self.dispatch(&mut gate);
        drop(gate);
        self.flush(left);
    }

    /// A learner has heard these sessions.
    pub(crate) fn touched(&self, touched: Touched<'_>) {
        self.gate.lock().core.touched(self.now_ms(), touched);
    }

    /// The sessions that were heard since the last time.
    pub(crate) fn tell_heard(&self) -> Vec<u8> {
        let now_ms = self.now_ms();
        let mut gate = self.gate.lock();
        let Gate { core, conns, .. } = &mut *gate;
        let mut touched = Vec::new();
        let heard = |id| conns.get(&id).map(|conn| conn.heard_ms(now_ms));
        core.tell_heard(now_ms, heard, &mut touched);
        touched
    }

    /// Applies everything that is committed; for who holds the pipeline and the quorum, so that no
    /// more is committed meanwhile.
    pub(crate) fn apply_committed(&self, gate: &mut Gate, zxid: Zxid) {
        let now_ms = self.now_ms();
        let mut tree = self.tree.write();
        let mut watches = SharedWatches(&self.watches);
        while tree.last_zxid() < zxid {
            let Gate { core, fx, .. } = &mut *gate;
            let more = core.committed(&mut tree, &mut watches, now_ms, zxid, LESSON_TURN, fx);
            if !more && tree.last_zxid() < zxid {
                return;
            }
            // Answers and events wait for their connections' threads.
            for conn in self.dispatch(gate).into_dirty() {
                conn.line.home.clone().outbox.push(conn);
            }
        }
        self.last_zxid.store(tree.last_zxid().0, Ordering::Relaxed);
    }

    /// Begins a snapshot, for who holds the pipeline: its head, and the sessions of that moment.
    pub(crate) fn begin_snapshot_at(
        &self,
        gate: &Gate,
    ) -> Option<(SnapshotHead, Vec<(SessionId, i32)>)> {
        let head = self.tree.write().begin_snapshot()?;
        Some((head, gate.core.sessions().to_sorted()))
    }
}

/// What is applied at the end of a part may never be committed: no line says that it is done.
fn forget_audit(fx: &mut Effects) {
    fx.list.retain(|effect| !matches!(effect, Effect::Audit(_)));
}
