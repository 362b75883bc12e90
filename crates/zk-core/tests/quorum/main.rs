//! A leader and its learners: what clients of learners ask for becomes the leader's transactions,
//! and comes back.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod ensemble;
mod local;
mod renewals;
mod steps;

use ensemble::{At, Down, Ensemble, Heard, Up, create};
use proptest::prelude::*;
use steps::{MEMBERS, Step, step};
use zk_core::LearnError;
use zk_proto::request::{ReadRequest, Request, SetDataRequest, SyncRequest, VersionedPath};
use zk_proto::{ErrorCode, OpCode, SessionId};

const LEARNER: At = At::Learner(0);

fn get(path: &str) -> Request<'_> {
    Request::GetData(ReadRequest { path: path.into(), watch: false })
}

fn set(path: &str) -> Request<'_> {
    Request::SetData(SetDataRequest { path: path.into(), data: Some(b"x"), version: -1 })
}

fn sync() -> Request<'static> {
    Request::Sync(SyncRequest { path: Some("/".into()) })
}

fn answers(ensemble: &mut Ensemble, at: At, conn: zk_tree::ConnId) -> Vec<(i32, i32)> {
    let heard = ensemble.heard(at, conn).into_iter();
    heard
        .filter_map(|heard| match heard {
            Heard::Answer(xid, err) => Some((xid, err)),
            _ => None,
        })
        .collect()
}

fn code(code: ErrorCode) -> i32 {
    code.code()
}

#[test]
fn a_learner_answers_when_the_transaction_has_come_back() {
    let mut e = Ensemble::new(1);
    let (conn, session) = e.session(LEARNER);
    assert_eq!(session >> 56, 2, "its own number is in the id");
    e.submit(LEARNER, conn, 1, &create("/a"));
    e.submit(LEARNER, conn, 2, &get("/a"));
    e.submit(LEARNER, conn, 3, &create("/a"));
    assert!(e.ask(0) && e.ask(0));
    assert!(answers(&mut e, LEARNER, conn).is_empty(), "nothing is committed");
    assert!(e.commit());
    assert!(answers(&mut e, LEARNER, conn).is_empty(), "nothing has come here");
    let now = e.now();
    e.learners[0].hear(now).unwrap();
    assert_eq!(answers(&mut e, LEARNER, conn), [(1, 0), (2, 0)], "the read in its turn");
    e.run();
    let exists = code(ErrorCode::NodeExists);
    assert_eq!(answers(&mut e, LEARNER, conn), [(1, 0), (2, 0), (3, exists)]);
    assert_eq!(e.learners[0].tree.digest(), e.leader.tree.digest());
}

#[test]
fn what_other_members_did_is_told_to_nobody() {
    let mut e = Ensemble::new(2);
    let (here, _) = e.session(LEARNER);
    let (there, _) = e.session(At::Learner(1));
    let (leaders, _) = e.session(At::Leader);
    // The same numbers.
    e.submit(LEARNER, here, 1, &create("/a"));
    e.submit(At::Learner(1), there, 1, &create("/a"));
    e.submit(At::Leader, leaders, 1, &create("/a"));
    e.run();
    let all = [answers(&mut e, LEARNER, here), answers(&mut e, At::Learner(1), there)];
    assert_eq!(answers(&mut e, At::Leader, leaders), [(1, 0)], "it asked nobody");
    let exists = code(ErrorCode::NodeExists);
    assert_eq!(all, [[(1, exists)], [(1, exists)]]);
}

#[test]
fn a_sync_waits_for_the_leader_and_keeps_its_turn() {
    let mut e = Ensemble::new(1);
    let (conn, _) = e.session(LEARNER);
    let (leaders, _) = e.session(At::Leader);
    e.submit(At::Leader, leaders, 1, &create("/a"));
    // Everything is quiet here, and still it is no matter of this member alone.
    e.submit(LEARNER, conn, 1, &sync());
    e.submit(LEARNER, conn, 2, &get("/a"));
    e.submit(LEARNER, conn, 3, &set("/a"));
    assert!(answers(&mut e, LEARNER, conn).is_empty());
    e.run();
    assert_eq!(answers(&mut e, LEARNER, conn), [(1, 0), (2, 0), (3, 0)]);
}

#[test]
fn what_cannot_be_read_is_a_transaction_too() {
    let mut e = Ensemble::new(1);
    let (conn, _) = e.session(LEARNER);
    let frame = |xid: i32, op: OpCode, body: &[u8]| {
        [&xid.to_be_bytes(), &op.code().to_be_bytes(), body].concat()
    };
    // A null path, a body that is cut short, an unknown flag, none of it.
    e.submit_frame(LEARNER, conn, &frame(1, OpCode::Delete, &[0xff; 8]));
    e.submit_frame(LEARNER, conn, &frame(2, OpCode::SetData, &[0xff; 12]));
    e.submit_frame(LEARNER, conn, &frame(3, OpCode::SetData, &[0, 0, 0, 9, b'/']));
    e.submit_frame(LEARNER, conn, &frame(4, OpCode::Multi, &[]));
    e.submit(LEARNER, conn, 5, &create("/a"));
    e.run();
    let marshalling = code(ErrorCode::MarshallingError);
    let bad = code(ErrorCode::BadArguments);
    assert_eq!(
        answers(&mut e, LEARNER, conn),
        [(1, marshalling), (2, bad), (3, marshalling), (4, marshalling), (5, 0)]
    );
}

#[test]
fn a_session_moves_from_member_to_member() {
    let mut e = Ensemble::new(2);
    let (first, session) = e.session(LEARNER);
    let second = e.connect(At::Learner(1), session);
    assert_eq!(e.heard(At::Learner(1), second), [], "the leader decides");
    e.run();
    assert_eq!(e.heard(At::Learner(1), second), [Heard::Session(session, 5000)]);
    // The one before does not know it yet.
    e.submit(LEARNER, first, 1, &create("/a"));
    e.submit(At::Learner(1), second, 2, &create("/a"));
    e.run();
    assert_eq!(answers(&mut e, LEARNER, first), []);
    assert_eq!(e.heard(LEARNER, first).last(), Some(&Heard::Closed));
    assert_eq!(answers(&mut e, At::Learner(1), second), [(2, 0)]);
    // To the leader and away again: there the connection is closed at once.
    let third = e.connect(At::Leader, session);
    assert_eq!(e.heard(At::Leader, third), [Heard::Session(session, 5000)]);
    let fourth = e.connect(LEARNER, session);
    e.run();
    assert_eq!(e.heard(At::Leader, third).last(), Some(&Heard::Closed));
    assert_eq!(e.heard(LEARNER, fourth), [Heard::Session(session, 5000)]);
}

#[test]
fn a_session_that_is_gone_or_somebody_elses_is_refused() {
    let mut e = Ensemble::new(1);
    let (conn, session) = e.session(LEARNER);
    let wrong = e.connect_with(LEARNER, session, Some(&[7; 16]));
    assert_eq!(e.heard(LEARNER, wrong), [Heard::Session(0, 0), Heard::Closed]);
    assert!(e.learners[0].up.is_empty(), "the leader is not asked");
    e.submit(LEARNER, conn, 1, &Request::CloseSession);
    e.run();
    assert_eq!(answers(&mut e, LEARNER, conn), [(1, 0)]);
    assert_eq!(e.heard(LEARNER, conn).last(), Some(&Heard::Closed));
    let again = e.connect(LEARNER, session);
    e.run();
    assert_eq!(e.heard(LEARNER, again), [Heard::Session(0, 0), Heard::Closed]);
}

#[test]
fn sessions_live_by_what_learners_tell_of_them() {
    let mut e = Ensemble::new(1);
    let (alive, _) = e.session(LEARNER);
    let (silent, _) = e.session(LEARNER);
    let (ended, _) = e.session(LEARNER);
    e.now_ms = 4000;
    assert_eq!(e.ping(0, |_| Some(100)), 3);
    e.now_ms = 7000;
    e.learners[0].core.disconnected(ended, 6900);
    let heard_ms = |conn| Some(if conn == silent { 1000 } else { 6500 });
    assert_eq!(e.ping(0, heard_ms), 2, "the one that ended was heard as well");
    e.learners[0].core.disconnected(zk_tree::ConnId(99), 6900);
    assert_eq!(e.ping(0, heard_ms), 0, "nothing new");
    let (late, _) = e.session(LEARNER);
    e.learners[0].core.disconnected(late, 6999);
    assert_eq!(e.ping(0, heard_ms), 0, "it was heard before the last answer");
    e.now_ms = 10_000;
    e.tick();
    e.run();
    assert_eq!(e.heard(LEARNER, silent).last(), Some(&Heard::Closed));
    assert_eq!(e.heard(LEARNER, alive).len(), 1);
    assert_eq!(e.leader.core.sessions().len(), 3);
    assert_eq!(e.learners[0].core.sessions().len(), 3);
}

#[test]
fn what_waits_is_done_before_the_next_transaction_even_if_nobody_asks_for_it() {
    let mut e = Ensemble::new(1);
    let (conn, _) = e.session(LEARNER);
    for (xid, request) in [(1, create("/a")), (2, get("/a")), (3, set("/a")), (4, get("/a"))] {
        e.submit(LEARNER, conn, xid, &request);
    }
    while e.ask(0) || e.commit() {}
    e.learners[0].hear_lazily();
    assert_eq!(answers(&mut e, LEARNER, conn), [(1, 0), (2, 0), (3, 0)]);
}

#[test]
fn a_session_whose_end_is_under_way_is_nobodys() {
    let mut e = Ensemble::new(1);
    let (conn, session) = e.session(LEARNER);
    e.submit(LEARNER, conn, 1, &Request::CloseSession);
    assert!(e.ask(0));
    let again = e.connect(At::Leader, session);
    e.run();
    assert_eq!(e.heard(At::Leader, again), [Heard::Session(0, 0), Heard::Closed]);
}

/// The answer of the leader overtakes what it committed before, which must get to the own disk
/// first.
#[test]
fn a_session_may_move_to_a_learner_that_does_not_know_it_yet() {
    let mut e = Ensemble::new(1);
    let first = e.connect(At::Leader, 0);
    assert!(e.commit());
    let Heard::Session(session, _) = e.heard(At::Leader, first)[0] else { panic!("no session") };
    let conn = e.connect(LEARNER, session);
    assert!(e.ask(0));
    let answer = e.learners[0].down.pop_back().unwrap();
    e.learners[0].down.push_front(answer);
    e.run();
    assert_eq!(e.heard(LEARNER, conn), [Heard::Session(session, 5000)]);
    e.submit(LEARNER, conn, 1, &create("/a"));
    e.run();
    assert_eq!(answers(&mut e, LEARNER, conn), [(1, 0)]);
}

#[test]
fn a_client_may_be_gone_when_the_leader_answers() {
    let mut e = Ensemble::new(1);
    let (first, session) = e.session(LEARNER);
    let second = e.connect(LEARNER, session);
    e.learners[0].core.disconnected(second, 0);
    e.run();
    // It was closed when the leader was asked, and the session waits for who comes next.
    assert_eq!(e.heard(LEARNER, first), [Heard::Session(session, 5000), Heard::Closed]);
    let owner = e.learners[0].core.sessions().get(SessionId(session)).unwrap().owner;
    assert_eq!(owner, Some(zk_core::Owner::Conn(first)));
}

/// The leader gives the session to the learner when it is asked: what an old connection there still
/// says would come behind what was done elsewhere meanwhile.
#[test]
fn an_old_connection_says_nothing_more_when_its_session_comes_back() {
    let mut e = Ensemble::new(1);
    let (first, session) = e.session(LEARNER);
    let elsewhere = e.connect(At::Leader, session);
    e.submit(At::Leader, elsewhere, 2, &create("/newer"));
    e.run();
    assert_eq!(answers(&mut e, At::Leader, elsewhere), [(2, 0)]);
    let again = e.connect(LEARNER, session);
    e.submit(LEARNER, first, 1, &create("/older"));
    let is_request = |up: &Up| matches!(up, Up::Request { .. });
    assert!(!e.learners[0].up.iter().any(is_request), "it is forwarded");
    e.run();
    assert_eq!(e.heard(LEARNER, again), [Heard::Session(session, 5000)]);
}

/// A quorum without the leader may commit, and a learner's client be served, before the leader has
/// applied what opened its session.
#[test]
fn a_learners_session_counts_for_the_leader_from_its_proposal_on() {
    let mut e = Ensemble::new(1);
    let conn = e.connect(LEARNER, 0);
    let Some(&Up::Request { session, .. }) = e.learners[0].up.front() else { panic!("no session") };
    assert!(e.ask(0));
    assert_eq!(e.leader.core.sessions().to_sorted(), [], "it may be lost");
    let mut body = Vec::new();
    create("/a").write(&mut body);
    let (op, ids) = (OpCode::Create, Vec::new());
    e.learners[0].up.push_back(Up::Request { session, cxid: 1, op, body, ids });
    e.run();
    assert!(e.leader.tree.get("/a").is_some());
    assert_eq!(e.heard(LEARNER, conn), [Heard::Session(session.0, 5000)]);
}

/// It would wait for ever, and every answer behind it would be that of another request.
#[test]
fn a_leader_that_passes_over_a_request_is_left() {
    let mut e = Ensemble::new(1);
    let (conn, session) = e.session(LEARNER);
    for xid in 1..=2 {
        e.submit(LEARNER, conn, xid, &create("/a"));
    }
    e.learners[0].up.pop_front();
    assert!(e.ask(0) && e.commit());
    let now = e.now();
    let passed_over = LearnError::PassedOver { session: SessionId(session), cxid: 1 };
    assert_eq!(e.learners[0].hear(now), Err(passed_over));
    assert!(answers(&mut e, LEARNER, conn).is_empty());
    e.learners[0].down.push_back(Down::Txn(vec![0; 3]));
    assert!(matches!(e.learners[0].hear(now), Err(LearnError::Unreadable(_))));
}

/// The leader closes a session while its client's first request, which may have the number 0 too,
/// is on its way.
#[test]
fn the_leaders_own_end_of_a_session_answers_no_request() {
    let mut e = Ensemble::new(1);
    let (conn, _) = e.session(LEARNER);
    e.submit(LEARNER, conn, 0, &create("/a"));
    e.now_ms = 20_000;
    e.tick();
    assert!(e.commit());
    let now = e.now();
    e.learners[0].hear(now).unwrap();
    assert!(answers(&mut e, LEARNER, conn).is_empty());
    assert_eq!(e.heard(LEARNER, conn).last(), Some(&Heard::Closed));
    e.run();
    assert!(e.leader.tree.get("/a").is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Every client is answered in the order of its requests, and all trees are one.
    #[test]
    fn random_runs(steps in prop::collection::vec(step(), 1..200)) {
        let mut e = Ensemble::new(2);
        // Where it is, its connection there, its session, and the first number of that connection.
        let mut clients: Vec<_> = (0..6).map(|i| {
            let at = MEMBERS[i % 3];
            let (conn, session) = e.session(at);
            (at, conn, session, 1, 1)
        }).collect();
        for step in steps {
            match step {
                Step::Submit(i, what) => {
                    let (at, conn, _, _, xid) = &mut clients[i];
                    let path = ["/a", "/a/b", "/c"][what % 3];
                    let request = match (what, *xid % 3) {
                        (5, _) => sync(),
                        (_, 0) => create(path),
                        (3.., 1) => set(path),
                        (_, 1) => Request::Delete(VersionedPath { path: path.into(), version: -1 }),
                        _ => get(path),
                    };
                    e.submit(*at, *conn, *xid, &request);
                    *xid += 1;
                }
                Step::Move(i, to) => {
                    let (at, conn, session, first, next) = &mut clients[i];
                    e.member(*at).core.disconnected(*conn, 0);
                    (*at, *first) = (MEMBERS[to], *next);
                    *conn = e.connect(*at, *session);
                    e.run();
                    let heard = e.heard(*at, *conn);
                    prop_assert_eq!(heard, [Heard::Session(*session, 5000)]);
                }
                step => e.go_on(&step),
            }
        }
        e.run();
        for (at, conn, _, first, next) in clients {
            let xids: Vec<_> = answers(&mut e, at, conn).iter().map(|(xid, _)| *xid).collect();
            prop_assert_eq!(xids, (first..next).collect::<Vec<_>>());
        }
        for learner in &e.learners {
            prop_assert_eq!(learner.tree.digest(), e.leader.tree.digest());
            prop_assert_eq!(learner.core.sessions().to_sorted(), e.leader.core.sessions().to_sorted());
            prop_assert_eq!(learner.core.outstanding(), 0);
            prop_assert_eq!(learner.core.counters().digest_mismatches, 0);
        }
    }
}
