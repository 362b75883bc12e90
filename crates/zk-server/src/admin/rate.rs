//! How often operators may ask for what costs much.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A turn is followed by a rest of so many times its length ...
const REST: u32 = 3;
/// ... but of no more than this.
const LONGEST_REST: Duration = Duration::from_secs(2);
/// A shorter rest is none.
const SHORTEST_REST: Duration = Duration::from_millis(1);

/// Turns of work that may list the whole server, each on a thread for blocking work. However often
/// it is asked for, each turn takes no more than a quarter of a processor from the clients.
#[derive(Debug)]
pub(crate) struct Turns(Arc<Semaphore>);

impl Turns {
    /// So many at a time.
    pub(crate) fn new(count: usize) -> Turns {
        Turns(Arc::new(Semaphore::new(count)))
    }

    /// Does something when there is a turn; `None` if it panicked. Begun work is ended, and has its
    /// turn, also when nobody waits for it any more.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Option<T>> + Send + 'static {
        let turns = self.0.clone();
        async move {
            let turn = turns.acquire_owned().await.ok()?;
            let done = tokio::task::spawn_blocking(move || {
                let began = Instant::now();
                let done = work();
                let rest = (began.elapsed() * REST).min(LONGEST_REST);
                if rest >= SHORTEST_REST {
                    Handle::current().spawn(async move {
                        tokio::time::sleep(rest).await;
                        drop(turn);
                    });
                }
                done
            });
            done.await.ok()
        }
    }
}

/// The last allowed run.
#[derive(Debug)]
pub(super) struct RateLimiter {
    interval: Duration,
    last: Mutex<Option<Instant>>,
}

impl RateLimiter {
    pub(super) fn new(interval: Duration) -> RateLimiter {
        RateLimiter { interval, last: Mutex::new(None) }
    }

    /// Whether a run may start now; if so, it counts as started.
    pub(super) fn allows(&self, now: Instant) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = last.is_none_or(|last| now.duration_since(last) >= self.interval);
        if allowed {
            *last = Some(now);
        }
        allowed
    }
}

/// Turns for which only so many wait: each that does has a connection, and so a file descriptor.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) turns: Turns,
    places: Arc<Semaphore>,
}

/// What those are told for whom there is no place.
pub(crate) const BUSY: &str = "too many commands wait for their turn; ask again later";
/// Those that have a turn or wait for it.
const MOST_WAITING: usize = 16;

impl Queue {
    /// So many turns at a time.
    pub(crate) fn new(count: usize) -> Queue {
        Queue { turns: Turns::new(count), places: Arc::new(Semaphore::new(MOST_WAITING)) }
    }

    /// A place, if there is one; it is free again when this is dropped.
    pub(crate) fn enter(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn whoever_leaves_has_had_a_turn_and_the_next_rests() {
        let builder = &mut tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().unwrap();
        runtime.block_on(async {
            let (turns, at_work) = (Turns::new(1), Arc::new(AtomicUsize::new(0)));
            let work = || {
                let at_work = at_work.clone();
                turns.run(move || {
                    assert_eq!(at_work.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
                    std::thread::sleep(Duration::from_millis(20));
                    at_work.fetch_sub(1, Ordering::SeqCst);
                })
            };
            // A client that asks and goes away.
            let asked = tokio::spawn(work());
            tokio::task::yield_now().await;
            asked.abort();
            let began = Instant::now();
            assert_eq!(work().await, Some(()));
            assert!(began.elapsed() >= Duration::from_millis(60), "{:?}", began.elapsed());
            assert_eq!(turns.run(|| panic!("a defect")).await, None::<()>);
            assert_eq!(turns.run(|| 7).await, Some(7));
        });
    }

    #[test]
    fn one_run_in_an_interval() {
        let limiter = RateLimiter::new(Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| limiter.allows(start + Duration::from_secs(seconds));
        assert_eq!([at(0), at(9), at(10), at(19), at(25)], [true, false, true, false, true]);
    }
}
