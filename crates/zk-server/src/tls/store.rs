//! Key stores and trust stores of all kinds, as zoo.cfg names them.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};

use super::der::Items;
use super::dn::Certificate;
use super::{Secret, jks, pbe, pkcs12};
use crate::config::{StoreKind, StoreSettings};

/// Why a store is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file does not have the form.
    #[error("it is damaged or of another kind: {0}")]
    Malformed(&'static str),
    /// An element of the file does not have the form.
    #[error("it is damaged or of another kind: {0}")]
    Der(#[from] ::der::Error),
    /// It holds something that cannot be read here.
    #[error("it holds {0}, which cannot be read here; convert it with keytool -importkeystore")]
    Unsupported(&'static str),
    /// The password does not open it, or it was changed without the password.
    #[error("the password does not open it, or the file was changed")]
    WrongPassword,
    /// It is encrypted, and no password is set.
    #[error("it is encrypted, and no password is set")]
    NoPassword,
    /// The password is not UTF-8.
    #[error("its password is not text in UTF-8")]
    PasswordNotText,
    /// There is no key with a certificate.
    #[error("it holds no private key with a certificate; make one with keytool -genkeypair")]
    NoKey,
    /// The same of a file in PEM.
    #[error(
        "it holds no private key with a certificate in PEM; put the chain and its key into this one \
         file (docs/operators/clients.md), or, if it is of another type, say so by the key of the type"
    )]
    NoPemKey,
    /// There is no certificate in PEM.
    #[error(
        "it holds no certificate in PEM (BEGIN CERTIFICATE); if it is of another type, say so by the key \
         of the type"
    )]
    NoPemCertificate,
    /// There is no certificate to trust.
    #[error(
        "it holds no certificate to trust; add one with keytool -importcert (a certificate that \
         openssl put into PKCS#12 is not trusted by Java either)"
    )]
    NothingTrusted,
    /// A certificate is of a version that rustls' webpki does not read; Java does.
    #[error(
        "its certificate is X.509 version {0}, and only version 3 can be used here; issue it with \
         an extension file, e.g. openssl x509 -req -extfile FILE"
    )]
    OldVersion(u32),
    /// A key is encrypted as OpenSSL did it before PKCS#8; Java does not read it either.
    #[error(
        "its private key is encrypted in OpenSSL's old form (Proc-Type: 4,ENCRYPTED), which neither \
         this server nor Java reads; write it as PKCS#8: openssl pkcs8 -topk8 -in OLD -out NEW"
    )]
    OldEncryption,
    /// The file with the password cannot be read.
    #[error("{0}")]
    PasswordFile(#[source] std::io::Error),
    /// A file cannot be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// A store that is of no use, by its file.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {fault}")]
pub struct StoreError {
    /// The file.
    pub path: String,
    /// Why.
    pub fault: Fault,
}

impl StoreError {
    fn new(path: &Path, fault: Fault) -> StoreError {
        StoreError { path: path.display().to_string(), fault }
    }
}

/// What JKS and PKCS#12 stores hold.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) keys: Vec<KeyEntry>,
    pub(super) trusted: Vec<Vec<u8>>,
}

/// A key and its certificates, its own one first.
pub(super) struct KeyEntry {
    pub(super) pkcs8: Secret,
    pub(super) chain: Vec<Vec<u8>>,
}

/// Our own key and certificates.
pub(super) struct Identity {
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) chain: Vec<CertificateDer<'static>>,
}

/// Reads the key that the server shows itself with: the first one of the store.
pub(super) fn load_identity(settings: &StoreSettings) -> Result<Identity, StoreError> {
    with_file(settings, |bytes, password| {
        let identity = match settings.kind {
            StoreKind::Pem => pem_identity(bytes, password)?,
            StoreKind::Jks | StoreKind::Pkcs12 => {
                let contents = parse(bytes, password)?;
                let entry = contents.keys.into_iter().find(|entry| !entry.chain.is_empty());
                let entry = entry.ok_or(Fault::NoKey)?;
                Identity {
                    key: PrivatePkcs8KeyDer::from(entry.pkcs8.expose().to_vec()).into(),
                    chain: entry.chain.into_iter().map(CertificateDer::from).collect(),
                }
            }
        };
        identity.chain.first().map_or(Ok(()), |own| check_version(own))?;
        Ok(identity)
    })
}

/// Refuses the versions that webpki would refuse without saying what to do. What cannot be read at
/// all is left to it.
pub(super) fn check_version(certificate: &[u8]) -> Result<(), Fault> {
    match Certificate::parse(certificate) {
        Ok(Certificate { version, .. }) if version != 3 => Err(Fault::OldVersion(version)),
        _ => Ok(()),
    }
}

/// Reads the certificates of the authorities whose clients are let in.
pub(super) fn load_trusted(
    settings: &StoreSettings,
) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    with_file(settings, |bytes, password| {
        let found = match settings.kind {
            StoreKind::Pem => pem_certificates(&pem_sections(bytes)?),
            StoreKind::Jks | StoreKind::Pkcs12 => {
                let contents = parse(bytes, password)?;
                contents.trusted.into_iter().map(CertificateDer::from).collect()
            }
        };
        match (found.is_empty(), settings.kind) {
            (false, _) => Ok(found),
            (true, StoreKind::Pem) => Err(Fault::NoPemCertificate),
            (true, _) => Err(Fault::NothingTrusted),
        }
    })
}

/// Java tells JKS and PKCS#12 apart by content too, whatever the type says.
pub(super) fn parse(bytes: &[u8], password: &Secret) -> Result<Contents, Fault> {
    if jks::is_jks(bytes) { jks::parse(bytes, password) } else { pkcs12::parse(bytes, password) }
}

fn with_file<T>(
    settings: &StoreSettings,
    read: impl FnOnce(&[u8], &Secret) -> Result<T, Fault>,
) -> Result<T, StoreError> {
    let password = match &settings.password_path {
        Some(path) => {
            read_password(path).map_err(|e| StoreError::new(path, Fault::PasswordFile(e)))?
        }
        None => settings.password.clone().unwrap_or_default(),
    };
    let run = || read(&std::fs::read(&settings.path)?, &password);
    run().map_err(|fault| {
        let fault = match fault {
            Fault::WrongPassword if password.expose().is_empty() => Fault::NoPassword,
            fault => fault,
        };
        StoreError::new(&settings.path, fault)
    })
}

/// The first line of a file, as Apache's `SecretUtils.readSecret` takes it.
pub(crate) fn read_password(path: &Path) -> std::io::Result<Secret> {
    let bytes = Secret::new(std::fs::read(path)?);
    let line = bytes.expose().split(|byte| matches!(byte, b'\n' | b'\r')).next();
    Ok(Secret::new(line.unwrap_or_default()))
}

/// A block of a PEM file.
struct Section {
    label: String,
    /// Empty if it is encrypted as OpenSSL did it before PKCS#8, with header lines (RFC 1421).
    content: Secret,
    has_old_encryption: bool,
}

fn pem_sections(bytes: &[u8]) -> Result<Vec<Section>, Fault> {
    const BAD: Fault = Fault::Malformed("a PEM block has no end, or is not base64");
    let text = String::from_utf8_lossy(bytes);
    let mut rest = &*text;
    let mut out = Vec::new();
    while let Some((_, begin)) = rest.split_once("-----BEGIN ") {
        let (label, body) = begin.split_once("-----").ok_or(BAD)?;
        let (body, after) = body.split_once(&format!("-----END {label}-----")).ok_or(BAD)?;
        let has_old_encryption = body.contains("Proc-Type: 4,ENCRYPTED");
        let content = match has_old_encryption {
            true => Vec::new(),
            false => {
                let base64 = body.split_ascii_whitespace().collect::<String>();
                STANDARD.decode(base64).map_err(|_| BAD)?
            }
        };
        let content = Secret::new(content);
        out.push(Section { label: label.to_owned(), content, has_old_encryption });
        rest = after;
    }
    Ok(out)
}

fn pem_certificates(sections: &[Section]) -> Vec<CertificateDer<'static>> {
    let certificates = sections
        .iter()
        .filter(|section| matches!(section.label.as_str(), "CERTIFICATE" | "X509 CERTIFICATE"));
    certificates.map(|section| section.content.expose().to_vec().into()).collect()
}

#[cfg(fuzzing)]
pub(super) fn parse_pem(bytes: &[u8], password: &Secret) -> Result<usize, Fault> {
    pem_identity(bytes, password).map(|identity| identity.chain.len())
}

fn pem_identity(bytes: &[u8], password: &Secret) -> Result<Identity, Fault> {
    let sections = pem_sections(bytes)?;
    let chain = pem_certificates(&sections);
    let key = sections.iter().find(|section| section.label.ends_with("PRIVATE KEY"));
    let key = key.filter(|_| !chain.is_empty()).ok_or(Fault::NoPemKey)?;
    if key.has_old_encryption {
        return Err(Fault::OldEncryption);
    }
    let content = key.content.expose();
    let key = match key.label.as_str() {
        "ENCRYPTED PRIVATE KEY" => {
            let mut info = Items::of_sequence(content)?;
            let plain = pbe::decrypt(info.sequence()?, info.octets()?, password)?;
            PrivatePkcs8KeyDer::from(plain.expose().to_vec()).into()
        }
        "RSA PRIVATE KEY" => PrivatePkcs1KeyDer::from(content.to_vec()).into(),
        "EC PRIVATE KEY" => PrivateSec1KeyDer::from(content.to_vec()).into(),
        "PRIVATE KEY" => PrivatePkcs8KeyDer::from(content.to_vec()).into(),
        _ => return Err(Fault::Unsupported("a private key that is not PKCS#8, RSA or EC")),
    };
    Ok(Identity { key, chain })
}
