//! Bounds on connections and requests (operations 1.1 and 1.3, client-protocol 13).

use super::keys::Keys;

/// What one client, one address or all of them together may take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LimitSettings {
    /// `maxClientCnxns`: connections of one address; `None` is no limit.
    pub connections_per_ip: Option<u32>,
    /// `maxCnxns`: all connections; `None` is no limit.
    pub connections: Option<u32>,
    /// `nio.sessionlessCnxnTimeout`: how long a connection may stay without a session.
    pub sessionless_timeout_ms: u32,
    /// `netty.server.outstandingHandshake.limit`: TLS handshakes under way; `None` is no limit.
    pub tls_handshakes: Option<u32>,
}

impl LimitSettings {
    pub(super) fn read(keys: &mut Keys) -> LimitSettings {
        LimitSettings {
            connections_per_ip: limit(keys, "maxClientCnxns", Some(60)),
            connections: limit(keys, "maxCnxns", None),
            sessionless_timeout_ms: keys.num("nio.sessionlessCnxnTimeout", 10_000, 1..=u32::MAX),
            tls_handshakes: limit(keys, "netty.server.outstandingHandshake.limit", None),
        }
    }
}

/// A count where zero and below mean "no limit".
fn limit(keys: &mut Keys, key: &str, default: Option<u32>) -> Option<u32> {
    let wide = keys.num_or_off(key, default.map(u64::from));
    wide.map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}
