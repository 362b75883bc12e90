//! What is told of sessions that come, end and are refused.

#![allow(clippy::unwrap_used, missing_docs)]

use zk_core::{
    Admission, Core, CoreOptions, Effect, Effects, News, Refusal, ThrottleOptions, Times,
};
use zk_proto::connect::ConnectRequest;
use zk_proto::{Jute, SessionId};
use zk_tree::{ConnId, Tree, TreeOptions, Watches};

fn at(ms: i64) -> Times {
    Times { monotonic_ms: ms, wall_ms: ms }
}

struct Member {
    core: Core,
    tree: Tree,
    next: u64,
}

impl Member {
    fn new(options: CoreOptions) -> Member {
        let tree = Tree::new(TreeOptions::default());
        let core = Core::new(options, &tree, [(SessionId(7), 4000)], at(0));
        Member { core, tree, next: 1 }
    }

    /// What is told of a connect request on a new connection, and whether it is closed.
    fn connect(&mut self, session_id: i64, last_zxid_seen: i64) -> (Vec<News>, bool) {
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen,
            timeout_ms: 5000,
            session_id: SessionId(session_id),
            password: None,
            read_only: Some(false),
        };
        self.handshake(&request.to_bytes())
    }

    fn handshake(&mut self, frame: &[u8]) -> (Vec<News>, bool) {
        let conn = ConnId(self.next);
        self.next += 1;
        self.core.connected(conn, None, Vec::new());
        let mut fx = Effects::new();
        self.core.handshake(&self.tree, at(1), conn, frame, &mut fx);
        let is_closed = fx.list.contains(&Effect::Close { conn });
        (fx.news.clone(), is_closed)
    }

    /// Logs and applies all.
    fn settle(&mut self) -> Vec<News> {
        let mut fx = Effects::new();
        let last = self.core.last_proposed();
        let mut watches = Watches::new(1);
        while self.core.committed(&mut self.tree, &mut watches, 1, last, 99, &mut fx) {}
        fx.news
    }
}

#[track_caller]
fn refused((news, is_closed): (Vec<News>, bool)) -> Refusal {
    let [News::Refused { why, .. }] = news[..] else { panic!("{news:?}") };
    assert!(is_closed, "{why:?}");
    why
}

#[test]
fn each_refusal_has_its_reason() {
    let mut member = Member::new(CoreOptions { max_sessions: 2, ..CoreOptions::default() });
    assert_eq!(member.connect(0, 0), (vec![], false));
    assert_eq!(refused(member.connect(0, 0)), Refusal::TooManySessions);
    assert_eq!(refused(member.connect(0, 99)), Refusal::Ahead(99));
    member.settle();
    assert_eq!(refused(member.connect(7, 0)), Refusal::UnknownSession, "a wrong password");
    assert_eq!(refused(member.handshake(b"no")), Refusal::Form);
    member.core.set_admission(Admission::ReadOnly);
    assert_eq!(refused(member.connect(0, 0)), Refusal::NotServing);
    assert_eq!(refused(member.connect(8, 0)), Refusal::UnknownSession);
    member.core.set_admission(Admission::Closed);
    assert_eq!(refused(member.connect(7, 0)), Refusal::NotServing);
}

#[test]
fn the_throttle_refuses_before_anything_else() {
    let throttle = ThrottleOptions {
        tokens: 1,
        fill_count: 1,
        fill_ms: 1_000_000,
        freeze_ms: None,
        drop_increase: 0.0,
        drop_decrease: 0.0,
        decrease_ratio: 0.0,
        new_session_tokens: 1,
        local_session_tokens: 1,
        renewal_tokens: 1,
    };
    let options = CoreOptions { throttle: Some(throttle), ..CoreOptions::default() };
    let mut member = Member::new(options);
    assert_eq!(member.connect(0, 0), (vec![], false));
    assert_eq!(refused(member.connect(0, 99)), Refusal::TooManyRequests);
    let counters = member.core.counters();
    assert_eq!((counters.connect_requests, counters.connects_throttled), (1, 1));
    assert_eq!(member.core.token_deficit(), 1);
}

#[test]
fn a_session_that_expires_is_told_twice_as_it_is_found_and_as_it_is_gone() {
    let mut member = Member::new(CoreOptions::default());
    let mut fx = Effects::new();
    member.core.tick(&member.tree, at(60_000), |_| None, &mut fx);
    let session = SessionId(7);
    assert_eq!(fx.news, [News::Expired { session, timeout_ms: 4000 }]);
    assert_eq!(member.settle(), [News::Ended { session }]);
}
