//! SASL DIGEST-MD5 (client-protocol 14.3).

use std::io::Write;

use md5::{Digest as _, Md5};
use tempfile::{NamedTempFile, TempDir};
use zk_proto::request::{Request, SaslToken};
use zk_proto::{Jute, Reader};

use crate::client::{Client, Reply, create, get, open};
use crate::member::Member;
use zk_proto::acl::AclBytes;

/// ACLs may name SASL identities.
pub(crate) const PROVIDER: &str =
    "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n";

/// A file of users as Apache's operators have it; it must live as long as the member starts.
pub(crate) fn users() -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(
        b"Server {\n  org.apache.zookeeper.server.auth.DigestLoginModule required\n  \
          user_super=\"rootsecret\"\n  user_alice=\"a secret\"\n  user_bob=\"bobsecret\";\n};\n",
    )
    .unwrap();
    file
}

fn member(lines: &str) -> Member {
    let users = users();
    let file = users.path().display();
    Member::start(&format!("java.security.auth.login.config={file}\n{PROVIDER}{lines}"))
}

fn hex(parts: &[&[u8]]) -> String {
    digest(parts).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest(parts: &[&[u8]]) -> Vec<u8> {
    Md5::digest(parts.join(&b':')).to_vec()
}

/// The answer to a challenge, and what the server must prove then (RFC 2831, 2.1.2.1).
fn answer(challenge: &[u8], user: &str, password: &str) -> (String, String) {
    let challenge = std::str::from_utf8(challenge).unwrap();
    let (_, nonce) = challenge.split_once("nonce=\"").unwrap();
    let nonce = nonce.split('"').next().unwrap();
    let (realm, uri, cnonce) = ("zk-sasl-md5", "zookeeper/zk-sasl-md5", "c2VjcmV0");
    let secret = digest(&[user.as_bytes(), realm.as_bytes(), password.as_bytes()]);
    let a1 = hex(&[&secret, nonce.as_bytes(), cnonce.as_bytes()]);
    let response = |method: &str| {
        let a2 = hex(&[method.as_bytes(), uri.as_bytes()]);
        let all = [a1.as_str(), nonce, "00000001", cnonce, "auth", a2.as_str()];
        hex(&all.map(str::as_bytes))
    };
    let text = format!(
        "charset=utf-8,username=\"{user}\",realm=\"{realm}\",nonce=\"{nonce}\",nc=00000001,\
         cnonce=\"{cnonce}\",digest-uri=\"{uri}\",maxbuf=65536,response={},qop=auth",
        response("AUTHENTICATE")
    );
    (text, format!("rspauth={}", response("")))
}

fn token(reply: &Reply) -> Option<Vec<u8>> {
    SaslToken::read(&mut Reader::new(&reply.body)).unwrap().token.map(<[u8]>::to_vec)
}

fn step(client: &mut Client, token: &[u8]) -> Reply {
    client.call(&Request::Sasl(SaslToken { token: Some(token) })).unwrap()
}

/// A whole exchange; its last answer, and the proof that it should hold.
fn log_in(client: &mut Client, user: &str, password: &str) -> (Reply, String) {
    let challenge = step(client, b"");
    assert_eq!(challenge.err, 0);
    let (text, proof) = answer(&token(&challenge).unwrap(), user, password);
    (step(client, text.as_bytes()), proof)
}

/// A client that is somebody.
fn client_of(member: &Member, user: &str, password: &str) -> Client {
    let mut client = member.client();
    let (last, proof) = log_in(&mut client, user, password);
    assert_eq!((last.err, token(&last)), (0, Some(proof.into_bytes())));
    client
}

#[test]
fn a_password_gives_an_identity_and_its_rights() {
    let member = member("superUser=super\n");
    let mut alice = client_of(&member, "alice", "a secret");
    assert_eq!(alice.who(), ["sasl:alice"]);
    assert_eq!(alice.create_for("/a", "sasl", "alice"), 0);
    assert_eq!(alice.create_for("/b", "auth", ""), 0);
    assert_eq!(alice.get("/a").unwrap(), b"mine");
    let mut bob = client_of(&member, "bob", "bobsecret");
    let mut nobody = member.client();
    for client in [&mut bob, &mut nobody] {
        assert_eq!([client.get("/a"), client.get("/b")], [Err(-102), Err(-102)]);
    }
    let mut root = client_of(&member, "super", "rootsecret");
    assert_eq!(root.who(), ["sasl:super", "super:"]);
    assert!(root.get("/a").is_ok() && root.get("/b").is_ok());
}

#[test]
fn a_wrong_password_ends_the_connection() {
    let member = member("");
    for (user, password) in [("alice", "wrong"), ("eve", "a secret"), ("", "")] {
        let mut client = member.client();
        let (last, _) = log_in(&mut client, user, password);
        assert_eq!((last.err, token(&last)), (-115, None), "{user}");
        assert!(client.ends(), "{user}");
    }
    let mntr = member.word("mntr");
    assert!(mntr.contains("zk_auth_failed_count\t3\n"), "{mntr}");
}

#[test]
fn what_comes_behind_a_failure_is_not_done() {
    let member = member("");
    let mut client = member.client();
    step(&mut client, b"");
    client.send(&Request::Sasl(SaslToken { token: Some(b"nonsense") })).unwrap();
    // The server may have closed already.
    let _ = client.send(&create("/late", b"", AclBytes::OPEN));
    assert_eq!(client.reply().unwrap().err, -115);
    assert!(client.ends());
    assert_eq!(member.client().get("/late"), Err(-101));
}

#[test]
fn failed_clients_stay_where_that_is_allowed() {
    let member = member("allowSaslFailedClients=true\n");
    let mut client = member.client();
    let (last, _) = log_in(&mut client, "alice", "wrong");
    assert_eq!((last.err, token(&last)), (0, None));
    assert!(client.who().is_empty());
    assert_eq!(client.create("/a", b"").unwrap(), 0);
    let (last, proof) = log_in(&mut client, "alice", "a secret");
    assert_eq!((last.err, token(&last)), (0, Some(proof.into_bytes())), "a second try");
    assert_eq!(client.who(), ["sasl:alice"]);
}

#[test]
fn sasl_can_be_required() {
    for lines in [
        "enforce.auth.enabled=true\nenforce.auth.schemes=sasl\n",
        "sessionRequireClientSASLAuth=true\nallowSaslFailedClients=true\n",
    ] {
        let member = member(lines);
        let mut nobody = member.client();
        assert_eq!(nobody.call(&get("/", false)).unwrap().err, -124);
        assert!(nobody.ends());
        let mut wrong = member.client();
        let (last, _) = log_in(&mut wrong, "alice", "wrong");
        assert_eq!((last.err, token(&last)), (-124, None));
        assert!(wrong.ends());
        let mut alice = client_of(&member, "alice", "a secret");
        assert!(alice.get("/").is_ok());
        assert_eq!(alice.create("/a", b"").unwrap(), 0);
    }
}

#[test]
fn without_users_clients_go_on_without_an_identity() {
    let member = Member::start("");
    let mut client = member.client();
    let answer = step(&mut client, b"");
    assert_eq!((answer.err, token(&answer)), (0, None));
    assert!(client.who().is_empty());
    assert_eq!(client.create("/a", b"").unwrap(), 0);
}

#[test]
fn the_password_of_super_can_be_elsewhere() {
    let member = member("superUser=super\nSASLAuthenticationProvider.superPassword=other\n");
    let mut old = member.client();
    assert_eq!(log_in(&mut old, "super", "rootsecret").0.err, -115);
    assert_eq!(client_of(&member, "super", "other").who(), ["sasl:super", "super:"]);
}

#[test]
fn answers_keep_their_order_among_other_requests() {
    let member = member("");
    let mut client = member.client();
    let mut sent = Vec::new();
    for number in 0..50 {
        sent.push(client.send(&create(&format!("/n{number}"), b"", AclBytes::OPEN)).unwrap());
    }
    sent.push(client.send(&Request::Sasl(SaslToken { token: Some(b"") })).unwrap());
    sent.push(client.send(&get("/n49", false)).unwrap());
    for xid in sent {
        let reply = client.reply().unwrap();
        assert_eq!((reply.xid, reply.err), (xid, 0));
    }
}

#[test]
fn junk_in_place_of_a_token_ends_the_connection() {
    let member = member("");
    for body in [&[0xff, 0xff, 0xff, 0xfe][..], &[0x7f, 0xff, 0xff, 0xff], &[0, 0, 0, 9, 1], &[]] {
        let mut client = Client::handshake(open(member.addr()), 60_000).unwrap();
        let mut frame = Vec::new();
        zk_proto::jute::put_frame(&mut frame, |out| {
            out.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 102]);
            out.extend_from_slice(body);
        });
        client.send_bytes(&frame).unwrap();
        assert!(client.ends(), "{body:?}");
    }
}

#[test]
fn a_server_without_its_users_does_not_start() {
    let dir = TempDir::new().unwrap();
    let missing = dir.path().join("missing.conf");
    let lines = format!("java.security.auth.login.config={}\n", missing.display());
    let error = zk_server::Server::start(crate::member::config(dir.path(), &lines)).map(|_| ());
    let error = error.unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("missing.conf"), "{error}");
}
