//! Keys that are set and change nothing, because what they belong to is off: each is named, since
//! whoever wrote it relies on it (README: every key that has no effect here is named).

use super::ServerConfig;
use super::keys::Keys;
use super::schema::{self, Plan};

/// Keys that need something else.
struct Rule {
    /// Names; a final `*` stands for anything.
    names: &'static [&'static str],
    /// Names among them that are none of this rule.
    but: &'static [&'static str],
    is_off: fn(&ServerConfig) -> bool,
    /// Why they do nothing, and what to do.
    why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        names: &["enforce.auth.schemes"],
        but: &[],
        is_off: |config| config.auth.required_schemes.is_empty(),
        why: "no client has to prove anything without enforce.auth.enabled=true; set it",
    },
    Rule {
        names: &["ssl.*", "client.certReload", "X509AuthenticationProvider.superUser"],
        but: &["ssl.quorum.*", "ssl.authProvider"],
        is_off: |config| config.listeners.tls_wanted_by().is_none(),
        why: "no port of clients speaks TLS; set secureClientPort, or client.portUnification=true",
    },
    Rule {
        names: &["ssl.quorum.*", "sslQuorumReloadCertFiles"],
        but: &[],
        is_off: |config| config.quorum.is_ensemble() && config.quorum.tls.is_none(),
        why: "members speak plain text without sslQuorum=true; set it",
    },
    Rule {
        names: &["quorum.auth.*"],
        but: &[],
        is_off: |config| config.quorum.is_ensemble() && config.quorum.sasl.is_none(),
        why: "members prove nothing without quorum.auth.enableSasl=true; set it",
    },
    Rule {
        names: &[
            "SASLAuthenticationProvider.superPassword",
            "sasl.serverconfig",
            "superUser",
            "superUser.*",
            "allowSaslFailedClients",
            "letAnySaslUserDoX",
        ],
        but: &[],
        is_off: |config| config.auth.sasl.users_file.is_none(),
        why: "there are no users of SASL; set java.security.auth.login.config to a JAAS file",
    },
    Rule {
        names: &["ensembleAuthName"],
        but: &[],
        is_off: |config| !config.auth.ensemble_enabled,
        why: "the scheme ensemble is off; name EnsembleAuthenticationProvider by authProvider.N",
    },
    Rule {
        names: &["metricsProvider.httpPort", "metricsProvider.httpHost"],
        but: &[],
        is_off: |config| config.service.metrics.is_none(),
        why: "without metricsProvider.className=\
              org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider there is no such \
              port; set it, or read /metrics of the AdminServer",
    },
    Rule {
        names: &["connection_throttle_*"],
        but: &["connection_throttle_tokens"],
        is_off: |config| config.limits.connect_throttle.is_none(),
        why: "nothing is throttled without connection_throttle_tokens; set it",
    },
    Rule {
        names: &["largeRequestMaxBytes"],
        but: &[],
        is_off: |config| config.limits.large_requests.is_none(),
        why: "no request is large without largeRequestThreshold; set it",
    },
    Rule {
        names: &["localSessionsUpgradingEnabled"],
        but: &[],
        is_off: |config| config.quorum.is_ensemble() && config.quorum.local_sessions.is_none(),
        why: "there are no local sessions without localSessionsEnabled=true; set it",
    },
];

/// Keys of ensembles that Apache's sample file has too, and that are spoken of elsewhere.
const OF_EVERY_FILE: &[&str] = &[
    "initLimit",
    "syncLimit",
    "electionAlg",
    "reconfigEnabled",
    "dynamicConfigFile",
    "server.*",
    "group.*",
    "weight.*",
];

/// Values that ask for nothing.
const ASKS_FOR_NOTHING: &[&str] = &["", "false", "0", "participant"];

fn is_among(names: &[&str], key: &str) -> bool {
    names.iter().any(|name| match name.strip_suffix('*') {
        Some(prefix) => key.starts_with(prefix),
        None => *name == key,
    })
}

/// Warns of every key that is set in vain. What is wrong besides has its own finding, which comes
/// first.
pub(super) fn check(keys: &mut Keys, config: &ServerConfig) {
    let is_alone = !config.quorum.is_ensemble() && !config.quorum.has_wrong_lines(keys);
    let asks = |text: &str| !ASKS_FOR_NOTHING.contains(&text.to_ascii_lowercase().as_str());
    let is_fine = |origin| !keys.problems.has_error_at(origin);
    let set = keys.values.iter();
    let set = set.filter(|(_, value)| asks(&value.text) && is_fine(&value.origin));
    let mut found = Vec::new();
    for (key, _) in set {
        let Some(known) = schema::find(key) else { continue };
        // What is named by the table already is not named twice.
        let why = match known.plan {
            Plan::Ensemble if is_alone && !is_among(OF_EVERY_FILE, key) => {
                Some("this server runs alone; add the server lines of its ensemble")
            }
            Plan::Ensemble | Plan::Honoured => RULES
                .iter()
                .find(|rule| is_among(rule.names, key) && !is_among(rule.but, key))
                .filter(|rule| (rule.is_off)(config))
                .map(|rule| rule.why),
            Plan::Later(_) | Plan::Ignored(_) | Plan::Refused(_) => None,
        };
        found.extend(why.map(|why| (key.clone(), why)));
    }
    for (key, why) in found {
        keys.warn(&key, format!("{key}: no effect: {why}, or remove it"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Options, parse};
    use expect_test::{Expect, expect};

    const QUIET: &str =
        "dataDir=/d\nclientPort=2181\nsessionPassword=hmac\nsessionPasswordFile=/s\n";

    #[track_caller]
    fn check(lines: &str, wanted: Expect) {
        let text = format!("{QUIET}{lines}");
        let loaded = parse("zoo.cfg", text.as_bytes(), &[], Options::default()).unwrap();
        let told = loaded.warnings.iter().map(|it| format!("{it}\n")).collect::<String>();
        wanted.assert_eq(&told);
    }

    #[test]
    fn what_is_off_makes_what_belongs_to_it_idle() {
        check(
            "enforce.auth.schemes=sasl\n\
             ssl.keyStore.location=/k.pem\n\
             X509AuthenticationProvider.superUser=CN=a\n\
             metricsProvider.httpPort=7000\n\
             superUser=root\n\
             ensembleAuthName=e\n\
             connection_throttle_fill_count=2\n\
             largeRequestMaxBytes=5\n",
            expect![[r#"
                zoo.cfg:5: warning: enforce.auth.schemes: no effect: no client has to prove anything without enforce.auth.enabled=true; set it, or remove it
                zoo.cfg:6: warning: ssl.keyStore.location: no effect: no port of clients speaks TLS; set secureClientPort, or client.portUnification=true, or remove it
                zoo.cfg:7: warning: X509AuthenticationProvider.superUser: no effect: no port of clients speaks TLS; set secureClientPort, or client.portUnification=true, or remove it
                zoo.cfg:8: warning: metricsProvider.httpPort: no effect: without metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider there is no such port; set it, or read /metrics of the AdminServer, or remove it
                zoo.cfg:9: warning: superUser: no effect: there are no users of SASL; set java.security.auth.login.config to a JAAS file, or remove it
                zoo.cfg:10: warning: ensembleAuthName: no effect: the scheme ensemble is off; name EnsembleAuthenticationProvider by authProvider.N, or remove it
                zoo.cfg:11: warning: connection_throttle_fill_count: no effect: nothing is throttled without connection_throttle_tokens; set it, or remove it
                zoo.cfg:12: warning: largeRequestMaxBytes: no effect: no request is large without largeRequestThreshold; set it, or remove it
            "#]],
        );
        // With what they need, and at values that ask for nothing.
        check(
            "enforce.auth.schemes=digest\n\
             enforce.auth.enabled=true\n\
             ssl.keyStore.location=/k.pem\n\
             ssl.clientAuth=none\n\
             client.portUnification=true\n\
             X509AuthenticationProvider.superUser=CN=a\n\
             metricsProvider.httpPort=7000\n\
             metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider\n\
             allowSaslFailedClients=false\n\
             observerMasterPort=0\n",
            expect![[r#""#]],
        );
    }

    #[test]
    fn a_server_that_runs_alone_has_no_use_for_what_ensembles_need() {
        check(
            "localSessionsEnabled=true\n\
             observerMasterPort=2191\n\
             leaderServes=no\n\
             quorumListenOnAllIPs=true\n\
             initLimit=5\n",
            expect![[r#"
                zoo.cfg:5: warning: localSessionsEnabled: no effect: this server runs alone; add the server lines of its ensemble, or remove it
                zoo.cfg:6: warning: observerMasterPort: no effect: this server runs alone; add the server lines of its ensemble, or remove it
                zoo.cfg:7: warning: leaderServes: accepted without effect: the leader serves clients too; give clients a list of servers without it, or with observers
                zoo.cfg:8: warning: quorumListenOnAllIPs: no effect: this server runs alone; add the server lines of its ensemble, or remove it
            "#]],
        );
        check(
            "localSessionsEnabled=false\nleaderServes=yes\npeerType=participant\n",
            expect![[""]],
        );
    }

    #[test]
    fn odd_numbers_are_told() {
        check(
            "maxSessions=-5\n",
            expect![[r#"
            zoo.cfg:5: warning: maxSessions = -5: taken as 0, no limit; write how many may be open, or remove it
        "#]],
        );
        check(
            "clientPort=0\n",
            expect![[r#"
            zoo.cfg:5: warning: clientPort: set on line 2 too; this one counts
            zoo.cfg:5: warning: clientPort = 0: a free port is taken at random, for plain text, where Apache has no such port; remove it for TLS alone, or name the port
        "#]],
        );
    }
}
