//! What operators see: four-letter words, the admin server, metrics (operations 3 to 5).

use super::keys::Keys;
use crate::admin::{FourLetterWord, Whitelist};
use zk_zab::HostPort;

/// Settings of the operators' interfaces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceSettings {
    /// `4lw.commands.whitelist`.
    pub four_letter_words: Whitelist,
    /// `admin.*`; `None` when `admin.enableServer` is false.
    pub admin: Option<AdminSettings>,
    /// `audit.enable`: who changed what is told in the log.
    pub audit: bool,
    /// `metricsProvider.*`: a listener for Prometheus; `None` without the Prometheus provider.
    pub metrics: Option<HostPort>,
}

/// Settings of the HTTP server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdminSettings {
    /// `admin.serverAddress` and `admin.serverPort`. Loopback unless named otherwise: Apache's
    /// default, every address, shows all read commands to everybody (operations 4).
    pub address: HostPort,
    /// `admin.hosts`, a key of ours: further names of the server by which browsers may come.
    pub hosts: Vec<String>,
    /// `admin.idleTimeout`: a connection whose client sends and takes nothing is closed after this
    /// time.
    pub idle_timeout_ms: u32,
    /// `admin.commandURL`: path prefix of the commands.
    pub command_url: String,
    /// `admin.rateLimiterIntervalInMS`: least time between two snapshots, and two restores.
    pub rate_interval_ms: u32,
    /// `admin.snapshot.enabled`.
    pub snapshot_enabled: bool,
    /// `admin.restore.enabled`.
    pub restore_enabled: bool,
}

const PROMETHEUS: &str = "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider";
const OTHER_PROVIDERS: [&str; 2] = [
    "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider",
    "org.apache.zookeeper.metrics.impl.NullMetricsProvider",
];

impl ServiceSettings {
    pub(super) fn read(keys: &mut Keys) -> ServiceSettings {
        ServiceSettings {
            four_letter_words: whitelist(keys),
            admin: AdminSettings::read(keys),
            audit: audit(keys),
            metrics: metrics(keys),
        }
    }
}

/// Apache's own way to write audit lines; others are Java classes.
const AUDIT_LOGGER: &str = "org.apache.zookeeper.audit.Slf4jAuditLogger";

fn audit(keys: &mut Keys) -> bool {
    let is_enabled = keys.java_bool("audit.enable", false);
    if let Some(class) = keys.get("audit.impl.class").filter(|class| class.text != AUDIT_LOGGER) {
        let why = "Java classes cannot be loaded; remove it: the lines go to the log, under the \
                   target zkfleet::audit";
        match is_enabled {
            // Whoever relies on that class would wait for its lines in vain.
            true => keys.reject("audit.impl.class", &class, why),
            false => keys.warn("audit.impl.class", format!("audit.impl.class: {why}")),
        }
    }
    is_enabled
}

fn whitelist(keys: &mut Keys) -> Whitelist {
    // srvr is answered whatever the list says, as in Apache: zkServer.sh asks with it.
    let mut whitelist = Whitelist::default();
    let Some(value) = keys.get("4lw.commands.whitelist") else { return whitelist };
    let words = value.text.split(',').map(str::trim).filter(|word| !word.is_empty());
    for word in words {
        match word.parse::<FourLetterWord>() {
            Ok(word) => whitelist.allow(word),
            Err(_) if word == "*" => whitelist = Whitelist::all(),
            Err(_) => keys.problems.warn(
                &value.origin,
                format!("4lw.commands.whitelist: {word} is no four-letter word; remove it"),
            ),
        }
    }
    whitelist
}

impl Default for AdminSettings {
    fn default() -> AdminSettings {
        AdminSettings {
            address: HostPort { host: "127.0.0.1".to_owned(), port: 8080 },
            hosts: Vec::new(),
            idle_timeout_ms: 30_000,
            command_url: "/commands".to_owned(),
            rate_interval_ms: 300_000,
            snapshot_enabled: true,
            restore_enabled: true,
        }
    }
}

impl AdminSettings {
    fn read(keys: &mut Keys) -> Option<AdminSettings> {
        let enabled = keys.java_bool("admin.enableServer", true);
        let or = AdminSettings::default();
        let host = keys.non_empty("admin.serverAddress").unwrap_or(or.address.host);
        let port = keys.num("admin.serverPort", or.address.port, 0..=u16::MAX);
        let settings = AdminSettings {
            address: HostPort { host, port },
            hosts: hosts(keys),
            idle_timeout_ms: idle_timeout_ms(keys, or.idle_timeout_ms),
            command_url: command_url(keys, or.command_url),
            rate_interval_ms: keys.num(
                "admin.rateLimiterIntervalInMS",
                or.rate_interval_ms,
                0..=u32::MAX,
            ),
            snapshot_enabled: keys.java_bool("admin.snapshot.enabled", or.snapshot_enabled),
            restore_enabled: keys.java_bool("admin.restore.enabled", or.restore_enabled),
        };
        if enabled && settings.address.is_wildcard() {
            keys.warn(
                "admin.serverAddress",
                "admin.serverAddress: every address is served, and read commands need no \
                 password; bind it to 127.0.0.1 unless a firewall is before it",
            );
        }
        enabled.then_some(settings)
    }
}

fn hosts(keys: &mut Keys) -> Vec<String> {
    let list = keys.non_empty("admin.hosts").unwrap_or_default();
    list.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// Jetty takes what is not positive as "never"; here nothing may hold a connection for ever.
fn idle_timeout_ms(keys: &mut Keys, default: u32) -> u32 {
    let ms = keys.num("admin.idleTimeout", default.into(), i64::from(i32::MIN)..=u32::MAX.into());
    let taken = u32::try_from(ms).ok().filter(|ms| *ms > 0);
    if taken.is_none() {
        let text = format!(
            "admin.idleTimeout = {ms}: taken as {default}, the default: a silent connection would \
             be held for ever"
        );
        keys.warn("admin.idleTimeout", text);
    }
    taken.unwrap_or(default)
}

fn command_url(keys: &mut Keys, default: String) -> String {
    let url = keys.non_empty("admin.commandURL").unwrap_or(default);
    if !url.starts_with('/') {
        keys.error("admin.commandURL", "admin.commandURL must start with a slash");
    }
    url.trim_end_matches('/').to_owned()
}

fn metrics(keys: &mut Keys) -> Option<HostPort> {
    let class = keys.get("metricsProvider.className");
    let host = keys.non_empty("metricsProvider.httpHost").unwrap_or_else(|| "0.0.0.0".to_owned());
    let port = keys.num("metricsProvider.httpPort", 7000, 0..=u16::MAX);
    let class = class?;
    if class.text == PROMETHEUS {
        return Some(HostPort { host, port });
    }
    if !OTHER_PROVIDERS.contains(&class.text.as_str()) {
        let why = format!("Java classes cannot be loaded; use {PROMETHEUS}, or remove it");
        keys.reject("metricsProvider.className", &class, &why);
    }
    None
}
