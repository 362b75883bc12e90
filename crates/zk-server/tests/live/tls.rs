//! TLS: who gets in, as whom, and that everything works through it.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;

use crate::certificates::{Authority, Identity, dial, tls_lines};
use crate::client::{Client, create, four_letter_word, get, is_closed_by_peer, open};
use crate::member::Member;
use crate::{PATIENCE, wait_until};
use zk_proto::SessionId;
use zk_proto::acl::AclBytes;
use zk_proto::request::{AddWatchRequest, Request};

/// A member with TLS, and whom it trusts.
struct Secure {
    member: Member,
    authority: Authority,
    stores: TempDir,
}

impl Secure {
    fn start(lines: &str) -> Secure {
        let (authority, stores) = (Authority::new(), TempDir::new().unwrap());
        authority.write_stores(stores.path());
        let member = Member::start(&format!("{}{lines}", tls_lines(stores.path())));
        Secure { member, authority, stores }
    }

    fn connect(&self, identity: Option<&Identity>) -> std::io::Result<Client> {
        let stream = self.authority.dial(self.member.secure_addr(), identity);
        Client::handshake(stream, 60_000)
    }
}

#[test]
fn a_certificate_is_an_identity() {
    let secure = Secure::start("X509AuthenticationProvider.superUser=CN=root,O=Acme\n");
    let [alice, bob, root] = ["alice", "bob", "root"].map(|name| secure.authority.issue(name));
    let mut client = secure.connect(Some(&alice)).unwrap();
    assert_eq!(client.who(), ["x509:CN=alice,O=Acme"]);
    assert_eq!(client.create_for("/a", "x509", "CN=alice,O=Acme"), 0);
    assert_eq!(client.create_for("/b", "auth", ""), 0);
    assert_eq!(client.get("/a").unwrap(), b"mine");
    let mut other = secure.connect(Some(&bob)).unwrap();
    let mut nobody = secure.member.client();
    for client in [&mut other, &mut nobody] {
        assert_eq!([client.get("/a"), client.get("/b")], [Err(-102), Err(-102)]);
    }
    let mut root = secure.connect(Some(&root)).unwrap();
    assert_eq!(root.who(), ["super:", "x509:CN=root,O=Acme"]);
    assert!(root.get("/a").is_ok() && root.get("/b").is_ok());
}

#[test]
fn a_session_is_for_the_certificate_that_it_was_opened_with() {
    let secure = Secure::start("");
    let [alice, bob] = ["alice", "bob"].map(|name| secure.authority.issue(name));
    let mut client = secure.connect(Some(&alice)).unwrap();
    let session = (client.session.session_id, client.session.password);
    let address = secure.member.secure_addr();
    let renew = |identity| Client::renew_on(secure.authority.dial(address, identity), session);
    // Whoever reads an ephemeralOwner can compute such a password.
    for mut thief in [renew(Some(&bob)), Client::renew(secure.member.addr(), session)] {
        assert_eq!(thief.session.session_id, SessionId::NONE);
        assert!(thief.frame().is_err(), "its connection ends");
        assert!(client.get("/").is_ok(), "the holder's goes on");
    }
    let mut again = renew(Some(&alice));
    assert_eq!(again.session.session_id, session.0);
    assert!(again.get("/").is_ok() && client.ends());
}

#[test]
fn client_auth_says_who_must_show_a_certificate() {
    // How many identities a client then has, or `None` where it is refused.
    let [no, yes, refused] = [Some(0), Some(1), None];
    for (mode, none, trusted, stranger) in
        [("none", no, no, no), ("want", no, yes, refused), ("need", refused, yes, refused)]
    {
        let secure = Secure::start(&format!("ssl.clientAuth={mode}\n"));
        let known = secure.authority.issue("client");
        let unknown = Authority::new().issue("client");
        for (identity, wanted) in
            [(None, none), (Some(&known), trusted), (Some(&unknown), stranger)]
        {
            let case = format!("{mode}, {:?}", identity.map(|id| std::ptr::eq(id, &known)));
            match (secure.connect(identity), wanted) {
                (Ok(mut client), Some(count)) => assert_eq!(client.who().len(), count, "{case}"),
                (Err(error), None) => {
                    let text = error.to_string();
                    // The alert, unless the end of the connection overtakes it.
                    let is_end = error.kind() != std::io::ErrorKind::WouldBlock;
                    assert!(text.contains("ertificate") || is_end, "{case}: {text}");
                }
                (got, _) => panic!("{case}: {:?}", got.map(|_| ())),
            }
        }
    }
}

#[test]
fn a_client_that_does_not_trust_the_server_leaves() {
    let secure = Secure::start("");
    let other = Authority::new();
    let stream = other.dial(secure.member.secure_addr(), None);
    let refused = Client::handshake(stream, 60_000).map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("invalid peer certificate"), "{refused}");
    assert!(secure.connect(Some(&secure.authority.issue("client"))).is_ok());
}

#[test]
fn the_wrong_protocol_is_closed_and_nobody_else_notices() {
    let secure = Secure::start("ssl.clientAuth=none\n");
    let mut before = secure.member.client();
    let mut plain = open(secure.member.secure_addr());
    plain.write_all(&[0, 0, 0, 45, 0, 0, 0, 0]).unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer[0] == 0x15, "an alert at most: {answer:?}");
    let stream = secure.authority.dial(secure.member.addr(), None);
    assert!(Client::handshake(stream, 60_000).is_err());
    let mut http = open(secure.member.addr());
    http.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(is_closed_by_peer(http));
    assert_eq!(before.create("/a", b"").unwrap(), 0);
    assert!(secure.connect(None).is_ok());
}

#[test]
fn one_port_speaks_both() {
    let secure = Secure::start("ssl.clientAuth=want\nclient.portUnification=true\n");
    let addr = secure.member.addr();
    assert!(secure.member.client().who().is_empty());
    let alice = secure.authority.issue("alice");
    let stream = secure.authority.dial(addr, Some(&alice));
    let mut client = Client::handshake(stream, 60_000).unwrap();
    assert_eq!(client.who(), ["x509:CN=alice,O=Acme"]);
    assert_eq!(four_letter_word(open(addr), "ruok"), "imok");
    assert_eq!(four_letter_word(secure.authority.dial(addr, None), "ruok"), "imok");
    // The first byte alone says which; the rest of a slow hello is waited for.
    let mut slow = open(addr);
    slow.write_all(&[0x16]).unwrap();
    assert_eq!(four_letter_word(open(addr), "ruok"), "imok");
}

#[test]
fn versions_are_as_configured() {
    let secure = Secure::start("ssl.clientAuth=none\nssl.enabledProtocols=TLSv1.2\n");
    for (version, is_allowed) in [(&TLS12, true), (&TLS13, false)] {
        let config = secure.authority.client_config(None, &[version]);
        let stream = dial(secure.member.secure_addr(), config);
        assert_eq!(Client::handshake(stream, 60_000).is_ok(), is_allowed, "{version:?}");
    }
}

#[test]
fn new_stores_are_taken_while_it_runs() {
    let secure = Secure::start("ssl.clientAuth=need\nclient.certReload=true\n");
    let old = secure.authority.issue("old");
    let mut before = secure.connect(Some(&old)).unwrap();
    // What is of no use changes nothing.
    std::fs::write(secure.stores.path().join("server.pem"), "nonsense").unwrap();
    let next = Authority::new();
    next.write_stores(secure.stores.path());
    let new = next.issue("new");
    wait_until("a client of the new authority gets in", || {
        let stream = next.dial(secure.member.secure_addr(), Some(&new));
        Client::handshake(stream, 60_000).is_ok()
    });
    assert!(secure.connect(Some(&old)).is_err(), "the old authority counts no more");
    assert_eq!(before.get("/"), Ok(Vec::new()), "connections that are there stay");
}

#[test]
fn many_requests_at_once_are_answered_in_order() {
    let secure = Secure::start("ssl.clientAuth=none\n");
    let mut client = secure.connect(None).unwrap();
    let mut watcher = secure.connect(None).unwrap();
    assert_eq!(watcher.call(&get("/", false)).unwrap().err, 0);
    let mut sent = Vec::new();
    for number in 0..500 {
        let path = format!("/n{number}");
        sent.push(client.send(&create(&path, b"x", AclBytes::OPEN)).unwrap());
        sent.push(client.send(&get(&path, false)).unwrap());
    }
    for xid in sent {
        let reply = client.reply().unwrap();
        assert_eq!((reply.xid, reply.err), (xid, 0));
    }
    // Near the greatest request that there may be, over many records of TLS, and a watch.
    let large: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    assert_eq!(client.create("/large", &large).unwrap(), 0);
    assert_eq!(watcher.call(&get("/large", true)).unwrap().err, 0);
    assert_eq!(client.get("/large").unwrap(), large);
    assert_eq!(client.set("/large", &large[1..]), 0);
    assert_eq!(watcher.event(), (3, "/large".to_owned()));
    assert_eq!(watcher.get("/large").unwrap(), &large[1..]);
}

/// A socket that remembers what it received.
struct Recorder(TcpStream, Vec<u8>);

impl Read for Recorder {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.0.read(buf)?;
        self.1.extend_from_slice(&buf[..n]);
        Ok(n)
    }
}

impl Write for Recorder {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn every_answer_ends_a_record() {
    let secure = Secure::start("ssl.clientAuth=none\nssl.enabledProtocols=TLSv1.2\n");
    let stream = secure.authority.dial(secure.member.secure_addr(), None);
    let (conn, sock) = (stream.conn, Recorder(stream.sock, Vec::new()));
    let mut stream = rustls::StreamOwned::new(conn, sock);
    // The connect request and 20 pings in one piece, so that the answers are made together.
    let mut bytes = crate::limits::connect_frame();
    bytes.extend(std::iter::repeat_n(crate::limits::PING, 20).flatten());
    stream.write_all(&bytes).unwrap();
    stream.read_exact(&mut vec![0; 41 + 20 * 20]).unwrap();
    let mut records = Vec::new();
    let mut rest = &stream.sock.1[..];
    while let [kind, _, _, high, low, after @ ..] = rest {
        records.push(*kind);
        rest = &after[usize::from(u16::from_be_bytes([*high, *low]))..];
    }
    // 23: application data.
    assert_eq!(records.iter().filter(|kind| **kind == 23).count(), 21, "{records:?}");
}

#[test]
fn a_reader_that_does_not_read_gets_little_ahead() {
    let secure = Secure::start("ssl.clientAuth=none\n");
    let slow = secure.connect(None).unwrap();
    crate::limits::reads_are_not_answered_without_bound(slow, &secure.member);
}

#[test]
fn a_deaf_client_with_a_watch_on_everything_is_let_go() {
    let secure = Secure::start("ssl.clientAuth=none\nmaxUnsentBytes=1048576\n");
    let mut deaf = secure.connect(None).unwrap();
    let everything = AddWatchRequest { path: Some("/".into()), mode: 1 };
    assert_eq!(deaf.call(&Request::AddWatch(everything)).unwrap().err, 0);
    crate::limits::deafness_is_bounded(vec![deaf], &secure.member);
}

#[test]
fn who_does_not_say_what_it_speaks_is_let_go() {
    let lines = "client.portUnification=true\nssl.handshakeDetectionTimeoutMillis=100\n";
    let secure = Secure::start(lines);
    let begun = std::time::Instant::now();
    assert!(is_closed_by_peer(open(secure.member.addr())));
    let took = begun.elapsed();
    // Long before the five seconds of a connection that has said something.
    assert!((100..4000).contains(&took.as_millis()), "{took:?}");
    assert!(secure.member.client().get("/").is_ok());
}

#[test]
fn who_stalls_is_let_go() {
    let secure = Secure::start("ssl.clientAuth=none\nnio.sessionlessCnxnTimeout=500\n");
    let silent = open(secure.member.secure_addr());
    let mut hello = open(secure.member.secure_addr());
    hello.write_all(&[0x16, 3, 1]).unwrap();
    let mut no_session = secure.authority.dial(secure.member.secure_addr(), None);
    while no_session.conn.is_handshaking() {
        no_session.conn.complete_io(&mut no_session.sock).unwrap();
    }
    assert!(is_closed_by_peer(silent));
    assert!(is_closed_by_peer(hello));
    assert!(is_closed_by_peer(no_session));
}

#[test]
fn handshakes_under_way_are_bounded() {
    let secure = Secure::start("ssl.clientAuth=none\nnetty.server.outstandingHandshake.limit=1\n");
    let is_full = || {
        let mut stream = secure.authority.dial(secure.member.secure_addr(), None);
        stream.conn.complete_io(&mut stream.sock).is_err()
    };
    let mut first = Vec::new();
    wait_until("a second handshake is refused", || {
        // Of two that come at once either may be refused.
        let mut stalled = open(secure.member.secure_addr());
        stalled.write_all(&[0x16]).unwrap();
        first.push(stalled);
        is_full()
    });
    drop(first);
    wait_until("there is room again", || !is_full());
}

#[test]
fn four_letter_words_come_through() {
    let secure = Secure::start("ssl.clientAuth=none\n");
    let client = secure.connect(None).unwrap();
    let ask =
        |word| four_letter_word(secure.authority.dial(secure.member.secure_addr(), None), word);
    assert_eq!(ask("ruok"), "imok");
    assert!(ask("srvr").contains("Mode: standalone"), "{}", ask("srvr"));
    // Long answers come whole, with a proper end.
    assert!(ask("mntr").lines().count() > 50);
    drop(client);
}

#[test]
fn a_server_with_bad_stores_does_not_start() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("server.pem"), "nonsense").unwrap();
    std::fs::write(dir.path().join("trust.pem"), Authority::new().pem()).unwrap();
    let config = crate::member::config(dir.path(), &tls_lines(dir.path()));
    let error = zk_server::Server::start(config).map(|_| ()).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let text = error.to_string();
    assert!(text.contains("ssl.keyStore.location") && text.contains("server.pem"), "{text}");
    assert!(!dir.path().join("data").exists(), "nothing was made before");
}

#[test]
fn x509_can_be_required() {
    let lines = "ssl.clientAuth=want\nenforce.auth.enabled=true\nenforce.auth.schemes=x509\n";
    let secure = Secure::start(lines);
    let alice = secure.authority.issue("alice");
    assert_eq!(secure.connect(Some(&alice)).unwrap().create("/a", b"").unwrap(), 0);
    for mut client in [secure.connect(None).unwrap(), secure.member.client()] {
        assert_eq!(client.create("/b", b"").unwrap(), -124);
        assert!(client.ends(), "within {PATIENCE:?}");
    }
}
