//! Secrets in files that others on this machine may read, which are none. No reason not to start: a
//! mounted secret may have a mode that nobody can change.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::config::{ServerConfig, SessionPassword, StoreKind, StoreSettings, TlsSettings};

/// Warns of each such file of a configuration.
pub(super) fn warn(config: &ServerConfig) {
    if let SessionPassword::Hmac { secret_file } = &config.sessions.password {
        warn_of("the session secret", secret_file, "take any session over");
    }
    if let Some(file) = &config.auth.sasl.users_file {
        warn_of("the file of users", file, "come in as any of them");
    }
    if let Some(sasl) = config.quorum.sasl.as_ref()
        && config.auth.sasl.users_file.as_ref() != Some(&sasl.file)
    {
        warn_of("the file of users", &sasl.file, "come in as any of them");
    }
    let quorum = config.quorum.tls.as_ref().map(|quorum| &quorum.tls);
    for TlsSettings { key_store, trust_store, .. } in config.tls.iter().chain(quorum) {
        if is_open(key_store) {
            warn_of("the private key in", &key_store.path, "pass for this server");
        }
        let stores = std::iter::once(key_store).chain(trust_store);
        for file in stores.filter_map(|store| store.password_path.as_ref()) {
            warn_of("the password in", file, "open the store");
        }
    }
}

/// Whether a store gives its key to everybody who reads it.
fn is_open(store: &StoreSettings) -> bool {
    match store.kind {
        StoreKind::Pem => std::fs::read(&store.path).is_ok_and(|text| {
            let text = String::from_utf8_lossy(&text);
            text.contains("PRIVATE KEY-----")
                && !text.contains("ENCRYPTED PRIVATE KEY-----")
                && !text.contains("Proc-Type: 4,ENCRYPTED")
        }),
        StoreKind::Pkcs12 | StoreKind::Jks => {
            store.password.is_none() && store.password_path.is_none()
        }
    }
}

fn warn_of(what: &str, file: &Path, harm: &str) {
    // What cannot be read is told by whoever needs it.
    let mode = std::fs::metadata(file).map_or(0, |about| about.permissions().mode() & 0o777);
    if mode & 0o077 != 0 {
        let file = file.display();
        tracing::warn!(
            "{what} {file} has mode {mode:03o}: others than the server may read it, and {harm}; \
             chmod 600 {file}"
        );
    }
}
