//! Sessions that only their member knows (`localSessionsEnabled`): what they may do, where they
//! live, and what becomes of them when they want to own an ephemeral.

use super::ensemble::{At, Ensemble, Heard, Up, create, create_as};
use super::steps::{MEMBERS, Step, step};
use proptest::prelude::*;
use std::collections::BTreeSet;
use zk_core::LocalSessions;
use zk_proto::request::{CreateMode, MultiOp, MultiRequest, ReadRequest, Request};
use zk_proto::txn::{Txn, TxnEntry};
use zk_proto::{ErrorCode, Jute, Limits, OpCode, Reader, SessionId};
use zk_tree::ConnId;

const LEADER: At = At::Leader;
const LEARNER: At = At::Learner(0);
const OTHER: At = At::Learner(1);
const KEPT: Option<LocalSessions> = Some(LocalSessions { upgrading: false });
const UPGRADED: Option<LocalSessions> = Some(LocalSessions { upgrading: true });

/// What comes back when the session is gone.
const EXPIRED: [Heard; 2] = [Heard::Session(0, 0), Heard::Closed];

fn ephemeral(path: &str) -> Request<'_> {
    Request::Create(create_as(path, CreateMode::Ephemeral))
}

fn get(path: &str) -> Request<'_> {
    Request::GetData(ReadRequest { path: path.into(), watch: false })
}

/// A session that is there before anybody else has heard of it.
fn session(e: &mut Ensemble, at: At) -> (ConnId, i64) {
    let conn = e.connect(at, 0);
    let heard = e.heard(at, conn);
    let [Heard::Session(session, 5000)] = heard[..] else { panic!("{heard:?}") };
    (conn, session)
}

/// What a connection has heard after its session.
fn answers(e: &mut Ensemble, at: At, conn: ConnId) -> Vec<Heard> {
    e.heard(at, conn)[1..].to_vec()
}

/// The transactions that are proposed and not committed: what each is, of which request.
fn proposed(e: &Ensemble) -> Vec<(i32, i32)> {
    let entry = |txn: &[u8]| {
        let entry = TxnEntry::read(&mut Reader::with_limits(txn, Limits::NONE)).unwrap();
        (entry.header.op, entry.header.cxid)
    };
    e.proposed.iter().map(|(_, txn)| entry(txn)).collect()
}

#[test]
fn nobody_else_hears_of_a_local_session() {
    for at in [LEADER, LEARNER] {
        let mut e = Ensemble::with(2, KEPT);
        let (conn, session) = session(&mut e, at);
        assert_eq!(session >> 56, if at == LEADER { 1 } else { 2 }, "its member is in the id");
        assert_eq!((proposed(&e).len(), e.learners[0].up.len()), (0, 0));
        e.submit(at, conn, 1, &create("/a"));
        e.submit(at, conn, 2, &get("/a"));
        e.submit(at, conn, 3, &Request::CloseSession);
        e.submit(at, conn, 4, &get("/a"));
        assert_eq!(answers(&mut e, at, conn), [], "everything in its turn, the end too");
        e.run();
        let want = [1, 2, 3].map(|xid| Heard::Answer(xid, 0));
        assert_eq!(answers(&mut e, at, conn), [&want[..], &[Heard::Closed]].concat());
        let again = e.connect(at, session);
        e.run();
        assert_eq!(e.heard(at, again), EXPIRED);
        assert_eq!(e.leader.tree.last_zxid().counter(), 1, "the znode, and nothing else");
        assert!(e.leader.core.sessions().is_empty() && e.learners[0].core.sessions().is_empty());
    }
}

#[test]
fn a_local_session_owns_nothing_unless_it_may_be_upgraded() {
    let refused = ErrorCode::EphemeralOnLocalSession.code();
    for at in [LEADER, LEARNER] {
        let mut e = Ensemble::with(1, KEPT);
        let (conn, _) = session(&mut e, at);
        e.submit(at, conn, 1, &ephemeral("/e"));
        e.submit(at, conn, 2, &Request::Create(create_as("/s", CreateMode::EphemeralSequential)));
        e.submit(at, conn, 3, &create("/a"));
        e.run();
        let want = [(1, refused), (2, refused), (3, 0)].map(|(xid, err)| Heard::Answer(xid, err));
        assert_eq!(answers(&mut e, at, conn), want);
        // Refused as a transaction, of an own zxid.
        assert_eq!(e.leader.tree.last_zxid().counter(), 3);
    }
}

#[test]
fn an_ephemeral_in_a_multi_is_refused_in_its_place() {
    for (at, why) in [
        (LEADER, ErrorCode::EphemeralOnLocalSession),
        // It knows nothing of that session.
        (LEARNER, ErrorCode::SessionExpired),
    ] {
        let mut e = Ensemble::with(1, KEPT);
        let (conn, _) = session(&mut e, at);
        let ops = [("/a", CreateMode::Persistent), ("/e", CreateMode::Ephemeral)];
        let ops = ops.into_iter().map(|(path, mode)| MultiOp::Create(create_as(path, mode)));
        let multi = Request::Multi(MultiRequest { ops: ops.collect() });
        e.submit(at, conn, 1, &multi);
        while e.ask(0) {}
        let txn = e.proposed[0].1.clone();
        let entry = TxnEntry::read(&mut Reader::with_limits(&txn, Limits::NONE)).unwrap();
        let Txn::Multi(parts) = &entry.txn else { panic!("{entry:?}") };
        assert!(matches!(&parts[..], [Txn::Create(_), Txn::Error(code)] if *code == why.code()));
        e.run();
        assert_eq!(answers(&mut e, at, conn), [Heard::Answer(1, 0)]);
        assert!(e.leader.tree.get("/a").is_none(), "all or nothing");
    }
}

#[test]
fn an_ephemeral_upgrades_its_session_first() {
    for at in [LEADER, LEARNER] {
        let mut e = Ensemble::with(2, UPGRADED);
        let (conn, session) = session(&mut e, at);
        e.submit(at, conn, 1, &create("/a"));
        e.submit(at, conn, 2, &ephemeral("/a/e"));
        e.submit(at, conn, 3, &get("/a/e"));
        e.submit(at, conn, 4, &ephemeral("/f"));
        while e.ask(0) {}
        let ops = [(OpCode::Create, 1), (OpCode::CreateSession, 0), (OpCode::Create, 2)];
        let ops = [&ops[..], &[(OpCode::Create, 4)]].concat();
        let ops: Vec<_> = ops.into_iter().map(|(op, cxid)| (op.code(), cxid)).collect();
        assert_eq!(proposed(&e), ops, "once");
        for member in [&e.leader, &e.learners[0], &e.learners[1]] {
            assert_eq!(member.core.sessions().to_sorted(), [], "nothing is committed");
        }
        e.run();
        assert_eq!(answers(&mut e, at, conn), [1, 2, 3, 4].map(|xid| Heard::Answer(xid, 0)));
        for member in [&e.leader, &e.learners[0], &e.learners[1]] {
            assert_eq!(member.core.sessions().to_sorted(), [(SessionId(session), 5000)]);
            assert!(member.core.local_sessions().is_empty());
        }
        let owned: Vec<_> = e.leader.tree.ephemerals_of(SessionId(session)).collect();
        assert_eq!(owned.len(), 2);
        // As any other it moves, ends, and takes its ephemerals along.
        let moved = e.connect(OTHER, session);
        e.run();
        assert_eq!(e.heard(OTHER, moved), [Heard::Session(session, 5000)]);
        e.submit(OTHER, moved, 5, &Request::CloseSession);
        e.run();
        assert_eq!(e.leader.tree.ephemeral_count(), 0);
        assert!(e.learners[0].core.sessions().is_empty());
    }
}

/// Also what fails upgrades: the member does not know that yet.
#[test]
fn a_multi_upgrades_too_and_so_does_what_fails() {
    let mut e = Ensemble::with(1, UPGRADED);
    let (first, _) = session(&mut e, LEARNER);
    let (second, _) = session(&mut e, LEADER);
    let part = MultiOp::Create(create_as("/e", CreateMode::Ephemeral));
    e.submit(LEARNER, first, 1, &Request::Multi(MultiRequest { ops: vec![part] }));
    e.submit(LEADER, second, 1, &ephemeral("/no/parent"));
    e.run();
    assert_eq!(answers(&mut e, LEARNER, first), [Heard::Answer(1, 0)]);
    let missing = ErrorCode::NoNode.code();
    assert_eq!(answers(&mut e, LEADER, second), [Heard::Answer(1, missing)]);
    assert_eq!(e.leader.core.sessions().to_sorted().len(), 2);
    assert_eq!(e.leader.tree.ephemeral_count(), 1);
}

#[test]
fn a_local_session_is_renewed_where_it_is_and_nowhere_else() {
    for at in [LEADER, LEARNER] {
        let mut e = Ensemble::with(2, UPGRADED);
        let (first, session) = session(&mut e, at);
        for elsewhere in [LEADER, LEARNER, OTHER].into_iter().filter(|it| *it != at) {
            let conn = e.connect(elsewhere, session);
            e.run();
            assert_eq!(e.heard(elsewhere, conn), EXPIRED);
        }
        let wrong = e.connect_with(at, session, Some(&[7; 16]));
        assert_eq!(e.heard(at, wrong), EXPIRED);
        let second = e.connect(at, session);
        assert_eq!(e.heard(at, second), [Heard::Session(session, 5000)], "nobody is asked");
        assert_eq!(answers(&mut e, at, first), [Heard::Closed]);
        e.submit(at, second, 1, &create("/a"));
        e.run();
        assert_eq!(answers(&mut e, at, second), [Heard::Answer(1, 0)]);
    }
}

#[test]
fn a_session_may_move_while_it_is_upgraded() {
    let mut e = Ensemble::with(2, UPGRADED);
    let (first, session) = session(&mut e, LEARNER);
    e.submit(LEARNER, first, 1, &ephemeral("/e"));
    // To the same member: the leader is asked, and has heard of it.
    let second = e.connect(LEARNER, session);
    while e.ask(0) {}
    let valid = e.learners[0].down.pop_back().unwrap();
    e.learners[0].down.push_front(valid);
    let now = e.now();
    e.learners[0].hear(now).unwrap();
    assert_eq!(e.heard(LEARNER, second), [], "what it wrote before is under way");
    assert_eq!(answers(&mut e, LEARNER, first), [Heard::Closed]);
    // And to another one.
    let third = e.connect(OTHER, session);
    e.run();
    assert_eq!(e.heard(LEARNER, second), [Heard::Session(session, 5000)]);
    assert_eq!(e.heard(OTHER, third), [Heard::Session(session, 5000)]);
    assert_eq!(e.leader.tree.ephemeral_count(), 1);
    for member in [&e.leader, &e.learners[0], &e.learners[1]] {
        assert_eq!(member.core.sessions().to_sorted(), [(SessionId(session), 5000)]);
    }
}

#[test]
fn a_local_session_expires_at_its_member() {
    for at in [LEADER, LEARNER] {
        let mut e = Ensemble::with(1, UPGRADED);
        let (silent, gone) = session(&mut e, at);
        let (alive, _) = session(&mut e, at);
        let (ended, kept) = session(&mut e, at);
        e.now_ms = 4000;
        e.member(at).core.disconnected(ended, 3000);
        let heard_ms = |conn| (conn == alive).then_some(4000);
        for now_ms in [6000, 8000] {
            e.now_ms = now_ms;
            e.tick_at(at, heard_ms);
            assert_eq!((proposed(&e).len(), e.learners[0].up.len()), (0, 0));
        }
        assert_eq!(e.heard(at, silent).last(), Some(&Heard::Closed));
        assert_eq!(e.heard(at, alive).len(), 1);
        assert_eq!(e.member(at).core.local_sessions().len(), 2);
        assert_eq!(e.member(at).core.counters().sessions_expired, 1);
        let again = e.connect(at, kept);
        assert_eq!(e.heard(at, again), [Heard::Session(kept, 5000)]);
        let late = e.connect(at, gone);
        e.run();
        assert_eq!(e.heard(at, late), EXPIRED);
    }
}

#[test]
fn a_learner_tells_of_a_session_from_its_upgrade_on() {
    let mut e = Ensemble::with(1, UPGRADED);
    let (conn, session) = session(&mut e, LEARNER);
    assert_eq!(e.ping(0, |_| Some(0)), 0);
    e.submit(LEARNER, conn, 1, &ephemeral("/e"));
    assert_eq!(e.ping(0, |_| Some(0)), 1, "its upgrade may take long");
    e.run();
    e.now_ms = 4000;
    assert_eq!(e.ping(0, |_| Some(3999)), 1);
    // Now its end is the leader's to see.
    for now_ms in [9000, 12_000] {
        e.now_ms = now_ms;
        e.tick_at(LEARNER, |_| None);
        assert_eq!(e.heard(LEARNER, conn).len(), 2);
    }
    e.tick();
    e.run();
    assert_eq!(e.heard(LEARNER, conn).last(), Some(&Heard::Closed));
    assert_eq!(e.leader.tree.ephemeral_count(), 0);
    let again = e.connect(LEARNER, session);
    e.run();
    assert_eq!(e.heard(LEARNER, again), EXPIRED);
}

/// What an Apache member may send, or one of ours that is set up differently.
#[test]
fn a_leader_lets_unknown_sessions_pass_only_if_they_can_be_anothers() {
    let expired = ErrorCode::SessionExpired.code();
    for (local, id, want) in [
        (KEPT, 0x0200_0000_0000_0001, 0),
        (KEPT, 0x0100_0000_0000_0001, expired),
        (None, 0x0200_0000_0000_0001, expired),
    ] {
        let mut e = Ensemble::with(1, local);
        let mut body = Vec::new();
        create("/a").write(&mut body);
        let (session, op) = (SessionId(id), OpCode::Create);
        e.learners[0].up.push_back(Up::Request { session, cxid: 1, op, body, ids: Vec::new() });
        assert!(e.ask(0));
        let txn = e.proposed[0].1.clone();
        let entry = TxnEntry::read(&mut Reader::with_limits(&txn, Limits::NONE)).unwrap();
        let err = match entry.txn {
            Txn::Error(err) => err,
            _ => 0,
        };
        assert_eq!(err, want, "session {id:x}");
    }
}

/// A client, as the runs follow it.
struct Client {
    at: At,
    conn: ConnId,
    session: i64,
    /// The numbers of this connection's requests so far.
    xids: std::ops::Range<i32>,
    /// Whether it has asked for an ephemeral.
    is_upgraded: bool,
}

impl Client {
    fn begin(e: &mut Ensemble, at: At) -> Client {
        let (conn, session) = session(e, at);
        Client { at, conn, session, xids: 1..1, is_upgraded: false }
    }

    fn submit(&mut self, e: &mut Ensemble, what: usize) {
        let path = ["/a", "/a/b", "/c"][what % 3];
        let request = match (what, self.xids.end % 3) {
            (5, _) => ephemeral(path),
            (_, 0) => create(path),
            _ => get(path),
        };
        self.is_upgraded |= what == 5;
        e.submit(self.at, self.conn, self.xids.end, &request);
        self.xids.end += 1;
    }

    fn go(&mut self, e: &mut Ensemble, to: At) {
        let is_known = self.is_upgraded || to == self.at;
        // An upgrade that is under way could come second.
        e.run();
        e.member(self.at).core.disconnected(self.conn, 0);
        (self.at, self.conn) = (to, e.connect(to, self.session));
        e.run();
        let heard = e.heard(to, self.conn);
        if is_known {
            assert_eq!(heard, [Heard::Session(self.session, 5000)]);
            self.xids = self.xids.end..self.xids.end;
        } else {
            assert_eq!(heard, EXPIRED);
            *self = Client::begin(e, to);
        }
    }

    fn end(&mut self, e: &mut Ensemble) {
        e.submit(self.at, self.conn, self.xids.end, &Request::CloseSession);
        self.xids.end += 1;
        e.run();
        self.check(e);
        assert_eq!(e.heard(self.at, self.conn).last(), Some(&Heard::Closed));
        *self = Client::begin(e, self.at);
    }

    /// It was answered in the order of its requests.
    fn check(&self, e: &mut Ensemble) {
        let heard = answers(e, self.at, self.conn).into_iter();
        let xids = heard.filter_map(|heard| match heard {
            Heard::Answer(xid, _) => Some(xid),
            _ => None,
        });
        assert_eq!(xids.collect::<Vec<_>>(), self.xids.clone().collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever happens, a session is one member's or everybody's, and everybody's as soon as it
    /// asked for an ephemeral.
    #[test]
    fn random_runs(steps in prop::collection::vec(step(), 1..200)) {
        let mut e = Ensemble::with(2, UPGRADED);
        let mut clients: Vec<_> = (0..6).map(|i| Client::begin(&mut e, MEMBERS[i % 3])).collect();
        for step in steps {
            match step {
                Step::Submit(i, what) => clients[i].submit(&mut e, what),
                Step::Move(i, to) => clients[i].go(&mut e, MEMBERS[to]),
                Step::End(i) => clients[i].end(&mut e),
                step => e.go_on(&step),
            }
        }
        e.run();
        clients.iter().for_each(|client| client.check(&mut e));
        let of = |is_upgraded: bool, at: Option<At>| {
            let those = clients.iter().filter(|it| it.is_upgraded == is_upgraded);
            let those = those.filter(|it| at.is_none_or(|at| it.at == at));
            those.map(|it| SessionId(it.session)).collect::<BTreeSet<_>>()
        };
        for at in MEMBERS {
            let member = e.member(at);
            let ids = |all: Vec<(SessionId, i32)>| all.into_iter().map(|(id, _)| id).collect();
            let global: BTreeSet<_> = ids(member.core.sessions().to_sorted());
            let local: BTreeSet<_> = ids(member.core.local_sessions().to_sorted());
            prop_assert_eq!(global, of(true, None));
            prop_assert!(local.is_superset(&of(false, Some(at))));
            prop_assert_eq!(member.core.outstanding(), 0);
            prop_assert_eq!(member.core.counters().digest_mismatches, 0);
        }
        for owner in e.leader.tree.sessions_with_ephemerals() {
            prop_assert!(e.leader.core.sessions().get(owner).is_some(), "{:?}", owner);
        }
    }
}
