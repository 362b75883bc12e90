//! What a session has when it comes back on another connection.

use super::ensemble::{At, Ensemble, Heard, create};
use super::{LEARNER, answers, get};

/// Whatever it wrote on the connection before is done when it is told that it has its session, so
/// that no read of it is older.
#[test]
fn a_session_that_comes_back_sees_what_it_wrote_before() {
    for at in [At::Leader, LEARNER] {
        let mut e = Ensemble::new(1);
        let (old, session) = e.session(at);
        let (_, another) = e.session(at);
        e.submit(at, old, 1, &create("/a"));
        e.member(at).core.disconnected(old, 0);
        let (new, other) = (e.connect(at, session), e.connect(at, another));
        while e.ask(0) {}
        let now = e.now();
        while e.learners[0].hear(now).is_ok() && !e.learners[0].down.is_empty() {}
        assert_eq!(e.heard(at, new), [], "its write is under way");
        assert_eq!(e.heard(at, other), [Heard::Session(another, 5000)], "it has written nothing");
        e.run();
        assert_eq!(e.heard(at, new), [Heard::Session(session, 5000)]);
        e.submit(at, new, 1, &get("/a"));
        e.run();
        assert_eq!(answers(&mut e, at, new), [(1, 0)]);
    }
}

#[test]
fn a_session_that_waits_for_its_write_may_move_on() {
    let mut e = Ensemble::new(0);
    let (old, session) = e.session(At::Leader);
    e.submit(At::Leader, old, 1, &create("/a"));
    let (second, third) = (e.connect(At::Leader, session), e.connect(At::Leader, session));
    e.run();
    assert_eq!(e.heard(At::Leader, second), [Heard::Closed]);
    assert_eq!(e.heard(At::Leader, third), [Heard::Session(session, 5000)]);
}

/// A connection that the session has left is not its client any more.
#[test]
fn only_the_connection_that_has_a_session_keeps_it_alive() {
    let mut e = Ensemble::new(0);
    let (old, session) = e.session(At::Leader);
    e.now_ms = 1000;
    let new = e.connect(At::Leader, session);
    e.run();
    e.member(At::Leader).core.disconnected(new, 1000);
    e.member(At::Leader).core.disconnected(old, 9000);
    e.now_ms = 10_000;
    e.tick();
    e.run();
    assert!(e.leader.core.sessions().is_empty());
}
