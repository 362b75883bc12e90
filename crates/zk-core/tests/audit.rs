//! What the audit log tells, request by request; lines of a server are in zk-server's tests.

#![allow(clippy::unwrap_used, missing_docs)]

use std::net::{IpAddr, Ipv4Addr};
use zk_core::{AuditRecord, Core, CoreOptions, Effect, Effects, Times};
use zk_proto::acl::{self, Acl, AclBytes};
use zk_proto::connect::ConnectRequest;
use zk_proto::request::{
    AuthPacket, Create, CreateMode, MultiOp, MultiRequest, Request, RequestHeader, SetAclRequest,
    SetDataRequest, VersionedPath,
};
use zk_proto::{Jute, OpCode, Perms};
use zk_tree::{ConnId, Tree, TreeOptions, Watches};

const CONN: ConnId = ConnId(1);
const NOW: Times = Times { monotonic_ms: 1000, wall_ms: 1000 };

struct Member {
    core: Core,
    tree: Tree,
    watches: Watches,
    told: Vec<AuditRecord>,
}

impl Member {
    /// A member with one session.
    fn new(audit: bool) -> Member {
        let options = CoreOptions { audit, ..CoreOptions::default() };
        let tree = Tree::new(TreeOptions { extended_types: true, hash_seed: 1 });
        let core = Core::new(options, &tree, Vec::new(), NOW);
        let mut member = Member { core, tree, watches: Watches::new(1), told: Vec::new() };
        member.core.connected(CONN, Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), Vec::new());
        let connect = ConnectRequest::new_session(10_000);
        let mut fx = Effects::new();
        member.core.handshake(&member.tree, NOW, CONN, &connect.to_bytes(), &mut fx);
        member.carry_out(fx);
        member
    }

    fn carry_out(&mut self, mut fx: Effects) {
        let mut logged = None;
        loop {
            for effect in &fx.list {
                match effect {
                    Effect::Append { zxid, .. } => logged = Some(*zxid),
                    Effect::Audit(record) => self.told.push((**record).clone()),
                    _ => {}
                }
            }
            fx.clear();
            let Some(zxid) = logged else { return };
            if !self.core.committed(&mut self.tree, &mut self.watches, 0, zxid, 9, &mut fx) {
                logged = None;
            }
        }
    }

    /// Gives a request to the pipeline.
    fn submit(&mut self, request: &Request<'_>) -> Effects {
        let mut frame = RequestHeader { xid: 1, op: request.opcode().code() }.to_bytes();
        request.write(&mut frame);
        let mut fx = Effects::new();
        self.core.submit(&self.tree, &mut self.watches, NOW, CONN, &frame, &mut fx);
        fx
    }

    /// What is told of a request.
    fn ask(&mut self, request: &Request<'_>) -> Vec<String> {
        let fx = self.submit(request);
        self.carry_out(fx);
        std::mem::take(&mut self.told).iter().map(text).collect()
    }
}

/// The parts of a record that differ from request to request.
fn text(record: &AuditRecord) -> String {
    let AuditRecord { operation, path, mode, acl, is_success, asker, .. } = record;
    let mut text = format!("{operation} {}", path.as_deref().unwrap_or("-"));
    let mode = mode.map(|mode| format!("{mode:?}"));
    let users = asker.as_ref().map(|asker| asker.users.clone());
    for part in [mode, acl.clone(), users].into_iter().flatten() {
        text += &format!(" {part}");
    }
    if *is_success { text } else { text + " failed" }
}

fn create(op: OpCode, path: &str, mode: CreateMode) -> Create<'_> {
    let (acl, flags) = (AclBytes::OPEN, mode.flags());
    Create { op, path: path.into(), data: None, acl, flags, ttl_ms: 1000 }
}

fn delete(path: &str) -> VersionedPath<'_> {
    VersionedPath { path: path.into(), version: -1 }
}

#[test]
fn each_write_is_told_as_apache_tells_it() {
    let mut member = Member::new(true);
    let mut made = |op, path, mode| member.ask(&Request::Create(create(op, path, mode)));
    let plain = made(OpCode::Create, "/a", CreateMode::Persistent);
    assert_eq!(plain, ["create /a Persistent 127.0.0.1"]);
    let again = made(OpCode::Create2, "/a", CreateMode::Ephemeral);
    assert_eq!(again, ["create /a Ephemeral 127.0.0.1 failed"]);
    // The name that it got, and the name that it would have been made from.
    let counted = made(OpCode::Create, "/s-", CreateMode::PersistentSequential);
    assert_eq!(counted, ["create /s-0000000001 PersistentSequential 127.0.0.1"]);
    let lost = made(OpCode::Create, "/none/s-", CreateMode::PersistentSequential);
    assert_eq!(lost, ["create /none/s- PersistentSequential 127.0.0.1 failed"]);
    let kept = made(OpCode::CreateContainer, "/c", CreateMode::Container);
    assert_eq!(kept, ["create /c Container 127.0.0.1"]);
    let aged = made(OpCode::CreateTtl, "/t", CreateMode::PersistentWithTtl);
    assert_eq!(aged, ["create /t PersistentWithTtl 127.0.0.1"]);
    let set = |path: &'static str| SetDataRequest { path: path.into(), data: None, version: -1 };
    assert_eq!(member.ask(&Request::SetData(set("/a"))), ["setData /a 127.0.0.1"]);
    assert_eq!(member.ask(&Request::SetData(set("/b"))), ["setData /b 127.0.0.1 failed"]);
    assert_eq!(member.ask(&Request::Delete(delete("/c"))), ["delete /c 127.0.0.1"]);
    assert_eq!(member.ask(&Request::Delete(delete("/"))), ["delete / 127.0.0.1 failed"]);
    assert!(member.ask(&Request::WhoAmI).is_empty() && member.ask(&Request::Ping).is_empty());
}

#[test]
fn who_asked_is_told_as_it_was_when_it_asked() {
    let mut member = Member::new(true);
    let before =
        member.submit(&Request::Create(create(OpCode::Create, "/a", CreateMode::Ephemeral)));
    let (scheme, auth) = (Some("digest".into()), Some(&b"bob:secret"[..]));
    let asked = member.submit(&Request::Auth(AuthPacket { auth_type: 0, scheme, auth }));
    member.carry_out(before);
    member.carry_out(asked);
    assert_eq!(text(&member.told.remove(0)), "create /a Ephemeral 127.0.0.1");
    assert_eq!(member.ask(&Request::Delete(delete("/a"))), ["delete /a bob,127.0.0.1"]);
}

#[test]
fn an_acl_is_told_without_the_hashes_of_passwords() {
    let mut member = Member::new(true);
    let entries =
        [Acl::new(Perms::ALL, "digest", "bob:secret"), Acl::new(Perms::READ, "world", "anyone")];
    let list = acl::encode(&entries);
    let acl = AclBytes::parse(&list).unwrap();
    let request = Request::SetAcl(SetAclRequest { path: "/".into(), acl, version: -1 });
    let want = "setAcl / digest:bob:x:cdrwaworld:anyone:r 127.0.0.1";
    assert_eq!(member.ask(&request), [want]);
}

#[test]
fn a_set_acl_without_a_path_is_told_with_its_acl() {
    let mut member = Member::new(true);
    let tell = |member: &mut Member, behind: &[u8]| {
        let mut frame = RequestHeader { xid: 1, op: OpCode::SetAcl.code() }.to_bytes();
        frame.extend((-1i32).to_be_bytes());
        frame.extend(behind);
        let mut fx = Effects::new();
        member.core.submit(&member.tree, &mut member.watches, NOW, CONN, &frame, &mut fx);
        member.carry_out(fx);
        std::mem::take(&mut member.told).iter().map(text).collect::<Vec<_>>()
    };
    let whole = [AclBytes::OPEN.as_bytes(), &[0; 4]].concat();
    assert_eq!(tell(&mut member, &whole), ["setAcl - world:anyone:cdrwa 127.0.0.1 failed"]);
    // What is cut short becomes no transaction.
    assert!(tell(&mut member, &whole[..whole.len() - 1]).is_empty());
}

#[test]
fn a_multi_is_told_part_by_part_or_as_one_failure() {
    let mut member = Member::new(true);
    let make = |path, mode| MultiOp::Create(create(OpCode::Create, path, mode));
    let mut ops = vec![
        make("/a", CreateMode::Persistent),
        MultiOp::Check(delete("/a")),
        make("/a/s-", CreateMode::PersistentSequential),
        make("/a/e", CreateMode::Ephemeral),
        MultiOp::SetData(SetDataRequest { path: "/a".into(), data: None, version: -1 }),
        MultiOp::Delete(delete("/a/e")),
    ];
    let told = member.ask(&Request::Multi(MultiRequest { ops: ops.clone() }));
    // As in Apache, the mode of a sequential znode is not known here.
    let want = [
        "create /a Persistent 127.0.0.1",
        "create /a/s-0000000000 127.0.0.1",
        "create /a/e Ephemeral 127.0.0.1",
        "setData /a 127.0.0.1",
        "delete /a/e 127.0.0.1",
    ];
    assert_eq!(told, want);
    ops.insert(0, MultiOp::Delete(delete("/none")));
    let told = member.ask(&Request::Multi(MultiRequest { ops }));
    assert_eq!(told, ["multiOperation - 127.0.0.1 failed"]);
}

#[test]
fn ephemerals_that_go_with_their_session_are_told_as_the_server_s_own_deed() {
    let mut member = Member::new(true);
    for path in ["/a", "/b"] {
        member.ask(&Request::Create(create(OpCode::Create, path, CreateMode::Ephemeral)));
    }
    let mut told = member.ask(&Request::CloseSession);
    told.sort_unstable();
    let want = ["/a", "/b"].map(|p| format!("ephemeralZNodeDeletionOnSessionCloseOrExpire {p}"));
    assert_eq!(told, want);
}

#[test]
fn names_beyond_measure_are_cut() {
    let mut member = Member::new(true);
    let long = format!("{}:secret", "ä".repeat(20_000));
    let (scheme, auth) = (Some("digest".into()), Some(long.as_bytes()));
    member.ask(&Request::Auth(AuthPacket { auth_type: 0, scheme, auth }));
    let told = member.ask(&Request::Delete(delete("/a")));
    assert!(told[0].len() < 1100 && told[0].ends_with("... failed"), "{told:?}");
}

#[test]
fn a_small_multi_makes_no_huge_text() {
    let mut member = Member::new(true);
    for name in ["a", "b", "c"] {
        let auth = format!("{}:secret", name.repeat(400));
        let (scheme, auth) = (Some("digest".into()), Some(auth.as_bytes()));
        member.ask(&Request::Auth(AuthPacket { auth_type: 0, scheme, auth }));
    }
    let set = SetDataRequest { path: "/".into(), data: None, version: -1 };
    let ops = vec![MultiOp::SetData(set); 10_000];
    let told = member.ask(&Request::Multi(MultiRequest { ops }));
    assert_eq!(told.len(), 10_000);
    assert!(told[0].len() > 1000, "the first one tells who it was: {}", told[0]);
    assert!(told[1..].iter().all(|line| line.len() < 160 && line.ends_with("ccc...")));
}

#[test]
fn a_path_beyond_measure_is_cut() {
    let mut member = Member::new(true);
    for (len, told_len) in [(4096, 4096), (4097, 4099), (100_000, 4099)] {
        let path = format!("/{}", "x".repeat(len - 1));
        member.ask(&Request::Create(create(OpCode::Create, &path, CreateMode::Ephemeral)));
        let told = member.ask(&Request::Delete(delete(&path)));
        let path = told[0].split(' ').nth(1).unwrap();
        assert_eq!((path.len(), path.ends_with("...")), (told_len, len > 4096));
    }
}

#[test]
fn lines_of_the_audit_log_end_a_turn_as_answers_do() {
    let mut member = Member::new(true);
    let path = format!("/{}", "x".repeat(4000));
    let submitted = (0..1000).map(|_| member.submit(&Request::Delete(delete(&path))));
    let last = submitted.flat_map(|fx| fx.list).filter_map(|effect| match effect {
        Effect::Append { zxid, .. } => Some(zxid),
        _ => None,
    });
    let zxid = last.last().unwrap();
    let mut fx = Effects::new();
    let more = member.core.committed(&mut member.tree, &mut member.watches, 0, zxid, 1000, &mut fx);
    let lines = fx.list.iter().filter(|effect| matches!(effect, Effect::Audit(_))).count();
    assert!(more && (200..300).contains(&lines), "{lines} lines in a turn");
    fx.clear();
    assert!(!fx.is_large());
}

#[test]
fn nothing_is_told_unless_it_is_wanted() {
    let mut member = Member::new(false);
    member.ask(&Request::Create(create(OpCode::Create, "/a", CreateMode::Ephemeral)));
    assert!(member.ask(&Request::CloseSession).is_empty());
}
