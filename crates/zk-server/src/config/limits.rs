//! Bounds on connections and requests (operations 1.1 and 1.3, client-protocol 13).

use super::keys::Keys;

/// What one client, one address or all of them together may take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LimitSettings {
    /// `maxClientCnxns`: connections of one address; `None` is no limit.
    pub connections_per_ip: Option<u32>,
    /// `maxCnxns`: all connections; `None` is no limit.
    pub connections: Option<u32>,
    /// `globalOutstandingLimit`: requests in the pipeline before sockets are no longer read.
    pub outstanding_requests: u32,
    /// `nio.sessionlessCnxnTimeout`: how long a connection may stay without a session.
    pub sessionless_timeout_ms: u32,
    /// `request_throttle_max_requests`: requests in the pipeline before others queue; `None` is off.
    pub throttle_requests: Option<u32>,
    /// `request_throttle_stall_time`: how long a queued request waits for room.
    pub throttle_stall_ms: u32,
    /// `request_throttle_drop_stale`: drop queued requests that nobody waits for.
    pub throttle_drops_stale: bool,
    /// `request_stale_connection_check`: stale is what came from a closed connection.
    pub stale_when_closed: bool,
    /// `request_stale_latency_check`: stale is what waited longer than its session's timeout.
    pub stale_when_late: bool,
    /// `request_throttler.shutdownTimeout`: how long a shutdown waits for what is in flight.
    pub shutdown_timeout_ms: u32,
    /// `largeRequestThreshold`: a request from this size on is large; `None` is off.
    pub large_request_bytes: Option<u32>,
    /// `largeRequestMaxBytes`: most bytes of large requests in flight.
    pub large_requests_total_bytes: u64,
    /// `netty.server.outstandingHandshake.limit`: TLS handshakes under way; `None` is no limit.
    pub tls_handshakes: Option<u32>,
}

impl LimitSettings {
    pub(super) fn read(keys: &mut Keys) -> LimitSettings {
        LimitSettings {
            connections_per_ip: limit(keys, "maxClientCnxns", Some(60)),
            connections: limit(keys, "maxCnxns", None),
            outstanding_requests: keys.num("globalOutstandingLimit", 1000, 1..=i32::MAX as u32),
            sessionless_timeout_ms: keys.num("nio.sessionlessCnxnTimeout", 10_000, 1..=u32::MAX),
            throttle_requests: limit(keys, "request_throttle_max_requests", None),
            throttle_stall_ms: keys.num("request_throttle_stall_time", 100, 0..=u32::MAX),
            throttle_drops_stale: keys.java_bool("request_throttle_drop_stale", true),
            stale_when_closed: keys.java_bool("request_stale_connection_check", true),
            stale_when_late: keys.java_bool("request_stale_latency_check", false),
            shutdown_timeout_ms: keys.num(
                "request_throttler.shutdownTimeout",
                10_000,
                0..=u32::MAX,
            ),
            large_request_bytes: limit(keys, "largeRequestThreshold", None),
            large_requests_total_bytes: keys
                .num_or_off("largeRequestMaxBytes", Some(100 << 20))
                .unwrap_or(100 << 20),
            tls_handshakes: limit(keys, "netty.server.outstandingHandshake.limit", None),
        }
    }
}

/// A count where zero and below mean "no limit".
fn limit(keys: &mut Keys, key: &str, default: Option<u32>) -> Option<u32> {
    let wide = keys.num_or_off(key, default.map(u64::from));
    wide.map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}
