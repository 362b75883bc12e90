//! Quotas, and what of their usage is under way.

use super::{World, create, delete, set};
use zk_proto::acl::AclBytes;
use zk_proto::request::{Create, CreateMode, MultiOp, MultiRequest, Request};
use zk_proto::txn::TxnEntry;
use zk_proto::{ErrorCode, Jute, Limits, OpCode, Reader};

/// A server that applies so many transactions late; `/q` may have one child, and four bytes.
fn limited(lag: usize) -> World {
    let mut w = World::new(0);
    w.options.enforce_quota = true;
    for path in ["/q", "/zookeeper/quota/q"] {
        w.request(create(path, CreateMode::Persistent)).expect(path);
    }
    let limits = Request::Create(Create {
        op: OpCode::Create,
        path: "/zookeeper/quota/q/zookeeper_limits".into(),
        data: Some(b"count=-1,bytes=-1=;byteHardLimit=4;countHardLimit=2"),
        acl: AclBytes::OPEN,
        flags: 0,
        ttl_ms: 0,
    });
    w.request(limits).expect("limits");
    w.request(create("/zookeeper/quota/q/zookeeper_stats", CreateMode::Persistent)).expect("stats");
    w.lag = lag;
    w
}

#[test]
fn quotas_count_and_hard_ones_refuse() {
    let mut w = limited(0);
    assert_eq!(w.request(create("/q/1", CreateMode::Persistent)), Ok(()));
    assert_eq!(w.request(create("/q/2", CreateMode::Persistent)), Err(ErrorCode::QuotaExceeded));
    assert_eq!(
        w.request(set("/q/1", b"abcd", 7)),
        Err(ErrorCode::QuotaExceeded),
        "before the version"
    );
    assert_eq!(w.request(set("/q/1", b"abc", -1)), Ok(()));
    let lower = b"count=-1,bytes=-1=;byteHardLimit=1;countHardLimit=2";
    w.request(set("/zookeeper/quota/q/zookeeper_limits", lower, -1)).expect("limits");
    assert_eq!(w.request(set("/q/1", b"xyz", -1)), Ok(()), "above its limit, but not more");
    let (_, _, usage) = w.tree.quota_of("/q/x").expect("governed");
    assert_eq!((usage.count, usage.bytes), (2, 4));
    w.request(delete("/q/1", -1)).expect("delete");
    let (_, _, usage) = w.tree.quota_of("/q").expect("governed");
    assert_eq!((usage.count, usage.bytes), (1, 1));
}

#[test]
fn what_is_under_way_counts() {
    let mut w = limited(100);
    let create = |path| create(path, CreateMode::Persistent);
    assert_eq!(w.request(create("/q/1")), Ok(()));
    assert_eq!(w.request(create("/q/2")), Err(ErrorCode::QuotaExceeded));
    assert_eq!(w.request(set("/q/1", b"abcde", -1)), Err(ErrorCode::QuotaExceeded));
    assert_eq!(w.request(set("/q/1", b"abc", 9)), Err(ErrorCode::BadVersion), "changes nothing");
    assert_eq!(w.request(set("/q/1", b"abc", -1)), Ok(()));
    assert_eq!(w.request(set("/q", b"dd", -1)), Err(ErrorCode::QuotaExceeded));
    assert_eq!(w.request(delete("/q/1", -1)), Ok(()));
    assert_eq!(w.request(create("/q/2")), Ok(()), "there is room again");
    w.finish();
    assert_eq!(w.request(create("/q/3")), Err(ErrorCode::QuotaExceeded));
}

/// What it answers, and what it has in the end, do not depend on how much is applied.
#[test]
fn quotas_that_are_under_way_count() {
    let stats = "/zookeeper/quota/q/zookeeper_stats";
    let limits = "/zookeeper/quota/q/zookeeper_limits";
    let tell = |lag| {
        let mut w = limited(lag);
        let create = |path| create(path, CreateMode::Persistent);
        let more = b"count=-1,bytes=-1=;countHardLimit=3";
        let mut told = Vec::new();
        for request in [
            create("/q/1"),
            create("/q/2"),
            set(limits, more, -1),
            create("/q/2"),
            create("/q/3"),
            delete(stats, -1),
            create("/q/3"),
            create("/q/3/x"),
            create(stats),
            create("/q/4"),
            set(stats, b"count=1,bytes=1", -1),
            create("/q/4"),
            delete(limits, -1),
            create("/q/5"),
            create("/zookeeper/quota/q/3"),
            create("/zookeeper/quota/q/3/zookeeper_stats"),
            create("/zookeeper/quota/q/3/zookeeper_limits"),
            set("/zookeeper/quota/q/3/zookeeper_limits", more, -1),
            create("/q/3/y"),
            create("/q/3/z"),
        ] {
            told.push(w.request(request).err());
        }
        w.finish();
        assert!(w.pending.quotas.is_empty());
        (told, w.tree.digest())
    };
    let over = Some(ErrorCode::QuotaExceeded);
    let (told, digest) = tell(0);
    let refused: Vec<_> = (0..told.len()).filter(|&i| told[i] == over).collect();
    assert_eq!(refused, [1, 4, 9, 19], "{told:?}");
    for lag in [1, 2, 5, 100] {
        assert_eq!(tell(lag), (told.clone(), digest), "{lag}");
    }
}

#[test]
fn the_parts_of_a_multi_are_checked_against_the_usage_before_it() {
    let mut w = limited(100);
    let part = |path| match create(path, CreateMode::Persistent) {
        Request::Create(create) => MultiOp::Create(create),
        _ => unreachable!("a create"),
    };
    let both = |a, b| Request::Multi(MultiRequest { ops: vec![part(a), part(b)] });
    let last = |w: &World| {
        let bytes = w.log.last().expect("a transaction");
        let mut r = Reader::with_limits(bytes, Limits::NONE);
        TxnEntry::read(&mut r).expect("own txn").txn.is_failure()
    };
    // As in Apache: each alone would do.
    w.request(both("/q/1", "/q/2")).expect("prepared");
    assert!(!last(&w));
    w.request(both("/q/3", "/q/4")).expect("prepared");
    assert!(last(&w), "the first one has taken the room");
    w.request(delete("/q/1", -1)).expect("delete");
    assert_eq!(w.request(create("/q/3", CreateMode::Persistent)), Err(ErrorCode::QuotaExceeded));
    w.request(delete("/q/2", -1)).expect("delete");
    w.request(both("/q/3", "/q/3")).expect("prepared");
    assert!(last(&w), "twice the same");
    assert_eq!(w.request(create("/q/3", CreateMode::Persistent)), Ok(()), "nothing was left");
    w.finish();
}
