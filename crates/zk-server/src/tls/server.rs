//! The TLS configuration of the listeners, and its renewal when stores change.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::store::{Fault, StoreError, load_identity, load_trusted};
use super::verify::ClientVerifier;
use crate::config::{ClientAuth, StoreSettings, TlsSettings};

/// Why there is no TLS. `prefix` is that of the keys in zoo.cfg: `ssl.`, or `ssl.quorum.`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A store is of no use.
    #[error("{}", store_text(prefix, store, source))]
    Store {
        /// Of the keys.
        prefix: &'static str,
        /// The key that names it.
        store: &'static str,
        /// Why.
        source: StoreError,
    },
    /// A certificate of the trust store cannot be an authority.
    #[error("{prefix}trustStore.location: a certificate in it cannot be used: {source}")]
    Authority {
        /// Of the keys.
        prefix: &'static str,
        /// Why.
        source: rustls::Error,
    },
    /// The authorities cannot be used.
    #[error("{prefix}trustStore.location: {source}")]
    Verifier {
        /// Of the keys.
        prefix: &'static str,
        /// Why.
        source: rustls::server::VerifierBuilderError,
    },
    /// Key, certificates, protocols and cipher suites do not go together.
    #[error("{prefix}keyStore.location: key and certificate cannot be used: {source}")]
    Identity {
        /// Of the keys.
        prefix: &'static str,
        /// Why.
        source: rustls::Error,
    },
    /// Protocols and cipher suites do not go together.
    #[error(
        "{prefix}ciphersuites: no suite is left for the protocols of {prefix}enabledProtocols: {source}"
    )]
    Versions {
        /// Of the keys.
        prefix: &'static str,
        /// Why.
        source: rustls::Error,
    },
    /// Not one cipher suite of the list exists here.
    #[error(
        "{prefix}ciphersuites: none of {unknown} exists here; remove the key, or use some of {known}"
    )]
    Suites {
        /// Of the keys.
        prefix: &'static str,
        /// What was asked for.
        unknown: String,
        /// What there is.
        known: String,
    },
}

/// The key that has to be changed comes first.
fn store_text(prefix: &str, store: &str, source: &StoreError) -> String {
    match source.fault {
        Fault::NoPassword => format!(
            "{prefix}{store}.password is not set, and {} is encrypted; set it, or name a file that \
             holds it by {prefix}{store}.passwordPath",
            source.path
        ),
        Fault::NoPemKey | Fault::NoPemCertificate => {
            format!("{prefix}{store}.location: {source} ({prefix}{store}.type)")
        }
        Fault::PasswordFile(_) => format!("{prefix}{store}.passwordPath: {source}"),
        _ => format!("{prefix}{store}.location: {source}"),
    }
}

pub(super) fn store_error(
    settings: &TlsSettings,
    store: &'static str,
    source: StoreError,
) -> TlsError {
    TlsError::Store { prefix: settings.prefix, store, source }
}

/// The TLS of listeners. Taking the current configuration is cheap enough for every
/// connection.
pub struct TlsContext {
    settings: TlsSettings,
    current: RwLock<Arc<ServerConfig>>,
    stamps: Mutex<Vec<Stamp>>,
}

/// How a file looked: its time and length.
type Stamp = Option<(SystemTime, u64)>;

impl TlsContext {
    /// Reads the stores.
    pub fn new(settings: TlsSettings) -> Result<TlsContext, TlsError> {
        // Before reading: a change in between is then seen as one.
        let stamps = Mutex::new(stamps(&settings));
        let current = RwLock::new(Arc::new(build(&settings)?));
        Ok(TlsContext { settings, current, stamps })
    }

    /// The configuration for the next connection.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether `client.certReload` asks for [`TlsContext::refresh`] now and then.
    #[must_use]
    pub fn reloads(&self) -> bool {
        self.settings.reload
    }

    /// Reads the stores again if a file changed; connections from now on get the new ones. When the
    /// new ones are of no use the old ones stay, and the files are tried again at their next
    /// change. Blocks on files.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let seen = stamps(&self.settings);
        let mut known = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == seen {
            return Ok(false);
        }
        *known = seen;
        let new = Arc::new(build(&self.settings)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(true)
    }
}

fn stamps(settings: &TlsSettings) -> Vec<Stamp> {
    let files = |store: &StoreSettings| -> Vec<PathBuf> {
        std::iter::once(store.path.clone()).chain(store.password_path.clone()).collect()
    };
    let stores = std::iter::once(&settings.key_store).chain(&settings.trust_store);
    let stamp = |path: PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    stores.flat_map(files).map(stamp).collect()
}

fn build(settings: &TlsSettings) -> Result<ServerConfig, TlsError> {
    let prefix = settings.prefix;
    let provider = Arc::new(provider(settings)?);
    let verifier = client_verifier(settings, &provider)?;
    let identity = load_identity(&settings.key_store)
        .map_err(|source| store_error(settings, "keyStore", source))?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(settings))
        .map_err(|source| TlsError::Versions { prefix, source })?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(identity.chain, identity.key)
        .map_err(|source| TlsError::Identity { prefix, source })?;
    // A list of suites is in the order of preference, as in Java.
    config.ignore_client_order = !settings.cipher_suites.is_empty();
    Ok(config)
}

/// The protocols that are allowed.
pub(super) fn versions(settings: &TlsSettings) -> Vec<&'static SupportedProtocolVersion> {
    let versions = [(settings.tls13, &TLS13), (settings.tls12, &TLS12)];
    versions.into_iter().filter(|(allowed, _)| *allowed).map(|(_, version)| version).collect()
}

/// Our cryptography, with the suites of a list, in its order, or all.
pub(super) fn provider(settings: &TlsSettings) -> Result<CryptoProvider, TlsError> {
    let (prefix, names) = (settings.prefix, &settings.cipher_suites);
    let mut provider = ring::default_provider();
    if names.is_empty() {
        return Ok(provider);
    }
    // Java leaves the number out of TLS 1.3's names.
    let known = provider
        .cipher_suites
        .iter()
        .map(|suite| (format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1), *suite));
    let known = known.collect::<Vec<_>>();
    let mut chosen = Vec::new();
    for name in names {
        match known.iter().find(|(known, _)| known == name) {
            Some((_, suite)) => chosen.push(*suite),
            None => tracing::warn!(
                suite = name,
                "{prefix}ciphersuites: this suite does not exist here (it is old or unsafe); left out"
            ),
        }
    }
    if chosen.is_empty() {
        let known = known.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let (unknown, known) = (names.join(", "), known.join(", "));
        return Err(TlsError::Suites { prefix, unknown, known });
    }
    provider.cipher_suites = chosen;
    Ok(provider)
}

fn client_verifier(
    settings: &TlsSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let Some(store) =
        settings.trust_store.as_ref().filter(|_| settings.client_auth != ClientAuth::None)
    else {
        return Ok(None);
    };
    let trusted =
        load_trusted(store).map_err(|source| store_error(settings, "trustStore", source))?;
    let roots = authorities(settings, &trusted)?;
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let inner = match settings.client_auth {
        ClientAuth::Want => builder.allow_unauthenticated().build(),
        _ => builder.build(),
    };
    let inner = inner.map_err(|source| TlsError::Verifier { prefix: settings.prefix, source })?;
    Ok(Some(Arc::new(ClientVerifier { inner, trusted })))
}

pub(super) fn authorities(
    settings: &TlsSettings,
    trusted: &[CertificateDer<'static>],
) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots
            .add(certificate.clone())
            .map_err(|source| TlsError::Authority { prefix: settings.prefix, source })?;
    }
    Ok(roots)
}
