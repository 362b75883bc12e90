//! DIGEST-MD5 on both sides: any message of a peer, any JAAS file; and for any name and password
//! both sides of ours agree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use zk_client::fuzz::{SaslExchange, SaslNext};
use zk_proto::Jute;
use zk_proto::request::SaslToken;
use zk_sasl::{Challenger, Jaas, Service, Step, Users};
use zkfleet_fuzz::Tape;

fuzz_target!(|input: &[u8]| {
    let mut tape = Tape(input);
    let (name, password, message) = (tape.part(), tape.part(), tape.part());
    let jaas = String::from_utf8_lossy(tape.0);
    let given = users(&jaas);
    let (name, password) = (plain(name, "a"), plain(password, ""));

    let text = format!("Server {{ M required user_{name}=\"{password}\"; }};");
    let known = Arc::new(users(&text).expect("a plain file"));
    agree(&known, &name, &password);

    let mut challenger = server(given.map_or(known, Arc::new));
    let _ = challenger.step(message);
    let _ = challenger.step(message);
    let mut client = SaslExchange::new(&name, &password).expect("randomness");
    let body = SaslToken { token: Some(message) }.to_bytes();
    assert!(!matches!(client.next(0, &body), SaslNext::Done), "a server without a proof");
    assert!(!matches!(client.next(0, message), SaslNext::Done), "a server without a proof");
});

fn users(text: &str) -> Option<Users> {
    Users::read(&Jaas::parse("jaas.conf", text).ok()?, "Server").ok()
}

fn server(users: Arc<Users>) -> Challenger {
    Challenger::new(Service::CLIENTS, users, &[7; 30])
}

/// A word that needs no escapes in a JAAS file, and is no principal.
fn plain(bytes: &[u8], first: &str) -> String {
    let text = String::from_utf8_lossy(bytes);
    let is_plain = |c: &char| !c.is_whitespace() && !c.is_control() && !"{};=\"'\\@/".contains(*c);
    first.chars().chain(text.chars().filter(is_plain)).collect()
}

fn agree(users: &Arc<Users>, name: &str, password: &str) {
    let (mut server, mut client) =
        (server(users.clone()), SaslExchange::new(name, password));
    let client = client.as_mut().expect("randomness");
    let Ok(Step::Challenge(challenge)) = server.step(b"") else { panic!("no challenge") };
    let challenge = SaslToken { token: Some(&challenge) }.to_bytes();
    let SaslNext::Token(answer) = client.next(0, &challenge) else { panic!("no answer") };
    let step = server.step(&answer);
    let Ok(Step::Done { token, user }) = step else { panic!("{name:?} {password:?}: {step:?}") };
    assert_eq!(user, name);
    let proof = SaslToken { token: Some(&token) }.to_bytes();
    assert!(matches!(client.next(0, &proof), SaslNext::Done), "{name:?}");
}
