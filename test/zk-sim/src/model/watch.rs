//! Watches of one connection, and the events a change means for it (client-protocol 10).

use super::acl::{self, Id};
use super::code;
use super::state::{State, Znode, is_below, parent};
use super::write::Change;
use std::collections::BTreeSet;
use zk_proto::request::SetWatches2;

/// Which registry a watch stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// A znode's data, creation and deletion.
    Data,
    /// A znode's children, and its deletion.
    Child,
}

/// How long a watch stays and what it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Until it fires.
    Standard,
    /// Until it is removed.
    Persistent,
    /// Until it is removed, the whole subtree.
    Recursive,
}

/// A notification: the event's number, the path, and the zxid in the header.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// The transaction that fired it; -1 for a catch-up.
    pub zxid: i64,
    /// 1 created, 2 deleted, 3 data changed, 4 children changed.
    pub kind: i32,
    /// Which znode.
    pub path: String,
}

/// All watches of one connection.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    all: BTreeSet<(String, Table, Mode)>,
    /// Paths of one-shot watches that were used up without a word, for their connection may not
    /// read what happened: its client still believes in them.
    pub silenced: BTreeSet<String>,
}

impl Registry {
    /// Whether there are no watches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Adds a one-shot watch.
    pub fn add(&mut self, path: &str, table: Table) {
        self.all.insert((path.into(), table, Mode::Standard));
    }

    /// addWatch: mode 0 stays, mode 1 covers the subtree.
    pub fn add_persistent(&mut self, path: &str, is_recursive: bool) {
        if is_recursive {
            self.all.insert((path.into(), Table::Data, Mode::Recursive));
        } else {
            self.all.insert((path.into(), Table::Data, Mode::Persistent));
            self.all.insert((path.into(), Table::Child, Mode::Persistent));
        }
    }

    /// Paths of all watches: one-shot data, one-shot child, persistent, recursive.
    #[must_use]
    pub fn paths(&self) -> [BTreeSet<String>; 4] {
        let of = |table: Table, mode: Mode| {
            let those = self.all.iter().filter(|(_, t, m)| (*t, *m) == (table, mode));
            those.map(|(path, ..)| path.clone()).collect()
        };
        [
            of(Table::Data, Mode::Standard),
            of(Table::Child, Mode::Standard),
            of(Table::Data, Mode::Persistent),
            of(Table::Data, Mode::Recursive),
        ]
    }

    /// Whether a watch stands on exactly this path.
    fn has(&self, path: &str, table: Table, mode: Mode) -> bool {
        self.all.contains(&(path.to_string(), table, mode))
    }

    /// Those that checkWatches and removeWatches mean by `kind`; `None` for an unknown kind.
    fn meant(&self, path: &str, kind: i32) -> Option<Vec<(String, Table, Mode)>> {
        let is_meant = |table: Table, mode: Mode| match kind {
            1 => Some((table, mode) == (Table::Child, Mode::Standard)),
            2 => Some((table, mode) == (Table::Data, Mode::Standard)),
            3 => Some(true),
            4 => Some(mode == Mode::Persistent),
            5 => Some(mode == Mode::Recursive),
            _ => None,
        };
        is_meant(Table::Data, Mode::Standard)?;
        let here = self.all.iter().filter(|(at, ..)| at == path);
        Some(here.filter(|(_, t, m)| is_meant(*t, *m) == Some(true)).cloned().collect())
    }

    /// Whether there are such watches; with `remove` they go. `None` for an unknown kind.
    pub fn find(&mut self, path: Option<&str>, kind: i32, remove: bool) -> Option<bool> {
        let meant = self.meant(path.unwrap_or("no znode has a null path"), kind)?;
        if remove {
            self.all.retain(|watch| !meant.contains(watch));
        }
        Some(!meant.is_empty())
    }

    /// The event of a change in one table, if this connection waits for it.
    fn fire(&mut self, table: Table, path: &str) -> bool {
        let standard = self.all.remove(&(path.to_string(), table, Mode::Standard));
        let above = |(top, t, mode): &(String, Table, Mode)| {
            // Nothing is below the path "", although reads take it for the root.
            (*t, *mode) == (Table::Data, Mode::Recursive)
                && (top == path || (!top.is_empty() && is_below(path, top)))
        };
        standard
            || self.has(path, table, Mode::Persistent)
            || (table == Table::Data && self.all.iter().any(above))
    }

    /// What a change means here: events in order, those that may not be seen left out.
    pub fn events(&mut self, zxid: i64, change: &Change, ids: &[Id]) -> Vec<Event> {
        let Change { kind, path, .. } = change;
        let mut fired = Vec::new();
        let mut told = self.fire(Table::Data, path);
        if *kind == 2 {
            told |= self.fire(Table::Child, path);
        }
        if told && acl::check(&change.acl, acl::READ, ids).is_ok() {
            fired.push(Event { zxid, kind: *kind, path: path.clone() });
        } else if told {
            self.silenced.insert(path.clone());
        }
        if let Some(above) = parent(path).filter(|_| *kind != 3)
            && self.fire(Table::Child, above)
        {
            match acl::check(&change.parent_acl, acl::READ, ids) {
                Ok(()) => fired.push(Event { zxid, kind: 4, path: above.into() }),
                Err(_) => {
                    self.silenced.insert(above.into());
                }
            }
        }
        fired
    }

    /// setWatches: what was missed and may be read is told, the rest is set again (10.7). A null
    /// list, or a null path in one of the first three, ends it.
    pub fn restore(
        &mut self,
        state: &State,
        ids: &[Id],
        request: &SetWatches2<'_>,
        missed: &mut Vec<Event>,
    ) -> Result<(), i32> {
        let since = request.relative_zxid;
        let may = |node: &Znode| acl::check(&node.acl, acl::READ, ids).is_ok();
        let mut tell = |kind, path: &str| missed.push(Event { zxid: -1, kind, path: path.into() });
        for path in request.data.as_ref().ok_or(code::MARSHALLING)? {
            let path = path.as_deref().ok_or(code::MARSHALLING)?;
            match state.node(path) {
                None => tell(2, path),
                Some(node) if node.mzxid > since && may(node) => tell(3, path),
                Some(_) => self.add(path, Table::Data),
            }
        }
        for path in request.exist.as_ref().ok_or(code::MARSHALLING)? {
            let path = path.as_deref().ok_or(code::MARSHALLING)?;
            match state.node(path) {
                Some(node) if may(node) => tell(1, path),
                _ => self.add(path, Table::Data),
            }
        }
        for path in request.child.as_ref().ok_or(code::MARSHALLING)? {
            let path = path.as_deref().ok_or(code::MARSHALLING)?;
            match state.node(path) {
                None => tell(2, path),
                Some(node) if node.pzxid > since && may(node) => tell(4, path),
                Some(_) => self.add(path, Table::Child),
            }
        }
        let persistent = [(&request.persistent, false), (&request.persistent_recursive, true)];
        for (list, recursive) in persistent {
            let paths = list.iter().flatten().flatten();
            paths.for_each(|path| self.add_persistent(path, recursive));
            list.as_ref().ok_or(code::MARSHALLING)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: i32, path: &str) -> Change {
        let open = vec![acl::Entry::new(31, "world", "anyone")];
        Change { kind, path: path.into(), acl: open.clone(), parent_acl: open }
    }

    fn told(registry: &mut Registry, kind: i32, path: &str) -> Vec<(i32, String)> {
        let events = registry.events(9, &change(kind, path), &[]);
        events.into_iter().map(|event| (event.kind, event.path)).collect()
    }

    #[test]
    fn one_event_a_table_and_one_shots_go() {
        let mut registry = Registry::default();
        registry.add("/a", Table::Data);
        registry.add("/a", Table::Child);
        registry.add("/", Table::Child);
        assert_eq!(told(&mut registry, 2, "/a"), [(2, "/a".into()), (4, "/".into())]);
        assert_eq!(told(&mut registry, 1, "/a"), []);
    }

    #[test]
    fn recursive_ones_cover_what_is_below_and_never_tell_of_children() {
        let mut registry = Registry::default();
        registry.add_persistent("/r", true);
        assert_eq!(told(&mut registry, 1, "/r/x/y"), [(1, "/r/x/y".into())]);
        assert_eq!(told(&mut registry, 1, "/rx"), []);
        assert_eq!(registry.find(Some("/r"), 3, true), Some(true));
        assert_eq!(told(&mut registry, 3, "/r"), []);
        assert_eq!(registry.find(Some("/r"), 77, true), None);
    }
}
