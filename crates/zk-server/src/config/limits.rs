//! Bounds on connections and requests (operations 1.1 and 1.3, client-protocol 13).

use super::keys::Keys;
use crate::net::conn::OUTPUT_HIGH_WATER;

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
    /// `request_throttle_max_requests`: writes, and reads behind writes, that are under way; the
    /// connections of others are not read meanwhile. `None` is no limit.
    pub outstanding_requests: Option<u32>,
    /// `maxSessions`, a key of ours: beyond so many no new one opens; `None` is no limit.
    pub sessions: Option<u32>,
    /// `maxUnsentBytes`, a key of ours: when more than this waits for a client that does not read
    /// its events and answers, its connection is closed; `None` is no limit.
    pub unsent_bytes: Option<usize>,
}

/// Room for the events of a busy tree during a pause of the client, and for its largest answers.
const DEFAULT_UNSENT_BYTES: u64 = 64 << 20;

impl LimitSettings {
    pub(super) fn read(keys: &mut Keys) -> LimitSettings {
        LimitSettings {
            connections_per_ip: limit(keys, "maxClientCnxns", Some(60)),
            connections: limit(keys, "maxCnxns", None),
            sessionless_timeout_ms: keys.num("nio.sessionlessCnxnTimeout", 10_000, 1..=u32::MAX),
            tls_handshakes: limit(keys, "netty.server.outstandingHandshake.limit", None),
            outstanding_requests: limit(keys, "request_throttle_max_requests", None),
            sessions: limit(keys, "maxSessions", None),
            unsent_bytes: unsent_bytes(keys),
        }
    }
}

fn unsent_bytes(keys: &mut Keys) -> Option<usize> {
    let bytes = keys.num_or_off("maxUnsentBytes", Some(DEFAULT_UNSENT_BYTES))?;
    let least = OUTPUT_HIGH_WATER as u64;
    if bytes < least {
        keys.warn(
            "maxUnsentBytes",
            format!("maxUnsentBytes = {bytes}: taken as {least}, the least: answers gather so far"),
        );
    }
    usize::try_from(bytes.max(least)).ok()
}

/// A count where zero and below mean "no limit".
fn limit(keys: &mut Keys, key: &str, default: Option<u32>) -> Option<u32> {
    let wide = keys.num_or_off(key, default.map(u64::from));
    wide.map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}
