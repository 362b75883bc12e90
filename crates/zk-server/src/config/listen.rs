//! Where the server listens (operations 1.1).

use zk_zab::HostPort;

use super::keys::Keys;

/// The listeners for clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listeners {
    /// `clientPort`: plain text, or both with [`Listeners::port_unification`].
    pub client: Option<HostPort>,
    /// `secureClientPort`: TLS only.
    pub secure: Option<HostPort>,
    /// `client.portUnification`: TLS and plain text on the client port; the first byte decides.
    pub port_unification: bool,
    /// `clientPortListenBacklog`: connections that wait to be accepted; see
    /// [`Listeners::backlog`].
    pub backlog_set: Option<u32>,
    /// `clientTcpKeepAlive`.
    pub tcp_keep_alive: bool,
}

/// Java's backlog when none is given.
pub(crate) const DEFAULT_BACKLOG: u32 = 50;

impl Listeners {
    pub(super) fn read(keys: &mut Keys) -> Listeners {
        let client = listener(keys, "clientPort", "clientPortAddress");
        let secure = listener(keys, "secureClientPort", "secureClientPortAddress");
        if client.as_ref().is_some_and(|client| client.port == 0) {
            keys.warn(
                "clientPort",
                "clientPort = 0: a free port is taken at random, for plain text, where Apache has no such \
                 port; remove it for TLS alone, or name the port",
            );
        }
        let backlog = keys.num("clientPortListenBacklog", -1, -1..=i32::from(u16::MAX));
        Listeners {
            client,
            secure,
            port_unification: keys.java_bool("client.portUnification", false),
            backlog_set: u32::try_from(backlog).ok().filter(|n| *n > 0),
            tcp_keep_alive: keys.java_bool("clientTcpKeepAlive", false),
        }
    }

    /// Connections that may wait to be accepted.
    #[must_use]
    pub fn backlog(&self) -> u32 {
        self.backlog_set.unwrap_or(DEFAULT_BACKLOG)
    }

    /// The key that asks for TLS, and so for a key store.
    pub(super) fn tls_wanted_by(&self) -> Option<&'static str> {
        match (&self.secure, self.port_unification) {
            (Some(_), _) => Some("secureClientPort"),
            (None, true) => Some("client.portUnification"),
            (None, false) => None,
        }
    }

    /// Two listeners on one port are known before the second one finds it taken.
    pub(super) fn check(&self, keys: &mut Keys) {
        let (Some(client), Some(secure)) = (&self.client, &self.secure) else { return };
        let is_one_host =
            client.host == secure.host || client.is_wildcard() || secure.is_wildcard();
        // Port 0 is a different one each time.
        if client.port == secure.port && client.port != 0 && is_one_host {
            let text = format!(
                "secureClientPort = {}: it is the client port too; take another one, or leave it \
                 out and set client.portUnification = true for TLS and plain text on one port",
                secure.port
            );
            keys.error("secureClientPort", text);
        }
    }
}

fn listener(keys: &mut Keys, port_key: &str, host_key: &str) -> Option<HostPort> {
    let host = keys.non_empty(host_key);
    let port = keys.number(port_key, 0..=i64::from(u16::MAX));
    if port.is_none() && host.is_some() && keys.get(port_key).is_none() {
        keys.error(host_key, format!("{host_key} is set but {port_key} is not; set both"));
    }
    let host = host.unwrap_or_else(|| "0.0.0.0".to_owned());
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    port.and_then(|port| u16::try_from(port).ok()).map(|port| HostPort { host, port })
}
