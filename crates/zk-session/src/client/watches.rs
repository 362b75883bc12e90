//! Which watches a session has: what it must set again on a new connection.
//!
//! Mirrors the client half of `ZKWatchManager` and the batches of `SendThread.primeConnection`.

use std::collections::BTreeSet;

use zk_proto::request::{Request, SetWatches2};
use zk_proto::watch::{AddWatchMode, EventType, WatcherType};
use zk_proto::{Text, Zxid};

/// How much path text one setWatches carries at most (`SET_WATCHES_MAX_LENGTH`); the last path of
/// a batch may go beyond.
const BATCH_BYTES_MAX: usize = 128 * 1024;

/// The kinds of watches, as setWatches2 lists them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum WatchKind {
    /// One-shot, on data of a znode that existed.
    Data,
    /// One-shot, on a znode that did not exist.
    Exist,
    /// One-shot, on children.
    Child,
    /// Stays.
    Persistent,
    /// Stays and covers the subtree.
    PersistentRecursive,
}

impl WatchKind {
    /// Every kind, in the order of a setWatches2.
    pub const ALL: [WatchKind; 5] = [
        WatchKind::Data,
        WatchKind::Exist,
        WatchKind::Child,
        WatchKind::Persistent,
        WatchKind::PersistentRecursive,
    ];

    /// The kinds that a removeWatches of this type takes away.
    #[must_use]
    pub const fn of_watcher_type(of: WatcherType) -> &'static [WatchKind] {
        match of {
            WatcherType::Children => &[WatchKind::Child],
            WatcherType::Data => &[WatchKind::Data, WatchKind::Exist],
            WatcherType::Any => &WatchKind::ALL,
            WatcherType::Persistent => &[WatchKind::Persistent],
            WatcherType::PersistentRecursive => &[WatchKind::PersistentRecursive],
        }
    }

    /// The one-shot kinds that an event on a path uses up (`ZKWatchManager.materialize`).
    #[must_use]
    pub const fn used_up_by(event: EventType) -> &'static [WatchKind] {
        match event {
            EventType::NodeCreated | EventType::NodeDataChanged => {
                &[WatchKind::Data, WatchKind::Exist]
            }
            EventType::NodeDeleted => &[WatchKind::Data, WatchKind::Exist, WatchKind::Child],
            EventType::NodeChildrenChanged => &[WatchKind::Child],
        }
    }

    /// The kind of a persistent watch.
    #[must_use]
    pub const fn of_mode(mode: AddWatchMode) -> WatchKind {
        match mode {
            AddWatchMode::Persistent => WatchKind::Persistent,
            AddWatchMode::PersistentRecursive => WatchKind::PersistentRecursive,
        }
    }
}

/// Paths with watches, by kind.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct WatchSets([BTreeSet<Box<str>>; 5]);

impl WatchSets {
    /// The paths of one kind, sorted.
    pub fn paths(&self, kind: WatchKind) -> impl Iterator<Item = &str> {
        self.0[kind as usize].iter().map(|path| &**path)
    }

    /// Whether there is such a watch.
    #[must_use]
    pub fn contains(&self, kind: WatchKind, path: &str) -> bool {
        self.0[kind as usize].contains(path)
    }

    /// Number of watches of all kinds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(BTreeSet::len).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(BTreeSet::is_empty)
    }

    /// A watch was set. On data and on a missing znode are one watch in the server: of the two the
    /// later one is true. The other was used up by a change that this session must not read, whose
    /// event the server kept; set again beside the later one, it would fire at once and leave a
    /// watch in the server that nobody here knows of.
    pub(super) fn insert(&mut self, kind: WatchKind, path: Box<str>) {
        match kind {
            WatchKind::Data => self.0[WatchKind::Exist as usize].remove(&path),
            WatchKind::Exist => self.0[WatchKind::Data as usize].remove(&path),
            WatchKind::Child | WatchKind::Persistent | WatchKind::PersistentRecursive => false,
        };
        self.0[kind as usize].insert(path);
    }

    pub(super) fn remove(&mut self, of: WatcherType, path: &str) {
        for kind in WatchKind::of_watcher_type(of) {
            self.0[*kind as usize].remove(path);
        }
    }

    /// An event came: the one-shot watches it answers are used up.
    pub(super) fn fire(&mut self, event: EventType, path: &str) {
        for kind in WatchKind::used_up_by(event) {
            self.0[*kind as usize].remove(path);
        }
    }

    /// Calls `send` with setWatches requests that set all of them again. The old form goes out
    /// unless the batch needs the new one, for servers before 3.6.
    pub(super) fn restore(&self, seen: Zxid, mut send: impl FnMut(&Request<'_>)) {
        let mut paths =
            WatchKind::ALL.into_iter().flat_map(|kind| self.paths(kind).map(move |p| (kind, p)));
        let mut next = paths.next();
        while next.is_some() {
            let mut lists: [Vec<Option<Text<'_>>>; 5] = Default::default();
            let mut bytes = 0;
            while let Some((kind, path)) = next.take_if(|_| bytes < BATCH_BYTES_MAX) {
                bytes += path.len();
                lists[kind as usize].push(Some(Text::Borrowed(path)));
                next = paths.next();
            }
            let [data, exist, child, persistent, persistent_recursive] = lists;
            let is_old = persistent.is_empty() && persistent_recursive.is_empty();
            let batch = SetWatches2 {
                relative_zxid: seen.0,
                data: Some(data),
                exist: Some(exist),
                child: Some(child),
                persistent: Some(persistent),
                persistent_recursive: Some(persistent_recursive),
            };
            send(&if is_old { Request::SetWatches(batch) } else { Request::SetWatches2(batch) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_proto::OpCode;

    fn batches(watches: &WatchSets) -> Vec<(OpCode, [usize; 5])> {
        let mut out = Vec::new();
        watches.restore(Zxid(5), |request| {
            let (Request::SetWatches(w) | Request::SetWatches2(w)) = request else { panic!() };
            assert_eq!(w.relative_zxid, 5);
            let lists = [&w.data, &w.exist, &w.child, &w.persistent, &w.persistent_recursive];
            out.push((request.opcode(), lists.map(|list| list.as_ref().unwrap().len())));
        });
        out
    }

    #[test]
    fn events_use_up_one_shot_watches_only() {
        let full = || {
            let mut watches = WatchSets::default();
            for kind in WatchKind::ALL {
                watches.insert(kind, "/a".into());
            }
            watches
        };
        for (event, left) in [
            (EventType::NodeCreated, 3),
            (EventType::NodeDataChanged, 3),
            (EventType::NodeDeleted, 2),
            (EventType::NodeChildrenChanged, 3),
        ] {
            let mut watches = full();
            watches.fire(event, "/b");
            assert_eq!(watches.len(), 4, "on data and on a missing znode are one");
            watches.fire(event, "/a");
            assert_eq!(watches.len(), left, "{event:?}");
        }
        let mut watches = full();
        watches.remove(WatcherType::Any, "/a");
        assert!(watches.is_empty());
    }

    /// Found by seed 20261129041973 of the simulation.
    #[test]
    fn of_watches_on_data_and_on_a_missing_znode_the_later_one_is_true() {
        for (first, then) in
            [(WatchKind::Data, WatchKind::Exist), (WatchKind::Exist, WatchKind::Data)]
        {
            let mut watches = WatchSets::default();
            watches.insert(first, "/a".into());
            watches.insert(first, "/b".into());
            watches.insert(then, "/a".into());
            assert!(watches.contains(then, "/a") && !watches.contains(first, "/a"));
            assert!(watches.contains(first, "/b"));
        }
    }

    #[test]
    fn the_old_form_serves_as_long_as_it_can() {
        let mut watches = WatchSets::default();
        assert_eq!(batches(&watches), []);
        watches.insert(WatchKind::Exist, "/a".into());
        watches.insert(WatchKind::Child, "/a".into());
        assert_eq!(batches(&watches), [(OpCode::SetWatches, [0, 1, 1, 0, 0])]);
        watches.insert(WatchKind::PersistentRecursive, "/".into());
        assert_eq!(batches(&watches), [(OpCode::SetWatches2, [0, 1, 1, 0, 1])]);
    }

    #[test]
    fn batches_hold_128_kib_of_paths() {
        let mut watches = WatchSets::default();
        for n in 0..300 {
            watches.insert(WatchKind::Data, format!("/{n:0>1023}").into());
        }
        watches.insert(WatchKind::Persistent, "/p".into());
        assert_eq!(
            batches(&watches),
            [
                (OpCode::SetWatches, [128, 0, 0, 0, 0]),
                (OpCode::SetWatches, [128, 0, 0, 0, 0]),
                (OpCode::SetWatches2, [44, 0, 0, 1, 0]),
            ]
        );
    }
}
