//! A member feeds observers while it serves as a follower, and at no other time.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod options;

use options::options;
use zk_proto::election::{Notification, ServerState};
use zk_proto::quorum::FromLeader;
use zk_proto::{Epoch, SessionId, Sid, Zxid};
use zk_zab::leader::{LinkId, Output as Lead};
use zk_zab::learner::Output as Learn;
use zk_zab::peer::{History, Peer, PeerOptions, Wants};
use zk_zab::{Configs, Ensemble};

fn z(counter: u32) -> Zxid {
    Zxid::new(Epoch(1), counter)
}

/// A txn that does nothing but have a header.
fn txn(zxid: Zxid) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&7i64.to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    out.extend_from_slice(&zxid.0.to_be_bytes());
    out.extend_from_slice(&0i64.to_be_bytes());
    // An error.
    out.extend_from_slice(&(-1i32).to_be_bytes());
    out.extend_from_slice(&(-101i32).to_be_bytes());
    out
}

/// Member 1 on its way: server 2 leads epoch 1, and nothing has been written before.
fn follower(feeds: bool) -> Peer {
    learner("participant", feeds)
}

fn learner(role: &str, feeds: bool) -> Peer {
    let options = PeerOptions { feeds, ..options() };
    let text = format!("server.1=a:1:2:{role}\nserver.2=b:1:2\nserver.3=c:1:2");
    let config = Ensemble::parse(&text).unwrap();
    let mut peer = Peer::new(options, Configs::new(config));
    let mut wants = Wants::default();
    peer.look(0, History::default(), &mut wants);
    for from in [2, 3] {
        let vote = Notification {
            state: if from == 2 { ServerState::Leading } else { ServerState::Following },
            leader: Sid(2),
            zxid: Zxid::ZERO,
            election_epoch: 1,
            peer_epoch: 1,
            version: 2,
            config: None,
        };
        peer.heard_vote(0, Sid(from), &vote, &mut wants);
    }
    peer.joined(0, Sid(2), &mut wants);
    peer.heard_leader(0, FromLeader::LeaderInfo(Epoch(1)), &mut wants);
    peer.accepted_written(0, Epoch(1), &mut wants);
    peer.heard_leader(0, FromLeader::Diff(Zxid::ZERO), &mut wants);
    peer.heard_leader(0, FromLeader::NewLeader { zxid: z(0), config: None }, &mut wants);
    peer.current_written(0, Epoch(1), &mut wants);
    assert_eq!(peer.fed_upto(), None, "it serves nobody yet");
    assert!(!peer.observer_connected(0, LinkId(8)));
    peer.heard_leader(0, FromLeader::UpToDate, &mut wants);
    assert!(peer.is_serving());
    peer
}

#[test]
fn who_is_not_to_feed_takes_no_observers() {
    // An observer has the key for another reason.
    for mut peer in [follower(false), learner("observer", true)] {
        assert_eq!(peer.fed_upto(), None);
        assert!(!peer.observer_connected(0, LinkId(9)));
        assert!(!peer.learner_connected(0, LinkId(9)));
    }
}

#[test]
fn what_is_on_the_own_disk_and_committed_goes_on() {
    let mut peer = follower(true);
    assert!(peer.observer_connected(0, LinkId(9)));
    assert!(!peer.learner_connected(0, LinkId(10)), "it leads nobody");
    let (txn, mut wants) = (txn(z(1)), Wants::default());
    peer.heard_leader(0, FromLeader::Proposal { zxid: z(1), txn: &txn }, &mut wants);
    peer.heard_leader(0, FromLeader::Commit(z(1)), &mut wants);
    assert!(wants.lead.is_empty(), "it is not on the disk: {wants:?}");
    peer.logged(z(1), &mut wants);
    assert_eq!(peer.fed_upto(), Some(z(1)));
    let observers = std::sync::Arc::default();
    assert_eq!(wants.lead, [Lead::Inform { upto: z(1), leader: None, observers }]);
}

#[test]
fn answers_to_own_clients_stay_here() {
    let mut peer = follower(true);
    let mut wants = Wants::default();
    peer.asked_sync();
    peer.heard_leader(0, FromLeader::Sync, &mut wants);
    let answer = FromLeader::Revalidate { session: SessionId(7), is_valid: true };
    peer.heard_leader(0, answer, &mut wants);
    let revalidated = Learn::Revalidated { session: SessionId(7), is_valid: true };
    assert_eq!(wants.learn, [Learn::Synced, revalidated]);
    assert!(wants.lead.is_empty());
}

#[test]
fn without_its_leader_it_feeds_nobody() {
    let mut peer = follower(true);
    peer.leader_lost(&mut Wants::default());
    assert_eq!(peer.fed_upto(), None);
    assert!(!peer.observer_connected(0, LinkId(9)));
}
