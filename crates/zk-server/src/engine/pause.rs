//! A pause: nothing is logged, so that a stop or a restore finds the log at rest.

use super::Engine;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use zk_core::{Core, CoreCounters, CoreOptions, Times};
use zk_proto::SessionId;
use zk_store::group_commit::AppendError;
use zk_tree::Tree;

impl Engine {
    /// From now on no transactions are made; who wants one waits for [`Engine::resume`].
    pub(crate) fn pause(&self) -> Result<(), AppendError> {
        let _gate = self.gate.lock();
        match self.log.admits() {
            Ok(()) | Err(AppendError::Busy) => self.is_paused.store(true, Ordering::Relaxed),
            refused => return refused,
        }
        Ok(())
    }

    /// Waits, during a pause, until all that is logged is applied.
    pub(crate) fn drain(&self) -> Result<(), AppendError> {
        while self.gate.lock().core.outstanding() > 0 {
            if self.is_poisoned() {
                return Err(AppendError::Closed);
            }
            // An operator's command, now and then: not worth a signal of its own.
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Waits until all that was posted is prepared, closeSession above all: a session that its
    /// client has closed should not wait for its timeout. For `patience` at most, if the log is
    /// behind.
    pub(crate) fn settle_posted(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while self.pipe.posted() > 0 && !self.is_poisoned() && Instant::now() < deadline {
            // Once, at a stop.
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends a pause.
    pub(crate) fn resume(&self) {
        self.is_paused.store(false, Ordering::Relaxed);
        self.note_room();
    }

    /// Puts other data in the place of all, during a pause in which everything was logged. All
    /// connections are closed: none has a session any more until it asks for one.
    pub(crate) fn replace(&self, tree: Tree, sessions: Vec<(SessionId, i32)>) {
        self.replace_by(tree, sessions, Core::new);
    }

    /// The same for a member that learns from a leader and serves nobody yet.
    pub(crate) fn replace_learning(&self, tree: Tree, sessions: Vec<(SessionId, i32)>) {
        self.replace_by(tree, sessions, Core::learning);
    }

    fn replace_by(
        &self,
        tree: Tree,
        sessions: Vec<(SessionId, i32)>,
        make: impl FnOnce(CoreOptions, &Tree, Vec<(SessionId, i32)>, Times) -> Core,
    ) {
        self.count();
        let mut tree = tree;
        if let Some(quorum) = self.quorum.get() {
            let config = quorum.config();
            tree.set_config(&config.to_string(), config.version, self.times().wall_ms);
        }
        let mut gate = self.gate.lock();
        let mut current = self.tree.write();
        let admission = gate.core.admission();
        gate.core = make(self.options.core.clone(), &tree, sessions, self.times());
        gate.core.set_admission(admission);
        gate.counted = CoreCounters::default();
        self.last_zxid.store(tree.last_zxid().0, Ordering::Relaxed);
        let old = std::mem::replace(&mut *current, tree);
        drop(current);
        for conn in gate.conns.values() {
            conn.kill();
        }
        drop(gate);
        // It may take a while, and nobody waits for it.
        drop(old);
    }
}
