//! Which client certificates are accepted: as Java does, a chain to a trusted authority, or the
//! very certificate in the trust store.

use std::io;
use std::sync::Arc;

use ::der::asn1::{GeneralizedTime, UtcTime};
use ::der::{Decode, Tag, Tagged};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};

use super::der::Items;
use super::dn::Certificate;
use super::store::{Fault, check_version};

/// Accepts what the inner verifier accepts, and certificates that are in the trust store themselves
/// (`PKIXValidator`), such as those that clients signed for themselves.
///
/// Differs from Java in: an expired one is refused, and one of X.509 version 1.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    pub(super) inner: Arc<dyn ClientCertVerifier>,
    pub(super) trusted: Vec<CertificateDer<'static>>,
}

impl ClientCertVerifier for ClientVerifier {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        check_certificate(end_entity)?;
        match check_trusted(&self.trusted, end_entity, now) {
            Some(checked) => checked.map(|()| ClientCertVerified::assertion()),
            None => self.inner.verify_client_cert(end_entity, intermediates, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Whether a certificate is of a version that can be used here.
pub(super) fn check_certificate(certificate: &CertificateDer<'_>) -> Result<(), Error> {
    check_version(certificate).map_err(|fault| {
        Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(fault))))
    })
}

/// Whether a certificate that is in the trust store itself is valid now; `None` for others.
pub(super) fn check_trusted(
    trusted: &[CertificateDer<'static>],
    certificate: &CertificateDer<'_>,
    now: UnixTime,
) -> Option<Result<(), Error>> {
    trusted.iter().find(|trusted| trusted.as_ref() == certificate.as_ref())?;
    let refused = |why| Err(Error::InvalidCertificate(why));
    Some(match valid_seconds(certificate) {
        Ok([start, _]) if now.as_secs() < start => refused(CertificateError::NotValidYet),
        Ok([_, end]) if now.as_secs() > end => refused(CertificateError::Expired),
        Ok(_) => Ok(()),
        Err(_) => refused(CertificateError::BadEncoding),
    })
}

/// What is wrong with the certificate of the other end and what to do, where that is why a
/// handshake failed. `trust` is the key of the trust store.
pub(crate) fn refused_certificate(error: &io::Error, trust: &str) -> Option<String> {
    let Error::InvalidCertificate(why) = error.get_ref()?.downcast_ref::<Error>()? else {
        return None;
    };
    Some(match why {
        // A bad signature is one of another authority with the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "its certificate is of an authority that is not trusted here: put the certificate of \
             the authority into {trust}, or give it a certificate of one that is there"
        ),
        CertificateError::Other(OtherError(other)) => match other.downcast_ref::<Fault>() {
            Some(fault) => fault.to_string(),
            // The verifier's own errors cannot be told apart but by their names.
            None => match format!("{other:?}").as_str() {
                "CaUsedAsEndEntity" => format!(
                    "its certificate is one of an authority (CA:TRUE), which is nobody's own: issue \
                     one with basicConstraints=CA:FALSE, or put this very one into {trust}"
                ),
                name => format!("its certificate cannot be used: {}", in_words(name)),
            },
        },
        other => format!("its certificate is refused: {}", in_words(&other.to_string())),
    })
}

/// `UnsupportedCertVersion` as "unsupported cert version"; what has blanks is text already.
fn in_words(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 8);
    for c in name.chars() {
        if name.contains(' ') || !c.is_ascii_uppercase() {
            out.push(c);
        } else {
            out.extend((!out.is_empty()).then_some(' '));
            out.push(c.to_ascii_lowercase());
        }
    }
    out
}

/// Start and end of a certificate, in seconds since 1970.
fn valid_seconds(certificate: &[u8]) -> Result<[u64; 2], Fault> {
    let [start, end] = Certificate::parse(certificate)?.validity;
    Ok([seconds(start)?, seconds(end)?])
}

fn seconds(time: &[u8]) -> Result<u64, Fault> {
    let since_1970 = match Items::new(time)?.any()?.tag() {
        Tag::UtcTime => UtcTime::from_der(time)?.to_unix_duration(),
        _ => GeneralizedTime::from_der(time)?.to_unix_duration(),
    };
    Ok(since_1970.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the verifier calls its error.
    #[derive(Debug)]
    struct CaUsedAsEndEntity;
    /// One of its others.
    #[derive(Debug)]
    struct UnsupportedCertVersion;

    macro_rules! errors {
        ($($name:ident)*) => {$(
            impl std::fmt::Display for $name {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    write!(f, "{self:?}")
                }
            }
            impl std::error::Error for $name {}
        )*};
    }
    errors! { CaUsedAsEndEntity UnsupportedCertVersion }

    #[test]
    fn what_is_wrong_with_a_certificate_is_said_in_words() {
        let said = |why| {
            let error = io::Error::other(Error::InvalidCertificate(why));
            refused_certificate(&error, "the.store").unwrap()
        };
        let other = |error| said(CertificateError::Other(error));
        let text = other(OtherError(Arc::new(CaUsedAsEndEntity)));
        assert!(text.contains("basicConstraints=CA:FALSE") && text.contains("the.store"), "{text}");
        let text = other(OtherError(Arc::new(UnsupportedCertVersion)));
        assert_eq!(text, "its certificate cannot be used: unsupported cert version");
        assert!(said(CertificateError::UnknownIssuer).contains("not trusted here"));
        let text = said(CertificateError::BadEncoding);
        assert_eq!(text, "its certificate is refused: bad encoding");
        assert_eq!(refused_certificate(&io::Error::other("broken"), "the.store"), None);
    }
}
