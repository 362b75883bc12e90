//! TLS of the shell: our own options, or Apache's client properties with PEM stores.

use std::fs;
use std::sync::Arc;

use zk_client::tls::ClientTls;

use super::Trouble;
use super::client_config::ClientConfig;
use super::flags::Flags;

/// What the flags ask for; `None` for plain TCP.
pub(super) fn of(
    flags: &Flags,
    config: Option<&ClientConfig>,
) -> Result<Option<Arc<ClientTls>>, Trouble> {
    let files = match (&flags.tls_ca, config) {
        (Some(ca), _) => Some(Files {
            ca: ca.clone(),
            identity: match (&flags.tls_cert, &flags.tls_key) {
                (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
                (None, None) => None,
                _ => return Err(Trouble::usage("--tls-cert and --tls-key go together")),
            },
        }),
        (None, Some(config)) => from_properties(config)?,
        (None, None) if flags.tls_cert.is_some() || flags.tls_key.is_some() => {
            return Err(Trouble::usage("--tls-cert and --tls-key need --tls-ca"));
        }
        (None, None) => None,
    };
    let Some(Files { ca, identity }) = files else { return Ok(None) };
    let ca = read(&ca)?;
    let identity = match &identity {
        Some((cert, key)) => Some((read(cert)?, read(key)?)),
        None => None,
    };
    let identity = identity.as_ref().map(|(cert, key)| (cert.as_bytes(), key.as_bytes()));
    ClientTls::from_pem(ca.as_bytes(), identity)
        .map(|tls| Some(Arc::new(tls)))
        .map_err(|e| Trouble::failed(e.to_string()))
}

struct Files {
    ca: String,
    identity: Option<(String, String)>,
}

fn read(file: &str) -> Result<String, Trouble> {
    fs::read_to_string(file).map_err(|e| Trouble::failed(format!("{file}: {e}")))
}

/// `zookeeper.client.secure` and the stores that go with it; a PEM key store holds chain and key.
fn from_properties(config: &ClientConfig) -> Result<Option<Files>, Trouble> {
    let file = &config.file;
    if config.get("zookeeper.client.secure") != Some("true") {
        return Ok(None);
    }
    let store = |which: &str| {
        let key = format!("zookeeper.ssl.{which}.location");
        match config.get(&key).map(str::to_owned) {
            Some(location) if !location.to_ascii_lowercase().ends_with(".pem") => {
                Err(Trouble::usage(format!("{file}: {key}={location} is no .pem file")).hint(
                    "convert it: keytool -importkeystore -deststoretype PKCS12, then openssl \
                     pkcs12 -nodes",
                ))
            }
            location => Ok(location),
        }
    };
    let Some(ca) = store("trustStore")? else {
        return Err(Trouble::usage(format!(
            "{file}: zookeeper.ssl.trustStore.location is missing"
        )));
    };
    Ok(Some(Files { ca, identity: store("keyStore")?.map(|key| (key.clone(), key)) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(text: &str) -> Result<Option<Files>, Trouble> {
        from_properties(&ClientConfig::parse("f", text))
    }

    #[test]
    fn apaches_client_properties() {
        let text = "# comment\nzookeeper.client.secure = true\n\
                    zookeeper.ssl.trustStore.location=/ca.pem\n\
                    zookeeper.ssl.keyStore.location=/me.pem\n";
        let found = files(text).unwrap().unwrap();
        assert_eq!(found.ca, "/ca.pem");
        assert_eq!(found.identity, Some(("/me.pem".to_owned(), "/me.pem".to_owned())));
        assert!(files("zookeeper.client.secure=false").unwrap().is_none());
        for bad in ["", "zookeeper.ssl.trustStore.location=/ca.jks"] {
            let text = format!("zookeeper.client.secure=true\n{bad}");
            assert_eq!(files(&text).map(|_| ()).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn half_an_identity_is_refused() {
        let flags = Flags { tls_cert: Some("c".to_owned()), ..Flags::default() };
        assert_eq!(
            of(&flags, None).map(|_| ()).unwrap_err().message,
            "--tls-cert and --tls-key need --tls-ca"
        );
    }
}
