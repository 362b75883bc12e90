//! How much comes out of one turn: the log has room for a turn, not for everything that is due.

#![allow(missing_docs)]

use std::collections::BTreeSet;
use zk_core::{Admission, Core, CoreOptions, Effect, Effects, TURN_BYTES, Times};
use zk_proto::txn::TxnEntry;
use zk_proto::{Jute, Limits, Reader, SessionId};
use zk_tree::{Tree, TreeOptions};

const SESSIONS: i64 = 20_000;

fn at(ms: i64) -> Times {
    Times { monotonic_ms: ms, wall_ms: ms }
}

/// A member that has recovered many sessions.
fn crowded() -> (Core, Tree) {
    let options = CoreOptions::default();
    let tree = Tree::new(TreeOptions::default());
    let sessions = (1..=SESSIONS).map(|id| (SessionId(id), 4000));
    (Core::new(options, &tree, sessions, at(0)), tree)
}

/// Whose sessions were closed.
fn closed(fx: &Effects) -> Vec<i64> {
    let of = |effect: &Effect| match effect {
        Effect::Append { txn, .. } => {
            let mut r = Reader::with_limits(fx.get(*txn), Limits::NONE);
            TxnEntry::read(&mut r).map(|entry| entry.header.client_id).ok()
        }
        _ => None,
    };
    fx.list.iter().filter_map(of).collect()
}

#[test]
fn many_sessions_expire_in_turns_and_each_of_them_once() {
    let (mut core, tree) = crowded();
    let (mut fx, mut all, mut turns) = (Effects::new(), BTreeSet::new(), 0);
    loop {
        let more = core.tick(&tree, at(10_000), |_| None, &mut fx);
        turns += 1;
        assert!(fx.bytes.len() < TURN_BYTES + 200, "{} bytes in a turn", fx.bytes.len());
        for session in closed(&fx) {
            assert!(all.insert(session), "session {session} was closed twice");
        }
        fx.clear();
        if !more {
            break;
        }
    }
    assert!(turns > 3, "{turns} turns");
    assert_eq!(all.len() as i64, SESSIONS);
    assert!(!core.tick(&tree, at(20_000), |_| None, &mut fx) && fx.list.is_empty());
}

#[test]
fn nothing_expires_and_nothing_is_reaped_while_nothing_can_be_logged() {
    let (mut core, tree) = crowded();
    let mut fx = Effects::new();
    assert!(core.tick(&tree, at(10_000), |_| None, &mut fx), "some are due still");
    fx.clear();
    core.set_admission(Admission::ReadOnly);
    assert!(!core.tick(&tree, at(12_000), |_| None, &mut fx));
    core.reap(&tree, at(12_000), "/zookeeper", 0, &mut fx);
    assert!(fx.list.is_empty());
    core.set_admission(Admission::Serving);
    core.tick(&tree, at(14_000), |_| None, &mut fx);
    assert!(!closed(&fx).is_empty());
}
