//! Who is connected, what each is told next, and who is being dialled.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use zk_proto::Sid;
use zk_zab::HostPort;

/// So many members that no configuration knows may be connected, or be told something.
const STRANGERS: usize = 64;

/// A frame, or nothing yet.
type Frame = Arc<[u8]>;

pub(super) struct Lines(Mutex<State>);

struct State {
    /// Where members are dialled.
    members: BTreeMap<Sid, Vec<HostPort>>,
    lines: BTreeMap<Sid, Line>,
    /// The last number that an observer without one was given.
    anonymous: i64,
    /// Everything that runs; it ends with this.
    tasks: JoinSet<()>,
    is_closed: bool,
}

struct Line {
    /// The newest thing to say.
    next: watch::Sender<Frame>,
    /// Ends the connection that is there.
    replace: Option<oneshot::Sender<()>>,
    is_dialled: bool,
}

impl Lines {
    pub(super) fn new() -> Lines {
        Lines(Mutex::new(State {
            members: BTreeMap::new(),
            lines: BTreeMap::new(),
            anonymous: 0,
            tasks: JoinSet::new(),
            is_closed: false,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is made at once.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn list(&self, members: BTreeMap<Sid, Vec<HostPort>>) {
        self.lock().members = members;
    }

    /// Runs something until it ends, or everything does.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut state = self.lock();
        while state.tasks.try_join_next().is_some() {}
        let task = state.tasks.spawn(task);
        if state.is_closed {
            task.abort();
        }
        task
    }

    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.tasks.abort_all();
        state.lines.clear();
    }

    /// A number for an observer that has none: smaller than all others.
    pub(super) fn anonymous(&self) -> Sid {
        let mut state = self.lock();
        state.anonymous -= 1;
        Sid(state.anonymous)
    }

    pub(super) fn send(&self, to: Sid, frame: Frame) {
        if let Some(line) = self.lock().line(to) {
            line.next.send_replace(frame);
        }
    }

    /// Where to dial a member that is neither connected nor being dialled.
    pub(super) fn begin_dial(
        &self,
        sid: Sid,
        told: Option<Vec<HostPort>>,
    ) -> Option<Vec<HostPort>> {
        let mut state = self.lock();
        let known = state.members.get(&sid).cloned().unwrap_or_default();
        let line = state.line(sid)?;
        if line.is_dialled || line.replace.is_some() {
            return None;
        }
        line.is_dialled = true;
        Some(told.filter(|told| !told.is_empty()).unwrap_or(known))
    }

    pub(super) fn end_dial(&self, sid: Sid) {
        if let Some(line) = self.lock().lines.get_mut(&sid) {
            line.is_dialled = false;
        }
    }

    /// A connection begins, in the place of an older one: what is to be said on it, and what ends
    /// it. `None` if there are too many strangers.
    pub(super) fn begin(
        &self,
        sid: Sid,
    ) -> Option<(watch::Receiver<Frame>, oneshot::Receiver<()>)> {
        let mut state = self.lock();
        let line = state.line(sid)?;
        let (replace, replaced) = oneshot::channel();
        line.replace = Some(replace);
        Some((line.next.subscribe(), replaced))
    }

    /// A connection has ended; another may be in its place.
    pub(super) fn end(&self, sid: Sid, replaced: oneshot::Receiver<()>) {
        let mut state = self.lock();
        // Nobody can end what has ended.
        drop(replaced);
        let is_member = state.members.contains_key(&sid);
        let Some(line) = state.lines.get_mut(&sid) else { return };
        if line.replace.as_ref().is_some_and(oneshot::Sender::is_closed) {
            line.replace = None;
            if !is_member && !line.is_dialled {
                state.lines.remove(&sid);
            }
        }
    }

    /// Ends the connection to a member.
    pub(super) fn hang_up(&self, sid: Sid) {
        if let Some(line) = self.lock().lines.get_mut(&sid) {
            line.replace = None;
        }
    }
}

impl State {
    fn line(&mut self, sid: Sid) -> Option<&mut Line> {
        if !self.lines.contains_key(&sid) && !self.members.contains_key(&sid) {
            let is_stranger = |sid: &&Sid| !self.members.contains_key(*sid);
            if self.lines.keys().filter(is_stranger).count() >= STRANGERS {
                return None;
            }
        }
        let line =
            || Line { next: watch::Sender::new(Arc::default()), replace: None, is_dialled: false };
        Some(self.lines.entry(sid).or_insert_with(line))
    }
}
