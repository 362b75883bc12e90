//! What is said to a member between two of its parts is not lost: nobody says it again soon.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod options;

use options::options;
use zk_proto::election::{Notification, ServerState};
use zk_proto::{Epoch, Sid, Zxid};
use zk_zab::peer::{History, Peer, Turn, Wants};
use zk_zab::{Configs, Ensemble};

fn peer() -> Peer {
    let config = Ensemble::parse("server.1=a:1:2\nserver.2=b:1:2").unwrap();
    Peer::new(options(), Configs::new(config))
}

fn vote(epoch: i64, zxid: Zxid) -> Notification<'static> {
    Notification {
        state: ServerState::Looking,
        leader: Sid(2),
        zxid,
        election_epoch: 1,
        peer_epoch: epoch,
        version: 2,
        config: None,
    }
}

#[test]
fn a_vote_that_came_too_early_counts() {
    let (mut peer, zxid) = (peer(), Zxid::new(Epoch(1), 7));
    let mut wants = Wants::default();
    peer.heard_vote(0, Sid(2), &vote(1, zxid), &mut wants);
    assert!(wants.elect.is_empty() && wants.turn.is_none(), "{wants:?}");
    let history = History {
        accepted_epoch: Epoch(1),
        current_epoch: Epoch(1),
        last_zxid: Zxid::new(Epoch(1), 5),
        ..History::default()
    };
    peer.look(10, history, &mut wants);
    assert_eq!(wants.turn, Some(Turn::Join(Sid(2))), "{wants:?}");
}

#[test]
fn a_damaged_member_hears_none() {
    let (mut peer, zxid) = (peer(), Zxid::new(Epoch(1), 7));
    let mut wants = Wants::default();
    peer.heard_vote(0, Sid(2), &vote(1, zxid), &mut wants);
    peer.look(10, History { is_damaged: true, ..History::default() }, &mut wants);
    assert_eq!(wants.turn, Some(Turn::JoinAnybody));
    assert!(wants.elect.is_empty(), "{wants:?}");
}
