//! Clients that send anything to a member with a small tree: connects, frames, ticks, a slow disk.
//! Nothing panics, answers stay small, and the log gives the same tree again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use zk_core::{Admission, Core, Effect, Effects};
use zk_proto::connect::ConnectRequest;
use zk_proto::request::RequestHeader;
use zk_proto::txn::TxnEntry;
use zk_proto::{Jute, Limits, OpCode, Reader, SessionId, Zxid};
use zk_tree::{ConnId, Tree, TreeOptions, Watches};
use zkfleet_fuzz::{Tape, member};

/// One step never gives more bytes than this: an answer, and an event for each watch.
const MAX_STEP_BYTES: usize = 64 * member::MAX_RESPONSE_BYTES;
const CONNECTIONS: u8 = 3;

const TREE: TreeOptions = TreeOptions { extended_types: true, hash_seed: 1 };

struct World {
    core: Core,
    tree: Tree,
    watches: Watches,
    log: Vec<Vec<u8>>,
    now_ms: i64,
    xid: i32,
    fx: Effects,
}

impl World {
    fn new() -> World {
        let tree = Tree::new(TREE);
        let core = Core::new(member::options(), &tree, [], member::now(0));
        let (watches, fx) = (Watches::new(1), Effects::new());
        World { core, tree, watches, log: Vec::new(), now_ms: 0, xid: 0, fx }
    }

    /// Carries out what the pipeline wants.
    fn drive(&mut self) {
        let bytes = self.fx.bytes.len();
        assert!(bytes <= MAX_STEP_BYTES, "{bytes} bytes in one step");
        for effect in std::mem::take(&mut self.fx.list) {
            match effect {
                Effect::Append { txn, .. } => self.log.push(self.fx.get(txn).to_vec()),
                Effect::Close { conn } => self.hang_up(conn),
                _ => {}
            }
        }
        self.fx.clear();
    }

    fn hang_up(&mut self, conn: ConnId) {
        self.core.disconnected(conn, self.now_ms);
        self.watches.remove_connection(conn);
    }

    fn connect(&mut self, conn: ConnId, frame: &[u8]) {
        self.hang_up(conn);
        self.core.connected(conn, Some([127, 0, 0, conn.0 as u8].into()), Vec::new());
        let now = member::now(self.now_ms);
        self.core.handshake(&self.tree, now, conn, frame, &mut self.fx);
        self.drive();
    }

    fn open(&mut self, conn: ConnId) {
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 0,
            timeout_ms: 6000,
            session_id: SessionId::NONE,
            password: Some(&[0; 16]),
            read_only: Some(false),
        };
        self.connect(conn, &request.to_bytes());
        self.flush();
    }

    fn submit(&mut self, conn: ConnId, frame: &[u8]) {
        if frame.len() > member::MAX_FRAME_BYTES {
            return;
        }
        let World { core, tree, watches, fx, .. } = self;
        core.submit(tree, watches, member::now(self.now_ms), conn, frame, fx);
        self.drive();
    }

    /// The log is on disk up to `zxid`.
    fn logged(&mut self, zxid: Zxid) {
        let mut more = true;
        while more {
            let World { core, tree, watches, fx, .. } = self;
            more = core.committed(tree, watches, self.now_ms, zxid, 1, fx);
            self.drive();
        }
    }

    fn flush(&mut self) {
        self.logged(self.core.last_proposed());
    }

    fn step(&mut self, tape: &mut Tape<'_>) {
        let kind = tape.byte();
        let conn = ConnId(u64::from(kind / 16 % CONNECTIONS));
        match kind % 16 {
            0 => self.open(conn),
            1 => self.connect(conn, tape.part()),
            2 => self.hang_up(conn),
            3 => {
                self.now_ms += i64::from(tape.byte()) * 100;
                let (now, World { core, tree, fx, .. }) = (member::now(self.now_ms), &mut *self);
                core.tick(tree, now, |_| None, fx);
                self.drive();
            }
            4 => self.flush(),
            5 => self.logged(Zxid(self.core.last_proposed().0 - i64::from(tape.byte() % 8))),
            6 => {
                let admission =
                    if tape.byte() == 0 { Admission::ReadOnly } else { Admission::Serving };
                self.core.set_admission(admission);
            }
            7 => {
                let path = String::from_utf8_lossy(tape.part());
                let (now, World { core, tree, fx, .. }) = (member::now(self.now_ms), &mut *self);
                core.reap(tree, now, &path, 1000, fx);
                self.drive();
            }
            8 => self.submit(conn, tape.part()),
            _ => {
                self.xid += 1;
                let op = i32::from(tape.byte() as i8);
                let mut frame = RequestHeader { xid: self.xid, op }.to_bytes();
                frame.extend_from_slice(tape.part());
                self.submit(conn, &frame);
            }
        }
    }

    /// Everything comes to its end, and the log alone gives the same tree.
    fn finish(mut self) {
        self.flush();
        assert_eq!(self.core.outstanding(), 0);
        assert_eq!(self.core.counters().digest_mismatches, 0);
        let mut again = Tree::new(TREE);
        for bytes in &self.log {
            let mut reader = Reader::with_limits(bytes, Limits::NONE);
            let entry = TxnEntry::read(&mut reader).expect("recovery reads every transaction");
            again.apply(&entry.header, &entry.txn, &mut ());
            // Apache checks a closeSession's digest too, as it does an error's.
            if let Some(digest) = entry.digest {
                assert_eq!(digest.tree_digest as u64, again.digest(), "{:?}", entry.txn);
            }
            assert!(OpCode::from_code(entry.header.op).is_some());
        }
        assert_eq!(
            (again.digest(), again.node_count()),
            (self.tree.digest(), self.tree.node_count())
        );
        assert_eq!(again.last_zxid(), self.tree.last_zxid());
    }
}

fuzz_target!(|input: &[u8]| {
    let mut world = World::new();
    (0..u64::from(CONNECTIONS)).for_each(|conn| world.open(ConnId(conn)));
    let mut tape = Tape(input);
    while !tape.is_empty() {
        world.step(&mut tape);
    }
    world.finish();
});
