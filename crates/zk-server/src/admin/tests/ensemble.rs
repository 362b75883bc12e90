//! Members of an ensemble, each in the role that a member of Apache 3.9.4 had.

use std::sync::atomic::Ordering::Relaxed;

use expect_test::expect;
use zk_proto::election::ServerState;
use zk_proto::{Sid, Zxid};
use zk_zab::Ensemble;
use zk_zab::peer::ZabState;

use super::super::command::{Command, body, run};
use super::super::*;
use super::{Fake, peer};

const LINES: &str = "initLimit=20\nsyncLimit=10\nclientPortAddress=127.0.0.1\n";
const MEMBERS: &str = "server.1=127.0.0.1:46139:47793:participant\n\
     server.2=127.0.0.1:40003:56065:participant\n\
     server.3=127.0.0.1:43623:49837:participant;127.0.0.1:53165\n\
     server.4=127.0.0.1:37431:40533:observer\n";

impl Fake {
    fn member(sid: i64, mode: Mode, state: ServerState) -> Fake {
        let facts = QuorumFacts {
            sid: Sid(sid),
            state,
            zab_state: ZabState::Broadcast,
            leader: Some(Sid(2)),
            ensemble: Ensemble::parse(MEMBERS).unwrap(),
            reign: None,
            master: Some(Sid(2)),
            observers: None,
        };
        // It is not read as a member, which wants a file myid.
        Fake { mode, quorum: Some(facts), ..Fake::with(LINES) }
    }

    pub(super) fn leader() -> Fake {
        let mut fake = Fake::member(2, Mode::Leader, ServerState::Leading);
        let observer = ObserverFacts {
            peer: peer(38206),
            sid: Sid(4),
            established_ms: 1_795_995_112_347,
            unsent_bytes: 0,
            received: 104,
            sent: 110,
            requests: 4,
            last_zxid: Zxid(0x1_0000_0008),
        };
        if let Some(facts) = &mut fake.quorum {
            facts.reign = Some(ReignFacts {
                learners: 3,
                synced_followers: 2,
                synced_non_voting_followers: 0,
                pending_syncs: 0,
                uptime_ms: 23_962,
                observers: vec![observer],
            });
        }
        [91, 48, 70, 48].iter().for_each(|size| fake.metrics.quorum.proposals.record(*size, 1));
        fake
    }

    fn follower() -> Fake {
        Fake::member(1, Mode::Follower, ServerState::Following)
    }

    fn observer() -> Fake {
        Fake::member(4, Mode::Observer, ServerState::Observing)
    }
}

fn word(text: &str, server: &Fake) -> String {
    four_letter_answer(text.parse().unwrap(), &[], Whitelist::all(), server)
}

fn command(command: Command, server: &Fake) -> String {
    body(run(command, &[], server).unwrap(), "x", None)
}

#[test]
fn srvr_and_stat_say_the_role_and_a_leader_its_proposals() {
    let end = |name, server: &Fake| {
        let text = word(name, server);
        text.split_once("\nMode: ").unwrap().1.to_owned()
    };
    for name in ["srvr", "stat"] {
        let leader = "leader\nNode count: 9\nProposal sizes last/min/max: 48/48/91\n";
        assert_eq!(end(name, &Fake::leader()), leader);
        assert_eq!(end(name, &Fake::follower()), "follower\nNode count: 9\n");
        assert_eq!(end(name, &Fake::observer()), "observer\nNode count: 9\n");
    }
    let leader = Fake::leader();
    word("srst", &leader);
    assert!(word("srvr", &leader).ends_with("\nProposal sizes last/min/max: -1/-1/-1\n"));
    assert_eq!(word("isro", &Fake::follower()), "rw");
}

#[test]
fn conf_has_the_ensemble() {
    let text = word("conf", &Fake::leader());
    let want = "serverId=2\ninitLimit=20\nsyncLimit=10\nelectionAlg=3\nelectionPort=56065\n\
                quorumPort=40003\npeerType=0\nmembership: \n";
    let end = text.split_once("clientPortListenBacklog=-1\n").unwrap().1;
    assert_eq!(end, format!("{want}{MEMBERS}version=0"));
    let text = word("conf", &Fake::observer());
    assert!(text.contains("serverId=4\n") && text.contains("peerType=1\n"), "{text}");
}

#[test]
fn learners_know_sessions_and_not_their_ends() {
    let text = word("dump", &Fake::follower());
    let sessions = "SessionTracker dump:\nGlobal Sessions(2):\n0x1000016f3270000\t10000ms\n\
                    0x1000016f3270001\t4000ms\nephemeral nodes dump:\n";
    assert!(text.starts_with(sessions), "{text}");
    assert!(word("dump", &Fake::leader()).contains("Session Sets (1)/(2):\n"));
    let dump = command(Command::Dump, &Fake::observer());
    assert!(dump.contains("\"expiry_time_to_session_ids\" : { }"), "{dump}");
}

#[test]
fn sessions_of_one_member_are_shown_by_it() {
    let [leader, follower] =
        [Fake::leader(), Fake::follower()].map(|it| Fake { has_local_sessions: true, ..it });
    let local = "SessionTracker dump:\nLocal Session Sets (1)/(1):\n1 expire at Sun Nov 22 17:17:11 UTC \
                 2026:\n\t0x1000016f3270002\n";
    for (server, global) in
        [(&leader, "Global Session Sets (1)/(2):\n"), (&follower, "Global Sessions(2):\n")]
    {
        let text = word("dump", server);
        assert!(text.starts_with(&format!("{local}{global}")), "{text}");
        assert!(word("mntr", server).contains("zk_global_sessions\t2\nzk_local_sessions\t1\n"));
    }
    let dump = command(Command::Dump, &leader);
    assert!(dump.contains("\"1795367831000\" : [ 72057692606627842 ]"), "{dump}");
}

#[test]
fn mntr_has_the_figures_of_each_role() {
    let member_lines = |server: &Fake| {
        let alone = word("mntr", &Fake::new());
        let quorum = &server.metrics.quorum;
        let counters = quorum.counters().into_iter().map(|(name, _)| format!("zk_{name}\t"));
        let summaries = quorum.summaries().into_iter().map(|(name, _)| format!("zk_cnt_{name}\t"));
        let names: Vec<_> = counters.chain(summaries).collect();
        let text = word("mntr", server);
        assert!(names.iter().all(|name| text.contains(name)), "{text}");
        assert!(!names.iter().any(|name| alone.contains(name)), "{alone}");
        let names: Vec<_> =
            names.iter().map(|name| name.replace("zk_cnt_", "").replace("zk_", "")).collect();
        let is_of_role = |line: &&str| {
            let (name, _) = line.split_once('\t').unwrap();
            let name = format!("{name}\t");
            !alone.contains(&name) && !names.iter().any(|it| name.ends_with(it))
        };
        text.lines().filter(is_of_role).map(|line| line.to_owned() + "\n").collect::<String>()
    };
    expect![[r#"
        zk_peer_state	leading - broadcast
        zk_quorum_size	3
        zk_learners	3
        zk_synced_followers	2
        zk_synced_non_voting_followers	0
        zk_synced_observers	1
        zk_pending_syncs	0
        zk_leader_uptime	23962
        zk_last_proposal_size	48
        zk_max_proposal_size	91
        zk_min_proposal_size	48
    "#]]
    .assert_eq(&member_lines(&Fake::leader()));
    let follower = "zk_peer_state\tfollowing - broadcast\nzk_quorum_size\t3\n";
    assert_eq!(member_lines(&Fake::follower()), follower);
    let observer =
        "zk_peer_state\tobserving - broadcast\nzk_observer_master_id\t2\nzk_quorum_size\t3\n";
    assert_eq!(member_lines(&Fake::observer()), observer);
    assert!(word("mntr", &Fake::leader()).contains("zk_server_state\tleader\n"));
}

#[test]
fn acks_are_shown_by_member() {
    let leader = Fake::leader();
    leader.metrics.quorum.ack_latency.record(1, 5000);
    let text = word("mntr", &leader);
    for line in ["zk_avg_1_ack_latency\t5.0\n", "zk_p999_1_ack_latency\t5\n"] {
        assert!(text.contains(line), "{text}");
    }
    let text = prometheus::text(&leader);
    let lines = "# TYPE ack_latency summary\nack_latency{key=\"1\",quantile=\"0.5\"} 5.0\n\
                 ack_latency{key=\"1\",quantile=\"0.9\"} 5.0\n\
                 ack_latency{key=\"1\",quantile=\"0.99\"} 5.0\n\
                 ack_latency_count{key=\"1\"} 1.0\nack_latency_sum{key=\"1\"} 5.0\n";
    assert!(text.contains(lines), "{text}");
    assert!(text.contains("leader_uptime 23962.0\n") && !text.contains("peer_state"), "{text}");
    assert!(!prometheus::text(&Fake::new()).contains("latency{key"));
    assert!(!prometheus::text(&Fake::new()).contains("looking_count"));
}

#[test]
fn the_leader_tells_of_its_observers() {
    expect![[r#"
        {
          "synced_observers" : 1,
          "observers" : [ {
            "remote_socket_address" : "/127.0.0.1:38206",
            "sid" : 4,
            "established" : 1795995112347,
            "queued_packets_size" : 0,
            "packets_received" : 104,
            "packets_sent" : 110,
            "requests" : 4,
            "last_zxid" : 4294967304
          } ],
          "command" : "x",
          "error" : null
        }"#]]
    .assert_eq(&command(Command::Observers, &Fake::leader()));
    let none = command(Command::Observers, &Fake::follower());
    assert!(none.contains("\"synced_observers\" : 0,\n  \"observers\" : [ ]"), "{none}");
}

#[test]
fn who_leads_and_who_votes() {
    for (server, is_leader) in [(Fake::leader(), true), (Fake::observer(), false)] {
        let text = command(Command::Leader, &server);
        let want = format!(
            "{{\n  \"is_leader\" : {is_leader},\n  \"leader_id\" : 2,\n  \"leader_ip\" : \
             \"127.0.0.1\",\n"
        );
        assert!(text.starts_with(&want), "{text}");
    }
    let alone = run(Command::Leader, &[], &Fake::new());
    assert_eq!(alone, Err("server is not initialized".to_owned()));
    expect![[r#"
        {
          "current_config" : {
            "1" : {
              "server_addresses" : [ "127.0.0.1:46139" ],
              "election_addresses" : [ "127.0.0.1:47793" ],
              "client_address" : "127.0.0.1:2181",
              "learner_type" : "participant"
            },
            "2" : {
              "server_addresses" : [ "127.0.0.1:40003" ],
              "election_addresses" : [ "127.0.0.1:56065" ],
              "client_address" : "",
              "learner_type" : "participant"
            },
            "3" : {
              "server_addresses" : [ "127.0.0.1:43623" ],
              "election_addresses" : [ "127.0.0.1:49837" ],
              "client_address" : "127.0.0.1:53165",
              "learner_type" : "participant"
            }
          },
          "command" : "x",
          "error" : null
        }"#]]
    .assert_eq(&command(Command::VotingView, &Fake::follower()));
}

#[test]
fn zabstate_says_how_far_a_member_has_come() {
    let text = command(Command::ZabState, &Fake::observer());
    expect![[r#"
        {
          "myid" : 4,
          "is_leader" : false,
          "quorum_address" : {
            "empty" : false,
            "all_addresses" : [ "127.0.0.1:37431" ],
            "wildcard_addresses" : [ "0.0.0.0:37431" ],
            "all_ports" : [ 37431 ],
            "all_host_strings" : [ "127.0.0.1" ],
            "one" : "127.0.0.1:37431"
          },
          "election_address" : {
            "empty" : false,
            "all_addresses" : [ "127.0.0.1:40533" ],
            "wildcard_addresses" : [ "0.0.0.0:40533" ],
            "all_ports" : [ 40533 ],
            "all_host_strings" : [ "127.0.0.1" ],
            "one" : "127.0.0.1:40533"
          },
          "client_address" : "127.0.0.1:2181",
          "voting" : false,
          "last_zxid" : "0x6",
          "zab_epoch" : 0,
          "zab_counter" : 6,
          "zabstate" : "broadcast",
          "command" : "x",
          "error" : null
        }"#]]
    .assert_eq(&text);
    assert!(command(Command::ZabState, &Fake::leader()).contains("\"voting\" : true"));
}

#[test]
fn a_member_without_a_leader_says_that_it_does_not_serve() {
    let server = Fake::follower();
    server.serving.store(false, Relaxed);
    let refusal = "This ZooKeeper instance is not currently serving requests";
    for name in ["srvr", "stat", "mntr", "conf", "dump"] {
        assert_eq!(word(name, &server), format!("{refusal}\n"), "{name}");
    }
    assert_eq!(word("isro", &server), "null");
    for of in [Command::Leader, Command::VotingView, Command::IsReadOnly, Command::Observers] {
        assert_eq!(run(of, &[], &server), Err(refusal.to_owned()), "{of:?}");
    }
    let text = command(Command::ZabState, &server);
    assert!(text.starts_with("{\n  \"voting\" : false,\n  \"zabstate\" : \"\",\n"), "{text}");
}

#[test]
fn server_stats_and_configuration_know_a_member() {
    let stats = command(Command::ServerStats, &Fake::leader());
    let sizes = "\"proposal_stats\" : {\n    \"last_buffer_size\" : 48,\n    \
                 \"min_buffer_size\" : 48,\n    \"max_buffer_size\" : 91\n  },\n  \"node_count\"";
    assert!(stats.contains(sizes), "{stats}");
    assert!(!command(Command::ServerStats, &Fake::follower()).contains("proposal_stats"));
    let configuration = command(Command::Configuration, &Fake::observer());
    assert!(configuration.contains("\"server_id\" : 4,\n"), "{configuration}");
}
