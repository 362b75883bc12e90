//! What happens by the clock: sessions expire, connections that are late are closed, containers are
//! reaped.

use super::{Engine, Gate};
use crate::net::conn::NO_DEADLINE;
use std::sync::atomic::Ordering;
use zk_core::{Core, Effects, Times};
use zk_tree::{ConnId, ReapWalk, Tree};

impl Engine {
    /// Expires sessions, and closes connections that are past their deadline. This was to happen at
    /// `due_ms`.
    pub(crate) fn tick(&self, due_ms: i64) {
        let now_ms = self.now_ms();
        self.stall.ticked(now_ms, now_ms - due_ms, self.options.core.tick_ms.into());
        while self.expire_some() {}
        let now_ms = self.now_ms();
        if self.stall.excuses(now_ms) {
            return;
        }
        self.close_late(now_ms);
        for home in &*self.homes.lock() {
            home.rounds.ask(now_ms);
        }
    }

    /// Closes connections that are past their deadline.
    fn close_late(&self, now_ms: i64) {
        for conn in self.gate.lock().conns.values() {
            let deadline_ms = conn.deadline_ms.load(Ordering::Relaxed);
            let is_over = deadline_ms != NO_DEADLINE && deadline_ms < now_ms;
            if is_over && !conn.line.home.rounds.is_late() {
                // Once: the next tick may find it on its way out.
                conn.deadline_ms.store(NO_DEADLINE, Ordering::Relaxed);
                self.metrics.sessionless_connections_expired.add(1);
                conn.kill();
            }
        }
    }

    /// Expires as many sessions as the log takes at a time; whether it may go on at once. When it
    /// may not, the next tick does.
    pub(super) fn expire_some(&self) -> bool {
        let now = self.times();
        let mut gate = self.gate.lock();
        let admits = self.admits();
        self.pipe.hear_waiting(now.monotonic_ms);
        self.follow_disk(&mut gate, admits, now.monotonic_ms);
        if admits.is_err() || self.stall.excuses(now.monotonic_ms) {
            return false;
        }
        let tree = self.tree.read();
        let Gate { core, conns, fx, .. } = &mut *gate;
        let heard = |id: ConnId| conns.get(&id).map(|conn| conn.heard_ms(now.monotonic_ms));
        let more = core.tick(&tree, now, heard, fx);
        let left = self.dispatch(&mut gate);
        drop(tree);
        drop(gate);
        self.flush(left);
        more
    }

    /// Sees whether the disk has room, so that the first client is told, not only that after a
    /// tick.
    pub(crate) fn look_at_disk(&self) {
        let mut gate = self.gate.lock();
        self.follow_disk(&mut gate, self.admits(), self.now_ms());
    }

    /// Reaps containers and TTL znodes that are due, at most `most` of them, as long as the log
    /// takes them; the others are due the next time.
    pub(crate) fn reap(&self, max_never_used_ms: i64, most: usize) -> usize {
        let now = self.times();
        let (mut walk, mut due) = (ReapWalk::default(), Vec::new());
        while !walk.is_over() && due.len() < most {
            let tree = self.tree.read();
            let left = most - due.len();
            due.extend(tree.due_for_reaping(&mut walk, now.wall_ms, max_never_used_ms, left));
        }
        for (done, path) in due.iter().enumerate() {
            let reap = |core: &mut Core, tree: &Tree, fx: &mut Effects| {
                core.reap(tree, now, path, max_never_used_ms, fx);
            };
            if !self.make(now, reap) {
                return done;
            }
        }
        due.len()
    }

    /// Proposes something that changes nothing.
    pub(crate) fn prove(&self) {
        let now = self.times();
        self.make(now, |core, tree, fx| core.prove(tree, now, fx));
    }

    /// Lets the pipeline make a transaction that no client has asked for; whether it can.
    fn make(&self, now: Times, act: impl FnOnce(&mut Core, &Tree, &mut Effects)) -> bool {
        let mut gate = self.gate.lock();
        let admits = self.admits();
        self.follow_disk(&mut gate, admits, now.monotonic_ms);
        if admits.is_err() {
            return false;
        }
        let tree = self.tree.read();
        let Gate { core, fx, .. } = &mut *gate;
        act(core, &tree, fx);
        let left = self.dispatch(&mut gate);
        drop(tree);
        drop(gate);
        self.flush(left);
        true
    }
}
