//! A follower that feeds observers, and what they ask for through it.

use super::Driver;
use super::led::encoded;
use crate::ensemble::coverage::Point;
use zk_proto::quorum::{FromLeader, FromLearner, Touched};
use zk_proto::{SessionId, Sid, Zxid};
use zk_zab::Role;
use zk_zab::leader::LinkId;

impl Driver<'_> {
    /// Whether it looks for a follower rather than a leader.
    pub(crate) fn observes(&self) -> bool {
        self.p.peer.role() == Role::Observer
    }

    /// An observer connects to the port that a follower has for them.
    pub(super) fn observer_comes(&mut self, link: LinkId) {
        let now_ms = self.now_ms();
        if self.p.peer.observer_connected(now_ms, link) {
            self.hub.mark(Point::Fed);
            self.p.links.insert(link);
        } else {
            self.hub.close_link(link, self.sid);
        }
    }

    /// What a follower's observers get is what it has applied.
    pub(super) fn note_fed(&mut self) {
        if let Some(applied) = self.p.peer.fed_upto() {
            self.p.committed = applied;
        }
    }

    /// What was applied goes on to observers.
    pub(super) fn inform(&mut self, upto: Zxid, leader: Option<Sid>, observers: &[LinkId]) {
        while let Some((zxid, txn)) = self.p.fresh.pop_front_if(|(zxid, _)| *zxid <= upto) {
            let packet = match leader.filter(|_| zxid == upto) {
                Some(leader) => FromLeader::InformAndActivate { zxid, leader, txn: &txn },
                None => FromLeader::Inform { zxid, txn: &txn },
            };
            let payload = encoded(&packet);
            for link in observers {
                self.send_payload(*link, payload.clone(), Point::SendInform);
            }
        }
    }

    /// What an observer's client wants of the leader.
    pub(super) fn pass_up(&mut self, packet: &FromLearner<'_>) {
        self.hub.mark(Point::PassedUp);
        self.send_up(packet, Point::SendRequest);
    }

    /// The leader hears of them with the next PING.
    pub(super) fn keep_touched(&mut self, touched: Touched<'_>) {
        self.p.touched.extend(touched.iter());
    }

    /// A session moves to an observer: no own client acts for it any more when the leader is asked.
    pub(super) fn moves_behind(&mut self, link: LinkId, session: SessionId, timeout_ms: i32) {
        self.hub.mark(Point::MovedBehind);
        self.p.core.moved_away(session, &mut self.p.fx);
        self.carry_out();
        self.act_alone(|peer, _, wants| peer.ask_move(link, session, timeout_ms, wants));
    }
}
