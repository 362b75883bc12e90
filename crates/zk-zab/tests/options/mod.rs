//! What the members of some tests are told.

use zk_proto::{Epoch, Sid};
use zk_zab::Role;
use zk_zab::election::ElectionTimes;
use zk_zab::leader::LeaderTimes;
use zk_zab::peer::PeerOptions;

/// Participant 1, with Apache's times.
pub fn options() -> PeerOptions {
    PeerOptions {
        sid: Sid(1),
        role: Role::Participant,
        accepts_configs: false,
        election: ElectionTimes::default(),
        times: LeaderTimes { tick_ms: 2000, init_ms: 20_000, sync_ms: 10_000 },
        epoch_floor: Epoch(0),
        admits_strangers: true,
        window: 500,
        feeds: false,
    }
}
