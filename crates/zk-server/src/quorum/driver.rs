//! The thread of the quorum's sockets.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use zk_proto::{Limits, Sid};
use zk_quorum::Wire;
use zk_zab::MemberAddress;
use zk_zab::peer::Rest;

use super::ports::Ports;
use super::state::Quorum;
use crate::config::DynamicFiles;
use crate::engine::Engine;
use crate::net::Entrance;
use crate::storage::{HistoryFiles, Snapshots};

/// What a driver is made of.
pub(crate) struct DriverParts {
    pub(crate) quorum: Arc<Quorum>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) history: HistoryFiles,
    pub(crate) snapshots: Arc<Snapshots>,
    /// The longest data of a packet.
    pub(crate) limits: Limits,
    /// The history is not whole.
    pub(crate) is_damaged: bool,
    /// It may found an ensemble though nobody has said that it is new.
    pub(crate) founds_unasked: bool,
    /// So long a leader may be unable to write.
    pub(crate) patience: Duration,
    /// After so long without a leader clients may read.
    pub(crate) alone_after: Option<Duration>,
    /// Changes of the ensemble have been made, and it is a member.
    pub(crate) is_listed: bool,
    /// Where it listens for the others.
    pub(crate) addresses: Vec<MemberAddress>,
    /// Where its clients come in.
    pub(crate) entrance: Arc<Entrance>,
    /// So many of them may wait there.
    pub(crate) backlog: u32,
    /// Where changes of the ensemble are kept.
    pub(crate) files: Option<DynamicFiles>,
}

/// Carries out what the machine wants that takes a while.
pub(crate) struct Driver {
    pub(super) quorum: Arc<Quorum>,
    pub(super) engine: Arc<Engine>,
    pub(super) history: HistoryFiles,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) limits: Limits,
    pub(super) patience: Duration,
    pub(super) files: Option<DynamicFiles>,
    pub(super) entrance: Arc<Entrance>,
    pub(super) backlog: u32,
    pub(super) listens_at: Mutex<Vec<MemberAddress>>,
    /// These are others than those that are bound: to be tried from this time on.
    pub(super) moves_at: Mutex<Option<Instant>>,
    /// The configuration that was activated last has this member.
    pub(super) is_listed: AtomicBool,
    is_damaged: AtomicBool,
    pub(super) founds_unasked: bool,
    /// The part is over, and not everything that it began is on the disk yet.
    pub(super) resting: Mutex<Option<Rest>>,
    pub(super) alone_after: Option<Duration>,
    /// Since when it looks for a leader, with a history that can be read.
    pub(super) looks_since: Mutex<Option<Instant>>,
    /// Clients may read, and nothing else.
    pub(super) is_alone: AtomicBool,
    /// The disk was full.
    is_full: AtomicBool,
    /// Since when the log of this leader has no room.
    pub(super) full_since: Mutex<Option<Instant>>,
    /// Since it looked for a leader the last time, it had one.
    has_served: AtomicBool,
    /// When it looks again.
    pub(super) look_at: Mutex<Option<Instant>>,
    /// Whom to dial.
    pub(super) to_join: Mutex<Option<Option<Sid>>>,
    /// Learners that came before it was known who leads.
    pub(super) waiting: Mutex<Vec<Wire>>,
    next_link: AtomicU64,
    /// A snapshot is on its way to learners.
    pub(super) sending: AtomicBool,
}

/// Between two attempts to find a leader, when the first one came to nothing.
const PAUSE: Duration = Duration::from_millis(50);

/// The running thread.
pub(crate) struct QuorumThread {
    thread: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl QuorumThread {
    pub(crate) fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

impl Driver {
    pub(crate) fn new(parts: DriverParts) -> Arc<Driver> {
        let DriverParts {
            quorum,
            engine,
            history,
            snapshots,
            limits,
            is_damaged,
            founds_unasked,
            patience,
            files,
            addresses,
            entrance,
            backlog,
            alone_after,
            is_listed,
        } = parts;
        Arc::new(Driver {
            quorum,
            engine,
            history,
            snapshots,
            limits,
            patience,
            files,
            entrance,
            backlog,
            listens_at: Mutex::new(addresses),
            moves_at: Mutex::new(None),
            is_listed: AtomicBool::new(is_listed),
            is_damaged: AtomicBool::new(is_damaged),
            founds_unasked,
            resting: Mutex::new(None),
            alone_after,
            looks_since: Mutex::new(None),
            is_alone: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            full_since: Mutex::new(None),
            has_served: AtomicBool::new(true),
            look_at: Mutex::new(None),
            to_join: Mutex::new(None),
            waiting: Mutex::new(Vec::new()),
            next_link: AtomicU64::new(1),
            sending: AtomicBool::new(false),
        })
    }

    /// Starts the thread.
    pub(crate) fn start(self: Arc<Driver>, ports: Ports) -> io::Result<QuorumThread> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let body = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = self.run(ports) => {}
                    _ = stopped => {}
                }
            });
            self.quorum.hang_up();
            self.quorum.lock().state.election = None;
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("zk-quorum".into()).spawn(body)?;
        Ok(QuorumThread { thread, stop })
    }

    pub(super) fn next_link(&self) -> u64 {
        self.next_link.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::Relaxed)
    }

    pub(super) fn damaged(&self, is_damaged: bool) {
        self.is_damaged.store(is_damaged, Ordering::Relaxed);
    }

    /// Whether the disk was full when something was written last.
    pub(super) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    pub(super) fn full(&self, is_full: bool) -> bool {
        self.is_full.swap(is_full, Ordering::Relaxed)
    }

    pub(super) fn serves(&self, serves: bool) {
        self.has_served.store(serves, Ordering::Relaxed);
    }

    /// It looks for a leader: at once if it had one, else after a pause, so that it is not as busy
    /// with that as the network lets it be.
    pub(super) fn look_again(&self) {
        let had_served = self.has_served.swap(false, Ordering::Relaxed);
        self.look_in(if had_served { Duration::ZERO } else { PAUSE });
    }

    pub(super) fn look_in(&self, pause: Duration) {
        *self.look_at.lock() = Some(Instant::now() + pause);
        self.quorum.news.notify_one();
    }

    pub(super) fn join(&self, leader: Option<Sid>) {
        *self.to_join.lock() = Some(leader);
        self.quorum.news.notify_one();
    }

    pub(super) fn refuse_waiting(&self) {
        self.waiting.lock().clear();
    }
}

/// Where dialled connections come back: which leader was wanted, and who was reached, it or a
/// follower that feeds observers.
pub(super) type Dialled = mpsc::UnboundedReceiver<(Sid, Option<(Sid, Wire)>)>;
