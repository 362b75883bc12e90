//! Whole configurations: defaults, every finding with its place, precedence, secrets.

use expect_test::{Expect, expect};

use super::*;
use crate::admin::{FourLetterWord, Whitelist};
use zk_core::{LocalSessions, ThrottleOptions};
use zk_tree::auth::DigestScheme;

const MINIMAL: &str = "dataDir=/data\nclientPort=2181\n";
/// Keeps the warning about session passwords out of the other tests.
const QUIET: &str = "sessionPassword=hmac\nsessionPasswordFile=/secret\n";

#[track_caller]
fn ok(text: &str) -> ServerConfig {
    loaded(text).config
}

#[track_caller]
fn loaded(text: &str) -> Loaded {
    let text = format!("{MINIMAL}{QUIET}{text}");
    parse("zoo.cfg", text.as_bytes(), &[], Options::default()).unwrap()
}

/// Checks all findings about lines that follow the two minimal and the two quiet ones.
#[track_caller]
fn check(text: &str, wanted: Expect) {
    let text = format!("{MINIMAL}{QUIET}{text}");
    wanted.assert_eq(&findings(&text, &[], Options::default()));
}

fn findings(text: &str, overrides: &[Override], options: Options) -> String {
    let problems = match parse("zoo.cfg", text.as_bytes(), overrides, options) {
        Ok(loaded) => loaded.warnings,
        Err(ConfigError::Invalid(problems)) => problems,
        Err(other) => panic!("{other}"),
    };
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

#[test]
fn sasl_between_members_is_switched_on_in_apaches_order() {
    check(
        "quorum.auth.serverRequireSasl=true\n",
        expect![[r#"
        zoo.cfg:5: error: quorum.auth.serverRequireSasl = true needs quorum.auth.enableSasl=true
        zoo.cfg:5: error: quorum.auth.serverRequireSasl = true needs quorum.auth.learnerRequireSasl=true
    "#]],
    );
    check(
        "quorum.auth.enableSasl=true\nquorum.auth.serverRequireSasl=true\n",
        expect![[r#"
        zoo.cfg:5: error: quorum.auth.enableSasl = true: name the file with the users of QuorumServer and QuorumLearner by java.security.auth.login.config
        zoo.cfg:6: error: quorum.auth.serverRequireSasl = true needs quorum.auth.learnerRequireSasl=true
    "#]],
    );
    let file = "quorum.auth.enableSasl=true\njava.security.auth.login.config=/jaas\n";
    check(
        file,
        expect![[r#"
            zoo.cfg:5: warning: quorum.auth.enableSasl = true: without quorum.auth.serverRequireSasl=true whoever reaches the quorum ports can still join; only while members are changed to SASL
            zoo.cfg:5: warning: quorum.auth.enableSasl: no effect: this server runs alone; add the server lines of its ensemble, or remove it
            zoo.cfg:6: warning: java.security.auth.login.config: honoured here; Apache ignores it in a file and needs -Djava.security.auth.login.config=
        "#]],
    );
    check(
        &format!("{file}quorum.auth.kerberos.servicePrincipal=zk/_HOST\n"),
        expect![[r#"
            zoo.cfg:5: warning: quorum.auth.enableSasl = true: without quorum.auth.serverRequireSasl=true whoever reaches the quorum ports can still join; only while members are changed to SASL
            zoo.cfg:5: warning: quorum.auth.enableSasl: no effect: this server runs alone; add the server lines of its ensemble, or remove it
            zoo.cfg:6: warning: java.security.auth.login.config: honoured here; Apache ignores it in a file and needs -Djava.security.auth.login.config=
            zoo.cfg:7: warning: quorum.auth.kerberos.servicePrincipal: accepted without effect: GSSAPI is not built yet; only SASL DIGEST-MD5 is
        "#]],
    );
    let all = "quorum.auth.learnerRequireSasl=true\nquorum.auth.serverRequireSasl=true\n\
               quorum.auth.learner.saslLoginContext=L\n";
    let sasl = ok(&format!("{file}{all}")).quorum.sasl.unwrap();
    assert!(sasl.learner_requires && sasl.server_requires);
    assert_eq!((&*sasl.learner_section, &*sasl.server_section), ("L", "QuorumServer"));
}

#[test]
fn a_port_for_observers_is_a_port() {
    assert_eq!(ok("").quorum.observer_master_port, None);
    assert_eq!(ok("observerMasterPort=0\n").quorum.observer_master_port, None);
    assert_eq!(ok("observerMasterPort=2191\n").quorum.observer_master_port, Some(2191));
    check(
        "observerMasterPort=70000\n",
        expect![[r#"
        zoo.cfg:5: error: observerMasterPort = 70000: it must be a whole number from -2147483648 to 65535
    "#]],
    );
}

#[test]
fn what_may_wait_for_a_client_has_a_least_value() {
    assert_eq!(ok("maxUnsentBytes=5000000\n").limits.unsent_bytes, Some(5_000_000));
    assert_eq!(ok("maxSessions=7\n").limits.sessions, Some(7));
    assert_eq!(ok("maxSessions=0\n").limits.sessions, None);
    assert_eq!(ok("maxUnsentBytes=0\n").limits.unsent_bytes, None);
    let low = loaded("maxUnsentBytes=1000\n");
    assert_eq!(low.config.limits.unsent_bytes, Some(1 << 20));
    assert_eq!(low.warnings.len(), 1);
}

#[test]
fn the_throttle_of_connect_requests_has_apaches_defaults_and_weights() {
    assert_eq!(ok("").limits.connect_throttle, None);
    let plain = ok("connection_throttle_tokens=10\n").limits.connect_throttle.unwrap();
    let want = ThrottleOptions {
        tokens: 10,
        fill_count: 1,
        fill_ms: 1,
        freeze_ms: None,
        drop_increase: 0.02,
        drop_decrease: 0.002,
        decrease_ratio: 0.0,
        new_session_tokens: 1,
        local_session_tokens: 1,
        renewal_tokens: 1,
    };
    assert_eq!(plain, want);
    let weights = "connection_throttle_tokens=10\nconnection_throttle_fill_count=5\n\
                   connection_throttle_freeze_time=20\nconnection_throttle_weight_enabled=true\n";
    let weighted = ok(weights).limits.connect_throttle.unwrap();
    assert_eq!((weighted.tokens, weighted.fill_count, weighted.freeze_ms), (30, 15, Some(20)));
    let tokens =
        |it: &ThrottleOptions| [it.new_session_tokens, it.local_session_tokens, it.renewal_tokens];
    assert_eq!(tokens(&weighted), [3, 1, 2]);
    let lifted = ok(&format!("{weights}connection_throttle_local_session_weight=4\n"));
    let lifted = lifted.limits.connect_throttle.unwrap();
    assert_eq!((lifted.tokens, tokens(&lifted)), (40, [4, 4, 4]));
    check(
        "connection_throttle_drop_increase=2\nconnection_throttle_fill_time=0\n",
        expect![[r#"
            zoo.cfg:5: error: connection_throttle_drop_increase = 2: it must be a number from 0 to 1
            zoo.cfg:6: error: connection_throttle_fill_time = 0: it must be a whole number from 1 to 2147483647
        "#]],
    );
}

#[test]
fn large_requests_are_bounded_as_apache_bounds_them() {
    assert_eq!(ok("largeRequestMaxBytes=5\n").limits.large_requests, None);
    let large = ok("largeRequestThreshold=1000\n").limits.large_requests.unwrap();
    assert_eq!((large.threshold_bytes, large.most_bytes), (1000, 100 << 20));
    check(
        "largeRequestThreshold=0\nlargeRequestMaxBytes=-1\n",
        expect![[r#"
            zoo.cfg:5: warning: largeRequestThreshold = 0: taken as -1, no limit
            zoo.cfg:6: warning: largeRequestMaxBytes = -1: taken as 104857600
            zoo.cfg:6: warning: largeRequestMaxBytes: no effect: no request is large without largeRequestThreshold; set it, or remove it
        "#]],
    );
}

#[test]
fn the_defaults_are_apaches_except_the_ones_that_are_better_not() {
    let config = ok("");
    assert_eq!(config.tick_time_ms, 3000);
    assert_eq!(config.data_log_dir, config.data_dir);
    assert_eq!(config.listeners.client.as_ref().unwrap().to_string(), "0.0.0.0:2181");
    assert_eq!((config.listeners.secure.as_ref(), config.listeners.backlog()), (None, 50));
    assert_eq!((config.sessions.min_timeout_ms, config.sessions.max_timeout_ms), (6000, 60_000));
    assert_eq!(config.limits.connections_per_ip, Some(60));
    assert_eq!((config.limits.connections, config.limits.unsent_bytes), (None, Some(64 << 20)));
    let storage = &config.storage;
    assert_eq!((storage.snap_count, storage.prealloc_bytes), (100_000, 64 << 20));
    assert!(storage.paces_snapshots);
    assert_eq!((storage.snap_size_limit_bytes, storage.log_roll_bytes), (Some(4 << 30), None));
    assert_eq!((storage.max_request_bytes, storage.extra_record_bytes), (0xf_ffff, 0xf_ffff));
    assert!(storage.force_sync && storage.digest_enabled);
    assert!(!storage.extended_types && !storage.enforce_quota && !storage.skip_acl);
    assert_eq!(storage.compression, Compression::None);
    assert_eq!(storage.containers.check_interval_ms, Some(60_000));
    assert_eq!(storage.containers.max_never_used_ms, None);
    assert_eq!(config.quorum.commit_log_count, 500);
    assert!(!config.auth.x509_enabled);
    assert_eq!(config.auth.digest, DigestScheme::Sha1);
    assert!(config.service.four_letter_words.allows(FourLetterWord::Srvr));
    assert!(!config.service.four_letter_words.allows(FourLetterWord::Mntr));
    assert_eq!((config.tls, config.service.metrics), (None, None));
    // Ours.
    assert_eq!(storage.purge, Some(PurgeSettings { retain_count: 3, interval_hours: 1 }));
    assert_eq!(config.service.admin.unwrap().address.to_string(), "127.0.0.1:8080");
}

#[test]
fn apaches_sample_file_starts() {
    let sample = "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=/tmp/zookeeper\n\
                  clientPort=2181\n#maxClientCnxns=60\n#autopurge.snapRetainCount=3\n\
                  ## https://prometheus.io Metrics Exporter\n\
                  #metricsProvider.className=org.apache.zookeeper.metrics.prometheus.\n";
    let loaded = parse("zoo.cfg", sample.as_bytes(), &[], Options::default()).unwrap();
    assert_eq!(loaded.config.tick_time_ms, 2000);
    assert_eq!(loaded.config.quorum.init_limit_ticks, Some(10));
    // R2: a plain zoo.cfg has Apache's session passwords, and its operator is told.
    assert_eq!(loaded.config.sessions.password, SessionPassword::Apache);
    let warnings = loaded.warnings.iter().map(|one| one.text.as_str()).collect::<Vec<_>>();
    assert!(matches!(warnings[..], [one] if one.starts_with("sessionPassword = apache:")));
}

#[test]
fn all_problems_are_told_at_once_with_their_lines() {
    let text = "# none of these is right\ntickTime=0\nclientPort=70000\nmaxClientCnxns=many\n\
                standaloneEnabled=maybe\nDigestAuthenticationProvider.digestAlg=MD5\noraclePath=/x\n";
    let text = findings(text, &[], Options::default());
    expect![[r#"
        zoo.cfg:2: error: tickTime = 0: it must be a whole number from 1 to 2147483647
        zoo.cfg:3: error: clientPort = 70000: it must be a whole number from 0 to 65535
        zoo.cfg:4: error: maxClientCnxns = many: it must be a whole number; 0 turns it off
        zoo.cfg:5: error: standaloneEnabled = maybe: it must be true or false
        zoo.cfg:6: error: DigestAuthenticationProvider.digestAlg = MD5: it must be one of: SHA1, SHA-1, SHA-256, SHA-384, SHA-512
        zoo.cfg:7: error: oraclePath: refused: two-member ensembles with an oracle are not built; use three members; remove it
        error: dataDir is not set; name the directory for the data
        warning: sessionPassword = apache: whoever can read an ephemeralOwner can take that session over; set sessionPassword = hmac and sessionPasswordFile unless Apache members are to join
    "#]].assert_eq(&text);
}

#[test]
fn odd_values_with_which_apache_starts_are_taken() {
    let odd = "autopurge.purgeInterval=-1\nautopurge.snapRetainCount=-1\n\
               snapshot.compression.method=lz4\nfsync.warningthresholdms=-1\npreAllocSize=0\n\
               admin.idleTimeout=0\n";
    let config = ok(odd);
    assert_eq!((config.storage.purge, config.storage.compression), (None, Compression::None));
    assert_eq!((config.storage.fsync_warning_ms, config.storage.prealloc_bytes), (0, 64 << 20));
    assert_eq!(config.service.admin.unwrap().idle_timeout_ms, 30_000);
    let kept = ok("autopurge.snapRetainCount=-1\n").storage.purge.unwrap();
    assert_eq!(kept.retain_count, 3);
    assert_eq!(ok("snapshot.compression.method=GZ\n").storage.compression, Compression::Gzip);
    check(
        odd,
        expect![[r#"
        zoo.cfg:6: warning: autopurge.snapRetainCount = -1: taken as 3, the least, as in Apache
        zoo.cfg:7: warning: snapshot.compression.method = lz4: no method, so snapshots are not compressed, as in Apache; write gz or snappy, or remove it
        zoo.cfg:8: warning: fsync.warningthresholdms = -1: every sync is warned about, as in Apache
        zoo.cfg:9: warning: preAllocSize = 0: taken as 65536; a log here has its length from the start, and takes space as it is written
        zoo.cfg:10: warning: admin.idleTimeout = 0: taken as 30000, the default: a silent connection would be held for ever
    "#]],
    );
    // With this one Apache divides by zero and ends.
    check(
        "nio.sessionlessCnxnTimeout=0\n",
        expect![[r#"
        zoo.cfg:5: error: nio.sessionlessCnxnTimeout = 0: it must be a whole number from 1 to 4294967295
    "#]],
    );
}

#[test]
fn unknown_keys_are_named_with_a_suggestion() {
    check(
        "ticktime=2000\nfoo.bar=1\n",
        expect![[r#"
        zoo.cfg:5: warning: ticktime: unknown key; did you mean tickTime?
        zoo.cfg:6: warning: foo.bar: unknown key; it has no effect; remove it
    "#]],
    );
}

#[test]
fn keys_without_effect_are_warned_about_once_and_only_when_they_change_something() {
    check(
        "nio.numWorkerThreads=4\nsnapCount=1000\nenableEagerACLCheck=false\nssl.crl=false\n\
           audit.enable=true\nrequest_throttle_max_requests=0\nrequest_throttle_stall_time=5\n",
        expect![[r#"
            zoo.cfg:5: warning: nio.numWorkerThreads: accepted without effect: it tunes a part of the Java server that does not exist here
            zoo.cfg:11: warning: request_throttle_stall_time: accepted without effect: who waits because of request_throttle_max_requests is woken, not polled
        "#]],
    );
}

#[test]
fn sessions_may_be_local_and_may_be_upgraded() {
    let of = |lines: &str| ok(lines).quorum.local_sessions;
    assert_eq!(of("localSessionsUpgradingEnabled=true\n"), None);
    assert_eq!(of("localSessionsEnabled=TRUE\n"), Some(LocalSessions { upgrading: false }));
    let both = "localSessionsEnabled=true\nlocalSessionsUpgradingEnabled=true\n";
    assert_eq!(of(both), Some(LocalSessions { upgrading: true }));
    check(
        "localSessionsEnabled=yes\n",
        expect![[r#"
            zoo.cfg:5: error: localSessionsEnabled = yes: it must be true or false
        "#]],
    );
}

#[test]
fn an_audit_log_of_ones_own_is_refused_when_it_is_needed() {
    let own = "audit.impl.class=com.example.Audit\n";
    check(
        &format!("audit.enable=true\n{own}"),
        expect![[r#"
            zoo.cfg:6: error: audit.impl.class = com.example.Audit: Java classes cannot be loaded; remove it: the lines go to the log, under the target zkfleet::audit
        "#]],
    );
    check(
        own,
        expect![[r#"
            zoo.cfg:5: warning: audit.impl.class: Java classes cannot be loaded; remove it: the lines go to the log, under the target zkfleet::audit
        "#]],
    );
    check(
        "audit.enable=true\naudit.impl.class=org.apache.zookeeper.audit.Slf4jAuditLogger\n",
        expect![""],
    );
}

#[test]
fn unsafe_values_are_refused_with_the_reason() {
    check(
        "skipACL=yes\nIPAuthenticationProvider.usexforwardedfor=true\n",
        expect![[r#"
        zoo.cfg:5: error: skipACL = yes: every client could read and change everything; remove it, or start with --unsafe if that is what you want
        zoo.cfg:6: error: IPAuthenticationProvider.usexforwardedfor: refused: any client could then claim any address (CVE-2024-51504); remove it
    "#]],
    );
    let text = format!("{MINIMAL}{QUIET}skipACL=yes\n");
    let options = Options { unsafe_allowed: true, ..Options::default() };
    let loaded = parse("zoo.cfg", text.as_bytes(), &[], options).unwrap();
    assert!(loaded.config.storage.skip_acl);
    assert_eq!(loaded.warnings.len(), 1);
}

#[test]
fn a_mark_at_the_beginning_and_a_line_without_a_key_are_named() {
    let text = format!("\u{feff}# ssl.keyStore.password=canary\n{MINIMAL}{QUIET}=x\n");
    expect![[r#"
        zoo.cfg:1: warning: the file begins with a byte order mark (EF BB BF), which is skipped here; for Apache it is a part of the first key: remove it
        zoo.cfg:6: warning: there is no key in front of = or : on this line; it has no effect, remove it
    "#]].assert_eq(&findings(&text, &[], Options::default()));
    let loaded = parse("zoo.cfg", text.as_bytes(), &[], Options::default()).unwrap();
    assert_eq!(loaded.config.listeners.client.unwrap().port, 2181);
    assert!(!loaded.config.initial_text.contains("canary"));
    let text = format!("\u{feff}{MINIMAL}{QUIET}");
    assert!(parse("zoo.cfg", text.as_bytes(), &[], Options::default()).is_ok());
}

#[test]
fn force_sync_is_off_only_by_the_word_no() {
    let off = loaded("forceSync=no\n");
    assert!(!off.config.storage.force_sync);
    assert!(off.warnings[0].text.contains("WILL BE LOST"));
    let odd = loaded("forceSync=false\n");
    assert!(odd.config.storage.force_sync);
    assert!(odd.warnings[0].text.contains("only the word no has an effect"));
}

#[test]
fn system_properties_come_with_or_without_prefix() {
    let config = ok("snapCount=7\nzookeeper.preAllocSize=64\njute.maxbuffer=0x200000\n");
    assert_eq!((config.storage.snap_count, config.storage.paces_snapshots), (7, false));
    assert_eq!(config.storage.prealloc_bytes, 64 << 10);
    assert_eq!(
        (config.storage.max_request_bytes, config.storage.extra_record_bytes),
        (2 << 20, 2 << 20)
    );
    check(
        "zookeeper.snapCount=7\njute.maxbuffer=4000000\n",
        expect![[r#"
        zoo.cfg:5: warning: zookeeper.snapCount: Apache ignores it with this prefix in a file; write snapCount
        zoo.cfg:6: warning: jute.maxbuffer: honoured here; Apache ignores it in a file and needs -Djute.maxbuffer=
    "#]],
    );
}

#[test]
fn the_file_wins_over_the_command_line_and_that_over_the_environment() {
    let text = format!("{MINIMAL}{QUIET}snapCount=100\n");
    let mut overrides = vec![
        Override::from_argument("zookeeper.snapCount=5"),
        Override::from_argument("zookeeper.preAllocSize=16"),
        Override::from_argument("tickTme=1"),
    ];
    overrides.extend(Override::from_jvm_flags(
        "-Xmx1g -Dzookeeper.preAllocSize=32 -Dcom.example=1 -Dzookeeper.maxCnxns=9 -Dzookeeper.nonsense=1",
    ));
    let config = parse("zoo.cfg", text.as_bytes(), &overrides, Options::default()).unwrap().config;
    assert_eq!(config.storage.snap_count, 100);
    assert_eq!(config.storage.prealloc_bytes, 16 << 10);
    assert_eq!(config.limits.connections, Some(9));
    expect![[r#"
        command line: warning: -Dzookeeper.snapCount: zoo.cfg:5 sets it too and counts
        environment: warning: nonsense: unknown key; it has no effect; remove it
        command line: warning: tickTme: unknown key; did you mean tickTime?
    "#]]
    .assert_eq(&findings(&text, &overrides, Options::default()));
}

#[test]
fn the_last_duplicate_counts_and_is_named() {
    assert_eq!(ok("snapCount=1000\nsnapCount=2000\n").storage.snap_count, 2000);
    check(
        "snapCount=1000\nsnapCount=2000\n",
        expect![[r#"
        zoo.cfg:6: warning: snapCount: set on line 5 too; this one counts
    "#]],
    );
}

#[test]
fn ensembles_are_checked() {
    check(
        "server.1=a:2888:3888;2181\nserver.2=b:2888:3888\nserver.3=c:2888:3888:observer\nserver.x=1\nserver.4=d:1:1\n",
        expect![[r#"
            zoo.cfg:1: error: there is no file myid in dataDir; write the number of this member's server line into it
            zoo.cfg:8: error: server.x = 1: what follows the dot must be a number
            zoo.cfg:9: error: server.4 = d:1:1: the quorum port and the election port must differ
            error: initLimit is not set; an ensemble needs it, in ticks
            error: syncLimit is not set; an ensemble needs it, in ticks
        "#]],
    );
    check(
        "server.1=a:2888:3888\nserver.2=b:2888:3888\ngroup.1=1\nweight.1=1\n",
        expect![[r#"
            zoo.cfg:1: error: there is no file myid in dataDir; write the number of this member's server line into it
            zoo.cfg:7: error: group.1: server 2 is in no group; give it one, or remove all groups and weights
            error: initLimit is not set; an ensemble needs it, in ticks
            error: syncLimit is not set; an ensemble needs it, in ticks
            warning: 2 participants survive the loss of 0, as 1 do; an odd number is better
        "#]],
    );
    check(
        "server.3=c:2888:3888:observer\n",
        expect![[r#"
        zoo.cfg:5: error: server.3: observers need an ensemble of several participants
    "#]],
    );
    let three = "server.1=a:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888\n";
    let text = format!("dataDir=/data\nclientPort=2181\n{QUIET}{three}initLimit=5\nsyncLimit=2\n");
    let as_server = |server_id| Options { server_id, ..Options::default() };
    assert_eq!(findings(&text, &[], as_server(Some(2))), "");
    let config = parse("zoo.cfg", text.as_bytes(), &[], as_server(Some(2))).unwrap().config;
    assert!(config.quorum.is_ensemble());
    expect![[r#"
        zoo.cfg:1: error: there is no file myid in dataDir; write the number of this member's server line into it
    "#]].assert_eq(&findings(&text, &[], as_server(None)));
    expect![[r#"
        zoo.cfg:1: error: myid says 4, and there is no line server.4; correct one of them
    "#]]
    .assert_eq(&findings(&text, &[], as_server(Some(4))));
    let odd = format!("{text}sslQuorum=true\nreconfigEnabled=true\npeerType=observer\n");
    expect![[r#"
        zoo.cfg:10: error: sslQuorum: ssl.quorum.clientAuth is need (the default), but ssl.quorum.trustStore.location is not set; name the certificates of the authorities to trust, or set ssl.quorum.clientAuth = none
        zoo.cfg:10: error: sslQuorum: TLS is asked for, but ssl.quorum.keyStore.location is not set; name the file with our certificate and key
        zoo.cfg:12: warning: peerType is observer, and the line server.1 says participant; the line counts
    "#]].assert_eq(&findings(&odd, &[], as_server(Some(1))));
    check(
        "standaloneEnabled=false\nserver.1=a:2888:3888\n",
        expect![[r#"
            zoo.cfg:1: error: there is no file myid in dataDir; write the number of this member's server line into it
            error: initLimit is not set; an ensemble needs it, in ticks
            error: syncLimit is not set; an ensemble needs it, in ticks
        "#]],
    );
}

/// What was wrong is said, and not what would have been missing without it.
#[test]
fn a_finding_has_no_followers() {
    for text in ["dataDir=/d\\u00\nclientPort=2181\n", "clientPort=2181\nx=\\uzzzz\ndataDir=/d\n"] {
        let line = 1 + text.split("\\u").next().unwrap().matches('\n').count();
        let want = format!(
            "zoo.cfg:{line}: error: \\u must be followed by four hex digits; write a backslash as \\\\\n"
        );
        assert_eq!(findings(text, &[], Options::default()), want);
    }
    check(
        "server.1=garbage\nserver.2=b:2888:3888\n",
        expect![[r#"
        zoo.cfg:5: error: server.1 = garbage: it must be host:quorumPort:electionPort[:role][;[host:]clientPort]
    "#]],
    );
    check(
        "standaloneEnabled=false\nserver.1=garbage\n",
        expect![[r#"
        zoo.cfg:6: error: server.1 = garbage: it must be host:quorumPort:electionPort[:role][;[host:]clientPort]
    "#]],
    );
    let three = "server.1=garbage\nserver.2=b:2888:3888\nserver.3=c:2888:3888\n";
    let text = format!("{MINIMAL}{QUIET}{three}initLimit=5\nsyncLimit=2\n");
    let options = Options { server_id: Some(1), ..Options::default() };
    expect![[r#"
        zoo.cfg:5: error: server.1 = garbage: it must be host:quorumPort:electionPort[:role][;[host:]clientPort]
    "#]].assert_eq(&findings(&text, &[], options));
}

#[test]
fn two_listeners_need_two_ports() {
    let stores = "ssl.keyStore.location=/k.p12\nssl.trustStore.location=/t.p12\n";
    check(
        &format!("{stores}secureClientPort=2181\n"),
        expect![[r#"
        zoo.cfg:7: error: secureClientPort = 2181: it is the client port too; take another one, or leave it out and set client.portUnification = true for TLS and plain text on one port
    "#]],
    );
    check(
        &format!("{stores}secureClientPort=2181\nsecureClientPortAddress=127.0.0.1\n"),
        expect![[r#"
            zoo.cfg:7: error: secureClientPort = 2181: it is the client port too; take another one, or leave it out and set client.portUnification = true for TLS and plain text on one port
        "#]],
    );
    let apart = "clientPortAddress=127.0.0.2\nsecureClientPortAddress=127.0.0.1\n";
    check(&format!("{stores}{apart}secureClientPort=2181\n"), expect![[""]]);
}

#[test]
fn one_voter_runs_standalone_and_its_line_may_name_the_client_port() {
    check(
        "server.1=a:2888:3888\n",
        expect![[r#"
        zoo.cfg:5: warning: server.1: only one server specified (ignoring); running standalone
    "#]],
    );
    let text = format!("dataDir=/data\n{QUIET}server.1=a:2888:3888;127.0.0.1:2200\n");
    let options = Options { server_id: Some(1), ..Options::default() };
    let config = parse("zoo.cfg", text.as_bytes(), &[], options).unwrap().config;
    assert_eq!(config.listeners.client.unwrap().to_string(), "127.0.0.1:2200");
    let text = format!("{text}clientPort=2201\n");
    assert!(parse("zoo.cfg", text.as_bytes(), &[], options).is_err());
}

#[test]
fn tls_needs_its_stores() {
    check(
        "secureClientPort=2281\n",
        expect![[r#"
            zoo.cfg:5: error: secureClientPort: ssl.clientAuth is need (the default), but ssl.trustStore.location is not set; name the certificates of the authorities to trust, or set ssl.clientAuth = none
            zoo.cfg:5: error: secureClientPort: TLS is asked for, but ssl.keyStore.location is not set; name the file with our certificate and key
        "#]],
    );
    let config =
        ok("secureClientPort=2281\nssl.keyStore.location=/k.p12\nssl.keyStore.password=canary\n\
                     ssl.trustStore.location=/t\nssl.trustStore.type=jks\nssl.clientAuth=want\n\
                     ssl.enabledProtocols=TLSv1.2,TLSv1.1\nssl.ciphersuites=A, B\n");
    let tls = config.tls.unwrap();
    assert_eq!(tls.key_store.kind, StoreKind::Pkcs12);
    assert_eq!(tls.trust_store.unwrap().kind, StoreKind::Jks);
    assert_eq!((tls.client_auth, tls.tls12, tls.tls13), (ClientAuth::Want, true, false));
    assert_eq!(tls.cipher_suites, ["A", "B"]);
    assert!(config.auth.x509_enabled);
    check(
        "client.portUnification=true\nssl.clientAuth=none\nssl.keyStore.location=/k.bcfks\n\
           ssl.keyStore.type=BCFKS\nssl.protocol=TLSv1\n",
        expect![[r#"
        zoo.cfg:7: error: ssl.keyStore.location: the kind of store cannot be told from its name; end it with .pem, .p12 or .jks, or set ssl.keyStore.type
        zoo.cfg:8: error: ssl.keyStore.type = BCFKS: stores can be PEM, PKCS12 or JKS; convert it with keytool
        zoo.cfg:9: warning: ssl.protocol: TLSv1 is broken and never offered; remove it
        zoo.cfg:9: error: ssl.protocol: nothing is left; list TLSv1.2, TLSv1.3 or both
    "#]],
    );
}

#[test]
fn a_key_that_asks_for_tls_is_named_with_its_line() {
    check(
        "client.portUnification=true\n",
        expect![[r#"
            zoo.cfg:5: error: client.portUnification: ssl.clientAuth is need (the default), but ssl.trustStore.location is not set; name the certificates of the authorities to trust, or set ssl.clientAuth = none
            zoo.cfg:5: error: client.portUnification: TLS is asked for, but ssl.keyStore.location is not set; name the file with our certificate and key
        "#]],
    );
    check(
        "ssl.clientAuth=want\nclient.portUnification=true\n",
        expect![[r#"
            zoo.cfg:5: error: ssl.clientAuth: it is need or want, but ssl.trustStore.location is not set; name the certificates of the authorities to trust, or set ssl.clientAuth = none
            zoo.cfg:6: error: client.portUnification: TLS is asked for, but ssl.keyStore.location is not set; name the file with our certificate and key
        "#]],
    );
    // Who runs alone has no quorum ports.
    let quorum = "portUnification=true\nsslQuorum=true\nserver.1=a:2888:3888\n";
    check(
        quorum,
        expect![[r#"
            zoo.cfg:5: warning: portUnification: no effect: this server runs alone; add the server lines of its ensemble, or remove it
            zoo.cfg:6: warning: sslQuorum: no effect: this server runs alone; add the server lines of its ensemble, or remove it
            zoo.cfg:7: warning: server.1: only one server specified (ignoring); running standalone
        "#]],
    );
    check(
        &format!("{quorum}server.2=b:2888:3888\ninitLimit=5\nsyncLimit=2\n"),
        expect![[r#"
            zoo.cfg:1: error: there is no file myid in dataDir; write the number of this member's server line into it
            zoo.cfg:6: error: sslQuorum: ssl.quorum.clientAuth is need (the default), but ssl.quorum.trustStore.location is not set; name the certificates of the authorities to trust, or set ssl.quorum.clientAuth = none
            zoo.cfg:6: error: sslQuorum: TLS is asked for, but ssl.quorum.keyStore.location is not set; name the file with our certificate and key
            warning: 2 participants survive the loss of 0, as 1 do; an odd number is better
        "#]],
    );
}

#[test]
fn required_schemes_must_be_had() {
    check(
        "sessionRequireClientSASLAuth=true\n",
        expect![[r#"
        zoo.cfg:5: error: sessionRequireClientSASLAuth: every client is required to have an identity of scheme sasl, but nothing here gives one; configure the scheme, or do not require it
    "#]],
    );
    check(
        "enforce.auth.enabled=true\nenforce.auth.schemes=digest,sasl\n",
        expect![[r#"
            zoo.cfg:6: error: enforce.auth.schemes: every client is required to have an identity of scheme sasl, but nothing here gives one; configure the scheme, or do not require it
        "#]],
    );
    let config = ok("sessionRequireClientSASLAuth=true\nsasl.usersFile=/jaas\nauthProvider.1=\
                     org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n\
                     superUser=root\nsuperUser.1=admin\nensembleAuthName=a, b\n");
    assert_eq!(config.auth.required_schemes, ["sasl"]);
    assert!(config.auth.sasl.acls_enabled);
    assert_eq!(config.auth.super_users, ["root", "admin"]);
    assert_eq!(config.auth.ensemble_names.len(), 2);
    check(
        "authProvider.9=com.example.Magic\n",
        expect![[r#"
        zoo.cfg:5: error: authProvider.9 = com.example.Magic: Java classes cannot be loaded, and ACLs that need this scheme would lock everybody out; only Apache's own ip, digest, x509, SASL and ensemble providers exist
    "#]],
    );
}

#[test]
fn the_whitelist_names_words_or_everything() {
    let list = ok("4lw.commands.whitelist=mntr, ruok , *nope\n").service.four_letter_words;
    assert!(list.allows(FourLetterWord::Mntr) && list.allows(FourLetterWord::Ruok));
    assert!(!list.allows(FourLetterWord::Stat));
    // Apache 3.9.4 answers srvr whatever the list says.
    assert!(list.allows(FourLetterWord::Srvr));
    let none = ok("4lw.commands.whitelist=\n").service.four_letter_words;
    assert_eq!(none, Whitelist::default());
    let all = ok("4lw.commands.whitelist=*\n").service.four_letter_words;
    assert!(FourLetterWord::ALL.iter().all(|word| all.allows(*word)));
}

#[test]
fn metrics_of_prometheus_get_their_listener() {
    let config = ok("metricsProvider.className=org.apache.zookeeper.metrics.prometheus.\
                     PrometheusMetricsProvider\nmetricsProvider.httpPort=7001\n\
                     admin.enableServer=false\n");
    assert_eq!(config.service.metrics.unwrap().to_string(), "0.0.0.0:7001");
    assert_eq!(config.service.admin, None);
}

#[test]
fn secrets_are_in_no_text() {
    let text = "DigestAuthenticationProvider.superDigest=super:canary\\\n  canary2\n\
                ssl.keyStore.password=canary3\nssl.trustStore.passwordPath=/path/of/password\n\
                SASLAuthenticationProvider.superPassword=canary4\nensembleAuthName=canary5\n\
                zookeeper.ssl.trustStore.password = canary6\nsnapCount=x\n";
    let good = loaded(&text.replace("snapCount=x\n", ""));
    let printed = format!("{good:?}");
    assert!(!printed.contains("canary"), "{printed}");
    assert!(printed.contains("/path/of/password"));
    assert!(good.config.initial_text.contains("ssl.keyStore.password=***\n"));
    assert!(good.config.initial_text.ends_with("zookeeper.ssl.trustStore.password=***\n"));
    let bad = findings(&format!("{MINIMAL}{text}"), &[], Options::default());
    assert!(bad.contains("snapCount = x") && !bad.contains("canary"), "{bad}");
    let old = "# once: a comment\n#ssl.keyStore.password=canary\n ! old zookeeper.ssl.trustStore.password: canary\n";
    let old = loaded(&format!("{MINIMAL}{old}")).config.initial_text;
    assert!(old.contains("# once: a comment\n#ssl.keyStore.password=***\n ! old "), "{old}");
    assert!(!old.contains("canary"), "{old}");
    // A key that nobody knows may be misspelt; one that names no secret is shown.
    let typos = "ssl.keyStore.pasword=canary\nmy.db.secret=canary\nadmin.pwd=canary\n\
                 # DigestAuthenticationProvider.superDigst=canary\nssl.keyStore.locaton=/k\nmy.tokens=5\n";
    let typos = loaded(typos);
    let printed = format!("{typos:?}");
    assert!(!printed.contains("canary"), "{printed}");
    let shown = [("ssl.keyStore.locaton", "/k"), ("my.tokens", "5"), ("my.db.secret", "***")];
    for (key, value) in shown.map(|(key, value)| (key.to_owned(), value.to_owned())) {
        assert!(typos.config.properties.contains(&(key, value)), "{printed}");
    }
    // Line ends that only Java counts do not bring a value back.
    let odd = format!("{MINIMAL}{QUIET}#\r#\rssl.keyStore.password=canary\r#\n");
    let odd = parse("zoo.cfg", odd.as_bytes(), &[], Options::default()).unwrap();
    assert!(!odd.config.initial_text.contains("canary"));
}

#[test]
fn every_honoured_key_is_read_and_every_key_that_is_read_is_known() {
    let mut keys = keys::Keys::default();
    ServerConfig::read(&mut keys, Options::default());
    for key in schema::KEYS {
        let is_read = keys.asked.contains(key.name);
        let is_honoured = matches!(key.plan, schema::Plan::Honoured | schema::Plan::Ensemble);
        assert_eq!(is_read, is_honoured, "{}", key.name);
    }
    for key in &keys.asked {
        assert!(schema::find(key).is_some(), "{key}");
    }
}

#[test]
fn files_are_read_with_their_dynamic_part_and_the_servers_number() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let data = at("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("myid"), "3\n").unwrap();
    std::fs::write(at("zoo.cfg.dynamic"), "server.3=h:1:2;0.0.0.0:2181\nclientPort=1\n").unwrap();
    let text = format!(
        "dataDir={}\ndynamicConfigFile={}\nserver.1=x:1:2\n",
        data.display(),
        at("zoo.cfg.dynamic").display()
    );
    std::fs::write(at("zoo.cfg"), &text).unwrap();
    let ConfigError::Invalid(problems) = load(&at("zoo.cfg"), &[], Options::default()).unwrap_err()
    else {
        panic!("not invalid")
    };
    let errors = problems.iter().filter(|one| one.severity == Severity::Error);
    let errors = errors.map(|one| one.text.as_str()).collect::<Vec<_>>();
    assert!(errors[0].starts_with("clientPort: a dynamic file holds only"), "{errors:?}");
    assert!(errors[1].starts_with("server.1: dynamicConfigFile is set"), "{errors:?}");
    assert_eq!(errors.len(), 2, "{errors:?}");

    std::fs::write(at("zoo.cfg.dynamic"), "server.3=h:1:2;0.0.0.0:2181\n").unwrap();
    std::fs::write(at("zoo.cfg"), text.replace("server.1=x:1:2\n", "")).unwrap();
    let config = load(&at("zoo.cfg"), &[], Options::default()).unwrap().config;
    assert_eq!((config.server_id, config.quorum.ensemble.members.len()), (Some(3), 1));
    assert_eq!(config.listeners.client.unwrap().port, 2181);

    std::fs::write(data.join("myid"), "three").unwrap();
    let error = load(&at("zoo.cfg"), &[], Options::default()).unwrap_err().to_string();
    assert!(error.contains("the first line must be the server's number"), "{error}");
    let error = load(&at("none.cfg"), &[], Options::default()).unwrap_err().to_string();
    assert!(error.contains("cannot read") && error.contains("none.cfg"), "{error}");
}
