//! Stores of openssl and Java, and whole handshakes in memory.

use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

use super::store::{load_identity, load_trusted};
use super::*;
use crate::config::{ClientAuth, StoreKind, StoreSettings, TlsSettings};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/tls/testdata/stores").join(name)
}

fn store(name: &str) -> StoreSettings {
    let kind = match name.rsplit('.').next() {
        Some("p12") => StoreKind::Pkcs12,
        Some("jks") => StoreKind::Jks,
        _ => StoreKind::Pem,
    };
    let password = Some(Secret::new("changeit"));
    StoreSettings { path: path(name), kind, password, password_path: None }
}

fn with_password(name: &str, password: &str) -> StoreSettings {
    StoreSettings { password: Some(Secret::new(password)), ..store(name) }
}

const SERVER_STORES: [&str; 9] = [
    "server.pem",
    "server-encrypted.pem",
    "server-sec1.pem",
    "server-openssl.p12",
    "server-openssl-legacy.p12",
    "server-sha512.p12",
    "server-java.p12",
    "server-java-legacy.p12",
    "server.jks",
];

#[test]
fn all_kinds_of_key_stores_give_the_same_chain() {
    let wanted = load_identity(&store("server.pem")).unwrap().chain;
    assert_eq!(wanted.len(), 2);
    for name in SERVER_STORES {
        let identity = load_identity(&store(name)).unwrap();
        assert!(identity.chain == wanted, "{name}");
        assert_eq!(subject_dn(&identity.chain[0]).unwrap(), "CN=server,O=Acme\\, Inc.,C=US");
    }
    // Java goes by the content when the type says the other of its two kinds.
    let mixed = StoreSettings { kind: StoreKind::Jks, ..store("server-java.p12") };
    assert!(load_identity(&mixed).unwrap().chain == wanted);
}

#[test]
fn all_kinds_of_trust_stores_give_the_same_authorities() {
    let wanted = load_trusted(&store("trust.pem")).unwrap();
    assert_eq!(wanted.len(), 2);
    for name in ["trust.p12", "trust.jks"] {
        let mut found = load_trusted(&store(name)).unwrap();
        found.sort_by_key(|certificate| wanted.iter().position(|one| one == certificate));
        assert!(found == wanted, "{name}");
    }
}

#[track_caller]
fn fault<T>(result: Result<T, StoreError>) -> Fault {
    match result {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error.fault,
    }
}

#[test]
fn wrong_passwords_are_refused() {
    for name in
        SERVER_STORES.iter().filter(|name| !matches!(**name, "server.pem" | "server-sec1.pem"))
    {
        for password in ["", "changeit2", "Changeit"] {
            let fault = fault(load_identity(&with_password(name, password)));
            let is_right = match password {
                "" => matches!(fault, Fault::NoPassword),
                _ => matches!(fault, Fault::WrongPassword),
            };
            assert!(is_right, "{name} {password}: {fault:?}");
        }
    }
    for name in ["trust.p12", "trust.jks"] {
        let fault = fault(load_trusted(&with_password(name, "x")));
        assert!(matches!(fault, Fault::WrongPassword), "{name}: {fault:?}");
    }
}

#[test]
fn stores_without_what_is_wanted_are_refused() {
    assert!(matches!(fault(load_identity(&store("ca.pem"))), Fault::NoPemKey));
    let other = StoreSettings { kind: StoreKind::Pem, ..store("server-java.p12") };
    assert!(matches!(fault(load_identity(&other)), Fault::NoPemKey));
    assert!(matches!(fault(load_trusted(&other)), Fault::NoPemCertificate));
    for name in ["trust.p12", "trust.jks"] {
        assert!(matches!(fault(load_identity(&store(name))), Fault::NoKey), "{name}");
    }
    // What Java does not mark as trusted is not trusted: chains of keys least of all.
    for name in ["trust-openssl.p12", "server-java.p12", "server-openssl.p12", "server.jks"] {
        assert!(matches!(fault(load_trusted(&store(name))), Fault::NothingTrusted), "{name}");
    }
    assert!(matches!(fault(load_identity(&store("none.p12"))), Fault::Io(_)));
}

#[test]
fn damaged_stores_are_refused_and_never_panic() {
    let dir = tempfile::tempdir().unwrap();
    // The stores with few iterations, since every damaged one is opened again.
    for name in ["server.jks", "server-openssl.p12", "trust.jks", "server-sec1.pem"] {
        let whole = std::fs::read(path(name)).unwrap();
        let try_with = |bytes: &[u8]| {
            let file = dir.path().join(name);
            std::fs::write(&file, bytes).unwrap();
            let settings = StoreSettings { path: file, ..store(name) };
            load_identity(&settings).is_ok()
        };
        for len in (0..whole.len()).step_by(37) {
            assert!(!try_with(&whole[..len]) || name.ends_with("pem"), "{name} cut at {len}");
        }
        for at in (0..whole.len()).step_by(29) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            let _ = try_with(&bytes);
        }
    }
}

#[test]
fn the_password_may_be_in_a_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "changeit\n").unwrap();
    let settings = StoreSettings {
        password_path: Some(file.path().to_owned()),
        ..with_password("server.jks", "wrong")
    };
    assert!(load_identity(&settings).is_ok());
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let password = Secret::new("changeit");
        let _ = subject_dn(&bytes);
        let _ = pkcs12::parse(&bytes, &password);
        let _ = jks::parse(&bytes, &password);
        // Behind the checksum, where a store of somebody who knows the password gets.
        let jks = jks::sealed(&[&[0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2][..], &bytes].concat(), &password);
        let _ = jks::parse(&jks, &password);
    }

    #[test]
    fn a_certificate_changed_anywhere_never_panics(at in 0usize..600, to: u8) {
        let mut der = load_identity(&store("client.pem")).unwrap().chain.remove(0).to_vec();
        let len = der.len();
        der[at % len] = to;
        let _ = subject_dn(&der);
    }
}

// Handshakes.

fn settings(client_auth: ClientAuth) -> TlsSettings {
    TlsSettings {
        prefix: "ssl.",
        key_store: store("server-java.p12"),
        trust_store: Some(store("trust.jks")),
        client_auth,
        tls12: true,
        tls13: true,
        cipher_suites: Vec::new(),
        detection_timeout_ms: 1000,
        reload: true,
    }
}

/// Shakes hands with a client that trusts our authority and shows a certificate; the subject that
/// the server sees and the suite, or the error of the side that failed.
fn shake(context: &TlsContext, client: Option<&str>) -> Result<(Option<String>, String), String> {
    let mut roots = RootCertStore::empty();
    roots.add(load_trusted(&store("ca.pem")).unwrap().remove(0)).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match client {
        None => config.with_no_client_auth(),
        Some(name) => {
            let identity = load_identity(&store(name)).unwrap();
            config.with_client_auth_cert(identity.chain, identity.key).unwrap()
        }
    };
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut server = ServerConnection::new(context.current()).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets().map_err(|error| format!("server: {error}"))?;
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut bytes.as_slice()).unwrap();
        client.process_new_packets().map_err(|error| format!("client: {error}"))?;
    }
    let subject = |chain: &[CertificateDer<'_>]| subject_dn(&chain[0]).unwrap();
    let suite = format!("{:?}", server.negotiated_cipher_suite().unwrap().suite());
    Ok((server.peer_certificates().map(subject), suite))
}

const CLIENT_DN: &str = "CN=client,OU=Ops+UID=7,O=Acme,C=US";

#[test]
fn client_certificates_are_wanted_as_configured() {
    for name in SERVER_STORES {
        let settings = TlsSettings { key_store: store(name), ..settings(ClientAuth::Need) };
        let context = TlsContext::new(settings).unwrap();
        let (subject, _) = shake(&context, Some("client.pem")).unwrap();
        assert_eq!(subject.as_deref(), Some(CLIENT_DN), "{name}");
    }
    let need = TlsContext::new(settings(ClientAuth::Need)).unwrap();
    let error = shake(&need, None).unwrap_err();
    assert!(error.contains("peer sent no certificates"), "{error}");
    let want = TlsContext::new(settings(ClientAuth::Want)).unwrap();
    assert_eq!(shake(&want, None).unwrap().0, None);
    assert_eq!(shake(&want, Some("client.pem")).unwrap().0.as_deref(), Some(CLIENT_DN));
    let none = TlsSettings { trust_store: None, ..settings(ClientAuth::None) };
    let none = TlsContext::new(none).unwrap();
    assert_eq!(shake(&none, Some("client.pem")).unwrap().0, None);
}

#[test]
fn the_key_that_is_to_be_changed_comes_first() {
    let text = |key_store: StoreSettings| {
        let settings = TlsSettings { key_store, ..settings(ClientAuth::Need) };
        TlsContext::new(settings).err().unwrap().to_string()
    };
    let password_path = Some(PathBuf::from("/nope"));
    let error = text(StoreSettings { password_path, ..store("server.jks") });
    assert!(error.starts_with("ssl.keyStore.passwordPath: /nope: No such file"), "{error}");
    let error = text(StoreSettings { password: None, ..store("server-encrypted.pem") });
    assert!(error.starts_with("ssl.keyStore.password is not set, and /"), "{error}");
    let error = text(StoreSettings { kind: StoreKind::Pem, ..store("server-java.p12") });
    assert!(error.starts_with("ssl.keyStore.location: /"), "{error}");
    assert!(error.contains("the chain and its key into this one file"), "{error}");
    assert!(error.ends_with("(ssl.keyStore.type)"), "{error}");
}

#[test]
fn only_trusted_clients_are_let_in() {
    // Signed by itself, and in the trust store itself.
    let context = TlsContext::new(settings(ClientAuth::Need)).unwrap();
    let (subject, _) = shake(&context, Some("stranger.pem")).unwrap();
    assert_eq!(subject.as_deref(), Some("CN=stranger"));
    // The same without it, also when a certificate is only wanted.
    for client_auth in [ClientAuth::Need, ClientAuth::Want] {
        let trust_store = Some(store("ca.pem"));
        let settings = TlsSettings { trust_store, ..settings(client_auth) };
        let context = TlsContext::new(settings).unwrap();
        let error = shake(&context, Some("stranger.pem")).unwrap_err();
        assert!(error.contains("UnknownIssuer"), "{error}");
        assert!(shake(&context, Some("client.pem")).is_ok());
    }
}

#[test]
fn protocols_and_suites_are_the_configured_ones() {
    let suite = |change: &dyn Fn(&mut TlsSettings)| {
        let mut settings = TlsSettings { trust_store: None, ..settings(ClientAuth::None) };
        change(&mut settings);
        TlsContext::new(settings).map(|context| shake(&context, None).unwrap().1)
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert!(suite(&|_| {}).unwrap().starts_with("TLS13_"));
    assert!(suite(&|settings| settings.tls13 = false).unwrap().starts_with("TLS_ECDHE_ECDSA_"));
    let chosen = suite(&|settings| {
        settings.cipher_suites = names(&[
            "TLS_RSA_WITH_AES_128_CBC_SHA",
            "TLS_CHACHA20_POLY1305_SHA256",
            "TLS_AES_128_GCM_SHA256",
        ]);
    });
    assert_eq!(chosen.unwrap(), "TLS13_CHACHA20_POLY1305_SHA256");
    let unknown = suite(&|settings| settings.cipher_suites = names(&["TLS_RSA_WITH_RC4_128_MD5"]));
    let error = unknown.unwrap_err().to_string();
    assert!(error.contains("TLS_RSA_WITH_RC4_128_MD5") && error.contains("TLS_AES_"), "{error}");
    let mismatch = suite(&|settings| {
        settings.tls13 = false;
        settings.cipher_suites = names(&["TLS_AES_128_GCM_SHA256"]);
    });
    assert!(matches!(mismatch, Err(TlsError::Versions { .. })));
}

#[test]
fn errors_name_the_key_and_the_file() {
    let mut wrong = settings(ClientAuth::Need);
    wrong.key_store = with_password("server.jks", "canary");
    let error = TlsContext::new(wrong).err().unwrap().to_string();
    assert!(
        error.starts_with("ssl.keyStore.location: ") && error.contains("server.jks"),
        "{error}"
    );
    assert!(error.contains("the password does not open it") && !error.contains("canary"));
    let mut wrong = settings(ClientAuth::Need);
    wrong.trust_store = Some(store("server-java.p12"));
    let error = TlsContext::new(wrong).err().unwrap().to_string();
    assert!(error.starts_with("ssl.trustStore.location: ") && error.contains("keytool"), "{error}");
}

#[test]
fn a_certificate_of_version_1_is_refused_in_words() {
    let own = TlsSettings { key_store: store("v1.pem"), ..settings(ClientAuth::Need) };
    let error = TlsContext::new(own).err().unwrap().to_string();
    for part in ["ssl.keyStore.location: ", "v1.pem: ", "is X.509 version 1", "-extfile"] {
        assert!(error.contains(part), "{error}");
    }
    // As an authority it is as good as any.
    let trust_store = Some(store("v1.pem"));
    assert!(TlsContext::new(TlsSettings { trust_store, ..settings(ClientAuth::Need) }).is_ok());
}

#[test]
fn a_key_in_the_old_encrypted_form_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("old.pem");
    // As `openssl rsa -traditional -aes256` writes it.
    let mut text = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
                    DEK-Info: AES-256-CBC,00112233445566778899AABBCCDDEEFF\n\nAAAA\n\
                    -----END RSA PRIVATE KEY-----\n"
        .to_owned();
    text.push_str(&std::fs::read_to_string(path("ca.pem")).unwrap());
    std::fs::write(&file, text).unwrap();
    let old = StoreSettings { path: file, ..store("server.pem") };
    let own = TlsSettings { key_store: old.clone(), ..settings(ClientAuth::Need) };
    let error = TlsContext::new(own).err().unwrap().to_string();
    for part in ["old.pem: ", "Proc-Type: 4,ENCRYPTED", "openssl pkcs8 -topk8"] {
        assert!(error.contains(part) && !error.contains("damaged"), "{error}");
    }
    // Who is trusted has nothing to do with the key.
    let trusting = TlsSettings { trust_store: Some(old), ..settings(ClientAuth::Need) };
    assert!(TlsContext::new(trusting).is_ok());
}

#[test]
fn changed_stores_are_taken_and_broken_ones_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let trust = dir.path().join("trust.pem");
    std::fs::copy(path("ca.pem"), &trust).unwrap();
    let settings = TlsSettings {
        trust_store: Some(StoreSettings { path: trust.clone(), ..store("ca.pem") }),
        ..settings(ClientAuth::Need)
    };
    let context = TlsContext::new(settings).unwrap();
    assert!(!context.refresh().unwrap());
    assert!(shake(&context, Some("stranger.pem")).is_err());
    std::fs::copy(path("trust.pem"), &trust).unwrap();
    assert!(context.refresh().unwrap());
    assert!(shake(&context, Some("stranger.pem")).is_ok());
    std::fs::write(&trust, "broken").unwrap();
    assert!(context.refresh().is_err());
    assert!(shake(&context, Some("stranger.pem")).is_ok());
    assert!(!context.refresh().unwrap());
}
