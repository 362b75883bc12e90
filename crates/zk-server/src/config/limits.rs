//! Bounds on connections and requests (operations 1.1 and 1.3, client-protocol 13).

use super::keys::Keys;
use crate::net::conn::OUTPUT_HIGH_WATER;
use zk_core::ThrottleOptions;

/// What one client, one address or all of them together may take.
#[derive(Clone, PartialEq, Debug)]
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
    /// `connection_throttle_*`: connect requests in a time; `None` is no limit.
    pub connect_throttle: Option<ThrottleOptions>,
    /// `largeRequestThreshold` and `largeRequestMaxBytes`; `None` is no limit.
    pub large_requests: Option<LargeRequestSettings>,
    /// `maxUnsentBytes`, a key of ours: when more than this waits for a client that does not read
    /// its events and answers, its connection is closed; `None` is no limit.
    pub unsent_bytes: Option<usize>,
    /// `maxUnsentBytesOfAll`, a key of ours: when more than this waits for all clients together,
    /// connections are closed, first that for which most waits; `None` is no limit.
    pub unsent_bytes_of_all: Option<usize>,
}

/// What requests that are larger than most may take together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LargeRequestSettings {
    /// `largeRequestThreshold`: a request of more bytes than this is large.
    pub threshold_bytes: usize,
    /// `largeRequestMaxBytes`: so many bytes of them may be under way.
    pub most_bytes: usize,
}

/// Apache's default of `largeRequestMaxBytes`.
const DEFAULT_LARGE_BYTES: i32 = 100 << 20;

/// Room for the events of a busy tree during a pause of the client, and for its largest answers.
const DEFAULT_UNSENT_BYTES: u64 = 64 << 20;

/// Eight clients that do not read at all, or some hundreds that read slowly.
const DEFAULT_UNSENT_BYTES_OF_ALL: u64 = 512 << 20;

impl LimitSettings {
    pub(super) fn read(keys: &mut Keys) -> LimitSettings {
        LimitSettings {
            connections_per_ip: limit(keys, "maxClientCnxns", Some(60)),
            connections: limit(keys, "maxCnxns", None),
            sessionless_timeout_ms: keys.num("nio.sessionlessCnxnTimeout", 10_000, 1..=u32::MAX),
            tls_handshakes: limit(keys, "netty.server.outstandingHandshake.limit", None),
            outstanding_requests: limit(keys, "request_throttle_max_requests", None),
            sessions: sessions(keys),
            connect_throttle: connect_throttle(keys),
            large_requests: large_requests(keys),
            unsent_bytes: unsent_bytes(keys, "maxUnsentBytes", DEFAULT_UNSENT_BYTES),
            unsent_bytes_of_all: unsent_bytes(
                keys,
                "maxUnsentBytesOfAll",
                DEFAULT_UNSENT_BYTES_OF_ALL,
            ),
        }
    }
}

/// As Apache takes them: what is neither -1 nor positive is off, or the default, and a warning.
fn large_requests(keys: &mut Keys) -> Option<LargeRequestSettings> {
    let threshold = keys.num("largeRequestThreshold", -1, i32::MIN..=i32::MAX);
    if threshold == 0 || threshold < -1 {
        let text = format!("largeRequestThreshold = {threshold}: taken as -1, no limit");
        keys.warn("largeRequestThreshold", text);
    }
    let mut most = keys.num("largeRequestMaxBytes", DEFAULT_LARGE_BYTES, i32::MIN..=i32::MAX);
    if most <= 0 {
        let text = format!("largeRequestMaxBytes = {most}: taken as {DEFAULT_LARGE_BYTES}");
        keys.warn("largeRequestMaxBytes", text);
        most = DEFAULT_LARGE_BYTES;
    }
    let threshold_bytes = usize::try_from(threshold).ok().filter(|bytes| *bytes > 0)?;
    Some(LargeRequestSettings { threshold_bytes, most_bytes: most.unsigned_abs() as usize })
}

/// Prices of sessions are 1 unless they are weighted; then the bucket is counted in new sessions.
fn connect_throttle(keys: &mut Keys) -> Option<ThrottleOptions> {
    let tokens = limit(keys, "connection_throttle_tokens", None);
    let fill_ms = keys.num("connection_throttle_fill_time", 1, 1..=i32::MAX as u32);
    let fill_count = keys.num("connection_throttle_fill_count", 1, 1..=i32::MAX as u32);
    let freeze_ms = keys.num("connection_throttle_freeze_time", -1, -1..=i32::MAX);
    let drop_increase = share(keys, "connection_throttle_drop_increase", 0.02);
    let drop_decrease = share(keys, "connection_throttle_drop_decrease", 0.002);
    let decrease_ratio = share(keys, "connection_throttle_decrease_ratio", 0.0);
    let is_weighted = keys.java_bool("connection_throttle_weight_enabled", false);
    let local = weight(keys, "connection_throttle_local_session_weight", 1);
    let new = weight(keys, "connection_throttle_global_session_weight", 3).max(local);
    let renewal = weight(keys, "connection_throttle_renew_session_weight", 2).max(local);
    let (new, local, renewal) = if is_weighted { (new, local, renewal) } else { (1, 1, 1) };
    Some(ThrottleOptions {
        tokens: tokens?.saturating_mul(new),
        fill_count: fill_count.saturating_mul(new),
        fill_ms,
        freeze_ms: u32::try_from(freeze_ms).ok(),
        drop_increase,
        drop_decrease,
        decrease_ratio,
        new_session_tokens: new,
        local_session_tokens: local,
        renewal_tokens: renewal,
    })
}

fn weight(keys: &mut Keys, key: &str, default: u32) -> u32 {
    keys.num(key, default, 1..=i32::MAX as u32)
}

/// A number from 0 to 1.
fn share(keys: &mut Keys, key: &str, default: f64) -> f64 {
    let number = keys.fraction(key, default);
    if !(0.0..=1.0).contains(&number) {
        keys.error(key, format!("{key} = {number}: it must be a number from 0 to 1"));
        return default;
    }
    number
}

/// Ours, so that nobody means with Apache a number below 0.
fn sessions(keys: &mut Keys) -> Option<u32> {
    let most = limit(keys, "maxSessions", None);
    if let Some(value) = keys.get("maxSessions").filter(|value| value.text.starts_with('-')) {
        let text = format!(
            "maxSessions = {}: taken as 0, no limit; write how many may be open, or remove it",
            value.text
        );
        keys.warn("maxSessions", text);
    }
    most
}

fn unsent_bytes(keys: &mut Keys, key: &str, default: u64) -> Option<usize> {
    let bytes = keys.num_or_off(key, Some(default))?;
    let least = OUTPUT_HIGH_WATER as u64;
    if bytes < least {
        keys.warn(
            key,
            format!("{key} = {bytes}: taken as {least}, the least: answers gather so far"),
        );
    }
    usize::try_from(bytes.max(least)).ok()
}

/// A count where zero and below mean "no limit".
fn limit(keys: &mut Keys, key: &str, default: Option<u32>) -> Option<u32> {
    let wide = keys.num_or_off(key, default.map(u64::from));
    wide.map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}
