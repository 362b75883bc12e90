//! What operators see of a leader, a follower, an observer and a member without a leader: the same
//! as of Apache's, key by key.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use zk_proto::request::CreateMode;
use zk_testkit::{Engine, Ensemble, Error, PATIENCE, apache_or_skip, four_letter_word};

/// Parts of names of `mntr` that Apache has and ours leaves out. Why: `LEFT_OUT` in
/// `crates/zk-server/src/admin/tests/words.rs` has a reason for each of Apache's fixed names.
const LEFT_OUT: [&str; 31] = [
    // A processor, a list, a queue or a cache that is not here.
    "commit_proc",
    "commitproc",
    "commit_process",
    "final_proc",
    "session_queue",
    "request_commit_queued",
    "write_committed_time",
    "outstanding_changes",
    "learner_request",
    "to_next_processor",
    "response_packet",
    "dead_watcher",
    "netty_",
    "jvm_pause",
    "om_",
    // What waits for a learner is counted in bytes, and not by packets and their times.
    "learner_handler_qp",
    "socket_closing_time",
    "disloyal_voter",
    // A look at the clock, or a look-up, for each request.
    "prep_process",
    "close_session_prep_time",
    "sync_process_time",
    "sync_processor_queue_",
    "request_throttle_queue_time",
    "proposal_process_time",
    "read_per_namespace",
    "write_per_namespace",
    // What does not happen here.
    "stale_requests",
    "stale_replies",
    "throttled_ops",
    "insecure_admin_count",
    "without_zk_server_running",
];

/// What Apache does not bound, and so does not count.
const OURS: [&str; 2] = ["zk_sessions_refused", "zk_unsent_limit_exceeded"];

/// Three voters and an observer.
fn start(engine: Engine) -> Result<Ensemble, Error> {
    let ensemble = Ensemble::with_observers(&[engine; 3], &[engine], &[])?;
    for sid in ensemble.sids() {
        let mut client = ensemble.connect(sid, 10_000)?;
        client.create(&format!("/from-{sid}"), b"some", CreateMode::Persistent)?;
        client.sync()?;
        client.get_data(&format!("/from-{sid}"))?;
        client.close()?;
    }
    Ok(ensemble)
}

fn ask(ensemble: &Ensemble, sid: i64, word: &str) -> Result<String, Error> {
    let answer = four_letter_word(ensemble.addr(sid)?, word.as_bytes(), PATIENCE)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// What stands in front of the separator, of each line.
fn keys(text: &str, separator: &str) -> BTreeSet<String> {
    let keys = text.lines().filter_map(|line| Some(line.split_once(separator)?.0.to_owned()));
    keys.collect()
}

/// The value behind a key.
fn value(text: &str, key: &str) -> Option<String> {
    text.lines().find_map(|line| Some(line.strip_prefix(key)?.trim().to_owned()))
}

/// The members by what they do: leader, a follower, the observer.
fn roles(ensemble: &Ensemble) -> Result<[(&'static str, i64); 3], Error> {
    let leader = ensemble.leader()?;
    let follower = if leader == 1 { 2 } else { 1 };
    Ok([("leader", leader), ("follower", follower), ("observer", 4)])
}

#[test]
fn each_role_shows_what_apaches_shows() -> Result<(), Error> {
    if !apache_or_skip(Engine::Apache39) {
        return Ok(());
    }
    let mut needed = BTreeSet::<&str>::new();
    let [ours, apaches] = [start(Engine::Ours)?, start(Engine::Apache39)?];
    for ((role, our), (_, their)) in roles(&ours)?.into_iter().zip(roles(&apaches)?) {
        for (word, separator) in [("srvr", ":"), ("conf", "=")] {
            let [our, their] = [ask(&ours, our, word)?, ask(&apaches, their, word)?];
            assert_eq!(keys(&our, separator), keys(&their, separator), "{role}: {word}:\n{our}");
        }
        let [our, their] = [ask(&ours, our, "mntr")?, ask(&apaches, their, "mntr")?];
        for key in ["zk_server_state", "zk_peer_state", "zk_quorum_size", "zk_learners"] {
            assert_eq!(value(&our, key), value(&their, key), "{role}: {key}");
        }
        for key in ["zk_synced_followers", "zk_synced_observers", "zk_synced_non_voting_followers"]
        {
            assert_eq!(value(&our, key), value(&their, key), "{role}: {key}");
        }
        // What the same writes, of four sessions, come to. The sizes of proposals are the same.
        for key in ["proposal_count", "commit_count", "last_proposal_size", "max_proposal_size"] {
            let key = format!("zk_{key}\t");
            assert_eq!(value(&our, &key), value(&their, &key), "{role}: {key}");
        }
        let [our, their] = [keys(&our, "\t"), keys(&their, "\t")];
        let more = our.difference(&their).filter(|key| !OURS.contains(&key.as_str()));
        assert_eq!(more.collect::<Vec<_>>(), Vec::<&String>::new(), "{role}: only ours");
        for key in their.difference(&our) {
            let parts: Vec<_> = LEFT_OUT.into_iter().filter(|part| key.contains(part)).collect();
            assert!(!parts.is_empty(), "{role}: only Apache's: {key}");
            needed.extend(parts);
        }
    }
    let stale: Vec<_> = LEFT_OUT.into_iter().filter(|part| !needed.contains(part)).collect();
    assert!(stale.is_empty(), "nothing needs {stale:?}");
    Ok(())
}

/// Waits until an answer is as it should be.
fn wait_until(
    ensemble: &Ensemble,
    sid: i64,
    word: &str,
    is_so: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    let started = Instant::now();
    loop {
        let answer = ask(ensemble, sid, word)?;
        if is_so(&answer) {
            return Ok(());
        }
        assert!(started.elapsed() < PATIENCE, "{word} of server {sid}: {answer}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_leader_shows_how_late_each_voter_acknowledges() -> Result<(), Error> {
    let ensemble = start(Engine::Ours)?;
    let leader = ensemble.leader()?;
    let mut client = ensemble.connect(leader, 10_000)?;
    // One txn in a thousand is looked at.
    for _ in 0..1000 {
        client.set_data("/from-1", b"other", -1)?;
    }
    let has_all =
        |text: &str| (1..=3).all(|sid| text.contains(&format!("zk_cnt_{sid}_ack_latency\t1\n")));
    wait_until(&ensemble, leader, "mntr", has_all)
}

#[test]
fn figures_of_a_quorum_are_measured() -> Result<(), Error> {
    let mut ensemble = start(Engine::Ours)?;
    let number = |text: &str, key: &str| -> u64 {
        let key = format!("zk_{key}\t");
        value(text, &key).and_then(|text| text.parse().ok()).unwrap_or_default()
    };
    let [(_, leader), (_, follower), (_, observer)] = roles(&ensemble)?;
    // Four sessions: opened, one create each, closed.
    let text = ask(&ensemble, leader, "mntr")?;
    for key in ["proposal_count", "commit_count", "cnt_quorum_ack_latency"] {
        assert_eq!(number(&text, key), 12, "{key}:\n{text}");
    }
    assert!(number(&text, "snap_count") + number(&text, "diff_count") >= 3, "{text}");
    // Each when it begins and when it has ended.
    let syncs = number(&text, "cnt_inflight_snap_count") + number(&text, "cnt_inflight_diff_count");
    assert!(syncs >= 6, "{text}");
    for key in ["looking_count", "cnt_election_time", "cnt_leader_unavailable_time"] {
        assert!(number(&text, key) >= 1, "{key}:\n{text}");
    }
    assert!(number(&text, "cnt_propagation_latency") >= 12, "{text}");
    for (sid, proposals, sync) in
        [(follower, true, "follower_sync_time"), (observer, false, "observer_sync_time")]
    {
        let text = ask(&ensemble, sid, "mntr")?;
        assert!(number(&text, &format!("cnt_{sync}")) >= 1, "{text}");
        assert!(number(&text, "learner_commit_received_count") >= 12, "{text}");
        assert!(number(&text, "cnt_commit_propagation_latency") >= 12, "{text}");
        assert_eq!(number(&text, "learner_proposal_received_count") >= 12, proposals, "{text}");
        assert_eq!(number(&text, "cnt_proposal_ack_creation_latency") >= 12, proposals, "{text}");
        assert_eq!(number(&text, "commit_count"), 0, "{text}");
    }
    // Without a leader nobody says anything of that, and who has one again counts it.
    for sid in ensemble.sids() {
        if sid != follower && sid != observer {
            ensemble.member(sid)?.kill()?;
        }
    }
    let refusal = "This ZooKeeper instance is not currently serving requests\n";
    wait_until(&ensemble, follower, "srvr", |answer| answer == refusal)?;
    for word in ["mntr", "conf", "stat", "dump"] {
        assert_eq!(ask(&ensemble, follower, word)?, refusal, "{word}");
    }
    assert_eq!(ask(&ensemble, follower, "isro")?, "null");
    assert_eq!(ask(&ensemble, follower, "ruok")?, "imok");
    ensemble.restart(&[leader])?;
    ensemble.leader()?;
    let text = ask(&ensemble, follower, "mntr")?;
    assert!(number(&text, "cnt_unavailable_time") >= 2, "{text}");
    assert!(number(&text, "looking_count") >= 2, "{text}");
    Ok(())
}
