//! Events of a watch as a stream.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use zk_proto::Zxid;
use zk_proto::watch::{EventType, WatcherType};

use crate::shared::Shared;

/// What a watch reports.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct WatchEvent {
    /// What happened.
    pub kind: EventType,
    /// The znode, as the client sees it.
    pub path: String,
    /// The transaction that did it; `None` from servers before 3.9, and when the change happened
    /// while there was no connection.
    pub zxid: Option<Zxid>,
}

/// The events of one watch, in order.
///
/// The stream of a one-shot watch ends after its event. Every stream ends when the session is over
/// ([`Client::state`](crate::Client::state) says why), and when so many events wait that nobody
/// can be reading ([`Watch::has_overflowed`]). Dropping it takes the watch away,
/// and so does giving up the call that sets it.
pub struct Watch {
    pub(crate) queue: Arc<Queue>,
    pub(crate) place: Option<Place>,
}

/// Where a watch is registered.
pub(crate) struct Place {
    pub(crate) shared: Weak<Shared>,
    /// The server's path.
    pub(crate) path: String,
    pub(crate) of: WatcherType,
}

impl Watch {
    /// The next event; `None` at the end. May be given up and called again without losing events.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        poll_fn(|cx| self.queue.poll(cx)).await
    }

    /// An event that came already.
    pub fn try_next(&mut self) -> Option<WatchEvent> {
        self.queue.0.lock().events.pop_front()
    }

    /// Whether events were lost because too many waited: read the znodes again and set another
    /// watch.
    #[must_use]
    pub fn has_overflowed(&self) -> bool {
        self.queue.0.lock().has_overflowed
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.place.as_ref().map(|place| &place.path);
        f.debug_struct("Watch").field("path", &path).finish_non_exhaustive()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.queue.end();
        if let Some(Place { shared, path, of }) = self.place.take()
            && let Some(shared) = shared.upgrade()
        {
            shared.unwatch(&path, of);
        }
    }
}

/// Events on their way to one reader.
#[derive(Debug)]
pub(crate) struct Queue(Mutex<QueueState>);

#[derive(Debug)]
struct QueueState {
    events: VecDeque<WatchEvent>,
    events_max: usize,
    has_ended: bool,
    has_overflowed: bool,
    reader: Option<Waker>,
}

impl Queue {
    pub(crate) fn new(events_max: usize) -> Arc<Queue> {
        Arc::new(Queue(Mutex::new(QueueState {
            events: VecDeque::new(),
            events_max,
            has_ended: false,
            has_overflowed: false,
            reader: None,
        })))
    }

    pub(crate) fn push(&self, event: &WatchEvent) {
        let mut state = self.0.lock();
        if state.has_ended {
            return;
        }
        if state.events.len() < state.events_max {
            state.events.push_back(event.clone());
        } else {
            state.has_overflowed = true;
            state.has_ended = true;
        }
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    /// No more events will come; those that came can still be read.
    pub(crate) fn end(&self) {
        let mut state = self.0.lock();
        state.has_ended = true;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.0.lock().has_ended
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        let mut state = self.0.lock();
        match state.events.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if state.has_ended => Poll::Ready(None),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(path: &str) -> WatchEvent {
        WatchEvent { kind: EventType::NodeCreated, path: path.to_owned(), zxid: None }
    }

    #[tokio::test]
    async fn a_reader_that_sleeps_loses_the_stream_and_is_told() {
        let queue = Queue::new(2);
        let mut watch = Watch { queue: queue.clone(), place: None };
        for path in ["/1", "/2", "/3", "/4"] {
            queue.push(&event(path));
        }
        assert_eq!(watch.next().await, Some(event("/1")));
        assert_eq!(watch.try_next(), Some(event("/2")));
        assert_eq!(watch.next().await, None);
        assert!(watch.has_overflowed());
    }

    #[tokio::test]
    async fn what_came_before_the_end_can_be_read() {
        let queue = Queue::new(2);
        let mut watch = Watch { queue: queue.clone(), place: None };
        queue.push(&event("/1"));
        queue.end();
        queue.push(&event("/2"));
        assert_eq!(watch.next().await, Some(event("/1")));
        assert_eq!(watch.next().await, None);
        assert!(!watch.has_overflowed());
    }
}
