//! Four-letter words, `mntr` and Prometheus.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use expect_test::expect;

use super::super::*;
use super::Fake;

fn word(text: &str, server: &Fake) -> String {
    four_letter_answer(text.parse().unwrap(), &[], server.config.service.four_letter_words, server)
}

#[test]
fn short_words_answer_as_apache_does() {
    let server = Fake::new();
    for (text, answer) in [
        ("ruok", "imok"),
        ("isro", "rw"),
        ("gtmk", "306"),
        ("crst", "Connection stats reset.\n"),
        ("dirs", "datadir_size: 358\nlogdir_size: 67109358\n"),
        ("wchs", "2 connections watching 2 paths\nTotal watches:3\n"),
        ("hash", "80: -1\n"),
        ("wchc", "0x1000016f3270001\n\t/app\n0x1000016f3270000\n\t/app\n\t/app/e\n\n"),
        ("wchp", "/app\n\t0x1000016f3270000\n\t0x1000016f3270001\n/app/e\n\t0x1000016f3270000\n\n"),
    ] {
        assert_eq!(word(text, &server), answer, "{text}");
    }
    let all = Whitelist::all();
    let mask = 7i64.to_be_bytes();
    assert_eq!(four_letter_answer(FourLetterWord::Stmk, &mask, all, &server), "7");
    assert_eq!(word("gtmk", &server), "7");
}

#[test]
fn stat_and_srvr_have_apaches_lines() {
    let server = Fake::new();
    let stat = word("stat", &server);
    let (version, rest) = stat.split_once('\n').unwrap();
    assert!(version.starts_with("Zookeeper version: 3.9.4-zkfleet-"), "{version}");
    let (_, date) = version.split_once(", built on ").unwrap();
    let date = date.lines().next().unwrap();
    let is_form = |(c, form): (char, char)| c == form || form == '0' && c.is_ascii_digit();
    let mut pairs = date.chars().zip("0000-00-00 00:00 UTC".chars());
    assert!(date.len() == 20 && pairs.all(is_form), "{version}");
    expect![[r#"
        Clients:
         /127.0.0.1:35446[1](queued=0,recved=7,sent=7)
         /127.0.0.1:35462[1](queued=0,recved=3,sent=3)
         /127.0.0.1:35484[0](queued=0,recved=1,sent=0)

        Latency min/avg/max: 0/3.3/11
        Received: 14
        Sent: 13
        Connections: 3
        Outstanding: 0
        Zxid: 0x6
        Mode: standalone
        Node count: 9
    "#]]
    .assert_eq(rest);
    let srvr = word("srvr", &server);
    assert_eq!(srvr.split_once('\n').unwrap().1, rest.split_once("\n\n").unwrap().1);
    assert_eq!(word("srst", &server), "Server stats reset.\n");
    assert!(word("srvr", &server).contains("Latency min/avg/max: 0/0.0/0\nReceived: 0\n"));
}

#[test]
fn cons_conf_and_dump_have_apaches_lines() {
    let server = Fake::new();
    let text = ["cons", "conf", "dump"].map(|name| word(name, &server)).concat();
    expect![[r#"
         /127.0.0.1:35446[1](queued=0,recved=7,sent=7,sid=0x1000016f3270000,lop=GETC,est=1795367821594,to=10000,lcxid=0x6,lzxid=0x4,lresp=1531239,llat=2,minlat=0,avglat=4,maxlat=11)
         /127.0.0.1:35462[1](queued=0,recved=3,sent=3,sid=0x1000016f3270001,lop=PING,est=1795367821594,to=10000,lzxid=0x4,lresp=1531239,llat=2,minlat=0,avglat=4,maxlat=11)
         /127.0.0.1:35484[0](queued=0,recved=1,sent=0)

        clientPort=2181
        secureClientPort=-1
        dataDir=/data/version-2
        dataDirSize=358
        dataLogDir=/data/version-2
        dataLogSize=67109358
        tickTime=500
        maxClientCnxns=0
        minSessionTimeout=1000
        maxSessionTimeout=10000
        clientPortListenBacklog=-1
        serverId=0
        SessionTracker dump:
        Session Sets (1)/(2):
        2 expire at Sun Nov 22 17:17:11 UTC 2026:
        	0x1000016f3270001
        	0x1000016f3270000
        ephemeral nodes dump:
        Sessions with Ephemerals (2):
        0x1000016f3270001:
        	/z
        0x1000016f3270000:
        	/app/f
        	/app/e
        Connections dump:
        Connections Sets (1)/(2):
        2 expire at Sun Nov 22 17:17:20 UTC 2026:
        	ip: /127.0.0.1:35462 sessionId: 0x1000016f3270001
        	ip: /127.0.0.1:35506 sessionId: 0x0
    "#]]
    .assert_eq(&text);
}

#[test]
fn words_outside_the_whitelist_are_refused() {
    let server = Fake::new();
    let refusal = " is not executed because it is not in the whitelist.\n";
    for &word in FourLetterWord::ALL {
        let answer = four_letter_answer(word, &[], Whitelist::empty(), &server);
        assert_eq!(answer, format!("{word}{refusal}"));
    }
    let read_only = Fake { mode: Mode::ReadOnly, ..Fake::new() };
    let answer = four_letter_answer(FourLetterWord::Isro, &[], Whitelist::empty(), &read_only);
    assert_eq!(answer, "ro");
    assert!(word("srvr", &read_only).contains("READ-ONLY mode; serving only read-only clients\n"));
    let full = Fake { mode: Mode::DiskFull, ..Fake::new() };
    assert_eq!(word("isro", &full), "ro");
    let srvr = word("srvr", &full);
    assert!(
        srvr.contains("READ-ONLY mode; the disk is full") && !srvr.contains("clients"),
        "{srvr}"
    );
    assert!(srvr.contains("\nMode: read-only\n"), "{srvr}");
}

#[test]
fn a_server_that_does_not_serve_says_so() {
    let server = Fake::new();
    server.serving.store(false, Relaxed);
    let refusal = "This ZooKeeper instance is not currently serving requests";
    for name in ["srvr", "stat", "mntr", "conf", "cons", "dump", "wchs", "wchc", "dirs", "crst"] {
        assert_eq!(word(name, &server), format!("{refusal}\n"), "{name}");
    }
    assert_eq!(word("hash", &server), refusal);
    assert_eq!(word("isro", &server), "null");
    assert_eq!((word("ruok", &server), word("gtmk", &server)), ("imok".into(), "306".into()));
    assert!(word("envi", &server).starts_with("Environment:\nzookeeper.version="));
}

#[test]
fn mntr_has_apaches_names_and_forms() {
    let server = Fake::new();
    server.metrics.fsynctime.record_time(Duration::from_micros(1500));
    server.metrics.readlatency.record_time(Duration::from_micros(2500));
    let text = word("mntr", &server);
    for line in [
        "zk_server_state\tstandalone",
        "zk_avg_latency\t3.3",
        "zk_max_latency\t11",
        "zk_uptime\t27877",
        "zk_znode_count\t9",
        "zk_approximate_data_size\t64",
        "zk_max_client_response_size\t89",
        "zk_connection_request_count\t0",
        "zk_avg_fsynctime\t1.5",
        "zk_min_fsynctime\t1",
        "zk_cnt_fsynctime\t1",
        "zk_p999_readlatency\t2",
    ] {
        assert!(text.lines().any(|one| one == line), "{line} is not in:\n{text}");
    }
    assert!(text.lines().all(|line| line.starts_with("zk_") && line.split('\t').count() == 2));
    assert!(!text.contains("zk_p50_fsynctime"));
}

/// Names that Apache 3.9.4 printed in `mntr`, standalone.
const APACHE_NAMES: &str = include_str!("../testdata/mntr-3.9.4.txt");

/// What Apache does not bound, and so does not count.
const OURS: [&str; 2] = ["zk_sessions_refused", "zk_unsent_limit_exceeded"];

#[test]
fn every_name_of_mntr_is_one_of_apaches_or_of_the_few_of_ours() {
    let server = Fake::new();
    let known = APACHE_NAMES.lines().chain(OURS).collect::<std::collections::BTreeSet<_>>();
    let text = word("mntr", &server);
    let names = text.lines().filter_map(|line| line.split('\t').next()).collect::<Vec<_>>();
    let is_own = |name: &&&str| !known.contains(*name) && !name.ends_with("_per_namespace");
    let foreign = names.iter().filter(is_own).collect::<Vec<_>>();
    assert!(foreign.is_empty(), "{foreign:?}");
    assert!(names.len() > 80, "{}", names.len());
}

/// Parts of Apache's names that are not printed, and why.
const LEFT_OUT: [(&str, &str); 27] = [
    ("disloyal_voter", "a leader does not heed who looks for another"),
    ("learner_request", "of a processor that is not here"),
    ("om_", "followers have no observers of their own"),
    ("proposal_process_time", "a look at the clock for each request"),
    ("socket_closing_time", "nobody waits for a socket to close"),
    ("commit_processor", "of a processor that is not here"),
    ("commit_proc_", "of a processor that is not here"),
    ("to_next_processor", "of a processor that is not here"),
    ("commitproc", "of a processor that is not here"),
    ("commit_process", "of a processor that is not here"),
    ("final_proc", "of a processor that is not here"),
    ("session_queue", "of a processor that is not here"),
    ("request_commit_queued", "of a processor that is not here"),
    ("write_committed_time", "of a processor that is not here"),
    ("outstanding_changes", "of a list that is not here"),
    ("prep_process_time", "a look at the clock for each request"),
    ("prep_processor_queue", "a look at the clock for each request"),
    ("close_session_prep_time", "a look at the clock in a core without one"),
    ("sync_process_time", "a look at the clock for each request"),
    ("sync_processor_queue_", "a look at the clock for each request"),
    ("request_throttle_queue_time", "a look at the clock for each request"),
    ("stale_", "no request goes stale"),
    ("throttled_ops", "no request is answered with -127"),
    ("response_packet", "there is no cache of answers"),
    ("dead_watcher", "there is no list of dead watchers"),
    ("netty_", "there is no Netty"),
    ("jvm_pause", "there is no JVM"),
];
/// Each is one of these alone.
const LEFT_OUT_ALONE: [(&str, &str); 2] = [
    ("zk_insecure_admin_count", "the admin server has no TLS"),
    ("zk_cnxn_closed_without_zk_server_running", "a member that does not serve ends"),
];

#[test]
fn whatever_of_apaches_is_not_printed_is_left_out_for_a_reason() {
    let text = word("mntr", &Fake::leader());
    let names: std::collections::BTreeSet<_> =
        text.lines().filter_map(|line| line.split('\t').next()).collect();
    let missing: Vec<_> = APACHE_NAMES.lines().filter(|name| !names.contains(name)).collect();
    let is_known = |name: &str| {
        LEFT_OUT.iter().any(|(part, _)| name.contains(part))
            || LEFT_OUT_ALONE.iter().any(|(one, _)| name == *one)
    };
    let unknown: Vec<_> = missing.iter().filter(|name| !is_known(name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let parts = LEFT_OUT.iter().chain(&LEFT_OUT_ALONE);
    let stale: Vec<_> =
        parts.filter(|(part, _)| !missing.iter().any(|name| name.contains(part))).collect();
    assert!(stale.is_empty(), "{stale:?}");
}

#[test]
fn quotas_are_shown_by_the_first_part_of_their_paths() {
    let server = Fake::new();
    let text = word("mntr", &server);
    assert!(text.contains("zk_app_quota_count_limit_per_namespace\t10\n"), "{text}");
    assert!(text.contains("zk_app_quota_bytes_limit_per_namespace\t-1\n"), "{text}");
    let text = prometheus::text(&server);
    let lines = "# TYPE quota_bytes_usage_per_namespace gauge\n\
                 quota_bytes_usage_per_namespace{key=\"app\"} 30.0\n\
                 quota_bytes_usage_per_namespace{key=\"o\\\"dd\\\\\"} 0.0\n";
    assert!(text.contains(lines), "{text}");
}

#[test]
fn refusals_by_quotas_are_counted_by_namespace() {
    let server = Fake::new();
    for _ in 0..2 {
        server.metrics.quota_exceeded_error_per_namespace.add("app".into());
    }
    // As 3.9.4 printed it.
    assert!(word("mntr", &server).contains("zk_app_quota_exceeded_error_per_namespace\t2\n"));
    let lines = "# TYPE quota_exceeded_error_per_namespace counter\n\
                 quota_exceeded_error_per_namespace{key=\"app\"} 2.0\n";
    assert!(prometheus::text(&server).contains(lines));
}

#[test]
fn prometheus_gets_types_and_quantiles() {
    let server = Fake::new();
    server.metrics.connection_rejected.add(3);
    server.metrics.readlatency.record_time(Duration::from_micros(2500));
    let text = prometheus::text(&server);
    for lines in [
        "# HELP znode_count znode_count\n# TYPE znode_count gauge\nznode_count 9.0\n",
        "# TYPE connection_rejected counter\nconnection_rejected 3.0\n",
        "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total ",
        "# TYPE readlatency summary\nreadlatency{quantile=\"0.5\"} 2.5\n\
         readlatency{quantile=\"0.9\"} 2.5\nreadlatency{quantile=\"0.99\"} 2.5\n\
         readlatency_count 1.0\nreadlatency_sum 2.5\n",
        "# TYPE fsynctime summary\nfsynctime{quantile=\"0.5\"} 0.0\nfsynctime_count 0.0\n",
    ] {
        assert!(text.contains(lines), "{lines} is not in:\n{text}");
    }
}
