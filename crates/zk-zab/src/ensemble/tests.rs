//! Texts of configurations, and what a quorum is.

use super::*;
use proptest::prelude::*;

fn set(sids: &[i64]) -> BTreeSet<Sid> {
    sids.iter().copied().map(Sid).collect()
}

fn majority(voters: i64, observers: i64) -> Ensemble {
    let line = |sid: i64| {
        let role = if sid > voters { "observer" } else { "participant" };
        format!("server.{sid}=h{sid}:2888:3888:{role}\n")
    };
    Ensemble::parse(&(1..=voters + observers).map(line).collect::<String>()).unwrap()
}

const HIERARCHICAL: &str = "\
server.1=a:1:2:participant
server.2=b:1:2:participant
server.3=c:1:2:participant
server.4=d:1:2:participant
server.5=e:1:2:participant
group.1=1:2:3
group.2=4
group.3=5
weight.1=1
weight.2=1
weight.3=1
weight.4=1
weight.5=0
version=1a";

/// What a 3.8.0 put into its notifications.
#[test]
fn the_text_is_apaches() {
    let text = "server.1=127.0.0.1:2888:3888:participant\n\
                server.4=127.0.0.1:2891:3891:observer;0.0.0.0:2181\n\
                version=100000013";
    let ensemble = Ensemble::parse(text).unwrap();
    assert_eq!(ensemble.version, 0x1_0000_0013);
    assert_eq!(ensemble.to_string(), text);
    assert_eq!(Ensemble::parse(HIERARCHICAL).unwrap().to_string(), HIERARCHICAL);
}

#[test]
fn spaces_comments_and_a_missing_version_are_legal() {
    let text = "# made by hand\n\n server.1 = h:1:2 \r\n!\n";
    let ensemble = Ensemble::parse(text).unwrap();
    assert_eq!((ensemble.version, ensemble.members.len()), (0, 1));
}

/// Found by fuzzing: it was printed sorted and compared as it came.
#[test]
fn the_order_of_a_members_addresses_says_nothing() {
    let [one, other] = ["server.1=b:1:2|a:3:4", "server.1=a:3:4|b:1:2"];
    assert_eq!(Ensemble::parse(one), Ensemble::parse(other));
}

#[test]
fn what_is_wrong_is_named() {
    for (text, why) in [
        ("server.1", "\"server.1\" is no key=value"),
        ("tickTime=2000", "tickTime: no key of a configuration"),
        ("server.x=h:1:2", "server.x: x is no number"),
        ("server.1=h:1:2;2181;2281", "server.1: 2181;2281 is no port"),
        ("version=xyz", "version: xyz is no number"),
        ("version=-f", "version: -f is no number"),
        ("group.1=1:x", "group.1: x is no number"),
        ("server.1=h:1:2\ngroup.1=1\ngroup.2=1", "server 1 is in several groups; leave it in one"),
        ("server.1=h:1:2\nserver.2=h:1:2\ngroup.1=1", "server 2 is in no group"),
        ("server.1=h:1:2\nweight.1=2", "server 1 is in no group"),
    ] {
        let error = Ensemble::parse(text).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
}

/// ZOOKEEPER-2959: observers and strangers must not fill up a quorum.
#[test]
fn only_voters_make_a_majority() {
    let five = majority(5, 2);
    assert!(five.has_quorum(&set(&[1, 3, 5])));
    assert!(!five.has_quorum(&set(&[1, 3, 6, 7, 9])));
    assert!(!majority(4, 0).has_quorum(&set(&[1, 2])));
    assert!(majority(1, 0).has_quorum(&set(&[1])));
    assert!(!majority(0, 3).has_quorum(&set(&[1, 2, 3])));
}

#[test]
fn groups_are_won_by_weight_and_ensembles_by_groups() {
    let ensemble = Ensemble::parse(HIERARCHICAL).unwrap();
    // The third group weighs nothing and does not count: both others are needed.
    assert!(ensemble.has_quorum(&set(&[1, 3, 4])));
    assert!(!ensemble.has_quorum(&set(&[1, 2, 3, 5])));
    assert!(!ensemble.has_quorum(&set(&[1, 4, 5])));
    let weights = [1, 4, 5, 6].map(|sid| ensemble.weight(Sid(sid)));
    assert_eq!(weights, [1, 1, 0, 0], "and a stranger has none");
    assert_eq!(majority(1, 1).weight(Sid(1)), 1);
}

#[test]
fn a_reconfiguration_needs_a_quorum_of_both() {
    let mut configs = Configs::new(majority(3, 0));
    configs.proposed = Some(Ensemble { version: 7, ..majority(5, 0) });
    assert!(!configs.has_quorum(&set(&[1, 2])));
    assert!(!configs.has_quorum(&set(&[1, 4, 5])));
    assert!(configs.has_quorum(&set(&[1, 2, 4])));
    assert!(configs.is_voter(Sid(5)) && configs.voters().len() == 5);
    configs.committed.version = 7;
    assert!(configs.has_quorum(&set(&[1, 2])), "what is not newer does not count");
}

proptest! {
    /// The rule itself: two quorums always have a member in common.
    #[test]
    fn two_quorums_intersect(
        groups in prop::collection::vec(prop::collection::vec(0i64..4, 1..4), 0..4),
        voters in 1i64..8, one: u16, other: u16,
    ) {
        let mut ensemble = majority(voters, 1);
        if !groups.is_empty() {
            ensemble = majority(groups.iter().map(Vec::len).sum::<usize>() as i64, 1);
            let mut sids = 1..;
            for (group, weights) in groups.iter().enumerate() {
                let members: Vec<Sid> = sids.by_ref().take(weights.len()).map(Sid).collect();
                ensemble.weights.extend(members.iter().copied().zip(weights.iter().copied()));
                ensemble.groups.insert(group as i64, members);
            }
        }
        prop_assert_eq!(ensemble.check(), Ok(()));
        let choose = |bits: u16| -> BTreeSet<Sid> {
            (0..16).filter(|bit| bits >> bit & 1 == 1).map(|bit| Sid(bit + 1)).collect()
        };
        let (one, other) = (choose(one), choose(other));
        if ensemble.has_quorum(&one) && ensemble.has_quorum(&other) {
            prop_assert!(one.intersection(&other).any(|sid| ensemble.is_voter(*sid)));
        }
        let all = ensemble.voters().collect();
        let weighs = ensemble.voters().any(|sid| ensemble.weight(sid) > 0);
        prop_assert_eq!(ensemble.has_quorum(&all), weighs);
    }

    #[test]
    fn any_text_is_refused_or_read_and_printed_alike(text in "(server\\.[0-9]=h:1:2(:observer)?(;3)?\n|group.1=[0-9:]{1,4}\n|[a-z.=\n]{0,9}|version=[0-9a-f]{1,8}\n){0,5}") {
        if let Ok(ensemble) = Ensemble::parse(&text) {
            prop_assert_eq!(Ensemble::parse(&ensemble.to_string()), Ok(ensemble));
        }
    }
}
