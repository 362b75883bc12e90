//! Who listens to which watch.
//!
//! Mirrors `ZKWatchManager`; [`zk_session::client::WatchSets`] decides what is restored, this only
//! delivers.

use std::collections::HashMap;
use std::sync::Arc;

use zk_proto::watch::{EventType, WatcherType};
use zk_session::client::WatchKind;

use crate::watch::{Queue, WatchEvent};

/// Listeners by path and kind. Paths are the server's.
#[derive(Default)]
pub(crate) struct Registry {
    by_path: HashMap<String, Vec<(WatchKind, Arc<Queue>)>>,
    recursive_count: usize,
    /// Listeners whose watch is being set, by path: its reply has not come.
    under_way: HashMap<String, Vec<(WatchKind, Arc<Queue>)>>,
    /// Listeners to everything.
    all: Vec<Arc<Queue>>,
}

impl Registry {
    /// A request for a watch goes out; until [`Registry::arrived`] its listener only counts.
    pub(crate) fn expect(&mut self, kind: WatchKind, path: String, queue: Arc<Queue>) {
        self.under_way.entry(path).or_default().push((kind, queue));
    }

    /// The request for a watch has come to an end, whatever it was.
    pub(crate) fn arrived(&mut self, path: &str, queue: &Arc<Queue>) {
        let Some(awaited) = self.under_way.get_mut(path) else { return };
        awaited.retain(|(_, one)| !Arc::ptr_eq(one, queue));
        if awaited.is_empty() {
            self.under_way.remove(path);
        }
    }

    pub(crate) fn add(&mut self, kind: WatchKind, path: String, queue: Arc<Queue>) {
        self.recursive_count += usize::from(kind == WatchKind::PersistentRecursive);
        self.by_path.entry(path).or_default().push((kind, queue));
    }

    pub(crate) fn add_all(&mut self, queue: Arc<Queue>) {
        self.all.push(queue);
    }

    /// Gives an event on `path` (the server's) to those who listen; one-shot watches end with it.
    pub(crate) fn deliver(&mut self, path: &str, event: &WatchEvent) {
        self.all.retain(|queue| !queue.has_ended());
        for queue in &self.all {
            queue.push(event);
        }
        let used_up = WatchKind::used_up_by(event.kind);
        self.take(path, |kind, queue| {
            let is_used_up = used_up.contains(&kind);
            if is_used_up || kind == WatchKind::Persistent {
                queue.push(event);
            }
            if is_used_up {
                queue.end();
            }
            is_used_up
        });
        // Recursive watches never report changes of a list of children.
        if self.recursive_count > 0 && event.kind != EventType::NodeChildrenChanged {
            let mut at = path;
            loop {
                for (_, queue) in self
                    .by_path
                    .get(at)
                    .into_iter()
                    .flatten()
                    .filter(|(kind, _)| *kind == WatchKind::PersistentRecursive)
                {
                    queue.push(event);
                }
                at = match at.rfind('/') {
                    _ if at == "/" => break,
                    Some(0) => "/",
                    Some(end) => &at[..end],
                    None => break,
                };
            }
        }
    }

    /// The watches of this type are gone from the server: their streams end.
    pub(crate) fn remove(&mut self, of: WatcherType, path: &str) {
        let kinds = WatchKind::of_watcher_type(of);
        self.take(path, |kind, queue| {
            let is_meant = kinds.contains(&kind);
            if is_meant {
                queue.end();
            }
            is_meant
        });
    }

    /// Forgets listeners on `path` that have gone. `true` if nobody listens any more to watches of
    /// this type, nor waits for one: what takes a watch away would follow the request that sets it
    /// anew.
    pub(crate) fn prune(&mut self, path: &str, of: WatcherType) -> bool {
        self.take(path, |_, queue| queue.has_ended());
        self.all.retain(|queue| !queue.has_ended());
        let kinds = WatchKind::of_watcher_type(of);
        let mut listeners = self.by_path.get(path).into_iter().flatten();
        let is_heard = listeners.any(|(kind, _)| kinds.contains(kind));
        let mut awaited = self.under_way.get(path).into_iter().flatten();
        let is_awaited = awaited.any(|(kind, queue)| kinds.contains(kind) && !queue.has_ended());
        self.all.is_empty() && !is_heard && !is_awaited
    }

    /// The session is over: every stream ends.
    pub(crate) fn end(&mut self) {
        let registered = self.by_path.drain().flat_map(|(_, listeners)| listeners);
        for queue in registered.map(|(_, queue)| queue).chain(self.all.drain(..)) {
            queue.end();
        }
        self.recursive_count = 0;
    }

    /// Takes out the listeners on a path for which `is_done` says so.
    fn take(&mut self, path: &str, mut is_done: impl FnMut(WatchKind, &Queue) -> bool) {
        let Some(listeners) = self.by_path.get_mut(path) else { return };
        let mut recursive_gone = 0;
        listeners.retain(|(kind, queue)| {
            let is_done = is_done(*kind, queue);
            recursive_gone += usize::from(is_done && *kind == WatchKind::PersistentRecursive);
            !is_done
        });
        self.recursive_count -= recursive_gone;
        if listeners.is_empty() {
            self.by_path.remove(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(kind: WatchKind, on: &str, event: EventType, path: &str) -> bool {
        let mut registry = Registry::default();
        let queue = Queue::new(9);
        registry.add(kind, on.to_owned(), queue.clone());
        let event = WatchEvent { kind: event, path: path.to_owned(), zxid: None };
        registry.deliver(path, &event);
        let mut watch = crate::Watch { queue, place: None };
        watch.try_next().is_some()
    }

    #[test]
    fn who_hears_what() {
        use EventType::{NodeChildrenChanged, NodeCreated, NodeDataChanged, NodeDeleted};
        use WatchKind::{Child, Data, Exist, Persistent, PersistentRecursive};
        for (kind, on, event, path, want) in [
            (Data, "/a", NodeDataChanged, "/a", true),
            (Data, "/a", NodeChildrenChanged, "/a", false),
            (Exist, "/a", NodeCreated, "/a", true),
            (Child, "/a", NodeChildrenChanged, "/a", true),
            (Child, "/a", NodeDeleted, "/a", true),
            (Child, "/a", NodeDataChanged, "/a", false),
            (Persistent, "/a", NodeChildrenChanged, "/a", true),
            (Persistent, "/a", NodeCreated, "/a/b", false),
            (PersistentRecursive, "/a", NodeCreated, "/a", true),
            (PersistentRecursive, "/a", NodeCreated, "/a/b/c", true),
            (PersistentRecursive, "/a", NodeCreated, "/ab", false),
            (PersistentRecursive, "/a", NodeChildrenChanged, "/a", false),
            (PersistentRecursive, "/", NodeDeleted, "/x", true),
            (PersistentRecursive, "/", NodeDataChanged, "/", true),
        ] {
            assert_eq!(fired(kind, on, event, path), want, "{kind:?} on {on}, {event:?} {path}");
        }
    }

    #[test]
    fn one_shot_streams_end_with_their_event_and_all_end_with_the_session() {
        let mut registry = Registry::default();
        let (data, stays, all) = (Queue::new(9), Queue::new(9), Queue::new(9));
        registry.add(WatchKind::Data, "/a".to_owned(), data.clone());
        registry.add(WatchKind::Persistent, "/a".to_owned(), stays.clone());
        registry.add_all(all.clone());
        let event =
            WatchEvent { kind: EventType::NodeDataChanged, path: "/a".to_owned(), zxid: None };
        registry.deliver("/a", &event);
        assert!(data.has_ended() && !stays.has_ended());
        assert!(!registry.prune("/a", WatcherType::Data), "somebody listens to everything");
        registry.end();
        assert!(stays.has_ended() && all.has_ended());
    }

    #[test]
    fn the_last_listener_is_noticed() {
        let mut registry = Registry::default();
        let (one, two) = (Queue::new(9), Queue::new(9));
        registry.add(WatchKind::Persistent, "/a".to_owned(), one.clone());
        registry.add(WatchKind::Persistent, "/a".to_owned(), two.clone());
        one.end();
        assert!(registry.prune("/a", WatcherType::Data));
        assert!(!registry.prune("/a", WatcherType::Persistent));
        two.end();
        assert!(registry.prune("/a", WatcherType::Persistent));
    }

    #[test]
    fn who_waits_for_a_watch_counts_as_a_listener_and_hears_nothing_yet() {
        let mut registry = Registry::default();
        let (awaited, all) = (Queue::new(9), Queue::new(9));
        registry.expect(WatchKind::Persistent, "/a".to_owned(), awaited.clone());
        assert!(!registry.prune("/a", WatcherType::Persistent));
        assert!(registry.prune("/a", WatcherType::PersistentRecursive));
        assert!(registry.prune("/b", WatcherType::Persistent));
        let event = WatchEvent { kind: EventType::NodeCreated, path: "/a".to_owned(), zxid: None };
        registry.deliver("/a", &event);
        let mut watch = crate::Watch { queue: awaited.clone(), place: None };
        assert_eq!(watch.try_next(), None);
        drop(watch);
        assert!(registry.prune("/a", WatcherType::Persistent), "it was given up");
        registry.arrived("/a", &awaited);
        assert_eq!(registry.under_way.len(), 0);
        registry.add_all(all.clone());
        assert!(!registry.prune("/a", WatcherType::Persistent));
        all.end();
        assert!(registry.prune("/a", WatcherType::Persistent));
    }

    #[test]
    fn removed_watches_end() {
        let mut registry = Registry::default();
        let recursive = Queue::new(9);
        registry.add(WatchKind::PersistentRecursive, "/a".to_owned(), recursive.clone());
        registry.remove(WatcherType::Data, "/a");
        assert!(!recursive.has_ended());
        registry.remove(WatcherType::Any, "/a");
        assert!(recursive.has_ended());
        assert_eq!(registry.recursive_count, 0);
    }
}
