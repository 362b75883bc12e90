//! The `ssl.*` keys (operations 1.5). Stores are read and checked by [`crate::tls`].

use std::path::{Path, PathBuf};

use super::keys::Keys;
use crate::tls::Secret;

/// TLS for the client listeners.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsSettings {
    /// Of the keys: `ssl.`, or `ssl.quorum.`.
    pub prefix: &'static str,
    /// `ssl.keyStore.*`: our certificate and its key.
    pub key_store: StoreSettings,
    /// `ssl.trustStore.*`: whose certificates of clients are accepted.
    pub trust_store: Option<StoreSettings>,
    /// `ssl.clientAuth`.
    pub client_auth: ClientAuth,
    /// `ssl.enabledProtocols`, or `ssl.protocol`: TLS 1.2 allowed.
    pub tls12: bool,
    /// The same of TLS 1.3.
    pub tls13: bool,
    /// `ssl.ciphersuites`: names as Java writes them, in order of preference; empty is all.
    pub cipher_suites: Vec<String>,
    /// `ssl.handshakeDetectionTimeoutMillis`: how long to wait for the first bytes with port
    /// unification.
    pub detection_timeout_ms: u32,
    /// `client.certReload`: watch the stores and take changed ones.
    pub reload: bool,
}

/// A store of keys or certificates.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreSettings {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub kind: StoreKind,
    /// `.password`.
    pub password: Option<Secret>,
    /// `.passwordPath`: a file that holds the password and wins over [`StoreSettings::password`].
    pub password_path: Option<PathBuf>,
}

/// The format of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreKind {
    /// Text with certificates and a PKCS#8 key.
    Pem,
    /// PKCS#12, which Java has written since version 9.
    Pkcs12,
    /// Java's own older format.
    Jks,
}

/// Whether clients show a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientAuth {
    /// Not asked for.
    None,
    /// Asked for; a client without one gets in without an x509 identity.
    Want,
    /// Required.
    Need,
}

impl TlsSettings {
    /// Reads the keys of the client listeners; `wanted_by` is the key that asks for TLS, if any.
    pub(super) fn read(keys: &mut Keys, wanted_by: Option<&str>) -> Option<TlsSettings> {
        let reload = keys.java_bool("client.certReload", false);
        TlsSettings::read_with(keys, "ssl.", wanted_by, reload)
    }

    /// Reads the keys with a prefix; `wanted_by` says which key asks for TLS, if one does.
    fn read_with(
        keys: &mut Keys,
        prefix: &'static str,
        wanted_by: Option<&str>,
        reload: bool,
    ) -> Option<TlsSettings> {
        let key = |name: &str| format!("{prefix}{name}");
        let client_auth = keys.choice(
            &key("clientAuth"),
            &[("need", ClientAuth::Need), ("want", ClientAuth::Want), ("none", ClientAuth::None)],
        );
        let key_store = store(keys, &key("keyStore"));
        let trust_store = store(keys, &key("trustStore"));
        let (tls12, tls13) = protocols(keys, prefix);
        let cipher_suites = keys.list(&key("ciphersuites"));
        let detection_timeout_ms =
            keys.num(&key("handshakeDetectionTimeoutMillis"), 5000, 1..=u32::MAX);
        let wanted_by = wanted_by?;
        if client_auth != ClientAuth::None && trust_store.is_none() {
            let name = key("clientAuth");
            let (at, is) = match keys.values.contains_key(&name) {
                true => (&*name, "it is need or want".to_owned()),
                false => (wanted_by, format!("{name} is need (the default)")),
            };
            let text = format!(
                "{at}: {is}, but {prefix}trustStore.location is not set; name the certificates of \
                 the authorities to trust, or set {name} = none"
            );
            keys.error(at, text);
        }
        let Some(key_store) = key_store else {
            // A location that is set has its own finding already.
            if keys.path(&key("keyStore.location")).is_none() {
                let text = format!(
                    "{wanted_by}: TLS is asked for, but {prefix}keyStore.location is not set; name the file with \
                     our certificate and key"
                );
                keys.error(wanted_by, text);
            }
            return None;
        };
        Some(TlsSettings {
            prefix,
            key_store,
            trust_store,
            client_auth,
            tls12,
            tls13,
            cipher_suites,
            detection_timeout_ms,
            reload,
        })
    }
}

/// TLS between members.
#[derive(Clone, PartialEq, Debug)]
pub struct QuorumTlsSettings {
    /// The stores and what belongs to them.
    pub tls: TlsSettings,
    /// `ssl.quorum.hostnameVerification`: whom this member dials is who it says.
    pub checks_hosts: bool,
    /// `ssl.quorum.clientHostnameVerification`: so is who dials.
    pub checks_client_hosts: bool,
    /// `sslQuorum`: this member dials with TLS.
    pub dials: bool,
    /// `portUnification`: members may come without TLS, during a change.
    pub takes_plain: bool,
}

impl QuorumTlsSettings {
    /// Reads the keys; `None` without `sslQuorum` and `portUnification`, and for a server that runs
    /// alone: it has no quorum ports, and needs no stores for them.
    pub(super) fn read(keys: &mut Keys, is_ensemble: bool) -> Option<QuorumTlsSettings> {
        let dials = keys.java_bool("sslQuorum", false);
        let takes_plain = keys.java_bool("portUnification", false);
        let reload = keys.java_bool("sslQuorumReloadCertFiles", false);
        let checks_hosts = keys.java_bool("ssl.quorum.hostnameVerification", true);
        let checks_client_hosts =
            keys.java_bool("ssl.quorum.clientHostnameVerification", true) && checks_hosts;
        let wanted_by = match (dials, takes_plain) {
            _ if !is_ensemble => None,
            (true, _) => Some("sslQuorum"),
            (false, true) => Some("portUnification"),
            (false, false) => None,
        };
        let tls = TlsSettings::read_with(keys, "ssl.quorum.", wanted_by, reload)?;
        if let (None, Some(key)) = (&tls.trust_store, wanted_by) {
            let text = format!(
                "{key}: ssl.quorum.trustStore.location is not set; members must know whom they dial"
            );
            keys.error(key, text);
        }
        if tls.client_auth != ClientAuth::Need {
            keys.warn(
                "ssl.quorum.clientAuth",
                "ssl.quorum.clientAuth: whoever reaches the quorum ports can join without a \
                 certificate; set it to need",
            );
        }
        if takes_plain {
            keys.warn(
                "portUnification",
                "portUnification: whoever reaches the quorum ports can join without TLS; only while \
                 members are changed to TLS",
            );
        }
        Some(QuorumTlsSettings { tls, checks_hosts, checks_client_hosts, dials, takes_plain })
    }
}

fn store(keys: &mut Keys, prefix: &str) -> Option<StoreSettings> {
    let location = format!("{prefix}.location");
    let password = keys.secret(&format!("{prefix}.password"));
    let password_path = keys.path(&format!("{prefix}.passwordPath"));
    let declared = kind(keys, &format!("{prefix}.type"));
    let path = keys.path(&location)?;
    let Some(kind) = declared.or_else(|| kind_of_name(&path)) else {
        let text = format!(
            "{location}: the kind of store cannot be told from its name; end it with .pem, .p12 or \
             .jks, or set {prefix}.type"
        );
        keys.error(&location, text);
        return None;
    };
    Some(StoreSettings { path, kind, password, password_path })
}

fn kind(keys: &mut Keys, key: &str) -> Option<StoreKind> {
    let value = keys.get(key)?;
    match value.text.to_ascii_uppercase().as_str() {
        "" => None,
        "PEM" => Some(StoreKind::Pem),
        "PKCS12" => Some(StoreKind::Pkcs12),
        "JKS" => Some(StoreKind::Jks),
        _ => {
            keys.reject(key, &value, "stores can be PEM, PKCS12 or JKS; convert it with keytool");
            None
        }
    }
}

/// Apache's rule (`KeyStoreFileType.fromFilename`); the endings are compared exactly.
fn kind_of_name(path: &Path) -> Option<StoreKind> {
    match path.extension()?.to_str()? {
        "pem" => Some(StoreKind::Pem),
        "p12" => Some(StoreKind::Pkcs12),
        "jks" => Some(StoreKind::Jks),
        _ => None,
    }
}

/// Whether TLS 1.2 and TLS 1.3 are allowed.
fn protocols(keys: &mut Keys, prefix: &str) -> (bool, bool) {
    let (protocol_key, enabled_key) =
        (format!("{prefix}protocol"), format!("{prefix}enabledProtocols"));
    let protocol = keys.get(&protocol_key);
    let enabled = keys.get(&enabled_key);
    let (key, value) = match (enabled, protocol) {
        (Some(value), _) => (&*enabled_key, value),
        // "TLS" and "Default" are Java's words for whatever the runtime can do.
        (None, Some(value)) if !matches!(value.text.as_str(), "TLS" | "Default" | "") => {
            (&*protocol_key, value)
        }
        _ => return (true, true),
    };
    let (mut tls12, mut tls13) = (false, false);
    for name in value.text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match name {
            "TLSv1.2" => tls12 = true,
            "TLSv1.3" => tls13 = true,
            "TLSv1" | "TLSv1.1" | "SSLv3" | "SSLv2Hello" => {
                keys.warn(key, format!("{key}: {name} is broken and never offered; remove it"));
            }
            _ => {
                keys.error(key, format!("{key}: {name} is unknown; list TLSv1.2, TLSv1.3 or both"))
            }
        }
    }
    if !tls12 && !tls13 {
        keys.error(key, format!("{key}: nothing is left; list TLSv1.2, TLSv1.3 or both"));
    }
    (tls12, tls13)
}
