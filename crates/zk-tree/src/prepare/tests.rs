//! Rules of the single operations as tables, and random programs as a property.

mod quota;

use super::*;
use crate::{Applied, ReapWalk, TreeLoader, TreeOptions};
use proptest::prelude::*;
use zk_proto::acl::AclBytes;
use zk_proto::request::{Create, CreateMode, MultiOp, MultiRequest};
use zk_proto::txn::{Txn, TxnEntry};
use zk_proto::{Limits, Reader, Text};

/// A standalone server's tree: transactions are applied at most `lag` behind.
struct World {
    tree: Tree,
    pending: Pending,
    options: PrepareOptions,
    zxid: i64,
    log: Vec<Vec<u8>>,
    applied: usize,
    lag: usize,
}

impl World {
    fn new(lag: usize) -> World {
        World {
            tree: Tree::new(TreeOptions { extended_types: true, ..TreeOptions::default() }),
            pending: Pending::new(1),
            options: PrepareOptions::default(),
            zxid: 0,
            log: Vec::new(),
            applied: 0,
            lag,
        }
    }

    fn propose(&mut self, session: i64, proposal: &Proposal<'_, '_>) -> Result<(), ErrorCode> {
        self.zxid += 1;
        let header = TxnHeader {
            client_id: session,
            cxid: 0,
            zxid: self.zxid,
            time_ms: self.zxid * 10,
            op: 0,
        };
        let mut bytes = Vec::new();
        let mut preparer = Preparer {
            tree: &self.tree,
            pending: &mut self.pending,
            options: &self.options,
            identities: &[],
            header,
            verdicts: Verdicts::default(),
            no_ephemerals: None,
            over_quota: None,
        };
        let result = preparer.prepare(proposal, &mut bytes);
        self.log.push(bytes);
        while self.log.len() - self.applied > self.lag {
            self.apply_next();
        }
        result
    }

    fn apply_next(&mut self) -> Applied {
        let entry = TxnEntry::read(&mut Reader::with_limits(&self.log[self.applied], Limits::NONE))
            .expect("own txn");
        let plan = self.pending.plan(entry.zxid());
        let applied = self.tree.apply_planned(&entry.header, &entry.txn, plan, &mut ());
        self.pending.applied(entry.zxid());
        self.applied += 1;
        if let Some(digest) = entry.digest {
            assert_eq!(digest.tree_digest as u64, self.tree.digest(), "at {:?}", entry.txn);
        }
        applied
    }

    fn finish(&mut self) {
        while self.applied < self.log.len() {
            self.apply_next();
        }
        assert!(self.pending.is_empty());
    }

    fn request(&mut self, request: Request<'_>) -> Result<(), ErrorCode> {
        self.propose(7, &Proposal::Request(&request))
    }
}

fn create(path: &str, mode: CreateMode) -> Request<'_> {
    let op = match mode {
        CreateMode::Container => OpCode::CreateContainer,
        mode if mode.is_ttl() => OpCode::CreateTtl,
        _ => OpCode::Create,
    };
    let ttl_ms = if mode.is_ttl() { 50 } else { 0 };
    let data = Some(&b"d"[..]);
    Request::Create(Create {
        op,
        path: path.into(),
        data,
        acl: AclBytes::OPEN,
        flags: mode.flags(),
        ttl_ms,
    })
}

fn delete(path: &str, version: i32) -> Request<'_> {
    Request::Delete(VersionedPath { path: path.into(), version })
}

fn set<'a>(path: &'a str, data: &'a [u8], version: i32) -> Request<'a> {
    Request::SetData(SetDataRequest { path: path.into(), data: Some(data), version })
}

#[test]
fn an_empty_tree_has_apaches_digest() {
    assert_eq!(World::new(0).tree.digest(), 1_371_985_504);
}

#[test]
fn errors_come_in_apaches_order() {
    use CreateMode::{Ephemeral, Persistent, PersistentSequential};
    let mut w = World::new(3);
    assert_eq!(w.request(create("/a", Persistent)), Ok(()));
    assert_eq!(w.request(create("/a", Persistent)), Err(ErrorCode::NodeExists));
    assert_eq!(
        w.request(create("/x/", Persistent)),
        Err(ErrorCode::NoNode),
        "parent before validation"
    );
    assert_eq!(w.request(create("/a/", Persistent)), Err(ErrorCode::BadArguments));
    assert_eq!(
        w.request(create("/a/", PersistentSequential)),
        Ok(()),
        "the name is only the counter"
    );
    assert_eq!(w.request(create("nopath", Persistent)), Err(ErrorCode::BadArguments));
    assert_eq!(w.request(create("/e", Ephemeral)), Ok(()));
    assert_eq!(w.request(create("/e/c", Persistent)), Err(ErrorCode::NoChildrenForEphemerals));
    assert_eq!(w.request(delete("/missing", 9)), Err(ErrorCode::NoNode));
    assert_eq!(w.request(delete("/e", 9)), Err(ErrorCode::BadVersion));
    assert_eq!(w.request(delete("/a", 0)), Err(ErrorCode::NotEmpty));
    assert_eq!(w.request(delete("/zookeeper", -1)), Err(ErrorCode::BadArguments));
    assert_eq!(w.request(set("/e", b"x", -2)), Err(ErrorCode::BadVersion));
    assert_eq!(w.request(set("/zookeeper/config", b"x", -1)), Err(ErrorCode::NoAuth));
    w.finish();
    let children: Vec<_> = w.tree.get("/a").expect("/a").children().map(|c| c.path()).collect();
    assert_eq!(children, ["/a/0000000000"]);
}

#[test]
fn the_counter_wraps_to_a_negative_name() {
    let mut w = World::new(0);
    w.request(create("/q", CreateMode::Persistent)).expect("create");
    let id = w.tree.find("/q").expect("/q");
    w.tree.arena[id].extra_mut().cversion = i32::MAX;
    w.tree.refresh_crc(id, "/q");
    w.request(create("/q/n-", CreateMode::PersistentSequential)).expect("create");
    w.request(create("/q/n-", CreateMode::PersistentSequential)).expect("create");
    assert!(w.tree.get("/q/n-2147483647").is_some());
    assert!(w.tree.get("/q/n--2147483648").is_some());
}

#[test]
fn a_failed_multi_leaves_no_trace_but_its_zxid() {
    let mut w = World::new(5);
    w.request(create("/p", CreateMode::Persistent)).expect("create");
    let Request::Create(in_multi) = create("/p/s-", CreateMode::PersistentSequential) else {
        unreachable!()
    };
    let ops = vec![
        MultiOp::Create(in_multi),
        MultiOp::Check(VersionedPath { path: "/p".into(), version: 9 }),
        MultiOp::Delete(VersionedPath { path: "/p".into(), version: -1 }),
    ];
    w.request(Request::Multi(MultiRequest { ops })).expect("a failed multi is no error of its own");
    w.request(create("/p/s-", CreateMode::PersistentSequential)).expect("create");
    w.lag = 0;
    w.apply_next();
    assert_eq!(
        w.apply_next(),
        Applied::Multi(vec![
            Applied::Error(ErrorCode::Ok),
            Applied::Error(ErrorCode::BadVersion),
            Applied::Error(ErrorCode::RuntimeInconsistency),
        ])
    );
    w.finish();
    assert!(w.tree.get("/p/s-0000000000").is_some(), "the counter did not move");
}

#[test]
fn what_no_record_holds_is_refused_before_it_changes_anything() {
    let mut w = World::new(10);
    w.request(create("/p", CreateMode::Persistent)).expect("create");
    w.options.max_txn_bytes = 500;
    let long = format!("/{}", "x".repeat(500));
    assert_eq!(w.request(create(&long, CreateMode::Persistent)), Err(ErrorCode::BadArguments));
    let data = vec![7; 500];
    let set = |data| SetDataRequest { path: "/p".into(), data: Some(data), version: -1 };
    assert_eq!(w.request(Request::SetData(set(&data))), Err(ErrorCode::BadArguments));
    w.request(Request::SetData(set(&data[..400]))).expect("fits");
    w.finish();
    assert_eq!(w.tree.get("/p").map(|node| node.stat().version), Some(1));
    assert!(w.tree.get(&long).is_none());
}

#[test]
fn closing_a_session_takes_pending_ephemerals_too() {
    let mut w = World::new(10);
    w.request(create("/p", CreateMode::Persistent)).expect("create");
    w.request(create("/p/e1", CreateMode::Ephemeral)).expect("create");
    w.finish();
    w.request(create("/p/e2", CreateMode::Ephemeral)).expect("create");
    w.request(delete("/p/e1", -1)).expect("delete");
    w.propose(7, &Proposal::CloseSession).expect("close");
    assert_eq!(w.request(delete("/p", -1)), Ok(()), "it has no children any more");
    w.finish();
    assert_eq!(w.tree.ephemeral_count(), 0);
    assert!(w.tree.get("/p").is_none());
}

#[test]
fn a_list_that_nobody_could_read_is_left_out_with_its_digest() {
    for (max_list_bytes, is_listed) in [(4 + 2 * 8, true), (4 + 2 * 8 - 1, false)] {
        let mut w = World::new(10);
        w.options.max_list_bytes = max_list_bytes;
        for path in ["/e01", "/e02"] {
            w.request(create(path, CreateMode::Ephemeral)).expect("create");
        }
        w.propose(7, &Proposal::CloseSession).expect("close");
        let bytes = w.log.last().expect("logged").clone();
        let entry = TxnEntry::read(&mut Reader::new(&bytes)).expect("one that can be read");
        assert_eq!(entry.digest.is_some(), is_listed);
        match entry.txn {
            Txn::CloseSession(list) => {
                assert_eq!(list.map(|list| list.len()), is_listed.then_some(2))
            }
            other => panic!("{other:?}"),
        }
        w.finish();
        assert_eq!(w.tree.ephemeral_count(), 0);
    }
}

#[test]
fn closing_a_session_takes_a_path_that_was_somebody_elses_until_just_now() {
    let mut w = World::new(10);
    w.request(create("/p", CreateMode::Persistent)).expect("create");
    w.propose(8, &Proposal::Request(&create("/e", CreateMode::Ephemeral))).expect("create");
    w.finish();
    for path in ["/p", "/e"] {
        w.request(delete(path, -1)).expect(path);
        w.request(create(path, CreateMode::Ephemeral)).expect(path);
    }
    w.propose(7, &Proposal::CloseSession).expect("close");
    assert_eq!(w.request(delete("/p", -1)), Err(ErrorCode::NoNode));
    assert_eq!(w.request(delete("/e", -1)), Err(ErrorCode::NoNode));
    w.finish();
}

#[test]
fn paths_that_no_znode_can_have() {
    let mut w = World::new(0);
    w.request(create("/p", CreateMode::Persistent)).expect("create");
    for path in ["//a", "/p/", "/p/.", "/..", "/p/\u{1}", "/p/\u{e000}", "/p/\0"] {
        let create = create(path, CreateMode::Persistent);
        assert_eq!(w.request(create), Err(ErrorCode::BadArguments), "{path:?}");
    }
    for path in ["/none//a", "/p//a", "/none/."] {
        let create = create(path, CreateMode::Persistent);
        assert_eq!(w.request(create), Err(ErrorCode::NoNode), "the parent is looked for first");
    }
    for path in ["", "p", "/p/", "//p", "/none/.", "/\0"] {
        assert_eq!(w.request(set(path, b"", -1)), Err(ErrorCode::BadArguments), "{path:?}");
    }
    assert_eq!(w.request(set("/none", b"", -1)), Err(ErrorCode::NoNode));
    let root = create("/", CreateMode::Persistent);
    assert_eq!(w.request(root), Err(ErrorCode::NodeExists));
    assert_eq!(w.request(set("/", b"", -1)), Ok(()));
}

/// Apache's `ChangeRecord` keeps the old list until the new one is applied.
#[test]
fn an_acl_counts_for_everything_behind_it() {
    let mut w = World::new(9);
    w.request(create("/p", CreateMode::Persistent)).expect("create");
    let read_only = SetAclRequest { path: "/p".into(), acl: AclBytes::READ_ONLY, version: -1 };
    w.request(Request::SetAcl(read_only)).expect("setACL");
    let refused = w.request(create("/p/a", CreateMode::Persistent));
    assert_eq!(refused, Err(ErrorCode::NoAuth));
    assert_eq!(w.request(set("/p", b"", -1)), Err(ErrorCode::NoAuth));
}

/// Its changes never end, so what was known of it when the first was prepared is known for ever.
#[test]
fn a_znode_under_changes_without_end_is_looked_at_anew() {
    let mut w = World::new(1);
    for path in ["/p", "/p/a", "/p/b", "/p/c"] {
        assert_eq!(w.request(create(path, CreateMode::Persistent)), Ok(()), "{path}");
    }
    let again = |path| (path, create(path, CreateMode::Persistent));
    for (path, create) in ["/p/a", "/p/b", "/p/c", "/p"].map(again) {
        assert_eq!(w.request(create), Err(ErrorCode::NodeExists), "{path}");
        assert_eq!(w.request(set("/p", b"x", -1)), Ok(()));
    }
    w.finish();
}

fn due(w: &World, now_ms: i64, max_never_used_ms: i64) -> Vec<String> {
    w.tree.due_for_reaping(&mut ReapWalk::default(), now_ms, max_never_used_ms, 9)
}

#[test]
fn containers_and_ttl_znodes_are_reaped_when_due() {
    let mut w = World::new(0);
    w.request(create("/c", CreateMode::Container)).expect("container");
    w.request(create("/t", CreateMode::PersistentWithTtl)).expect("ttl");
    assert_eq!(due(&w, 60, 0), Vec::<String>::new(), "never used, and the TTL is not over");
    assert_eq!(due(&w, 71, 0), ["/t"]);
    assert_eq!(due(&w, 40, 20), ["/c"]);
    w.request(create("/c/x", CreateMode::Persistent)).expect("create");
    w.request(delete("/c/x", -1)).expect("delete");
    assert_eq!(due(&w, 0, 0), ["/c"]);
    let reap = |path| Proposal::Reap { path, max_never_used_ms: 0 };
    assert_eq!(w.propose(0, &reap("/c")), Ok(()));
    assert_eq!(w.propose(0, &reap("/c")), Err(ErrorCode::NoNode));
    w.request(create("/plain", CreateMode::Persistent)).expect("create");
    assert_eq!(w.propose(0, &reap("/plain")), Err(ErrorCode::BadVersion));
}

#[test]
fn all_that_is_due_is_found_in_parts() {
    let mut w = World::new(0);
    let mut paths = Vec::new();
    for i in 0..5000 {
        let mode = if i % 2 == 0 { CreateMode::Container } else { CreateMode::PersistentWithTtl };
        paths.push(format!("/{i:04}"));
        w.request(create(&paths[i], mode)).expect("create");
    }
    w.finish();
    let (mut walk, mut found, mut parts) = (ReapWalk::default(), Vec::new(), 0);
    while !walk.is_over() {
        found.extend(w.tree.due_for_reaping(&mut walk, i64::MAX, 20, 1500));
        parts += 1;
    }
    found.sort();
    assert!(found == paths && parts == 4, "{} in {parts} parts", found.len());
    let due = w.tree.due_for_reaping(&mut ReapWalk::default(), 0, 0, 9);
    assert!(due.is_empty(), "{due:?} are due");
}

#[test]
fn what_was_used_since_the_reaper_looked_stays() {
    let mut w = World::new(3);
    w.request(create("/t", CreateMode::PersistentWithTtl)).expect("ttl");
    w.zxid += 6;
    w.finish();
    assert_eq!(due(&w, 71, 0), ["/t"]);
    w.request(set("/t", b"again", -1)).expect("set");
    let reap = Proposal::Reap { path: "/t", max_never_used_ms: 0 };
    assert_eq!(w.propose(0, &reap), Err(ErrorCode::BadVersion), "its time began anew");
    w.zxid += 6;
    assert_eq!(w.propose(0, &reap), Ok(()));
    w.request(create("/c", CreateMode::Container)).expect("container");
    let reap = |max_never_used_ms| Proposal::Reap { path: "/c", max_never_used_ms };
    assert_eq!(w.propose(0, &reap(0)), Err(ErrorCode::BadVersion), "nobody has used it yet");
    assert_eq!(w.propose(0, &reap(10)), Ok(()));
    w.finish();
}

/// A step of a random program over a few paths.
#[derive(Clone, Debug)]
enum Step {
    Create(usize, usize, i64),
    Delete(usize, i32),
    Set(usize, u8),
    Acl(usize, bool),
    Multi(Vec<(usize, bool)>),
    Close(i64),
    Snapshot,
    SnapshotSome(usize),
}

const PATHS: [&str; 10] =
    ["/a", "/b", "/a/c", "/a/d", "/a/c/e", "/b/f", "/a/c/g", "/b/f/h", "/b/f/h/i", "/a/d/"];

fn step() -> impl Strategy<Value = Step> {
    let path = 0..PATHS.len();
    prop_oneof![
        6 => (path.clone(), 0..7usize, 1..3i64).prop_map(|(p, m, s)| Step::Create(p, m, s)),
        3 => (path.clone(), -1..2i32).prop_map(|(p, v)| Step::Delete(p, v)),
        3 => (path.clone(), any::<u8>()).prop_map(|(p, d)| Step::Set(p, d)),
        1 => (path.clone(), any::<bool>()).prop_map(|(p, open)| Step::Acl(p, open)),
        2 => prop::collection::vec((path, any::<bool>()), 1..4).prop_map(Step::Multi),
        1 => (1..3i64).prop_map(Step::Close),
        1 => Just(Step::Snapshot),
        3 => (1..4usize).prop_map(Step::SnapshotSome),
    ]
}

fn propose(w: &mut World, step: &Step) {
    let result = match step {
        Step::Create(path, mode, session) => {
            let request = create(PATHS[*path], CreateMode::ALL[*mode]);
            w.propose(*session, &Proposal::Request(&request))
        }
        Step::Delete(path, version) => w.request(delete(PATHS[*path], *version)),
        Step::Set(path, data) => w.request(set(PATHS[*path], &[*data], -1)),
        Step::Acl(path, open) => {
            let list = zk_proto::acl::encode(&[zk_proto::Acl::new(Perms::ALL, "ip", "0.0.0.0/0")]);
            let acl =
                if *open { AclBytes::OPEN } else { AclBytes::parse(&list).expect("own list") };
            w.request(Request::SetAcl(SetAclRequest {
                path: PATHS[*path].into(),
                acl,
                version: -1,
            }))
        }
        Step::Multi(parts) => {
            let ops = parts.iter().map(|(path, is_create)| {
                match (is_create, create(PATHS[*path], CreateMode::ALL[path % 2])) {
                    (true, Request::Create(create)) => MultiOp::Create(create),
                    _ => MultiOp::Delete(VersionedPath {
                        path: Text::Borrowed(PATHS[*path]),
                        version: -1,
                    }),
                }
            });
            w.request(Request::Multi(MultiRequest { ops: ops.collect() }))
        }
        Step::Close(session) => w.propose(*session, &Proposal::CloseSession),
        Step::Snapshot | Step::SnapshotSome(_) => Ok(()),
    };
    let _ = result;
}

/// Path, data, ACL, stat and number of children.
type Portrait = (String, Option<Vec<u8>>, Vec<u8>, zk_proto::StatPersisted, i32);

/// Everything about a tree that must be the same on another server.
fn picture(tree: &Tree) -> Vec<Portrait> {
    let mut list = Vec::new();
    let mut todo = vec![tree.root()];
    while let Some(node) = todo.pop() {
        let data = node.data().map(<[u8]>::to_vec);
        list.push((
            node.path(),
            data,
            node.acl().to_vec(),
            node.stat_persisted(),
            node.num_children(),
        ));
        todo.extend(node.children());
    }
    list.sort_by(|a, b| a.0.cmp(&b.0));
    list
}

fn load(head: &crate::SnapshotHead, nodes: &[u8]) -> Tree {
    use zk_proto::snapshot::{AclRecord, NodeRecord};
    let options = TreeOptions { extended_types: true, hash_seed: 99 };
    let mut loader = TreeLoader::new(options);
    let acls = Vec::<AclRecord<'_>>::read(&mut Reader::new(&head.acls)).expect("own list");
    let mut r = Reader::new(nodes);
    while !r.is_empty() {
        let node = NodeRecord::read(&mut r).expect("own record");
        let acl =
            acls.iter().find(|acl| acl.id == node.acl_id).map_or(AclBytes::OPEN, |acl| acl.acl);
        let added = loader.add(&node.path, node.data, acl.as_bytes(), node.stat);
        assert_eq!(added, Ok(true), "{} has a parent", node.path);
    }
    loader.finish(head.zxid).expect("each znode is there once")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// The digest that prepare foresees is the one that apply reaches (checked at every step), the
    /// log replayed gives the same tree, and a snapshot is the tree of the moment it began.
    #[test]
    fn random_programs(steps in prop::collection::vec(step(), 1..60), lag in 0..6usize) {
        let mut w = World::new(lag);
        let mut snapshot: Option<(crate::SnapshotHead, Vec<u8>, Vec<_>, u64)> = None;
        for step in &steps {
            propose(&mut w, step);
            let [looked_for, kept] = w.pending.owned_both_ways();
            prop_assert_eq!(looked_for, kept);
            match step {
                Step::Snapshot => {
                    if let Some(head) = w.tree.begin_snapshot() {
                        snapshot = Some((head, Vec::new(), picture(&w.tree), w.tree.digest()));
                    }
                }
                Step::SnapshotSome(count) => {
                    if let Some((_, nodes, _, _)) = &mut snapshot {
                        w.tree.snapshot_some(*count, nodes.len() + 100, nodes);
                    }
                }
                _ => {}
            }
        }
        w.finish();
        if let Some((head, mut nodes, before, digest)) = snapshot {
            while w.tree.snapshot_some(2, usize::MAX, &mut nodes) {}
            let loaded = load(&head, &nodes);
            prop_assert_eq!(picture(&loaded), before);
            prop_assert_eq!(loaded.digest(), digest);
            prop_assert_eq!(head.digest.digest as u64, digest);
        }
        let mut replayed = Tree::new(w.tree.options());
        for bytes in &w.log {
            let entry = TxnEntry::read(&mut Reader::new(bytes)).expect("own txn");
            replayed.apply(&entry.header, &entry.txn, &mut ());
        }
        prop_assert_eq!(picture(&replayed), picture(&w.tree));
        prop_assert_eq!(replayed.digest(), w.tree.digest());
        prop_assert_eq!(replayed.data_bytes(), w.tree.data_bytes());
    }

    /// Replaying any part of the log again changes nothing: fuzzy snapshots of Apache's load.
    #[test]
    fn replay_converges(steps in prop::collection::vec(step(), 1..50), from in 0..50usize) {
        let mut w = World::new(0);
        for step in &steps {
            propose(&mut w, step);
        }
        // What a fuzzy snapshot is: a tree some way ahead of its name.
        let mut again = Tree::new(w.tree.options());
        let entries: Vec<_> = w.log.iter().map(|b| TxnEntry::read(&mut Reader::new(b)).expect("own txn")).collect();
        for entry in &entries {
            again.apply(&entry.header, &entry.txn, &mut ());
        }
        for entry in entries.iter().skip(from) {
            again.apply(&entry.header, &entry.txn, &mut ());
        }
        let names = |tree: &Tree| picture(tree).into_iter().map(|(path, ..)| path).collect::<Vec<_>>();
        prop_assert_eq!(names(&again), names(&w.tree));
    }
}

#[test]
fn a_refused_acl_leaves_no_trace() {
    let mut w = World::new(2);
    // Not UTF-8: each byte becomes three.
    let mut list = b"\0\0\0\x01\0\0\0\x1f\0\0\0\x06digest".to_vec();
    list.extend(700_002i32.to_be_bytes());
    list.extend([0xff; 700_000]);
    list.extend(b":h");
    let acl = AclBytes::parse(&list).unwrap();
    let Request::Create(open) = create("/p", CreateMode::Persistent) else { panic!() };
    let refused = Request::Create(Create { acl, ..open });
    assert_eq!(w.request(refused), Err(ErrorCode::InvalidAcl));
    let set_acl = SetAclRequest { path: "/".into(), acl, version: -1 };
    assert_eq!(w.request(Request::SetAcl(set_acl)), Err(ErrorCode::InvalidAcl));
    assert_eq!(w.request(create("/p/q", CreateMode::Persistent)), Err(ErrorCode::NoNode));
    assert_eq!(w.request(create("/q", CreateMode::Persistent)), Ok(()));
    // Digests are compared there.
    w.finish();
}

#[test]
fn a_multi_is_bounded_by_what_it_would_log() {
    let mut w = World::new(0);
    w.options.max_txn_bytes = 1000;
    let data = [7; 400];
    let multi = |n: usize| {
        let set = SetDataRequest { path: "/a".into(), data: Some(&data), version: -1 };
        Request::Multi(MultiRequest { ops: vec![MultiOp::SetData(set); n] })
    };
    w.request(create("/a", CreateMode::Persistent)).unwrap();
    for n in [2, 3] {
        w.request(multi(n)).expect("a failed multi is no error of its own");
    }
    w.finish();
    assert_eq!(w.tree.get("/a").unwrap().stat().version, 2);
}
