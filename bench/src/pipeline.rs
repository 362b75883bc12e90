//! What the pipeline itself costs a write: the pure cores on one thread, without sockets, disk,
//! locks and other threads. What a server needs beyond that is its shell's.

use std::time::{Duration, Instant};

use zk_core::{Admission, Core, CoreOptions, Effect, Effects, Times};
use zk_proto::connect::ConnectRequest;
use zk_proto::request::{CreateMode, Request, VersionedPath};
use zk_proto::{Jute, Zxid};
use zk_tree::{ConnId, Tree, TreeOptions, Watches};

use crate::loads::keyed;
use crate::{client, wire};

const CONNS: u64 = 16;
/// Requests that a connection has under way, and are logged together with those of all others.
const DEPTH: usize = 32;
const ZNODES: usize = 1000;
const DATA: [u8; 100] = [b'd'; 100];

/// The time of both halves of the pipeline, and how often a write went through them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    prepare: Duration,
    apply: Duration,
    writes: u32,
}

impl Cost {
    /// Nanoseconds from a request to its transaction.
    #[must_use]
    pub fn prepare_ns(&self) -> f64 {
        self.prepare.as_nanos() as f64 / f64::from(self.writes.max(1))
    }

    /// How many writes were measured.
    #[must_use]
    pub fn writes(&self) -> u32 {
        self.writes
    }

    /// Nanoseconds from the durable transaction to its answer.
    #[must_use]
    pub fn apply_ns(&self) -> f64 {
        self.apply.as_nanos() as f64 / f64::from(self.writes.max(1))
    }
}

/// Kinds of writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// setData of 100 bytes on 1,000 znodes.
    Set,
    /// Sequential creates of 100 bytes.
    Create,
    /// A create and its delete, in turn.
    CreateDelete,
}

impl Kind {
    /// All kinds, with their names.
    pub const ALL: [(&str, Kind); 3] =
        [("set", Kind::Set), ("create", Kind::Create), ("createdelete", Kind::CreateDelete)];
}

struct Member {
    core: Core,
    tree: Tree,
    watches: Watches,
    fx: Effects,
    log: Vec<u8>,
    sent: Vec<u8>,
    cost: Cost,
    now_ms: i64,
}

/// Measures a kind of write for about so long.
#[must_use]
pub fn measure(kind: Kind, duration: Duration) -> Cost {
    let mut member = Member::new();
    member.fill();
    member.cost = Cost::default();
    let begin = Instant::now();
    let (mut round, mut frames) = (0, Vec::new());
    while begin.elapsed() < duration {
        for conn in 1..=CONNS {
            frames.clear();
            (0..DEPTH).for_each(|i| request(kind, conn, round * DEPTH + i, &mut frames));
            member.submit(ConnId(conn), &frames);
        }
        member.apply();
        round += 1;
    }
    member.cost
}

fn request(kind: Kind, conn: u64, number: usize, out: &mut Vec<u8>) {
    let path;
    let request = match kind {
        Kind::Set => {
            path = path_of((conn as usize + number * CONNS as usize * 7) % ZNODES);
            keyed::set(&path, &DATA)
        }
        Kind::Create => client::create("/bench/load/s", &DATA, CreateMode::PersistentSequential),
        Kind::CreateDelete => {
            path = format!("/bench/load/x{conn}-{}", number / 2);
            match number % 2 {
                0 => client::create(&path, &DATA, CreateMode::Persistent),
                _ => Request::Delete(VersionedPath { path: path.as_str().into(), version: -1 }),
            }
        }
    };
    out.extend_from_slice(&wire::frame(7, &request));
}

fn path_of(number: usize) -> String {
    format!("/bench/load/n{number:07}")
}

impl Member {
    fn new() -> Member {
        let options = CoreOptions::default();
        let tree = Tree::new(TreeOptions::default());
        let now = Times { monotonic_ms: 0, wall_ms: 0 };
        let mut core = Core::new(options, &tree, Vec::new(), now);
        core.set_admission(Admission::Serving);
        let mut member = Member {
            core,
            tree,
            watches: Watches::new(1),
            fx: Effects::new(),
            log: Vec::new(),
            sent: Vec::new(),
            cost: Cost::default(),
            now_ms: 0,
        };
        let connect = ConnectRequest::new_session(10_000);
        for conn in 1..=CONNS {
            member.core.connected(ConnId(conn), None, Vec::new());
            let Member { core, tree, fx, .. } = &mut member;
            core.handshake(tree, now, ConnId(conn), &connect.to_bytes(), fx);
            member.carry_out();
        }
        member.apply();
        member
    }

    fn fill(&mut self) {
        let paths = ["/bench".into(), "/bench/load".into()].into_iter();
        for path in paths.chain((0..ZNODES).map(path_of)) {
            let create = client::create(&path, &DATA, CreateMode::Persistent);
            self.submit(ConnId(1), &wire::frame(7, &create));
            self.apply();
        }
    }

    fn submit(&mut self, conn: ConnId, mut frames: &[u8]) {
        let begin = Instant::now();
        self.now_ms += 1;
        let now = Times { monotonic_ms: self.now_ms, wall_ms: self.now_ms };
        while let Some((length, rest)) = frames.split_first_chunk::<4>() {
            let (frame, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
            let Member { core, tree, watches, fx, .. } = self;
            core.submit(tree, watches, now, conn, frame, fx);
            frames = rest;
        }
        self.carry_out();
        self.cost.prepare += begin.elapsed();
    }

    fn apply(&mut self) {
        let begin = Instant::now();
        let zxid = self.core.last_proposed();
        loop {
            let Member { core, tree, watches, fx, .. } = self;
            let more = core.committed(tree, watches, self.now_ms, zxid, 256, fx);
            self.carry_out();
            if !more {
                break;
            }
        }
        self.log.clear();
        self.sent.clear();
        self.cost.apply += begin.elapsed();
    }

    fn carry_out(&mut self) {
        for effect in &self.fx.list {
            match effect {
                Effect::Append { txn, zxid } => {
                    debug_assert!(*zxid > Zxid::ZERO);
                    self.log.extend_from_slice(self.fx.get(*txn));
                    self.cost.writes += 1;
                }
                Effect::Send { frame, .. } => self.sent.extend_from_slice(self.fx.get(*frame)),
                _ => {}
            }
        }
        self.fx.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_a_write_that_succeeds() {
        for (name, kind) in Kind::ALL {
            let mut member = Member::new();
            member.fill();
            let before = member.tree.last_zxid();
            let mut frames = Vec::new();
            (0..DEPTH).for_each(|i| request(kind, 3, i, &mut frames));
            member.submit(ConnId(3), &frames);
            member.apply();
            assert_eq!(member.tree.last_zxid().0, before.0 + DEPTH as i64, "{name}");
            let nodes = if kind == Kind::Create { DEPTH } else { 0 };
            assert_eq!(member.tree.node_count(), 4 + 2 + ZNODES + nodes, "{name}");
        }
    }
}
