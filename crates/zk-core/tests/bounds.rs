//! Requests at the bounds of what is taken: whatever is logged can be applied, and read back.

#![allow(clippy::unwrap_used, missing_docs)]

use zk_core::{Core, CoreOptions, Effect, Effects, Times};
use zk_proto::acl::{self, Acl};
use zk_proto::connect::ConnectRequest;
use zk_proto::request::{
    AuthPacket, Create, GetEphemeralsRequest, MultiOp, MultiRequest, ReadRequest, Request,
    RequestHeader, SetDataRequest,
};
use zk_proto::response::ReplyHeader;
use zk_proto::txn::TxnEntry;
use zk_proto::{ErrorCode, Jute, Limits, OpCode, Perms, Reader};
use zk_tree::auth::AuthOptions;
use zk_tree::{ConnId, PrepareOptions, Tree, TreeOptions, Watches};

const CONN: ConnId = ConnId(1);
const NOW: Times = Times { monotonic_ms: 1000, wall_ms: 1000 };

struct Member {
    core: Core,
    tree: Tree,
    watches: Watches,
    /// The answers, as error codes.
    answers: Vec<i32>,
    closed: bool,
}

impl Member {
    /// A member with one live connection.
    fn new(max_len: usize) -> Member {
        let options = CoreOptions {
            prepare: PrepareOptions { max_txn_bytes: 4 * max_len, ..PrepareOptions::default() },
            max_response_bytes: max_len,
            limits: Limits { max_len },
            ..CoreOptions::default()
        };
        let tree = Tree::new(TreeOptions::default());
        let core = Core::new(options, &tree, Vec::new(), NOW);
        let (watches, answers) = (Watches::new(1), Vec::new());
        let mut member = Member { core, tree, watches, answers, closed: false };
        member.core.connected(CONN, None, Vec::new());
        let connect = ConnectRequest::new_session(10_000);
        let mut fx = Effects::new();
        member.core.handshake(&member.tree, NOW, CONN, &connect.to_bytes(), &mut fx);
        member.carry_out(fx);
        member.answers.clear();
        member
    }

    /// Logs and applies everything at once; each transaction must be readable, as from a file.
    fn carry_out(&mut self, mut fx: Effects) {
        loop {
            let mut logged = None;
            for effect in &fx.list {
                match effect {
                    Effect::Append { zxid, txn } => {
                        let mut r = Reader::with_limits(fx.get(*txn), Limits::NONE);
                        TxnEntry::read(&mut r).unwrap();
                        assert!(r.is_empty());
                        logged = Some(*zxid);
                    }
                    Effect::Send { frame, is_reply: true, .. } => {
                        let mut r = Reader::new(&fx.get(*frame)[4..]);
                        self.answers.push(ReplyHeader::read(&mut r).unwrap().err);
                    }
                    Effect::Close { .. } => self.closed = true,
                    _ => {}
                }
            }
            let Some(zxid) = logged else { return };
            fx = Effects::new();
            let (tree, watches) = (&mut self.tree, &mut self.watches);
            while self.core.committed(tree, watches, 1000, zxid, 64, &mut fx) {}
            assert_eq!(self.core.counters().digest_mismatches, 0);
        }
    }

    fn ask(&mut self, request: &Request<'_>) {
        let mut frame = RequestHeader { xid: 1, op: request.opcode().code() }.to_bytes();
        request.write(&mut frame);
        let mut fx = Effects::new();
        self.core.submit(&self.tree, &mut self.watches, NOW, CONN, &frame, &mut fx);
        self.carry_out(fx);
    }

    /// The error code of the answer to a read, as if no answer might have more than so many bytes.
    fn read(&mut self, max_answer_bytes: usize, request: &Request<'_>) -> i32 {
        let mut frame = RequestHeader { xid: 1, op: request.opcode().code() }.to_bytes();
        request.write(&mut frame);
        let session = self.core.session_of(CONN).unwrap();
        let mut reader = zk_core::Reader {
            tree: &self.tree,
            watches: &mut self.watches,
            auth: &AuthOptions::default(),
            conn: CONN,
            session,
            identities: &[],
            limits: Limits::default(),
            max_response_bytes: usize::MAX,
            max_answer_bytes,
        };
        let mut out = Vec::new();
        reader.answer(&frame, &mut out);
        ReplyHeader::read(&mut Reader::new(&out[4..])).unwrap().err
    }

    fn auth(&mut self, user: &str) {
        let auth = format!("{user}:secret");
        let (scheme, auth) = (Some("digest".into()), Some(auth.as_bytes()));
        self.ask(&Request::Auth(AuthPacket { auth_type: 0, scheme, auth }));
    }
}

fn create<'a>(path: &'a str, acl: &'a [u8]) -> Create<'a> {
    let acl = acl::AclBytes::parse(acl).unwrap();
    Create { op: OpCode::Create, path: path.into(), data: None, acl, flags: 0, ttl_ms: 0 }
}

#[test]
fn a_part_of_a_multi_may_be_as_long_as_a_request() {
    let mut member = Member::new(8 << 20);
    let open = acl::AclBytes::OPEN.as_bytes();
    let data = vec![7; 5 << 20];
    let set = SetDataRequest { path: "/a".into(), data: Some(&data), version: -1 };
    let ops = vec![MultiOp::Create(create("/a", open)), MultiOp::SetData(set)];
    member.ask(&Request::Multi(MultiRequest { ops }));
    assert_eq!(member.answers, [0]);
    assert_eq!(member.tree.get("/a").unwrap().data().map(<[u8]>::len), Some(5 << 20));
}

#[test]
fn what_auth_entries_stand_for_is_bounded() {
    let mut member = Member::new(0xf_ffff);
    member.auth(&"u".repeat(40_000));
    assert_eq!(std::mem::take(&mut member.answers), [0]);
    let entries: Vec<_> = (1..31).map(|perms| Acl::new(Perms(perms), "auth", "")).collect();
    let list = acl::encode(&entries);
    // One such list would be larger than any request.
    member.ask(&Request::Create(create("/a", &list)));
    assert_eq!(std::mem::take(&mut member.answers), [ErrorCode::InvalidAcl.code()]);
    // Each of these has a tenth of a megabyte: the whole becomes an error, and is logged as one.
    let list = acl::encode(&entries[..3]);
    let paths: Vec<String> = (0..100).map(|n| format!("/{n}")).collect();
    let ops = paths.iter().map(|path| MultiOp::Create(create(path, &list))).collect();
    member.ask(&Request::Multi(MultiRequest { ops }));
    assert!(member.tree.get("/0").is_none() && !member.closed);
}

#[test]
fn answers_are_bounded() {
    let mut member = Member::new(0xf_ffff);
    let open = acl::AclBytes::OPEN.as_bytes();
    // Each has a name of 996 characters and a path of one more, behind a length of four bytes.
    for n in 0..10 {
        let path = format!("/{n:0996}");
        let create = Create { flags: 1, ..create(&path, open) };
        member.ask(&Request::Create(create));
    }
    member.answers.clear();
    let children = || ReadRequest { path: "/".into(), watch: false };
    // "zookeeper" is a child too.
    for (most, code) in [(4 + 10 * 1000 + 13, ErrorCode::Ok), (10_016, ErrorCode::BadArguments)] {
        for request in [Request::GetChildren(children()), Request::GetChildren2(children())] {
            assert_eq!(member.read(most, &request), code.code(), "{most}");
        }
    }
    let request = Request::GetEphemerals(GetEphemeralsRequest { prefix: Some("/".into()) });
    for (most, code) in [(4 + 10 * 1001, ErrorCode::Ok), (10_013, ErrorCode::BadArguments)] {
        assert_eq!(member.read(most, &request), code.code(), "{most}");
    }
}

#[test]
fn a_connection_has_a_bounded_number_of_identities() {
    let mut member = Member::new(0xf_ffff);
    for n in 0..64 {
        member.auth(&format!("user{n}"));
    }
    assert!(member.answers.iter().all(|err| *err == 0) && !member.closed);
    member.auth("one too many");
    assert_eq!(member.answers.last(), Some(&ErrorCode::AuthFailed.code()));
    assert!(member.closed);
}
