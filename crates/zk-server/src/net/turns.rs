//! Whose turn it is on a thread that serves connections.
//!
//! As a rule each connection is served when it has something. What some ask for takes the thread a
//! while, and then they have more, and others from the same address too: their turns come one at a
//! time, in the order of addresses, and between any two of them everybody else is looked at. So
//! whoever asks for little waits for one of them at most.

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A turn that takes longer is a long one, and a connection is served no longer at a time.
pub(super) const LONG: Duration = Duration::from_millis(1);

/// So long after a long turn those of its address are taken for long ones, in ms.
const SLOW_MS: i64 = 1000;

/// So long after something that looked like a long turn all are measured, in ms: the thread may
/// only have been without a processor.
const DOUBT_MS: i64 = 200;

/// The turns of one thread.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// Until when turns are measured, and there are slow addresses; 0 if not.
    doubts_until_ms: AtomicI64,
    slow_until_ms: AtomicI64,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Until when.
    slow: HashMap<IpAddr, i64>,
    /// Who waits, by address.
    waiting: VecDeque<(IpAddr, VecDeque<Weak<Ticket>>)>,
}

/// The place of a connection among those that wait.
#[derive(Debug)]
pub(super) struct Ticket {
    is_due: AtomicBool,
    waker: Mutex<Waker>,
}

/// A turn under way.
pub(super) struct Begun {
    at: Instant,
    processor: Option<Duration>,
}

impl Turns {
    /// A turn begins.
    pub(super) fn begin(&self) -> Begun {
        let is_measured = self.doubts_until_ms.load(Ordering::Relaxed) > 0;
        Begun { at: Instant::now(), processor: is_measured.then(processor_time) }
    }

    /// It has ended; how long it took.
    pub(super) fn end(
        &self,
        begun: &Begun,
        address: IpAddr,
        now_ms: impl FnOnce() -> i64,
    ) -> Duration {
        let took = begun.at.elapsed();
        let Some(processor) = begun.processor else {
            if took >= LONG {
                self.doubts_until_ms.store(now_ms() + DOUBT_MS, Ordering::Relaxed);
            }
            return took;
        };
        let now_ms = now_ms();
        if processor_time().saturating_sub(processor) >= LONG {
            self.doubts_until_ms.store(now_ms + DOUBT_MS, Ordering::Relaxed);
            self.note_slow(address, now_ms);
        } else if now_ms >= self.doubts_until_ms.load(Ordering::Relaxed) {
            self.doubts_until_ms.store(0, Ordering::Relaxed);
        }
        took
    }

    fn note_slow(&self, address: IpAddr, now_ms: i64) {
        let until_ms = now_ms + SLOW_MS;
        self.state.lock().slow.insert(address, until_ms);
        self.slow_until_ms.fetch_max(until_ms, Ordering::Relaxed);
    }

    /// Whether the turns of an address are long ones lately.
    pub(super) fn is_slow(&self, address: IpAddr, now_ms: impl FnOnce() -> i64) -> bool {
        let until_ms = self.slow_until_ms.load(Ordering::Relaxed);
        if until_ms == 0 {
            return false;
        }
        let now_ms = now_ms();
        let mut state = self.state.lock();
        if now_ms >= until_ms {
            self.slow_until_ms.store(0, Ordering::Relaxed);
            state.slow = HashMap::new();
            return false;
        }
        state.slow.get(&address).is_some_and(|until_ms| now_ms < *until_ms)
    }

    /// Ready when it is the turn of a connection that waits, with its `ticket`, if it has one.
    pub(super) fn poll(
        &self,
        ticket: &mut Option<Arc<Ticket>>,
        address: IpAddr,
        cx: &Context<'_>,
    ) -> Poll<()> {
        match ticket {
            Some(waits) if waits.is_due.load(Ordering::Acquire) => {
                *ticket = None;
                Poll::Ready(())
            }
            Some(waits) => {
                waits.waker.lock().clone_from(cx.waker());
                Poll::Pending
            }
            None => {
                let waker = Mutex::new(cx.waker().clone());
                let new = Arc::new(Ticket { is_due: AtomicBool::new(false), waker });
                self.queue(address, Arc::downgrade(&new));
                *ticket = Some(new);
                Poll::Pending
            }
        }
    }

    fn queue(&self, address: IpAddr, ticket: Weak<Ticket>) {
        let mut state = self.state.lock();
        match state.waiting.iter_mut().find(|(of, _)| *of == address) {
            Some((_, waiting)) => waiting.push_back(ticket),
            None => state.waiting.push_back((address, VecDeque::from([ticket]))),
        }
        self.news.notify_one();
    }

    /// Lets the next one have its turn; false if nobody waits.
    fn call_next(&self) -> bool {
        let mut state = self.state.lock();
        while let Some((address, mut waiting)) = state.waiting.pop_front() {
            let next = std::iter::from_fn(|| waiting.pop_front()).find_map(|it| it.upgrade());
            if !waiting.is_empty() {
                state.waiting.push_back((address, waiting));
            }
            if let Some(next) = next {
                next.is_due.store(true, Ordering::Release);
                next.waker.lock().wake_by_ref();
                return true;
            }
        }
        false
    }

    /// Gives the turns, on their thread.
    pub(super) async fn give(&self) {
        loop {
            // Comes back when all others have had theirs, and the sockets were looked at.
            tokio::task::yield_now().await;
            if !self.call_next() {
                self.news.notified().await;
            }
        }
    }
}

/// The task of `cx` goes on when all others have had their turns, and the sockets were looked at.
pub(super) fn let_others_go_first(cx: &mut Context<'_>) {
    // It notes the task, and is not needed any more then.
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}

/// What the thread has used of a processor.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn work_for(time: Duration) {
        let until = processor_time() + time;
        while processor_time() < until {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn an_address_is_slow_for_a_while_after_work_and_not_after_waiting() {
        let turns = Turns::default();
        let turn = |now_ms, act: fn()| {
            let begun = turns.begin();
            act();
            turns.end(&begun, address(1), || now_ms)
        };
        let is_slow = |last, now_ms| turns.is_slow(address(last), || now_ms);
        let wait = || std::thread::sleep(2 * LONG);
        turn(1000, wait);
        turn(1001, wait);
        assert!(!is_slow(1, 1002), "it slept");
        assert!(turn(1003, || work_for(2 * LONG)) >= LONG);
        assert!(is_slow(1, 1004) && !is_slow(2, 1004));
        assert!(is_slow(1, 1002 + SLOW_MS) && !is_slow(1, 1003 + SLOW_MS));
        assert_eq!(turns.slow_until_ms.load(Ordering::Relaxed), 0);
        turn(1003 + DOUBT_MS, || ());
        assert_eq!(turns.doubts_until_ms.load(Ordering::Relaxed), 0);
        turn(5000, || work_for(2 * LONG));
        assert!(!is_slow(1, 5001), "once may be anything");
    }

    /// One long turn, then everybody else, whoever came first.
    #[test]
    fn others_have_their_turns_between_long_ones() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (turns, log) = (Arc::<Turns>::default(), Arc::new(Mutex::new(String::new())));
        runtime.block_on(async {
            let own = turns.clone();
            tokio::spawn(async move { own.give().await });
            let long = (0..3).map(|_| {
                let (turns, log) = (turns.clone(), log.clone());
                tokio::spawn(async move {
                    for _ in 0..3 {
                        let mut ticket = None;
                        std::future::poll_fn(|cx| turns.poll(&mut ticket, address(1), cx)).await;
                        log.lock().push('L');
                    }
                })
            });
            let long: Vec<_> = long.collect();
            let other = log.clone();
            tokio::spawn(async move {
                loop {
                    std::future::poll_fn({
                        let mut is_first = true;
                        move |cx| {
                            if !std::mem::take(&mut is_first) {
                                return Poll::Ready(());
                            }
                            let_others_go_first(cx);
                            Poll::Pending
                        }
                    })
                    .await;
                    other.lock().push('.');
                }
            });
            for task in long {
                task.await.unwrap();
            }
        });
        let log = log.lock();
        assert_eq!(log.matches('L').count(), 9);
        assert!(!log.contains("LL"), "{log}");
    }

    #[test]
    fn addresses_take_turns() {
        let turns = Turns::default();
        let cx = Context::from_waker(Waker::noop());
        let mut tickets: Vec<_> = [1, 1, 1, 2, 3].map(|last| (last, None)).into();
        for (last, ticket) in &mut tickets {
            assert!(turns.poll(ticket, address(*last), &cx).is_pending());
        }
        // The second one of the first address goes away.
        tickets.remove(1);
        let mut order = Vec::new();
        while turns.call_next() {
            let due = |(last, ticket): &mut (u8, Option<Arc<Ticket>>)| {
                ticket.is_some() && turns.poll(ticket, address(*last), &cx).is_ready()
            };
            let at = tickets.iter_mut().position(due).unwrap();
            order.push(tickets.remove(at).0);
        }
        assert_eq!(order, [1, 2, 3, 1]);
        assert!(turns.state.lock().waiting.is_empty());
    }
}
