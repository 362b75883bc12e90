//! Applies what is durable beside the log's next sync.
//!
//! One after the other, the disk would rest while transactions are applied, and they while it
//! works. A batch that nothing waits behind is applied at once where it was synced: handing it over
//! would cost a lone writer more than it saves.

use parking_lot::{Condvar, Mutex};
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use zk_proto::Zxid;

/// The thread that applies, and the way to it.
pub(super) struct Applier {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    /// Up to where it should go; the thread has not taken it yet.
    next: Option<Zxid>,
    is_busy: bool,
    stop: bool,
    /// The thread has ended.
    is_gone: bool,
}

impl Applier {
    /// Starts the thread; `apply` applies everything up to a zxid. `failed` is called if it panics.
    pub(super) fn start(
        apply: impl Fn(Zxid) + Send + 'static,
        failed: impl Fn() + Send + 'static,
    ) -> io::Result<Applier> {
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        let body = move || {
            let _gone = Gone(own.clone(), failed);
            while let Some(zxid) = own.take() {
                apply(zxid);
            }
        };
        let thread = Builder::new().name("zk-apply".into()).spawn(body)?;
        Ok(Applier { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Whether it has nothing to do.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.shared.state.lock();
        !state.is_busy && state.next.is_none()
    }

    /// Lets it apply everything up to `zxid`. Waits while it is a whole batch behind: what is under
    /// way stays bounded.
    pub(super) fn hand_over(&self, zxid: Zxid) {
        let mut state = self.shared.state.lock();
        while state.next.is_some() && !state.is_gone {
            self.shared.news.wait(&mut state);
        }
        state.next = Some(zxid);
        self.shared.news.notify_all();
    }

    /// Waits until everything that was handed over is applied, and ends the thread.
    pub(super) fn stop(&self) {
        self.shared.state.lock().stop = true;
        self.shared.news.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            // A panic has been told already.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// The next thing to do; `None` at the end.
    fn take(&self) -> Option<Zxid> {
        let mut state = self.state.lock();
        state.is_busy = false;
        loop {
            if let Some(zxid) = state.next.take() {
                state.is_busy = true;
                self.news.notify_all();
                return Some(zxid);
            }
            if state.stop {
                return None;
            }
            self.news.wait(&mut state);
        }
    }
}

/// Nobody may wait for a thread that is no more.
struct Gone<F: Fn()>(Arc<Shared>, F);

impl<F: Fn()> Drop for Gone<F> {
    fn drop(&mut self) {
        self.0.state.lock().is_gone = true;
        self.0.news.notify_all();
        if std::thread::panicking() {
            (self.1)();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
    use std::sync::mpsc;

    #[test]
    fn everything_that_was_handed_over_is_applied_before_it_stops() {
        let applied = Arc::new(AtomicI64::new(0));
        let own = applied.clone();
        let apply = move |zxid: Zxid| {
            assert!(own.swap(zxid.0, Ordering::Relaxed) < zxid.0);
        };
        let applier = Applier::start(apply, || ()).unwrap();
        assert!(applier.is_idle());
        for zxid in 1..1000 {
            applier.hand_over(Zxid(zxid));
        }
        applier.stop();
        assert_eq!(applied.load(Ordering::Relaxed), 999);
    }

    #[test]
    fn the_log_gets_at_most_two_batches_ahead() {
        let (go, may_go) = mpsc::channel::<()>();
        let may_go = Mutex::new(may_go);
        let applier =
            Arc::new(Applier::start(move |_| may_go.lock().recv().unwrap(), || ()).unwrap());
        applier.hand_over(Zxid(1));
        let (done, is_done) = mpsc::channel();
        let own = applier.clone();
        let log = std::thread::spawn(move || {
            for zxid in [2, 3] {
                own.hand_over(Zxid(zxid));
                done.send(zxid).unwrap();
            }
        });
        assert_eq!(is_done.recv(), Ok(2));
        assert!(!applier.is_idle());
        // The third waits until the first is applied.
        assert_eq!(is_done.try_recv(), Err(mpsc::TryRecvError::Empty));
        go.send(()).unwrap();
        assert_eq!(is_done.recv(), Ok(3));
        go.send(()).unwrap();
        go.send(()).unwrap();
        log.join().unwrap();
        applier.stop();
    }

    #[test]
    fn a_panic_is_told_and_nobody_waits_for_it() {
        let told = Arc::new(AtomicBool::new(false));
        let own = told.clone();
        let applier = Applier::start(
            |_| panic!("a test's own panic"),
            move || own.store(true, Ordering::Relaxed),
        )
        .unwrap();
        for zxid in 1..5 {
            applier.hand_over(Zxid(zxid));
        }
        applier.stop();
        assert!(told.load(Ordering::Relaxed));
    }
}
