//! TLS to servers: roots, an identity, who may present which name.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConfig, OtherError};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A PEM text holds no certificate, no key, or garbage.
    #[error("the {what} cannot be read as PEM: {cause}")]
    BadPem {
        /// Which text.
        what: &'static str,
        /// What is wrong.
        cause: String,
    },
    /// Key and certificate do not fit, or a root is no certificate.
    #[error("TLS cannot be set up with these certificates: {0}")]
    Refused(#[from] rustls::Error),
}

/// How to speak TLS to the servers of a list.
#[derive(Clone)]
pub struct ClientTls(TlsConnector);

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTls")
    }
}

impl ClientTls {
    /// TLS with the certificate authorities of `roots_pem` and, for servers that want one, the
    /// identity of `identity_pem`: a certificate chain and its private key.
    pub fn from_pem(
        roots_pem: &[u8],
        identity_pem: Option<(&[u8], &[u8])>,
    ) -> Result<ClientTls, TlsError> {
        let mut roots = RootCertStore::empty();
        for root in certificates("list of certificate authorities", roots_pem)? {
            roots.add(root)?;
        }
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match identity_pem {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| bad("private key", &e))?;
                builder.with_client_auth_cert(certificates("certificate chain", chain)?, key)?
            }
        };
        Ok(ClientTls(TlsConnector::from(Arc::new(config))))
    }

    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        self.0.connect(name, stream).await.map_err(explained)
    }
}

/// A handshake that failed, in words where the certificate of the server is why.
fn explained(error: io::Error) -> io::Error {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(why)) = cause else { return error };
    let text = match why {
        // A bad signature is one of another authority with the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the server's certificate is of an authority that is not trusted here: is the list of \
             authorities the right one?"
                .to_owned()
        }
        // The verifier's own errors cannot be told apart but by their names.
        CertificateError::Other(OtherError(other)) => match format!("{other:?}").as_str() {
            "CaUsedAsEndEntity" => {
                "the server's certificate is one of an authority (CA:TRUE), which is nobody's own: \
                 the server needs one with basicConstraints=CA:FALSE"
                    .to_owned()
            }
            name => format!("the server's certificate cannot be used: {name}"),
        },
        other => format!("the server's certificate is refused: {other}"),
    };
    io::Error::new(error.kind(), text)
}

/// The one place where the cryptography of TLS is chosen.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Bytes nobody can guess; `None` if the system has none to give.
pub(crate) fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes).ok()?;
    Some(bytes)
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| bad(what, &e))?;
    match found.is_empty() {
        true => Err(TlsError::BadPem { what, cause: "there is no certificate in it".to_owned() }),
        false => Ok(found),
    }
}

fn bad(what: &'static str, cause: &dyn fmt::Display) -> TlsError {
    TlsError::BadPem { what, cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pem_is_refused_by_name() {
        let refused = ClientTls::from_pem(b"no pem", None).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the list of certificate authorities cannot be read as PEM: there is no certificate in it"
        );
    }
}
