//! What waits for the pipeline, and the thread that sees to it.
//!
//! Whoever has requests while nobody is at the pipeline prepares them itself, if they are few or
//! nothing else is under way: that is the shortest way for a lone writer. Else they are posted, and
//! the pipeline's thread prepares and applies what has gathered, in large turns and on one core. So
//! no thread ever waits for the pipeline's lock with its sockets unread, and the log's thread goes
//! on with the next sync while the last batch is applied.
//!
//! The lock here is the innermost: nothing else is taken under it.

use super::hear;
use crate::net::conn::Conn;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use zk_proto::{SessionId, Zxid};

/// When so many bytes of requests wait here, no more are read.
const MAIL_BYTES: usize = 2 << 20;

/// What there is to do, and who waits for it to be done.
pub(crate) struct Pipe {
    state: Mutex<State>,
    news: Condvar,
    /// With so many requests under way no more are read.
    max_outstanding: usize,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct State {
    /// Connections with requests in their inboxes, in the order in which they came.
    mail: Vec<Arc<Conn>>,
    /// Requests in all inboxes or about to be put there, and the bytes in them.
    posted: usize,
    bytes: usize,
    /// Requests that the pipeline has under way.
    queued: usize,
    /// Connections that are not read until there is room again.
    waiting: Vec<Arc<Conn>>,
    /// Up to where transactions can be applied; the thread has not taken it yet.
    durable: Option<Zxid>,
    lessons: VecDeque<Lesson>,
    /// The next lesson cannot be learned: it waits for the end of this part.
    is_stuck: bool,
    /// There may be something to do that is not said here.
    is_nudged: bool,
    is_asleep: bool,
    /// Requests must wait until the log has gone on.
    is_blocked: bool,
    is_gone: bool,
    stop: bool,
}

/// What the thread found to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Work {
    pub(super) durable: Option<Zxid>,
    pub(super) has_mail: bool,
    pub(super) has_lessons: bool,
}

/// What a leader taught this member, in the order in which it has to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Lesson {
    /// A transaction is committed, and on the own disk.
    Txn(Arc<[u8]>),
    /// The oldest sync is answered.
    Synced,
    /// Whether a session that moves here is alive.
    Revalidated(SessionId, bool),
    /// A session has moved away.
    Moved(SessionId),
}

/// Who does what there is to do: the caller, soon, where the thread would have to be woken for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "nobody else may do it"]
pub(crate) enum Diligence {
    Caller,
    Thread,
}

/// So many lessons are no reason to wake the thread.
const FEW_LESSONS: usize = 4;

impl State {
    fn has_lessons(&self) -> bool {
        !self.lessons.is_empty() && !self.is_stuck
    }

    fn is_idle(&self) -> bool {
        let is_empty = self.mail.is_empty() && self.durable.is_none() && self.lessons.is_empty();
        self.is_asleep && is_empty
    }
}

impl Pipe {
    pub(super) fn new(max_outstanding: usize) -> Pipe {
        Pipe {
            state: Mutex::default(),
            news: Condvar::new(),
            max_outstanding,
            thread: Mutex::default(),
        }
    }

    /// Starts the thread: `work` is all it does, until [`Pipe::next`] gives nothing more. At its
    /// end `gone` is told whether it panicked.
    pub(super) fn start(
        &self,
        work: impl FnOnce() + Send + 'static,
        gone: impl FnOnce(bool) + Send + 'static,
    ) -> io::Result<()> {
        let body = move || {
            let _gone = Gone(Some(gone));
            work();
        };
        *self.thread.lock() = Some(Builder::new().name("zk-pipe".into()).spawn(body)?);
        Ok(())
    }

    /// Lets the thread finish what is durable, and ends it.
    pub(crate) fn stop(&self) {
        self.state.lock().stop = true;
        self.news.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            // A panic has been told already.
            let _ = thread.join();
        }
    }

    /// Nobody may wait for a thread that is no more.
    pub(super) fn note_gone(&self) {
        self.state.lock().is_gone = true;
        self.news.notify_all();
    }

    /// Requests that were read and not prepared yet.
    pub(crate) fn posted(&self) -> usize {
        self.state.lock().posted
    }

    /// Keeps places for `wanted` requests of a connection, as far as there are any; how many. If
    /// there are none, the connection is woken when that has changed. However many bytes others
    /// have posted, one request of an address that has none under way finds a place.
    pub(super) fn reserve(&self, conn: &Arc<Conn>, wanted: usize) -> usize {
        let mut state = self.state.lock();
        let under_way = state.posted + state.queued;
        let most = match state.bytes < MAIL_BYTES {
            true => wanted,
            false => usize::from(wanted > 0 && conn.is_first()),
        };
        let places = most.min(self.max_outstanding.saturating_sub(under_way));
        state.posted += places;
        if places == 0 && wanted > 0 {
            state.waiting.push(conn.clone());
        }
        places
    }

    /// Places that were kept and not needed; whoever found none looks again.
    pub(super) fn give_back(&self, places: usize, now_ms: i64) {
        if places > 0 {
            self.state.lock().posted -= places;
            self.wake_waiting(now_ms);
        }
    }

    /// The pipeline has so many requests under way.
    pub(super) fn note_queued(&self, queued: usize) {
        self.state.lock().queued = queued;
    }

    /// A connection must not be read until the log has caught up.
    pub(super) fn wait(&self, conn: &Arc<Conn>) {
        self.state.lock().waiting.push(conn.clone());
    }

    /// So many more bytes of requests are in the inbox of `conn`, which `is_listed` already or not;
    /// `requests` of them have no places yet.
    pub(super) fn post(&self, conn: &Arc<Conn>, requests: usize, bytes: usize, is_listed: bool) {
        let mut state = self.state.lock();
        state.posted += requests;
        state.bytes += bytes;
        if !is_listed {
            state.mail.push(conn.clone());
        }
        if !state.is_blocked {
            self.wake(state);
        }
    }

    /// Requests were taken out of an inbox; the pipeline has `queued` under way now.
    pub(super) fn taken(&self, requests: usize, bytes: usize, queued: usize) {
        let mut state = self.state.lock();
        debug_assert!(requests <= state.posted && bytes <= state.bytes);
        state.posted -= requests;
        state.bytes -= bytes;
        state.queued = queued;
    }

    /// Whether no connection has posted. Means something only under the pipeline's lock.
    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().mail.is_empty()
    }

    /// Who has posted, for a caller with the pipeline's lock.
    pub(super) fn take_mail(&self) -> Vec<Arc<Conn>> {
        std::mem::take(&mut self.state.lock().mail)
    }

    /// Whom the caller could not serve goes back to the front.
    pub(super) fn put_back(&self, mut mail: Vec<Arc<Conn>>) {
        let mut state = self.state.lock();
        mail.append(&mut state.mail);
        state.mail = mail;
    }

    /// Whoever waits for room looks whether there is some; up to now it could not be heard.
    pub(super) fn wake_waiting(&self, now_ms: i64) {
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        hear(&waiting, now_ms);
        waiting.iter().for_each(|conn| conn.wake());
    }

    /// Connections that the server itself does not read cannot be heard: that is not their silence.
    /// Mail that waits is looked at: the disk may have become full, or have space again.
    pub(super) fn hear_waiting(&self, now_ms: i64) {
        let mut state = self.state.lock();
        hear(&state.waiting, now_ms);
        if !state.mail.is_empty() {
            state.is_nudged = true;
            self.wake(state);
        }
    }

    /// A connection waits no more.
    pub(super) fn leave(&self, conn: &Conn) {
        self.state.lock().waiting.retain(|waiting| waiting.id != conn.id);
    }

    /// Everything up to `zxid` can be applied. False if the caller should do that itself, since
    /// nothing is under way here and a lone writer is answered sooner that way. Waits while the
    /// thread is a whole batch behind: what is under way stays bounded.
    pub(crate) fn hand_over(&self, zxid: Zxid, is_last: bool) -> bool {
        let mut state = self.state.lock();
        if is_last && state.is_asleep && state.mail.is_empty() && state.durable.is_none() {
            return false;
        }
        while state.durable.is_some() && !state.is_gone {
            self.news.wait(&mut state);
        }
        state.durable = Some(zxid);
        self.wake(state);
        true
    }

    /// The same for what a quorum has: nobody may wait here.
    pub(crate) fn commit(&self, zxid: Zxid) -> Diligence {
        let mut state = self.state.lock();
        let is_idle = state.is_idle();
        state.durable = state.durable.max(Some(zxid));
        self.wake_unless(is_idle, state)
    }

    /// Something that has to be learned.
    pub(crate) fn teach(&self, lessons: impl ExactSizeIterator<Item = Lesson>) -> Diligence {
        let mut state = self.state.lock();
        let is_idle = state.is_idle() && lessons.len() <= FEW_LESSONS;
        state.lessons.extend(lessons);
        self.wake_unless(is_idle, state)
    }

    fn wake_unless(&self, is_idle: bool, state: MutexGuard<'_, State>) -> Diligence {
        if is_idle {
            return Diligence::Caller;
        }
        self.wake(state);
        Diligence::Thread
    }

    /// The oldest lessons, for a caller with the pipeline's lock.
    pub(super) fn take_lessons(&self, most: usize) -> VecDeque<Lesson> {
        let lessons = &mut self.state.lock().lessons;
        let count = lessons.len().min(most);
        let later = lessons.split_off(count);
        std::mem::replace(lessons, later)
    }

    /// Everything that is left of a part that is over, for a caller with the pipeline's lock.
    pub(super) fn take_all(&self) -> VecDeque<Lesson> {
        let mut state = self.state.lock();
        (state.durable, state.is_stuck) = (None, false);
        self.news.notify_all();
        std::mem::take(&mut state.lessons)
    }

    /// The next lesson cannot be learned.
    pub(super) fn note_stuck(&self) {
        self.state.lock().is_stuck = true;
    }

    /// Whether there are any.
    pub(super) fn has_lessons(&self) -> bool {
        self.state.lock().has_lessons()
    }

    /// Lessons that were not learned, for a caller with the pipeline's lock.
    pub(super) fn put_lessons_back(&self, mut lessons: VecDeque<Lesson>) {
        let newer = &mut self.state.lock().lessons;
        lessons.append(newer);
        *newer = lessons;
    }

    /// What became durable since the thread looked.
    pub(super) fn take_durable(&self) -> Option<Zxid> {
        let durable = self.state.lock().durable.take();
        if durable.is_some() {
            self.news.notify_all();
        }
        durable
    }

    /// Makes the thread look again.
    pub(super) fn nudge(&self) {
        let mut state = self.state.lock();
        state.is_nudged = true;
        self.wake(state);
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        if std::mem::take(&mut state.is_asleep) {
            drop(state);
            self.news.notify_all();
        }
    }

    /// The next thing to do; `None` at the end. With `is_blocked`, mail alone is no reason to come
    /// back: the log must go on first.
    pub(super) fn next(&self, is_blocked: bool) -> Option<Work> {
        let mut state = self.state.lock();
        state.is_blocked = is_blocked;
        loop {
            let durable = state.durable.take();
            let has_mail = !state.mail.is_empty();
            let has_lessons = state.has_lessons();
            let is_nudged = std::mem::take(&mut state.is_nudged);
            if durable.is_some() || has_lessons || is_nudged || has_mail && !is_blocked {
                drop(state);
                if durable.is_some() {
                    self.news.notify_all();
                }
                return Some(Work { durable, has_mail, has_lessons });
            }
            if state.stop {
                return None;
            }
            state.is_asleep = true;
            self.news.wait(&mut state);
            state.is_asleep = false;
        }
    }
}

struct Gone<F: FnOnce(bool)>(Option<F>);

impl<F: FnOnce(bool)> Drop for Gone<F> {
    fn drop(&mut self) {
        if let Some(gone) = self.0.take() {
            gone(std::thread::panicking());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
    use std::sync::mpsc;

    /// A pipe whose thread does nothing but note what is durable, each time it is let go.
    fn start(go: impl Fn() + Send + 'static) -> (Arc<Pipe>, Arc<AtomicI64>) {
        let (pipe, noted) = (Arc::new(Pipe::new(10)), Arc::new(AtomicI64::new(0)));
        let (own, own_noted, to_end) = (pipe.clone(), noted.clone(), pipe.clone());
        let work = move || {
            while let Some(work) = own.next(false) {
                go();
                let zxid = work.durable.map_or(0, |zxid| zxid.0);
                own_noted.fetch_max(zxid, Ordering::Relaxed);
            }
        };
        pipe.start(work, move |_| to_end.note_gone()).unwrap();
        (pipe, noted)
    }

    #[test]
    fn everything_that_was_handed_over_is_applied_before_it_stops() {
        let (pipe, applied) = start(|| ());
        for zxid in 1..1000 {
            // With something waiting behind it in the log nobody does it on the log's thread.
            assert!(pipe.hand_over(Zxid(zxid), false));
        }
        pipe.stop();
        assert_eq!(applied.load(Ordering::Relaxed), 999);
    }

    #[test]
    fn the_last_of_a_log_at_rest_is_left_to_the_log_s_thread() {
        let (pipe, applied) = start(|| ());
        while !pipe.state.lock().is_asleep {
            std::thread::yield_now();
        }
        assert!(!pipe.hand_over(Zxid(1), true));
        pipe.stop();
        assert_eq!(applied.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_log_gets_at_most_two_batches_ahead() {
        let (go, may_go) = mpsc::channel::<()>();
        let may_go = Mutex::new(may_go);
        let (pipe, applied) = start(move || may_go.lock().recv().unwrap());
        let (done, is_done) = mpsc::channel();
        let own = pipe.clone();
        let log = std::thread::spawn(move || {
            for zxid in 1..=3 {
                own.hand_over(Zxid(zxid), false);
                done.send(zxid).unwrap();
            }
        });
        assert_eq!(is_done.recv(), Ok(1));
        assert_eq!(is_done.recv(), Ok(2));
        // The third waits until the first is applied.
        assert_eq!(is_done.try_recv(), Err(mpsc::TryRecvError::Empty));
        go.send(()).unwrap();
        assert_eq!(is_done.recv(), Ok(3));
        go.send(()).unwrap();
        go.send(()).unwrap();
        log.join().unwrap();
        pipe.stop();
        assert_eq!(applied.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_panic_is_told_and_nobody_waits_for_it() {
        let (pipe, told) = (Arc::new(Pipe::new(10)), Arc::new(AtomicBool::new(false)));
        let (own, own_told) = (pipe.clone(), told.clone());
        let gone = move |is_panic| {
            own.note_gone();
            own_told.store(is_panic, Ordering::Relaxed);
        };
        pipe.start(|| panic!("a test's own panic"), gone).unwrap();
        for zxid in 1..5 {
            pipe.hand_over(Zxid(zxid), false);
        }
        pipe.stop();
        assert!(told.load(Ordering::Relaxed));
    }

    #[test]
    fn with_the_log_behind_mail_is_no_news_but_what_is_durable_is() {
        let pipe = Pipe::new(10);
        pipe.state.lock().durable = Some(Zxid(1));
        assert_eq!(
            pipe.next(true),
            Some(Work { durable: Some(Zxid(1)), has_mail: false, has_lessons: false })
        );
        pipe.nudge();
        assert_eq!(
            pipe.next(true),
            Some(Work { durable: None, has_mail: false, has_lessons: false })
        );
        assert!(pipe.state.lock().is_blocked);
        pipe.state.lock().stop = true;
        assert_eq!(pipe.next(true), None);
    }
}
