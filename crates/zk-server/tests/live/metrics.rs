//! Figures of a live member move when what they count happens, and only then.

use zk_proto::acl::AclBytes;
use zk_proto::request::{AuthPacket, MultiOp, MultiRequest, Request, VersionedPath};

use crate::client::{Client, create, get};
use crate::member::Member;
use crate::wait_until;

const QUOTA_EXCEEDED: i32 = -125;

/// A figure of `mntr`, without its `zk_`.
pub(crate) fn figure(member: &Member, name: &str) -> String {
    let text = member.word("mntr");
    let value = |line: &str| Some(line.strip_prefix("zk_")?.strip_prefix(name)?.to_owned());
    let found = text.lines().find_map(|line| value(line)?.strip_prefix('\t').map(str::to_owned));
    found.unwrap_or_else(|| panic!("no {name} in:\n{text}"))
}

fn delete(path: &str) -> Request<'_> {
    Request::Delete(VersionedPath { path: path.into(), version: -1 })
}

#[test]
fn fired_watches_are_counted_by_kind() {
    let member = Member::start("");
    let mut clients: Vec<Client> = (0..3).map(|_| member.client()).collect();
    assert_eq!(clients[0].create("/w", b"").unwrap(), 0);
    for client in &mut clients {
        client.call(&get("/w", true)).unwrap();
    }
    assert_eq!(figure(&member, "cnt_node_changed_watch_count"), "0");
    let mut other = member.client();
    assert_eq!(other.set("/w", b"1"), 0);
    // Nobody waits any more.
    assert_eq!(other.set("/w", b"2"), 0);
    clients[1].event();
    clients[1].call(&get("/w", true)).unwrap();
    assert_eq!(other.call(&delete("/w")).unwrap().err, 0);
    for (name, value) in [
        ("cnt_node_changed_watch_count", "1"),
        ("max_node_changed_watch_count", "3"),
        ("cnt_node_deleted_watch_count", "1"),
        ("sum_node_deleted_watch_count", "1"),
        ("cnt_node_created_watch_count", "0"),
        ("cnt_node_children_watch_count", "0"),
    ] {
        assert_eq!(figure(&member, name), value, "{name}");
    }
}

#[test]
fn connections_that_clients_drop_are_counted_and_those_that_close_are_not() {
    let member = Member::start("");
    let mut polite = member.client();
    assert_eq!(polite.call(&Request::CloseSession).unwrap().err, 0);
    assert!(polite.ends());
    drop(member.client());
    wait_until("it is counted", || figure(&member, "connection_drop_count") == "1");
    assert_eq!(figure(&member, "connection_request_count"), "2");
}

#[test]
fn requests_on_their_way_to_the_log_are_counted() {
    let member = Member::start("");
    let mut client = member.client();
    for n in 0..5 {
        assert_eq!(client.create(&format!("/n{n}"), b"").unwrap(), 0);
        assert!(client.get("/n0").is_ok());
    }
    assert_eq!(figure(&member, "prep_processor_request_queued"), "5");
    // The session is a txn too.
    assert_eq!(figure(&member, "sync_processor_request_queued"), "6");
    for name in ["cnt_startup_snap_load_time", "cnt_startup_txns_load_time"] {
        assert_eq!(figure(&member, name), "1", "{name}");
    }
}

#[test]
fn names_of_ensembles_are_counted() {
    let provider = "authProvider.1=org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider";
    let member = Member::start(&format!("{provider}\nensembleAuthName=ours,too\n"));
    let say = |name: &[u8]| {
        let (scheme, auth) = (Some("ensemble".into()), Some(name));
        let packet = AuthPacket { auth_type: 0, scheme, auth };
        let mut client = member.client();
        client.send(&Request::Auth(packet)).unwrap();
        client.reply().map(|reply| reply.err)
    };
    assert_eq!([say(b"ours"), say(b"too"), say(b"")].map(Result::unwrap), [0; 3]);
    assert!(say(b"theirs").is_err());
    let all = ["success", "skip", "fail"];
    let counts = all.map(|name| figure(&member, &format!("ensemble_auth_{name}")));
    assert_eq!(counts, ["2", "1", "1"]);
}

#[test]
fn writes_that_a_quota_refuses_are_counted_by_the_first_part_of_their_paths() {
    let member = Member::start("enforceQuota=true");
    let mut client = member.client();
    let mut make =
        |path: &str, data: &[u8]| client.call(&create(path, data, AclBytes::OPEN)).unwrap().err;
    for (path, data) in [
        ("/app", ""),
        ("/app/a", ""),
        ("/zookeeper/quota/app", ""),
        (
            "/zookeeper/quota/app/zookeeper_limits",
            "count=-1,bytes=-1=;byteHardLimit=3;countHardLimit=2",
        ),
        ("/zookeeper/quota/app/zookeeper_stats", "count=0,bytes=0"),
    ] {
        assert_eq!(make(path, data.as_bytes()), 0, "{path}");
    }
    assert_eq!(make("/app/b", b""), QUOTA_EXCEEDED);
    assert_eq!(make("/app", b""), -110, "another reason");
    assert_eq!(client.set("/app/a", b"1234"), QUOTA_EXCEEDED);
    let ops = ["/other", "/app/b"].map(|path| match create(path, b"", AclBytes::OPEN) {
        Request::Create(create) => MultiOp::Create(create),
        other => panic!("{other:?}"),
    });
    client.call(&Request::Multi(MultiRequest { ops: ops.into() })).unwrap();
    assert_eq!(figure(&member, "app_quota_exceeded_error_per_namespace"), "3");
    assert!(!member.word("mntr").contains("zk_other_"));
}

#[test]
fn quotas_are_summed_by_the_first_part_of_their_paths() {
    let member = Member::start("");
    let mut client = member.client();
    let mut make = |path: &str, data: &[u8]| {
        let err = client.call(&create(path, data, AclBytes::OPEN)).unwrap().err;
        assert_eq!(err, 0, "{path}");
    };
    for path in ["/app", "/app/a", "/app/b", "/zookeeper/quota/app"] {
        make(path, b"");
    }
    for (path, limits) in
        [("/app/a", "count=5,bytes=-1"), ("/app/b", "count=7,bytes=-1=;countHardLimit=9")]
    {
        make(&format!("/zookeeper/quota{path}"), b"");
        make(&format!("/zookeeper/quota{path}/zookeeper_limits"), limits.as_bytes());
        make(&format!("/zookeeper/quota{path}/zookeeper_stats"), b"count=0,bytes=0");
    }
    make("/app/b/c", b"12345");
    // The soft limit of one and the hard one of the other.
    assert_eq!(figure(&member, "app_quota_count_limit_per_namespace"), "14");
    assert_eq!(figure(&member, "app_quota_bytes_limit_per_namespace"), "-2");
    assert_eq!(figure(&member, "app_quota_count_usage_per_namespace"), "3");
    assert_eq!(figure(&member, "app_quota_bytes_usage_per_namespace"), "5");
}
