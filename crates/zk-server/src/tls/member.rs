//! TLS between members (quorum-protocol 14, Apache `QuorumX509Util`): each shows a certificate, on
//! both ports, whoever dials.
//!
//! Differs from Apache in: the name of who is accepted may be that of any member's host as the
//! configuration has it, and is not looked up in reverse; a common name is no host name.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use zk_quorum::{Guard, Guarding, Wire};

use super::detect::{Detected, detect};
use super::server::{TlsContext, TlsError, authorities, provider, store_error, versions};
use super::store::{load_identity, load_trusted};
use super::verify::{check_certificate, check_trusted, refused_certificate};
use crate::config::QuorumTlsSettings;

/// The hosts of all members, as the configuration has them now.
pub(crate) type Hosts = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// What makes connections between members safe.
pub(crate) struct MemberTls {
    settings: QuorumTlsSettings,
    accepts: TlsContext,
    dials: RwLock<Arc<ClientConfig>>,
    hosts: Hosts,
}

impl MemberTls {
    /// Reads the stores.
    pub(crate) fn new(settings: QuorumTlsSettings, hosts: Hosts) -> Result<MemberTls, TlsError> {
        let accepts = TlsContext::new(settings.tls.clone())?;
        let dials = RwLock::new(Arc::new(client(&settings)?));
        Ok(MemberTls { settings, accepts, dials, hosts })
    }

    /// Whether `sslQuorumReloadCertFiles` asks for [`MemberTls::refresh`] now and then.
    pub(crate) fn reloads(&self) -> bool {
        self.accepts.reloads()
    }

    /// Reads the stores again if a file has changed; whether one has. Blocks on files.
    pub(crate) fn refresh(&self) -> Result<bool, TlsError> {
        if !self.accepts.refresh()? {
            return Ok(false);
        }
        let dials = Arc::new(client(&self.settings)?);
        *self.dials.write().unwrap_or_else(PoisonError::into_inner) = dials;
        Ok(true)
    }
}

impl Guard for MemberTls {
    fn dialled(&self, stream: TcpStream, host: &str) -> Guarding {
        if !self.settings.dials {
            return Box::pin(async { Wire::plain(stream) });
        }
        let config = self.dials.read().unwrap_or_else(PoisonError::into_inner).clone();
        let names = vec![host.to_owned()];
        let checks = self.settings.checks_hosts;
        Box::pin(async move {
            let peer = prepare(&stream)?;
            // Only for SNI: the certificate is looked at below.
            let name = server_name(&names[0]).unwrap_or_else(|| peer.ip().to_canonical().into());
            let stream =
                TlsConnector::from(config).connect(name, stream).await.map_err(explained)?;
            if checks {
                check_host(stream.get_ref().1.peer_certificates(), &names, peer.ip())?;
            }
            Ok(Wire::guarded(stream, peer))
        })
    }

    fn accepted(&self, stream: TcpStream) -> Guarding {
        let config = self.accepts.current();
        let names = (self.hosts)();
        let (checks, takes_plain) = (self.settings.checks_client_hosts, self.settings.takes_plain);
        Box::pin(async move {
            let peer = prepare(&stream)?;
            let mut first = [0];
            if stream.peek(&mut first).await? == 1 && detect(first[0]) == Detected::Plain {
                if takes_plain {
                    tracing::debug!("{peer} speaks to this member without TLS");
                    return Wire::plain(stream);
                }
                return Err(io::Error::other("it speaks without TLS, which sslQuorum demands"));
            }
            let stream = TlsAcceptor::from(config).accept(stream).await.map_err(explained)?;
            if checks && let Some(shown) = stream.get_ref().1.peer_certificates() {
                check_host(Some(shown), &names, peer.ip())?;
            }
            Ok(Wire::guarded(stream, peer))
        })
    }
}

/// A handshake that failed, in words where they are known.
fn explained(error: io::Error) -> io::Error {
    match refused_certificate(&error, "ssl.quorum.trustStore.location") {
        Some(why) => io::Error::new(error.kind(), why),
        None => error,
    }
}

fn prepare(stream: &TcpStream) -> io::Result<SocketAddr> {
    stream.set_nodelay(true)?;
    stream.peer_addr()
}

fn server_name(host: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).ok()
}

/// Whether a certificate is that of one of these hosts, or of the address at the other end.
fn check_host(
    shown: Option<&[CertificateDer<'_>]>,
    hosts: &[String],
    peer: IpAddr,
) -> io::Result<()> {
    let shown = shown.and_then(<[_]>::first).ok_or_else(|| io::Error::other("no certificate"))?;
    let parsed = ParsedCertificate::try_from(shown).map_err(io::Error::other)?;
    let peer = peer.to_canonical();
    let names = hosts.iter().filter_map(|host| server_name(host)).chain([peer.into()]);
    if names.into_iter().any(|name| verify_server_name(&parsed, &name).is_ok()) {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "the certificate at {peer} names neither {} nor that address: issue one that does, or set \
         ssl.quorum.hostnameVerification and ssl.quorum.clientHostnameVerification to false",
        hosts.join(" nor ")
    )))
}

fn client(settings: &QuorumTlsSettings) -> Result<ClientConfig, TlsError> {
    let tls = &settings.tls;
    let provider = Arc::new(provider(tls)?);
    let identity =
        load_identity(&tls.key_store).map_err(|source| store_error(tls, "keyStore", source))?;
    let trusted = match &tls.trust_store {
        Some(store) => {
            load_trusted(store).map_err(|source| store_error(tls, "trustStore", source))?
        }
        None => Vec::new(),
    };
    let roots = authorities(tls, &trusted)?;
    let verifier = Arc::new(MemberVerifier { roots, trusted, provider: provider.clone() });
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(tls))
        .map_err(|source| TlsError::Versions { prefix: tls.prefix, source })?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(identity.chain, identity.key)
        .map_err(|source| TlsError::Identity { prefix: tls.prefix, source })
}

/// Accepts a chain to a trusted authority, or a certificate that is trusted itself. The name is
/// compared when the handshake is over, before anything is said.
#[derive(Debug)]
struct MemberVerifier {
    roots: RootCertStore,
    trusted: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for MemberVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        check_certificate(end_entity)?;
        if let Some(checked) = check_trusted(&self.trusted, end_entity, now) {
            return checked.map(|()| ServerCertVerified::assertion());
        }
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            algorithms,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
