//! DIGEST-MD5 on both sides: any message of a peer, any JAAS file; and for any name and password
//! both sides of ours agree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use zk_client::fuzz::{SaslExchange, SaslNext};
use zk_proto::Jute;
use zk_proto::request::SaslToken;
use zk_server::tls::sasl::{DigestMd5, Step, Users};
use zkfleet_fuzz::Tape;

fuzz_target!(|input: &[u8]| {
    let mut tape = Tape(input);
    let (name, password, message) = (tape.part(), tape.part(), tape.part());
    let jaas = String::from_utf8_lossy(tape.0);
    let given = Users::parse("jaas.conf", &jaas, "Server").map_err(|error| error.to_string());
    let (name, password) = (plain(name, "a"), plain(password, ""));

    let text = format!("Server {{ M required user_{name}=\"{password}\"; }};");
    let users = Arc::new(Users::parse("jaas.conf", &text, "Server").expect("a plain file"));
    agree(&users, &name, &password);

    let mut server = DigestMd5::new(given.map_or(users, Arc::new));
    let _ = server.step(message);
    let _ = server.step(message);
    let mut client = SaslExchange::new(&name, &password).expect("randomness");
    let body = SaslToken { token: Some(message) }.to_bytes();
    assert!(!matches!(client.next(0, &body), SaslNext::Done), "a server without a proof");
    assert!(!matches!(client.next(0, message), SaslNext::Done), "a server without a proof");
});

/// A word that needs no escapes in a JAAS file, and is no principal.
fn plain(bytes: &[u8], first: &str) -> String {
    let text = String::from_utf8_lossy(bytes);
    let is_plain = |c: &char| !c.is_whitespace() && !c.is_control() && !"{};=\"'\\@/".contains(*c);
    first.chars().chain(text.chars().filter(is_plain)).collect()
}

fn agree(users: &Arc<Users>, name: &str, password: &str) {
    let (mut server, mut client) =
        (DigestMd5::new(users.clone()), SaslExchange::new(name, password));
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
