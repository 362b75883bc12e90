//! Every key that Apache 3.9 knows, and what this server does with it (operations 1.1 to 1.5).
//!
//! A key that is not in this table is unknown and warned about by name, because Apache accepts a
//! misspelt key in silence. Keys are written without the `zookeeper.` that system properties have.

/// What the server does with a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    /// It has its effect.
    Honoured,
    /// It has its effect in ensembles.
    Ensemble,
    /// Accepted with a warning: has no effect yet, for the reason given.
    Later(&'static str),
    /// Accepted with a warning: can have no effect here, for the reason given.
    Ignored(&'static str),
    /// The server does not start, for the reason given.
    Refused(&'static str),
}

/// A key of the table.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name; a final `*` stands for anything, also nothing.
    pub name: &'static str,
    /// What is done with it.
    pub plan: Plan,
    /// The value at which the plan does not matter: Apache does the same without the key.
    pub inert: &'static str,
}

const fn f(name: &'static str) -> Key {
    Key { name, plan: Plan::Honoured, inert: "" }
}

const fn q(name: &'static str) -> Key {
    Key { name, plan: Plan::Ensemble, inert: "" }
}

const fn later(name: &'static str, inert: &'static str, why: &'static str) -> Key {
    Key { name, plan: Plan::Later(why), inert }
}

const fn ignored(name: &'static str, why: &'static str) -> Key {
    Key { name, plan: Plan::Ignored(why), inert: "" }
}

const fn refused(name: &'static str, inert: &'static str, why: &'static str) -> Key {
    Key { name, plan: Plan::Refused(why), inert }
}

const JAVA: &str = "it tunes a part of the Java server that does not exist here";
const THROTTLED: &str = "who waits because of request_throttle_max_requests is woken, not polled";
const STALE: &str = "a request that was taken is carried out, however long it waited";
const BOUNDED: &str = "what is under way is bounded by its bytes, and for each connection";
const BATCHES: &str = "writes gather while the disk is busy and never wait for others";
const KERBEROS: &str = "GSSAPI is not built yet; only SASL DIGEST-MD5 is";
const TEST: &str = "it is a test aid of Apache that can lose data";
const PLUGIN: &str = "Java classes cannot be loaded; use PEM, PKCS12 or JKS stores";
const REVOCATION: &str = "revocation checks are not built yet, and a revoked certificate must not be \
                          let in silently";
const ADDRESSES: &str = "a member has one address here; give it one that fails over, or a name";

const OBSERVERS: &str = "observers keep a log and snapshots as followers do";
const SYNCS: &str = "what a learner gets, and how many at a time, is not tuned here";

/// The table. Exact names come before patterns that would match them too.
pub const KEYS: &[Key] = &[
    // Core (1.1).
    f("tickTime"),
    f("dataDir"),
    f("dataLogDir"),
    f("clientPort"),
    f("clientPortAddress"),
    f("secureClientPort"),
    f("secureClientPortAddress"),
    f("client.portUnification"),
    f("clientPortListenBacklog"),
    f("maxClientCnxns"),
    f("maxCnxns"),
    f("minSessionTimeout"),
    f("maxSessionTimeout"),
    q("initLimit"),
    q("syncLimit"),
    q("connectToLearnerMasterLimit"),
    q("electionAlg"),
    q("peerType"),
    q("server.*"),
    q("group.*"),
    q("weight.*"),
    q("dynamicConfigFile"),
    f("standaloneEnabled"),
    q("reconfigEnabled"),
    q("quorumListenOnAllIPs"),
    q("observerMasterPort"),
    later("syncEnabled", "true", OBSERVERS),
    later("observer.syncEnabled", "true", OBSERVERS),
    q("localSessionsEnabled"),
    q("localSessionsUpgradingEnabled"),
    later(
        "leaderServes",
        "yes",
        "the leader serves clients too; give clients a list of servers without it, or with observers",
    ),
    f("autopurge.snapRetainCount"),
    f("autopurge.purgeInterval"),
    ignored("globalOutstandingLimit", BOUNDED),
    refused(
        "oraclePath",
        "",
        "two-member ensembles with an oracle are not built; use three members",
    ),
    later("multiAddress.enabled", "false", ADDRESSES),
    later("multiAddress.*", "", ADDRESSES),
    // Storage and pipeline (1.2).
    f("snapCount"),
    f("snapSizeLimitInKb"),
    f("preAllocSize"),
    f("txnLogSizeLimitInKb"),
    f("forceSync"),
    f("fsync.warningthresholdms"),
    ignored("flushDelay", BATCHES),
    ignored("maxWriteQueuePollTime", BATCHES),
    ignored("maxBatchSize", BATCHES),
    q("commitLogCount"),
    ignored("snapshotSizeFactor", SYNCS),
    f("snapshot.compression.method"),
    f("snapshot.trust.empty"),
    f("datadir.autocreate"),
    q("db.autocreate"),
    f("digest.enabled"),
    f("closeSessionTxn.enabled"),
    f("serializeLastProcessedZxid.enabled"),
    later("forceSnapshotSync", "false", "it is a test aid for learners"),
    f("extendedTypesEnabled"),
    refused(
        "emulate353TTLNodes",
        "false",
        "TTL znodes as 3.5.3 wrote them would be read wrongly by every later version",
    ),
    f("znode.container.checkIntervalMs"),
    f("znode.container.maxPerMinute"),
    f("znode.container.maxNeverUsedIntervalMs"),
    ignored("commitProcessor.*", JAVA),
    f("nio.sessionlessCnxnTimeout"),
    ignored("nio.*", JAVA),
    ignored("serverCnxnFactory", "there is one network layer here, and it also does TLS"),
    ignored("maxResponseCacheSize", "answers are built fast enough without a cache"),
    ignored("maxGetChildrenResponseCacheSize", "answers are built fast enough without a cache"),
    ignored("watchManagerName", JAVA),
    ignored("watcherClean*", JAVA),
    ignored("bitHashCacheSize", JAVA),
    ignored("maxInProcessingDeadWatchers", JAVA),
    ignored("intBufferStartingSizeBytes", JAVA),
    f("jute.maxbuffer"),
    f("jute.maxbuffer.extrasize"),
    f("enforceQuota"),
    later("enableEagerACLCheck", "false", "ACLs are checked when the write is prepared"),
    f("skipACL"),
    // Throttling and abuse (1.3).
    f("connection_throttle_tokens"),
    f("connection_throttle_fill_time"),
    f("connection_throttle_fill_count"),
    f("connection_throttle_freeze_time"),
    f("connection_throttle_drop_increase"),
    f("connection_throttle_drop_decrease"),
    f("connection_throttle_decrease_ratio"),
    f("connection_throttle_weight_enabled"),
    f("connection_throttle_global_session_weight"),
    f("connection_throttle_local_session_weight"),
    f("connection_throttle_renew_session_weight"),
    f("request_throttle_max_requests"),
    ignored("request_throttle_drop_stale", STALE),
    ignored("request_throttle_*", THROTTLED),
    ignored("request_stale_*", STALE),
    ignored("request_throttler.shutdownTimeout", "no request waits outside the pipeline"),
    later("throttled_op_wait_time", "0", "operations are never answered with -127"),
    f("largeRequestThreshold"),
    f("largeRequestMaxBytes"),
    f("netty.server.outstandingHandshake.limit"),
    ignored("netty.*", JAVA),
    // Quorum behaviour (1.4).
    q("cnxTimeout"),
    q("quorumCnxnTimeoutMs"),
    q("fastleader.minNotificationInterval"),
    q("fastleader.maxNotificationInterval"),
    ignored("leader.maxTimeToWaitForEpoch", "initLimit is the time for it"),
    ignored("leader.maxConcurrentSnapSyncs", SYNCS),
    ignored("leader.maxConcurrentDiffSyncs", SYNCS),
    q("leaderConnectDelayDuringRetryMs"),
    ignored("electionPortBindRetry", "the port must be free when the server starts"),
    q("tcpKeepAlive"),
    f("clientTcpKeepAlive"),
    ignored("observer.reconnectDelayMs", "observers come back as followers do"),
    ignored("observer.election.DelayMs", "observers come back as followers do"),
    ignored("learner.*", JAVA),
    ignored("leader.*", JAVA),
    ignored("follower.*", JAVA),
    ignored("observerMaster.sizeLimit", "followers keep commitLogCount txns, as leaders do"),
    ignored("forward_learner_requests_to_commit_processor_disabled", JAVA),
    ignored("messageTracker.*", JAVA),
    q("readonlymode.enabled"),
    q("quorum.auth.enableSasl"),
    q("quorum.auth.learnerRequireSasl"),
    q("quorum.auth.serverRequireSasl"),
    q("quorum.auth.learner.saslLoginContext"),
    q("quorum.auth.server.saslLoginContext"),
    later("quorum.auth.kerberos.*", "", KERBEROS),
    ignored("quorum.cnxn.threads.size", JAVA),
    q("sslQuorum"),
    q("sslQuorumReloadCertFiles"),
    q("portUnification"),
    refused("test.*", "false", TEST),
    refused("testingonly.*", "", TEST),
    // Security (1.5).
    f("DigestAuthenticationProvider.superDigest"),
    f("DigestAuthenticationProvider.enabled"),
    f("DigestAuthenticationProvider.digestAlg"),
    f("X509AuthenticationProvider.superUser"),
    f("SASLAuthenticationProvider.superPassword"),
    f("superUser"),
    f("superUser.*"),
    f("authProvider.*"),
    f("ssl.authProvider"),
    f("ensembleAuthName"),
    f("sessionRequireClientSASLAuth"),
    f("allowSaslFailedClients"),
    f("letAnySaslUserDoX"),
    f("enforce.auth.enabled"),
    f("enforce.auth.schemes"),
    refused(
        "IPAuthenticationProvider.usexforwardedfor",
        "false",
        "any client could then claim any address (CVE-2024-51504)",
    ),
    f("ssl.keyStore.location"),
    f("ssl.keyStore.password"),
    f("ssl.keyStore.passwordPath"),
    f("ssl.keyStore.type"),
    f("ssl.trustStore.location"),
    f("ssl.trustStore.password"),
    f("ssl.trustStore.passwordPath"),
    f("ssl.trustStore.type"),
    f("ssl.protocol"),
    f("ssl.enabledProtocols"),
    f("ssl.ciphersuites"),
    f("ssl.clientAuth"),
    f("ssl.handshakeDetectionTimeoutMillis"),
    refused("ssl.crl", "false", REVOCATION),
    refused("ssl.ocsp", "false", REVOCATION),
    refused("ssl.context.supplier.class", "", PLUGIN),
    refused(
        "ssl.clientHostnameVerification",
        "false",
        "names of clients are not checked; use an ACL on the x509 identity",
    ),
    ignored("ssl.hostnameVerification", "it is about servers that a client connects to"),
    ignored("ssl.allowReverseDnsLookup", "reverse DNS is never used to prove a name"),
    ignored("ssl.sslProvider", "TLS is rustls here"),
    q("ssl.quorum.keyStore.location"),
    q("ssl.quorum.keyStore.password"),
    q("ssl.quorum.keyStore.passwordPath"),
    q("ssl.quorum.keyStore.type"),
    q("ssl.quorum.trustStore.location"),
    q("ssl.quorum.trustStore.password"),
    q("ssl.quorum.trustStore.passwordPath"),
    q("ssl.quorum.trustStore.type"),
    q("ssl.quorum.protocol"),
    q("ssl.quorum.enabledProtocols"),
    q("ssl.quorum.ciphersuites"),
    q("ssl.quorum.clientAuth"),
    q("ssl.quorum.handshakeDetectionTimeoutMillis"),
    q("ssl.quorum.hostnameVerification"),
    q("ssl.quorum.clientHostnameVerification"),
    refused("ssl.quorum.crl", "false", REVOCATION),
    refused("ssl.quorum.ocsp", "false", REVOCATION),
    refused("ssl.quorum.context.supplier.class", "", PLUGIN),
    ignored("ssl.quorum.allowReverseDnsLookup", "reverse DNS is never used to prove a name"),
    ignored("ssl.quorum.sslProvider", "TLS is rustls here"),
    f("client.certReload"),
    ignored("fips-mode", "DIGEST-MD5 is offered when users are configured, and only then"),
    f("sasl.serverconfig"),
    f("sasl.usersFile"),
    f("java.security.auth.login.config"),
    later("kerberos.*", "", KERBEROS),
    later("sasl.*", "", KERBEROS),
    later("server.principal", "", KERBEROS),
    later("security.auth_to_local", "", KERBEROS),
    later("requireKerberosConfig", "", KERBEROS),
    f("audit.enable"),
    f("audit.impl.class"),
    f("4lw.commands.whitelist"),
    // HTTP (sections 4 and 5).
    f("admin.enableServer"),
    f("admin.serverAddress"),
    f("admin.serverPort"),
    f("admin.idleTimeout"),
    f("admin.commandURL"),
    f("admin.rateLimiterIntervalInMS"),
    f("admin.snapshot.enabled"),
    f("admin.restore.enabled"),
    refused("admin.forceHttps", "false", "the admin server speaks plain HTTP only so far"),
    later("admin.portUnification", "false", "the admin server speaks plain HTTP only so far"),
    refused("admin.needClientAuth", "false", "the admin server speaks plain HTTP only so far"),
    ignored("admin.httpVersion", "HTTP/1.1 is spoken"),
    f("metricsProvider.className"),
    f("metricsProvider.httpHost"),
    f("metricsProvider.httpPort"),
    ignored("metricsProvider.*", JAVA),
    later("jvm.pause.monitor", "false", "there is no JVM that could pause"),
    ignored("jvm.pause.*", "there is no JVM that could pause"),
    ignored("pathStats.*", JAVA),
    ignored("jmx.*", "there is no JMX; metrics are at /metrics of the admin server"),
    // Ours.
    f("admin.hosts"),
    f("sessionPassword"),
    f("sessionPasswordFile"),
    f("maxSessions"),
    f("maxUnsentBytes"),
    f("maxUnsentBytesOfAll"),
];

/// The entry of a key; an exact name wins over a pattern.
#[must_use]
pub fn find(key: &str) -> Option<&'static Key> {
    let exact = KEYS.iter().find(|known| known.name == key);
    exact.or_else(|| {
        KEYS.iter().find(|known| {
            known.name.strip_suffix('*').is_some_and(|prefix| key.starts_with(prefix))
        })
    })
}

/// Whether a key is in the table by its own name.
#[must_use]
pub fn is_exact(key: &str) -> bool {
    KEYS.iter().any(|known| known.name.eq_ignore_ascii_case(key))
}

/// The known key that a misspelt one probably means: at most two in five of its letters are wrong.
#[must_use]
pub fn suggest(key: &str) -> Option<&'static str> {
    let lower = key.to_lowercase();
    let is_near = |distance: usize| distance * 5 <= key.len() * 2;
    // Texts are at least as far apart as their lengths.
    let can_be = |name: &&str| !name.ends_with('*') && is_near(name.len().abs_diff(key.len()));
    let names = KEYS.iter().map(|known| known.name).filter(can_be);
    let (distance, name) =
        names.map(|name| (distance(&lower, &name.to_lowercase()), name)).min()?;
    is_near(distance).then_some(name)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one text into the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before = vec![0; b.len() + 1];
    let mut last = (0..=b.len()).collect::<Vec<_>>();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let differs = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + differs);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_patterns_come_after_what_they_match() {
        for (at, key) in KEYS.iter().enumerate() {
            assert!(KEYS[at + 1..].iter().all(|later| later.name != key.name), "{}", key.name);
            assert!(!key.name.starts_with("zookeeper."), "{}", key.name);
        }
        assert!(matches!(find("ssl.quorum.crl").unwrap().plan, Plan::Refused(_)));
        assert_eq!(find("leaderConnectDelayDuringRetryMs").unwrap().plan, Plan::Ensemble);
        assert!(matches!(find("leader.closeSocketAsync").unwrap().plan, Plan::Ignored(_)));
        assert!(find("snapcount").is_none());
    }

    #[test]
    fn misspelt_keys_get_a_suggestion() {
        for (wrong, right) in [
            ("ticktime", "tickTime"),
            ("tickTme", "tickTime"),
            ("maxClientCnxn", "maxClientCnxns"),
            ("maxClientConnections", "maxClientCnxns"),
            ("autopurge.purgeinterval", "autopurge.purgeInterval"),
            ("autopurge.snapRetianCount", "autopurge.snapRetainCount"),
            ("4lw.command.whitelist", "4lw.commands.whitelist"),
            ("datadir", "dataDir"),
        ] {
            assert_eq!(suggest(wrong), Some(right), "{wrong}");
        }
        assert_eq!(suggest("completely.different.thing"), None);
    }
}
