//! Small values of clients: ACLs and identities, paths, TTLs, numbers of operations and errors.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;
use zk_proto::acl::{AclBytes, Id, encode};
use zk_proto::{
    Acl, EphemeralOwner, ErrorCode, OpCode, OwnerKind, Perms, Stat, StatPersisted, path,
};
use zk_tree::auth::{AuthOptions, AuthOutcome, DigestScheme, Identity, mask_digests};
use zkfleet_fuzz::{Tape, reads_back};

fuzz_target!(|input: &[u8]| {
    let mut tape = Tape(input);
    let (scheme, credentials, list) = (tape.byte(), tape.part(), tape.part());
    acls(scheme, credentials, list);
    paths(&String::from_utf8_lossy(list));
    numbers(credentials);
    reads_back!(list, Id, Acl, AclBytes, Stat, StatPersisted);
});

fn acls(scheme: u8, credentials: &[u8], list: &[u8]) {
    let auth = AuthOptions {
        digest: [DigestScheme::Sha1, DigestScheme::Sha512][usize::from(scheme / 4 % 2)],
        x509: true,
        sasl: true,
        any_sasl_user: Some("anybody".to_owned()),
        ensemble_names: Some(vec!["e".to_owned()]),
        ..AuthOptions::default()
    };
    let peer = Some(IpAddr::from([10, 0, 0, 1]));
    let name = ["digest", "ip", "ensemble", "sasl"][usize::from(scheme % 4)];
    let mut identities = match auth.authenticate(name, Some(credentials), peer) {
        AuthOutcome::Granted(granted) => granted,
        _ => Vec::new(),
    };
    identities.push(Identity::new("sasl", format!("u{}", String::from_utf8_lossy(credentials))));
    identities.push(Identity::new("ip", "10.0.0.1"));
    let Ok(given) = AclBytes::parse(list) else { return };
    let entries: Vec<_> = given.iter().collect();
    assert!(AclBytes::parse(&encode(&entries)).expect("own list").iter().eq(entries));
    let _ = auth.allows(given.as_bytes(), Perms::READ, &identities);
    AclBytes::parse(&mask_digests(given.as_bytes())).expect("a masked list is a list");
    let Ok(fixed) = auth.fix_up(given, &identities) else { return };
    // What is stored is a valid list, whose fix-up has nothing left to do.
    let fixed = AclBytes::parse(&fixed).expect("own list");
    assert!(!fixed.is_empty());
    let again = auth.fix_up(fixed, &identities).expect("what was accepted once");
    let once: std::collections::HashSet<_> = fixed.iter().collect();
    assert_eq!(AclBytes::parse(&again).expect("own list").iter().count(), once.len());
}

fn paths(text: &str) {
    let _ = path::is_special(text);
    if !path::is_valid(text) {
        return;
    }
    assert!(text.starts_with('/') && path::is_at_or_below(text, "/"), "{text:?}");
    if let Some((parent, name)) = path::split(text)
        && text != "/"
    {
        assert!(!name.is_empty() && (parent.is_empty() || path::is_valid(parent)), "{text:?}");
        assert!(path::is_at_or_below(text, parent));
    }
}

fn numbers(bytes: &[u8]) {
    let Some(number) = bytes.first_chunk().map(|bytes| i64::from_be_bytes(*bytes)) else { return };
    if let Some(owner) = EphemeralOwner::ttl(number) {
        assert_eq!(owner.kind(true), OwnerKind::Ttl(number));
    }
    let _ = (EphemeralOwner(number).kind(true), EphemeralOwner(number).kind(false));
    let number = number as i32;
    assert!(OpCode::from_code(number).is_none_or(|op| op.code() == number));
    assert!(ErrorCode::from_code(number).is_none_or(|error| error.code() == number));
}
