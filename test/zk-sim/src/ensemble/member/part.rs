//! The pipeline of the part that a member plays.

use super::{Driver, Lesson};
use crate::ensemble::coverage::Point;
use crate::ensemble::event::Event;
use crate::ensemble::mutant::Mutant;
use crate::ensemble::record::Record;
use crate::ensemble::store::{Entry, Image};
use crate::storage::{Found, Loading, load_image};
use std::collections::VecDeque;
use std::rc::Rc;
use zk_core::{Admission, Core, LearnerId};
use zk_proto::quorum::Forwarded;
use zk_proto::{Epoch, SessionId, Zxid};
use zk_tree::{ConnId, ReapWalk};

/// So many txns are applied at once.
const TURN: usize = 256;

impl Driver<'_> {
    /// The pipeline has something to do: at once, or when its thread gets to it.
    pub(super) fn wake_pipe(&mut self) {
        if self.p.pipe_is_awake {
            return;
        }
        self.p.pipe_is_awake = true;
        let us = if self.hub.rng.chance(100) { 1_000 } else { 1 };
        let (sid, life) = (self.sid, self.life);
        self.hub.after(us, Event::Pipe { sid, life });
    }

    /// Applies what a quorum has, or a leader taught.
    pub(crate) fn pipe(&mut self) {
        self.p.pipe_is_awake = false;
        self.apply_committed();
        self.learn();
        self.settle();
    }

    pub(super) fn apply_committed(&mut self) {
        // A learner applies what it is taught.
        if self.p.core.admission() != Admission::Serving || self.p.upstream.is_some() {
            return;
        }
        let now_ms = self.times().monotonic_ms;
        while self.p.tree.last_zxid() < self.p.due {
            let before = self.p.tree.last_zxid();
            if !self.hub.survives(self.sid, Point::Apply) {
                return;
            }
            let super::Process { core, tree, watches, fx, due, .. } = &mut *self.p;
            let more = core.committed(tree, watches, now_ms, *due, TURN, fx);
            self.double_apply();
            self.carry_out();
            self.tell_applied(before);
            // A turn may have done nothing but what waited behind the last txn.
            if !more && self.p.tree.last_zxid() == before {
                return;
            }
        }
        // What waited behind the last of them.
        let super::Process { core, tree, watches, fx, due, .. } = &mut *self.p;
        core.committed(tree, watches, now_ms, *due, TURN, fx);
        self.carry_out();
    }

    pub(super) fn learn(&mut self) {
        let now = self.times();
        let before = self.p.tree.last_zxid();
        while let Some(lesson) = self.p.lessons.pop_front() {
            if !self.hub.survives(self.sid, Point::Apply) {
                return;
            }
            let super::Process { core, tree, watches, fx, .. } = &mut *self.p;
            let failure = match &lesson {
                Lesson::Txn(txn) => core.learned(tree, watches, now.monotonic_ms, txn, fx).err(),
                Lesson::Synced => {
                    core.synced(tree, watches, fx);
                    None
                }
                Lesson::Revalidated(session, is_valid) => {
                    core.revalidated(now, *session, *is_valid, fx);
                    None
                }
                Lesson::Moved(session) => {
                    core.turn_away(*session, fx);
                    None
                }
            };
            while core.go_on(tree, watches, fx) {}
            if matches!(lesson, Lesson::Txn(_)) {
                self.double_apply();
            }
            self.carry_out();
            if let Some(error) = failure {
                self.hub.note(|| format!("{} cannot learn: {error}", self.sid));
                self.hub.mark(Point::LeftOther);
                return self.leave();
            }
        }
        self.tell_applied(before);
    }

    fn tell_applied(&mut self, before: Zxid) {
        let zxid = self.p.tree.last_zxid();
        if zxid > before {
            self.show_applied();
            self.p.since_snapshot +=
                (zxid.counter()).wrapping_sub(before.counter()).min(TURN as u32);
        }
    }

    /// Before it serves nobody sees what a member has applied, and it may not be committed.
    fn show_applied(&mut self) {
        if self.p.core.admission() == Admission::Serving {
            let (zxid, digest) = (self.p.tree.last_zxid(), self.p.tree.digest());
            self.hub.tell(Record::Applied { sid: self.sid, zxid, digest });
        }
    }

    /// This member leads in an epoch, and lets clients in.
    pub(super) fn begin_leading(&mut self, epoch: Epoch) {
        let sessions = self.p.core.sessions().to_sorted();
        let times = self.times();
        let mut core = Core::new(self.p.core_options.clone(), &self.p.tree, sessions, times);
        core.lead(epoch);
        core.set_membership(self.p.foreseen.clone());
        self.p.core = core;
        self.p.due = self.p.tree.last_zxid();
        self.open();
    }

    /// Lets clients in.
    pub(super) fn open(&mut self) {
        self.p.core.set_admission(Admission::Serving);
        self.hub.tell(Record::Serves { sid: self.sid });
        self.show_applied();
        self.wake_pipe();
    }

    /// The part is over: clients are let go.
    pub(super) fn close(&mut self) {
        self.p.core.set_admission(Admission::Closed);
        self.hub.tell(Record::Rests { sid: self.sid });
        let conns: Vec<u64> = self.p.conns.keys().copied().collect();
        conns.into_iter().for_each(|conn| self.drop_client(conn));
    }

    /// Everything that is logged is in the tree afterwards, committed or not.
    pub(super) fn settle_part(&mut self, under_way: &VecDeque<Entry>) {
        let now_ms = self.times().monotonic_ms;
        let last = self.p.core.last_proposed();
        loop {
            let super::Process { core, tree, watches, fx, .. } = &mut *self.p;
            let more = core.committed(tree, watches, now_ms, last, TURN, fx);
            let is_over = !more || core.outstanding() == 0 || tree.last_zxid() >= last;
            self.p.fx.clear();
            if is_over {
                break;
            }
        }
        self.begin_learning();
        let learned: Vec<Rc<[u8]>> = self.p.lessons.drain(..).filter_map(txn_of).collect();
        let applied = self.p.tree.last_zxid();
        let later = under_way.iter().filter(|(zxid, _)| *zxid > applied).map(|it| it.1.clone());
        for txn in learned.into_iter().chain(later) {
            let super::Process { core, tree, watches, fx, .. } = &mut *self.p;
            if let Err(error) = core.learned(tree, watches, now_ms, &txn, fx) {
                let what = format!("{} cannot apply what it logged: {error}", self.sid);
                self.hub.fail("Z8 tree digest", what);
            }
            self.p.fx.clear();
        }
    }

    fn begin_learning(&mut self) {
        let sessions = self.p.core.sessions().to_sorted();
        let times = self.times();
        let options = self.p.core_options.clone();
        self.p.core = Core::learning(options, &self.p.tree, sessions, times);
        self.p.core.set_admission(Admission::Closed);
    }

    /// Tree and sessions were read anew.
    pub(super) fn replace_learning(&mut self, found: Found) {
        let times = self.times();
        let options = self.p.core_options.clone();
        self.p.core = Core::learning(options, &found.tree, found.sessions, times);
        self.p.core.set_admission(Admission::Closed);
        self.p.tree = found.tree;
        self.p.committed = self.p.tree.last_zxid();
        self.p.due = self.p.committed;
    }

    /// What a snapshot holds.
    pub(super) fn loaded(&mut self, image: &Image) -> Found {
        let mut loading = Loading::new(self.p.tree.options());
        if let Err(error) = load_image(&mut loading, &image.head, &image.sessions, &image.nodes) {
            self.hub.fail("Z2 integrity", format!("a snapshot cannot be read: {error}"));
        }
        loading.found()
    }

    /// A snapshot of the own tree.
    pub(super) fn image(&mut self) -> Option<Image> {
        let head = self.p.tree.begin_snapshot()?;
        let sessions = self.p.core.sessions().to_sorted();
        let mut nodes = Vec::new();
        while self.p.tree.snapshot_some(TURN, usize::MAX, &mut nodes) {}
        Some(Image { head, sessions, nodes })
    }

    /// Keeps a snapshot of the own tree, when there is much behind the last one.
    pub(crate) fn own_snapshot(&mut self, snap_count: u32) {
        if self.p.since_snapshot < snap_count
            || self.p.io.is_some()
            || !self.p.peer.is_serving()
            || !self.hub.survives(self.sid, Point::OwnSnapshot)
        {
            return;
        }
        self.p.since_snapshot = 0;
        let Some(image) = self.image() else { return };
        if self.store.keep(Rc::new(image)).is_err() {
            self.hub.dead = Some(self.sid);
        }
    }

    /// A learner's client wants something.
    pub(super) fn forwarded(&mut self, from: LearnerId, asked: &Forwarded<'_>) {
        if self.p.core.admission() == Admission::Closed {
            return;
        }
        self.foresee(asked.op, asked.body);
        let now = self.times();
        let super::Process { core, tree, fx, .. } = &mut *self.p;
        core.forwarded(tree, now, from, asked, fx);
        self.carry_out();
    }

    /// A session moves to a learner; whether it is alive. Who does not serve does not know.
    pub(super) fn moves(
        &mut self,
        session: SessionId,
        timeout_ms: i32,
        to: LearnerId,
    ) -> Option<bool> {
        if self.p.core.admission() == Admission::Closed {
            return None;
        }
        let now = self.times();
        let is_alive = self.p.core.moves(now, session, timeout_ms, to, &mut self.p.fx);
        self.carry_out();
        self.hub.mark(Point::SessionMoved);
        Some(is_alive)
    }

    /// The sessions that were heard since the last time.
    pub(super) fn tell_heard(&mut self) -> Vec<u8> {
        let now_ms = self.times().monotonic_ms;
        let mut touched = Vec::new();
        let super::Process { core, conns, .. } = &mut *self.p;
        let heard = |id: ConnId| conns.get(&id.0).map(|conn| conn.heard_ms);
        core.tell_heard(now_ms, heard, &mut touched);
        if self.hub.has(Mutant::DeafLearners) {
            touched.clear();
        }
        touched
    }

    /// A leader lets sessions expire.
    pub(super) fn tick_sessions(&mut self) {
        if self.p.core.admission() == Admission::Closed {
            return;
        }
        let now = self.expiry_times();
        loop {
            let super::Process { core, tree, conns, fx, .. } = &mut *self.p;
            let heard = |id: ConnId| conns.get(&id.0).map(|conn| conn.heard_ms);
            let more = core.tick(tree, now, heard, fx);
            self.carry_out();
            if !more {
                return;
            }
        }
    }

    /// A leader removes containers and TTL znodes.
    pub(crate) fn reap(&mut self) {
        let (sid, life) = (self.sid, self.life);
        self.hub.after(1_000_000, Event::Reap { sid, life });
        if self.p.core.admission() == Admission::Closed || !self.p.peer.is_serving() {
            return;
        }
        let now = self.times();
        for path in self.p.tree.due_for_reaping(&mut ReapWalk::default(), now.wall_ms, 0, 4) {
            let super::Process { core, tree, fx, .. } = &mut *self.p;
            core.reap(tree, now, &path, 0, fx);
            self.hub.mark(Point::Reaped);
            self.carry_out();
        }
        self.settle();
    }
}

fn txn_of(lesson: Lesson) -> Option<Rc<[u8]>> {
    match lesson {
        Lesson::Txn(txn) => Some(txn),
        Lesson::Synced | Lesson::Revalidated(..) | Lesson::Moved(_) => None,
    }
}
