//! TLS to servers: roots, an identity, who may present which name.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, OtherError};
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
    /// The certificate to show is of an old version.
    #[error("the certificate to show {NOT_VERSION_3}")]
    OldVersion,
    /// Key and certificate do not fit, or a root is no certificate.
    #[error("TLS cannot be set up with these certificates: {0}")]
    Refused(#[from] rustls::Error),
}

/// How to speak TLS to the servers of a list.
#[derive(Clone)]
pub struct ClientTls {
    connector: TlsConnector,
    /// Whether there is a certificate to show.
    has_identity: bool,
}

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
                let key = private_key(key)?;
                let chain = certificates("certificate chain", chain)?;
                builder.with_client_auth_cert(chain, key).map_err(unfit)?
            }
        };
        let connector = TlsConnector::from(Arc::new(config));
        Ok(ClientTls { connector, has_identity: identity_pem.is_some() })
    }

    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        self.connector.connect(name, stream).await.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => io::Error::new(error.kind(), NoHandshake),
            _ => error,
        })
    }
}

/// What stands in the way of TLS, for whoever has to say what to do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TlsTrouble {
    /// The server wants a certificate, and there is none to show.
    IdentityWanted,
    /// The server refuses the certificate that was shown.
    IdentityRefused,
    /// The certificate of the server is refused here.
    ServerRefused,
    /// The port does not speak TLS, as it seems.
    NotTls,
    /// Something else, for which the text has to do.
    Other,
}

/// The other end closed the connection in the middle of the handshake.
#[derive(Debug, thiserror::Error)]
#[error("the server ended the handshake of TLS without a word: does the port speak TLS?")]
struct NoHandshake;

/// What an error of a connection means, where TLS is why. `tls` is how it was set up.
pub(crate) fn trouble(error: &io::Error, tls: Option<&ClientTls>) -> Option<(String, TlsTrouble)> {
    let cause = error.get_ref()?;
    if cause.is::<NoHandshake>() {
        return Some((cause.to_string(), TlsTrouble::NotTls));
    }
    Some(match cause.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(why) => (server_refused(why), TlsTrouble::ServerRefused),
        rustls::Error::AlertReceived(alert) => {
            alerted(*alert, tls.is_some_and(|tls| tls.has_identity))
        }
        rustls::Error::InvalidMessage(_) => {
            ("what the port answers is no TLS".to_owned(), TlsTrouble::NotTls)
        }
        other => (format!("TLS failed: {other}"), TlsTrouble::Other),
    })
}

/// Why the certificate of the server is refused.
fn server_refused(why: &CertificateError) -> String {
    match why {
        // A bad signature is one of another authority with the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the server's certificate is of an authority that is not trusted here: is the list of \
             authorities the right one?"
                .to_owned()
        }
        CertificateError::Other(other) => match verifiers_name(other).as_str() {
            "CaUsedAsEndEntity" => {
                "the server's certificate is one of an authority (CA:TRUE), which is nobody's own: \
                 the server needs one with basicConstraints=CA:FALSE"
                    .to_owned()
            }
            OLD_VERSION => format!("the server's certificate {NOT_VERSION_3}"),
            name => format!("the server's certificate cannot be used: {name}"),
        },
        other => format!("the server's certificate is refused: {other}"),
    }
}

/// The verifier's own errors cannot be told apart but by their names.
fn verifiers_name(OtherError(other): &OtherError) -> String {
    format!("{other:?}")
}

/// What the verifier calls a certificate of X.509 version 1 or 2.
const OLD_VERSION: &str = "UnsupportedCertVersion";
const NOT_VERSION_3: &str = "is not of X.509 version 3, and no other can be used here; issue it \
     with an extension file, e.g. openssl x509 -req -extfile FILE";

/// What a server means by an alert that ends the handshake. Those of the Java platform say
/// `bad_certificate` for none, and `certificate_unknown` for most of what is wrong with one.
fn alerted(alert: AlertDescription, has_identity: bool) -> (String, TlsTrouble) {
    use AlertDescription as Alert;
    let why = match alert {
        Alert::CertificateRequired
        | Alert::NoCertificate
        | Alert::BadCertificate
        | Alert::UnsupportedCertificate => "it cannot be used",
        Alert::CertificateExpired => "it has expired, or is not valid yet",
        Alert::CertificateRevoked => "it is revoked",
        // A bad signature is one of another authority with the same name.
        Alert::UnknownCA | Alert::DecryptError => {
            "it is of an authority that the server does not trust"
        }
        Alert::CertificateUnknown | Alert::AccessDenied => "the server's log says why",
        Alert::HandshakeFailure if !has_identity => {
            let text = "the server refuses the handshake of TLS: it may want a certificate, and none \
                was shown, or it takes none of the cipher suites";
            return (text.to_owned(), TlsTrouble::IdentityWanted);
        }
        Alert::HandshakeFailure => {
            let text = "the server refuses the handshake of TLS: it takes none of the cipher suites, \
                or not this kind of certificate";
            return (text.to_owned(), TlsTrouble::Other);
        }
        Alert::ProtocolVersion => {
            let text = "the server takes neither TLS 1.2 nor TLS 1.3";
            return (text.to_owned(), TlsTrouble::Other);
        }
        other => return (format!("the server ended TLS with {other:?}"), TlsTrouble::Other),
    };
    match has_identity {
        true => {
            let text = format!("the server refuses the certificate that was shown: {why}");
            (text, TlsTrouble::IdentityRefused)
        }
        false => {
            let text = "the server wants a certificate, and none was shown";
            (text.to_owned(), TlsTrouble::IdentityWanted)
        }
    }
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

/// Encrypted keys have it in their label, those of OpenSSL's old form in a header line.
fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    const WHAT: &str = "private key";
    let is_encrypted = pem.windows(9).any(|part| part == b"ENCRYPTED");
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match is_encrypted {
        true => bad(WHAT, &"it is encrypted; write it out plain: openssl pkey -in OLD -out NEW"),
        false => bad(WHAT, &error),
    })
}

/// A certificate and its key that cannot be used.
fn unfit(error: rustls::Error) -> TlsError {
    match &error {
        rustls::Error::InvalidCertificate(CertificateError::Other(other))
            if verifiers_name(other) == OLD_VERSION =>
        {
            TlsError::OldVersion
        }
        _ => TlsError::Refused(error),
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
        for encrypted in [
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n\
             -----END RSA PRIVATE KEY-----\n",
        ] {
            let refused = private_key(encrypted.as_bytes()).unwrap_err().to_string();
            assert!(refused.contains("it is encrypted; write it out plain"), "{refused}");
        }
        let refused = ClientTls::from_pem(b"no pem", None).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the list of certificate authorities cannot be read as PEM: there is no certificate in it"
        );
    }
}
