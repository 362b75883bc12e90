//! Authorities, servers' stores and clients' ends of TLS, made for each test.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use crate::client::open;

/// Who signs.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A chain and its key, in PEM.
pub(crate) struct Identity {
    chain: String,
    key: String,
}

/// The lines of zoo.cfg for TLS with the stores that [`Authority::write_stores`] wrote.
pub(crate) fn tls_lines(stores: &Path) -> String {
    let dir = stores.display();
    format!(
        "secureClientPort=0\nsecureClientPortAddress=127.0.0.1\n\
         ssl.keyStore.location={dir}/server.pem\nssl.trustStore.location={dir}/trust.pem\n"
    )
}

impl Authority {
    pub(crate) fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Authority(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `O=Acme, CN=name`, good for this machine (Java turns its address into
    /// its name when it does SASL).
    pub(crate) fn issue(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(["127.0.0.1", "localhost"].map(String::from)).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Acme");
        params.distinguished_name.push(DnType::CommonName, name);
        let chain = params.signed_by(&key, &self.0).unwrap().pem();
        Identity { chain, key: key.serialize_pem() }
    }

    /// Stores of a server that trusts this authority.
    pub(crate) fn write_stores(&self, dir: &Path) {
        let server = self.issue("server").pem();
        std::fs::write(dir.join("trust.pem"), self.pem()).unwrap();
        // In one step: a server may look at any time.
        std::fs::write(dir.join("server.new"), server).unwrap();
        std::fs::rename(dir.join("server.new"), dir.join("server.pem")).unwrap();
    }

    /// How a client that trusts this authority does TLS.
    pub(crate) fn client_config(
        &self,
        identity: Option<&Identity>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            Some(identity) => {
                let chain = CertificateDer::from_pem_slice(identity.chain.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
                let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
                // As it is: what is wrong with it is for the server to find.
                let shown = CertifiedKey::new(vec![chain], key);
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
            }
            None => builder.with_no_client_auth(),
        };
        Arc::new(config)
    }

    /// A TLS stream to `addr`; the handshake happens with the first bytes.
    pub(crate) fn dial(
        &self,
        addr: SocketAddr,
        identity: Option<&Identity>,
    ) -> StreamOwned<ClientConnection, TcpStream> {
        dial(addr, self.client_config(identity, rustls::ALL_VERSIONS))
    }
}

impl Identity {
    /// One that `openssl x509 -req` made without an extension file: X.509 version 1.
    pub(crate) fn of_version_1() -> Identity {
        let pem = include_str!("../../src/tls/testdata/stores/v1.pem").to_owned();
        Identity { chain: pem.clone(), key: pem }
    }

    /// Key and chain in one file.
    pub(crate) fn pem(&self) -> String {
        format!("{}{}", self.key, self.chain)
    }
}

/// A TLS stream to `addr`, which must show a certificate for 127.0.0.1.
pub(crate) fn dial(
    addr: SocketAddr,
    config: Arc<ClientConfig>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from("127.0.0.1").unwrap();
    StreamOwned::new(ClientConnection::new(config, name).unwrap(), open(addr))
}
