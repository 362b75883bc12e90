//! A follower among the observers that it feeds, if it does.

use zk_proto::SessionId;

use super::{Peer, Wants};
use crate::leader::LinkId;

impl Peer {
    /// An observer connected to the port for observers; the same.
    pub fn observer_connected(&mut self, now_ms: u64, link: LinkId) -> bool {
        let feeder = self.feeder();
        let is_there = feeder.is_some();
        if let Some(feeder) = feeder {
            feeder.connected(now_ms, link);
        }
        is_there
    }

    /// An own client asks the leader for a sync, at once.
    pub fn asked_sync(&mut self) {
        if let Some(feeder) = self.feeder() {
            feeder.asked_sync();
        }
    }

    /// An own client asks the leader for its session, at once.
    pub fn asked_move(&mut self, session: SessionId) {
        if let Some(feeder) = self.feeder() {
            feeder.asked_move(session);
        }
    }

    /// An observer's client asks the leader for its session, when no own client acts for it any
    /// more.
    pub fn ask_move(
        &mut self,
        link: LinkId,
        session: SessionId,
        timeout_ms: i32,
        wants: &mut Wants<'_>,
    ) {
        if let Some(feeder) = self.feeder() {
            feeder.ask_move(link, session, timeout_ms, &mut wants.lead);
        }
    }

    /// A session has ended.
    pub fn session_ended(&mut self, session: SessionId) {
        if let Some(feeder) = self.feeder() {
            feeder.ended(session);
        }
    }
}
