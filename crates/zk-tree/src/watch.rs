//! Watches: who waits for what, and who is told (client-protocol 10).
//!
//! Two registries as in Apache, *data* and *child*, here as two sets of modes per watcher of a
//! path. Watches belong to a connection and end with it.

use hashbrown::HashMap;
use std::collections::BTreeSet;
use zk_proto::watch::{AddWatchMode, EventType, WatcherType};

/// A client connection, numbered by the server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId(pub u64);

/// A set of watch modes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Modes(u8);

impl Modes {
    const STANDARD: Modes = Modes(1);
    const PERSISTENT: Modes = Modes(2);
    const RECURSIVE: Modes = Modes(4);
    const ALL: Modes = Modes(7);

    fn has(self, other: Modes) -> bool {
        self.0 & other.0 != 0
    }
    fn add(&mut self, other: Modes) {
        self.0 |= other.0;
    }
    /// Whether anything was there to remove.
    fn remove(&mut self, other: Modes) -> bool {
        let had = self.has(other);
        self.0 &= !other.0;
        had
    }
}

/// Which registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Data,
    Child,
}

#[derive(Clone, Copy, Debug)]
struct Watcher {
    conn: ConnId,
    data: Modes,
    child: Modes,
}

impl Watcher {
    fn modes(&mut self, kind: Kind) -> &mut Modes {
        match kind {
            Kind::Data => &mut self.data,
            Kind::Child => &mut self.child,
        }
    }
    fn is_idle(&self) -> bool {
        self.data.0 | self.child.0 == 0
    }
}

/// Number of a watched path.
type PathNo = u32;

/// With room for so many paths, what is not needed of it is given back once no more than these few
/// are watched: to put them into a smaller table takes about 3 ms.
const MANY_PATHS: usize = 1 << 18;
const FEW_PATHS: usize = 1 << 15;

#[derive(Debug)]
struct Watched {
    path: Box<str>,
    /// By connection.
    watchers: Vec<Watcher>,
    /// How many of them have data watches.
    data: u32,
}

/// All watches of a member.
#[derive(Debug)]
pub struct Watches {
    numbers: HashMap<Box<str>, PathNo, foldhash::fast::FixedState>,
    watched: Vec<Watched>,
    free: Vec<PathNo>,
    by_conn: HashMap<ConnId, BTreeSet<PathNo>, foldhash::fast::FixedState>,
    sums: Sums,
}

/// What would take a look at all watches to count.
#[derive(Debug, Default)]
struct Sums {
    /// Recursive watches; without any, no ancestors are looked at.
    recursive: usize,
    /// Paths with data watches.
    data_paths: usize,
    data_watches: usize,
    child_watches: usize,
}

impl Sums {
    /// A watcher has lost modes; `data` counts those of its path that have data watches.
    fn lost(&mut self, before: Watcher, after: Watcher, data: &mut u32) {
        if before.data.0 != 0 && after.data.0 == 0 {
            *data -= 1;
            self.data_watches -= 1;
            self.data_paths -= usize::from(*data == 0);
        }
        self.child_watches -= usize::from(before.child.0 != 0 && after.child.0 == 0);
        self.recursive -=
            usize::from(before.data.has(Modes::RECURSIVE) && !after.data.has(Modes::RECURSIVE));
    }
}

impl Watches {
    /// No watches; the seed is for the hashes.
    #[must_use]
    pub fn new(seed: u64) -> Watches {
        Watches {
            numbers: HashMap::with_hasher(foldhash::fast::FixedState::with_seed(seed)),
            watched: Vec::new(),
            free: Vec::new(),
            by_conn: HashMap::with_hasher(foldhash::fast::FixedState::with_seed(seed)),
            sums: Sums::default(),
        }
    }

    /// Whether nobody watches anything.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// A one-shot watch on a znode's data, or on its creation.
    pub fn add_data(&mut self, path: &str, conn: ConnId) {
        self.add(path, conn, Some(Modes::STANDARD), None);
    }

    /// A one-shot watch on a znode's children.
    pub fn add_child(&mut self, path: &str, conn: ConnId) {
        self.add(path, conn, None, Some(Modes::STANDARD));
    }

    /// A watch that stays.
    pub fn add_persistent(&mut self, path: &str, conn: ConnId, mode: AddWatchMode) {
        match mode {
            AddWatchMode::Persistent => {
                self.add(path, conn, Some(Modes::PERSISTENT), Some(Modes::PERSISTENT));
            }
            AddWatchMode::PersistentRecursive => self.add(path, conn, Some(Modes::RECURSIVE), None),
        }
    }

    fn add(&mut self, path: &str, conn: ConnId, data: Option<Modes>, child: Option<Modes>) {
        let number = self.number(path);
        let Watched { watchers, data: data_watchers, .. } = &mut self.watched[number as usize];
        let at = match watchers.binary_search_by_key(&conn, |watcher| watcher.conn) {
            Ok(at) => at,
            Err(at) => {
                watchers
                    .insert(at, Watcher { conn, data: Modes::default(), child: Modes::default() });
                self.by_conn.entry(conn).or_default().insert(number);
                at
            }
        };
        let watcher = &mut watchers[at];
        if let Some(modes) = data {
            if watcher.data.0 == 0 {
                self.sums.data_paths += usize::from(*data_watchers == 0);
                self.sums.data_watches += 1;
                *data_watchers += 1;
            }
            self.sums.recursive +=
                usize::from(modes == Modes::RECURSIVE && !watcher.data.has(Modes::RECURSIVE));
            watcher.data.add(modes);
        }
        if let Some(modes) = child {
            self.sums.child_watches += usize::from(watcher.child.0 == 0);
            watcher.child.add(modes);
        }
    }

    fn number(&mut self, path: &str) -> PathNo {
        if let Some(&number) = self.numbers.get(path) {
            return number;
        }
        let entry = Watched { path: path.into(), watchers: Vec::new(), data: 0 };
        let number = match self.free_number() {
            Some(number) => {
                self.watched[number as usize] = entry;
                number
            }
            None => {
                self.watched.push(entry);
                (self.watched.len() - 1) as PathNo
            }
        };
        self.numbers.insert(path.into(), number);
        number
    }

    /// A number that nothing has.
    fn free_number(&mut self) -> Option<PathNo> {
        // The table may have ended before a number, and begun again with it.
        let is_free = |number: PathNo| {
            self.watched.get(number as usize).is_some_and(|watched| watched.watchers.is_empty())
        };
        std::iter::from_fn(|| self.free.pop()).find(|&number| is_free(number))
    }

    /// Removes modes of one watcher; says whether there was one. Tidies up what becomes empty.
    fn take(&mut self, number: PathNo, conn: ConnId, kind: Kind, modes: Modes) -> bool {
        let Watched { watchers, data, .. } = &mut self.watched[number as usize];
        let Ok(at) = watchers.binary_search_by_key(&conn, |watcher| watcher.conn) else {
            return false;
        };
        let watcher = &mut watchers[at];
        let before = *watcher;
        let had = watcher.modes(kind).remove(modes);
        let watcher = *watcher;
        self.sums.lost(before, watcher, data);
        if watcher.is_idle() {
            watchers.remove(at);
            forget(&mut self.by_conn, conn, number);
            self.drop_if_unwatched(number);
        }
        had
    }

    /// The one-shot watches of a path have done their work: all of them in one pass, for there may
    /// be one of every client.
    fn use_up(&mut self, number: PathNo, kind: Kind) {
        let Watches { watched, by_conn, sums, .. } = self;
        let Watched { watchers, data, .. } = &mut watched[number as usize];
        watchers.retain_mut(|watcher| {
            let before = *watcher;
            watcher.modes(kind).remove(Modes::STANDARD);
            sums.lost(before, *watcher, data);
            if watcher.is_idle() {
                forget(by_conn, watcher.conn, number);
            }
            !watcher.is_idle()
        });
        self.drop_if_unwatched(number);
    }

    fn drop_if_unwatched(&mut self, number: PathNo) {
        let watched = &mut self.watched[number as usize];
        if watched.watchers.is_empty() {
            let path = std::mem::take(&mut watched.path);
            watched.watchers = Vec::new();
            self.numbers.remove(&path);
            if number as usize + 1 < self.watched.len() {
                self.free.push(number);
            }
            while self.watched.last().is_some_and(|last| last.watchers.is_empty()) {
                self.watched.pop();
            }
        }
    }

    /// A znode was created.
    pub fn created(&mut self, path: &str, tell: &mut impl FnMut(ConnId, EventType, &str)) {
        self.fire(Kind::Data, path, EventType::NodeCreated, &mut Vec::new(), tell);
        self.fire_parent(path, tell);
    }

    /// A znode was deleted; nobody is told twice.
    pub fn deleted(&mut self, path: &str, tell: &mut impl FnMut(ConnId, EventType, &str)) {
        let mut told = Vec::new();
        self.fire(Kind::Data, path, EventType::NodeDeleted, &mut told, tell);
        self.fire(Kind::Child, path, EventType::NodeDeleted, &mut told, tell);
        self.fire_parent(path, tell);
    }

    /// A znode's data was set.
    pub fn data_changed(&mut self, path: &str, tell: &mut impl FnMut(ConnId, EventType, &str)) {
        self.fire(Kind::Data, path, EventType::NodeDataChanged, &mut Vec::new(), tell);
    }

    fn fire_parent(&mut self, path: &str, tell: &mut impl FnMut(ConnId, EventType, &str)) {
        let parent = match zk_proto::path::split(path) {
            Some(("", _)) => "/",
            Some((parent, _)) => parent,
            None => return,
        };
        self.fire(Kind::Child, parent, EventType::NodeChildrenChanged, &mut Vec::new(), tell);
    }

    /// Tells everybody who waits for `event` at `path`, but those in `told`.
    fn fire(
        &mut self,
        kind: Kind,
        path: &str,
        event: EventType,
        told: &mut Vec<ConnId>,
        tell: &mut impl FnMut(ConnId, EventType, &str),
    ) {
        let already = told.len();
        if let Some(&number) = self.numbers.get(path) {
            let before: BTreeSet<ConnId> = told.iter().copied().collect();
            let mut one_shots = false;
            for watcher in &mut self.watched[number as usize].watchers {
                let modes = *watcher.modes(kind);
                one_shots |= modes.has(Modes::STANDARD);
                let skip = event == EventType::NodeChildrenChanged && modes == Modes::RECURSIVE;
                if modes.has(Modes::ALL) && !skip && !before.contains(&watcher.conn) {
                    told.push(watcher.conn);
                }
            }
            if one_shots {
                self.use_up(number, kind);
            }
        }
        if self.sums.recursive > 0 && kind == Kind::Data {
            self.collect_recursive(path, told);
        }
        for &conn in &told[already..] {
            tell(conn, event, path);
        }
    }

    /// Adds the connections with a recursive watch on an ancestor.
    fn collect_recursive(&self, path: &str, told: &mut Vec<ConnId>) {
        let mut seen: BTreeSet<ConnId> = told.iter().copied().collect();
        let mut at = path;
        while at != "/" {
            at = match zk_proto::path::split(at) {
                Some(("", _)) => "/",
                Some((parent, _)) => parent,
                None => return,
            };
            let Some(&number) = self.numbers.get(at) else { continue };
            for watcher in &self.watched[number as usize].watchers {
                if watcher.data.has(Modes::RECURSIVE) && seen.insert(watcher.conn) {
                    told.push(watcher.conn);
                }
            }
        }
    }

    /// Removes watches of a connection; false if there were none (client-protocol 10.5).
    pub fn remove(&mut self, path: &str, conn: ConnId, which: WatcherType) -> bool {
        let Some(&number) = self.numbers.get(path) else { return false };
        match which {
            WatcherType::Children => self.take(number, conn, Kind::Child, Modes::STANDARD),
            WatcherType::Data => self.take(number, conn, Kind::Data, Modes::STANDARD),
            WatcherType::Any => self.remove_both(path, conn, Modes::ALL),
            WatcherType::Persistent => self.remove_both(path, conn, Modes::PERSISTENT),
            WatcherType::PersistentRecursive => self.remove_both(path, conn, Modes::RECURSIVE),
        }
    }

    fn remove_both(&mut self, path: &str, conn: ConnId, modes: Modes) -> bool {
        let mut had = false;
        for kind in [Kind::Data, Kind::Child] {
            // The first removal may have dropped the path, and another may have its number.
            if let Some(&number) = self.numbers.get(path) {
                had |= self.take(number, conn, kind, modes);
            }
        }
        had
    }

    /// Whether a connection has such watches.
    #[must_use]
    pub fn contains(&self, path: &str, conn: ConnId, which: WatcherType) -> bool {
        let Some(&number) = self.numbers.get(path) else { return false };
        let watchers = &self.watched[number as usize].watchers;
        let Ok(at) = watchers.binary_search_by_key(&conn, |watcher| watcher.conn) else {
            return false;
        };
        let Watcher { data, child, .. } = watchers[at];
        match which {
            WatcherType::Children => child.has(Modes::STANDARD),
            WatcherType::Data => data.has(Modes::STANDARD),
            WatcherType::Any => true,
            WatcherType::Persistent => data.has(Modes::PERSISTENT) || child.has(Modes::PERSISTENT),
            WatcherType::PersistentRecursive => {
                data.has(Modes::RECURSIVE) || child.has(Modes::RECURSIVE)
            }
        }
    }

    /// Forgets what a connection watches, `most` paths of it; whether there are more. A part at a
    /// time, for a connection may have a million.
    pub fn remove_some(&mut self, conn: ConnId, most: usize) -> bool {
        let Some(paths) = self.by_conn.get_mut(&conn) else { return false };
        // The highest numbers first: the table may end before them then.
        let part: Vec<PathNo> = std::iter::from_fn(|| paths.pop_last()).take(most).collect();
        let has_more = !paths.is_empty();
        if !has_more {
            self.by_conn.remove(&conn);
        }
        for number in part {
            let Watched { watchers, data, .. } = &mut self.watched[number as usize];
            if let Ok(at) = watchers.binary_search_by_key(&conn, |watcher| watcher.conn) {
                let none = Modes::default();
                self.sums.lost(
                    watchers.remove(at),
                    Watcher { conn, data: none, child: none },
                    data,
                );
                self.drop_if_unwatched(number);
            }
        }
        if !has_more {
            self.give_back();
        }
        has_more
    }

    /// Forgets a connection, for who does not mind how long that takes.
    pub fn remove_connection(&mut self, conn: ConnId) {
        self.remove_some(conn, usize::MAX);
    }

    /// Gives back the memory of very many watches that are gone, when few enough are left for that
    /// to take no time.
    fn give_back(&mut self) {
        let Watches { numbers, watched, free, .. } = self;
        if numbers.capacity() > MANY_PATHS && numbers.len() <= FEW_PATHS {
            numbers.shrink_to(2 * FEW_PATHS);
            watched.shrink_to(2 * FEW_PATHS);
            free.retain(|&number| (number as usize) < watched.len());
            free.shrink_to(2 * FEW_PATHS);
        }
    }

    /// Data watches, watched paths and watching connections, as `wchs` counts them.
    #[must_use]
    pub fn counts(&self) -> WatchCounts {
        WatchCounts {
            connections: self.by_conn.len(),
            paths: self.sums.data_paths,
            data: self.sums.data_watches,
            total: self.sums.data_watches + self.sums.child_watches,
        }
    }

    /// Data watches by path, for `wchp` and `wchc`, in no order: a part of them, of about `most`,
    /// and where the next part begins; `None` at the end. What changes between two parts may be in
    /// both or in none.
    pub fn list(
        &self,
        from: usize,
        most: usize,
        mut tell: impl FnMut(&str, Vec<ConnId>),
    ) -> Option<usize> {
        let mut room = most.max(1);
        let mut at = from;
        while let Some(watched) = self.watched.get(at).filter(|_| room > 0) {
            let watchers = watched.watchers.iter().filter(|watcher| watcher.data.0 != 0);
            let conns = watchers.map(|watcher| watcher.conn).collect::<Vec<_>>();
            at += 1;
            room = room.saturating_sub(conns.len().max(1));
            if !conns.is_empty() {
                tell(&watched.path, conns);
            }
        }
        (at < self.watched.len()).then_some(at)
    }
}

/// A connection no longer watches a path.
fn forget(
    by_conn: &mut HashMap<ConnId, BTreeSet<PathNo>, foldhash::fast::FixedState>,
    conn: ConnId,
    number: PathNo,
) {
    if let Some(paths) = by_conn.get_mut(&conn) {
        paths.remove(&number);
        if paths.is_empty() {
            by_conn.remove(&conn);
        }
    }
}

/// See [`Watches::counts`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WatchCounts {
    /// Connections with watches.
    pub connections: usize,
    /// Paths with data watches.
    pub paths: usize,
    /// Data watches.
    pub data: usize,
    /// Data and child watches: Apache's metric `watch_count`.
    pub total: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConnId = ConnId(1);
    const B: ConnId = ConnId(2);

    fn told(run: impl FnOnce(&mut dyn FnMut(ConnId, EventType, &str))) -> Vec<(u64, i32, String)> {
        let mut list = Vec::new();
        run(&mut |conn, event, path| list.push((conn.0, event.code(), path.to_string())));
        list
    }
    fn created(w: &mut Watches, path: &str) -> Vec<(u64, i32, String)> {
        told(|mut tell| w.created(path, &mut tell))
    }
    fn deleted(w: &mut Watches, path: &str) -> Vec<(u64, i32, String)> {
        told(|mut tell| w.deleted(path, &mut tell))
    }
    fn set(w: &mut Watches, path: &str) -> Vec<(u64, i32, String)> {
        told(|mut tell| w.data_changed(path, &mut tell))
    }
    fn is(list: &[(u64, i32, String)], want: &[(u64, i32, &str)]) {
        let list: Vec<_> = list.iter().map(|(c, e, p)| (*c, *e, p.as_str())).collect();
        assert_eq!(list, want);
    }

    #[test]
    fn one_shot_watches_fire_once() {
        let mut w = Watches::new(1);
        w.add_data("/a", A);
        w.add_data("/a", A);
        w.add_child("/", B);
        is(&created(&mut w, "/a"), &[(1, 1, "/a"), (2, 4, "/")]);
        is(&created(&mut w, "/a"), &[]);
        assert!(w.is_empty());
    }

    #[test]
    fn a_deletion_is_told_once_to_each() {
        let mut w = Watches::new(1);
        w.add_data("/a", A);
        w.add_child("/a", A);
        w.add_child("/a", B);
        is(&deleted(&mut w, "/a"), &[(1, 2, "/a"), (2, 2, "/a")]);
        assert!(w.is_empty());
    }

    #[test]
    fn persistent_watches_stay() {
        let mut w = Watches::new(1);
        w.add_persistent("/a", A, AddWatchMode::Persistent);
        w.add_data("/a", A);
        is(&set(&mut w, "/a"), &[(1, 3, "/a")]);
        is(&set(&mut w, "/a"), &[(1, 3, "/a")]);
        is(&created(&mut w, "/a/b"), &[(1, 4, "/a")]);
        assert!(!w.contains("/a", A, WatcherType::Data));
        assert!(w.remove("/a", A, WatcherType::Persistent));
        assert!(w.is_empty());
    }

    #[test]
    fn recursive_watches_cover_the_subtree_by_components() {
        let mut w = Watches::new(1);
        w.add_persistent("/r", A, AddWatchMode::PersistentRecursive);
        w.add_persistent("/", A, AddWatchMode::PersistentRecursive);
        is(&created(&mut w, "/r/x/y"), &[(1, 1, "/r/x/y")]);
        is(&set(&mut w, "/r"), &[(1, 3, "/r")]);
        assert!(w.remove("/", A, WatcherType::Any));
        is(&created(&mut w, "/rx"), &[]);
        is(&deleted(&mut w, "/r"), &[(1, 2, "/r")]);
    }

    #[test]
    fn a_child_watch_works_beside_a_recursive_one() {
        let mut w = Watches::new(1);
        w.add_persistent("/r", A, AddWatchMode::PersistentRecursive);
        w.add_child("/r", A);
        is(&created(&mut w, "/r/x"), &[(1, 1, "/r/x"), (1, 4, "/r")]);
        is(&created(&mut w, "/r/y"), &[(1, 1, "/r/y")]);
    }

    #[test]
    fn a_connection_takes_its_watches_along() {
        let mut w = Watches::new(1);
        for path in ["/a", "/b"] {
            w.add_data(path, A);
            w.add_child(path, A);
            w.add_persistent(path, B, AddWatchMode::PersistentRecursive);
        }
        assert!(!w.remove_some(A, 2));
        assert_eq!(w.counts(), WatchCounts { connections: 1, paths: 2, data: 2, total: 2 });
        w.remove_connection(B);
        assert!(w.is_empty());
        assert_eq!(w.counts(), WatchCounts::default());
        assert_eq!(w.sums.recursive, 0);
    }

    #[test]
    fn counts_are_those_of_a_count() {
        let mut w = Watches::new(1);
        let mut state = 1u64;
        let mut pick = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % n
        };
        let types = [
            WatcherType::Children,
            WatcherType::Data,
            WatcherType::Any,
            WatcherType::Persistent,
            WatcherType::PersistentRecursive,
        ];
        for _ in 0..20_000 {
            let (path, conn) = (["/", "/a", "/a/b", "/c"][pick(4) as usize], ConnId(pick(3)));
            match pick(9) {
                0 => w.add_data(path, conn),
                1 => w.add_child(path, conn),
                2 => w.add_persistent(path, conn, AddWatchMode::Persistent),
                3 => w.add_persistent(path, conn, AddWatchMode::PersistentRecursive),
                4 => w.created(path, &mut |_, _, _| {}),
                5 => w.deleted(path, &mut |_, _, _| {}),
                6 => w.data_changed(path, &mut |_, _, _| {}),
                7 => drop(w.remove(path, conn, types[pick(5) as usize])),
                _ => drop(w.remove_some(conn, 1 + pick(3) as usize)),
            }
            let all = || w.watched.iter().flat_map(|watched| &watched.watchers);
            let data = all().filter(|watcher| watcher.data.0 != 0).count();
            let child = all().filter(|watcher| watcher.child.0 != 0).count();
            let (mut paths, mut listed, mut from) = (0, 0, Some(0));
            while let Some(at) = from {
                from = w.list(at, 2, |_, conns| {
                    paths += 1;
                    listed += conns.len();
                });
            }
            assert_eq!(listed, data);
            let connections = w.by_conn.len();
            let counts = WatchCounts { connections, paths, data, total: data + child };
            assert_eq!(w.counts(), counts);
        }
    }

    #[test]
    fn a_part_of_a_connection_s_watches_goes_at_a_time() {
        let mut w = Watches::new(1);
        let path = |number| format!("/p{number}");
        for number in 0..10 {
            w.add_data(&path(number), A);
            w.add_persistent(&path(number), A, AddWatchMode::PersistentRecursive);
            w.add_child(&path(number), B);
        }
        for left in [7, 4, 1] {
            assert!(w.remove_some(A, 3));
            let total = left + 10;
            assert_eq!(w.counts(), WatchCounts { connections: 2, paths: left, data: left, total });
            let mut listed = 0;
            assert_eq!(w.list(0, 100, |_, conns| listed += conns.len()), None);
            assert_eq!((listed, w.sums.recursive), (left, left));
        }
        assert!(!w.remove_some(A, 3) && !w.remove_some(A, 3));
        assert_eq!(w.counts(), WatchCounts { connections: 1, paths: 0, data: 0, total: 10 });
        is(&created(&mut w, "/p3/x"), &[(2, 4, "/p3")]);
    }

    #[test]
    fn what_a_million_watches_took_is_given_back() {
        let mut w = Watches::new(1);
        let path = |number| format!("/p{number}");
        for number in 0..MANY_PATHS {
            // Somebody stays, from the beginning.
            w.add_data(&path(number), if number < 5 { B } else { A });
        }
        let room = |w: &Watches| [w.numbers.capacity(), w.watched.capacity(), w.free.capacity()];
        assert!(room(&w)[..2].iter().all(|&room| room >= MANY_PATHS));
        while w.remove_some(A, 1000) {}
        assert!(room(&w).iter().all(|&room| room < MANY_PATHS), "{:?}", room(&w));
        assert_eq!(w.watched.len(), 5);
        // Numbers that were given up are used again, and none twice.
        for number in 5..10 {
            w.add_data(&path(number), A);
        }
        assert!(w.remove(&path(7), A, WatcherType::Data));
        assert!((0..10).all(|n| w.contains(
            &path(n),
            ConnId(1 + u64::from(n < 5)),
            WatcherType::Any
        ) == (n != 7)));
        assert_eq!((w.watched.len(), w.counts().data), (10, 9));
    }

    #[test]
    fn types_one_and_two_touch_only_one_shot_watches() {
        let mut w = Watches::new(1);
        w.add_persistent("/a", A, AddWatchMode::Persistent);
        assert!(!w.remove("/a", A, WatcherType::Data));
        assert!(!w.remove("/a", A, WatcherType::Children));
        assert!(!w.remove("/a", B, WatcherType::Any));
        assert!(w.remove("/a", A, WatcherType::Any));
        assert!(!w.remove("/a", A, WatcherType::Any));
    }
}
