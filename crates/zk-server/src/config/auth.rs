//! Who clients may say they are (operations 1.5, client-protocol 8.4 and 14).

use std::path::PathBuf;

use super::keys::Keys;
use super::quorum_sasl::jaas_file;
use crate::tls::Secret;
use zk_tree::auth::DigestScheme;

/// Settings of the authentication schemes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthSettings {
    /// `DigestAuthenticationProvider.enabled` and `.digestAlg`.
    pub digest: DigestScheme,
    /// `DigestAuthenticationProvider.superDigest`: `name:base64 of the hash` of the super user.
    pub super_digest: Option<Secret>,
    /// Whether x509 identities exist: a TLS listener, or `authProvider.N`.
    pub x509_enabled: bool,
    /// `X509AuthenticationProvider.superUser`: a distinguished name.
    pub x509_super_user: Option<String>,
    /// `superUser` and `superUser.N`: names of SASL identities.
    pub super_users: Vec<String>,
    /// Whether the scheme `ensemble` exists: `authProvider.N`.
    pub ensemble_enabled: bool,
    /// `ensembleAuthName`: names that the scheme `ensemble` accepts; empty is all.
    pub ensemble_names: Vec<Secret>,
    /// `enforce.auth.*`, or `sessionRequireClientSASLAuth`: schemes of which every connection must
    /// have an identity; empty is no such rule.
    pub required_schemes: Vec<String>,
    /// SASL.
    pub sasl: SaslSettings,
}

/// Settings of SASL DIGEST-MD5.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SaslSettings {
    /// `sasl.usersFile` or `java.security.auth.login.config`: a JAAS file; `None` is no SASL.
    pub users_file: Option<PathBuf>,
    /// `sasl.serverconfig`: its section.
    pub section: String,
    /// `SASLAuthenticationProvider.superPassword`: of the user `super`, instead of the file's.
    pub super_password: Option<Secret>,
    /// Whether the scheme `sasl` may be used in ACLs: `authProvider.N`.
    pub acls_enabled: bool,
    /// `allowSaslFailedClients`: a failed client stays connected, without identity.
    pub allow_failed: bool,
    /// `letAnySaslUserDoX`: an ACL id that every SASL identity matches.
    pub any_user_id: Option<String>,
}

impl AuthSettings {
    pub(super) fn read(keys: &mut Keys, has_tls: bool) -> AuthSettings {
        let providers = providers(keys);
        let has = |scheme| providers.contains(&scheme);
        if keys.non_empty("ssl.authProvider").is_some_and(|name| name != "x509") {
            keys.error("ssl.authProvider", "ssl.authProvider: only x509 can be had; remove it");
        }
        let mut super_users = Vec::new();
        super_users.extend(keys.non_empty("superUser"));
        super_users.extend(keys.with_prefix("superUser.").into_iter().map(|(_, value)| value.text));
        let names = keys.list("ensembleAuthName");
        let mut settings = AuthSettings {
            digest: digest(keys),
            super_digest: keys.secret("DigestAuthenticationProvider.superDigest"),
            x509_enabled: has_tls || has(Provider::X509),
            x509_super_user: keys.non_empty("X509AuthenticationProvider.superUser"),
            super_users,
            ensemble_enabled: has(Provider::Ensemble),
            ensemble_names: names.into_iter().map(Secret::new).collect(),
            required_schemes: Vec::new(),
            sasl: SaslSettings::read(keys, has(Provider::Sasl)),
        };
        check_super_digest(keys, &settings);
        if has(Provider::Sasl) && settings.sasl.users_file.is_none() {
            keys.warn(
                "authProvider.sasl",
                "authProvider: SASLAuthenticationProvider is named and there are no users, so nobody can \
                 have an identity of sasl; set java.security.auth.login.config to a JAAS file",
            );
        }
        settings.required_schemes = required_schemes(keys, &settings);
        settings
    }

    /// Whether a connection can get an identity of a scheme here.
    #[must_use]
    pub fn has_scheme(&self, scheme: &str) -> bool {
        match scheme {
            "ip" => true,
            "digest" => self.digest != DigestScheme::Off,
            "x509" => self.x509_enabled,
            "sasl" => self.sasl.users_file.is_some(),
            "ensemble" => self.ensemble_enabled,
            _ => false,
        }
    }
}

impl SaslSettings {
    fn read(keys: &mut Keys, acls_enabled: bool) -> SaslSettings {
        SaslSettings {
            users_file: jaas_file(keys),
            section: keys.non_empty("sasl.serverconfig").unwrap_or_else(|| "Server".to_owned()),
            super_password: keys.secret("SASLAuthenticationProvider.superPassword"),
            acls_enabled,
            allow_failed: keys.java_bool("allowSaslFailedClients", false),
            any_user_id: keys.non_empty("letAnySaslUserDoX"),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Provider {
    BuiltIn,
    X509,
    Sasl,
    Ensemble,
}

/// Apache's provider classes; what is none of them is somebody's plugin.
const PROVIDERS: [(&str, Provider); 5] = [
    ("org.apache.zookeeper.server.auth.IPAuthenticationProvider", Provider::BuiltIn),
    ("org.apache.zookeeper.server.auth.DigestAuthenticationProvider", Provider::BuiltIn),
    ("org.apache.zookeeper.server.auth.X509AuthenticationProvider", Provider::X509),
    ("org.apache.zookeeper.server.auth.SASLAuthenticationProvider", Provider::Sasl),
    ("org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider", Provider::Ensemble),
];

fn providers(keys: &mut Keys) -> Vec<Provider> {
    let mut out = Vec::new();
    for (suffix, value) in keys.with_prefix("authProvider.") {
        match PROVIDERS.iter().find(|(class, _)| *class == value.text) {
            Some((_, provider)) => out.push(*provider),
            None => keys.reject(
                &format!("authProvider.{suffix}"),
                &value,
                "Java classes cannot be loaded, and ACLs that need this scheme would lock \
                 everybody out; only Apache's own ip, digest, x509, SASL and ensemble providers exist",
            ),
        }
    }
    out
}

fn digest(keys: &mut Keys) -> DigestScheme {
    let enabled = keys.java_bool("DigestAuthenticationProvider.enabled", true);
    let hash = keys.choice(
        "DigestAuthenticationProvider.digestAlg",
        &[
            ("SHA1", DigestScheme::Sha1),
            ("SHA-1", DigestScheme::Sha1),
            ("SHA-256", DigestScheme::Sha256),
            ("SHA-384", DigestScheme::Sha384),
            ("SHA-512", DigestScheme::Sha512),
        ],
    );
    if enabled { hash } else { DigestScheme::Off }
}

fn check_super_digest(keys: &mut Keys, settings: &AuthSettings) {
    const KEY: &str = "DigestAuthenticationProvider.superDigest";
    let Some(digest) = &settings.super_digest else { return };
    let Some(colon) = digest.expose().iter().position(|byte| *byte == b':') else {
        return keys
            .error(KEY, format!("{KEY} must be name:hash, the hash of name:password in base64"));
    };
    let hash = settings.digest.id(b"any:one").map(|id| id.len() - "any:".len());
    if hash.is_some_and(|length| digest.expose().len() - colon - 1 != length) {
        keys.warn(
            KEY,
            format!(
                "{KEY}: what stands behind the colon is no hash by digestAlg in base64, so nobody will be \
                 a superuser by it; for SHA-1 it is: printf '%s' name:password | openssl dgst -sha1 \
                 -binary | base64"
            ),
        );
    }
}

fn required_schemes(keys: &mut Keys, settings: &AuthSettings) -> Vec<String> {
    let schemes = keys.list("enforce.auth.schemes");
    // With the key that requires each.
    let mut required = Vec::new();
    if keys.java_bool("enforce.auth.enabled", false) {
        if schemes.is_empty() {
            keys.error(
                "enforce.auth.enabled",
                "enforce.auth.enabled = true: enforce.auth.schemes is not set; list the schemes",
            );
        }
        required.extend(schemes.into_iter().map(|scheme| (scheme, "enforce.auth.schemes")));
    }
    let has_sasl = required.iter().any(|(scheme, _)| scheme == "sasl");
    if keys.java_bool("sessionRequireClientSASLAuth", false) && !has_sasl {
        required.push(("sasl".to_owned(), "sessionRequireClientSASLAuth"));
    }
    for (scheme, key) in required.iter().filter(|(scheme, _)| !settings.has_scheme(scheme)) {
        let text = format!(
            "{key}: every client is required to have an identity of scheme {scheme}, but nothing here \
             gives one; configure the scheme, or do not require it"
        );
        keys.error(key, text);
    }
    required.into_iter().map(|(scheme, _)| scheme).collect()
}
