//! TLS: both sides are checked.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{PATIENCE, Peer, Script};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use zk_client::tls::{ClientTls, TlsTrouble};
use zk_client::{Client, Error, Options};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Authority(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Chain and key for a name.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    /// A server that wants certificates of this authority.
    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem().as_bytes()).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
        let (chain, key) = self.issue(name);
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

#[tokio::test]
async fn a_session_over_tls_with_identities_on_both_sides() {
    let authority = Authority::new();
    let server = Script::listen().await;
    let (chain, key) = authority.issue("client");
    let identity = Some((chain.as_bytes(), key.as_bytes()));
    let tls = ClientTls::from_pem(authority.pem().as_bytes(), identity).unwrap();
    let client = Client::start(Options { tls: Some(Arc::new(tls)), ..server.options() });
    let acceptor = authority.acceptor("127.0.0.1");
    let stream = acceptor.accept(server.accept().await.0).await.unwrap();
    assert!(stream.get_ref().1.peer_certificates().is_some());
    let mut peer = Peer(stream);
    peer.welcome().await;
    let data = vec![5; 300_000];
    let (_, got) = tokio::join!(peer.serve_get(1, Some(&data)), client.get_data("/a"));
    assert_eq!(got.unwrap().0, Some(data));
    let (asked, _) = tokio::join!(
        async {
            let asked = peer.request().await;
            peer.reply(asked.xid, 2, 0, &[]).await;
            peer.until_end().await;
            asked
        },
        client.close()
    );
    assert_eq!(asked.op, zk_proto::OpCode::CloseSession);
}

#[tokio::test]
async fn a_server_with_another_name_or_authority_is_refused() {
    for (trusts_other, name) in [(false, "elsewhere"), (true, "127.0.0.1")] {
        let authority = Authority::new();
        let trusted = if trusts_other { Authority::new().pem() } else { authority.pem() };
        let server = Script::listen().await;
        let tls = ClientTls::from_pem(trusted.as_bytes(), None).unwrap();
        let options = Options {
            tls: Some(Arc::new(tls)),
            connect_timeout: Duration::from_secs(1),
            ..server.options()
        };
        let acceptor = authority.acceptor(name);
        let accept = accept_all(server, acceptor);
        let refused = timeout(PATIENCE, Client::connect(options)).await.unwrap().unwrap_err();
        accept.abort();
        let Error::NoServer { cause, .. } = refused else { panic!("{refused}") };
        let wanted = if trusts_other { "not trusted here" } else { "certificate is refused: " };
        assert!(cause.contains("the server's certificate") && cause.contains(wanted), "{cause}");
    }
}

/// Shakes hands with whoever comes, as long as the task lives.
fn accept_all(server: Script, acceptor: TlsAcceptor) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let _ = acceptor.accept(server.accept().await.0).await;
        }
    })
}

#[tokio::test]
async fn a_server_that_shows_an_authority_is_told_what_it_needs() {
    let authority = Authority::new();
    let server = Script::listen().await;
    let tls = ClientTls::from_pem(authority.pem().as_bytes(), None).unwrap();
    let rounds = Some(2);
    let tls = Some(Arc::new(tls));
    let options = Options { tls, connect_rounds_max: rounds, ..server.options() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = vec![CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()];
    let key = authority.0.key().serialize_pem();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let accept = accept_all(server, acceptor);
    let refused = timeout(PATIENCE, Client::connect(options)).await.unwrap().unwrap_err();
    accept.abort();
    let Error::NoServer { cause, .. } = refused else { panic!("{refused}") };
    assert!(cause.contains("basicConstraints=CA:FALSE"), "{cause}");
}

/// An alert of the server means something, and there is something to do.
#[tokio::test]
async fn a_certificate_that_the_server_refuses_is_explained() {
    let authority = Authority::new();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    let expired = (params.signed_by(&key, &authority.0).unwrap().pem(), key.serialize_pem());
    let foreign = Authority::new().issue("client");
    for (identity, trouble, text) in [
        (None, TlsTrouble::IdentityWanted, "wants a certificate, and none was shown"),
        (Some(expired), TlsTrouble::IdentityRefused, "it has expired, or is not valid yet"),
        (Some(foreign), TlsTrouble::IdentityRefused, "authority that the server does not trust"),
    ] {
        let server = Script::listen().await;
        let identity = identity.as_ref().map(|(chain, key)| (chain.as_bytes(), key.as_bytes()));
        let tls =
            Some(Arc::new(ClientTls::from_pem(authority.pem().as_bytes(), identity).unwrap()));
        let options = Options { tls, connect_rounds_max: Some(2), ..server.options() };
        let accept = accept_all(server, authority.acceptor("127.0.0.1"));
        let refused = timeout(PATIENCE, Client::connect(options)).await.unwrap().unwrap_err();
        accept.abort();
        let Error::NoServer { cause, tls, .. } = refused else { panic!("{refused}") };
        assert_eq!(tls, Some(trouble), "{cause}");
        assert!(cause.contains(text), "{cause}");
    }
}

#[tokio::test]
async fn a_port_without_tls_is_recognised() {
    for answer in [&b""[..], b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let server = Script::listen().await;
        let authority = Authority::new().pem();
        let tls = Some(Arc::new(ClientTls::from_pem(authority.as_bytes(), None).unwrap()));
        let options = Options { tls, connect_rounds_max: Some(2), ..server.options() };
        let accept = tokio::spawn(async move {
            loop {
                let Peer(mut stream) = server.accept().await;
                let _ = stream.write_all(answer).await;
            }
        });
        let refused = timeout(PATIENCE, Client::connect(options)).await.unwrap().unwrap_err();
        accept.abort();
        let Error::NoServer { tls, .. } = &refused else { panic!("{refused}") };
        assert_eq!(*tls, Some(TlsTrouble::NotTls), "{refused}");
    }
}

/// webpki reads version 3 alone.
#[test]
fn an_own_certificate_of_version_1_is_refused_in_words() {
    let stores = "../zk-server/src/tls/testdata/stores";
    let store = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(stores).join("v1.pem"));
    let store = store.unwrap();
    let authority = Authority::new().pem();
    let refused = ClientTls::from_pem(authority.as_bytes(), Some((&store, &store))).unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("is not of X.509 version 3") && text.contains("-extfile"), "{text}");
}

#[tokio::test]
async fn a_port_that_speaks_tls_is_recognised() {
    let server = Script::listen().await;
    let options = Options { connect_rounds_max: Some(2), ..server.options() };
    let servers = server.address().to_string();
    let acceptor = Authority::new().acceptor("127.0.0.1");
    let accept = accept_all(server, acceptor);
    let refused = timeout(PATIENCE, Client::connect(options)).await.unwrap().unwrap_err();
    accept.abort();
    assert_eq!(refused, Error::TlsWanted { servers });
}
